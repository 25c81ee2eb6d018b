"""How a person's words become the prompt that a model was trained on: text segments, markers kept apart.

A marker is a special token of the model's vocabulary. A person's words are never read as markers: whoever
tokenizes (training and serving alike) encodes a `Segment` with `special=False` as plain text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spearhead.core.errors import InputError

Turns = tuple[Mapping[str, str], ...]
"""Messages of a conversation, each with a `role` (system, user, assistant) and a `content`."""
Given = str | Turns
"""What an answer is wanted to: a person's words, or a conversation that ends with them."""


def given(words: str, *, before: Turns = ()) -> Given:
    """A person's words with what was said before them.

    >>> given("And why?", before=({"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}))[-1]
    {'role': 'user', 'content': 'And why?'}
    """
    return (*before, {"role": "user", "content": words}) if before else words


def said(before: Turns, words: str) -> str:
    """The words of a conversation, one message under the other."""
    return "\n".join((*(message["content"] for message in before), words))


def reworded(asked: Given, change: Callable[[str], str]) -> Given:
    """The same with the person's last words changed."""
    return change(asked) if isinstance(asked, str) else given(change(asked[-1]["content"]), before=asked[:-1])


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text; `special` when it may hold markers such as `<|im_start|>`."""

    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One solved example for few-shot prompts."""

    input: str
    """What is given."""
    output: str
    """What is answered to it."""


@dataclass(frozen=True, slots=True)
class Template:
    """`chat` wraps turns as ChatML; `plain` puts the words between `before` and `after` and nothing more.

    `before` and `after` are the scenario's own words and may hold markers. `stop` ends an answer.
    """

    style: str = "chat"
    """`chat`: turns as ChatML; `plain`: a person's words alone, between `before` and `after`."""
    system: str = ""
    """chat: the system message that every prompt begins with."""
    before: str = ""
    """What stands before a person's words."""
    after: str = ""
    """What stands after them."""
    examples: tuple[Example, ...] = ()
    """Solved examples that every prompt shows first."""
    stop: str = "<|im_end|>"
    """The marker that ends an answer."""

    def __post_init__(self) -> None:
        if self.style not in ("chat", "plain"):
            raise InputError(f"template style {self.style!r} is unknown: wanted 'chat' or 'plain'")

    def single(self, asked: Given) -> list[Segment]:
        """The prompt for one input: what `turns` makes of it when a client sends the same."""
        return self.turns([{"role": "user", "content": asked}] if isinstance(asked, str) else asked)

    def turns(self, messages: Sequence[Mapping[str, str]]) -> list[Segment]:
        """The prompt for a conversation that ends with a user's turn.

        A `plain` template takes the last user's message only. Roles: system, user, assistant. A conversation that
        begins with the template's own system prompt has it once.
        """
        if not messages or messages[-1].get("role") != "user":
            raise InputError("the last message must be the user's")
        if self.style == "plain":
            out: list[Segment] = []
            for example in self.examples:
                out += [
                    Segment(self.before, True),
                    Segment(example.input, False),
                    Segment(self.after, True),
                    Segment(example.output, False),
                    Segment(self.stop, True),
                ]
            out += [Segment(self.before, True), Segment(messages[-1]["content"], False), Segment(self.after, True)]
            return [segment for segment in out if segment.text]
        out = []
        if self.system:
            out += self._turn("system", self.system)
            first = messages[0]
            if first["role"] == "system" and first["content"].strip() == self.system.strip():
                messages = messages[1:]
        for example in self.examples:
            out += self._turn("user", example.input, fill=True) + self._turn("assistant", example.output)
        for message in messages:
            role = message.get("role")
            if role not in ("system", "user", "assistant"):
                raise InputError(f"role {role!r} is unknown: wanted system, user or assistant")
            out += self._turn(role, message["content"], fill=role == "user")
        return [*out, Segment("<|im_start|>assistant\n", True)]

    def _turn(self, role: str, words: str, *, fill: bool = False) -> list[Segment]:
        before, after = (self.before, self.after) if fill else ("", "")
        parts = [
            Segment(f"<|im_start|>{role}\n{before}", True),
            Segment(words, False),
            Segment(f"{after}<|im_end|>\n", True),
        ]
        return [part for part in parts if part.text]
