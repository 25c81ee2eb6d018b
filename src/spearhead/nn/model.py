"""What a model is to the training loop: parameters in groups, losses, samples. Knows no loop and no data."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Share:
    """Parameters that are optimised alike; what is None is the plan's."""

    parameters: tuple[nn.Parameter, ...]
    rate: float = 1.0
    """Factor of the plan's learning rate."""
    optimiser: Literal["adamw", "muon", "sgd"] | None = None
    betas: tuple[float, float] | None = None
    weight_decay: float | None = None


class Model(nn.Module):
    """The one base class, one level deep: every family's network is a `Model`.

    A batch is the family's own value. The loop reads three things of it: `weight` (how much this micro-batch counts
    in its step: label tokens, pictures), `examples` and `units` (for speed).
    """

    progress: float = 0.0
    """Share of the run that is done, by steps or by time, whichever is further: the loop says it before each step.

    What moves over a run goes by this and counts no steps, or a time budget ends the run with it half way.
    """

    def groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Which optimiser owns which parameters, by the names that `losses` yields; only what learns is in it."""
        return {"loss": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def shares(self) -> Mapping[str, Iterable[Share]]:
        """For each group, who of it learns how; by default all of a group by the plan."""
        return {name: (Share(tuple(parameters)),) for name, parameters in self.groups().items()}

    def matrices(self) -> Iterable[nn.Parameter]:
        """What may be thinned out: learning matrices (out, in), no tables and no heads; here none."""
        return ()

    def units(self) -> Iterable[tuple[tuple[nn.Parameter, int], ...]]:
        """Sets of hidden units that may be left out: for each, the matrices it lies in and along which axis; none."""
        return ()

    def losses(self, batch: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield (name of a group, mean loss over the batch's weight).

        The loop goes backward, steps that group's optimiser and resumes the model while the gradients are still there.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it learns")

    def sample(self, prompt: Any, count: int, *, rng: torch.Generator, options: Mapping[str, Any]) -> Iterator[Tensor]:
        """Yield drafts of `count` answers to `prompt`; the last is the answer."""
        raise NotImplementedError(f"{type(self).__name__} does not sample")

    def figures(self) -> dict[str, float]:
        """What the last step showed besides its losses, by name."""
        return {}

    def memory(self) -> dict[str, Tensor]:
        """What must survive a restart besides the learning parameters (moving averages, random states)."""
        return {}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""
        if memory:
            raise ValueError(f"{type(self).__name__} keeps no memory, but was given {', '.join(sorted(memory))}")
