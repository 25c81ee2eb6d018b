"""How much one key may ask for: requests a minute, tokens a minute, answers at once, each in a window of its own.

They hold for every process over the same database: this one counts in its memory within what it has leased there (see
ledger/rates.py), so that most requests ask nobody. A refused request consumes none of the three. Knows no money.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection

from spearhead.engine.desk import Desk
from spearhead.ledger import rates
from spearhead.ledger.keys import Principal
from spearhead.ledger.rates import Lease, Want
from spearhead.service.api.errors import ApiError
from spearhead.store.database import StoreUnavailable

WINDOW = 60.0
MOST_KEYS = 10_000
PART = 32
"""A lease is this part of a limit, or what a request needs if that is more."""
BEAT = 10.0
"""Seconds after which leases of running requests are renewed and what is not used is given back."""
LIFE = 30.0
"""Seconds for which a process that stopped renewing still holds its places."""
MEASURES = ("requests", "tokens", "parallel")


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
class _Share:
    """What this process has of one measure of one key, and what it used of that."""

    leased: int = 0
    used: int = 0
    others: int = 0
    """What the other processes had when this one last looked."""
    ends: float = 0.0

    def over(self, moment: float) -> bool:
        """Whether it ended; so did what ends too late to have begun by this clock, which has been set back since."""
        return not self.ends - 2 * WINDOW < moment < self.ends


@dataclass(slots=True)
class _Use:
    account: str
    requests: _Share = field(default_factory=_Share)
    tokens: _Share = field(default_factory=_Share)
    parallel: _Share = field(default_factory=_Share)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def share(self, measure: str) -> _Share:
        """The share of a measure."""
        return {"requests": self.requests, "tokens": self.tokens, "parallel": self.parallel}[measure]

    def go_on(self, moment: float) -> None:
        """A window that ended leaves nothing; a request that runs goes on running."""
        for share in (self.requests, self.tokens):
            if share.over(moment):
                share.leased = share.used = share.others = 0
                share.ends = 0.0
        if self.parallel.over(moment):
            self.parallel.leased = 0


@dataclass(slots=True)
class Ticket:
    """A request that was let in; give it back when it ends."""

    key: str
    tokens: int
    requests_end: float
    tokens_end: float


class Gate:
    """Lets requests in or refuses them, and says what is left."""

    def __init__(self, limits: Limits, desk: Desk, *, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self._desk, self._clock = desk, clock
        self._process = secrets.token_hex(8)
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        self._beat: asyncio.Task[None] | None = None

    async def enter(self, who: Principal, *, tokens: int) -> Ticket:
        """Count a request that may take `tokens`; raises a 429 that says when to come again, and counts nothing.

        Raises StoreUnavailable when more has to be leased and the database is away.
        """
        if tokens > self.limits.tokens:
            raise ApiError(
                429,
                f"The request may take {tokens:,} tokens, more than the {self.limits.tokens:,} that this key may have "
                "in a minute: ask for less.",
                kind="tokens",
                code="rate_limit_exceeded",
                headers={"x-should-retry": "false", **self.headers(who.key)},
            )
        use = self._use(who)
        if not self._fits(use, tokens):
            async with use.turn:  # one asks for all who wait: those behind it find more than they need
                while not self._fits(use, tokens):
                    await self._lease(who.key, use, tokens)
        use.requests.used += 1
        use.tokens.used += tokens
        use.parallel.used += 1
        if self._beat is None or self._beat.done():
            self._beat = asyncio.create_task(self._keep())
        return Ticket(who.key, tokens, use.requests.ends, use.tokens.ends)

    def leave(self, ticket: Ticket, *, tokens: int) -> None:
        """The request is over and took `tokens`: what it did not take may be had by others in the same minute."""
        use = self._uses[ticket.key]
        use.parallel.used -= 1
        if use.tokens.ends == ticket.tokens_end:
            use.tokens.used = max(0, use.tokens.used - ticket.tokens + tokens)

    def refused(self, ticket: Ticket) -> None:
        """The request was refused after it had been let in: it counts for nothing."""
        self.leave(ticket, tokens=0)
        use = self._uses[ticket.key]
        if use.requests.ends == ticket.requests_end:
            use.requests.used = max(0, use.requests.used - 1)

    def headers(self, key: str) -> dict[str, str]:
        """The `x-ratelimit-*` headers as they stand, as far as this process knows."""
        use, moment, found = self._uses.get(key) or _Use(""), self._clock(), {}
        for measure in ("requests", "tokens"):
            share, limit = use.share(measure), self._limit(measure)
            over = share.over(moment)
            left = limit if over else max(0, limit - share.others - share.used)
            reset = 0.0 if over or left == limit else share.ends - moment
            found[f"x-ratelimit-limit-{measure}"] = str(limit)
            found[f"x-ratelimit-remaining-{measure}"] = str(left)
            found[f"x-ratelimit-reset-{measure}"] = duration(reset)
        return found

    def _limit(self, measure: str) -> int:
        return {"requests": self.limits.requests, "tokens": self.limits.tokens, "parallel": self.limits.parallel}[
            measure
        ]

    def _fits(self, use: _Use, tokens: int) -> bool:
        use.go_on(self._clock())
        return (
            use.requests.used < use.requests.leased
            and use.tokens.used + tokens <= use.tokens.leased
            and use.parallel.used < use.parallel.leased
        )

    async def _lease(self, key: str, use: _Use, tokens: int) -> None:
        """Take more of what is short; raises the 429 of the first that is not to be had."""
        moment, wants = self._clock(), []
        for measure, needed in (("parallel", 1), ("requests", 1), ("tokens", tokens)):
            share, limit = use.share(measure), self._limit(measure)
            if share.used + needed <= share.leased:
                continue
            life = LIFE if measure == "parallel" else WINDOW
            least = share.used + needed
            most = max(least, share.used + -(-limit // PART))
            until = int((moment + life) * 1000)
            wants.append(Want(measure, least, most, limit, until, renews=measure == "parallel"))
        if not wants:
            return
        work = partial(
            rates.take, key=key, account=use.account, process=self._process, wants=wants, moment=int(moment * 1000)
        )
        leases = await self._desk.write(work, account=use.account, durable=False)
        granted = all(lease.amount >= want.least for lease, want in zip(leases, wants, strict=True))
        for lease in leases:
            share = use.share(lease.measure)
            share.others = lease.others
            if granted:
                share.leased = lease.amount
            if granted or (lease.others and lease.measure != "parallel"):
                share.ends = lease.until / 1000
        for lease, want in zip(leases, wants, strict=True):
            if lease.amount < want.least:
                raise self._refusal(lease, key, moment)

    async def _keep(self) -> None:
        """Renew the places of what runs and give back what is not used, until there is nothing to look after."""
        while True:
            await asyncio.sleep(BEAT)
            moment, less = self._clock(), self._spare()
            running = [use.parallel for use in self._uses.values() if use.parallel.used and use.parallel.leased]
            if not running and not less:
                return
            until = moment + LIFE
            try:
                await self._desk.write(partial(self._kept, until=int(until * 1000), less=less), durable=False)
            except StoreUnavailable:
                continue  # what was given back here comes back there when its window ends
            for share in running:
                share.ends = max(share.ends, until)

    def _kept(self, connection: Connection, *, until: int, less: list[tuple[str, str, int]]) -> None:
        rates.keep(connection, process=self._process, renewed=["parallel"], until=until, less=less)

    def _spare(self) -> list[tuple[str, str, int]]:
        """What is leased and not used, given up here: key, measure, what stays."""
        less, moment = [], self._clock()
        for key, use in self._uses.items():
            use.go_on(moment)
            for measure in ("tokens", "parallel"):
                share = use.share(measure)
                part = -(-self._limit(measure) // PART) if measure == "tokens" or share.used else 0
                if share.leased > share.used + 2 * part:
                    share.leased = share.used + part
                    less.append((key, measure, share.leased))
        return less

    def _refusal(self, lease: Lease, key: str, moment: float) -> ApiError:
        limits = self.limits
        text, seconds = {
            "parallel": (f"{limits.parallel} requests of this key run already", 1.0),
            "requests": (f"this key may send {limits.requests} requests a minute", lease.until / 1000 - moment),
            "tokens": (f"this key may have {limits.tokens:,} tokens a minute", lease.until / 1000 - moment),
        }[lease.measure]
        wait = max(1, -int(-seconds // 1))
        return ApiError(
            429,
            f"Rate limit reached: {text}. Try again in {wait} s.",
            kind=lease.measure,
            code="rate_limit_exceeded",
            headers={"retry-after": str(wait), **self.headers(key)},
        )

    def _use(self, who: Principal) -> _Use:
        if (use := self._uses.get(who.key)) is None:
            if len(self._uses) >= MOST_KEYS:
                self._forget()
            use = self._uses[who.key] = _Use(who.account)
        return use

    def _forget(self) -> None:
        """Keys without a window that runs: of the others the database would not know what was used here."""
        moment = self._clock()
        for key, use in list(self._uses.items()):
            use.go_on(moment)
            if not (use.parallel.used or use.parallel.leased or use.requests.ends or use.tokens.ends):
                del self._uses[key]


def duration(seconds: float) -> str:
    """Seconds as the API writes them.

    >>> duration(0.012), duration(6.5), duration(360)
    ('12ms', '6.5s', '6m0s')
    """
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
