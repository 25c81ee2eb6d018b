"""The policy that a scenario is reviewed by from now on, in the place of its release's. Decides nothing."""

import dataclasses
import json

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError
from spearhead.core.review import Policy
from spearhead.review import policy, reviewer
from spearhead.review.reviewer import Reviewer
from spearhead.store.database import reading, writing
from spearhead.store.tables import settings

KIND = "policy"


def set_policy(
    store: Engine | Connection, scenario: str, rules: Policy, *, modality: str, actor: str, clock: Clock = now
) -> str:
    """Make `rules` the live policy of `scenario`; earlier ones stay on record. Gives its digest.

    Raises InputError where it has a check or option that there is not, needs something that is not installed, or sees
    nothing of what the scenario makes.
    """
    made = Reviewer(rules)
    if not reviewer.sees(made.checks, modality):
        raise InputError(f"none of the policy's checks looks at {modality}: all of it would wait for a person")
    value = digest.canonical(json.loads(json.dumps(dataclasses.asdict(rules), default=dict)))
    with writing(store) as connection:
        connection.execute(
            settings.insert().values(scenario=scenario, kind=KIND, value=value, actor=actor, created=stamp(clock()))
        )
    return made.digest


def newest(store: Engine | Connection, scenario: str) -> Policy | None:
    """The live policy of `scenario`, if one was ever set; raises InputError where it is none any more."""
    query = sa.select(settings.c.value).where(settings.c.scenario == scenario, settings.c.kind == KIND)
    with reading(store) as connection:
        found = connection.scalar(query.order_by(settings.c.id.desc()).limit(1))
    return None if found is None else _read(found, scenario)


def history(store: Engine | Connection, scenario: str) -> list[tuple[str, str, Policy]]:
    """Since when, by whom and which, the newest first."""
    wanted = sa.select(settings).where(settings.c.scenario == scenario, settings.c.kind == KIND)
    with reading(store) as connection:
        rows = connection.execute(wanted.order_by(settings.c.id.desc())).all()
    return [(row.created, row.actor, _read(row.value, scenario)) for row in rows]


def _read(text: str, scenario: str) -> Policy:
    return policy.read(json.loads(text), name=f"the live policy of {scenario}")
