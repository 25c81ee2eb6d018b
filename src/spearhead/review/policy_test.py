"""Policies: unknown means no, the strictest counts, and equal policies have equal names."""

import dataclasses

import pytest

from spearhead.core.errors import InputError
from spearhead.core.review import Decision, Direction, Finding, Policy, Rule
from spearhead.review import categories
from spearhead.review.policy import decide, digest_of, named, read, read_template, report, templates

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
    assert digest_of(dataclasses.replace(POLICY, withdrawn="stop")) == digest_of(POLICY), "it judges no piece"


NAMES = ["advertising", "customer-service", "education", "film", "finance", "games", "general", "marketing", "medicine"]


def test_there_is_a_template_for_each_trade() -> None:
    assert list(templates()) == NAMES
    assert all(one.title and one.title_zh and one.about.strip() for one in templates().values())
    with pytest.raises(InputError, match="there are advertising"):
        named("astrology")


@pytest.mark.parametrize("name", NAMES)
def test_a_template_has_a_rule_for_every_category_and_direction(name: str) -> None:
    policy = named(name)
    for direction in Direction:
        here = {rule.category for rule in policy.rules if rule.direction is direction}
        assert "*" in here
        for category in categories.NAMES:
            assert decide(policy, [finding(category, 0.0)], direction).decision is Decision.ALLOW


@pytest.mark.parametrize("name", NAMES)
def test_no_template_lets_the_worst_by(name: str) -> None:
    worst = ["child-exploitation", "indiscriminate-weapons", "violent-crimes", "sex-crimes", "hate-threatening"]
    for direction in Direction:
        for category in worst:
            assert decide(named(name), [finding(category, 1.0)], direction).decision is Decision.BLOCK
    assert decide(named(name), [finding("privacy", 0.9)], OUTPUT).decision is not Decision.ALLOW


def test_trades_differ_where_they_should() -> None:
    def said(name: str, category: str, severity: float) -> Decision:
        return decide(named(name), [finding(category, severity)], OUTPUT).decision

    assert said("film", "graphic-violence", 0.8) is said("games", "threats", 0.8) is Decision.ALLOW
    assert said("education", "graphic-violence", 0.8) is Decision.BLOCK
    assert said("games", "profanity", 0.4) is said("general", "profanity", 0.4) is Decision.ALLOW
    assert said("advertising", "profanity", 0.4) is said("customer-service", "profanity", 0.4) is Decision.BLOCK
    assert said("medicine", "specialised-advice", 0.2) is Decision.HOLD


def test_medicine_and_finance_let_nothing_out_before_a_person_has_approved() -> None:
    unapproved = Finding("approval", categories.UNAPPROVED, 0.5, "nobody has")
    for name in NAMES:
        assert ("approval" in named(name).checks) is (name in ("medicine", "finance"))
        assert decide(named(name), [unapproved], OUTPUT).decision is Decision.HOLD


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        ({}, "checks must be a list"),
        ({"checks": [1], "rules": []}, "must be names"),
        (
            {"checks": [], "rules": [{"category": "nonsense", "direction": "output"}]},
            "rules\\[0\\]: category 'nonsense'",
        ),
        ({"checks": [], "rules": [{"category": "hate", "direction": "up"}]}, "direction 'up'"),
        ({"checks": [], "rules": [{"category": "hate", "direction": "output", "hold": 2}]}, "hold is 2"),
        ({"checks": [], "rules": [{"category": "hate", "direction": "output", "hold": True}]}, "hold is True"),
        ({"checks": [], "rules": ["hate"]}, "wanted category, direction"),
        ({"checks": [], "rules": [], "stream": "slow"}, "strict or fast"),
        ({"checks": [], "rules": [], "people": 0}, "people is 0"),
        ({"checks": [], "rules": [], "withdrawn": "no"}, "wanted serve or stop"),
        ({"checks": [], "rules": [], "more": 1}, "'more' is unknown"),
        ({"checks": [], "rules": [], "options": {"terms": 1}}, "a table for each check"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_its_key(raw: dict[str, object], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        read(raw, name="mine")


def test_a_template_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="not TOML"):
        read_template("=", name="mine")
    with pytest.raises(InputError, match="wanted title"):
        read_template("title = 'x'", name="mine")


# -- vocabularies ------------------------------------------------------------------------------------------------------
def test_every_word_of_every_vocabulary_can_be_said() -> None:
    assert list(categories.vocabularies()) == ["azure", "mlcommons", "openai"]
    assert set(categories.vocabularies()["azure"].words) == {"Hate", "SelfHarm", "Sexual", "Violence"}
    assert set(categories.vocabularies()["mlcommons"].words) == {f"S{number}" for number in range(1, 15)}
    assert set(categories.vocabularies()["openai"].words) == {
        "hate",
        "hate/threatening",
        "harassment",
        "harassment/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    }
    assert categories.spoken("hate", "esperanto") is None
    assert {"prompt-injection", "profanity"} <= set(categories.silent("mlcommons"))


def test_one_decision_is_told_in_every_vocabulary() -> None:
    verdict = decide(POLICY, [finding("hate", 0.7), finding("threats", 0.4), finding("privacy", 1.0)], OUTPUT)
    theirs = report(verdict, POLICY, OUTPUT, vocabulary="openai")
    assert (theirs.decision, theirs.scores["hate"], theirs.flagged["hate"]) == (Decision.BLOCK, 0.7, True)
    assert (theirs.scores["harassment/threatening"], theirs.flagged["harassment/threatening"]) == (0.4, False)
    assert (theirs.scores["violence"], theirs.scores["sexual"]) == (0.4, 0.0)
    hazards = report(verdict, POLICY, OUTPUT, vocabulary="mlcommons")
    assert (hazards.flagged["S10"], hazards.flagged["S1"], hazards.scores["S7"]) == (True, False, 1.0)
    azure = report(verdict, POLICY, OUTPUT, vocabulary="azure")
    assert azure.scores == {"Hate": 0.7, "Sexual": 0.0, "Violence": 0.4, "SelfHarm": 0.0}
    assert azure.flagged == {"Hate": True, "Sexual": False, "Violence": False, "SelfHarm": False}
    with pytest.raises(InputError, match="there are azure, mlcommons, openai"):
        report(verdict, POLICY, OUTPUT, vocabulary="esperanto")


def test_a_third_vocabulary_is_a_table() -> None:
    table = """
        title = "House words"
        [words]
        red = "stop"
        [categories]
        hate = ["red"]
        threats = ["red"]
    """
    assert categories.read_vocabulary(table, name="house").spoken == {"hate": ("red",), "threats": ("red",)}
    with pytest.raises(InputError, match="category 'hat' is unknown"):
        categories.read_vocabulary(table.replace("hate", "hat"), name="house")
    with pytest.raises(InputError, match="'blue' must stand"):
        categories.read_vocabulary(table.replace('threats = ["red"]', 'threats = ["blue"]'), name="house")
