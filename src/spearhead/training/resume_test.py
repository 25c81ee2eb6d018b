"""Killed at any step and started again, a run ends bit for bit where it would have ended."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

SEED = 0
"""Chooses the examples, and where each run is killed: any other must do as well."""
RUN = """
import json, os, random, signal, sys, time
from pathlib import Path
import numpy as np, torch
from spearhead.models.gan import network, tiny
from spearhead.models.gan.config import PRESETS
from spearhead.models.pictures import pack as pack_pictures
from spearhead.models.pretrained.batch import Example, pack
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import Base, Config
from spearhead.models.pretrained.network import Perturbation
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import train
from spearhead.training.plan import Plan

base, folder, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
examples = [Example(tuple(int(i) for i in rng.integers(3, 259, rng.integers(6, 31))), 3) for _ in range(40)]
plan = Plan(steps=30, batch=6, micro_batch=4, learning_rate=1e-2, save_every=3, validate_every=4, seed=seed)


def tuned(method, plan, **more):
    config = Config(base=Base("CC0-1.0", ""), method=method, rank=4, dropout=0.1)
    return build(config, base, steps=plan.steps, seed=0, **more), examples, examples[:8], pack, plan


def adalora():
    noisy = Perturbation(noise=5.0)
    return tuned("adalora", Plan(**{**vars_of(plan), "embedding_noise": 5.0, "optimiser": "muon", "average": 0.9}),
                 perturbation=noisy)


def full():
    return tuned("full", Plan(**{**vars_of(plan), "schedule": "cosine", "learning_rate": 1e-3}))


def gan():
    short = Plan(**{**vars_of(plan), "micro_batch": 0, "average": 0.95, "clip": 0.0, "precision": "fp32"})
    model = network.build(PRESETS["debug"], tiny.SHAPE, steps=short.steps, seed=0)
    return model, tiny.kinds(60, seed=seed), tiny.kinds(30, seed=seed + 1), pack_pictures, short


def vars_of(plan):
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


def learn(made, place, stays):
    model, learnt, held, packed, plan = made()
    batches = Batches(learnt, packed, plan=plan)
    with place.with_suffix(".order").open("a") as out:
        for step in train(model, batches, plan, validation=held_out(held, packed, plan=plan), folder=place):
            row = [step.number, batches.indices(step.number - 1), step.loss, step.validation]
            out.write(json.dumps(row) + chr(10))
            out.flush()
            if stays and step.number == 29:  # it is killed on the way, however late the kill comes
                signal.pause()


def began(made, place, stays=False):
    if (child := os.fork()) == 0:
        try:
            learn(made, place, stays)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def done(place):
    file = place.with_suffix(".order")
    return sum(line.endswith("]") for line in file.read_text().splitlines()) if file.exists() else 0


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


chance = random.Random(seed)
for made in (adalora, full, gan):
    calm, killed = folder / made.__name__ / "calm", folder / made.__name__ / "killed"
    calm.parent.mkdir()
    undisturbed, victim, step = began(made, calm), began(made, killed, True), chance.randrange(1, 25)
    while done(killed) < step:
        assert os.waitpid(victim, os.WNOHANG) == (0, 0), made.__name__
        time.sleep(0.002)
    time.sleep(chance.random() * 0.03)  # anywhere: between two steps, inside one, while it is saved
    os.kill(victim, signal.SIGKILL)
    assert ended(victim) == -signal.SIGKILL, f"{made.__name__} was at its end before it was killed"
    before = done(killed)
    assert ended(began(made, killed)) == 0 and ended(undisturbed) == 0
    print(made.__name__, before, flush=True)
"""


def lines(folder: Path) -> list[list[object]]:
    whole = folder.with_suffix(".order").read_text().splitlines()
    return [json.loads(line) for line in whole if line.endswith("]")]


def same(ours: Path, theirs: Path, name: str) -> bool:
    a, b = load_file(ours / f"{name}.safetensors"), load_file(theirs / f"{name}.safetensors")
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_kill_at_any_step_and_resume_is_bit_identical(tiny: Path, tmp_path: Path) -> None:
    """Two methods and a picture family of two groups, each killed at a step and a moment that SEED chooses."""
    words = [sys.executable, "-W", "ignore", "-c", RUN, str(tiny), str(tmp_path), str(SEED)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    reached = {name: int(before) for name, before in map(str.split, done.stdout.splitlines())}
    assert reached.keys() == {"adalora", "full", "gan"}
    for name, before in reached.items():
        calm, killed = tmp_path / name / "calm", tmp_path / name / "killed"
        assert 1 <= before < 30, "it was killed on the way"
        (ours,), (theirs,) = list(killed.glob("step-*")), list(calm.glob("step-*"))
        assert ours.name == theirs.name == "step-00000030"
        kept = {file.name for file in ours.iterdir()}
        assert kept == {file.name for file in theirs.iterdir()} >= {"weights.safetensors", "optimiser.safetensors"}
        assert all(same(ours, theirs, file.stem) for file in ours.glob("*.safetensors")), name
        assert "random/torch" in load_file(ours / "memory.safetensors")
        states = [json.loads((folder / "state.json").read_text())["position"] for folder in (ours, theirs)]
        assert all(states[0][key] == states[1][key] for key in states[0] if key != "elapsed")
        # Repeated steps were the same steps: same examples, same loss.
        once = {line[0]: line for line in lines(calm)}
        assert len(lines(killed)) > before
        assert all(line == once[line[0]] for line in lines(killed)), name
