"""Killed at any step and started again, a run ends bit for bit where it would have ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

RUN = """
import json, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from spearhead.models.pretrained.batch import Example, pack
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import Base, Config
from spearhead.models.pretrained.network import Perturbation
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import train
from spearhead.training.plan import Plan

base, folder, order = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
rng = np.random.default_rng(0)
examples = [Example(tuple(int(i) for i in rng.integers(3, 259, rng.integers(6, 31))), 3) for _ in range(40)]
plan = Plan(steps=30, batch=6, micro_batch=4, learning_rate=1e-2, save_every=3, validate_every=4, embedding_noise=5.0,
            optimiser="muon", average=0.9)
config = Config(base=Base("CC0-1.0", ""), method="adalora", rank=4, dropout=0.1)
model = build(config, base, steps=plan.steps, seed=0, perturbation=Perturbation(noise=5.0))
batches = Batches(examples, pack, plan=plan)
validation = held_out(examples[:8], pack, plan=plan)
with order.open("a") as out:
    for step in train(model, batches, plan, validation=validation, folder=folder):
        out.write(json.dumps([step.number, batches.indices(step.number - 1), step.loss, step.validation]) + chr(10))
        out.flush()
"""


def start(base: Path, folder: Path) -> "subprocess.Popen[bytes]":
    order = folder.with_suffix(".order")
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", RUN, str(base), str(folder), str(order)])


def lines(folder: Path) -> list[list[object]]:
    file = folder.with_suffix(".order")
    whole = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in whole if line.endswith("]")]


def test_kill_at_any_step_and_resume_is_bit_identical(tiny: Path, tmp_path: Path) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    undisturbed = start(tiny, calm)
    victim = start(tiny, killed)
    limit = time.monotonic() + 240
    while len(lines(killed)) < 13:  # one step past a checkpoint, some before the next
        assert victim.poll() is None and time.monotonic() < limit
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    before = len(lines(killed))
    assert 13 <= before < 30, "it was killed on the way"
    assert start(tiny, killed).wait(timeout=240) == 0
    assert undisturbed.wait(timeout=240) == 0
    (ours,), (theirs,) = list(killed.glob("step-*")), list(calm.glob("step-*"))
    assert ours.name == theirs.name == "step-00000030"
    for name in ("weights", "average", "optimiser", "memory", "best"):
        a, b = load_file(ours / f"{name}.safetensors"), load_file(theirs / f"{name}.safetensors")
        assert a.keys() == b.keys() and a, name
        assert all(torch.equal(a[key], b[key]) for key in a), name
    assert "random/torch" in load_file(ours / "memory.safetensors")
    states = [json.loads((folder / "state.json").read_text())["position"] for folder in (ours, theirs)]
    assert all(states[0][key] == states[1][key] for key in states[0] if key != "elapsed")
    # Repeated steps were the same steps: same examples, same loss.
    once = {line[0]: line for line in lines(calm)}
    assert len(lines(killed)) > before
    assert all(line == once[line[0]] for line in lines(killed))
