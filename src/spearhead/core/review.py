"""What checks find and what policies decide. Checks look; policies decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from spearhead.core.bounds import Count, Share
from spearhead.core.media import Media
from spearhead.core.sentence import Said


class Direction(StrEnum):
    """Which way a piece goes: admitted as data, asked by a user, or about to leave."""

    DATA = "data"
    PROMPT = "prompt"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check saw; `severity` is in 0..1; `start` and `end` are character offsets where it has them."""

    check: str
    category: str
    severity: float
    reason: Said
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a check may know besides the piece itself."""

    scenario: str
    direction: Direction
    language: str | None = None
    source: Media | None = None
    """For an output: what it was made from."""


class Check(Protocol):
    """What a folder under `review/` exports as `CHECK`. Never raises on broken media: it says so in a finding."""

    @property
    def name(self) -> str: ...
    @property
    def modality(self) -> str: ...
    @property
    def reach(self) -> int:
        """The longest run of characters one finding can span, so that a stream holds back that many."""
        ...

    def __call__(self, item: Media, context: Context) -> list[Finding]: ...


class Decision(StrEnum):
    """What happens with a piece."""

    ALLOW = "allow"
    HOLD = "hold"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, what it rests on, and the digest of the policy that made it."""

    decision: Decision
    findings: tuple[Finding, ...]
    policy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """From this severity on, a category in a direction is held or blocked; of data, either keeps the record out.

    A policy without a rule for data keeps out what `data.checks` find from 0.5 on.
    """

    category: str
    """One category of findings or a list of them; `*`: all that no other rule of that direction names."""
    direction: Direction
    """What is looked at: `data`, `prompt` or `output`."""
    hold: Share | None = None
    """From this severity on a person decides."""
    block: Share | None = None
    """From this severity on it is refused."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which checks run and what their findings lead to; data, so that it can be versioned and shown."""

    checks: tuple[str, ...]
    """Names of the checks that look, as in plug-ins.md."""
    rules: tuple[Rule, ...]
    """What findings lead to; one of a category without a rule is held for a person."""
    stream: Literal["strict", "fast"] = "strict"
    """`strict`: nothing leaves unchecked; `fast`: checked behind what has left, and cut off."""
    held_hours: Count = 24
    """After so long unanswered, a held item is rejected."""
    people: Count = 1
    """How many different people must approve a held item."""
    withdrawn: Literal["serve", "stop"] = "serve"
    """Whether a release answers on once a record that it learnt from is withdrawn."""
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Options of a check by its name."""
