"""A request, the drafts that answer it, and the events that the engine makes of them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from spearhead.core.media import Media
from spearhead.core.review import Verdict
from spearhead.core.sentence import Said
from spearhead.core.template import Segment


@dataclass(frozen=True, slots=True)
class Request:
    """What an account asks of a scenario.

    `messages` for dialogue (role and content), else `prompt`, else several `prompts` that are answered alike; `count`
    answers to each, those to prompt number i from i x `count` on; `key` makes the request idempotent: the same key is
    the same request. `options` were checked against the release's options schema.
    """

    scenario: str
    account: str
    key: str
    prompt: str = ""
    prompts: tuple[str, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()
    count: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    note: Mapping[str, Any] = field(default_factory=dict)
    """What the caller wants kept with the answers, as JSON; nothing here reads it."""

    @property
    def answers(self) -> int:
        """How many there will be."""
        return self.count * max(1, len(self.prompts))


@dataclass(frozen=True, slots=True)
class Usage:
    """Units that the runtime itself counted; never estimated, and an explicit zero stays zero."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    unit: str = "token"

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt + other.prompt, self.completion + other.completion, self.cached + other.cached, self.unit
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """A text delta, a preview or, with `finish` set, the end of answer number `index`.

    `finish` is `stop`, `length` or `cancelled`. `usage` is cumulative for this answer, from the runtime.
    """

    index: int = 0
    delta: str = ""
    media: Media | None = None
    usage: Usage = Usage()
    finish: str | None = None
    logprobs: Any = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator gets: segments (see `template`), how many answers, sampling options, a seed."""

    segments: tuple[Segment, ...]
    count: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()


def seed_of(seed: int, index: int) -> int:
    """The seed of answer number `index` to a prompt with `seed`; past the largest that a row can hold it begins at 0.

    >>> seed_of(7, 2), seed_of(2**63 - 1, 1)
    (9, 0)
    """
    following = seed + index
    return following if following < 1 << 63 else following - (1 << 63)


class Generator(Protocol):
    """A loaded release that answers prompts; knows nothing of accounts, review or labels."""

    @property
    def context(self) -> int:
        """The most units that prompt and answer may have together."""
        ...

    def measure(self, prompt: Prompt) -> int:
        """How many units the prompt has; raises InputError when it cannot be read."""
        ...

    def generate(self, prompt: Prompt) -> AsyncIterator[Draft]:
        """Drafts until each answer has finished. Closing the iterator stops the work at the next unit."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was counted and charged for one request."""

    request: str
    usage: Usage
    amount: int
    """Billionths of `currency`."""
    currency: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """Money is reserved and the prompt passed review; work begins."""

    request: str
    release: str
    reserved: int


@dataclass(frozen=True, slots=True)
class Released:
    """Reviewed text of answer `index` that may be shown."""

    index: int
    delta: str
    logprobs: Any = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long step is: `done` of `total` in `unit`, with a short note."""

    stage: str
    done: float
    total: float
    note: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Review refused the prompt; nothing was generated and nothing is charged."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Held:
    """Answer `index` waits for a person; its result will be at `/v1/outputs/{review}`."""

    index: int
    review: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Withheld:
    """Review blocked answer `index`; `shown` characters had left before."""

    index: int
    verdict: Verdict
    shown: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """Answer `index` is complete, labelled and stored as `output`."""

    index: int
    output: str
    text: str
    finish: str
    usage: Usage
    file: Media
    seed: int | None
    """What it was drawn with."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The last event of every request that was accepted: the money is final."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Failed:
    """The runtime failed; what was made so far is settled by its own count."""

    reason: Said
    code: str


Event = Accepted | Released | Progress | Refused | Held | Withheld | Delivered | Settled | Failed
