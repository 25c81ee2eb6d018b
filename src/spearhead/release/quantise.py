"""Which layout of the weights is released: the fastest, as measured here, that loses no more than is allowed.

Knows no training: the model comes as a GGUF of full precision, the texts as token ids.
"""

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spearhead.core.errors import BarMissed, InputError
from spearhead.core.generation import Progress, Prompt
from spearhead.core.manifest import Layout
from spearhead.nn import gguf_file, weight_layouts
from spearhead.nn.weight_layouts import Array
from spearhead.runtimes.llamacpp import LlamaCpp, Settings

CLIENTS = 16
"""Prompts answered at once when speed is measured."""
ROUNDS = 2
"""Each layout is timed so often, in turn with the others; the best round counts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A held-out prompt and its wanted answer, as token ids."""

    prompt: Sequence[int]
    answer: Sequence[int]


@dataclass(frozen=True, slots=True)
class Over:
    """A tuned model as `adapter` (GGUF) over its base; `merged`, the same in one file of F16, is timed beside it."""

    adapter: Path
    merged: Path


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file in a layout, what it is made of, and what lies over it; only a `wanted` one is released."""

    path: Path
    layout: str
    source: Path
    moments: Mapping[str, Array] | None
    adapter: Path | None = None
    wanted: bool = True

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size + (self.adapter.stat().st_size if self.adapter else 0)


@dataclass(frozen=True, slots=True)
class Choice:
    """The file to release and what was measured of every candidate; `alone` is tokens a second of one client."""

    path: Path
    layouts: tuple[Layout, ...]
    alone: dict[str, float]
    nats: dict[str, float]
    """Mean nats per answer token by layout, the full-precision file's under its own layout."""


def choose(
    source: Path,
    tokenizer: Path,
    folder: Path,
    *,
    layouts: Sequence[str],
    pairs: Sequence[Pair],
    prompts: Sequence[Prompt],
    most_loss: float,
    moments: Mapping[str, Array] | None = None,
    sources: Mapping[str, Path] = {},
    over: Over | None = None,
    threads: int = 0,
) -> Generator[Progress, None, Choice]:
    """Write `source` (a GGUF in F32 or F16) to `folder` in each layout, measure speed and loss, and choose.

    The loss is the mean of -ln p of the answers' tokens less the same under `source`; speed is that of `CLIENTS`
    prompts at once, every generated token counted, on `threads` (0: one a core). Raises BarMissed, with the figures,
    when every layout loses more than `most_loss`. `moments` (see `calibration`) lower the loss of Q4_0. What `sources`
    names for a layout is written from that file: numbers that it holds in this layout stay bit by bit.

    With `over` it is `source` under the adapter that is chosen, in each layout `Q8_0 + adapter`, and `Q8_0 merged` is
    only measured. The base is rounded without `moments`: they are one model's own, and it is to be shared by many.
    """
    if not layouts or not pairs or not prompts:
        raise InputError("choosing a layout needs layouts, pairs and prompts: one of them is empty")
    for layout in layouts:
        weight_layouts.known(layout)
    candidates = _candidates(source, folder, layouts, moments=moments, sources=sources, over=over)
    for name, one in candidates.items():
        for step in gguf_file.requantise(one.source, one.path, one.layout, moments=one.moments):
            yield Progress("quantise", step.done, step.total, note=name, unit="byte")
    nats: dict[str, float] = {}
    rates: dict[str, list[float]] = {name: [] for name in candidates}
    alone: dict[str, list[float]] = {name: [] for name in candidates}
    with asyncio.Runner() as runner:
        every = {_name(source): (source, over.adapter if over else None)}
        every |= {name: (one.path, one.adapter) for name, one in candidates.items()}
        for at, (name, (path, adapter)) in enumerate(every.items()):
            yield Progress("loss of quality", at, len(every), note=name, unit="layout")
            nats[name] = runner.run(_nats(path, tokenizer, pairs, adapter=adapter, threads=threads))
        for turn in range(ROUNDS):
            for at, (name, one) in enumerate(candidates.items()):
                yield Progress("speed", turn * len(candidates) + at, ROUNDS * len(candidates), note=name, unit="run")
                many, single = runner.run(_speed(one.path, tokenizer, prompts, adapter=one.adapter, threads=threads))
                rates[name].append(many)
                alone[name].append(single)
    reference = nats[_name(source)]
    rows = [
        Layout(name, one.bytes, max(rates[name]), nats[name] - reference, False) for name, one in candidates.items()
    ]
    wanted = [row for row in rows if candidates[row.name].wanted]
    fit = [row for row in wanted if row.nats_per_token <= most_loss]
    if not fit:
        said = ", ".join(f"{row.name} {row.nats_per_token:.4f}" for row in wanted)
        raise BarMissed(f"every layout loses more than {most_loss:g} nats per token: {said}; allow a wider layout")
    best = max(fit, key=lambda row: row.tokens_per_second)
    chosen = tuple(Layout(row.name, row.bytes, row.tokens_per_second, row.nats_per_token, row is best) for row in rows)
    return Choice(candidates[best.name].path, chosen, {name: max(found) for name, found in alone.items()}, nats)


def _candidates(
    source: Path,
    folder: Path,
    layouts: Sequence[str],
    *,
    moments: Mapping[str, Array] | None,
    sources: Mapping[str, Path],
    over: Over | None,
) -> dict[str, _Candidate]:
    """What is measured, by the name that it has in tables."""
    found: dict[str, _Candidate] = {}
    for layout in dict.fromkeys(layouts):
        stem = layout.replace("/", "-")
        path = folder / f"{stem}.gguf"
        if over is None:
            found[layout] = _Candidate(path, layout, sources.get(layout, source), moments)
            continue
        whole = folder / f"{stem}.merged.gguf"
        found[f"{layout} merged"] = _Candidate(whole, layout, over.merged, moments, wanted=False)
        found[f"{layout} + adapter"] = _Candidate(path, layout, source, None, adapter=over.adapter)
    return found


def _name(source: Path) -> str:
    return f"source ({source.name})"


async def _nats(model: Path, tokenizer: Path, pairs: Sequence[Pair], *, adapter: Path | None, threads: int) -> float:
    """Mean -ln p of the answers' tokens."""
    longest = max(len(pair.prompt) + len(pair.answer) for pair in pairs)
    context = max(256, 4 * -(-(longest + 8) // 64) * 64)
    settings = Settings(slots=4, context=context, threads=threads, adapter=adapter)
    async with await LlamaCpp.start(model, tokenizer, settings=settings) as runtime:
        turn = asyncio.Semaphore(settings.slots)

        async def one(pair: Pair) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
            async with turn:
                return await runtime.nats(pair.prompt, pair.answer)

        return float(np.concatenate(await asyncio.gather(*(one(pair) for pair in pairs))).mean())


async def _speed(
    model: Path, tokenizer: Path, prompts: Sequence[Prompt], *, adapter: Path | None, threads: int
) -> tuple[float, float]:
    """Generated tokens a second of `CLIENTS` prompts at once, and of one."""
    settings = Settings(slots=CLIENTS, threads=threads, adapter=adapter)
    async with await LlamaCpp.start(model, tokenizer, settings=settings) as runtime:
        several = [prompts[n % len(prompts)] for n in range(CLIENTS)]
        await _answered(runtime, prompts[0])  # the first touches every page of the file
        start = time.perf_counter()
        counts = await asyncio.gather(*(_answered(runtime, prompt) for prompt in several))
        many = sum(counts) / (time.perf_counter() - start)
        start = time.perf_counter()
        one = await _answered(runtime, prompts[-1])
        return many, one / (time.perf_counter() - start)


async def _answered(runtime: LlamaCpp, prompt: Prompt) -> int:
    """How many tokens the answer took."""
    count = 0
    async for draft in runtime.generate(prompt):
        count = draft.usage.completion
    return count
