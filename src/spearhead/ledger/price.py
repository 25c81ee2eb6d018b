"""What units cost: the live price of a scenario, the amount of some usage, the most that a request can cost.

Knows nothing of accounts or reservations. A price is for a million units; an amount is rounded once, half up.
"""

import json

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.clock import Clock, now, stamp
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Usage
from spearhead.core.manifest import Manifest, PriceTag
from spearhead.core.money import MILLION
from spearhead.core.sentence import said
from spearhead.store.database import reading, writing
from spearhead.store.tables import settings

MOST = 10**15
"""The highest price of a million units: a million of the currency."""

_newest = (
    sa.select(settings.c.value)
    .where(settings.c.scenario == sa.bindparam("scenario"), settings.c.kind == "price")
    .order_by(settings.c.id.desc())
    .limit(1)
)


def of(store: Engine | Connection, manifest: Manifest) -> PriceTag:
    """The live price of the release's scenario, else the price that the release was made with."""
    return live(store, manifest.scenario) or manifest.price


def live(store: Engine | Connection, name: str) -> PriceTag | None:
    """The price that was set last for a scenario, or for the model that comes with the server, if any ever was."""
    with reading(store) as connection:
        found = connection.scalar(_newest, {"scenario": name})
    return None if found is None else _read(found)


def set_price(
    store: Engine | Connection, scenario: str, price: PriceTag, *, actor: str, clock: Clock = now
) -> PriceTag:
    """Make `price` the live price of `scenario` from now on; earlier prices stay on record."""
    checked(price)
    value = {
        "currency": price.currency,
        "prompt": price.prompt,
        "completion": price.completion,
        "unit": price.unit,
    }
    with writing(store) as connection:
        connection.execute(
            settings.insert().values(
                scenario=scenario, kind="price", value=digest.canonical(value), actor=actor, created=stamp(clock())
            )
        )
    return price


def history(store: Engine | Connection, scenario: str) -> list[tuple[str, str, PriceTag]]:
    """Every live price that `scenario` had: since when, by whom, what; oldest first."""
    query = (
        sa.select(settings.c.created, settings.c.actor, settings.c.value)
        .where(settings.c.scenario == scenario, settings.c.kind == "price")
        .order_by(settings.c.id)
    )
    with reading(store) as connection:
        return [(row.created, row.actor, _read(row.value)) for row in connection.execute(query)]


def amount(usage: Usage, price: PriceTag) -> int:
    """Billionths for `usage`; raises InputError when it was counted in another unit than the price is for.

    >>> tag = PriceTag(currency="EUR", prompt=500_000, completion=250_000, unit="token")
    >>> amount(Usage(prompt=3, completion=1), tag)  # 1.5 + 0.25 billionths
    2
    """
    if usage.unit != price.unit:
        raise InputError(f"The usage was counted in {usage.unit}s, and the price is for {price.unit}s.")
    if usage.prompt < 0 or usage.completion < 0:
        raise InputError(f"Units are not negative: {usage.prompt} and {usage.completion} were counted.")
    return (usage.prompt * price.prompt + usage.completion * price.completion + MILLION // 2) // MILLION


def most_it_can_cost(price: PriceTag, *, prompt_units: int, max_completion: int, count: int = 1) -> int:
    """What to reserve for `count` answers to one prompt: no usage within these bounds amounts to more.

    The prompt is charged once however many answers it gets.
    """
    return amount(Usage(prompt=prompt_units, completion=max_completion * count, unit=price.unit), price)


def rest(tag: PriceTag, *, prompt: int, completion: int, covered: int) -> int:
    """Billionths for what a plan does not cover; the units that it includes go to the prompt first.

    >>> rest(PriceTag("EUR", 1_000_000, 3_000_000, "token"), prompt=5, completion=4, covered=6)
    9
    """
    left = Usage(max(0, prompt - covered), completion - max(0, covered - prompt), unit=tag.unit)
    return amount(left, tag)


def checked(price: PriceTag) -> PriceTag:
    """`price` itself; raises InputError when it is no price."""
    code = price.currency
    if not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        raise InputError(said("ledger.currency", given=code))
    for name, value in (("prompt", price.prompt), ("completion", price.completion)):
        if type(value) is not int or not 0 <= value <= MOST:
            raise InputError(f"The {name} price {value!r} is wrong: wanted whole billionths from 0 to {MOST}.")
    if not 0 < len(price.unit) <= 16:
        raise InputError(said("ledger.unit", given=price.unit))
    return price


def _read(text: str) -> PriceTag:
    try:
        return checked(PriceTag(**json.loads(text)))
    except (TypeError, ValueError, InputError) as error:
        # No guess at a price: a scenario without a readable one must not serve.
        raise SpearheadError(f"The live price in the database cannot be read: {error}") from error
