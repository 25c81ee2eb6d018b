"""Promises of the gallery's search and of setting texts side by side."""

import doctest
from datetime import date

import pytest
import sqlalchemy as sa

from spearhead.engine import outputs
from spearhead.engine.outputs import Output
from spearhead.ledger import keys
from spearhead.service.studio import shelf
from spearhead.service.studio.shelf import Wanted
from spearhead.store import database


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    url = f"sqlite:///{tmp_path_factory.mktemp('shelf') / 'spearhead.db'}"
    database.migrate(url)
    return database.connect(url)


def keep(store: sa.Engine, id: str, *, account: str, prompt: str, text: str, **changes: str) -> None:
    fields: dict[str, object] = {
        "request": f"req_{id}",
        "release": "poems@v1",
        "state": "released",
        "finish": "stop",
        "findings": "[]",
        "policy": "p",
        "options": "{}",
        "seed": 1,
        "completion_units": 1,
        "created": "2026-11-22T10:00:00Z",
        **changes,
    }
    messages = outputs.prompt_text([{"role": "user", "content": prompt}])
    with database.writing(store) as connection:
        outputs.insert(connection, Output(id=id, account=account, text=text, prompt=messages, **fields))  # type: ignore[arg-type]


def found(store: sa.Engine, account: str, **wanted: object) -> list[str]:
    with database.reading(store) as connection:
        one = shelf.search(connection, account, Wanted(**wanted))  # type: ignore[arg-type]
        return [output.id for output in one.outputs]


@pytest.fixture(scope="module")
def account(store: sa.Engine) -> str:
    account = keys.create_account(store, "someone", currency="USD").id
    other = keys.create_account(store, "other", currency="USD").id
    keep(store, "fox", account=account, prompt='Say "quick"', text="A FOX of 100%", created="2026-11-20T23:59:59Z")
    keep(store, "moon", account=account, prompt="月亮", text="床前明月光", created="2026-11-21T00:00:00Z")
    keep(store, "held", account=account, prompt="secret one", text="withheld words", state="held")
    keep(store, "old", account=account, prompt="edited", text="before", state="edited", created="2026-11-19T00:00:00Z")
    keep(store, "shoe", account=account, prompt="shoe", text="", release="fashion@v2", created="2026-11-18T00:00:00Z")
    keep(store, "theirs", account=other, prompt="fox", text="fox")
    return account


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["held", "moon", "fox", "shoe"]),
        ({"words": "fox"}, ["fox"]),
        ({"words": "100%"}, ["fox"]),
        ({"words": "%"}, ["fox"]),
        ({"words": "_"}, []),
        ({"words": '"quick"'}, ["fox"]),
        ({"words": "明月"}, ["moon"]),
        ({"words": "月"}, ["moon"]),
        ({"words": "withheld"}, []),
        ({"words": "SECRET"}, ["held"]),
        ({"words": "fashion"}, ["shoe"]),
        ({"scenario": "fashion"}, ["shoe"]),
        ({"scenario": "fash"}, []),
        ({"state": "held"}, ["held"]),
        ({"state": "erased"}, []),
        ({"since": date(2026, 11, 21)}, ["held", "moon"]),
        ({"since": date(2026, 11, 20), "until": date(2026, 11, 20)}, ["fox"]),
        ({"until": date(9999, 12, 31), "page": 2}, []),
    ],
)
def test_the_gallery_finds_what_may_be_seen_and_only_ones_own(
    store: sa.Engine, account: str, wanted: dict[str, object], ids: list[str]
) -> None:
    assert found(store, account, **wanted) == ids


def test_pages_hold_everything_once(store: sa.Engine) -> None:
    account = keys.create_account(store, "busy", currency="USD").id
    for number in range(60):
        keep(store, f"n{number:02}", account=account, prompt="x", text="y")
    pages = [found(store, account, page=number) for number in (1, 2, 3, 4)]
    assert [len(one) for one in pages] == [24, 24, 12, 0]
    assert sum(pages, []) == [f"n{number:02}" for number in reversed(range(60))], "newest first within a second too"


def test_what_is_made_meanwhile_repeats_nothing_on_the_next_page(store: sa.Engine) -> None:
    account = keys.create_account(store, "still busy", currency="USD").id
    for number in range(30):  # all in one second, in which more come meanwhile
        keep(store, f"m{number:02}", account=account, prompt="x", text="y")
    first = found(store, account)
    keep(store, "beside", account=account, prompt="x", text="y")
    keep(store, "newer", account=account, prompt="x", text="y", created="2026-11-22T10:00:01Z")
    second = found(store, account, page=2, top=first[0])
    assert first + second == [f"m{number:02}" for number in reversed(range(30))]
    assert found(store, account)[:2] == ["newer", "beside"]
    assert found(store, account, top="of nobody") == found(store, account)


def test_differences_are_marked_and_nothing_is_lost() -> None:
    one, other = "The quick brown fox.", "The slow, brown fox!"
    first, second = shelf.differences(one, other)
    assert ("".join(text for text, _ in first), "".join(text for text, _ in second)) == (one, other)
    assert [text for text, new in first if new] == ["quick", "."]
    assert [text for text, new in second if new] == ["slow,", "!"]
    assert [text for text, new in shelf.differences("床前明月光", "床前看月光")[1] if new] == ["看"]
    long = "word " * 3000
    assert shelf.differences(long, "other") == ([(long, False)], [("other", False)])
    assert doctest.testmod(shelf).failed == 0
