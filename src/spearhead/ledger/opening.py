"""What a request meets as it comes in: of its account, and whether grants and limits hold for it, in one statement.

Asked for one by one they were six, most of which found nothing. Decides nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core.clock import stamp
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.ledger import groups, limits, pots
from spearhead.store.prepared import Prepared
from spearhead.store.tables import accounts, journal_groups, subscriptions, team_members


@dataclass(frozen=True, slots=True)
class Opening:
    """How an account is when a request of it comes in."""

    currency: str
    team: str | None
    made: int | None
    """The group that this request wrote before."""
    granted: bool
    """Whether there are grants that may be used."""
    limited: bool
    """Whether there were ever limits of the key, the account or the team."""
    plan: Any
    """The row of the subscription that runs, its columns named `plan_...`; None without one."""


running = (
    sa.select(subscriptions)
    .where(
        subscriptions.c.account == sa.bindparam("account"),
        subscriptions.c.started <= sa.bindparam("moment"),
        sa.or_(subscriptions.c.ended.is_(None), subscriptions.c.ended > sa.bindparam("moment")),
    )
    .order_by(subscriptions.c.started.desc())
    .limit(1)
)
"""The account's subscription at a moment."""
_key, _account = sa.bindparam("key", type_=sa.String), sa.bindparam("account", type_=sa.String)
_opening = Prepared(
    sa.select(
        accounts.c.currency,
        team_members.c.team,
        journal_groups.c.id.label("made"),
        sa.exists().where(*pots.ALIVE).label("granted"),
        limits.there_are(key=_key, account=_account, team=team_members.c.team).label("limited"),
        *(column.label(f"plan_{column.key}") for column in subscriptions.c),
    )
    .select_from(accounts)
    .outerjoin(team_members, team_members.c.account == accounts.c.id)
    .outerjoin(journal_groups, journal_groups.c.key == sa.bindparam("scoped"))
    .outerjoin(subscriptions, subscriptions.c.id == running.with_only_columns(subscriptions.c.id).scalar_subquery())
    .where(accounts.c.id == _account)
)


def of(connection: Connection, account: str, *, key: str | None, scoped: str, moment: datetime) -> Opening:
    """Lock `account` and look at it; `scoped` is the key of the group that the request would write.

    Raises InputError when there is no such account.
    """
    if connection.dialect.name != "sqlite":  # which holds the whole database by now
        groups.lock(connection, account)
    wanted = {"account": account, "key": key, "scoped": scoped, "moment": stamp(moment)}
    if (row := _opening.first(connection, wanted)) is None:
        raise InputError(said("ledger.no_account", account=account))
    plan = None if row.plan_id is None else row
    return Opening(row.currency, row.team, row.made, bool(row.granted), bool(row.limited), plan)
