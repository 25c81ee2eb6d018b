"""One layer of a Qwen3 network, forward and backward by hand: few kernels, no gradient that nobody reads.

On a CPU a small model's time goes into moving activations, not into multiplying matrices. So the gains of the norms
are folded into the matrices that follow them, each gradient is made where it is needed, and rotary positions are one
complex product. Shapes: n sequences, t tokens each, m = n * t rows; h query heads, k key heads, g = h / k, w their
width; d the layer's width, f the gated one's. Knows no vocabulary, no loss and no loop.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-6
"""Of every norm, as transformers' Qwen3 has it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all layers share for one batch."""

    sequences: int
    tokens: int
    heads: int
    key_heads: int
    turn: Tensor
    """(t, 1, w / 2) complex: the rotation of each position."""
    mask: Tensor
    """(g * t, t): 0 where a query may look, else minus infinity; repeated for the queries that share a key."""
    order: Tensor
    """(h + k) * w rows of the query and key matrices, so that the two halves of a rotation lie side by side."""
    dropout: float = 0.0


def frame(
    *,
    sequences: int,
    tokens: int,
    heads: int,
    key_heads: int,
    width: int,
    base: float,
    dropout: float = 0.0,
    device: torch.device | None = None,
) -> Frame:
    """The frame for `sequences` of `tokens`, heads of `width`; `base` is the rotary base (arXiv 2104.09864)."""
    turns = base ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float32, device=device), turns)
    mask = torch.full((tokens, tokens), -math.inf, device=device).triu(1).repeat(heads // key_heads, 1)
    pairs = torch.arange(width, device=device).view(2, width // 2).T.flatten()
    order = (torch.arange(heads + key_heads, device=device)[:, None] * width + pairs).flatten()
    turn = torch.polar(torch.ones_like(angles), angles)[:, None, :]
    return Frame(sequences, tokens, heads, key_heads, turn, mask, order, dropout)


def run(x: Tensor, weights: tuple[Tensor, ...], seen: Frame) -> Tensor:
    """x (m, d) -> (m, d).

    `weights` in order: gain of the first norm, queries, keys, values, gains of queries and keys, output, gain of the
    second norm, gate, up, down; the shapes are those of transformers' Qwen3.
    """
    kind = _kind(x)
    with torch.autocast(x.device.type, enabled=False):  # only products of matrices are in half precision
        found: Tensor = _Layer.apply(x, seen, kind, *weights)  # type: ignore[no-untyped-call]
    return found


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, seen: Frame, kind: torch.dtype | None, *weights: Tensor) -> Tensor:
        first, wq, wk, wv, gain_q, gain_k, wo, second, wg, wu, wd = weights
        n, t, h, k, g = seen.sequences, seen.tokens, seen.heads, seen.key_heads, seen.heads // seen.key_heads
        w = len(gain_q)
        pairs = seen.order[:w]

        # attention
        r1 = _inverse_length(x)
        x1 = x * r1
        joined = torch.cat((torch.cat((wq, wk))[seen.order], wv))
        joined_gained = joined * first
        qkv = _mm(x1, joined_gained.T, kind)  # (m, (h + 2 k) w)
        turned = (h + k) * w
        qk = qkv[:, :turned].reshape(n * t, h + k, w)
        rqk = _inverse_length(qk)
        qk = qk.mul_(rqk)
        gains = torch.cat((gain_q[pairs].repeat(h) / math.sqrt(w), gain_k[pairs].repeat(k)))  # scores are scaled here
        placed = qkv.view(n, t, h + 2 * k, w)
        rotated = _turn(qk.view(n * t, turned) * gains, seen.turn, n, t, h + k, w)
        q = rotated[:, :, :h].view(n, t, k, g, w).permute(2, 0, 3, 1, 4).reshape(k * n, g * t, w)
        key = rotated[:, :, h:].permute(2, 0, 1, 3).reshape(k * n, t, w)
        value = placed[:, :, h + k :].permute(2, 0, 1, 3).reshape(k * n, t, w)
        p = torch.softmax(torch.baddbmm(seen.mask.to(q.dtype), q, key.mT), -1)  # (k n, g t, t)
        o = torch.bmm(p, value).view(k, n, g, t, w).permute(1, 3, 0, 2, 4).reshape(n * t, h * w)
        keep1 = _kept(x, seen.dropout)
        y = _branch(x, o, wo, keep1, kind)

        # gated layer
        r2 = _inverse_length(y)
        y1 = y * r2
        gate, up = _mm(y1, (wg * second).T, kind), _mm(y1, (wu * second).T, kind)
        opened = torch.nn.functional.silu(gate)
        a = opened * up
        keep2 = _kept(x, seen.dropout)
        out = _branch(y, a, wd, keep2, kind)

        ctx.seen, ctx.kind = seen, kind
        ctx.save_for_backward(
            *(x1, r1, qk, rqk, gains, q, key, value, p, o, y1, r2, gate, up, opened, a, joined, joined_gained),
            *(first, gain_q, gain_k, wo, second, wg, wu, wd, keep1, keep2),
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dout,) = grads
        x1, r1, qk, rqk, gains, q, key, value, p, o, y1, r2, gate, up, opened, a, joined, joined_gained, *rest = (
            ctx.saved_tensors
        )
        first, gain_q, gain_k, wo, second, wg, wu, wd, keep1, keep2 = rest
        seen, kind = ctx.seen, ctx.kind
        n, t, h, k, g = seen.sequences, seen.tokens, seen.heads, seen.key_heads, seen.heads // seen.key_heads
        w = len(gain_q)
        turned = (h + k) * w

        # gated layer
        dbranch = dout if keep2 is None else dout * keep2
        dwd = _mm(dbranch.T, a, kind)
        da = _mm(dbranch, wd, kind)
        dup = da * opened
        dgate = torch.ops.aten.silu_backward(da.mul_(up), gate)
        dwg, dwu = _mm(dgate.T, y1, kind), _mm(dup.T, y1, kind)
        dy1 = _mm(dgate, wg * second, kind).add_(_mm(dup, wu * second, kind))
        dsecond = (dwg * wg).sum(0).add_((dwu * wu).sum(0))
        dwg, dwu = dwg.mul_(second), dwu.mul_(second)
        dy = _through_norm(dy1, y1, r2).add_(dout)

        # attention
        dbranch = dy if keep1 is None else dy * keep1
        dwo = _mm(dbranch.T, o, kind)
        do = _mm(dbranch, wo, kind).view(n, t, k, g, w).permute(2, 0, 3, 1, 4).reshape(k * n, g * t, w)
        dvalue = torch.bmm(p.mT, do)
        ds = torch.ops.aten._softmax_backward_data(torch.bmm(do, value.mT), p, -1, p.dtype)
        dq, dkey = torch.bmm(ds, key), torch.bmm(ds.mT, q)
        dqk = torch.empty(n, t, h + k, w, dtype=dq.dtype, device=dq.device)
        dqk[:, :, :h].view(n, t, k, g, w).copy_(dq.view(k, n, g, t, w).permute(1, 3, 0, 2, 4))
        dqk[:, :, h:].copy_(dkey.view(k, n, t, w).permute(1, 2, 0, 3))
        dqk = _turn(dqk.view(n * t, turned), seen.turn.conj().resolve_conj(), n, t, h + k, w).view(n * t, turned)
        dgains = (dqk * qk.view(n * t, turned)).sum(0).view(h + k, w)
        dgain_q, dgain_k = torch.empty_like(gain_q), torch.empty_like(gain_k)
        pairs = seen.order[:w]
        dgain_q[pairs], dgain_k[pairs] = dgains[:h].sum(0) / math.sqrt(w), dgains[h:].sum(0)
        dqkv = torch.empty(n * t, turned + k * w, dtype=dq.dtype, device=dq.device)
        dnormed = dqk.mul_(gains).view(n * t, h + k, w)
        dqkv[:, :turned].view(n * t, h + k, w).copy_(_through_norm(dnormed, qk, rqk))
        dqkv.view(n, t, h + 2 * k, w)[:, :, h + k :].copy_(dvalue.view(k, n, t, w).permute(1, 2, 0, 3))
        djoined = _mm(dqkv.T, x1, kind)
        dfirst = (djoined * joined).sum(0)
        djoined.mul_(first)
        dwqk = torch.empty_like(djoined[:turned])
        dwqk[seen.order] = djoined[:turned]
        dx = _through_norm(_mm(dqkv, joined_gained, kind), x1, r1).add_(dy)
        return (dx, None, None, dfirst, dwqk[: h * w], dwqk[h * w :], djoined[turned:], dgain_q, dgain_k, dwo, dsecond,
                dwg, dwu, dwd)  # fmt: skip


def _kind(x: Tensor) -> torch.dtype | None:
    """In what to multiply matrices; None: as they are."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _mm(a: Tensor, b: Tensor, kind: torch.dtype | None) -> Tensor:
    if kind is None:
        return torch.mm(a, b)
    return torch.mm(a.to(kind), b.to(kind)).to(a.dtype)


def _branch(x: Tensor, inner: Tensor, weight: Tensor, keep: Tensor | None, kind: torch.dtype | None) -> Tensor:
    """x + inner @ weight.T, what is dropped left out."""
    if keep is None and kind is None:
        return torch.addmm(x, inner, weight.T)
    made = _mm(inner, weight.T, kind)
    return x + made if keep is None else torch.addcmul(x, made, keep)


def _kept(x: Tensor, dropout: float) -> Tensor | None:
    """Zero where a number is dropped, else what makes up for it."""
    return torch.empty_like(x).bernoulli_(1 - dropout).div_(1 - dropout) if dropout else None


def _inverse_length(x: Tensor) -> Tensor:
    """1 / root mean square over the last side, (..., 1)."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_()


def _through_norm(dy: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """The gradient of x from that of y = x * r, where r = 1 / root mean square of x."""
    along = torch.linalg.vecdot(dy, y).unsqueeze(-1).div_(-y.shape[-1])
    dx: Tensor = torch.addcmul(dy, y, along).mul_(r)
    return dx


def _turn(x: Tensor, turn: Tensor, n: int, t: int, heads: int, w: int) -> Tensor:
    """Each pair of numbers of x (m, heads * w) as one complex number, turned: (n, t, heads, w)."""
    pairs = torch.view_as_complex(x.view(n, t, heads, w // 2, 2))
    return torch.view_as_real(pairs * turn).view(n, t, heads, w)
