"""Two processes, each with half of every batch, have the gradients of one that learns both halves, in float64.

That one takes them in turn, so that the same examples have the same noise; that turns equal the doubled batch where a
loss does not mix it is shown in `training/loop_test.py`.
"""

import dataclasses
import functools
import itertools
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from spearhead.core.catalogue import Catalogue
from spearhead.core.family import Lesson, Task
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Template
from spearhead.media.image.codec import write
from spearhead.nn.model import Model
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("gpt", "vae", "flow", "gan", "pretrained")},
    "vae of convolutions": ("vae", {"network": "conv"}),
    "vae of two layers": ("vae", {"network": "hierarchical"}),
    "vae with a mixture": ("vae", {"prior": "vamp", "pseudo": 6}),
    "flow of a transformer": ("flow", {"network": "dit"}),
}
"""Families and what is changed in their debug preset."""
LICENCE = Licence("CC0-1.0", Right.TRAIN, "")
PLAN = Plan(steps=1, batch=8, optimiser="sgd", betas=(0.0, 0.0), learning_rate=1.0, clip=0.0, warmup=0.0,
            schedule="constant", precision="fp32", micro_tokens=1 << 20)  # fmt: skip
"""One step of length one along the gradient: the weights move by it."""


def records(modality: str) -> list[Record]:
    rng = np.random.default_rng(0)
    if modality == "text":
        pairs = [(str(n), "".join(str((n + i) % 10) for i in range(1, 2 + n % 4))) for n in range(8)]
        return [Record({"input": text(a), "output": text(b)}, LICENCE, "t") for a, b in pairs]
    made = [write(rng.integers(0, 255, (8, 8, 1)).astype(np.uint8)) for _ in range(8)]
    return [Record({"input": text("ab"[n % 2]), "output": one}, LICENCE, "t") for n, one in enumerate(made)]


def begun(name: str, base: Path) -> Lesson:
    from spearhead.store.home import Home

    of, changes = CASES[name]
    family = Catalogue("spearhead.models", "FAMILY")[of]
    home = Home(root=base.parent / "home", cache=base.parent / "cache")
    task = Task(
        config=dataclasses.replace(family.presets["debug"], **changes),
        train=lambda: records(family.modality),
        validation=lambda: records(family.modality),
        template=Template(style="plain", after=":", stop="<|im_end|>"),
        foundation=base if name == "pretrained" else None,
        home=home,
        steps=1,
    )
    steps = family.begin(task)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            lesson: Lesson = end.value
            return lesson


def doubled(batch: Any) -> Any:
    """The batch with its pixels in float64."""
    return dataclasses.replace(batch, pixels=batch.pixels.double()) if hasattr(batch, "pixels") else batch


class Halves:
    """The shares of both processes as the micro-batches of one."""

    def __init__(self, shares: list[Any]) -> None:
        self.shares, self.digest = shares, shares[0].digest

    def at(self, step: int) -> list[Any]:
        return [micro for share in self.shares for micro in share.at(step)]


def gradients(name: str, base: Path, *, rank: int | None) -> tuple[dict[str, torch.Tensor], float]:
    """By how much one step moves every weight, and the first number that was drawn in it; `rank` None: alone."""
    lesson = begun(name, base)
    model = lesson.model.double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():  # behind what begins at nothing (an adapter, a gate) nothing learns
            if parameter.requires_grad and (name == "pretrained" or not parameter.any()):
                parameter.normal_(0, 0.1)
    losses, drawn = model.losses, []

    def with_its_own_noise(batch: Any) -> Any:
        """Noise belongs to the examples, so that the same ones have the same wherever they are learnt from; texts have
        none here."""
        drawn.append(float(torch.rand(())))
        stream = losses(batch)
        for turn in itertools.count():
            if hasattr(batch, "pixels"):
                torch.manual_seed(zlib.crc32(batch.pixels.numpy().tobytes()) + turn)
            if (given := next(stream, None)) is None:
                return
            yield given

    model.losses = with_its_own_noise
    model.shares = functools.partial(Model.shares, model)  # a gan's networks learn by Adam, whose step hides a length
    before = {key: value.detach().clone() for key, value in model.named_parameters() if value.requires_grad}

    def share(of: int) -> Any:
        return Batches(lesson.examples, lambda *a, **k: doubled(lesson.pack(*a, **k)), plan=PLAN, rank=of, world=2)

    source: Any = Halves([share(0), share(1)]) if rank is None else share(rank)
    for _ in train(model, source, PLAN):
        pass
    after = dict(model.named_parameters())
    return {key: value - after[key].detach() for key, value in before.items()}, drawn[0]


def of_all(base: Path, *, rank: int | None) -> dict[str, torch.Tensor]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found: dict[str, torch.Tensor] = {}
        for name in CASES:
            moved, drawn = gradients(name, base, rank=rank)
            found |= {f"{name}/{key}": value.contiguous() for key, value in moved.items()}
            found[f"drawn/{name}"] = torch.tensor(drawn)
        return found
    finally:
        torch.set_default_dtype(before)


def test_two_processes_have_the_gradients_of_one_with_the_doubled_batch_and_noise_of_their_own(tmp_path: Path) -> None:
    from tests.conftest import port_of_ones_own

    from spearhead.models.pretrained import tiny

    base = tiny.write(tmp_path / "base" / "llama")
    for rank in range(2):  # each with a home of its own: what a base is converted to is not written by two
        tiny.write(tmp_path / f"base-{rank}" / "llama")
    port = str(port_of_ones_own())
    command = [sys.executable, "-W", "ignore", __file__]
    shares = [
        subprocess.Popen([*command, str(n), port, str(tmp_path / f"base-{n}" / "llama"), str(tmp_path / f"{n}.st")])
        for n in range(2)
    ]
    alone = of_all(base, rank=None)
    assert [share.wait(timeout=300) for share in shares] == [0, 0]
    halves = [load_file(tmp_path / f"{n}.st") for n in range(2)]
    for name in CASES:
        mine = {key: value for key, value in alone.items() if key.startswith(f"{name}/")}
        size = max(float(value.abs().max()) for value in mine.values())
        assert mine and size > 1e-4 and all(value.dtype == torch.float64 for value in mine.values())
        for key, value in mine.items():
            assert torch.equal(halves[0][key], halves[1][key]), key
            assert float((halves[0][key] - value).abs().max()) < 1e-9 * size, key
        assert halves[0][f"drawn/{name}"] != halves[1][f"drawn/{name}"], "each process draws noise of its own"


if __name__ == "__main__":
    number, port, base, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    save_file(of_all(base, rank=number), out)
    torch.distributed.destroy_process_group()
