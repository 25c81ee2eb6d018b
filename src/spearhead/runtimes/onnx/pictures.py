"""Pictures on their way from noise, one evaluation of the graph at a time. Knows no graph and no queue."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from spearhead.core.sampler import Sampler
from spearhead.runtimes.onnx.options import Wish

Array = np.ndarray[Any, np.dtype[Any]]


class Oneshot:
    """A picture that one evaluation makes."""

    def __init__(self, sampler: Sampler, wish: Wish) -> None:
        self._sampler, self._wish = sampler, wish
        self._pixels: Array | None = None
        self.step = 0
        """Steps taken."""

    @property
    def done(self) -> bool:
        """Whether the picture is whole."""
        return self._pixels is not None

    def ask(self) -> Mapping[str, Array]:
        """The graph's inputs (1, ...)."""
        wish, layers = self._wish, self._sampler.layers
        noise = self._drawn(wish.seed)
        asked = {"noise": noise, "label": np.array([wish.label])}
        if layers:  # without a second style the first one rules every layer
            asked |= {"other": self._second() if wish.mixing else noise, "layer": np.array([wish.mixing or layers])}
        return asked

    def answer(self, found: Array) -> None:
        """The graph's output (1, c, h, w), in [0, 1]."""
        self._pixels, self.step = found[0], 1

    def pixels(self) -> Array:
        """(h, w, c) uint8."""
        assert self._pixels is not None, "asked before it was made"
        return _bytes(self._pixels)

    def _second(self) -> Array:
        """The noise of the second style: another picture's, or what follows this picture's own."""
        if self._wish.mixing_seed is None:
            return self._drawn(self._wish.seed, after=1)
        return self._drawn(self._wish.mixing_seed)

    def _drawn(self, seed: int, *, after: int = 0) -> Array:
        """Noise (1, ...), as far spread as it was asked for."""
        return (_noise(self._sampler, seed, after=after) * np.float32(self._wish.truncation))[None]

    def finite(self) -> bool:
        """Whether everything in it is a number."""
        return self._pixels is None or bool(np.isfinite(self._pixels).all())


class Flow:
    """A picture that steps from time 0 to 1 along a velocity; Heun's last step is Euler's, as in training's solver."""

    def __init__(self, sampler: Sampler, wish: Wish) -> None:
        self._sampler, self._wish = sampler, wish
        self._x: Array | None = None
        self._slope: Array | None = None
        """The velocity at the step's begin, while the one at its end is asked for."""
        self._last: Array | None = None
        self.step = 0
        """Steps taken."""

    @property
    def done(self) -> bool:
        """Whether the picture is whole."""
        return self.step == self._wish.steps

    def ask(self) -> Mapping[str, Array]:
        """The graph's inputs, one row, or two with guidance: (1 or 2, ...)."""
        if self._x is None:
            self._x = _noise(self._sampler, self._wish.seed)
        x, time = self._x, self.step
        if self._slope is not None:
            x, time = x + self._slope / np.float32(self._wish.steps), self.step + 1
        labels = [self._wish.label] if self._wish.guidance == 1 else [self._wish.label, len(self._sampler.classes)]
        return {
            "x": np.stack([x] * len(labels)),
            "time": np.full(len(labels), time / self._wish.steps, np.float32),
            "label": np.array(labels, np.int64),
            # Who leaps answers for the whole of Euler's step; Heun asks for what is at its two ends.
            "length": np.full(len(labels), self._sampler.solver == "euler" and 1 / self._wish.steps, np.float32),
        }

    def answer(self, found: Array) -> None:
        """The velocities (1 or 2, c, h, w) of what was asked."""
        assert self._x is not None, "answered before it was asked"
        slope = found[0]
        if len(found) == 2:
            with np.errstate(over="ignore", invalid="ignore"):  # seen by `finite`
                slope = found[1] + np.float32(self._wish.guidance) * (found[0] - found[1])
        if self._slope is not None:
            slope = (self._slope + slope) / 2
        elif self._sampler.solver == "heun" and self.step + 1 < self._wish.steps:
            self._slope = slope
            return
        self._x = self._x + slope / np.float32(self._wish.steps)
        self._last, self._slope = slope, None
        self.step += 1

    def pixels(self) -> Array:
        """(h, w, c) uint8: the picture, or where it is heading."""
        assert self._x is not None and self._last is not None, "asked before a step was taken"
        ahead = self._x + self._last * np.float32(1 - self.step / self._wish.steps)
        return _bytes((ahead + 1) / 2)

    def finite(self) -> bool:
        """Whether everything in it is a number."""
        return self._last is None or bool(np.isfinite(self._last).all())


Picture = Oneshot | Flow


def begin(sampler: Sampler, wish: Wish) -> Picture:
    """A picture before its first step; its noise depends on the seed alone."""
    return (Flow if sampler.kind == "flow" else Oneshot)(sampler, wish)


def _noise(sampler: Sampler, seed: int, *, after: int = 0) -> Array:
    """The noise of a seed, or what is drawn so many draws after it."""
    drawn = np.random.Generator(np.random.Philox(seed)).standard_normal((after + 1, *sampler.noise), dtype=np.float32)
    found: Array = drawn[after]
    return found


def _bytes(values: Array) -> Array:
    """(c, h, w) in [0, 1] as (h, w, c) uint8."""
    return np.ascontiguousarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))
