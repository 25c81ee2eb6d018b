"""A maker and a critic that learn against each other, as the one loop trains them. Knows neither plan nor data.

In evaluation `losses` gives a distance to the held-out pictures instead of an adversarial loss (see `distance`). So the
loop's own rules see a collapse: it keeps the weights of the smallest distance, and with `patience` it stops. `memory`
holds how far the run went, so that an export can tell which step its weights are of.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.models.gan import critic as critics
from spearhead.models.gan import distance
from spearhead.models.gan.augment import augment
from spearhead.models.gan.config import Config
from spearhead.models.gan.maker import DcganMaker, MlpMaker, ResidualMaker
from spearhead.models.gan.objectives import critic_loss, lipschitz_penalty, maker_loss, squared_gradients
from spearhead.models.gan.style import StyleMaker
from spearhead.models.pictures import Pictures, Shape
from spearhead.nn.model import Model, Share

BETAS = {"vanilla": (0.5, 0.999), "wasserstein": (0.0, 0.9), "relativistic": (0.0, 0.99)}
"""Of Adam, as each paper has them."""
MAPPING_RATE = 0.01
"""Share of the learning rate at which a mapping network learns (arXiv 1812.04948, appendix C)."""
CHUNK = 256
"""Pictures drawn at a time."""


class Gan(Model):
    """A maker, a critic, and the random filters that judge them."""

    def __init__(self, config: Config, shape: Shape, *, seed: int) -> None:
        super().__init__()
        self.config, self.shape, self.seed = config, shape, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.maker: nn.Module = _maker(config, shape)
            self.critic: nn.Module = _critic(config, shape)
        self.mixes = any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in self.modules())
        self.features = distance.Features(shape.channels)
        self.taken: Tensor
        self.register_buffer("taken", torch.zeros((), dtype=torch.long))
        self.reached = 0

    # -- learning -----------------------------------------------------------------------------------------------------

    def groups(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {"critic": list(self.critic.parameters()), "maker": list(self.maker.parameters())}

    def shares(self) -> Mapping[str, Iterable[Share]]:
        betas = BETAS[self.config.loss]
        slow: list[nn.Parameter] = []
        if isinstance(self.maker, StyleMaker):
            slow = [*self.maker.mapping.layers.parameters()]
        known = {id(parameter) for parameter in slow}
        rest = tuple(parameter for parameter in self.maker.parameters() if id(parameter) not in known)
        maker = [Share(rest, optimiser="adamw", betas=betas, weight_decay=0.0)]
        if slow:
            maker.append(Share(tuple(slow), rate=MAPPING_RATE, optimiser="adamw", betas=betas, weight_decay=0.0))
        critic = Share(tuple(self.critic.parameters()), optimiser="adamw", betas=betas, weight_decay=0.0)
        return {"critic": [critic], "maker": maker}

    def losses(self, batch: Pictures) -> Iterator[tuple[str, Tensor]]:
        """While learning "critic", then, every `critic_steps` steps, "maker"; in evaluation "distance"."""
        # Channels last is a tenth faster here. The weights stay as they are: fused AdamW mixes up its state when a
        # checkpoint gives it back in another layout than the weight's.
        real, labels = batch.pixels.contiguous(memory_format=torch.channels_last), batch.labels
        if not self.training:
            yield "distance", self.distance(real, labels)
            return
        if self.mixes and torch.distributed.is_available() and torch.distributed.is_initialized():
            raise InputError(
                "a gan whose networks normalise over the batch (dcgan) learns in one process alone, for each process "
                "has a part of it: wanted maker and critic 'residual', or a single process"
            )
        share, penalty = self.course()
        yield "critic", self._critic_loss(real, labels, share=share, penalty=penalty)
        if (int(self.taken) + 1) % self.config.critic_steps == 0:
            yield "maker", self._maker_loss(real, labels, share=share)
        if batch.closes:
            self.taken += 1
            self.reached = max(self.reached, int(self.taken))

    def course(self) -> tuple[float, float]:
        """The share of pictures that are augmented, and the weight of the gradient penalty, at this step of the run."""
        config = self.config
        falling = 0.5 * (1 + math.cos(math.pi * self.progress))
        return config.augment_share * (1 - falling), config.penalty_end + (
            config.penalty - config.penalty_end
        ) * falling

    def _critic_loss(self, real: Tensor, labels: Tensor, *, share: float, penalty: float) -> Tensor:
        config = self.config
        with _single(real.device):  # gradients of gradients are too small for half precision
            with torch.no_grad():
                made = self.maker(self._noise(len(real)), labels)
            real, made = self._seen(real, share), self._seen(made, share)
            r1 = penalty > 0 and config.loss != "wasserstein"
            r2 = penalty > 0 and config.loss == "relativistic"
            real, made = real.detach().requires_grad_(r1), made.detach().requires_grad_(r2)
            for_real, for_made = self.critic(real, labels), self.critic(made, labels)
            loss = critic_loss(config.loss, for_real, for_made)
            if r1:
                loss = loss + penalty / 2 * squared_gradients(for_real, real).mean()
            if r2:
                loss = loss + penalty / 2 * squared_gradients(for_made, made).mean()
            if config.loss == "wasserstein":
                loss = loss + penalty * lipschitz_penalty(lambda x: self.critic(x, labels), real, made)
        return loss

    def _maker_loss(self, real: Tensor, labels: Tensor, *, share: float) -> Tensor:
        config = self.config
        with _single(real.device), _fixed(self.critic):
            made = self.critic(self._seen(self.maker(self._noise(len(real)), labels), share), labels)
            for_real = made.detach()
            if config.loss == "relativistic":
                with torch.no_grad():
                    for_real = self.critic(self._seen(real, share), labels)
            return maker_loss(config.loss, for_real, made)

    def _seen(self, pictures: Tensor, share: float) -> Tensor:
        """What the critic sees of pictures."""
        return augment(pictures, self.config.augment, share=share)

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, self.config.noise, device=self.taken.device)

    @torch.no_grad()
    def distance(self, held: Tensor, labels: Tensor) -> Tensor:
        """How far pictures drawn for `labels` lie from `held` (n, c, h, w); see `distance`.

        At most its first 1,024 are looked at. The noise depends on the seed and the pictures alone, so that two
        states of one run are compared by the same draws.
        """
        held, labels = held[: distance.MOST], labels[: distance.MOST]
        mark = zlib.crc32(held[:8].float().cpu().contiguous().numpy().tobytes())
        rng = torch.Generator().manual_seed(mark + (self.seed << 32) % (1 << 62))
        with _single(held.device):
            made = self._drawn(labels, rng, truncation=1.0)
            looked = [
                torch.cat([self.features(part) for part in torch.split(block, CHUNK)]) for block in (held.float(), made)
            ]
        return distance.relative(looked[0], looked[1], labels, classes=len(self.shape.classes)).float()

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, prompt: Any, count: int, *, rng: torch.Generator, options: Mapping[str, Any]) -> Iterator[Tensor]:
        """Yield once (count, c, h, w) in [-1, 1] for the labels `prompt`, (count,) or a single one.

        `options`: `truncation`, the standard deviation of the noise (the configuration's unless given), and for a style
        maker `mixing`, the layer from which a second style rules (0: none does).
        """
        labels = torch.as_tensor(prompt, dtype=torch.long).reshape(-1)
        if len(labels) not in (1, count):
            raise InputError(f"{len(labels)} labels for {count} pictures: wanted one for each, or one for all")
        most = max(1, len(self.shape.classes))
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < most:
            raise InputError(f"labels go from {int(labels.min())} to {int(labels.max())}: wanted 0 to {most - 1}")
        truncation = float(options.get("truncation", self.config.truncation))
        mixing = int(options.get("mixing", 0))
        yield self._drawn(labels.expand(count), rng, truncation=truncation, mixing=mixing)

    def _drawn(self, labels: Tensor, rng: torch.Generator, *, truncation: float, mixing: int = 0) -> Tensor:
        """Pictures of labels (n,), as they are in evaluation."""
        noise = torch.randn(len(labels), self.config.noise, generator=rng).mul(truncation).to(self.taken.device)
        labels = labels.to(self.taken.device)
        with _evaluating(self.maker):
            if not mixing:
                parts = [
                    self.maker(*part)
                    for part in zip(torch.split(noise, CHUNK), torch.split(labels, CHUNK), strict=True)
                ]
                return torch.cat(parts).clamp(-1, 1)
            if not isinstance(self.maker, StyleMaker):
                raise InputError("option 'mixing' is for a style maker: wanted model.maker = 'style'")
            other = torch.randn(len(labels), self.config.noise, generator=rng).mul(truncation).to(noise)
            return self.maker.mixed(noise, other, labels, layer=torch.full_like(labels, mixing)).clamp(-1, 1)

    # -- over a restart -----------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, Tensor]:
        return {"reached": torch.tensor(self.reached)}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        self.reached = int(memory["reached"])


def build(config: Config, shape: Shape, *, steps: int, seed: int) -> Gan:
    """The network of a configuration; raises InputError for a size that its convolutions cannot make."""
    return Gan(config, shape, seed=seed)


def _maker(config: Config, shape: Shape) -> nn.Module:
    noise, classes, size, colours, width = config.noise, len(shape.classes), shape.height, shape.channels, config.width
    match config.maker:
        case "mlp":
            return MlpMaker(noise=noise, classes=classes, size=size, colours=colours, width=width)
        case "dcgan":
            return DcganMaker(noise=noise, classes=classes, size=size, colours=colours, width=width)
        case "style":
            return StyleMaker(
                noise=noise,
                classes=classes,
                size=size,
                colours=colours,
                width=width,
                depth=config.depth,
                mapping=config.mapping,
                mixing=config.mixing,
            )
        case "residual":
            return ResidualMaker(
                noise=noise, classes=classes, size=size, colours=colours, width=width, depth=config.depth
            )


def _critic(config: Config, shape: Shape) -> nn.Module:
    classes, size, colours, width = len(shape.classes), shape.height, shape.channels, config.width
    match config.critic:
        case "mlp":
            return critics.mlp(classes=classes, size=size, colours=colours, width=width)
        case "dcgan":
            norm = config.penalty == config.penalty_end == 0
            return critics.dcgan(classes=classes, size=size, colours=colours, width=width, norm=norm)
        case "residual":
            return critics.residual(classes=classes, size=size, colours=colours, width=width, depth=config.depth)


def _single(device: torch.device) -> Any:
    return torch.autocast(device.type, enabled=False)


@contextmanager
def _fixed(network: nn.Module) -> Iterator[None]:
    """Have what is computed meanwhile pass gradients through `network` and give it none."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)
