"""Promises of the studio's line over a real engine."""

import asyncio
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.conftest import slowly

from spearhead.core.generation import Request
from spearhead.engine import edits, erasure, outputs, recall
from spearhead.engine.held import settle_decided
from spearhead.engine.loaded import Room
from spearhead.engine.open import opened
from spearhead.ledger import journal, keys
from spearhead.review import queue
from spearhead.service.studio import people
from spearhead.service.studio.line import Line, number
from spearhead.service.studio.people import Person
from spearhead.store import database
from spearhead.store.blobs import Blobs
from spearhead.store.home import Home


def furnished(root: Path, make_release: Any) -> tuple[Home, sa.Engine, Person]:
    """A home with a release, its database, and somebody with credit."""
    home = Home(root, root / "cache")
    make_release(home.releases)
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    account = keys.create_account(store, "a", currency="USD").id
    journal.credit(store, account, 10**9, key="first")
    return home, store, Person("p", account, "ada", ("creator",), "2026-11-22T00:00:00Z", None)


def test_what_is_cancelled_at_once_gives_its_place_to_the_next(tmp_path: Path, make_release: Any) -> None:
    home, store, person = furnished(tmp_path, make_release)

    async def main() -> None:
        async with asyncio.timeout(60), opened(home, room=Room(threads=1)) as engine:
            line = Line(engine)
            asked = [Request("tiny", person.account, number(), prompt="hello") for _ in range(6)]
            added = line.add(person, asked)
            for work in added[:4]:  # two of them run by now, and none has taken a step
                line.cancel(person, work.id)
            while not all(work.over for work in added):
                await asyncio.sleep(0.01)
            assert [work.state for work in added] == ["cancelled"] * 4 + ["done"] * 2
            await line.aclose()

    asyncio.run(main())
    store.dispose()


def test_a_person_who_is_blocked_has_nothing_more_made(tmp_path: Path, make_release: Any) -> None:
    home, store, person = furnished(tmp_path, make_release)
    words = "four words that differ"
    person = people.add(store, "ada", account=person.account, roles=["creator"], password=words, actor="test")

    async def main() -> None:
        async with asyncio.timeout(60), opened(home, room=Room(threads=1)) as engine:
            line = Line(engine)
            long = {"max_tokens": 1900}  # two fit beside each other
            asked = [Request("tiny", person.account, number(), prompt="~", options=long) for _ in range(5)]
            with slowly():
                added = line.add(person, asked)
                while not (added[0].answers and added[0].answers[0].text):
                    await asyncio.sleep(0.001)
                people.block(store, "ada", actor="test")
                await engine.end_blocked()
                while not all(work.over for work in added):
                    await asyncio.sleep(0.01)
            assert [work.state for work in added] == ["failed"] * 2 + ["cancelled"] * 3
            assert "blocked" in str(added[0].reason) and added[0].receipt is not None
            assert added[0].answers[0].finish == "cancelled" and added[0].answers[0].text
            await line.aclose()

    asyncio.run(main())
    store.dispose()


def test_the_line_shows_what_became_of_an_answer_since(tmp_path: Path, make_release: Any) -> None:
    home, store, person = furnished(tmp_path, make_release)

    async def main() -> None:
        async with asyncio.timeout(60), opened(home, room=Room(threads=1)) as engine:
            line = Line(engine)
            asked = [Request("tiny", person.account, number(), prompt=words) for words in ("hello", "hello", "#")]
            gone, back, held = line.add(person, asked)
            while not all(work.over for work in line.of(person)):
                await asyncio.sleep(0.01)
            assert [work.answers[0].state for work in (gone, back, held)] == ["released", "released", "held"]
            assert [work.held for work in (gone, back, held)] == [False, False, True]
            assert gone.answers[0].seed == stored(store, gone.answers[0].output).seed is not None
            erasure.erase(store, gone.answers[0].output, blobs=Blobs(home.blobs), actor="op")
            recall.recall(store, back.answers[0].output, actor="op", reason="it names a person")
            row = stored(store, held.answers[0].output)
            assert row.review is not None
            queue.claim(store, reviewer="rita", review=row.review)
            edited = await edits.edit(engine, row.review, reviewer="rita", text="Write to the editor.")
            await line.look_again(person)
            assert line.of(person) == [held, back]
            assert (back.answers[0].state, back.answers[0].text) == ("withdrawn", "")
            assert (held.answers[0].state, held.answers[0].output) == ("held", edited.id)
            assert edited.review is not None and edited.blob is not None
            queue.claim(store, reviewer="rita", review=edited.review)
            queue.approve(store, edited.review, reviewer="rita", blob=edited.blob)
            await settle_decided(engine)
            await line.look_again(person)
            assert (held.answers[0].state, held.answers[0].text) == ("released", "Write to the editor.")
            assert not held.held and held.answers[0].seed == row.seed is not None
            await line.aclose()

    asyncio.run(main())
    store.dispose()


def stored(store: sa.Engine, id: str) -> outputs.Output:
    with database.reading(store) as connection:
        found = outputs.find(connection, id)
    assert found is not None
    return found
