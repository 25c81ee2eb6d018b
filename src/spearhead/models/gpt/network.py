"""The network: a Qwen3 language model under the names that transformers gives its weights. Knows no text."""

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spearhead.models.gpt import layer
from spearhead.models.gpt.batch import Sequences
from spearhead.models.gpt.config import Config, whole
from spearhead.nn.model import Model, Share

BASE = 10_000.0
"""Of the rotary positions."""
TABLE_RATE, HEAD_RATE = 10.0, 1.0
"""How fast the token tables learn, against the plan's rate: a row is only moved by the tokens that name it."""


class GPT(Model):
    """Causal language model; equal to transformers' `Qwen3ForCausalLM` with the same weights."""

    def __init__(self, config: Config, *, vocabulary: int, seed: int = 0) -> None:
        super().__init__()
        self.config, self.vocabulary = whole(config), vocabulary
        self.model = _Body(self.config, vocabulary)
        self.lm_head = nn.Linear(self.config.width, vocabulary, bias=False)
        if self.config.tie:
            self.lm_head.weight = self.table
        self._begin(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _begin(self, rng: torch.Generator) -> None:
        """Each layer begins as nothing added to its input (arXiv 2203.03466 asks for it at any width)."""
        for name, p in self.named_parameters():
            if p.ndim < 2:
                p.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                p.zero_()
            elif p is self.table:
                p.normal_(0, 0.02 if self.config.tie else 0.5, generator=rng)
            elif p is self.head:
                p.zero_()
            else:
                bound = math.sqrt(3 / self.config.width)
                p.uniform_(-bound, bound, generator=rng)

    @property
    def table(self) -> nn.Parameter:
        """(vocabulary, width): what each token is."""
        weight = self.model.embed_tokens.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def head(self) -> nn.Parameter:
        """(vocabulary, width): what makes each token likely."""
        weight = self.lm_head.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.table.device

    def shares(self) -> Mapping[str, tuple[Share, ...]]:
        """Tables learn with AdamW whatever the plan says of matrices, each at its own rate."""
        ends = {id(self.table), id(self.head)}
        rest = tuple(p for p in self.parameters() if id(p) not in ends and p.requires_grad)
        tables = [Share((self.table,), rate=TABLE_RATE, optimiser="adamw", weight_decay=0.0)]
        if not self.config.tie:
            tables.append(Share((self.head,), rate=HEAD_RATE, optimiser="adamw"))
        return {"loss": (Share(rest), *tables)}

    def matrices(self) -> Iterator[nn.Parameter]:
        """All but the tables."""
        ends = {id(self.table), id(self.head)}
        return (p for p in self.parameters() if p.ndim == 2 and id(p) not in ends)

    def units(self) -> Iterator[tuple[tuple[nn.Parameter, int], ...]]:
        """The gated ones of each layer."""
        named = dict(self.named_parameters())
        for number in range(self.config.depth):
            gate, up, down = (named[f"model.layers.{number}.mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
            yield (gate, 0), (up, 0), (down, 1)

    def hidden(self, ids: Tensor) -> Tensor:
        """ids (n, t) -> (n * t, width), before the last norm."""
        n, t = ids.shape
        dropout = self.config.dropout if self.training else 0.0
        seen = self._frame(n, t, dropout)
        x = nn.functional.embedding(ids.flatten(), self.table)
        if dropout:
            x = nn.functional.dropout(x, dropout)
        for each in self.model.layers:
            x = each(x, seen)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(rows, width) of `hidden` -> (rows, vocabulary)."""
        return nn.functional.rms_norm(x, (x.shape[1],), self.model.norm.weight, layer.EPSILON) @ self.head.T

    def forward(self, ids: Tensor) -> Tensor:
        """ids (n, t) -> logits (n, t, vocabulary)."""
        return self.logits(self.hidden(ids)).view(*ids.shape, -1)

    def losses(self, batch: Sequences) -> Iterator[tuple[str, Tensor]]:
        """Mean nats of a token that is learnt."""
        labels = torch.from_numpy(batch.labels).to(self.device).flatten()
        x = self.hidden(torch.from_numpy(batch.inputs).to(self.device))
        if batch.weight < len(labels):
            learnt = labels >= 0
            x, labels = x[learnt], labels[learnt]
        yield "loss", nn.functional.cross_entropy(self.logits(x).float(), labels)

    @torch.no_grad()
    def sample(self, prompt: Any, count: int, *, rng: torch.Generator, options: Mapping[str, Any]) -> Iterator[Tensor]:
        """Yield (count, length) ids that go on after the prompt (ids), one token longer each time.

        `temperature` (0: the likeliest), `top_k` and `max_tokens` are read; the model sees the last `context` tokens.
        """
        ids = torch.tensor([list(prompt)] * count, device=self.device)
        start = ids.shape[1]
        heat, most = float(options.get("temperature", 1.0)), int(options.get("top_k", 0))
        for _ in range(int(options.get("max_tokens", 100))):
            seen = ids[:, -self.config.context :]
            last = self.logits(self.hidden(seen).view(count, seen.shape[1], -1)[:, -1]).float()
            if most and most < last.shape[1]:
                last[last < last.topk(most).values[:, -1:]] = -math.inf
            chosen = (
                torch.multinomial(torch.softmax(last / heat, -1), 1, generator=rng) if heat else last.argmax(-1, True)
            )
            ids = torch.cat((ids, chosen), 1)
            yield ids[:, start:]

    def _frame(self, n: int, t: int, dropout: float) -> layer.Frame:
        c = self.config
        return _frames(n, t, c.heads, c.key_heads, c.width // c.heads, dropout, self.device)


@functools.lru_cache(maxsize=64)
def _frames(n: int, t: int, heads: int, key_heads: int, width: int, dropout: float, device: Any) -> layer.Frame:
    return layer.frame(
        sequences=n, tokens=t, heads=heads, key_heads=key_heads, width=width, base=BASE, dropout=dropout, device=device
    )


class _Attention(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        width = c.width // c.heads
        self.q_proj = nn.Linear(c.width, c.width, bias=False)
        self.k_proj = nn.Linear(c.width, c.key_heads * width, bias=False)
        self.v_proj = nn.Linear(c.width, c.key_heads * width, bias=False)
        self.o_proj = nn.Linear(c.width, c.width, bias=False)
        self.q_norm, self.k_norm = nn.RMSNorm(width), nn.RMSNorm(width)


class _Gated(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(c.width, c.inner, bias=False)
        self.up_proj = nn.Linear(c.width, c.inner, bias=False)
        self.down_proj = nn.Linear(c.inner, c.width, bias=False)


class _Layer(nn.Module):
    """The weights of one layer under their names; `layer.run` computes."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.self_attn, self.mlp = _Attention(c), _Gated(c)
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(c.width), nn.RMSNorm(c.width)

    def forward(self, x: Tensor, seen: layer.Frame) -> Tensor:
        a, m = self.self_attn, self.mlp
        weights = (
            *(self.input_layernorm.weight, a.q_proj.weight, a.k_proj.weight, a.v_proj.weight),
            *(a.q_norm.weight, a.k_norm.weight, a.o_proj.weight),
            *(self.post_attention_layernorm.weight, m.gate_proj.weight, m.up_proj.weight, m.down_proj.weight),
        )
        return layer.run(x, weights, seen)


class _Body(nn.Module):
    def __init__(self, c: Config, vocabulary: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, c.width)
        self.layers = nn.ModuleList(_Layer(c) for _ in range(c.depth))
        self.norm = nn.RMSNorm(c.width)
