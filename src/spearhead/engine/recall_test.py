"""Promises of taking back: nobody gets the piece any more, and money moves only when asked to, and exactly."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from spearhead.core.clock import stamp
from spearhead.core.errors import InputError
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.review import Decision
from spearhead.engine import books, outputs
from spearhead.engine.books import Bill, Line
from spearhead.engine.held import carry_out
from spearhead.engine.outputs import Output
from spearhead.engine.recall import recall
from spearhead.ledger import journal, keys, usage
from spearhead.provenance import audit
from spearhead.review import queue
from spearhead.store import database

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TAG = PriceTag("USD", 10**12, 10**12, "token")
"""A millionth of a million: one unit costs 1,000,000 billionths."""


@pytest.fixture
def store(tmp_path: Path) -> sa.Engine:
    url = f"sqlite:///{tmp_path / 'spearhead.db'}"
    database.migrate(url)
    return database.connect(url)


@pytest.fixture
def account(store: sa.Engine) -> str:
    made = keys.create_account(store, "someone", currency="USD").id
    journal.credit(store, made, 10**9, key="first")
    return made


def answered(store: sa.Engine, account: str, *states: str) -> list[Output]:
    """A request of two units whose answers of three units each left, or wait for a person."""
    made = []
    with database.writing(store) as connection:
        held = books.reserve(connection, account, Usage(2, 9), price=TAG, request="r", key=None, clock=lambda: NOW)
        lines = []
        for index, state in enumerate(states):
            id = outputs.name("r", index)
            row = Output(
                id, "r", account, "tiny@v1", state, "words", "stop", "[]", "p", "{}", 1, 3, stamp(NOW),
                review=f"rev_{index}" if state == "held" else None, blob="b" * 64,
            )  # fmt: skip
            outputs.insert(connection, row)
            made.append(row)
            if state == "held":
                lines.append(Line(books.held_key("r", id), Usage(0, 3)))
                queue.create(
                    connection, Decision.HOLD, scenario="tiny", policy="p", blob="b" * 64, output=id, review=row.review,
                    clock=lambda: NOW,
                )  # fmt: skip
        owed = Usage(2, 3 * (len(states) - len(lines)))
        bill = Bill("r", None, "tiny@v1", Usage(2, 3 * len(states)), owed, tuple(lines), 24, TAG)
        books.close(connection, held, bill, clock=lambda: NOW)
    return made


def state(store: sa.Engine, id: str) -> str:
    with database.reading(store) as connection:
        found = outputs.find(connection, id)
    assert found is not None
    return found.state


def test_what_left_at_once_is_taken_back_and_its_charge_stays_unless_its_return_is_asked_for(
    store: sa.Engine, account: str
) -> None:
    [one] = answered(store, account, "released")
    done = recall(store, one.id, actor="ada", reason="it names a person", clock=lambda: NOW)
    assert (done.charged, done.currency, done.refunded) == (5 * 10**6, "USD", False)
    assert state(store, one.id) == "withdrawn"
    assert journal.balance(store, account).available == 10**9 - 5 * 10**6
    assert [row.action for row in audit.newest(store, limit=9)] == ["output withdrawn"]
    with pytest.raises(InputError, match="is withdrawn: only what was released"):
        recall(store, one.id, actor="ada", reason="again", refund=True, clock=lambda: NOW)
    assert usage.correct(store, "r", source=books.SOURCE), "as the command says"
    assert journal.balance(store, account).available == 10**9


def test_what_a_person_let_out_is_refunded_on_its_own(store: sa.Engine, account: str) -> None:
    gone, stays = answered(store, account, "held", "released")
    assert gone.review is not None
    with pytest.raises(InputError, match="is held"):
        recall(store, gone.id, actor="ada", reason="too soon", clock=lambda: NOW)
    assert queue.claim(store, reviewer="rita", review=gone.review, clock=lambda: NOW)
    queue.approve(store, gone.review, reviewer="rita", blob="b" * 64, clock=lambda: NOW)
    with database.writing(store) as connection:
        carry_out(connection, clock=lambda: NOW)
    before = journal.balance(store, account).available
    assert before == 10**9 - 8 * 10**6
    done = recall(store, gone.review, actor="ada", reason="a complaint", refund=True, clock=lambda: NOW)
    assert done.refunded and journal.balance(store, account).available == before + 3 * 10**6
    item = queue.find(store, gone.review)
    assert item is not None and item.state == "withdrawn" and state(store, stays.id) == "released"
    assert queue.history(store, gone.review)[-1].reason == "a complaint"
    assert journal.check(store) + usage.check(store) == []


def test_a_charge_for_several_answers_is_not_undone_for_one_of_them(store: sa.Engine, account: str) -> None:
    one, _ = answered(store, account, "released", "released")
    for wrong, why in ((dict(refund=True), "for other answers too"), (dict(reason=" "), "Why is it taken back")):
        with pytest.raises(InputError, match=why):
            recall(store, one.id, actor="ada", **{"reason": "x", **wrong}, clock=lambda: NOW)  # type: ignore[arg-type]
    assert state(store, one.id) == "released" and audit.head(store).rows == 0
    assert not recall(store, one.id, actor="ada", reason="x", clock=lambda: NOW).refunded
