"""A trained tokenizer as two graphs and the file that tells their shapes; `codec.Codec` opens them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spearhead.core.files import write_whole
from spearhead.models.pictures import Shape
from spearhead.models.tokenizer.codec import Form
from spearhead.models.tokenizer.network import Tokenizer
from spearhead.nn import onnx_file


class Encoder(nn.Module):
    """pixels (n, c, h, w) in [-1, 1] -> codes int64 (n, gh, gw)."""

    def __init__(self, model: Tokenizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode(pixels)


class Decoder(nn.Module):
    """codes int64 (n, gh, gw) -> pixels (n, c, h, w) in [-1, 1]."""

    def __init__(self, model: Tokenizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes)


def export(model: Tokenizer, folder: Path, shape: Shape) -> Mapping[str, Any]:
    """Write `encoder.onnx`, `decoder.onnx` and `tokenizer.json` into `folder`; gives what the report says of them."""
    device = next(model.parameters()).device
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, shape.channels, shape.height, shape.width, generator=rng).to(device) * 2 - 1
    codes = torch.randint(model.vocab, (3, *model.grid), generator=rng).to(device)
    onnx_file.write(Encoder(model).eval(), {"pixels": pixels}, ("codes",), folder / "encoder.onnx")
    difference = onnx_file.write(Decoder(model).eval(), {"codes": codes}, ("pixels",), folder / "decoder.onnx")
    form = Form((shape.height, shape.width), shape.channels, model.grid, model.vocab)
    write_whole(folder / "tokenizer.json", form.to_json().encode())
    sizes = {f"{name}_bytes": (folder / f"{name}.onnx").stat().st_size for name in ("encoder", "decoder")}
    return {"codes": model.vocab, "codes_a_picture": model.grid[0] * model.grid[1], "difference": difference, **sizes}
