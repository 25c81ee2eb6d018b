"""Promises about prices."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from spearhead.core import money
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.specimen import manifest
from spearhead.ledger import price
from spearhead.store.tables import settings

TAG = PriceTag(currency="EUR", prompt=400_000_000, completion=1_600_000_000, unit="token")
MANIFEST = manifest(scenario="modern-english", price=TAG)


def test_a_release_is_sold_at_its_own_price_until_a_live_one_is_set(engine: Engine) -> None:
    assert price.of(engine, MANIFEST) == TAG
    dearer = PriceTag(currency="EUR", prompt=500_000_000, completion=1_600_000_000, unit="token")
    price.set_price(engine, "modern-english", dearer, actor="key_1")
    price.set_price(engine, "another", TAG, actor="key_1")
    assert price.of(engine, MANIFEST) == dearer
    price.set_price(engine, "modern-english", TAG, actor="key_2")
    assert price.of(engine, MANIFEST) == TAG
    assert [(by, tag) for _, by, tag in price.history(engine, "modern-english")] == [("key_1", dearer), ("key_2", TAG)]


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        (PriceTag("eur", 1, 1, "token"), "three capitals"),
        (PriceTag("EUR", -1, 1, "token"), "prompt price -1"),
        (PriceTag("EUR", 1, 10**15 + 1, "token"), "completion price"),
        (PriceTag("EUR", 1, 1, ""), "not a unit"),
    ],
)
def test_what_is_no_price_is_refused_in_words(engine: Engine, tag: PriceTag, words: str) -> None:
    with pytest.raises(InputError, match=words):
        price.set_price(engine, "modern-english", tag, actor="key_1")
    assert price.of(engine, MANIFEST) == TAG


def test_a_live_price_that_cannot_be_read_is_never_replaced_by_a_guess(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            settings.insert().values(scenario="modern-english", kind="price", value="{}", actor="x", created="")
        )
    with pytest.raises(SpearheadError, match="cannot be read"):
        price.of(engine, MANIFEST)


def test_an_amount_worked_by_hand() -> None:
    # 37 prompt units at 0.40 and 41 completion units at 1.60 a million: 14.8 + 65.6 = 80.4 millionths.
    assert price.amount(Usage(prompt=37, completion=41), TAG) == 80_400


def test_an_explicit_zero_costs_nothing() -> None:
    assert price.amount(Usage(), TAG) == 0


def test_an_amount_is_rounded_once_half_up() -> None:
    # 0.3 + 0.3 billionths is 0.6 and rounds to 1; rounding each part first would make it 0.
    assert price.amount(Usage(prompt=3, completion=3), PriceTag("EUR", 100_000, 100_000, "token")) == 1
    assert price.amount(Usage(prompt=1), PriceTag("EUR", 500_000, 0, "token")) == 1
    assert price.amount(Usage(prompt=1), PriceTag("EUR", 499_999, 0, "token")) == 0


def test_units_and_prices_of_different_kinds_do_not_meet() -> None:
    with pytest.raises(InputError, match="counted in pixels, and the price is for tokens"):
        price.amount(Usage(prompt=1, unit="pixel"), TAG)
    with pytest.raises(InputError, match="not negative"):
        price.amount(Usage(prompt=-1), TAG)


UNITS = st.integers(0, 10**9)
PRICES = st.integers(0, price.MOST)


@given(UNITS, UNITS, PRICES, PRICES)
def test_an_amount_is_within_half_a_billionth_of_the_exact_one(p: int, c: int, at: int, by: int) -> None:
    exact = Fraction(p * at + c * by, 1_000_000)
    got = price.amount(Usage(prompt=p, completion=c), PriceTag("EUR", at, by, "token"))
    assert -Fraction(1, 2) < got - exact <= Fraction(1, 2)


@given(UNITS, PRICES)
def test_an_amount_of_one_kind_of_unit_is_the_cost_that_core_money_gives(units: int, at: int) -> None:
    assert price.amount(Usage(prompt=units), PriceTag("EUR", at, 0, "token")) == money.cost(units, at)
    assert price.amount(Usage(completion=units), PriceTag("EUR", 0, at, "token")) == money.cost(units, at)


@given(st.integers(0, 10**6), st.integers(0, 4096), st.integers(1, 8), PRICES, PRICES, st.data())
def test_nothing_within_its_bounds_costs_more_than_the_most(
    prompt: int, completion: int, count: int, at: int, by: int, data: st.DataObject
) -> None:
    tag = PriceTag("EUR", at, by, "token")
    most = price.most_it_can_cost(tag, prompt_units=prompt, max_completion=completion, count=count)
    made = sum(data.draw(st.integers(0, completion)) for _ in range(count))
    assert price.amount(Usage(prompt=data.draw(st.integers(0, prompt)), completion=made), tag) <= most
    assert price.amount(Usage(prompt=prompt, completion=completion * count), tag) == most
