"""Promises of leases, on SQLite and on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor

from spearhead.ledger import keys, limits, rates
from spearhead.ledger.rates import Want
from spearhead.store import database
from spearhead.store.database import writing

LIMIT, NOW, ENDS = 23, 1_000_000, 1_060_000


def want(least: int, most: int, *, until: int = ENDS, renews: bool = False) -> Want:
    """Of requests."""
    return Want("requests", least, most, LIMIT, until, renews)


def test_processes_that_take_at_once_never_have_more_than_the_limit_and_leave_nothing(url: str) -> None:
    engine = database.connect(url)
    account = keys.create_account(engine, "a", currency="EUR").id

    def process(name: str) -> int:
        held = 0
        while True:
            with writing(engine) as connection:
                (lease,) = rates.take(
                    connection, key="k", account=account, process=name, wants=[want(held + 1, held + 3)], moment=NOW
                )
            if lease.amount <= held:
                return held
            held = lease.amount

    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(process, ["one", "two", "three", "four"]))
    assert sum(held) == LIMIT
    engine.dispose()


def test_a_window_begins_with_the_first_and_ends_for_all(url: str) -> None:
    engine = database.connect(url)
    account = keys.create_account(engine, "a", currency="EUR").id

    def take(process: str, least: int, moment: int) -> rates.Lease:
        with writing(engine) as connection:
            wants = [want(least, least, until=moment + 60_000)]
            return rates.take(connection, key="k", account=account, process=process, wants=wants, moment=moment)[0]

    assert take("one", 20, NOW) == rates.Lease("requests", 20, 0, NOW + 60_000)
    assert take("two", 3, NOW + 9_000) == rates.Lease("requests", 3, 20, NOW + 60_000)
    assert take("two", 4, NOW + 9_000).amount == 3, "there is no more, and what it had stays"
    assert take("two", 23, NOW + 60_000) == rates.Lease("requests", 23, 0, NOW + 120_000)
    engine.dispose()


def test_all_measures_are_had_or_none(url: str) -> None:
    engine = database.connect(url)
    account = keys.create_account(engine, "a", currency="EUR").id
    both = [want(1, 5), Want("tokens", 101, 200, 100, ENDS)]
    with writing(engine) as connection:
        first, second = rates.take(connection, key="k", account=account, process="one", wants=both, moment=NOW)
        assert first.amount == 5 and second.amount < 101
        (alone,) = rates.take(
            connection, key="k", account=account, process="two", wants=[want(LIMIT, LIMIT)], moment=NOW
        )
    assert alone.amount == LIMIT, "the refused one had taken nothing"
    engine.dispose()


def test_what_is_renewed_lives_on_and_what_is_given_back_may_be_had(url: str) -> None:
    engine = database.connect(url)
    account = keys.create_account(engine, "a", currency="EUR").id

    def places(process: str, least: int, moment: int) -> int:
        wants = [Want("parallel", least, least, 4, moment + 30_000, renews=True)]
        with writing(engine) as connection:
            return rates.take(connection, key="k", account=account, process=process, wants=wants, moment=moment)[
                0
            ].amount

    assert places("one", 4, NOW) == 4
    with writing(engine) as connection:
        rates.keep(connection, process="one", renewed=["parallel"], until=NOW + 60_000, less=[("k", "parallel", 3)])
    assert places("two", 1, NOW + 40_000) == 1 and places("two", 2, NOW + 40_000) == 1
    assert places("two", 4, NOW + 60_000) == 4, "one renews no more"
    limits.purge(engine)
    engine.dispose()
