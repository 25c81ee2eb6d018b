"""Promises about a person's edit: a new answer, of other bytes, that takes the old one's place and its money."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from spearhead.core.errors import InputError
from spearhead.core.generation import Held, Request
from spearhead.engine import outputs
from spearhead.engine.edits import edit
from spearhead.engine.held import settle_decided
from spearhead.engine.loaded import Room
from spearhead.engine.open import opened
from spearhead.engine.run import Engine
from spearhead.ledger import journal, keys
from spearhead.review import queue
from spearhead.store import database
from spearhead.store.home import Home

PROMPT, COMPLETION = 200, 800
SAID = " Write to ada@example.org now!!"


async def held(engine: Engine, account: str, key: str) -> Held:
    """A request whose answer waits for a person."""
    [found] = [one async for one in engine.run(Request("tiny", account, key, prompt="#")) if isinstance(one, Held)]
    return found


def test_an_edited_answer_is_labelled_anew_and_only_its_own_bytes_can_be_approved(
    tmp_path: Path, make_release: Any
) -> None:
    async def test() -> None:
        home = Home(tmp_path, tmp_path / "cache")
        make_release(home.releases)
        database.migrate(home.database_url)
        store = database.connect(home.database_url)
        account = keys.create_account(store, "a", currency="USD").id
        journal.credit(store, account, 10**9, key="first")
        async with opened(home, room=Room(threads=1)) as engine:
            review = (await held(engine, account, "k")).review
            with pytest.raises(InputError, match="claim it"):
                await edit(engine, review, reviewer="ada", text="Write to us.")
            assert queue.claim(store, reviewer="ada", review=review)
            for words, why in ((" \n", "wanted 1"), (SAID, "already"), ("Say zzforbidden things", "blocks")):
                with pytest.raises(InputError, match=why):
                    await edit(engine, review, reviewer="ada", text=words)
            new = await edit(engine, review, reviewer="ada", text="Write to us at our desk.")
            with store.connect() as connection:
                old = outputs.find(connection, review)
                assert old is not None and (old.state, old.text) == ("edited", SAID)
                assert outputs.current(connection, old.id) == outputs.current(connection, review) == new
            with pytest.raises(InputError, match="nothing to edit"):
                await edit(engine, review, reviewer="ada", text="Another.")
            await settle_decided(engine)
            owed = PROMPT + 8 * COMPLETION
            assert journal.balance(store, account).reserved == owed, "the old answer's rejection gives nothing back"

            assert new.review is not None and new.blob is not None and new.blob != old.blob
            assert json.loads(new.prompt or "") == [{"content": "#", "role": "user"}]
            item = queue.claim(store, reviewer="ada", review=new.review)
            first = queue.find(store, review)
            assert item is not None and first is not None and item.expires <= first.expires
            with pytest.raises(InputError, match="other bytes"):
                queue.approve(store, new.review, reviewer="ada", blob=str(old.blob))
            queue.approve(store, new.review, reviewer="ada", blob=new.blob)
            await settle_decided(engine)
            with store.connect() as connection:
                given = outputs.current(connection, old.id)
            assert given is not None and (given.state, given.text) == ("released", "Write to us at our desk.")
            file = await engine.file(given)
            assert "Write to us at our desk." in file.data.decode() and new.id in file.data.decode()
            balance = journal.balance(store, account)
            assert (balance.reserved, balance.available) == (0, 10**9 - owed)

            # The old answer may be appealed and approved: nobody is charged for it, and the edit stays what is given.
            queue.appeal(store, review, actor="customer", reason="I liked it")
            again = queue.claim(store, reviewer="bob", review=review)
            assert again is not None and again.blob is not None
            queue.approve(store, review, reviewer="bob", blob=again.blob)
            await settle_decided(engine)
            assert journal.balance(store, account) == balance

            # An edit that is rejected gives the money back.
            review = (await held(engine, account, "k2")).review
            queue.claim(store, reviewer="ada", review=review)
            new = await edit(engine, review, reviewer="ada", text="Call us.")
            assert new.review is not None and queue.claim(store, reviewer="bob", review=new.review)
            queue.reject(store, new.review, reviewer="bob", reason="we have no telephone")
            await settle_decided(engine)
            assert journal.balance(store, account) == balance
        assert journal.check(store) == []
        store.dispose()

    asyncio.run(test())
