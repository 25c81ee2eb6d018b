"""Policies: unknown means no, the strictest counts, and equal policies have equal names."""

import dataclasses

import pytest

from spearhead.core.review import Decision, Direction, Finding, Policy, Rule
from spearhead.review import categories
from spearhead.review.policy import TEMPLATES, decide, digest_of

OUTPUT = Direction.OUTPUT
POLICY = Policy(
    checks=("terms",),
    rules=(Rule("*", OUTPUT, hold=0.5, block=0.9), Rule("hate", OUTPUT, block=0.3), Rule("privacy", OUTPUT)),
)


def finding(category: str, severity: float) -> Finding:
    return Finding("terms", category, severity, "seen")


@pytest.mark.parametrize(
    ("category", "severity", "decision"),
    [
        ("elections", 0.49, Decision.ALLOW),
        ("elections", 0.5, Decision.HOLD),
        ("elections", 0.9, Decision.BLOCK),
        ("hate", 0.3, Decision.BLOCK),  # a rule that names the category comes first
        ("hate", 0.29, Decision.ALLOW),
        ("privacy", 1.0, Decision.ALLOW),  # named, and neither held nor blocked
        (categories.UNREADABLE, 0.0, Decision.HOLD),  # a check that could not look holds
    ],
)
def test_a_finding_leads_to_what_its_rule_says(category: str, severity: float, decision: Decision) -> None:
    assert decide(POLICY, [finding(category, severity)], OUTPUT).decision is decision


def test_a_category_without_a_rule_is_held() -> None:
    assert decide(POLICY, [finding("hate", 0.1)], Direction.PROMPT).decision is Decision.HOLD
    assert decide(Policy((), ()), [finding("hate", 0.1)], OUTPUT).decision is Decision.HOLD


def test_the_strictest_consequence_counts_and_nothing_found_is_allowed() -> None:
    mixed = [finding("elections", 0.6), finding("hate", 1.0), finding("privacy", 1.0)]
    assert decide(POLICY, mixed, OUTPUT).decision is Decision.BLOCK
    assert decide(POLICY, mixed[::2], OUTPUT).decision is Decision.HOLD
    assert decide(POLICY, [], OUTPUT).decision is Decision.ALLOW


def test_of_several_rules_alike_the_strictest_holds() -> None:
    both = Policy((), (Rule("hate", OUTPUT, hold=0.1), Rule("hate", OUTPUT, block=0.5)))
    assert decide(both, [finding("hate", 0.6)], OUTPUT).decision is Decision.BLOCK


def test_a_verdict_names_the_policy_that_made_it() -> None:
    other = dataclasses.replace(POLICY, held_hours=48)
    assert decide(POLICY, [], OUTPUT).policy == digest_of(POLICY) != digest_of(other)
    assert digest_of(dataclasses.replace(other, held_hours=24)) == digest_of(POLICY)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_a_rule_for_every_category_and_direction(name: str) -> None:
    for direction in Direction:
        for category in categories.NAMES:
            worst = decide(TEMPLATES[name], [finding(category, 1.0)], direction).decision
            least = decide(TEMPLATES[name], [finding(category, 0.0)], direction).decision
            assert least is Decision.ALLOW
            assert worst is Decision.BLOCK or (category, direction) == ("privacy", Direction.PROMPT)


def test_every_category_has_a_word_in_mlcommons() -> None:
    codes = {categories.spoken(name, "mlcommons") for name in categories.NAMES}
    assert codes == {f"S{number}" for number in range(1, 15)}
    assert categories.spoken("hate", "esperanto") is None
