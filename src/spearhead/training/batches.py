"""Which examples a step learns from, in which micro-batches: a function of seed and step, so a restart needs no memory.

Knows neither models nor text: an example has `units` (tokens, pixels) and a family packs examples into its batch.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from spearhead.core.errors import InputError
from spearhead.training.plan import Plan

POOL = 50
"""Batches that are sorted by length together when a plan does not pack."""


class Sized(Protocol):
    """What a batch is made of."""

    @property
    def units(self) -> int: ...


E = TypeVar("E", bound=Sized)
C = TypeVar("C", contravariant=True)


class Pack(Protocol[C]):
    """How a family makes a micro-batch of examples; `closes` on the last of a step."""

    def __call__(self, examples: Sequence[C], *, closes: bool = True) -> Any: ...


class Batches(Generic[E]):
    """An endless, seeded order over `examples`; `at(step)` gives the micro-batches of one optimiser step.

    Every example is seen once in each epoch. `change`, if given, makes a new version of example number i each time
    (augmentation), from a generator of its own. Of `world` processes each gets its share of every batch.
    """

    def __init__(
        self,
        examples: Sequence[E],
        pack: Pack[E],
        *,
        plan: Plan,
        change: Callable[[int, np.random.Generator], E] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not examples:
            raise InputError("there is no example to train on: every record was refused, too long or empty")
        if plan.batch < world:
            raise InputError(
                f"training.batch is {plan.batch}: wanted at least one example for each of {world} processes"
            )
        self.examples, self.pack, self.plan, self.change = examples, pack, plan, change
        self.rank, self.world = rank, world
        self._epoch: tuple[int, np.ndarray[Any, Any]] = (-1, np.empty(0, dtype=np.int64))

    @property
    def steps_per_epoch(self) -> float:
        """How many steps see every example once."""
        return len(self.examples) / self.plan.batch

    @property
    def digest(self) -> str:
        """Names the data and its order: a checkpoint resumes only over the same."""
        order = (len(self.examples), self.plan.seed, self.plan.batch, self.plan.packing, self.change is not None)
        found = hashlib.sha256(repr(order).encode())
        for example in self.examples:
            _tell(example, found.update)
        return found.hexdigest()

    def indices(self, step: int) -> list[int]:
        """Which examples the whole batch of `step` holds, over all processes."""
        size = self.plan.batch
        if self.plan.packing:
            return [self._place(step * size + i) for i in range(size)]
        pool = POOL * size
        number, turn = divmod(step, POOL)
        places = [self._place(number * pool + i) for i in range(pool)]
        places.sort(key=lambda i: (self.examples[i].units, i))
        batch = int(np.random.default_rng([self.plan.seed, 1, number]).permutation(POOL)[turn])
        return places[batch * size : (batch + 1) * size]

    def at(self, step: int) -> list[Any]:
        """The micro-batches of `step`, longest examples first; the last one closes it."""
        chosen = self.indices(step)[self.rank :: self.world]
        if self.change is None:
            examples = [self.examples[i] for i in chosen]
        else:
            seeds = [[self.plan.seed, 2, step, self.rank, turn] for turn in range(len(chosen))]
            examples = [self.change(i, np.random.default_rng(seed)) for i, seed in zip(chosen, seeds, strict=True)]
        parts = list(parted(examples, plan=self.plan))
        return [self.pack(part, closes=part is parts[-1]) for part in parts]

    @property
    def longest(self) -> Any:
        """The longest example of all as a micro-batch of its own: the dearest, where `at` makes none as long."""
        return self.pack([max(self.examples, key=lambda example: example.units)])

    def _place(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.examples))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, np.random.default_rng([self.plan.seed, 0, epoch]).permutation(len(self.examples)))
        return int(self._epoch[1][offset])


def _tell(value: Any, write: Callable[[bytes], None]) -> None:
    """Write all that an example holds: the `repr` of a long array leaves out its middle."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _tell(getattr(value, field.name), write)
    elif isinstance(value, np.ndarray):
        write(f"{value.dtype.str}{value.shape}".encode())
        write(np.ascontiguousarray(value).tobytes())
    else:
        write(f"{value!r},".encode())


def parted(examples: Sequence[E], *, plan: Plan) -> Iterator[list[E]]:
    """Examples in micro-batches, longest first, within the plan's `micro_batch` or `micro_tokens` (one at least)."""
    part: list[E] = []
    held = 0
    for example in sorted(examples, key=lambda e: -e.units):
        full = len(part) >= plan.micro_batch if plan.micro_batch else held + example.units > plan.micro_tokens
        if part and full:
            yield part
            part, held = [], 0
        part.append(example)
        held += example.units
    if part:
        yield part


def held_out(examples: Sequence[E], pack: Pack[E], *, plan: Plan) -> list[Any]:
    """All examples as micro-batches in order of length, for validation."""
    return [pack(part) for part in parted(examples, plan=plan)]
