"""From a row of a table to the parts of its records, by the shape that its columns have. Reads no files.

A row is a conversation, or something given with an answer to it, or with two of which one is preferred. What is given
and the answers are texts, or conversations as `conversations.listed` takes them; two whole ones share what is given.
"""

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from spearhead.data import conversations
from spearhead.data.conversations import Message
from spearhead.data.items import Unreadable

PARTS = ("input", "output", "text", "rejected")
"""`rejected`: an answer that people liked less than `output`, for learning by preference."""
SHAPES = ("messages", "instruction", "system", "history")
"""What `data.sources.columns` may fill besides parts: see `misshapen`."""
TALKS = ("messages", "conversations", "conversation")
"""Columns that hold conversations by their names."""
CHOICES = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
)
"""Columns of two answers by their names, the preferred one first."""
ASKED = ("prompt", "instruction", "question", "query")
WANTED = ("completion", "response", "answer", "output")
SYSTEMS = ("system", "system_prompt")
BESIDE = ("id", "idx", "index", "key", "url", "source", "meta", "metadata", "date", "timestamp", "lang", "language")
"""Columns that say something about a text and are not learnt from."""
# Scripts from U+2E80 on put no spaces between words: two texts may part inside a run of these.
_WORD = re.compile(r"[^\W\u2e80-\U000e0000]")
_SIGNS = "+-.,"
"""What can stand inside a number."""
_JOINERS = "\u200c\u200d"
"""What makes one of the signs around it."""


def known(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """`data.sources.columns` of a table whose columns have the names that are usual; empty when it is not clear.

    `rows` are its first: what they hold tells a conversation from a text.
    """
    has = list(columns)
    system = _filling("system", [name for name in SYSTEMS if name in has])
    for better, worse in CHOICES:
        if {better, worse} <= set(has):
            pair = {"output": better, "rejected": worse}
            whole = _begins(rows, better) in ("user", "system")
            given = {"input": "prompt"} if "prompt" in has else _given(has, rows, whole=whole)
            return {**given, **pair, **system}
    if {"instruction", "output"} <= set(has):
        return {name: name for name in ("instruction", "input", "output", "system", "history") if name in has}
    if {"input", "output"} <= set(has):
        return {"input": "input", "output": "output"} | (system if _talked(rows, "input") else {})
    for name in TALKS:
        if name in has and _talked(rows, name):
            return {"messages": name, **system}
    wanted = [name for name in WANTED if name in has]
    if len(wanted) == 1 and (given := _given(has, rows, whole=False)):
        return {**given, "output": wanted[0], **system}
    if "text" in has and set(has) <= {"text", *BESIDE}:
        return {"text": "text"}
    return {}


def _given(has: Sequence[str], rows: Sequence[Mapping[str, Any]], *, whole: bool) -> dict[str, str]:
    """The columns of what is given; none where the answers are `whole` conversations, or it is not clear."""
    asked = [name for name in ASKED if name in has]
    if len(asked) > 1:
        return {}
    under = _filling("input", [name for name in ("input", "context") if name in has])
    past = {"history": "history"} if "history" in has else {}
    if asked == ["instruction"] or (asked and under):
        return {"instruction": asked[0], **under, **past}
    if asked:
        return {"input": asked[0]}
    if "input" in has:
        return {"input": "input"}
    return _filling("input", [] if whole else [name for name in TALKS if name in has and _talked(rows, name)])


def _filling(part: str, names: Sequence[str]) -> dict[str, str]:
    """The part by the first of the columns, where there is one."""
    return {part: names[0]} if names else {}


def _talked(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether the first cell of a column that holds anything holds messages."""
    return bool(_begins(rows, name))


def _begins(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Who speaks first in the first cell of a column that holds messages; empty for anything else."""
    for row in rows:
        if row.get(name):
            try:
                found = conversations.listed(row[name])
                return conversations.heard(found[:1])[0].role if found else ""
            except (Unreadable, IndexError):
                return "user"  # messages all the same: such a row is refused with its reason when it is read
    return ""


def misshapen(columns: Mapping[str, str]) -> str:
    """What cannot be in `data.sources.columns`, as a sentence; empty when everything can."""
    given = columns.keys() - {"key"}
    if "messages" in given:
        if odd := sorted(given - {"messages", "system"}):
            return f"messages hold what is given and what is wanted, so {odd[0]} cannot stand beside them: leave it out"
        return ""
    if "rejected" in given and "output" not in given:
        return "rejected is the answer that is liked less of two: name output too, the one that is preferred"
    if not given & set(SHAPES):
        return ""
    shape = sorted(given & set(SHAPES))[0]
    if odd := sorted(given - {*SHAPES, "input", "output", "rejected"}):
        return f"{odd[0]} cannot stand beside {shape}: leave one of them out"
    if "output" not in given or not given & {"instruction", "input", "rejected"}:
        return f"{shape} stands before a pair: name output too, and instruction or input"
    return ""


def optional(part: str, columns: Mapping[str, str]) -> bool:
    """Whether a row may be without the column that fills this part."""
    return part in ("system", "history") or (part == "input" and "instruction" in columns)


def records(row: Mapping[str, Any], columns: Mapping[str, str], *, side: bool = False) -> list[dict[str, str]]:
    """The parts of every record that a row of such `columns` holds, in order; raises Unreadable with the reason.

    Of a `side` of what is joined by its key the cells are taken as they are.
    """
    if absent := next((name for part, name in columns.items() if name not in row and not optional(part, columns)), ""):
        raise Unreadable(f"has no column {absent!r}, which the others of this table have")
    whole = columns.keys() >= {"input", "output"} or "rejected" in columns or not columns.keys().isdisjoint(SHAPES)
    if side or not whole:
        return [{part: _filled(row, name) for part, name in columns.items()}]
    sides = {part: columns[part] for part in ("output", "rejected") if part in columns}
    told = any(conversations.listed(row.get(name)) for part, name in columns.items() if part in ("input", *sides))
    if told or not columns.keys().isdisjoint(SHAPES):
        for offering in (row, *(row.get(name) for name in columns.values())):
            if isinstance(offering, Mapping):
                conversations.untooled(offering)
    system = _text(row, columns, "system")
    if "messages" in columns:
        talk = conversations.listed(row[columns["messages"]])
        if talk is None:
            raise Unreadable(f"column {columns['messages']!r} holds no list of messages")
        return conversations.answers(talk, system=system)
    before = [*([Message("system", system)] if system else []), *_past(row, columns)]
    if not told and {"input", "instruction"}.isdisjoint(columns):
        before.append(Message("user", _beginning(*(_filled(row, name) for name in sides.values()), columns=columns)))
        long = len(before[-1].words)
        parted = {part: [Message("assistant", _filled(row, name)[long:])] for part, name in sides.items()}
        return _answered(before, parted, columns)
    said = {part: _side(row, name) for part, name in sides.items()}
    return _answered([*before, *_asked(row, columns)], said, columns)


def _past(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message]:
    """Pairs of what was asked and answered before."""
    found: list[Message] = []
    pairs = (row.get(columns["history"]) if "history" in columns else None) or ()
    for pair in pairs if isinstance(pairs, list | tuple) else (pairs,):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(words, str) for words in pair):
            raise Unreadable(f"column {columns['history']!r} holds no list of pairs, asked and answered")
        found += [Message(role, words) for role, words in zip(("user", "assistant"), pair, strict=True)]
    return found


def _asked(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message]:
    """What is given, as the last messages of a conversation; none where no column holds it."""
    if "instruction" not in columns:
        return _side(row, columns["input"], role="user") if "input" in columns else []
    words = "\n".join(filter(None, (_text(row, columns, "instruction"), _text(row, columns, "input"))))
    return [Message("user", words)]


def _answered(
    given: list[Message], sides: Mapping[str, list[Message]], columns: Mapping[str, str]
) -> list[dict[str, str]]:
    """The records of answers, each of them alone or the end of a whole conversation."""
    for part, side in sides.items():
        if not side or side[-1].role != "assistant":
            raise Unreadable(f"column {columns[part]!r} ends without an answer of the assistant's")
    wholes = [side for side in sides.values() if side[0].role != "assistant"]
    if wholes:
        shared = _shared(wholes)
        given = _agreeing(given, shared, columns)
        sides = {part: side[len(shared) :] if side in wholes else side for part, side in sides.items()}
    if not any(message.role == "user" for message in given):
        raise Unreadable("holds nothing of a user's that the answers answer")
    if "rejected" in sides:
        for part, side in sides.items():
            if [message.role for message in side] != ["assistant"]:
                raise Unreadable(
                    f"columns {columns['output']!r} and {columns['rejected']!r} part at message {len(given) + 1}, and "
                    f"{columns[part]!r} has {len(side)} from there on: wanted one answer each, of the "
                    "assistant's, after the same messages"
                )
    all_of_it = "history" in columns and "rejected" not in sides  # answers that were given before are learnt too
    found = conversations.learnt([*given, *sides["output"]], first=0 if all_of_it else len(given))
    if not found:
        raise Unreadable("holds no answer of the assistant's to learn from")
    return [{**one, "rejected": sides["rejected"][0].words} for one in found] if "rejected" in sides else found


def _shared(wholes: Sequence[Sequence[Message]]) -> list[Message]:
    """What whole conversations begin with alike, all but the last message of the shortest at most."""
    most = max(0, min(map(len, wholes)) - 1)
    alike = itertools.takewhile(lambda many: len({one.same for one in many}) == 1, zip(*wholes, strict=False))
    return [many[0] for many in itertools.islice(alike, most)]


def _agreeing(given: list[Message], shared: list[Message], columns: Mapping[str, str]) -> list[Message]:
    """What is given, in full, where the answers repeat it; raises Unreadable where they begin otherwise.

    A text beside whole conversations is one of the user's messages in them.
    """
    asked = [message.same for message in given if message.role != "system"]
    said = [message.same for message in shared if message.role != "system"]
    if asked and asked != said and not (len(asked) == 1 and asked[0] in said):
        beside = columns.get("input", columns.get("instruction", ""))
        raise Unreadable(f"column {columns['output']!r} begins with other messages than column {beside!r} holds")
    if any(message.role == "system" for message in shared):
        return shared
    return [*(message for message in given if message.role == "system"), *shared]


def _beginning(chosen: str, rejected: str, *, columns: Mapping[str, str]) -> str:
    """What two texts begin with alike, back to where a word begins."""
    alike = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(chosen, rejected, strict=False)))
    while alike and (_inside(chosen, alike) or _inside(rejected, alike)):
        alike -= 1
    shared = chosen[:alike]
    if not shared.strip():
        raise Unreadable(
            f"columns {columns['output']!r} and {columns['rejected']!r} begin with nothing in common, and no column "
            "holds what they answer"
        )
    return shared


def _inside(text: str, at: int) -> bool:
    """Whether a word, a number, or a character of several signs goes on at `at`."""
    left, right = text[at - 1], text[at : at + 1]
    if not right:
        return False
    if unicodedata.category(right).startswith("M") or not {left, right}.isdisjoint(_JOINERS):
        return True
    if _WORD.match(right) and (_WORD.match(left) or _marked(left)):
        return True
    if right.isdecimal():
        return left in _SIGNS
    return right in _SIGNS and left.isdecimal() and text[at + 1 : at + 2].isdecimal()


def _marked(sign: str) -> bool:
    """Whether this is a mark on a letter of a script that puts spaces between words."""
    return unicodedata.category(sign).startswith("M") and sign < "\u2e80"


def _side(row: Mapping[str, Any], name: str, *, role: str = "assistant") -> list[Message]:
    """A cell as messages; a text is one of `role`."""
    try:
        if talk := conversations.listed(row.get(name)):
            return conversations.heard(talk)
    except Unreadable as error:
        raise Unreadable(f"column {name!r}: {error}") from error
    return [Message(role, _filled(row, name))]


def _filled(row: Mapping[str, Any], name: str) -> str:
    """The text of a column that must hold one."""
    found = cell(row.get(name))
    if found is None:
        raise Unreadable(f"column {name!r} holds no text")
    return found


def _text(row: Mapping[str, Any], columns: Mapping[str, str], name: str) -> str:
    """The text of a column that may be empty or not be named at all."""
    value = row.get(columns[name]) if name in columns else None
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"column {columns[name]!r} holds no text")
    return value or ""


def cell(value: Any) -> str | None:
    """A cell as text: lists of texts are lines, numbers are digits; None when it holds neither."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return None
