"""Whether the exported model says what the trained one says: next-token log-probabilities at the same positions.

Knows no training and no file: the trained side comes as an array, the exported side from its runtime.
"""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Progress

Array = np.ndarray[Any, np.dtype[Any]]
LIKELY = 1e-3
"""Only tokens with at least this probability on either side are compared one by one: below it is rounding noise."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far apart two models are: differences in nats over likely tokens, and in the mean KL divergence."""

    positions: int
    largest: float
    mean: float
    divergence: float
    agreement: float
    """Share of positions with the same likeliest token; a tie within `largest` counts as the same."""

    def __str__(self) -> str:
        return (
            f"{self.positions} positions: log-probabilities differ by {self.mean:.4f} on average and {self.largest:.4f}"
            f" at most, KL {self.divergence:.5f} nats, {self.agreement:.1%} the same first choice"
        )


BOUNDS: dict[str, Fidelity] = {
    "F32": Fidelity(0, 0.05, 0.005, 0.0005, 0.99),
    "F16": Fidelity(0, 0.15, 0.02, 0.001, 0.97),
    "BF16": Fidelity(0, 0.5, 0.05, 0.01, 0.95),
    "Q8_0": Fidelity(0, 0.6, 0.06, 0.01, 0.95),
}
"""The most that an export may differ (`agreement`: the least). Layouts of fewer bits are judged by their loss alone."""


def compare(trained: Array, exported: Array) -> Fidelity:
    """Both (positions, vocabulary) natural log-probabilities; raises InputError on unlike or broken arrays."""
    if trained.shape != exported.shape or trained.ndim != 2 or not len(trained):
        raise InputError(f"fidelity: {trained.shape} and {exported.shape} are not the same positions and vocabulary")
    a, b = trained.astype(np.float64), exported.astype(np.float64)
    if np.isnan(a).any() or np.isnan(b).any() or np.isposinf(a).any() or np.isposinf(b).any():
        raise InputError("fidelity: log-probabilities hold NaN or infinity")
    floor = np.log(1e-12)  # a runtime rounds the least likely to nothing
    a, b = np.maximum(a, floor), np.maximum(b, floor)
    likely = np.maximum(a, b) >= np.log(LIKELY)
    apart = np.abs(a - b)[likely]
    largest = float(apart.max())
    rows = np.arange(len(a))
    # The other's first choice is as good as ours when ours gives it the same within the difference just measured.
    same = a[rows, b.argmax(axis=1)] >= a.max(axis=1) - min(largest, 0.05)
    return Fidelity(
        positions=len(a),
        largest=largest,
        mean=float(apart.mean()),
        divergence=float((np.exp(a) * (a - b)).sum(axis=1).mean()),
        agreement=float(same.mean()),
    )


def require(found: Fidelity, *, layout: str) -> None:
    """Raise SpearheadError when the export of this layout is further from the trained model than rounding explains."""
    bound = BOUNDS.get(layout)
    if bound is None:
        return
    wrong = [
        f"{name} {got:.4g}, at most {most:.4g}"
        for name, got, most in (
            ("largest difference", found.largest, bound.largest),
            ("mean difference", found.mean, bound.mean),
            ("KL divergence", found.divergence, bound.divergence),
        )
        if not got <= most
    ]
    if not found.agreement >= bound.agreement:
        wrong.append(f"agreement {found.agreement:.1%}, at least {bound.agreement:.1%}")
    if wrong:
        raise SpearheadError(f"the {layout} export does not say what the trained model says: {'; '.join(wrong)}")


def exported(
    model: Path, tokenizer: Path, prefixes: Sequence[Sequence[int]], *, adapter: Path | None = None, threads: int = 0
) -> Generator[Progress, None, Array]:
    """The exported model's log-probabilities of the token after each prefix: (prefixes, vocabulary).

    With `adapter`, a GGUF over `model`, those of the two together. Keys and values are kept whole: in eight bits, as
    they are served, they alone would move what is compared by as much as a file in F16 may (0.03 nats on average).
    """
    from spearhead.runtimes.llamacpp import LlamaCpp, Settings

    if not prefixes:
        raise InputError("fidelity: no positions were given")
    longest = max(len(prefix) for prefix in prefixes)
    context = max(64, -(-(longest + 2) // 64) * 64)
    settings = Settings(slots=1, context=context, threads=threads, adapter=adapter, cache="f16")
    rows: list[Array] = []
    with asyncio.Runner() as runner:
        runtime = runner.run(LlamaCpp.start(model, tokenizer, settings=settings))
        try:
            for prefix in prefixes:
                yield Progress("fidelity", len(rows), len(prefixes), unit="position")
                rows.append(runner.run(runtime.next_logprobs(prefix)))
        finally:
            runner.run(runtime.aclose())
    yield Progress("fidelity", len(rows), len(prefixes), unit="position")
    return np.stack(rows)
