"""Claim: under load and fault no error is anybody's but a limit's, and the books are exact to the unit afterwards.

`--clients` clients ask the tests' tiny release for `--seconds`: whole answers, streams, requests repeated under their
Idempotency-Key, vectors, and clients that leave in the middle; one key of eight has a limit that it meets. Then:
every journal group sums to zero, and the audit log is whole; each answered request has one event, of just the units
that its answer told; what accounts paid is the sum of the events. Faults come under the same load: the model's process
is killed, the database is locked, the disk is full, the database's file is taken away; each must end in 503s with a
reason, without a restart and without any other error, and then the books are checked again. Last, `--minutes` of calmer
load, over which memory must be flat. `--examples` requests for each operation are drawn by schemathesis at the end.

The clients are httpx: what they do (leave in mid-stream, repeat, compare) wrk cannot say, and Locust would bring twenty
packages for it. Exit code 3 when a promise is broken.

    python benchmarks/load.py --seconds 60 --minutes 10
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import httpx
import psutil
import sqlalchemy as sa
from tests.api_trouble_test import full_disk, lost_database
from tests.conftest import Served, start_server
from tests.schema_test import explore

from spearhead.core.manifest import PriceTag
from spearhead.ledger import invoices, journal, limits, price, usage
from spearhead.provenance import audit
from spearhead.store.tables import usage_events

CHAT = "/v1/chat/completions"
VECTORS = "multilingual-e5-small"
CREDIT = 10**15
FLAT = 0.10
"""How much memory may grow over the soak, of what it was after a tenth of it."""
WAYS = {"whole": 40, "stream": 25, "repeat": 12, "leave": 20, "vectors": 3}
"""Of a hundred requests."""


@dataclass(slots=True)
class Seen:
    """What the clients saw."""

    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Prompt and completion units that an answer told, by the number of its request."""
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of whole answers."""
    broken: bool = False
    """A fault is on: 503s and broken streams are right."""


def main() -> int:
    """Run, print, judge."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--clients", type=int, default=64)
    it.add_argument("--seconds", type=float, default=60, help="of full load (default 60)")
    it.add_argument("--minutes", type=float, default=10, help="of the soak (default 10)")
    it.add_argument("--examples", type=int, default=100, help="of each operation, drawn from its schema (default 100)")
    it.add_argument("--seed", type=int, default=0)
    given = it.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="spearhead-load-") as folder:
        served = start_server(Path(folder), limits="1000000,1000000000,64")
        try:
            price.set_price(served.engine, VECTORS, PriceTag("USD", 20_000_000, 0, "token"), actor="bench")
            accounts = [served.account(credit=CREDIT) for _ in range(8)]
            keys = [served.key(account) for account in accounts]
            limits.set_limit(
                served.engine, f"key:{keys[0].key.id}", measure="requests", span="minute", most=100, actor="bench"
            )
            load = _Load(served, [key.secret for key in keys], random.Random(given.seed))
            problems += asyncio.run(_run(load, accounts, given))
            log = (served.home.root / "server.log").read_text()
            if "Traceback" in log:
                problems.append(f"the log holds a traceback: {log[log.index('Traceback') :][:2000]}")
            for name, counts in explore(served, examples=given.examples, seed=False).items():
                print(f"  {name:40} {dict(counts)}")
        finally:
            served.close()
    for problem in problems:
        print(f"BROKEN: {problem}")
    print("every promise held" if not problems else f"{len(problems)} promises broken")
    return 3 if problems else 0


async def _run(load: "_Load", accounts: Sequence[str], given: argparse.Namespace) -> list[str]:
    problems = []
    begun = time.perf_counter()
    await load.clients(given.clients, seconds=given.seconds)
    took = time.perf_counter() - begun
    problems += load.report(f"{given.clients} clients", took) + await _books(load, accounts)
    for name, (fault, seconds) in FAULTS.items():
        load.seen = Seen()
        await _with_fault(load, fault, seconds=seconds, clients=min(16, given.clients))
        problems += load.report(name, 0.0) + await _books(load, accounts, told=False)
    load.seen = Seen()
    problems += await _soak(load, minutes=given.minutes, clients=min(16, given.clients))
    problems += load.report("soak", given.minutes * 60) + await _books(load, accounts, told=False)
    return problems


class _Load:
    """Clients, and what they saw."""

    def __init__(self, served: Served, secrets: Sequence[str], rng: random.Random) -> None:
        self.served, self.secrets, self.rng = served, secrets, rng
        self.seen = Seen()
        self._number = 0

    async def clients(self, count: int, *, seconds: float) -> None:
        """So many clients for so long."""
        end = time.monotonic() + seconds
        await asyncio.gather(*(self._client(number, end) for number in range(count)))

    async def _client(self, number: int, end: float) -> None:
        headers = {"authorization": f"Bearer {self.secrets[number % len(self.secrets)]}"}
        names, weights = list(WAYS), list(WAYS.values())
        async with httpx.AsyncClient(base_url=self.served.url, headers=headers, timeout=60) as client:
            while time.monotonic() < end:
                (way,) = self.rng.choices(names, weights)
                try:
                    await getattr(self, f"_{way}")(client)
                except (httpx.HTTPError, json.JSONDecodeError) as error:
                    self._wrong(f"{way}: {type(error).__name__} {error}")

    async def _whole(self, client: httpx.AsyncClient) -> None:
        begun = time.perf_counter()
        answer = await client.post(CHAT, json=_body("hello"))
        if self._counts("whole", answer):
            self.seen.seconds.append(time.perf_counter() - begun)
            self._told(answer)

    async def _stream(self, client: httpx.AsyncClient) -> None:
        body = _body("hello", stream=True, stream_options={"include_usage": True})
        async with client.stream("POST", CHAT, json=body) as answer:
            data = await answer.aread()
            if not self._counts("stream", answer):
                return
            if b"data: [DONE]" not in data:
                self._wrong(f"a stream without its end: {data[-300:]!r}")
                return
            told = json.loads(data.split(b"data: ")[-2])["usage"]
            self.seen.answered[answer.headers["x-request-id"]] = (told["prompt_tokens"], told["completion_tokens"])

    async def _repeat(self, client: httpx.AsyncClient) -> None:
        self._number += 1
        headers = {"idempotency-key": f"k{id(self)}-{time.time_ns()}-{self._number}"}
        first = await client.post(CHAT, json=_body("hello"), headers=headers)
        if not self._counts("repeat", first):
            return
        self._told(first)
        again = await client.post(CHAT, json=_body("hello"), headers=headers)
        if self._counts("repeated", again) and again.content != first.content:
            self._wrong("a repeated request got another answer")

    async def _leave(self, client: httpx.AsyncClient) -> None:
        pieces = self.rng.randint(0, 6)
        async with client.stream("POST", CHAT, json=_body("~", stream=True, max_tokens=300)) as answer:
            if answer.status_code != 200:
                await answer.aread()
                self._counts("leave", answer)
                return
            self.seen.statuses["leave 200"] += 1
            async for _ in answer.aiter_raw():
                pieces -= 1
                if pieces < 0:
                    break

    async def _vectors(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/embeddings", json={"model": VECTORS, "input": "hello"})
        if self._counts("vectors", answer):
            told = answer.json()["usage"]
            self.seen.answered[answer.headers["x-request-id"]] = (told["prompt_tokens"], 0)

    def _told(self, answer: httpx.Response) -> None:
        body = answer.json()
        if body["choices"][0]["message"]["content"] != " The quick brown fox.":
            self._wrong(f"another answer: {answer.text[:300]}")
        told = body["usage"]
        self.seen.answered[answer.headers["x-request-id"]] = (told["prompt_tokens"], told["completion_tokens"])

    def _counts(self, way: str, answer: httpx.Response) -> bool:
        """Whether it is an answer; anything but a limit's refusal is wrong, unless something is broken just now."""
        self.seen.statuses[f"{way} {answer.status_code}"] += 1
        if answer.status_code == 200:
            return True
        error = answer.json()["error"]
        reasoned = answer.status_code == 503 and error["code"] and error["message"] and "retry-after" in answer.headers
        limited = answer.status_code == 429 and error["code"] == "rate_limit_exceeded"
        # A key of a request that was cut off by the fault is taken until its lease ends.
        if not (limited or (self.seen.broken and (reasoned or answer.status_code == 409))):
            self.seen.wrong.append(f"{way}: {answer.status_code} {answer.text[:300]}")
        return False

    def _wrong(self, what: str) -> None:
        """Of what was answered or broke off; while something is broken it may."""
        if not self.seen.broken:
            self.seen.wrong.append(what)

    def report(self, name: str, seconds: float) -> list[str]:
        """Print what was seen; the first few things that were wrong."""
        seen = self.seen
        total = sum(seen.statuses.values())
        done = sum(count for status, count in seen.statuses.items() if status.endswith(" 200"))
        rate = f", {total / seconds:.0f} and {done / seconds:.0f} a second" if seconds else ""
        print(f"{name}: {total} requests, {done} answered{rate}  {dict(sorted(seen.statuses.items()))}")
        if len(seen.seconds) > 1:  # two have a median
            cuts = statistics.quantiles(seen.seconds, n=100)
            print(f"  whole answers: median {1000 * cuts[49]:.0f} ms, p99 {1000 * cuts[98]:.0f} ms")
        if len(seen.wrong) > 3:
            seen.wrong[3:] = [f"and {len(seen.wrong) - 3} more"]
        return [f"{name}: {what}" for what in seen.wrong]


def _body(words: str, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": words}], **more}


async def _books(load: _Load, accounts: Sequence[str], *, told: bool = True) -> list[str]:
    """What the books say once everything is settled, against what the clients saw."""
    served, problems = load.served, []
    for _ in range(1200):
        if not any(served.balance(account).reserved for account in accounts):
            break
        await asyncio.sleep(0.1)
    else:
        problems.append("money is still held after two minutes")
    engine = served.engine
    problems += journal.check(engine) + usage.check(engine) + limits.check(engine) + invoices.check(engine)
    if (changed := audit.verify(engine)) is not None:
        problems.append(f"the audit log was changed at entry {changed}")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(usage_events)).all()
    events = {row.event: row for row in rows}
    if len(events) != len(rows):
        problems.append(f"{len(rows)} events of {len(events)} requests")
    for number, (prompt, completion) in load.seen.answered.items():
        row = events.get(number)
        if row is None:
            problems.append(f"the answered request {number} has no event")
        elif (row.prompt_units, row.completion_units) != (prompt, completion):
            problems.append(f"{number} told {prompt} + {completion} units, its event says otherwise")
    for account in accounts:
        paid = CREDIT - served.balance(account).available
        charged = sum(row.amount for row in rows if row.account == account)
        if paid != charged:
            problems.append(f"{account} paid {paid}, and its events say {charged}")
    units = sum(row.prompt_units + row.completion_units for row in rows)
    print(f"  books: {len(rows)} events, {units:,} units, {len(load.seen.answered)} of them told in answers; ", end="")
    print("exact" if not problems else f"{len(problems)} problems")
    return problems[:5]


# -- faults ---------------------------------------------------------------------------------------------------------
@contextmanager
def _killed(served: Served) -> Iterator[None]:
    for pid in served.workers():
        psutil.Process(pid).kill()
    yield


@contextmanager
def _locked(served: Served) -> Iterator[None]:
    other = sqlite3.connect(served.home.root / "spearhead.db", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


FAULTS: dict[str, tuple[Callable[[Served], Any], float]] = {
    "model killed": (_killed, 3),
    "database locked": (_locked, 13),  # a writer waits ten seconds for its turn
    "disk full": (full_disk, 3),
    "database removed": (lost_database, 3),
}
"""What breaks, and for how many seconds."""


async def _with_fault(load: _Load, fault: Callable[[Served], Any], *, seconds: float, clients: int) -> None:
    """Load before, while something is broken, and until all is well again; the process stays the same."""
    served, pid = load.served, load.served.process.pid
    work = asyncio.create_task(load.clients(clients, seconds=seconds + 5))
    await asyncio.sleep(2)
    load.seen.broken = True
    with fault(served):
        await asyncio.sleep(seconds)
    await work
    async with httpx.AsyncClient(base_url=served.url) as client:
        for _ in range(300):
            if (await client.get("/ready")).status_code == 200:
                break
            await asyncio.sleep(0.1)
        else:
            load.seen.wrong.append("it is not ready half a minute after the fault")
    load.seen.broken = False
    if served.process.poll() is not None or served.process.pid != pid:
        load.seen.wrong.append("the server died")
    await load.clients(2, seconds=1)


# -- memory ---------------------------------------------------------------------------------------------------------
async def _soak(load: _Load, *, minutes: float, clients: int) -> list[str]:
    """Calm load for so long; memory of the service, and of all that it started, after a tenth and at the end."""
    server, samples = psutil.Process(load.served.process.pid), list[tuple[int, int]]()

    async def sample() -> None:
        while True:
            await asyncio.sleep(max(0.2, minutes * 60 / 200))
            workers = sum(child.memory_info().rss for child in server.children(recursive=True))
            samples.append((server.memory_info().rss, workers))

    watching = asyncio.create_task(sample())
    await load.clients(clients, seconds=minutes * 60)
    watching.cancel()
    tenth, problems = max(1, len(samples) // 10), []
    for index, name in enumerate(("service", "model processes")):
        early = statistics.median(pair[index] for pair in samples[tenth : 2 * tenth + 1])
        late = statistics.median(pair[index] for pair in samples[-tenth:])
        growth = late / early - 1
        print(f"  memory of {name}: {early / 2**20:.0f} MiB, then {late / 2**20:.0f} MiB ({100 * growth:+.1f} %)")
        if growth > FLAT:
            problems.append(f"memory of {name} grew by {100 * growth:.0f} % in {minutes:g} minutes")
    return problems


if __name__ == "__main__":
    sys.exit(main())
