"""Several sequences in one row without padding: how attention keeps them apart, and where labels and positions are.

Everything but attention works on single tokens, so only attention needs to know the borders. It lays the sequences
out in a block padded at the end; causal attention never looks forward, so no real token sees the padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spearhead.models.pretrained.batch import Sequences

ATTENTION = "spearhead_packed"
"""The name under which transformers finds `attend`."""
SUPPORTED = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2", "granite")
"""`model_type`s whose attention is plain causal attention; others are trained on padded batches."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Borders of the sequences in a row of `tokens`."""

    lengths: tuple[int, ...]
    slots: Tensor
    """(tokens,) place of each token in the padded block, flattened."""
    positions: Tensor
    """(1, tokens) place of each token in its sequence."""

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def spread(self, x: Tensor) -> Tensor:
        """(tokens, ...) -> (sequences, longest, ...), zero where there is no token."""
        n, length = len(self.lengths), self.longest
        if n == 1:
            return x.unsqueeze(0)
        block = x.new_zeros(n * length, *x.shape[1:])
        return block.index_copy(0, self.slots, x).view(n, length, *x.shape[1:])

    def gather(self, block: Tensor) -> Tensor:
        """(sequences, longest, ...) -> (tokens, ...)."""
        if len(self.lengths) == 1:
            return block[0]
        return block.flatten(0, 1).index_select(0, self.slots)


def packing(lengths: Sequence[int], *, device: torch.device) -> Packing:
    """The borders of sequences of these lengths."""
    longest = max(lengths)
    positions = torch.cat([torch.arange(length) for length in lengths])
    starts = torch.repeat_interleave(torch.arange(len(lengths)) * longest, torch.tensor(lengths))
    return Packing(tuple(lengths), (starts + positions).to(device), positions.unsqueeze(0).to(device))


def label_rows(batch: Sequences) -> tuple[Tensor, Tensor, Tensor]:
    """Where predictions are made, what they should be, and whose they are: three (labels,) tensors.

    The token at row r is predicted from row r - 1 of the same sequence.
    """
    rows, owners, start = [], [], 0
    for number, (length, prompt) in enumerate(zip(batch.lengths, batch.prompts, strict=True)):
        first = max(prompt, 1)
        rows.append(torch.arange(start + first - 1, start + length - 1))
        owners.append(torch.full((length - first,), number))
        start += length
    at = torch.cat(rows)
    return at, torch.from_numpy(batch.ids)[at + 1], torch.cat(owners)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each sequence; the shape that transformers calls: query (1, heads, tokens, width)."""
    if packing is None:
        raise ValueError("packed attention was called without its packing")
    if sliding_window is not None and packing.longest > sliding_window:
        raise ValueError(f"sequence of {packing.longest} tokens exceeds the model's window of {sliding_window}")
    grouped = query.shape[1] != key.shape[1]
    q, k, v = (packing.spread(x[0].transpose(0, 1)).transpose(1, 2) for x in (query, key, value))
    out = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped
    )  # (sequences, heads, longest, width)
    return packing.gather(out.transpose(1, 2)).unsqueeze(0), None


def install() -> None:
    """Make `attend` known to transformers; doing it twice changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attend)
