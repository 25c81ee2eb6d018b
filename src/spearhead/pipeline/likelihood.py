"""What the files of a release give to sequences of tokens, through the runtime that serves them. Knows no metric."""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spearhead.core.generation import Progress
from spearhead.runtimes.llamacpp import LlamaCpp, Settings

SLOTS = 4
TOGETHER = 8192
"""Tokens of context that several sequences may share; a longer one has all of it to itself."""
Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids that are given, and those whose likelihood counts."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as it is served: a GGUF, its tokenizer, and the adapter over it where it has one."""

    weights: Path
    tokenizer: Path
    adapter: Path | None = None

    def settings(self, *, longest: int, cache: str = "") -> Settings:
        """For sequences of so many tokens; `cache` as in `Settings`."""
        each = -(-(longest + 8) // 64) * 64
        slots = max(1, min(SLOTS, TOGETHER // each))
        return Settings(slots=slots, context=max(256, slots * each), adapter=self.adapter, cache=cache)


def nats(
    model: Served, settings: Settings, pairs: Sequence[Pair], *, stage: str, note: str
) -> Generator[Progress, None, list[float]]:
    """-ln p of each pair's second part after its first, in all: (pairs,)."""

    async def some(runtime: LlamaCpp, part: Sequence[Pair]) -> list[float]:
        turn = asyncio.Semaphore(settings.slots)

        async def one(pair: Pair) -> float:
            async with turn:
                return float((await runtime.nats(*pair)).sum())

        return await asyncio.gather(*(one(pair) for pair in part))

    found: list[float] = []
    with asyncio.Runner() as runner:
        runtime = runner.run(LlamaCpp.start(model.weights, model.tokenizer, settings=settings))
        try:
            while len(found) < len(pairs):
                yield Progress(stage, len(found), len(pairs), note, "sequences")
                found += runner.run(some(runtime, pairs[len(found) : len(found) + 8 * SLOTS]))
        finally:
            runner.run(runtime.aclose())
    yield Progress(stage, len(found), len(pairs), note, "sequences")
    return found
