"""Promises about what is installed: one exact torch, no torchvision, pins everywhere, one way for CI and people."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKE = (ROOT / "Makefile").read_text()


def test_one_exact_torch_is_named_wherever_it_is_named() -> None:
    extras = PROJECT["optional-dependencies"]
    assert "torch==2.13.0" in extras["train"]
    assert set(re.findall(r"\btorch==[\w.]+", MAKE)) == {"torch==2.13.0"}
    assert "TORCH_INDEX ?=\n" in MAKE and "--extra-index-url $(TORCH_INDEX)" in MAKE
    serving = [*PROJECT["dependencies"], *extras["review"], *extras["openvino"], *extras["postgres"]]
    assert not [one for one in serving if re.match(r"torch|transformers|peft", one)], "what serves needs none of them"


def test_every_dependency_that_runs_is_pinned() -> None:
    extras = {name: found for name, found in PROJECT["optional-dependencies"].items() if name != "dev"}
    every = [*PROJECT["dependencies"], *(one for found in extras.values() for one in found)]
    assert [one for one in every if not re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+(;|$)", one.replace(" ", ""))] == []


def test_torchvision_is_used_nowhere() -> None:
    assert "torchvision" not in (ROOT / "pyproject.toml").read_text() + MAKE
    named = re.compile(r"^\s*(import|from)\s+torchvision\b", re.M)
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    assert len(files) > 300
    assert [str(file) for file in files if named.search(file.read_text(encoding="utf-8"))] == []


def test_ci_runs_what_people_run() -> None:
    steps = re.findall(r"^make (\w+)$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert steps == ["setup", "check", "test"]
    targets = set(re.findall(r"^([a-z]+):", MAKE, re.M))
    assert {"setup", "demo", "test", "check", "docs", "bench"} <= targets
    checks = MAKE.partition("\ncheck:")[2].partition("\n\n")[0]
    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "spearhead.reference --check"):
        assert tool in checks
    for file in re.findall(r"benchmarks/\w+\.py", MAKE):
        assert (ROOT / file).is_file(), file
