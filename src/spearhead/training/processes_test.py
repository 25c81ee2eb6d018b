"""Two processes, each with half of every batch, learn what one learns with the whole."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from spearhead.training import checkpoint
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Sine, pack_points

Halves = dict[str, list[dict[str, torch.Tensor]]]
SHARE = """
import sys
import time
import numpy as np, torch
from safetensors.torch import save_file
from spearhead.training import checkpoint
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Sine, pack_points

rank, out = int(sys.argv[1]), sys.argv[2]
slower = 0.0


class Slow(Sine):  # the higher its rank
    def losses(self, batch):
        yield from super().losses(batch)
        time.sleep(slower * rank)


torch.distributed.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=2)
points = [Point(float(x)) for x in np.linspace(-3, 3, 200)]
for name, slower, length in (("steps", 0.0, {"steps": 8}), ("minutes", 0.02, {"steps": 10_000, "minutes": 0.03})):
    plan = Plan(batch=15, learning_rate=1e-2, precision="fp32", **length)
    model = Slow()
    for _ in train(model, Batches(points, pack_points, plan=plan, rank=rank, world=2), plan):
        pass
    save_file(checkpoint.snapshot(model), f"{out}/{name}-{rank}.safetensors")
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    """What each of two processes holds after a run of 8 steps, and after one of 1.8 seconds."""
    folder = tmp_path_factory.mktemp("halves")
    command = [sys.executable, "-W", "ignore", "-c", SHARE]
    shares = [subprocess.Popen([*command, str(rank), str(folder)]) for rank in range(2)]
    try:
        assert [share.wait(timeout=200) for share in shares] == [0, 0]
    finally:
        for share in shares:
            share.kill()
    names = ("steps", "minutes")
    return {name: [load_file(folder / f"{name}-{rank}.safetensors") for rank in range(2)] for name in names}


def test_two_processes_learn_what_one_learns(points: list[Point], halves: Halves) -> None:
    plan = Plan(steps=8, batch=15, learning_rate=1e-2, precision="fp32")
    model = Sine()
    for _ in train(model, Batches(points, pack_points, plan=plan), plan):
        pass
    first, second = halves["steps"]
    for name, weight in checkpoint.snapshot(model).items():
        assert torch.equal(first[name], second[name]), "both processes hold the same weights"
        assert torch.allclose(first[name], weight, rtol=1e-4, atol=1e-6), name


def test_a_budget_of_time_ends_both_at_one_step_though_one_is_slower(
    halves: Halves,
) -> None:
    first, second = halves["minutes"]
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), "one clock gave both the same rates and the same end"
