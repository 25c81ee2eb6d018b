"""What findings lead to. Policies are data: this file decides by them and knows no check."""

import dataclasses
from collections.abc import Iterable

from spearhead.core import digest
from spearhead.core.review import Decision, Direction, Finding, Policy, Rule, Verdict
from spearhead.review import categories

ANY = "*"
"""The category of a rule for every category that has no rule of its own."""

_RANK = {Decision.ALLOW: 0, Decision.HOLD: 1, Decision.BLOCK: 2}


def digest_of(policy: Policy) -> str:
    """The sha256 of a policy: equal policies have equal digests."""
    return digest.of_value(dataclasses.asdict(policy))


def consequence(policy: Policy, finding: Finding, direction: Direction) -> Decision:
    """What one finding leads to. A check that could not look holds; a category without a rule holds: unknown means no.

    A rule that names the category comes before one for every category; of several alike, the strictest holds.
    """
    if finding.category == categories.UNREADABLE:
        return Decision.HOLD
    here = [rule for rule in policy.rules if rule.direction == direction]
    named = [rule for rule in here if rule.category == finding.category]
    rules = named or [rule for rule in here if rule.category == ANY]
    if not rules:
        return Decision.HOLD
    return max((_by_rule(rule, finding.severity) for rule in rules), key=_RANK.__getitem__)


def _by_rule(rule: Rule, severity: float) -> Decision:
    if rule.block is not None and severity >= rule.block:
        return Decision.BLOCK
    if rule.hold is not None and severity >= rule.hold:
        return Decision.HOLD
    return Decision.ALLOW


def decide(policy: Policy, findings: Iterable[Finding], direction: Direction, *, known: str | None = None) -> Verdict:
    """The strictest consequence of the findings, with the digest of the policy (`known`, when the caller has it)."""
    seen = tuple(findings)
    decisions = [consequence(policy, finding, direction) for finding in seen]
    decision = max(decisions, key=_RANK.__getitem__, default=Decision.ALLOW)
    return Verdict(decision, seen, known or digest_of(policy))


def _rules(*, data: float, prompt: float, hold: float, block: float) -> tuple[Rule, ...]:
    return (
        Rule(ANY, Direction.DATA, block=data),
        Rule(ANY, Direction.PROMPT, block=prompt),
        Rule(ANY, Direction.OUTPUT, hold=hold, block=block),
    )


TEMPLATES: dict[str, Policy] = {
    "general": Policy(
        checks=("terms", "personal"),
        # A person may write of their own address; what is admitted as data or leaves may not.
        rules=(
            *_rules(data=0.5, prompt=0.8, hold=0.5, block=0.9),
            Rule("privacy", Direction.PROMPT, block=None),
        ),
    ),
}
"""Policies to begin with, by name."""
