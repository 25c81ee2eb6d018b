"""A small diffusion transformer for velocities (arXiv 2212.09748), modulated by one map for all blocks.

Knows no flow: it maps pictures, times and classes to pictures.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spearhead.models.flow.blocks import Condition


class Block(nn.Module):
    """Attention and SwiGLU, each shifted, scaled and gated by the condition, at first not at all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        inner = 8 * width // 3 // 8 * 8
        self.wide = nn.Linear(width, 2 * inner)
        self.narrow = nn.Linear(inner, width)
        self.own = nn.Parameter(torch.zeros(6 * width))

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """(n, places, width) and (n, 6 * width) to (n, places, width)."""
        shift, scale, gate, shift2, scale2, gate2 = (modulation + self.own)[:, None].chunk(6, dim=2)
        hidden = F.layer_norm(x, (self.width,)) * (1 + scale) + shift
        places = hidden.shape[1]
        asked = self.ask(hidden).reshape(-1, places, 3, self.heads, self.width // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(-1, places, self.width)
        x = x + gate * self.answer(seen)
        hidden = F.layer_norm(x, (self.width,)) * (1 + scale2) + shift2
        gated, straight = self.wide(hidden).chunk(2, dim=2)
        added: Tensor = gate2 * self.narrow(F.silu(gated) * straight)
        return x + added


class DiT(nn.Module):
    """Squares of pixels as tokens with a learnt place."""

    def __init__(
        self, *, size: int, channels: int, classes: int, patch: int, width: int, blocks: int, heads: int, leaps: bool
    ) -> None:
        super().__init__()
        self.patch, self.side, self.width = patch, size // patch, width
        self.condition = Condition(classes, width, leaps=leaps)
        self.modulation = nn.Linear(width, 6 * width)  # one for all blocks: arXiv 2310.00426, section 2.3
        self.into = nn.Linear(channels * patch * patch, width)
        self.places = nn.Parameter(0.02 * torch.randn(self.side**2, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.last = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, channels * patch * patch)
        for layer in (self.modulation, self.last, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, time: Tensor, label: Tensor, length: Tensor | None = None) -> Tensor:
        """(n, c, h, w), (n,), (n,) and (n,) to (n, c, h, w)."""
        condition = self.condition(time, label, length)
        modulation = self.modulation(condition)
        x = self.into(F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)) + self.places
        for block in self.blocks:
            x = block(x, modulation)
        shift, scale = self.last(condition)[:, None].chunk(2, dim=2)
        x = self.out(F.layer_norm(x, (self.width,)) * (1 + scale) + shift)
        return F.pixel_shuffle(x.transpose(1, 2).reshape(-1, self.out.out_features, self.side, self.side), self.patch)
