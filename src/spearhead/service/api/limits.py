"""How much one key may ask for: requests a minute, tokens a minute, answers at once, each in a window of its own.

Counts in this process's memory. A refused request consumes none of the three. Knows nothing of money.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from spearhead.service.api.errors import ApiError

WINDOW = 60.0
MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """For each key; a window starts with its first request."""

    requests: int = 600
    """A minute."""
    tokens: int = 1_000_000
    """A minute, prompts and answers together."""
    parallel: int = 64
    """Requests at once."""


@dataclass(slots=True)
class _Window:
    start: float = float("-inf")
    used: int = 0

    def left(self, limit: int, moment: float) -> int:
        if moment - self.start >= WINDOW:
            self.start, self.used = moment, 0
        return limit - self.used

    def reset(self, moment: float) -> float:
        return max(0.0, WINDOW - (moment - self.start))


@dataclass(slots=True)
class _Use:
    requests: _Window = field(default_factory=_Window)
    tokens: _Window = field(default_factory=_Window)
    running: int = 0


@dataclass(slots=True)
class Ticket:
    """A request that was let in; give it back when it ends."""

    key: str
    tokens: int
    requests_start: float
    tokens_start: float


class Gate:
    """Lets requests in or refuses them, and says what is left."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._uses: OrderedDict[str, _Use] = OrderedDict()

    def enter(self, key: str, *, tokens: int) -> Ticket:
        """Count a request that may take `tokens`; raises a 429 that says when to come again, and counts nothing."""
        use, moment, limits = self._use(key), self._clock(), self.limits
        if use.running >= limits.parallel:
            raise self._refusal("parallel", f"{limits.parallel} requests of this key run already", use, 1.0)
        if use.requests.left(limits.requests, moment) < 1:
            text = f"this key may send {limits.requests} requests a minute"
            raise self._refusal("requests", text, use, use.requests.reset(moment))
        if tokens > limits.tokens:
            raise ApiError(
                429,
                f"The request may take {tokens:,} tokens, more than the {limits.tokens:,} that this key may have in a "
                "minute: ask for less.",
                kind="tokens",
                code="rate_limit_exceeded",
                headers={"x-should-retry": "false", **self.headers(key)},
            )
        if use.tokens.left(limits.tokens, moment) < tokens:
            text = f"this key may have {limits.tokens:,} tokens a minute"
            raise self._refusal("tokens", text, use, use.tokens.reset(moment))
        use.requests.used += 1
        use.tokens.used += tokens
        use.running += 1
        return Ticket(key, tokens, use.requests.start, use.tokens.start)

    def leave(self, ticket: Ticket, *, tokens: int) -> None:
        """The request is over and took `tokens`: what it did not take may be had by others in the same minute."""
        use = self._use(ticket.key)
        use.running -= 1
        if use.tokens.start == ticket.tokens_start:
            use.tokens.used = max(0, use.tokens.used - ticket.tokens + tokens)

    def refused(self, ticket: Ticket) -> None:
        """The request was refused after it had been let in: it counts for nothing."""
        self.leave(ticket, tokens=0)
        use = self._use(ticket.key)
        if use.requests.start == ticket.requests_start:
            use.requests.used = max(0, use.requests.used - 1)

    def headers(self, key: str) -> dict[str, str]:
        """The `x-ratelimit-*` headers as they stand."""
        use, moment, limits = self._use(key), self._clock(), self.limits
        return {
            "x-ratelimit-limit-requests": str(limits.requests),
            "x-ratelimit-limit-tokens": str(limits.tokens),
            "x-ratelimit-remaining-requests": str(max(0, use.requests.left(limits.requests, moment))),
            "x-ratelimit-remaining-tokens": str(max(0, use.tokens.left(limits.tokens, moment))),
            "x-ratelimit-reset-requests": duration(use.requests.reset(moment) if use.requests.used else 0.0),
            "x-ratelimit-reset-tokens": duration(use.tokens.reset(moment) if use.tokens.used else 0.0),
        }

    def _refusal(self, kind: str, text: str, use: _Use, seconds: float) -> ApiError:
        wait = max(1, -int(-seconds // 1))
        key = next(name for name, value in self._uses.items() if value is use)
        return ApiError(
            429,
            f"Rate limit reached: {text}. Try again in {wait} s.",
            kind=kind,
            code="rate_limit_exceeded",
            headers={"retry-after": str(wait), **self.headers(key)},
        )

    def _use(self, key: str) -> _Use:
        if (use := self._uses.get(key)) is None:
            use = self._uses[key] = _Use()
            if len(self._uses) > MOST_KEYS:
                for name in [name for name, old in self._uses.items() if not old.running and name != key][:100]:
                    del self._uses[name]
        return use


def duration(seconds: float) -> str:
    """Seconds as the API writes them.

    >>> duration(0.012), duration(6.5), duration(360)
    ('12ms', '6.5s', '6m0s')
    """
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
