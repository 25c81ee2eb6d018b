"""Two processes, each with half of every batch, learn what one learns with the whole."""

import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from spearhead.training import checkpoint
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Sine, pack_points

SHARE = """
import sys
import numpy as np, torch
from safetensors.torch import save_file
from spearhead.training import checkpoint
from spearhead.training.batches import Batches
from spearhead.training.loop import train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Sine, pack_points

torch.set_num_threads(1)
rank, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
points = [Point(float(x)) for x in np.linspace(-3, 3, 200)]
plan = Plan(steps=8, batch=15, learning_rate=1e-2, precision="fp32")
model = Sine()
for _ in train(model, Batches(points, pack_points, plan=plan, rank=rank, world=2), plan):
    pass
save_file(checkpoint.snapshot(model), f"{out}-{rank}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_two_processes_learn_what_one_learns(points: list[Point], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-c", SHARE]
    shares = [subprocess.Popen([*command, str(rank), port, str(tmp_path / "share")]) for rank in range(2)]
    plan = Plan(steps=8, batch=15, learning_rate=1e-2, precision="fp32")
    model = Sine()
    for _ in train(model, Batches(points, pack_points, plan=plan), plan):
        pass
    assert [share.wait(timeout=200) for share in shares] == [0, 0]
    save_file(checkpoint.snapshot(model), tmp_path / "whole.safetensors")
    whole = load_file(tmp_path / "whole.safetensors")
    halves = [load_file(tmp_path / f"share-{rank}.safetensors") for rank in range(2)]
    for name, weight in whole.items():
        assert torch.equal(halves[0][name], halves[1][name]), "both processes hold the same weights"
        assert torch.allclose(halves[0][name], weight, rtol=1e-4, atol=1e-6), name
