"""What is exported computes what was trained; what no runtime serves is refused by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from spearhead.core.errors import InputError
from spearhead.models.pretrained.batch import Example
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import MERGEABLE, METHODS, Base, Config
from spearhead.models.pretrained.export import export, export_adapter, merged_state
from spearhead.models.pretrained.network import Tuned

BASE = Base(licence="CC0-1.0", credit="none")


def tuned(folder: Path, method: str) -> Tuned:
    model = build(Config(base=BASE, method=method, rank=4), folder, steps=20, seed=0)  # type: ignore[arg-type]
    with torch.no_grad():
        torch.manual_seed(5)
        for name, p in model.named_parameters():
            if p.requires_grad and "ia3" not in name and "magnitude" not in name:
                p.normal_(0, 0.1)
            elif p.requires_grad:
                p.mul_(1.1)
    return model


@pytest.mark.parametrize("method", MERGEABLE)
def test_merged_weights_compute_what_was_trained(
    method: str, tiny: Path, tmp_path: Path, examples: list[Example]
) -> None:
    model = tuned(tiny, method)
    trained = sorted(model.score(examples[:5]))
    folder = export(model, tmp_path / "merged", base=tiny)
    assert sorted(model.score(examples[:5])) == trained, "the model itself is left as it was"
    opened = build(Config(base=BASE, method="none"), folder, steps=1, seed=0)
    for (_, ours, _), (_, theirs, _) in zip(trained, sorted(opened.score(examples[:5])), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-5)
    names = set(load_file(folder / "model.safetensors"))
    assert names == set(load_file(tiny / "model.safetensors")), "the base model's names, and no others"
    assert (folder / "tokenizer.json").read_bytes() == (tiny / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("method", [method for method in METHODS if method not in MERGEABLE])
def test_what_no_runtime_serves_is_refused_by_name(method: str, tiny: Path, tmp_path: Path) -> None:
    model = tuned(tiny, method)
    with pytest.raises(InputError, match=f"method '{method}' cannot be released"):
        export(model, tmp_path / "merged", base=tiny)
    assert not (tmp_path / "merged").exists()


def test_weights_that_are_not_numbers_are_not_exported(tiny: Path) -> None:
    model = tuned(tiny, "full")
    with torch.no_grad():
        model.causal.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="up_proj.weight holds infinities or NaN"):
        merged_state(model)


def test_an_adapter_holds_what_was_learnt_and_no_pickle(tiny: Path, tmp_path: Path) -> None:
    model = tuned(tiny, "lora")
    folder = export_adapter(model, tmp_path / "adapter")
    saved = load_file(folder / "adapter_model.safetensors")
    learnt = [p for p in model.parameters() if p.requires_grad]
    assert len(saved) == len(learnt)
    assert sum(a.size for a in saved.values()) == sum(p.numel() for p in learnt)
    assert not list(folder.glob("*.bin"))
    first = saved["base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"]
    layer = model.causal.model.layers[0].mlp.up_proj
    assert np.array_equal(first, layer.lora_B["default"].weight.detach().numpy())
