"""Pictures to a grid of codes and back: encoder, quantiser, decoder. Knows no prior over codes and no file.

Shapes: n pictures, c channels, h by w pixels, gh by gw codes, d numbers that a code stands for.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.tokenizer.config import MOST_CODES, Config
from spearhead.nn.model import Model

EDGE = 1e-3
"""Room beyond the outermost level, so that it can be reached (arXiv 2309.15505, appendix A)."""
VECTOR = 16
"""Numbers of a `vq` vector."""
COMMITMENT = 0.25
"""Weight of the encoder's pull towards its code (arXiv 1711.00937, equation 3)."""
DECAY = 0.99
"""Of the moving averages (arXiv 1711.00937, appendix A.1)."""
FOLLOWED = 0.02
"""Share of the newest batch in the mean and covariance that `fsq` keeps."""
DEAD = 0.1
"""A vector used less often than this share of an even use is put where a picture of the batch is."""


@dataclass(frozen=True, slots=True)
class Coded:
    """What a quantiser makes of z (n, d, gh, gw)."""

    values: Tensor
    """(n, d, gh, gw), with the gradient of z."""
    codes: Tensor
    """int64 (n, gh, gw)."""
    pull: Tensor
    """What the quantiser adds to the loss, a scalar."""


class Levels(nn.Module):
    """Finite scalar quantisation (arXiv 2309.15505, section 3): every number is bounded and rounded to its levels.

    The code's index counts the first number fastest. Nothing is learnt here, so no code can die of neglect; but numbers
    that go together would leave the corners of the grid empty. So they are whitened first, by the batch while learning
    and by the last batches later. (Seen on FashionMNIST, 300 steps of 64: 988 of 1,000 codes in use, without it 880.)
    A batch in parts (micro-batches, several processes) is whitened part by part: its gradients are near those of the
    whole, not the same.
    """

    mean: Tensor
    spread: Tensor
    factor: Tensor
    table: Tensor
    reach: Tensor
    offset: Tensor
    shift: Tensor
    middle: Tensor
    basis: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        super().__init__()
        counts = torch.tensor(levels, dtype=torch.float64)
        half = (counts - 1) * (1 + EDGE) / 2
        offset = torch.where(counts % 2 == 0, 0.5, 0.0).double()
        # Zero on a level of its own would leave the other one of two to numbers below atanh(-1 / (1 + EDGE)), -3.8.
        shift = torch.where(counts == 2, 0.0, torch.atanh(offset / half))
        middle = counts.div(2, rounding_mode="floor")
        basis = torch.cumprod(torch.tensor((1, *levels[:-1])), 0)
        digits = torch.arange(math.prod(levels))[:, None] // basis % torch.tensor(levels)  # (vocab, d)
        fixed = {"reach": half, "offset": offset, "shift": shift, "middle": middle}
        for name, value in fixed.items():
            self.register_buffer(name, value.float()[:, None, None], persistent=False)
        self.register_buffer("mean", torch.zeros(len(levels)))
        self.register_buffer("spread", torch.eye(len(levels)))
        self.register_buffer("factor", torch.eye(len(levels)))
        self.register_buffer("basis", basis[:, None, None], persistent=False)
        self.register_buffer("table", ((digits - middle) / middle).float(), persistent=False)

    @property
    def vocab(self) -> int:
        return len(self.table)

    def forward(self, z: Tensor) -> Coded:
        rows = z.permute(0, 2, 3, 1)  # (n, gh, gw, d)
        mean, factor = self.mean, self.factor
        if self.training:
            mean, spread = _moments(rows)
            factor = _whitening(spread)
        white = ((rows - mean) @ factor.T).permute(0, 3, 1, 2)
        bounded = torch.tanh(white + self.shift) * self.reach - self.offset
        rounded = bounded + (bounded.round() - bounded).detach()  # the gradient passes the rounding by
        codes = ((rounded.detach() + self.middle).round().long() * self.basis).sum(1)
        return Coded(rounded / self.middle, codes, z.new_zeros(()))

    def look_up(self, codes: Tensor) -> Tensor:
        return self.table[codes].permute(0, 3, 1, 2)

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor) -> None:
        """Note how the numbers lie; several processes note the same."""
        both = _moments(z.permute(0, 2, 3, 1))
        for kept, found in zip((self.mean, self.spread), both, strict=True):
            if _together():
                torch.distributed.all_reduce(found)
                found /= torch.distributed.get_world_size()
            kept.lerp_(found, FOLLOWED)
        self.factor.copy_(_whitening(self.spread))


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of (n, gh, gw, d), in float32 whatever the products around it are in."""
    flat = rows.float().flatten(0, 2)
    mean = flat.mean(0)
    apart = flat - mean
    return mean, (apart[:, :, None] * apart[:, None, :]).mean(0)


def _whitening(spread: Tensor) -> Tensor:
    """The matrix that gives numbers of that covariance the unit one; of what is not a number: not a number."""
    unit = torch.eye(len(spread), device=spread.device)
    factor: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky_ex(spread + 1e-4 * unit)[0], unit, upper=False)
    return factor


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


class Vectors(nn.Module):
    """The nearest of `count` vectors, which follow the pictures by moving averages (arXiv 1711.00937, appendix A.1)."""

    table: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(count, width))
        self.register_buffer("uses", torch.zeros(count))
        self.register_buffer("sums", torch.zeros(count, width))

    @property
    def vocab(self) -> int:
        return len(self.table)

    def forward(self, z: Tensor) -> Coded:
        rows = z.permute(0, 2, 3, 1)  # (n, gh, gw, d)
        with torch.autocast(z.device.type, enabled=False):  # in bfloat16 one of several near ones would be as good
            distance = (
                self.table.square().sum(1) - 2 * rows.to(self.table.dtype) @ self.table.T
            )  # |z|^2 moves no minimum
        codes = distance.argmin(-1)
        values = self.look_up(codes)
        pull = COMMITMENT * (z - values.detach()).square().mean()
        return Coded(z + (values - z).detach(), codes, pull)

    def look_up(self, codes: Tensor) -> Tensor:
        return self.table[codes].permute(0, 3, 1, 2)

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor) -> None:
        """Move every vector to the mean of what was given its code; a vector without use goes where a picture is."""
        if _together():
            raise InputError("quantiser 'vq' learns in one process alone: wanted 'fsq', or a single process")
        rows, flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]), codes.flatten()
        uses = torch.bincount(flat, minlength=self.vocab).to(z.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, flat, rows)
        self.uses.lerp_(uses, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        even = len(flat) / self.vocab
        dead = (self.uses < DEAD * even).nonzero()[:, 0]
        if len(dead):
            chosen = rows[torch.randint(len(rows), (len(dead),), device="cpu").to(rows.device)]
            self.uses[dead] = 2 * DEAD * even  # soon judged again
            self.sums[dead] = chosen * 2 * DEAD * even
        self.table.copy_(self.sums / self.uses[:, None])


class Residual(nn.Module):
    """x + two convolutions of it (arXiv 1603.05027)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            _norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, width), width)


class Tokenizer(Model):
    """`losses` yields the mean squared error of a pixel in [-1, 1], and while it learns the quantiser's pull."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        widths = [config.width * min(2**level, 2) for level in range(config.halvings + 1)]
        self.quantiser: Levels | Vectors
        fsq = config.quantiser == "fsq"
        self.quantiser = Levels(config.levels) if fsq else Vectors(config.codes, VECTOR)
        numbers = len(config.levels) if fsq else VECTOR
        self.grid = (shape.height >> config.halvings, shape.width >> config.halvings)
        down: list[nn.Module] = [nn.Conv2d(shape.channels, widths[0], 3, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(numbers, widths[-1], 3, padding=1)]
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            down.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            down += [Residual(after) for _ in range(config.blocks)]
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [Residual(before) for _ in range(config.blocks)]
            up += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, padding=1)]
        down += [_norm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], numbers, 1)]
        up += [_norm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], shape.channels, 3, padding=1)]
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)

    @property
    def vocab(self) -> int:
        """How many codes there are."""
        return self.quantiser.vocab

    def losses(self, batch: Pictures) -> Iterator[tuple[str, Tensor]]:
        z = self.encoder(batch.pixels)
        coded: Coded = self.quantiser(z)
        error = F.mse_loss(self.decoder(coded.values), batch.pixels)
        yield "loss", error + coded.pull if self.training else error
        if self.training:
            self.quantiser.follow(z.detach().float(), coded.codes)

    def encode(self, pixels: Tensor) -> Tensor:
        """(n, c, h, w) in [-1, 1] -> int64 (n, gh, gw)."""
        coded: Coded = self.quantiser(self.encoder(pixels))
        return coded.codes

    def decode(self, codes: Tensor) -> Tensor:
        """int64 (n, gh, gw) -> (n, c, h, w) in [-1, 1]."""
        out: Tensor = self.decoder(self.quantiser.look_up(codes))
        return out.clamp(-1, 1)


def build(config: Config, shape: Shape, *, steps: int, seed: int) -> Tokenizer:
    """The model of `config`; the same seed gives the same initial values. Raises InputError for what cannot be."""
    cell = 1 << config.halvings
    if not 1 <= config.halvings <= 6 or shape.height % cell or shape.width % cell:
        raise InputError(
            f"pictures of {shape.height}x{shape.width} cannot be halved {config.halvings} times: wanted sides that are "
            f"multiples of {cell}, or fewer model.halvings (1 to 6)"
        )
    if not config.levels or min(config.levels) < 2 or math.prod(config.levels) > MOST_CODES:
        raise InputError(f"model.levels are {config.levels}: wanted at least 2 each and {MOST_CODES:,} codes at most")
    if not 2 <= config.codes <= MOST_CODES or config.width < 1 or config.blocks < 0:
        raise InputError(f"model.codes must be 2 to {MOST_CODES:,}, model.width at least 1, model.blocks at least 0")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tokenizer(config, shape)
