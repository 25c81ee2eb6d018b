"""The graph makes what the model makes, and keeps its inputs whether it uses them or not."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import pytest
import torch

from spearhead.core.sampler import Sampler
from spearhead.models.pictures import Shape
from spearhead.models.vae.config import Config
from spearhead.models.vae.export import export
from spearhead.models.vae.latent import One
from spearhead.models.vae.network import build

SMALL = Config(latent=3, hidden=8, pseudo=9)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        dataclasses.replace(SMALL, conditional=False),
        dataclasses.replace(SMALL, prior="vamp"),
        dataclasses.replace(SMALL, network="conv", prior="vamp", likelihood="logistic", channels=3),
        dataclasses.replace(SMALL, network="hierarchical", prior="vamp", conditional=False),
    ],
    ids=lambda config: f"{config.network}-{config.prior}-{config.conditional}",
)
def test_the_graph_makes_the_models_pictures(config: Config, tmp_path: Path) -> None:
    shape = Shape(10, 10, config.channels, ("a", "b", "c"))
    model = build(config, shape, steps=1, seed=0).eval()
    facts = export(model, tmp_path, shape)
    sampler = Sampler.from_json((tmp_path / "sampler.json").read_text())
    assert sampler.kind == "oneshot" and sampler.noise == (model.noise,) and sampler.size == (10, 10)
    assert sampler.classes == (shape.classes if config.conditional else ())
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [(entry.name, entry.type) for entry in session.get_inputs()] == [
        ("noise", "tensor(float)"),
        ("label", "tensor(int64)"),
    ]
    noise = torch.randn(11, model.noise, generator=torch.Generator().manual_seed(0))
    noise[-1] = 0  # a truncation of 0
    labels = torch.arange(11) % 3 if config.conditional else torch.zeros(11, dtype=torch.long)
    (pixels,) = session.run(["pixels"], {"noise": noise.numpy(), "label": labels.numpy()})
    with torch.no_grad():
        want = (model.paint(noise, labels) + 1) / 2
    assert pixels.shape == (11, config.channels, 10, 10) and pixels.min() >= 0 and pixels.max() <= 1
    assert np.abs(pixels - want.numpy()).max() <= 1e-4
    assert facts["graph_bytes"] == (tmp_path / "model.onnx").stat().st_size


def test_the_graph_holds_no_encoder(tmp_path: Path) -> None:
    shape = Shape(28, 28, 1)
    model = build(Config(hidden=64), shape, steps=1, seed=0)
    facts = export(model, tmp_path, shape)
    assert isinstance(model.body, One)
    decoder = sum(p.numel() for p in model.body.decoder.parameters())
    assert 4 * decoder <= facts["graph_bytes"] < 4 * decoder + 10_000
