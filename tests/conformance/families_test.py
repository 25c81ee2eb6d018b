"""What every folder under `models/` keeps: described without torch, one frozen configuration, listed by itself."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.family import Family, Lesson, Task
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.media.image.codec import write
from spearhead.scenario.read import json_schema

FAMILIES = Catalogue("spearhead.models", "FAMILY")


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_is_described_without_torch(name: str) -> None:
    script = (
        "import sys\n"
        "from spearhead.core.catalogue import Catalogue\n"
        f"Catalogue('spearhead.models', 'FAMILY')[{name!r}]\n"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_familys_configuration_is_one_frozen_value_and_its_presets_are_of_it(name: str) -> None:
    family: Family = FAMILIES[name]
    assert family.name == name
    assert dataclasses.is_dataclass(family.config) and family.config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "debug" in family.presets
    assert all(isinstance(preset, family.config) for preset in family.presets.values())


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_is_in_the_scenarios_schema_by_itself(name: str) -> None:
    tables = json_schema()["properties"]["model"]["oneOf"]
    (own,) = [table for table in tables if table["properties"]["family"]["const"] == name]
    assert {field.name for field in dataclasses.fields(FAMILIES[name].config)} < set(own["properties"])


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    from spearhead.core.errors import InputError

    with pytest.raises(InputError, match="did you mean 'pretrained'"):
        FAMILIES["pretraned"]


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].modality == "image"])
def test_a_family_of_pictures_learns_on_the_device_that_holds_its_model(name: str) -> None:
    import torch

    family: Family = FAMILIES[name]
    licence = Licence("CC0-1.0", Right.TRAIN, "")
    dark = write(np.full((8, 8, 1), 40, np.uint8), mime="image/png")
    records = [Record({"input": text(words), "output": dark}, licence, "t") for words in ("a", "b")]
    asked = Task(config=family.presets["debug"], train=lambda: records, validation=lambda: records, device="meta")
    begun = family.begin(asked)
    while True:
        try:
            next(begun)
        except StopIteration as end:
            lesson: Lesson = end.value
            break
    batch = lesson.pack(lesson.examples)
    assert {parameter.device.type for parameter in lesson.model.parameters()} == {"meta"}
    assert (batch.pixels.device.type, batch.labels.device.type) == ("meta", "meta")
    if name != "gan":  # how far a critic's penalty has fallen is a number, and this device holds none
        _, loss = next(lesson.model.losses(batch))
        assert isinstance(loss, torch.Tensor) and loss.device.type == "meta"


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].modality == "image"])
def test_a_family_of_pictures_learns_in_half_precision_or_says_that_it_does_not(name: str) -> None:
    import torch

    family: Family = FAMILIES[name]
    licence = Licence("CC0-1.0", Right.TRAIN, "")
    rng = np.random.default_rng(0)
    records = [
        Record({"input": text(words), "output": write(rng.integers(0, 255, (8, 8, 1)).astype(np.uint8))}, licence, "t")
        for words in ("a", "b") * 8
    ]
    asked = Task(config=family.presets["debug"], train=lambda: records, validation=lambda: records)
    begun = family.begin(asked)
    while True:
        try:
            next(begun)
        except StopIteration as end:
            lesson: Lesson = end.value
            break
    lesson.model.train()
    losses, kinds = {}, set()
    hooks = [
        layer.register_forward_hook(lambda layer, given, out: kinds.add(out.dtype))
        for layer in lesson.model.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    for half in (False, True):
        torch.manual_seed(0)
        lesson.model.zero_grad()
        kinds.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            _, loss = next(lesson.model.losses(lesson.pack(lesson.examples)))
        torch.autograd.backward(loss)
        losses[half] = float(loss.detach())
        assert (torch.bfloat16 in kinds) == (half and not family.single)
    for hook in hooks:
        hook.remove()
    assert losses[True] == pytest.approx(losses[False], rel=0.03)
    grads = [p.grad for p in lesson.model.parameters() if p.grad is not None]
    assert grads and all(grad.dtype == torch.float32 and bool(grad.isfinite().all()) for grad in grads)
