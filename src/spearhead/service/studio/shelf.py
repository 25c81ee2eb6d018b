"""The outputs of an account as its gallery shows them: searched, counted in pages, set side by side. Knows no page.

Words are searched only where they may be seen: what a person has still to decide on, or has refused, is found by its
prompt alone.
"""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.engine.outputs import Output, of_row
from spearhead.store.tables import outputs as table

STATES = ("released", "held", "rejected", "blocked", "withdrawn")
"""What became of an output; `erased` is asked for like one of them."""
A_PAGE = 24
MOST_PAGES = 10_000
LONGEST_WORDS = 200
MOST_PIECES = 2000
"""Words of a text that are set against another's."""
_PIECE = re.compile(r"[\u3400-\u9fff]|\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty means everything."""

    words: str = ""
    scenario: str = ""
    state: str = ""
    since: date | None = None
    until: date | None = None
    page: int = 1
    top: str = ""
    """The output that page 1 began with: what was made since moves nothing to the next page."""


@dataclass(frozen=True, slots=True)
class Found:
    """One page, newest first; `more` says whether another follows."""

    outputs: tuple[Output, ...]
    more: bool


def search(connection: Connection, account: str, wanted: Wanted) -> Found:
    """The outputs of an account that fit."""
    fits: list[sa.ColumnElement[bool]] = [table.c.account == account, table.c.state != "edited"]
    if wanted.words:
        seen = sa.and_(table.c.state == "released", table.c.text.icontains(wanted.words, autoescape=True))
        # The prompt is kept as JSON, so its words are looked for as JSON writes them.
        inside = json.dumps(wanted.words, ensure_ascii=False)[1:-1]
        prompt = table.c.prompt.icontains(inside, autoescape=True)
        fits.append(
            sa.or_(seen, prompt, table.c.id == wanted.words, table.c.release.icontains(wanted.words, autoescape=True))
        )
    if wanted.scenario:
        fits.append(table.c.release.startswith(f"{wanted.scenario}@", autoescape=True))
    if wanted.state == "erased":
        fits.append(table.c.erased.is_not(None))
    elif wanted.state:
        fits += [table.c.state == wanted.state, table.c.erased.is_(None)]
    if wanted.since:
        fits.append(table.c.created >= wanted.since.isoformat())
    if wanted.until:
        fits.append(table.c.created <= f"{wanted.until.isoformat()}T99")  # after every time of that day
    t = table.c
    mine = sa.select(t.created, t.placed).where(t.id == wanted.top, t.account == account)
    if wanted.top and (top := connection.execute(mine).one_or_none()) is not None:
        made, placed = top
        # By its second first, which an index knows; within that by the moment when it was written.
        before = sa.or_(t.placed < placed, sa.and_(t.placed == placed, t.id <= wanted.top))
        fits += [t.created <= made, sa.or_(t.created < made, before)]
    query = (
        sa.select(table)
        .where(*fits)
        .order_by(t.created.desc(), t.placed.desc(), t.id.desc())
        .offset((wanted.page - 1) * A_PAGE)
        .limit(A_PAGE + 1)
    )
    rows = [of_row(row) for row in connection.execute(query)]
    return Found(tuple(rows[:A_PAGE]), len(rows) > A_PAGE)


def scenarios(connection: Connection, account: str) -> list[str]:
    """The scenarios that this account has outputs of."""
    # From each release to the next in the index, whoever's: what a DISTINCT reads grows with all that was ever made.
    least = sa.func.min(table.c.release)
    first = sa.select(least.label("release")).cte(recursive=True)
    following = sa.select(least).where(table.c.release > first.c.release).scalar_subquery()
    every = first.union_all(sa.select(following).where(first.c.release.is_not(None)))
    mine = sa.exists().where(table.c.release == every.c.release, table.c.account == account)
    found = connection.scalars(sa.select(every.c.release).where(mine))
    return sorted({name.partition("@")[0] for name in found})


def prompt_of(output: Output) -> str:
    """The words that an output answers; empty once they are gone."""
    messages = json.loads(output.prompt) if output.prompt else []
    return "\n\n".join(str(message["content"]) for message in messages if message.get("role") == "user")


def asked_of(output: Output) -> dict[str, Any]:
    """Options that were asked for or set by the scenario, as `name: value`."""
    asked = json.loads(output.asked) if output.asked else {}
    return {**json.loads(output.options or "{}"), **asked.get("options", {})}


def differences(one: str, other: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Both texts in pieces, each with whether it is not in the other one.

    >>> differences("a red fox", "a grey fox")[1]
    [('a ', False), ('grey', True), (' fox', False)]
    """
    first, second = _PIECE.findall(one), _PIECE.findall(other)
    if max(len(first), len(second)) > MOST_PIECES:
        return [(one, False)], [(other, False)]
    out: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        for side, pieces in ((0, first[a:b]), (1, second[c:d])):
            if pieces:
                out[side].append(("".join(pieces), kind != "equal"))
    return out


def table_of(outputs: Sequence[Output]) -> list[tuple[str, list[Any], bool]]:
    """What two or more outputs were made with: name, a value each, and whether the values differ."""
    columns = [
        {
            "release": one.release,
            "made": one.created,
            "seed": "" if one.seed is None else str(one.seed),
            "units": str(one.completion_units),
            "finish": one.finish,
            **{f"options.{name}": value for name, value in asked_of(one).items()},
        }
        for one in outputs
    ]
    names = dict.fromkeys(name for column in columns for name in column)
    lines = [(name, [column.get(name, "") for column in columns]) for name in names]
    return [(name, values, any(value != values[0] for value in values)) for name, values in lines]
