"""One training loop for every family, a generator of steps; the caller shows, tracks and stops. Knows no data.

    for step in train(model, batches, plan, validation=held_out, folder=run):
        print(step.number, step.loss)

Closing the generator, ctrl-C and a crash all leave a checkpoint to go on from.
"""

import ctypes
import dataclasses
import math
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from spearhead.core import digest
from spearhead.core.errors import InputError, SpearheadError
from spearhead.nn.model import Model
from spearhead.training import checkpoint, compress, devices, explosion, optimisers, processes, scaling, schedules
from spearhead.training.checkpoint import Position
from spearhead.training.plan import NOT_THE_RESULT, Plan
from spearhead.training.scaling import Scale

MOST_LOST = 60.0
"""Seconds of training that a crash may cost where `save_every` steps take longer than that."""
SAVING = 0.05
"""Share of the time that such checkpoints may take."""


class Source(Protocol):
    """Where micro-batches come from; see `batches.Batches`."""

    @property
    def digest(self) -> str: ...
    def at(self, step: int) -> Sequence[Any]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimiser step did."""

    number: int
    """Steps taken so far, this one included."""
    progress: float
    """Share of the run that is done, by steps or by time, whichever is further."""
    loss: float
    """Mean over the weight (label tokens) of the whole batch, before the step."""
    losses: Mapping[str, float]
    """The same for every group of a model with several."""
    rate: float
    norm: float
    """Length of the gradient before clipping."""
    units: int
    """Units (tokens) of this step, without padding."""
    weight: int
    seconds: float
    elapsed: float
    """Seconds of training proper so far."""
    validation: float | None = None
    best: bool = False
    saved: bool = False
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What the model tells of the step besides (see `Model.figures`)."""

    @property
    def speed(self) -> float:
        """Units a second."""
        return self.units / self.seconds if self.seconds else 0.0

    @property
    def remaining(self) -> float:
        """Seconds of training left, by the pace so far."""
        return self.elapsed * (1 - self.progress) / self.progress if self.progress else math.inf


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended. The model holds its best weights: with `plan.average` their average."""

    steps: int
    ended: str
    """`steps`, `minutes`, `patience` or `diverged`."""
    best_step: int
    best_loss: float
    """Validation loss of the weights in the model; infinite when nothing was validated."""
    units: int
    seconds: float

    @property
    def speed(self) -> float:
        """Units a second of training proper."""
        return self.units / self.seconds if self.seconds else 0.0


class Diverged(SpearheadError):
    """Loss or gradient became infinite or no number, or the loss exploded; the model has its best weights again."""


def train(
    model: Model,
    batches: Source,
    plan: Plan,
    *,
    validation: Sequence[Any] = (),
    folder: Path | None = None,
) -> Generator[Step, None, Trained]:
    """Train `model` in place and yield every step; return how it ended, with the best weights in the model.

    While a step with a validation is out, the model holds what was validated: the average, where the plan keeps one.

    `validation` are micro-batches whose loss decides what is best (without them: the last weights). With a `folder`,
    the run is kept there every `save_every` steps, or every minute where so many take longer, and goes on from there,
    bit for bit, when it is called again.
    Raises Diverged, and InputError when the folder holds another run. A run that has diverged after a validation is
    kept as ended: called again, it gives its best weights.
    """
    made = optimisers.make(model, plan)
    if plan.steps < 1 or plan.batch < 1:
        raise InputError(f"training.steps is {plan.steps} and training.batch {plan.batch}: wanted at least 1 of each")
    if not 0 <= plan.average < 1 or plan.muon_rate <= 0:
        told = f"training.average is {plan.average} and training.muon_rate {plan.muon_rate}"
        raise InputError(f"{told}: wanted an average from 0 to below 1 and a rate above 0")
    smaller = compress.of(model, plan)
    mark = fingerprint(plan, batches)
    kept = checkpoint.read(folder) if folder else None
    if kept is not None and kept.fingerprint != mark:
        raise InputError(f"{folder} holds a run with other data or another plan: remove it, or name another folder")
    device = next(model.parameters()).device
    if kept is not None and folder is not None:
        position, best, average = checkpoint.load(folder, model=model, optimisers=optimisers.named(made))
    else:
        torch.manual_seed(plan.seed)
        kind = devices.precision(plan.precision, device)
        position = Position(mark, precision=str(kind).removeprefix("torch."), scale=scaling.begin(kind))
        best = checkpoint.snapshot(model)
        average = checkpoint.snapshot(model) if plan.average else None
    _keep_memory()
    run = _Run(model, plan, made, folder, position, best, average, validation, device, smaller)
    return (yield from run.go(batches))


def _keep_memory() -> None:
    """Have the C library keep up to 1 GiB of what a step frees for the next one.

    Giving it back to the system and faulting it in again, page by page, was seen to take a tenth of a step on a CPU.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tune is not None:  # glibc; other C libraries have no such switch
        tune(-3, 32 << 20)  # M_MMAP_THRESHOLD, the most that glibc takes
        tune(-1, 1 << 30)  # M_TRIM_THRESHOLD


def autocast(device: torch.device, kind: torch.dtype) -> AbstractContextManager[Any]:
    """In which losses are computed in `kind`."""
    return nullcontext() if kind == torch.float32 else torch.autocast(device.type, dtype=kind)


def fingerprint(plan: Plan, batches: Source) -> str:
    """Names what a run's result depends on."""
    told = {name: value for name, value in dataclasses.asdict(plan).items() if name not in NOT_THE_RESULT}
    return digest.of_value({"plan": told, "data": batches.digest})


class _Run:
    """The state of one run between two steps."""

    def __init__(
        self,
        model: Model,
        plan: Plan,
        made: optimisers.Made,
        folder: Path | None,
        position: Position,
        best: checkpoint.Tensors,
        average: checkpoint.Tensors | None,
        validation: Sequence[Any],
        device: torch.device,
        smaller: compress.Compression | None,
    ) -> None:
        self.model, self.plan, self.made, self.folder = model, plan, made, folder
        self.position, self.best, self.average = position, best, average
        self.validation, self.device, self.smaller = validation, device, smaller
        self.saved_at = position.step if position.step or position.ended else -1
        self.pace = position.elapsed / position.step if position.step else 0.0
        self.kept, self.saving = position.elapsed, 0.0
        """Where in the run's own time it was last saved, and the seconds that saving took."""

    def go(self, batches: Source) -> Generator[Step, None, Trained]:
        self.model.train()
        self.whole = True
        try:
            while not self.position.ended:
                with _interrupts_at_the_end() as interrupted:
                    self.whole = False
                    step = self._step(batches)
                    self.whole = True
                    if self._due():
                        step = dataclasses.replace(step, saved=self._save())
                if interrupted:
                    raise KeyboardInterrupt
                with self._averaged() if step.validation is not None else nullcontext():
                    yield step
        except (GeneratorExit, KeyboardInterrupt):
            if self.whole:  # broken off inside a step, only the last saved state is exact
                self._save()
            raise
        if self.validation:
            checkpoint.put_back(self.model, self.best)
        elif self.average is not None:
            checkpoint.put_back(self.model, self.average)
        if self.smaller is not None:
            self.smaller.prune(1.0)
        self.model.eval()
        return self._trained()

    def _step(self, batches: Source) -> Step:
        began = time.perf_counter()
        self.model.progress = self._progress(ahead=0.5)
        factor = schedules.factor(self.plan, self.model.progress)
        processes.own_noise(self.plan.seed, self.position.step)
        micros = batches.at(self.position.step)
        total = processes.over(float(sum(micro.weight for micro in micros)), self.device)
        losses, norm, scale = self._learn(micros, total, factor)
        name, loss = next(iter(losses.items()))
        level = self.position.level
        if math.isfinite(loss):
            level = explosion.follow(level, loss, times=self.plan.explosion)
        if level.exploded:
            above = f"{name} is {loss:.4g} after {explosion.LONG} steps far above {level.lowest:.4g}, where it was"
            self._diverged(f"{above} (training.explosion = {self.plan.explosion:g})")
        if self.smaller is not None:
            self.smaller.prune(self._progress(ahead=1))
        self._follow()
        # One clock for all: where a budget of time rules, rates and the end must be the same everywhere.
        seconds = processes.of_first(time.perf_counter() - began, self.device)
        units, weight = sum(micro.units for micro in micros), sum(micro.weight for micro in micros)
        was = self.position
        self.position = dataclasses.replace(
            was,
            step=was.step + 1,
            elapsed=was.elapsed + seconds,
            units=was.units + units,
            weight=was.weight + weight,
            level=level,
            scale=scale,
        )
        self.pace = seconds if not self.pace else 0.8 * self.pace + 0.2 * seconds
        ended = self._ended()
        every = self.plan.validate_every
        due = bool(self.validation) and (bool(ended) or bool(every and self.position.step % every == 0))
        judged = processes.of_first(self._validate(), self.device) if due else None
        settled = self.smaller is None or self.smaller.settled(self._progress())
        better = judged is not None and settled and judged < self.position.best_loss
        if judged is not None and better:
            self.best = {
                name: value.clone() for name, value in (self.average or checkpoint.learning(self.model)).items()
            }
            self.position = dataclasses.replace(self.position, best_step=self.position.step, best_loss=judged, waited=0)
        elif judged is not None and settled:
            self.position = dataclasses.replace(self.position, waited=self.position.waited + 1)
        if not ended and self.plan.patience and self.position.waited >= self.plan.patience:
            ended = "patience"
        if ended:
            self.position = dataclasses.replace(self.position, ended=ended)
            self._save()
        return Step(
            number=self.position.step,
            progress=1.0 if ended else self._progress(),
            loss=loss,
            losses=losses,
            rate=self.plan.learning_rate * factor,
            norm=norm,
            units=units,
            weight=weight,
            seconds=seconds,
            elapsed=self.position.elapsed,
            validation=judged,
            best=better,
            saved=bool(ended) and self.folder is not None,
            figures=self.model.figures(),
        )

    def _learn(self, micros: Sequence[Any], total: float, factor: float) -> tuple[dict[str, float], float, Scale]:
        """One pass over the micro-batches, stepping each named optimiser when all of them have given its loss.

        In float16 an overflow is no divergence: nothing is learnt from this batch, and the next one is scaled less.
        """
        scale, overflowed = self.position.scale, False
        streams = [self.model.losses(micro) for micro in micros]
        seen: dict[str, float] = {}
        norms: list[float] = []
        while True:
            names: set[str] = set()
            value = torch.zeros((), device=self.device)
            for stream, micro in zip(streams, micros, strict=True):
                with self._autocast():
                    given = next(stream, None)
                if given is None:
                    continue
                name, loss = given
                if not names:
                    self._forget(name)
                names.add(name)
                share = loss * (micro.weight / total)
                (share * scale.factor).backward()
                value += share.detach()
            if not names:
                break
            if len(names) > 1:
                raise ValueError(f"the micro-batches of one step named different losses: {sorted(names)}")
            (name,) = names
            seen[name] = processes.over(float(value), self.device)
            parameters = optimisers.parameters(self.made[name])
            processes.average_gradients(parameters)
            scaling.undo(scale, parameters)
            norm = float(nn.utils.clip_grad_norm_(parameters, self.plan.clip or math.inf))
            norms.append(norm)
            if not (math.isfinite(seen[name]) and math.isfinite(norm)):
                if self.position.precision != "float16" or scale.factor <= scaling.LEAST:
                    self._diverged(f"{name} is {seen[name]}, gradient length {norm}")
                scaling.clear(parameters)
                overflowed = True
                continue
            optimisers.set_rates(self.made[name], factor)
            for optimiser in self.made[name]:
                optimiser.step()
        for name in self.made:
            self._forget(name)
        if self.position.precision == "float16":
            scale = scaling.after(scale, overflowed=overflowed)
        return seen, max(norms), scale

    def _forget(self, name: str) -> None:
        for optimiser in self.made[name]:
            optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average a little towards the weights; at first further, since it begins with untrained ones."""
        if self.average is None:
            return
        now = checkpoint.learning(self.model)
        learn = {name for name, p in self.model.named_parameters() if p.requires_grad}
        step = self.position.step
        decay = min(self.plan.average, (1 + step) / (10 + step))
        means = [value for name, value in self.average.items() if name in learn]
        torch._foreach_lerp_(means, [now[name] for name in self.average if name in learn], 1 - decay)
        for name in self.average.keys() - learn:  # buffers may count or hold flags, which have no average
            self.average[name].copy_(now[name])

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Have the average in the model for a while."""
        if self.average is None:
            yield
            return
        raw = checkpoint.snapshot(self.model)
        checkpoint.put_back(self.model, self.average)
        if self.smaller is not None:
            self.smaller.prune(self._progress())  # an average of thin matrices is not as thin as they are
        try:
            yield
        finally:
            checkpoint.put_back(self.model, raw)

    def _diverged(self, told: str) -> None:
        """Say why and end the run: with its best weights where there are any, so that calling it again gives them."""
        checkpoint.put_back(self.model, self.best)
        rate = f"training.learning_rate (now {self.plan.learning_rate:g})"
        if self.plan.optimiser == "muon":
            rate += f", training.muon_rate (now {self.plan.muon_rate:g})"
        number, best = self.position.step + 1, self.position.best_step
        where = "No weights were validated before"
        if best >= 0:
            where = f"The best weights are those of step {best}"
            self.position, self.saved_at = dataclasses.replace(self.position, ended="diverged"), -1
            if self._save():
                where += f" and are kept in {self.folder}: the same command again goes on with them"
        raise Diverged(f"training diverged at step {number}: {told}. {where}. Lower {rate} or training.clip")

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.device, getattr(torch, self.position.precision))

    @torch.no_grad()
    def _validate(self) -> float:
        self.model.eval()
        summed = weight = 0.0
        try:
            with self._averaged():
                for batch in self.validation:
                    with self._autocast():
                        _, loss = next(iter(self.model.losses(batch)))
                    summed += float(loss) * batch.weight
                    weight += batch.weight
        finally:
            self.model.train()
        return summed / weight

    def _progress(self, *, ahead: float = 0.0) -> float:
        """Share of the run that lies behind, `ahead` steps from now."""
        by_steps = (self.position.step + ahead) / self.plan.steps
        if not self.plan.minutes:
            return min(by_steps, 1.0)
        by_time = (self.position.elapsed + ahead * self.pace) / (self.plan.minutes * 60)
        return min(max(by_steps, by_time), 1.0)

    def _ended(self) -> str:
        if self.position.step >= self.plan.steps:
            return "steps"
        # The last step begins only if at least half of it fits.
        if self.plan.minutes and self.position.elapsed + self.pace / 2 >= self.plan.minutes * 60:
            return "minutes"
        return ""

    def _due(self) -> bool:
        """Whether a checkpoint is wanted after this step."""
        every = self.plan.save_every
        late = self.position.elapsed - self.kept > max(MOST_LOST, self.saving / SAVING)
        return bool(every) and (self.position.step % every == 0 or late)

    def _save(self) -> bool:
        if self.folder is None or self.saved_at == self.position.step or not processes.first():
            return False
        began = time.perf_counter()
        checkpoint.save(
            self.folder,
            self.position,
            model=self.model,
            optimisers=optimisers.named(self.made),
            best=self.best,
            average=self.average,
        )
        self.saved_at, self.kept, self.saving = self.position.step, self.position.elapsed, time.perf_counter() - began
        return True

    def _trained(self) -> Trained:
        at = self.position
        return Trained(at.step, at.ended, at.best_step, at.best_loss, at.units, at.elapsed)


@contextmanager
def _interrupts_at_the_end() -> Iterator[list[int]]:
    """Hold ctrl-C back while a step changes the weights; a second one breaks through. Only in the main thread."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
