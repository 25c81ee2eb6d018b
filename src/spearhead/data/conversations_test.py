import json
from typing import Any

import pytest

from spearhead.data import conversations, shapes
from spearhead.data.items import Unreadable

OPENAI: list[dict[str, Any]] = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "I."},
    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "why?"}]},
    {"role": "assistant", "content": "So.", "tool_calls": None, "name": "clerk"},
    {"role": "user", "content": "Thanks."},
]
WANTED = [
    {"before_000_system": "Be short.", "input": "Who?", "output": "I."},
    {
        "before_000_system": "Be short.",
        "before_001_user": "Who?",
        "before_002_assistant": "I.",
        "input": "And\nwhy?",
        "output": "So.",
    },
]
SHARED = {"system": "system", "user": "human", "assistant": "gpt"}


def asked(*contents: str) -> list[dict[str, Any]]:
    """The user and the assistant by turns."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


def test_each_answer_is_a_record_with_all_that_was_said_before() -> None:
    assert conversations.answers(OPENAI) == WANTED
    developer = [{**OPENAI[0], "role": "developer"}, *OPENAI[1:]]
    assert conversations.answers(developer) == WANTED, "as the API takes it"


def test_sharegpts_names_say_the_same() -> None:
    shared = [{"from": SHARED[str(one["role"])], "value": one["content"], "weight": None} for one in OPENAI]
    assert conversations.answers(shared) == WANTED
    row = {"talk": shared[1:], "sys": "Be short."}
    assert shapes.records(row, {"messages": "talk", "system": "sys"}) == WANTED
    assert shapes.records({**row, "sys": None}, {"messages": "talk", "system": "sys"})[0] == {
        "input": "Who?",
        "output": "I.",
    }


def test_an_answer_without_weight_is_said_and_not_learnt() -> None:
    light = [*OPENAI[:2], {**OPENAI[2], "weight": 0}, *OPENAI[3:]]
    assert conversations.answers(light) == WANTED[1:]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (
            [*asked("a"), {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
            "message 2 has tool_calls",
        ),
        ([*asked("a", "b"), {"role": "tool", "content": "x"}], "message 3 is of the role 'tool': wanted system, "),
        ([{"from": "observation", "value": "x"}], "message 1 is of the role 'observation'"),
        ([{"role": ["user"], "content": "x"}], "message 1 is of the role"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, *asked("", "b")[1:]],
            "message 1 holds a piece of type 'image_url': wanted text alone",
        ),
        ([{"role": "user", "content": ["x"]}], "message 1 holds a piece of type 'None'"),
        ([{"role": "user", "content": {"x": 1}}], "message 1 holds no text"),
        (asked("a", " "), "message 2 is empty"),
        (asked("a", "b")[1:], "holds no answer of the assistant's to learn from"),
        ([*asked("a", "b")[1:], *asked("a", "b")[1:]], "message 2 is the assistant's and answers none"),
        ([*asked("a", "b"), {"role": "assistant", "content": "c"}], "message 3 is the assistant's and answers none"),
        (asked("a"), "holds no answer of the assistant's to learn from"),
        ([], "holds no answer of the assistant's to learn from"),
        (["a"], "message 1 is no object"),
        ([*asked("a"), {"role": "assistant", "content": "b", "weight": 0.5}], "message 2 has the weight 0.5: wanted 0"),
        (asked(*["a"] * 202), "has 202 messages, at most 200 are read"),
        (asked("a" * 150_000, "b", "c", "d" * 149_998), "has 300000 characters, at most 200000 are read"),
    ],
)
def test_what_a_client_could_not_send_or_nothing_can_be_learnt_from_is_refused_with_its_reason(
    messages: list[Any], reason: str
) -> None:
    with pytest.raises(Unreadable, match=reason):
        conversations.answers(messages)


def test_what_the_assistant_opens_with_is_said_and_not_learnt() -> None:
    greeting = [{"from": "gpt", "value": "Good day."}, *asked("Who?", "I.")]
    assert conversations.answers(greeting) == [{"before_000_assistant": "Good day.", "input": "Who?", "output": "I."}]


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(asked("Who?", "I.")),
        "\n\nHuman: Who?\n\nAssistant: I.",
        "Human: Who?\n\nAssistant: I.\n",
        {"messages": asked("Who?", "I."), "tools": []},
        {"role": ["user", "assistant"], "content": ["Who?", "I."]},
        {"from": ["human", "gpt"], "value": ["Who?", "I."]},
        tuple(asked("Who?", "I.")),
    ],
)
def test_messages_are_known_however_they_are_written_down(written: Any) -> None:
    assert conversations.answers(conversations.listed(written) or ()) == [{"input": "Who?", "output": "I."}]


@pytest.mark.parametrize(
    "written",
    [
        "Who?",
        "Human: who?",
        '{"from": "Paris", "to": "Rome"}',
        '[{"from": "Paris", "to": "Rome"}]',
        {"from": "Paris", "to": "Rome"},
        '{"from": "Paris", "value": "5 EUR"}',
        '{"role": "baker", "content": "bread"}',
        "[1, 2]",
        '[{"a": 1}]',
        '[{"role": ',
        "{}",
        ["Who?"],
        5,
        None,
        {"a": []},
        "Humans: a\n\nAssistant: b",
    ],
)
def test_nothing_else_is_taken_for_messages(written: Any) -> None:
    assert not conversations.listed(written)
