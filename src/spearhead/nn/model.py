"""What a model is to the training loop: parameters in groups, losses, samples. Knows no loop and no data."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """The one base class, one level deep: every family's network is a `Model`.

    A batch is the family's own value. The loop reads three things of it: `weight` (how much this micro-batch counts
    in its step: label tokens, pictures), `examples` and `units` (for speed).
    """

    def groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Which optimiser owns which parameters, by the names that `losses` yields; only what learns is in it."""
        return {"loss": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def losses(self, batch: Any) -> Iterator[tuple[str, Tensor]]:
        """Yield (name of a group, mean loss over the batch's weight).

        The loop goes backward, steps that group's optimiser and resumes the model while the gradients are still there.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it learns")

    def sample(self, prompt: Any, count: int, *, rng: torch.Generator, options: Mapping[str, Any]) -> Iterator[Tensor]:
        """Yield drafts of `count` answers to `prompt`; the last is the answer."""
        raise NotImplementedError(f"{type(self).__name__} does not sample")

    def memory(self) -> dict[str, Tensor]:
        """What must survive a restart besides the learning parameters (moving averages, random states)."""
        return {}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Take back what `memory` gave."""
        if memory:
            raise ValueError(f"{type(self).__name__} keeps no memory, but was given {', '.join(sorted(memory))}")
