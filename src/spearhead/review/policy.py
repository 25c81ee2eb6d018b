"""What findings lead to. Policies are data: this file reads them and decides by them, and knows no check."""

import dataclasses
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.review import Decision, Direction, Finding, Policy, Rule, Verdict
from spearhead.review import categories

ANY = "*"
"""The category of a rule for every category that has no rule of its own."""

_RANK = {Decision.ALLOW: 0, Decision.HOLD: 1, Decision.BLOCK: 2}
_ALWAYS_HELD = (categories.UNREADABLE, categories.UNAPPROVED)


def digest_of(policy: Policy) -> str:
    """The sha256 of how pieces are judged: policies that judge alike have equal digests."""
    judges = dataclasses.asdict(policy)
    del judges["withdrawn"]  # ends a release, decides on no piece
    return digest.of_value(judges)


def consequence(policy: Policy, finding: Finding, direction: Direction) -> Decision:
    """What one finding leads to. A check that could not look holds; a category without a rule holds: unknown means no.

    A rule that names the category comes before one for every category; of several alike, the strictest holds.
    """
    if finding.category in _ALWAYS_HELD:
        return Decision.HOLD
    here = [rule for rule in policy.rules if rule.direction == direction]
    named = [rule for rule in here if rule.category == finding.category]
    rules = named or [rule for rule in here if rule.category == ANY]
    if not rules:
        return Decision.HOLD
    return max((_by_rule(rule, finding.severity) for rule in rules), key=_RANK.__getitem__)


def limits(policy: Policy, direction: Direction) -> dict[str, float | None]:
    """The severity from which a finding of a category is stopped in a direction, held or blocked; None: none is.

    `*` stands for every category without a rule of its own; empty when no rule speaks of the direction.

    >>> limits(Policy((), (Rule("*", Direction.DATA, block=0.5), Rule("hate", Direction.DATA))), Direction.DATA)
    {'*': 0.5, 'hate': None}
    """
    found: dict[str, float | None] = {}
    for rule in policy.rules:
        if rule.direction == direction:
            marks = [mark for mark in (rule.hold, rule.block, found.get(rule.category)) if mark is not None]
            found[rule.category] = min(marks, default=None)
    return found


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


def wants_approval_alone(verdict: Verdict, policy: Policy, direction: Direction) -> bool:
    """Whether a piece is held for no other reason than that the policy wants a person to approve every one."""
    if verdict.decision is not Decision.HOLD:
        return False
    against = [one for one in verdict.findings if consequence(policy, one, direction) is not Decision.ALLOW]
    return all(one.category == categories.UNAPPROVED for one in against)


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict in the words of one vocabulary: for each word, the worst severity found, and whether it was stopped."""

    vocabulary: str
    decision: Decision
    scores: Mapping[str, float]
    flagged: Mapping[str, bool]


def report(verdict: Verdict, policy: Policy, direction: Direction, *, vocabulary: str) -> Report:
    """One decision as another vocabulary tells it; raises InputError when there is no such vocabulary."""
    known = categories.vocabularies()
    if vocabulary not in known:
        raise InputError(f"vocabulary {vocabulary!r} is unknown: there are {', '.join(known)}")
    scores = dict.fromkeys(known[vocabulary].words, 0.0)
    flagged = dict.fromkeys(scores, False)
    for finding in verdict.findings:
        stopped = consequence(policy, finding, direction) is not Decision.ALLOW
        for word in known[vocabulary].spoken.get(finding.category, ()):
            scores[word] = max(scores[word], finding.severity)
            flagged[word] |= stopped
    return Report(vocabulary, verdict.decision, scores, flagged)


# -- policies as files -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Template:
    """A policy to begin with: what it is for, in English and Chinese, and what it says."""

    name: str
    title: str
    title_zh: str
    about: str
    policy: Policy


def read(raw: Mapping[str, Any], *, name: str) -> Policy:
    """A policy from plain tables, as TOML and JSON give them; raises InputError that names the key.

    >>> read({"checks": ["terms"], "rules": [{"category": "*", "direction": "output", "block": 0.9}]}, name="p").people
    1
    """
    fields = {field.name for field in dataclasses.fields(Policy)}
    if unknown := sorted(raw.keys() - fields):
        raise InputError(f"{name}: {unknown[0]!r} is unknown: a policy has {', '.join(sorted(fields))}")
    for key in ("checks", "rules"):
        if not isinstance(raw.get(key), list):
            raise InputError(f"{name}: {key} must be a list, got {raw.get(key)!r}")
    if not all(isinstance(check, str) for check in raw["checks"]):
        raise InputError(f"{name}: checks must be names, got {raw['checks']!r}")
    stream, options, withdrawn = raw.get("stream", "strict"), raw.get("options", {}), raw.get("withdrawn", "serve")
    if stream not in ("strict", "fast"):
        raise InputError(f"{name}: stream is {stream!r}: wanted strict or fast")
    if withdrawn not in ("serve", "stop"):
        raise InputError(f"{name}: withdrawn is {withdrawn!r}: wanted serve or stop")
    if not isinstance(options, dict) or not all(isinstance(value, dict) for value in options.values()):
        raise InputError(f"{name}: options must be a table for each check, got {options!r}")
    return Policy(
        checks=tuple(raw["checks"]),
        rules=tuple(
            rule for number, one in enumerate(raw["rules"]) for rule in _rules(one, f"{name}: rules[{number}]")
        ),
        stream=stream,
        held_hours=_whole(raw.get("held_hours", 24), most=24 * 366, where=f"{name}: held_hours"),
        people=_whole(raw.get("people", 1), most=9, where=f"{name}: people"),
        withdrawn=withdrawn,
        options=options,
    )


def _whole(value: Any, *, most: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InputError(f"{where} is {value!r}: wanted a whole number from 1 to {most}")
    return value


def _rules(raw: Any, where: str) -> Iterator[Rule]:
    """One entry may name several categories: `category` is a name or a list of names."""
    if not isinstance(raw, dict) or not {"category", "direction"} <= raw.keys() <= {
        "category",
        "direction",
        "hold",
        "block",
    }:
        raise InputError(f"{where}: wanted category, direction and hold or block, got {raw!r}")
    names = raw["category"] if isinstance(raw["category"], list) else [raw["category"]]
    if strange := [name for name in names if name != ANY and name not in categories.NAMES]:
        raise InputError(
            f"{where}: category {strange[0]!r} is unknown; there are *, {', '.join(sorted(categories.NAMES))}"
        )
    if raw["direction"] not in list(Direction):
        raise InputError(f"{where}: direction {raw['direction']!r} is unknown: wanted {', '.join(Direction)}")
    marks = {key: raw.get(key) for key in ("hold", "block")}
    for key, mark in marks.items():
        if mark is not None and (isinstance(mark, bool) or not isinstance(mark, int | float) or not 0 <= mark <= 1):
            raise InputError(f"{where}: {key} is {mark!r}: wanted a severity from 0 to 1")
    for category in names:
        yield Rule(
            category, Direction(raw["direction"]), **{k: None if v is None else float(v) for k, v in marks.items()}
        )


def read_template(text: str, *, name: str) -> Template:
    """A template from TOML: `title`, `title_zh`, `about` and a `[policy]` table; raises InputError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"policy template {name}: not TOML: {error}") from error
    if set(raw) != {"title", "title_zh", "about", "policy"}:
        raise InputError(
            f"policy template {name}: wanted title, title_zh, about, [policy]; got {', '.join(sorted(raw))}"
        )
    policy = read(raw["policy"], name=f"policy template {name}")
    return Template(name, raw["title"], raw["title_zh"], raw["about"], policy)


@cache
def templates() -> Mapping[str, Template]:
    """Every template in the package, by the name of its file."""
    files = resources.files("spearhead.review").joinpath("templates").iterdir()
    texts = {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    return {name: read_template(texts[name], name=name) for name in sorted(texts)}


def named(name: str) -> Policy:
    """The policy of a template; raises InputError that names those there are."""
    if (found := templates().get(name)) is None:
        raise InputError(f"policy template {name!r} is unknown: there are {', '.join(templates())}")
    return found.policy
