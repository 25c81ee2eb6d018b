"""How much a key, an account or a team may have: requests, tokens, answers at once, money, each in its own window.

Limits are rows in the store, so they hold for every process together. A request that is refused, by a limit or by
review, or that is given back, counts for nothing. The counters are a cache of what the reservations say: `check`
recomputes them. Windows are those of the clock in UTC (a minute, hour, day or month). Knows nothing of prices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.sentence import Said, said
from spearhead.store.database import reading, writing
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import OPEN, accounts, keys, limit_windows, rate_leases, reservations, team_members, teams
from spearhead.store.tables import limits as table

MEASURES = ("requests", "tokens", "parallel", "budget")
SPANS = ("minute", "hour", "day", "month")
MOST = 10**17
KINDS = ("key", "account", "team")


class LimitReached(SpearheadError):
    """There is no room in a window (an API answers 429 `rate_limit_exceeded`); `seconds` until it may be had again."""

    def __init__(self, message: Said, *, measure: str, seconds: int | None) -> None:
        super().__init__(message)
        self.measure, self.seconds = measure, seconds


class BudgetSpent(SpearheadError):
    """A budget has less left than this may cost (an API answers 429 `insufficient_quota`)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most of a measure that a subject (`key:ID`, `account:ID`, `team:ID`) may have in a span.

    Tokens are units of any kind; a budget is billionths; `parallel` has no span.
    """

    subject: str
    measure: str
    span: str
    most: int


@dataclass(frozen=True, slots=True)
class Team:
    """Accounts that share limits, and the currency that budgets are in."""

    id: str
    members: tuple[str, ...]
    """Ids of accounts; each is in one team at most."""


_team = Prepared(sa.select(team_members.c.team).where(team_members.c.account == sa.bindparam("account")))
_SUBJECTS: list[Any] = [sa.bindparam(kind) for kind in KINDS]
"""Of one request; one that it does not have is null, which nothing equals."""
_limits = Prepared(sa.select(table).where(table.c.subject.in_(_SUBJECTS)).order_by(table.c.id))
_one_window = (
    limit_windows.c.subject == sa.bindparam("of"),
    limit_windows.c.measure == sa.bindparam("by"),
    limit_windows.c.span == sa.bindparam("over"),
    limit_windows.c.start == sa.bindparam("since"),
)
_window_used = Prepared(sa.select(limit_windows.c.used).where(*_one_window))
_set_window = Prepared(limit_windows.update().where(*_one_window).values(used=sa.bindparam("count")))
_change_window = Prepared(
    limit_windows.update().where(*_one_window).values(used=limit_windows.c.used + sa.bindparam("by_so_much"))
)
_insert_window = Prepared(insertion(limit_windows))
_team_locked = Prepared(sa.select(teams.c.id).where(teams.c.id == sa.bindparam("team")).with_for_update())
_COLUMNS = {"key": reservations.c.key_id, "account": reservations.c.account, "team": reservations.c.team}


def set_limit(
    store: Engine | Connection,
    subject: str,
    *,
    measure: str,
    span: str = "",
    most: int | None,
    actor: str,
    clock: Clock = now,
) -> None:
    """Let `subject` have at most so much from now on; None lifts the limit. Earlier limits stay on record.

    What was used while no limit held was not counted: the next request counts anew, from the reservations.
    """
    kind, _, id = subject.partition(":")
    if kind not in KINDS or not id:
        raise InputError(f"{subject[:80]!r} is no subject of a limit: wanted key:ID, account:ID or team:ID.")
    if measure not in MEASURES:
        raise InputError(said("ledger.limit.measure", given=measure[:40], measures=MEASURES))
    if (span != "") if measure == "parallel" else (span not in SPANS):
        if measure == "parallel":
            raise InputError(said("ledger.limit.no_span", measure=measure, given=span[:40]))
        raise InputError(said("ledger.limit.span", measure=measure, spans=SPANS, given=span[:40]))
    if most is not None and not (type(most) is int and 0 <= most <= MOST):
        raise InputError(said("ledger.limit.most", given=repr(most), most=MOST))
    home = {"key": keys.c.id, "account": accounts.c.id, "team": teams.c.id}[kind]
    same = (limit_windows.c.subject == subject, limit_windows.c.measure == measure, limit_windows.c.span == span)
    with writing(store) as connection:
        if not connection.execute(sa.select(home).where(home == id)).first():
            raise InputError(f"There is no {kind} {id[:64]!r}.")
        connection.execute(limit_windows.delete().where(*same))
        connection.execute(
            table.insert().values(
                subject=subject, measure=measure, span=span, most=most, actor=actor, created=stamp(clock())
            )
        )


def follow(connection: Connection, old: str, new: str, *, clock: Clock = now) -> None:
    """Set every limit of the subject `old` that holds for `new` as well, in the name of who set it."""
    rows = connection.execute(sa.select(table).where(table.c.subject == old).order_by(table.c.id)).all()
    actors = {(row.measure, row.span): row.actor for row in rows}
    for limit in _newest(rows):
        actor = actors[limit.measure, limit.span]
        set_limit(connection, new, measure=limit.measure, span=limit.span, most=limit.most, actor=actor, clock=clock)


def create_team(store: Engine | Connection, name: str, *, clock: Clock = now) -> str:
    """A new team without members; gives its id, which is made of its name."""
    if not (0 < len(name) <= 60 and name.isascii() and name.replace("-", "").isalnum() and name == name.lower()):
        raise InputError(said("ledger.team.name", given=name[:60]))
    with writing(store) as connection:
        if connection.execute(sa.select(teams.c.id).where(teams.c.id == name)).first():
            raise InputError(said("ledger.team.there", team=name))
        connection.execute(teams.insert().values(id=name, name=name, created=stamp(clock())))
    return name


def join(store: Engine | Connection, team: str, account: str, *, clock: Clock = now) -> None:
    """Make `account` a member of `team`, and of no other; what it asks for from now on counts for the team."""
    with writing(store) as connection:
        coin = connection.scalar(
            sa.select(accounts.c.currency).where(accounts.c.id == account).with_for_update(key_share=True)
        )
        if coin is None:
            raise InputError(said("ledger.no_account", account=account[:64]))
        if not connection.execute(sa.select(teams.c.id).where(teams.c.id == team).with_for_update()).first():
            raise InputError(said("ledger.no_team", team=team[:64]))
        others = connection.scalars(
            sa.select(accounts.c.currency)
            .join(team_members, team_members.c.account == accounts.c.id)
            .where(team_members.c.team == team, accounts.c.currency != coin)
        ).all()
        if others:
            raise InputError(said("ledger.team.currency", team=team, counts=others[0], account=account, holds=coin))
        connection.execute(team_members.delete().where(team_members.c.account == account))
        connection.execute(team_members.insert().values(account=account, team=team, since=stamp(clock())))


def quit_team(store: Engine | Connection, team: str, account: str) -> None:
    """Take `account` out of `team`; what it asked for while it was a member still counts for the team."""
    with writing(store) as connection:
        # As `join`: no request of this account comes in meanwhile.
        connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account).with_for_update(key_share=True))
        here = team_members.delete().where(team_members.c.account == account, team_members.c.team == team)
        if not connection.execute(here).rowcount:
            raise InputError(said("ledger.team.no_member", account=account[:64], team=team[:64]))


def all_teams(store: Engine | Connection) -> list[Team]:
    """Every team by its name, with its members, longest in it first."""
    t = team_members.c
    with reading(store) as connection:
        found: dict[str, list[str]] = {
            name: [] for name in connection.scalars(sa.select(teams.c.id).order_by(teams.c.id))
        }
        for team, account in connection.execute(sa.select(t.team, t.account).order_by(t.since, t.account)).tuples():
            found[team].append(account)
    return [Team(name, tuple(members)) for name, members in found.items()]


def of(store: Engine | Connection, *, subject: str | None = None) -> list[Limit]:
    """The limits that hold, of one subject or of all."""
    query = sa.select(table).order_by(table.c.id)
    with reading(store) as connection:
        return _newest(connection.execute(query.where(table.c.subject == subject) if subject else query).all())


def there_are(
    *, key: sa.ColumnElement[Any], account: sa.ColumnElement[Any], team: sa.ColumnElement[Any]
) -> sa.ColumnElement[bool]:
    """Whether limits of these are on record, as a part of a statement that has their ids; one without an id has none.

    Whoever finds that there are none need not `enter` or `leave`: most requests meet no limit.
    """
    ids = {"key": key, "account": account, "team": team}
    subjects = [sa.literal_column(f"'{kind}:'", sa.String) + id for kind, id in ids.items()]
    return sa.exists().where(table.c.subject.in_(subjects))


def enter(
    connection: Connection,
    *,
    account: str,
    key: str | None,
    team: str | None,
    tokens: int,
    budget: int,
    moment: datetime,
) -> None:
    """Count a request that may take so many tokens and so much money.

    Raises LimitReached or BudgetSpent and counts nothing. Behind the account's lock; the team's is taken here, always
    after it.
    """
    here = _newest(_limits.all(connection, _of(account=account, key=key, team=team)))
    if not here:
        return
    _lock(connection, team)
    asked = {"requests": 1, "tokens": tokens, "budget": budget}
    counted: list[tuple[Limit, str, int]] = []
    for limit in here:
        if limit.measure == "parallel":
            if (running := _running(connection, limit.subject)) >= limit.most:
                raise LimitReached(
                    said("ledger.limit.parallel", running=running, who=limit.subject, most=limit.most),
                    measure="parallel",
                    seconds=1,
                )
            continue
        start, end = window(limit.span, moment)
        used = _used(connection, limit.subject, measure=limit.measure, span=limit.span, start=start, end=end)
        _refuse(limit, used=used, asked=asked[limit.measure], seconds=max(1, math.ceil((end - moment).total_seconds())))
        counted.append((limit, stamp(start), used + asked[limit.measure]))
    for limit, since, used in counted:
        _count(connection, limit, start=since, used=used)


def add(connection: Connection, *, account: str, key: str | None, team: str | None, created: str, budget: int) -> None:
    """Count money that is held for work that was let in before: it is within what that work was let in with."""
    leave(connection, account=account, key=key, team=team, created=created, requests=0, tokens=0, budget=budget)


def leave(
    connection: Connection,
    *,
    account: str,
    key: str | None,
    team: str | None,
    created: str,
    requests: int,
    tokens: int,
    budget: int,
) -> None:
    """Change what a request counts for, in the windows that it came in: negative gives back."""
    changed = {name: by for name, by in (("requests", requests), ("tokens", tokens), ("budget", budget)) if by}
    if not changed:
        return
    # Counters of limits that were lifted are gone: see `set_limit`.
    here = _newest(_limits.all(connection, _of(account=account, key=key, team=team)))
    if not here:
        return
    _lock(connection, team)  # other members' requests come and go meanwhile
    moment = datetime.fromisoformat(created)
    for limit in here:
        if limit.measure in changed:
            since = stamp(window(limit.span, moment)[0])
            of = {"of": limit.subject, "by": limit.measure, "over": limit.span, "since": since}
            _change_window.run(connection, {**of, "by_so_much": changed[limit.measure]})


def left(store: Engine | Connection, subjects: Sequence[str], *, clock: Clock = now) -> list[tuple[Limit, int]]:
    """Every limit of `subjects` with what is used of it now."""
    moment, found = clock(), []
    with reading(store) as connection:
        here = sa.select(table).where(table.c.subject.in_(list(subjects))).order_by(table.c.id)
        for limit in _newest(connection.execute(here).all()):
            if limit.measure == "parallel":
                found.append((limit, _running(connection, limit.subject)))
                continue
            start, end = window(limit.span, moment)
            found.append((limit, _counted(connection, limit.subject, measure=limit.measure, start=start, end=end)))
        return found


def subjects_of(store: Engine | Connection, account: str, key: str | None = None) -> list[str]:
    """Everything whose limits a request of this account and key must keep."""
    with reading(store) as connection:
        found = _of(account=account, key=key, team=_team.scalar(connection, {"account": account}))
        return [subject for subject in found.values() if subject is not None]


def check(store: Engine | Connection) -> list[str]:
    """Every counter that does not say what the reservations say, a sentence each."""
    problems = []
    with reading(store) as connection:
        for row in connection.execute(sa.select(limit_windows)):
            start, end = window(row.span, datetime.fromisoformat(row.start))
            real = _counted(connection, row.subject, measure=row.measure, start=start, end=end)
            if real != row.used:
                problems.append(
                    f"{row.subject} has used {row.used} {row.measure} of the {row.span} {row.start}, "
                    f"and its reservations {real}."
                )
    return problems


def purge(store: Engine | Connection, *, clock: Clock = now) -> int:
    """Forget the counters of windows that are long over, and leases that ended; the number of counters.

    A month's are kept for two, the others, of which there may be one a minute, for three days: a request that ends
    later than that finds none to change, and what is asked for again is counted anew.
    """
    with writing(store) as connection:
        connection.execute(rate_leases.delete().where(rate_leases.c.expires < int(clock().timestamp() * 1000)))
        short, long = (stamp(clock() - timedelta(days=days)) for days in (3, 62))
        begun = limit_windows.c.start
        old = sa.and_(begun < short, sa.or_(limit_windows.c.span != "month", begun < long))
        return connection.execute(limit_windows.delete().where(old)).rowcount


def window(span: str, moment: datetime) -> tuple[datetime, datetime]:
    """The first moment of the window that holds `moment`, and the first after it.

    >>> window("month", datetime.fromisoformat("2026-12-05T10:00:00+00:00"))[1].isoformat()
    '2027-01-01T00:00:00+00:00'
    """
    start = moment.replace(second=0, microsecond=0)
    if span == "minute":
        return start, start + timedelta(minutes=1)
    start = start.replace(minute=0)
    if span == "hour":
        return start, start + timedelta(hours=1)
    start = start.replace(hour=0)
    if span == "day":
        return start, start + timedelta(days=1)
    start = start.replace(day=1)
    return start, (start + timedelta(days=32)).replace(day=1)


def _refuse(limit: Limit, *, used: int, asked: int, seconds: int) -> None:
    rest = limit.most - used
    if asked <= rest:
        return
    who = limit.subject
    if limit.measure == "budget":
        raise BudgetSpent(said("ledger.limit.budget", who=who, left=max(0, rest), span=limit.span, cost=asked))
    if asked > limit.most:
        raise LimitReached(
            said("ledger.limit.never", asked=asked, measure=limit.measure, most=limit.most, who=who, span=limit.span),
            measure=limit.measure,
            seconds=None,
        )
    raise LimitReached(
        said("ledger.limit.later", who=who, most=limit.most, measure=limit.measure, span=limit.span, seconds=seconds),
        measure=limit.measure,
        seconds=seconds,
    )


def _lock(connection: Connection, team: str | None) -> None:
    """Hold the team's other members off until this transaction ends; always after the account's own lock."""
    if team is not None and connection.dialect.name != "sqlite":
        _team_locked.all(connection, {"team": team})


def _of(*, account: str, key: str | None, team: str | None) -> dict[str, str | None]:
    """The subjects of one request, by kind."""
    return {
        "key": None if key is None else f"key:{key}",
        "account": f"account:{account}",
        "team": None if team is None else f"team:{team}",
    }


def _newest(rows: Sequence[Any]) -> list[Limit]:
    newest: dict[tuple[str, str, str], int | None] = {(row.subject, row.measure, row.span): row.most for row in rows}
    return [Limit(*name, most) for name, most in sorted(newest.items()) if most is not None]


def _used(connection: Connection, subject: str, *, measure: str, span: str, start: datetime, end: datetime) -> int:
    """From the counter, or from the reservations where there is none yet."""
    here = {"of": subject, "by": measure, "over": span, "since": stamp(start)}
    found = _window_used.scalar(connection, here)
    return _counted(connection, subject, measure=measure, start=start, end=end) if found is None else int(found)


def _count(connection: Connection, limit: Limit, *, start: str, used: int) -> None:
    here = {"of": limit.subject, "by": limit.measure, "over": limit.span, "since": start, "count": used}
    if _set_window.run(connection, here):
        return
    values = {"subject": limit.subject, "measure": limit.measure, "span": limit.span, "start": start, "used": used}
    _insert_window.run(connection, values)


def _counted(connection: Connection, subject: str, *, measure: str, start: datetime, end: datetime) -> int:
    """What the reservations of a window come to."""
    kind, _, id = subject.partition(":")
    held = sa.case((reservations.c.state == "settled", reservations.c.settled), else_=reservations.c.amount)
    what = {"requests": reservations.c.requests, "tokens": reservations.c.tokens, "budget": held}[measure]
    total = connection.scalar(
        sa.select(sa.func.sum(what)).where(
            _COLUMNS[kind] == id,
            reservations.c.created >= stamp(start),
            reservations.c.created < stamp(end),
            reservations.c.state != "released",
        )
    )
    return int(total or 0)


def _running(connection: Connection, subject: str) -> int:
    kind, _, id = subject.partition(":")
    # Counted among all that are open, for SQLite would look for the open ones among all that the subject ever had.
    ours = sa.func.count(sa.case((_COLUMNS[kind] == id, 1)))
    found = connection.scalar(sa.select(ours).where(OPEN, reservations.c.requests > 0))
    return int(found or 0)
