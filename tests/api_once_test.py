"""Promises of the API within one process: what a slow client, a huge answer or a busy neighbour cannot do."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from spearhead.core import clock as clocks
from spearhead.engine.loaded import Room
from spearhead.engine.open import opened
from spearhead.ledger import idempotency, journal, keys
from spearhead.service.api import generate, moderations, once
from spearhead.service.app import create_app
from spearhead.store import database
from spearhead.store.home import Home

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


class Day:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return clocks.now() + self.ahead


class Inside:
    """The whole service in this process, and a client of an account with credit."""

    def __init__(self, app: Any, store: Any, day: Day) -> None:
        self.app, self.store, self.day = app, store, day
        self.account = keys.create_account(store, "a", currency="USD").id
        journal.credit(store, self.account, 10**9, key="first")

    def http(self) -> httpx.AsyncClient:
        """A client with a key that nobody has seen before."""
        secret = keys.create(self.store, self.account, name="k", scopes=("generate", "read")).secret
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://here", headers=headers)

    @property
    def paid(self) -> int:
        """What the account has paid or has held."""
        return 10**9 - journal.balance(self.store, self.account).available


@asynccontextmanager
async def inside(root: Path, make_release: Any) -> AsyncIterator[Inside]:
    """A service over one tiny release."""
    home, day = Home(root, root / "cache"), Day()
    make_release(home.releases)
    database.migrate(home.database_url)
    store = database.connect(home.database_url)
    async with opened(home, room=Room(threads=1), clock=day) as engine:
        yield Inside(create_app(engine, home=home), store, day)
    store.dispose()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test."""

    async def within() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(within())


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_too_large_to_be_kept_is_not_made_again(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async def test() -> None:
        async with inside(tmp_path, make_release) as service, service.http() as client:
            again = {"idempotency-key": "one"}
            monkeypatch.setattr(idempotency, "LARGEST_BODY", 300)
            first = await client.post("/v1/chat/completions", json={**ASKED, "stream": stream}, headers=again)
            assert first.status_code == 200 and all(word in first.text for word in ("quick", "brown"))
            paid = service.paid
            assert paid > 0
            for later in (timedelta(), timedelta(minutes=16)):
                service.day.ahead = later
                other = await client.post("/v1/chat/completions", json={**ASKED, "stream": stream}, headers=again)
                assert other.status_code == 409 and other.json()["error"]["code"] == "answer_not_kept"
                assert other.headers["x-should-retry"] == "false"
            assert service.paid == paid

    run(test)


def test_a_stream_too_large_to_be_kept_is_not_gathered_to_its_end(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered, keep = [], once.keep

    async def noting(*given: Any, body: bytes, **more: Any) -> None:
        gathered.append(len(body))
        await keep(*given, body=body, **more)

    async def test() -> None:
        async with inside(tmp_path, make_release) as service, service.http() as client:
            monkeypatch.setattr(idempotency, "LARGEST_BODY", 2_000)
            monkeypatch.setattr(once, "keep", noting)
            asked = {"model": "tiny", "prompt": ["~", "~~"], "max_tokens": 200, "stream": True}
            answer = await client.post("/v1/completions", json=asked, headers={"idempotency-key": "one"})
            assert answer.text.endswith("[DONE]\n\n") and len(answer.content) > 20_000
            other = await client.post("/v1/completions", json=asked, headers={"idempotency-key": "one"})
            assert other.json()["error"]["code"] == "answer_not_kept"

    run(test)
    assert len(gathered) == 1 and 2_000 < gathered[0] < 5_000


def test_a_stream_that_nobody_takes_is_over_for_its_key(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "SEND_SECONDS", 0.05)

    async def test() -> None:
        async with inside(tmp_path, make_release) as service, service.http() as client:
            asked = {**ASKED, "stream": True}
            request = client.build_request(
                "POST", "/v1/chat/completions", json=asked, headers={"idempotency-key": "one"}
            )
            scope = {
                "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
                "path": request.url.path, "raw_path": request.url.raw_path, "query_string": b"", "root_path": "",
                "headers": [(name.lower(), value) for name, value in request.headers.raw],
                "client": ("127.0.0.1", 1), "server": ("here", 80), "state": {},
            }  # fmt: skip
            body = [{"type": "http.request", "body": request.content, "more_body": False}]

            async def receive() -> Any:
                return body.pop() if body else await asyncio.Event().wait()

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    await asyncio.Event().wait()  # it takes nothing

            with pytest.raises(TimeoutError):
                await service.app(scope, receive, send)
            service.day.ahead = timedelta(minutes=16)
            paid = service.paid
            other = await client.send(request)
            assert other.status_code == 500 and other.json()["error"]["code"] == "request_cut_off"
            assert service.paid == paid

    run(test)


def test_texts_that_take_long_to_judge_keep_nobody_from_coming_in(
    tmp_path: Path, make_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, over = moderations.judge, threading.Event()

    def slow(*given: Any) -> Any:
        assert over.wait(50)
        return judge(*given)

    monkeypatch.setattr(moderations, "judge", slow)

    async def test() -> None:
        async with inside(tmp_path, make_release) as service, service.http() as busy, service.http() as other:
            asked = {"model": "tiny", "input": "how are you"}
            many = [asyncio.create_task(busy.post("/v1/moderations", json=asked)) for _ in range(40)]
            try:
                await asyncio.sleep(0.5)
                assert not any(task.done() for task in many)
                async with asyncio.timeout(20):
                    assert (await other.get("/v1/models")).status_code == 200
            finally:
                over.set()
            assert {answer.status_code for answer in await asyncio.gather(*many)} == {200}

    run(test)
