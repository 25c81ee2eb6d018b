"""From conversations as people write them down to each answer and all that was said before it. Knows no tables.

Messages are OpenAI's (`role`, `content`), ShareGPT's (`from`, `value`), or a dialogue in one text, as Anthropic writes
it ("\\n\\nHuman: ... \\n\\nAssistant: ..."). What a served scenario could not be sent (tools, pictures, other roles) is
refused with its reason, the whole conversation of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spearhead.core.record import before
from spearhead.data.items import Unreadable

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
CALLS = ("tool_calls", "function_call", "tool_call_id")
TOOLS = ("tools", "functions")
"""What stands beside a conversation and offers a model what a scenario has not."""
MOST_MESSAGES = 200
MOST_CHARACTERS = 200_000
"""Of a conversation: every answer of it is a record with all that was said before it."""
SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody said; `role` is system, user or assistant."""

    role: str
    words: str
    learnt: bool = True
    """Of an answer: whether it is learnt, or shown alone."""

    @property
    def same(self) -> tuple[str, str]:
        """What two messages that say the same have alike."""
        return self.role, self.words.strip()


def listed(value: Any) -> Sequence[Any] | None:
    """The messages of a cell, not yet looked at; None when it holds something else.

    A list of objects, one of them alone, such a list inside `messages` or as JSON text, lists of roles and contents
    side by side, or a dialogue in one text.

    >>> listed({"role": ["user"], "content": ["Who?"]})
    [{'role': 'user', 'content': 'Who?'}]
    """
    if isinstance(value, str):
        return _dialogue(value) or _written(value)
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list | tuple):
            return listed(value["messages"])
        for role, words in (("role", "content"), ("from", "value")):
            if isinstance(value.get(role), list) and isinstance(value.get(words), list):
                return [{role: one, words: other} for one, other in zip(value[role], value[words], strict=False)]
        return [value] if _says(value) else None
    if isinstance(value, list | tuple) and (not value or any(isinstance(one, dict) for one in value)):
        return value
    return None


def untooled(row: Mapping[str, Any]) -> None:
    """Raises Unreadable where tools are offered."""
    for name in TOOLS:
        if row.get(name) not in (None, "", "[]", [], {}):
            raise Unreadable(f"column {name!r} offers tools: a scenario calls none")


def _written(text: str) -> Sequence[Any] | None:
    """Messages that are JSON in a text, as tables keep them that know no lists."""
    if not text.lstrip().startswith(("[{", "[ {", "[\n", "{")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = listed(value) if isinstance(value, dict | list) else None
    if not found or not all(map(_says, found)):
        return None
    alone = isinstance(value, dict) and found == [value]  # as what is taken out of a letter: from somebody, a value
    return None if alone and _speaker(value) not in ROLES else found


def _says(one: Any) -> bool:
    """Whether an object is a message, and not another one that happens to be from somewhere."""
    return isinstance(one, dict) and any(names <= one.keys() for names in ({"role", "content"}, {"from", "value"}))


def _dialogue(text: str) -> list[dict[str, str]]:
    """The messages of a text that begins with `Human:` or `Assistant:`; none when it is no dialogue of both.

    An answer that is only announced, as at the end of a prompt, is no message.
    """
    _, *pieces = SPEAKER.split(text) if text.lstrip().startswith(("Human:", "Assistant:")) else [""]
    found = [
        {"from": {"Human": "human", "Assistant": "gpt"}[who], "value": words.strip()}
        for who, words in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    if len({one["from"] for one in found}) < 2:
        return []
    return found[:-1] if found[-1] == {"from": "gpt", "value": ""} else found


def heard(messages: Sequence[Any]) -> list[Message]:
    """The messages as the API takes them; an empty one of the system's is none. Raises Unreadable with the reason."""
    if len(messages) > MOST_MESSAGES:
        raise Unreadable(f"has {len(messages)} messages, at most {MOST_MESSAGES} are read: split it")
    found = []
    for number, message in enumerate(messages, 1):
        role, words = _role(message, number), _words(message, number)
        learnt = role != "assistant" or _weight(message, number)
        if words.strip():
            found.append(Message(role, words, learnt))
        elif role != "system":
            raise Unreadable(f"message {number} is empty")
    return found


def answers(messages: Sequence[Any], *, system: str = "") -> list[dict[str, str]]:
    """The parts of every answer of a conversation: the user's words before it, and each message before them.

    An answer of weight 0 (OpenAI's way to have it shown and not learnt) is said and not learnt; so are the assistant's
    words that open a conversation, and what a user says last without an answer. Raises Unreadable with the reason.
    """
    found = learnt([*([Message("system", system)] if system else []), *heard(messages)])
    if not found:
        raise Unreadable("holds no answer of the assistant's to learn from")
    return found


def learnt(talk: Sequence[Message], *, first: int = 0) -> list[dict[str, str]]:
    """The parts of every answer from message `first` on; raises Unreadable where one answers nobody."""
    long = sum(len(message.words) for message in talk)
    if len(talk) > 2 and long > MOST_CHARACTERS:  # a single pair says nothing twice
        raise Unreadable(f"has {long} characters, at most {MOST_CHARACTERS} are read: split it")
    said = {before(number, message.role): message.words for number, message in enumerate(talk)}
    names, found = list(said), []
    asked = False
    for at, message in enumerate(talk):
        asked = asked or message.role == "user"
        if message.role != "assistant":
            continue
        last = talk[at - 1].role if at else ""
        if last != "user" and (asked or last == "assistant"):
            raise Unreadable(f"message {at + 1} is the assistant's and answers none of the user's")
        if asked and message.learnt and at >= first:
            earlier = {name: said[name] for name in names[: at - 1]}
            found.append({**earlier, "input": said[names[at - 1]], "output": message.words})
    return found


def _speaker(message: Mapping[str, Any]) -> Any:
    return message.get("role") or message.get("from")


def _role(message: Any, number: int) -> str:
    if not isinstance(message, dict):
        raise Unreadable(f"message {number} is no object with role and content, or from and value")
    if calls := [name for name in CALLS if message.get(name)]:
        raise Unreadable(f"message {number} has {calls[0]}: a scenario calls no tools")
    role = _speaker(message)
    if not isinstance(role, str) or role not in ROLES:
        raise Unreadable(f"message {number} is of the role {str(role)[:40]!r}: wanted {', '.join(ROLES)}")
    return ROLES[role]


def _words(message: Mapping[str, Any], number: int) -> str:
    """A message's text; of a list of pieces that are all texts, a line each, as the API reads them."""
    content = message.get("value") if message.get("content") is None else message["content"]
    pieces: Sequence[Any] = content if isinstance(content, list | tuple) else [{"type": "text", "text": content}]
    texts: list[str] = []
    for piece in pieces:
        kind = piece.get("type") if isinstance(piece, dict) else None
        if kind != "text":
            raise Unreadable(f"message {number} holds a piece of type {str(kind)[:40]!r}: wanted text alone")
        if not isinstance(piece.get("text"), str):
            raise Unreadable(f"message {number} holds no text")
        texts.append(piece["text"])
    return "\n".join(texts)


def _weight(message: Mapping[str, Any], number: int) -> bool:
    weight = message.get("weight")
    if weight not in (None, 0, 1):
        raise Unreadable(f"message {number} has the weight {str(weight)[:40]}: wanted 0 or 1")
    return weight != 0
