"""A picture model as a Generator: all requests' pictures step through the graph together, in one thread.

Knows nothing of accounts, review or labels.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Draft, Prompt, Usage
from spearhead.core.media import Media
from spearhead.core.sampler import Sampler
from spearhead.core.sentence import said
from spearhead.media.image import codec
from spearhead.runtimes.failure import RuntimeFailed
from spearhead.runtimes.onnx import options, pictures
from spearhead.runtimes.onnx.graph import Graph
from spearhead.runtimes.onnx.options import Wish
from spearhead.runtimes.onnx.pictures import Picture

NOTHING = Usage(unit="picture")


@dataclass(frozen=True, slots=True)
class Settings:
    """How much of the machine a model gets."""

    batch: int = 16
    """Pictures that step together at most; more wait for their turn."""
    threads: int = 0
    """0: one for each physical core."""
    gather: float = 0.002
    """Seconds that the first request of an idle model waits for company."""
    queue: int = 512
    """Pictures under way and waiting; a request beyond them is turned away."""


@dataclass(slots=True, eq=False)
class _Order:
    """One picture under way and where its drafts go."""

    index: int
    wish: Wish
    picture: Picture
    drafts: "asyncio.Queue[_Look | RuntimeFailed]"
    failure: str = ""
    look: "_Look | None" = None


@dataclass(frozen=True, slots=True)
class _Look:
    """Pixels (h, w, c) uint8 of answer `index`, whole or on their way."""

    index: int
    pixels: Any
    done: bool


class Onnx:
    """A model that answers prompts with pictures. Use it as `async with await Onnx.start(folder) as runtime:`."""

    restarts = 0
    """It lives in the server's own process and ends with it."""
    recycled = 0

    def __init__(self, graph: Graph, sampler: Sampler, settings: Settings) -> None:
        """Use `start`."""
        self._graph, self.sampler, self._settings = graph, sampler, settings
        self._orders: list[_Order] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onnx")
        self._closed = False
        self._server: asyncio.Task[None] | None = None
        self.evaluations = 0
        """How often the graph has been run for requests."""

    @classmethod
    async def start(cls, folder: Path, *, settings: Settings | None = None) -> "Onnx":
        """Load `sampler.json` and its graph from `folder`.

        Raises InputError in one sentence when a file cannot be read or does not fit the other.
        """
        settings = settings or Settings()
        if settings.batch < 1 or settings.queue < 1 or settings.threads < 0 or not 0 <= settings.gather <= 1:
            raise InputError(
                f"{settings}: wanted batch and queue of at least 1, threads of at least 0, gather of 0 to 1"
            )
        sampler = Sampler.read(folder / "sampler.json")
        rows = settings.batch * (2 if sampler.kind == "flow" else 1)
        graph = await asyncio.to_thread(Graph.open, folder, sampler, rows=rows, threads=settings.threads)
        runtime = cls(graph, sampler, settings)
        runtime._server = asyncio.create_task(runtime._serve())
        return runtime

    @property
    def context(self) -> int:
        """Pictures of one answer."""
        return 1

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return not self._closed

    def rss(self) -> int:
        """Nothing of its own: its memory is the server's."""
        return 0

    def measure(self, prompt: Prompt) -> int:
        """Words cost nothing; raises InputError when they name no class."""
        options.label(prompt, self.sampler)
        return 0

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Draft, None]:
        """One draft with a PNG for each answer, and before it, with `preview`, looks at where it is heading.

        The same seed gives the same bytes whatever else is being made. Closing the iterator takes its pictures out
        before the next evaluation. Raises InputError on what cannot be honoured, RuntimeFailed when the model breaks.
        """
        wishes = options.wishes(prompt, self.sampler)
        if self._closed:
            raise RuntimeFailed(said("runtimes.closed"))
        if len(self._orders) + len(wishes) > self._settings.queue:
            raise RuntimeFailed(said("runtimes.onnx.waiting", pictures=len(self._orders)))
        drafts: asyncio.Queue[_Look | RuntimeFailed] = asyncio.Queue()
        mine = [_Order(index, wish, pictures.begin(self.sampler, wish), drafts) for index, wish in enumerate(wishes)]
        self._orders += mine
        self._arrived.set()
        try:
            left = len(mine)
            while left:
                look = await drafts.get()
                if isinstance(look, RuntimeFailed):
                    raise look
                if not look.done and not drafts.empty():
                    continue  # the reader is behind: what is newer is waiting
                media = await asyncio.to_thread(_png, look.pixels)
                left -= look.done
                usage = Usage(completion=1, unit="picture") if look.done else NOTHING
                yield Draft(look.index, media=media, usage=usage, finish="stop" if look.done else None)
        finally:
            self._orders = [order for order in self._orders if order not in mine]

    async def aclose(self) -> None:
        """Stop after the evaluation under way; running answers fail."""
        self._closed = True
        if self._server is not None:
            self._server.cancel()
            await asyncio.gather(self._server, return_exceptions=True)
        for order in self._orders:
            order.drafts.put_nowait(RuntimeFailed(said("runtimes.onnx.closed")))
        await asyncio.to_thread(self._thread.shutdown)

    async def __aenter__(self) -> "Onnx":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _serve(self) -> None:
        """Run the graph for whoever is there, the oldest first, as long as anybody is."""
        while True:
            if not self._orders:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(self._settings.gather)
                continue
            now = self._orders[: self._settings.batch]
            self.evaluations += 1
            await asyncio.get_running_loop().run_in_executor(self._thread, _advance, self._graph, now)
            for order in now:
                if order.failure:
                    order.drafts.put_nowait(RuntimeFailed(said("runtimes.onnx.broken", why=order.failure)))
                elif order.look is not None:
                    order.drafts.put_nowait(order.look)
                order.look = None
            gone = {id(order) for order in now if order.failure or order.picture.done}
            self._orders = [order for order in self._orders if id(order) not in gone]


def _advance(graph: Graph, orders: Sequence[_Order]) -> None:
    """One evaluation for all of them. Never raises: what fails is written on the order."""
    try:
        asked = [order.picture.ask() for order in orders]
        found = graph.run({name: np.concatenate([rows[name] for rows in asked]) for name in asked[0]})
        ends = np.cumsum([len(rows["label"]) for rows in asked])
        for order, rows in zip(orders, np.split(found, ends[:-1]), strict=True):
            before = order.picture.step
            order.picture.answer(rows)
            if not order.picture.finite():
                order.failure = "the model gave what is not a number"
            elif order.picture.done or _is_due(order, before):
                order.look = _Look(order.index, order.picture.pixels(), order.picture.done)
    except Exception as error:  # memory that ran out, for one: everybody in this batch is told
        for order in orders:
            order.failure = order.failure or str(error) or type(error).__name__


def _is_due(order: _Order, before: int) -> bool:
    """Whether a look at an unfinished picture was asked for at this step."""
    every, step = order.wish.preview, order.picture.step
    return bool(every) and step != before and step % every == 0


def _png(values: Any) -> Media:
    return codec.write(values)
