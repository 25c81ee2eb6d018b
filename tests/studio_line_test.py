"""Promises of the studio's line over a real engine."""

import asyncio
from pathlib import Path
from typing import Any

from spearhead.core.generation import Request
from spearhead.engine.loaded import Room
from spearhead.engine.open import opened
from spearhead.ledger import journal, keys
from spearhead.service.studio.line import Line, number
from spearhead.service.studio.people import Person
from spearhead.store import database
from spearhead.store.home import Home


def test_what_is_cancelled_at_once_gives_its_place_to_the_next(tmp_path: Path, make_release: Any) -> None:
    home = Home(tmp_path, tmp_path / "cache")
    make_release(home.releases)
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    account = keys.create_account(store, "a", currency="USD").id
    journal.credit(store, account, 10**9, key="first")
    person = Person("p", account, "ada", ("creator",), "2026-11-22T00:00:00Z", None)

    async def main() -> None:
        async with asyncio.timeout(60), opened(home, room=Room(threads=1)) as engine:
            line = Line(engine)
            asked = [Request("tiny", account, number(), prompt="hello") for _ in range(6)]
            added = line.add(person, asked)
            for work in added[:4]:  # two of them run by now, and none has taken a step
                line.cancel(person, work.id)
            while not all(work.over for work in added):
                await asyncio.sleep(0.01)
            assert [work.state for work in added] == ["cancelled"] * 4 + ["done"] * 2
            await line.aclose()

    asyncio.run(main())
    store.dispose()
