"""Two processes, each with half of every batch, learn what one learns with the whole."""

import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from spearhead.training import checkpoint
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Sine, pack_points

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

torch.set_num_threads(1)
rank, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
minutes = float(sys.argv[4])


class Slow(Sine):  # the higher its rank
    def losses(self, batch):
        yield from super().losses(batch)
        time.sleep(0.02 * rank * (minutes > 0))


torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
points = [Point(float(x)) for x in np.linspace(-3, 3, 200)]
plan = Plan(
    steps=10_000 if minutes else 8, batch=15, learning_rate=1e-2, minutes=minutes, precision="fp32"
)
model = Slow()
for _ in train(model, Batches(points, pack_points, plan=plan, rank=rank, world=2), plan):
    pass
save_file(checkpoint.snapshot(model), f"{out}-{rank}.safetensors")
torch.distributed.destroy_process_group()
"""


def halves(folder: Path, *, minutes: float = 0.0) -> list[dict[str, torch.Tensor]]:
    """What each of two processes holds after its run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-c", SHARE]
    rest = [port, str(folder / "share"), str(minutes)]
    shares = [subprocess.Popen([*command, str(rank), *rest]) for rank in range(2)]
    try:
        assert [share.wait(timeout=200) for share in shares] == [0, 0]
    finally:
        for share in shares:
            share.kill()
    return [load_file(folder / f"share-{rank}.safetensors") for rank in range(2)]


def test_two_processes_learn_what_one_learns(points: list[Point], tmp_path: Path) -> None:
    plan = Plan(steps=8, batch=15, learning_rate=1e-2, precision="fp32")
    model = Sine()
    for _ in train(model, Batches(points, pack_points, plan=plan), plan):
        pass
    first, second = halves(tmp_path)
    for name, weight in checkpoint.snapshot(model).items():
        assert torch.equal(first[name], second[name]), "both processes hold the same weights"
        assert torch.allclose(first[name], weight, rtol=1e-4, atol=1e-6), name


def test_a_budget_of_time_ends_both_at_one_step_though_one_is_slower(tmp_path: Path) -> None:
    first, second = halves(tmp_path, minutes=0.03)
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), "one clock gave both the same rates and the same end"
