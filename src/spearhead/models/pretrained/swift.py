"""A faster way through a frozen llama with LoRA on top: the same values and gradients as peft's, in fewer operations.

For each decoder layer the low-rank update is added into a copy of the frozen weight once a step, so that forward is
one product a matrix; backward is written out by hand and never makes a gradient of a frozen weight. Projections that
read the same input are one product. Used for float32 without dropout; everything else goes through peft's own layers.

Letters: t tokens, d width, h query heads, k key heads, e width of a head, f width of the feed-forward, r rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spearhead.models.pretrained.packed import Packing

CHUNK = 128
"""Rows of logits that exist at a time."""


@dataclass(frozen=True, slots=True)
class Update:
    """The low-rank update of one linear layer: weight + scale * b @ a, with a (r, in) and b (out, r)."""

    a: Tensor
    b: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Joint:
    """Linear layers that read the same input, as one: frozen weights, their updates, and the sum of both in `whole`."""

    frozen: tuple[Tensor, ...]
    """Each (out, in)."""
    updates: tuple[Update | None, ...]
    whole: Tensor
    """(sum of outs, in)."""

    def refresh(self) -> None:
        """Add the updates as they are now to the frozen weights."""
        start = 0
        for weight, update in zip(self.frozen, self.updates, strict=True):
            part = self.whole[start : start + len(weight)]
            if update is not None:
                torch.addmm(weight, update.b, update.a, alpha=update.scale, out=part)
            start += len(weight)

    def gradients(self, x: Tensor, dy: Tensor) -> list[Tensor | None]:
        """Gradients of each update's a and b, for input `x` (t, in) and output gradient `dy` (t, sum of outs)."""
        out: list[Tensor | None] = []
        there = [update for update in self.updates if update is not None]
        if not there:
            return [None] * (2 * len(self.updates))
        low = x @ torch.cat([update.a for update in there]).T  # (t, sum of ranks)
        back: list[Tensor] = []  # each (t, r)
        up: list[Tensor] = []
        start = rank = 0
        for weight, update in zip(self.frozen, self.updates, strict=True):
            if update is not None:
                part = dy[:, start : start + len(weight)]
                back.append(part @ update.b)
                up.append((part.T @ low[:, rank : rank + len(update.a)]).mul_(update.scale))
                rank += len(update.a)
            start += len(weight)
        down = torch.split(torch.cat(back, dim=1).T @ x, [len(update.a) for update in there])
        pairs = iter(zip(down, up, there, strict=True))
        for update in self.updates:
            if update is None:
                out += [None, None]
            else:
                da, db, of = next(pairs)
                out += [da.mul_(of.scale), db]
        return out

    @property
    def learning(self) -> list[Tensor | None]:
        """a and b of every update, in the order of `gradients`."""
        return [part for update in self.updates for part in ((update.a, update.b) if update else (None, None))]


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer."""

    norm_in: Tensor
    norm_mid: Tensor
    epsilon: float
    qkv: Joint
    out: Joint
    gate_up: Joint
    down: Joint
    heads: int
    key_heads: int
    scale: float

    @property
    def joints(self) -> tuple[Joint, ...]:
        return (self.qkv, self.out, self.gate_up, self.down)


@dataclass(frozen=True, slots=True)
class Turn:
    """What rotates queries and keys, and the borders of the sequences."""

    cos: Tensor
    """(t, 1, e / 2)"""
    sin: Tensor
    lengths: tuple[int, ...]


def _norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Root mean square norm: (t, d) and its inverse root (t, 1)."""
    inverse = torch.linalg.vector_norm(x, dim=1, keepdim=True).square_().div_(x.shape[1]).add_(epsilon).rsqrt_()
    return (x * inverse).mul_(weight), inverse


def _norm_back(dn: Tensor, x: Tensor, inverse: Tensor, weight: Tensor) -> Tensor:
    """Gradient of `_norm` by its input."""
    dn = dn * weight
    along = torch.linalg.vecdot(dn, x).unsqueeze(1).mul_(inverse.pow(3)).div_(x.shape[1])
    return torch.addcmul(dn.mul_(inverse), x, along, value=-1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn each pair (i, i + e/2) of `x` (t, heads, e) by its angle, in place; a negated sine turns it back."""
    first, second = x.chunk(2, dim=-1)
    before = first.clone()
    first.mul_(cos).addcmul_(second, sin, value=-1)
    second.mul_(cos).addcmul_(before, sin)


def _attend(qkv: Tensor, layer: Layer, turn: Turn) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """Causal attention within each sequence: (t, h e), and what its backward needs."""
    t, groups = len(qkv), layer.heads // layer.key_heads
    width = qkv.shape[1] // (layer.heads + 2 * layer.key_heads)
    heads = qkv.view(t, -1, width)
    out = qkv.new_empty(t, layer.heads, width)
    kept: list[tuple[Tensor, ...]] = []
    start = 0
    for length in turn.lengths:
        rows = heads[start : start + length].transpose(0, 1).unsqueeze(0)  # (1, h + 2 k, length, e)
        q = rows[:, : layer.heads]
        k = rows[:, layer.heads : layer.heads + layer.key_heads].repeat_interleave(groups, dim=1)
        v = rows[:, layer.heads + layer.key_heads :].repeat_interleave(groups, dim=1)
        y, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, scale=layer.scale)
        out[start : start + length] = y[0].transpose(0, 1)
        kept.append((q, k, v, y, sums))
        start += length
    return out.view(t, -1), kept


def _attend_back(dout: Tensor, kept: Sequence[tuple[Tensor, ...]], layer: Layer, turn: Turn) -> Tensor:
    """Gradient of `_attend` by its input (t, (h + 2 k) e)."""
    t, groups = len(dout), layer.heads // layer.key_heads
    width = dout.shape[1] // layer.heads
    dout = dout.view(t, layer.heads, width)
    dqkv = dout.new_empty(t, layer.heads + 2 * layer.key_heads, width)
    start = 0
    for length, (q, k, v, y, sums) in zip(turn.lengths, kept, strict=True):
        dy = dout[start : start + length].transpose(0, 1).unsqueeze(0)
        dq, dk, dv = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            dy, q, k, v, y, sums, 0.0, True, scale=layer.scale
        )
        part = dqkv[start : start + length].transpose(0, 1)
        part[: layer.heads] = dq[0]
        part[layer.heads : layer.heads + layer.key_heads] = dk.reshape(layer.key_heads, groups, length, width).sum(1)
        part[layer.heads + layer.key_heads :] = dv.reshape(layer.key_heads, groups, length, width).sum(1)
        start += length
    return dqkv.view(t, -1)


class _Through(torch.autograd.Function):
    """One decoder layer, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Layer, turn: Turn, *learning: Tensor | None) -> Tensor:
        normed, inverse_in = _norm(x, layer.norm_in, layer.epsilon)
        qkv = normed @ layer.qkv.whole.T  # (t, (h + 2 k) e)
        width = qkv.shape[1] // (layer.heads + 2 * layer.key_heads)
        turning = layer.heads + layer.key_heads
        _rotate(qkv.view(len(x), -1, width)[:, :turning], turn.cos, turn.sin)
        mixed, kept = _attend(qkv, layer, turn)
        middle = torch.addmm(x, mixed, layer.out.whole.T)
        normed, inverse_mid = _norm(middle, layer.norm_mid, layer.epsilon)
        gate_up = normed @ layer.gate_up.whole.T  # (t, 2 f)
        gate, up = gate_up.chunk(2, dim=1)
        y = torch.addmm(middle, torch.nn.functional.silu(gate).mul_(up), layer.down.whole.T)
        ctx.layer, ctx.turn, ctx.kept = layer, turn, kept
        ctx.save_for_backward(x, inverse_in, mixed, middle, inverse_mid, gate_up)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = grads
        layer, turn = ctx.layer, ctx.turn
        x, inverse_in, mixed, middle, inverse_mid, gate_up = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=1)
        gated = torch.nn.functional.silu(gate)
        d_down = layer.down.gradients(gated * up, dy)
        dact = dy @ layer.down.whole  # (t, f)
        dgate_up = torch.empty_like(gate_up)
        dgate, dup = dgate_up.chunk(2, dim=1)
        torch.mul(dact, gated, out=dup)
        dgate.copy_(torch.ops.aten.silu_backward(dact.mul_(up), gate))
        normed = (middle * inverse_mid).mul_(layer.norm_mid)
        d_gate_up = layer.gate_up.gradients(normed, dgate_up)
        dmiddle = _norm_back(dgate_up @ layer.gate_up.whole, middle, inverse_mid, layer.norm_mid).add_(dy)
        d_out = layer.out.gradients(mixed, dmiddle)
        dqkv = _attend_back(dmiddle @ layer.out.whole, ctx.kept, layer, turn)
        width = dqkv.shape[1] // (layer.heads + 2 * layer.key_heads)
        _rotate(dqkv.view(len(x), -1, width)[:, : layer.heads + layer.key_heads], turn.cos, -turn.sin)
        normed = (x * inverse_in).mul_(layer.norm_in)
        d_qkv = layer.qkv.gradients(normed, dqkv)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = _norm_back(dqkv @ layer.qkv.whole, x, inverse_in, layer.norm_in).add_(dmiddle)
        return (dx, None, None, *d_qkv, *d_out, *d_gate_up, *d_down)


class _CrossEntropy(torch.autograd.Function):
    """Cross entropy of rows through a frozen head; the logits of `CHUNK` rows exist at a time, and only once."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        losses, slopes = [], torch.empty_like(hidden)
        wanted = ctx.needs_input_grad[0]
        for start in range(0, len(hidden), CHUNK):
            rows, right = hidden[start : start + CHUNK], targets[start : start + CHUNK].unsqueeze(1)
            logits = rows @ head.T  # (rows, vocabulary)
            sums = torch.logsumexp(logits, dim=1, keepdim=True)
            losses.append((sums - logits.gather(1, right)).squeeze(1))
            if wanted:
                share = logits.sub_(sums).exp_()
                share.scatter_add_(1, right, torch.full_like(sums, -1.0))
                torch.mm(share, head, out=slopes[start : start + CHUNK])
        ctx.save_for_backward(slopes)
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * grads[0].unsqueeze(1), None, None


def cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """Negative log likelihood of each row (rows,): hidden (rows, d), frozen head (vocabulary, d), targets (rows,)."""
    out: Tensor = _CrossEntropy.apply(hidden, head, targets)  # type: ignore[no-untyped-call]
    return out


class Swift:
    """The layers of a llama, with the updates that peft put on them; reads peft's own parameters, owns none."""

    def __init__(self, causal: Any) -> None:
        config, inner = causal.config, causal.model
        self.inner = inner
        self.head: Tensor = causal.lm_head.weight.detach()
        width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self.layers = [
            Layer(
                norm_in=layer.input_layernorm.weight.detach(),
                norm_mid=layer.post_attention_layernorm.weight.detach(),
                epsilon=float(config.rms_norm_eps),
                qkv=_joint(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                out=_joint(layer.self_attn.o_proj),
                gate_up=_joint(layer.mlp.gate_proj, layer.mlp.up_proj),
                down=_joint(layer.mlp.down_proj),
                heads=int(config.num_attention_heads),
                key_heads=int(config.num_key_value_heads),
                scale=width**-0.5,
            )
            for layer in inner.layers
        ]
        self._seen: list[Tensor] | None = None

    def hidden(self, embeddings: Tensor, borders: Packing) -> Tensor:
        """(t, d) embeddings -> (t, d) after the last norm."""
        self._refresh()
        cos, sin = self.inner.rotary_emb(embeddings, position_ids=borders.positions)  # (1, t, e), both halves alike
        half = cos.shape[-1] // 2
        turn = Turn(cos[0, :, None, :half].contiguous(), sin[0, :, None, :half].contiguous(), borders.lengths)
        x = embeddings
        for layer in self.layers:
            learning = [part for joint in layer.joints for part in joint.learning]
            x = _Through.apply(x, layer, turn, *learning)  # type: ignore[no-untyped-call]
        out: Tensor = self.inner.norm(x)
        return out

    def _refresh(self) -> None:
        # Compared by value: a fused optimiser writes without raising a tensor's version.
        parts = [part for layer in self.layers for joint in layer.joints for part in joint.learning]
        now = [part.detach() for part in parts if part is not None]
        if self._seen is not None and all(torch.equal(a, b) for a, b in zip(now, self._seen, strict=True)):
            return
        with torch.no_grad():
            for layer in self.layers:
                for joint in layer.joints:
                    joint.refresh()
        self._seen = [part.clone() for part in now]


def possible(causal: Any) -> bool:
    """Whether `Swift` computes what this network and its adapters compute."""
    config = causal.config
    if config.model_type != "llama" or config.hidden_act != "silu" or config.attention_bias or config.mlp_bias:
        return False
    if (
        float(getattr(config, "attention_dropout", 0.0))
        or config.rope_parameters.get("rope_type", "default") != "default"
    ):
        return False
    if any(p.requires_grad for n, p in causal.named_parameters() if ".lora_A." not in n and ".lora_B." not in n):
        return False
    for layer in causal.model.layers:
        for module in _linears(layer):
            if isinstance(module, torch.nn.Linear):
                continue
            dropout = getattr(module, "lora_dropout", {})
            known = (
                hasattr(module, "lora_A") and not hasattr(module, "lora_E") and not getattr(module, "lora_variant", {})
            )
            plain = known and all(isinstance(one, torch.nn.Identity) for one in dropout.values())
            if not plain or list(module.active_adapters) != ["default"] or module.merged or module.disable_adapters:
                return False
    return all(p.device.type == "cpu" and p.dtype == torch.float32 for p in causal.parameters())


def _linears(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    if not all(hasattr(attention, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj")):
        return [layer]
    if not all(hasattr(mlp, name) for name in ("gate_proj", "up_proj", "down_proj")):
        return [layer]
    return [
        *(getattr(attention, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj")),
        *(getattr(mlp, name) for name in ("gate_proj", "up_proj", "down_proj")),
    ]


def _joint(*modules: Any) -> Joint:
    frozen: list[Tensor] = []
    updates: list[Update | None] = []
    for module in modules:
        if isinstance(module, torch.nn.Linear):
            frozen.append(module.weight.detach())
            updates.append(None)
        else:
            frozen.append(module.base_layer.weight.detach())
            a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
            updates.append(Update(a, b, float(module.scaling["default"])))
    alone = len(frozen) == 1 and updates[0] is None
    whole = frozen[0] if alone else torch.cat(frozen)
    return Joint(tuple(frozen), tuple(updates), whole)
