"""A model whose matrices are codes of four bits, learning to say what it said in full precision. No loop, no files.

The loss is the divergence from the full model's distribution over the next token (Hinton et al. 2015, arXiv
1503.02531, at temperature 1), without labels. It is that of the whole codes, and the step is that of numbers which are
rounded to them (the straight-through estimate, arXiv 1308.3432). The scale of a block stays as calibration chose it, so
the numbers computed with are at any time those that a file of Q4_0 holds: nothing is rounded afterwards.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from spearhead.models.pretrained import packed
from spearhead.models.pretrained.batch import Sequences
from spearhead.nn.model import Model, Share

Array = np.ndarray[Any, np.dtype[Any]]
LEAST, MOST = -8, 7
"""Codes of four bits."""


class Student(Model):
    """A causal language model of transformers in four bits, and the same one in full as its teacher.

    `network` holds what the file holds, `teacher` what was trained; `codes` are by module name the scales
    (rows, width / 32) and the codes (rows, width) of what is in four bits there. These learn, `rate` codes a step at
    most where the plan's rate is 1, and the vectors (norms, biases); tables stay. Batches are `Sequences`.
    """

    def __init__(
        self, network: Any, teacher: Any, codes: Mapping[str, tuple[Array, Array]], *, rate: float = 1.0
    ) -> None:
        super().__init__()
        self.network = network
        self.teacher = (teacher.requires_grad_(False).eval(),)  # in a tuple it is no part of what learns
        self.rate = rate
        self.matrices_of: dict[str, nn.Parameter] = {}
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.ndim == 1)
        for name, (scale, whole) in codes.items():
            module = network.get_submodule(name)
            parametrize.register_parametrization(module, "weight", _Coded(torch.from_numpy(scale)))
            original = module.parametrizations.weight.original.requires_grad_(True)
            with torch.no_grad():
                original.copy_(torch.from_numpy(whole))
            self.matrices_of[name] = original

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.network.parameters()).device  # type: ignore[no-any-return]

    def shares(self) -> Mapping[str, tuple[Share, ...]]:
        """Codes at a rate of their own."""
        own = {id(matrix) for matrix in self.matrices_of.values()}
        rest = tuple(p for p in self.parameters() if p.requires_grad and id(p) not in own)
        return {"loss": (Share(tuple(self.matrices_of.values()), rate=self.rate, weight_decay=0.0), Share(rest))}

    def losses(self, batch: Sequences) -> Iterator[tuple[str, Tensor]]:
        """The mean divergence (nats) from the teacher over the label tokens' places."""
        rows, _, _ = packed.label_rows(batch)
        with torch.no_grad():
            wanted = self._said(self.teacher[0], batch, rows).log_softmax(-1)
        own = self._said(self.network, batch, rows).log_softmax(-1)
        yield "loss", functional.kl_div(own, wanted, log_target=True, reduction="batchmean")

    @torch.no_grad()
    def judged(self, batch: Sequences) -> tuple[Tensor, Tensor, Tensor]:
        """-log p of each label token by the student and by its teacher, and their divergence there: (labels,) each."""
        rows, targets, _ = packed.label_rows(batch)
        mine, full = (self._said(one, batch, rows).log_softmax(-1) for one in (self.network, self.teacher[0]))
        chosen = targets.to(self.device).unsqueeze(-1)
        apart = functional.kl_div(mine, full, log_target=True, reduction="none").sum(-1)
        return -mine.gather(-1, chosen)[:, 0], -full.gather(-1, chosen)[:, 0], apart

    def learnt(self) -> dict[str, Array]:
        """What may have changed, by the names of transformers: codes (rows, width) in int8, vectors in float32."""
        found = {
            f"{name}.weight": _whole(matrix.detach()).to(torch.int8).cpu().numpy()
            for name, matrix in self.matrices_of.items()
        }
        vectors = {name: p for name, p in self.network.named_parameters() if p.ndim == 1}
        return found | {name: p.detach().float().cpu().numpy() for name, p in vectors.items()}

    def _said(self, network: Any, batch: Sequences, rows: Tensor) -> Tensor:
        """Logits at the rows of a batch: (rows, vocabulary). Filled up at the end, where no token looks."""
        borders = packed.packing(batch.lengths, device=self.device)
        block = borders.spread(torch.from_numpy(batch.ids).to(self.device))  # (sequences, longest)
        hidden = network.base_model(input_ids=block, use_cache=False).last_hidden_state
        found: Tensor = network.get_output_embeddings()(borders.gather(hidden)[rows.to(self.device)]).float()
        return found


class _Coded(nn.Module):
    """Codes (rows, width), whole or not yet, as the weights they stand for; `scale` is (rows, width / 32)."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, codes: Tensor) -> Tensor:
        found: Tensor = _Rounded.apply(codes, self.scale)  # type: ignore[no-untyped-call]
        return found


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(scale)
        return _times(_whole(codes), scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (scale,) = ctx.saved_tensors
        return _times(grads[0], scale), None


def _whole(codes: Tensor) -> Tensor:
    return codes.round().clamp_(LEAST, MOST)


def _times(x: Tensor, scale: Tensor) -> Tensor:
    """x (rows, width) with each of its blocks times its scale."""
    return (x.reshape(*scale.shape, -1) * scale.unsqueeze(-1)).view(x.shape)
