import json
from typing import Any

import pytest

from spearhead.data import shapes
from spearhead.data.conversations_test import OPENAI, WANTED
from spearhead.data.items import Unreadable

USER, GOOD, BAD = (
    {"role": role, "content": words} for role, words in (("user", "Who?"), ("assistant", "I."), ("assistant", "Go."))
)
PROMPTED, ALIKE = "input=prompt output=chosen rejected=rejected", "output=chosen rejected=rejected"
SYSTEM = {"role": "system", "content": "Be short."}
PAIR = {"input": "Who?", "output": "I."}
PREFERRED = {**PAIR, "rejected": "Go."}
UNDER = {"before_000_system": "Be short.", **PREFERRED}
HUMAN = "\n\nHuman: Who?\n\nAssistant:"
LONG = {"before_000_user": "Who?", "before_001_assistant": "I.", "input": "Why?", "output": "So.", "rejected": "No."}
TALK = [USER, GOOD, {"role": "user", "content": "Why?"}]
SO, NO = ({"role": "assistant", "content": words} for words in ("So.", "No."))
SPOKEN = "\n\nHuman: Who?\n\nAssistant: I.\n\nHuman: Why?\n\nAssistant: "


@pytest.mark.parametrize(
    ("row", "columns", "wanted"),
    [
        # TRL: explicit and implicit prompts, as texts and as messages
        ({"prompt": "Who?", "chosen": "I.", "rejected": "Go."}, PROMPTED, PREFERRED),
        ({"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}, PROMPTED, PREFERRED),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, ALIKE, PREFERRED),
        ({"chosen": "Who? I.", "rejected": "Who? Go."}, ALIKE, {"input": "Who? ", "output": "I.", "rejected": "Go."}),
        (
            {"chosen": "It is blue.", "rejected": "It is black."},
            ALIKE,
            {"input": "It is ", "output": "blue.", "rejected": "black."},
        ),
        (
            {"chosen": "天是蓝的", "rejected": "天是绿的"},
            ALIKE,
            {"input": "天是", "output": "蓝的", "rejected": "绿的"},
        ),
        *(
            (
                {"chosen": given + one, "rejected": given + other},
                ALIKE,
                {"input": given, "output": one, "rejected": other},
            )
            for given, one, other in [
                ("It is ", "3.14", "3.15"),  # a number
                ("It is ", "-4.", "-5."),
                ("a ", "cafe\u0301.", "cafe."),  # a letter and its accent
                ("घर ", "जाता", "जाती"),  # a word that ends in vowel marks
                ("a ", "\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f467"),  # joined signs
                ("天", "か\u3099", "か"),
                ("3, ", "4", "5"),
            ]
        ),
        # ultrafeedback_binarized, and others of several turns and with a system message
        (
            {"prompt": "Who?", "chosen": [USER, GOOD], "rejected": [USER, BAD], "messages": [USER, GOOD], "score": 8.0},
            PROMPTED,
            PREFERRED,
        ),
        ({"prompt": TALK, "chosen": [*TALK, SO], "rejected": [*TALK, NO]}, PROMPTED, LONG),
        ({"prompt": "Why?", "chosen": [*TALK, SO], "rejected": [*TALK, NO]}, PROMPTED, LONG),
        ({"chosen": [SYSTEM, USER, GOOD], "rejected": [SYSTEM, USER, BAD]}, ALIKE, UNDER),
        # hh-rlhf, with its prompt apart too
        ({"chosen": SPOKEN + "So.", "rejected": SPOKEN + "No."}, ALIKE, LONG),
        (
            {"prompt": HUMAN, "chosen": " I.", "rejected": " Go."},
            PROMPTED,
            {**PREFERRED, "output": " I.", "rejected": " Go."},
        ),
        ({"prompt": HUMAN, "chosen": HUMAN + " I.", "rejected": HUMAN + " Go."}, PROMPTED, PREFERRED),
        # orca_dpo_pairs, LLaMA-Factory, OpenAI
        (
            {"system": "Be short.", "question": "Who?", "chosen": "I.", "rejected": "Go."},
            "input=question output=chosen rejected=rejected system=system",
            UNDER,
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Who?"}],
                "chosen": {"from": "gpt", "value": "I."},
                "rejected": {"from": "gpt", "value": "Go."},
            },
            "input=conversations output=chosen rejected=rejected",
            PREFERRED,
        ),
        (
            {"instruction": "Who?", "input": "", "chosen": "I.", "rejected": "Go."},
            "instruction=instruction input=input output=chosen rejected=rejected",
            PREFERRED,
        ),
        (
            {"input": {"messages": [SYSTEM, USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
            "input=input output=preferred_output rejected=non_preferred_output",
            UNDER,
        ),
        # one answer
        (
            {"prompt": [SYSTEM, USER], "completion": [GOOD]},
            "input=prompt output=completion",
            {"before_000_system": "Be short.", **PAIR},
        ),
        ({"instruction": "Who?", "response": "I."}, "instruction=instruction output=response", PAIR),
        (
            {"instruction": "Who?", "context": "", "response": "I.", "category": "x"},
            "instruction=instruction input=context output=response",
            PAIR,
        ),
        ({"id": 1, "question": "Who?", "answer": "I."}, "input=question output=answer", PAIR),
        (
            {"id": 1, "system_prompt": "", "question": "Who?", "response": "I."},
            "input=question output=response system=system_prompt",
            PAIR,
        ),
        ({"id": 1, "text": "I am."}, "text=text", {"text": "I am."}),
        ({"conversation": [USER, GOOD]}, "messages=conversation", PAIR),
        ({"messages": json.dumps([USER, GOOD])}, "messages=messages", PAIR),
    ],
)
def test_the_shapes_that_people_have_are_told_by_their_columns_and_read(
    row: dict[str, Any], columns: str, wanted: dict[str, str]
) -> None:
    found = shapes.known(list(row), [row])
    assert found == dict(one.split("=") for one in columns.split()) and not shapes.misshapen(found)
    assert shapes.records(row, found) == [wanted]


@pytest.mark.parametrize(
    "columns",
    [
        ("prompt", "question", "answer"),
        ("question", "answer", "response"),
        ("text", "label", "n"),
        ("a", "b"),
        ("text", "title", "body"),
    ],
)
def test_what_is_not_clear_is_not_guessed(columns: tuple[str, ...]) -> None:
    assert shapes.known(columns, [dict.fromkeys(columns, "a")]) == {}


CHOICE = {"input": "prompt", "output": "chosen", "rejected": "rejected"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Who?", "chosen": "I."}, "has no column 'rejected', which the others of this table have"),
        ({"prompt": "Who?", "chosen": "I.", "rejected": None}, "column 'rejected' holds no text"),
        (
            {"prompt": [USER], "chosen": [{**GOOD, "role": "tool"}], "rejected": "x"},
            "column 'chosen': message 1 is of the role 'tool'",
        ),
        (
            {"prompt": [USER], "chosen": [GOOD, GOOD], "rejected": [BAD]},
            "part at message 2, and 'chosen' has 2 from there on",
        ),
        (
            {"prompt": [USER], "chosen": [USER, GOOD, *TALK[2:]], "rejected": [USER, BAD]},
            "column 'chosen' ends without an answer",
        ),
        (
            {"prompt": [USER], "chosen": [USER, GOOD, *TALK[2:], SO], "rejected": [USER, BAD, *TALK[2:], SO]},
            "part at message 2, and 'chosen' has 3",
        ),
        (
            {"prompt": "What?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
            "column 'chosen' begins with other messages than column 'prompt'",
        ),
        (
            {"prompt": [USER, GOOD], "chosen": [SO], "rejected": [NO]},
            "message 3 is the assistant's and answers none of the user's",
        ),
        ({"prompt": [SYSTEM], "chosen": [SO], "rejected": [NO]}, "holds nothing of a user's that the answers answer"),
        ({"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "tools": [{}]}, "column 'tools' offers tools"),
        (
            {"prompt": {"messages": [USER], "tools": [{}]}, "chosen": [GOOD], "rejected": [BAD]},
            "column 'tools' offers tools",
        ),
    ],
)
def test_a_row_that_holds_no_pair_of_answers_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        shapes.records(row, CHOICE)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "I.", "rejected": "Go."}, "begin with nothing in common, and no column holds what they answer"),
        ({"chosen": "black", "rejected": "blue"}, "begin with nothing in common"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "holds nothing of a user's that the answers answer"),
        ({"chosen": HUMAN, "rejected": HUMAN + " I."}, "column 'chosen' ends without an answer of the assistant's"),
    ],
)
def test_two_answers_alone_need_a_common_beginning(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        shapes.records(row, {"output": "chosen", "rejected": "rejected"})


@pytest.mark.parametrize("name", ["tools", "functions"])
def test_tools_that_are_offered_beside_a_conversation_are_refused(name: str) -> None:
    columns = {"messages": "messages"}
    with pytest.raises(Unreadable, match=f"column '{name}' offers tools"):
        shapes.records({"messages": OPENAI, name: [{"type": "function"}]}, columns)
    nothing: tuple[Any, ...] = (None, [], "", "[]")
    for none in nothing:
        assert shapes.records({"messages": OPENAI, name: none}, columns) == WANTED
    with pytest.raises(Unreadable, match="column 'messages' holds no list of messages"):
        shapes.records({"messages": "hello"}, columns)


def test_an_instruction_stands_over_its_input_and_alone_where_that_is_empty() -> None:
    columns = {"instruction": "instruction", "input": "input", "output": "output"}
    row = {"instruction": "Translate.", "input": "chat", "output": "cat"}
    assert shapes.records(row, columns) == [{"input": "Translate.\nchat", "output": "cat"}]
    for none in ("", None):
        assert shapes.records({**row, "input": none}, columns) == [{"input": "Translate.", "output": "cat"}]
    with pytest.raises(Unreadable, match="column 'instruction' holds no text"):
        shapes.records({**row, "instruction": 5}, columns)


def test_an_instruction_can_have_a_system_message_and_a_history() -> None:
    columns = {name: name for name in ("instruction", "output", "system", "history")}
    row = {"instruction": "And\nwhy?", "output": "So.", "system": "Be short.", "history": [["Who?", "I."]]}
    assert shapes.records(row, columns) == WANTED
    for odd in ([["Who?"]], 5, True, "Who? I.", {"Who?": "I."}):
        with pytest.raises(Unreadable, match="column 'history' holds no list of pairs"):
            shapes.records({**row, "history": odd}, columns)


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [
        ({"messages": "a", "output": "b"}, "so output cannot stand beside them"),
        ({"instruction": "a", "text": "b"}, "text cannot stand beside instruction"),
        ({"instruction": "a", "input": "b"}, "instruction stands before a pair: name output too"),
        ({"system": "a", "output": "b"}, "system stands before a pair"),
        ({"messages": "a", "system": "b", "key": "c"}, ""),
        ({"system": "a", "input": "b", "output": "c"}, ""),
        ({"input": "b", "output": "c", "rejected": "d"}, ""),
        ({"output": "c", "rejected": "d", "system": "e"}, ""),
        ({"instruction": "a", "output": "c", "rejected": "d"}, ""),
        ({"input": "b", "rejected": "d"}, "rejected is the answer that is liked less of two: name output too"),
    ],
)
def test_columns_that_do_not_go_together_are_told(columns: dict[str, str], wrong: str) -> None:
    told = shapes.misshapen(columns)
    assert wrong in told if wrong else not told
