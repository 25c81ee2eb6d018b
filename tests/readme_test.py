"""Promises of the README: its lines run as they stand, its links lead somewhere, and the Chinese one says the same."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def lines() -> list[str]:
    """The commands of the README's shell block."""
    block = re.search(r"```sh\n(.*?)```", README, re.S)
    assert block is not None
    return [line for line in block.group(1).splitlines() if line.strip()]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """Every line of the README, run in an empty folder in its order; only the cache of packages is shared."""
    folder = tmp_path_factory.mktemp("newcomer")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env.pop("SPEARHEAD_HOME", None)
    done = {}
    for line in lines():
        done[line] = subprocess.run(
            shlex.split(line), cwd=folder, env=env, capture_output=True, text=True, timeout=420, check=False
        )
        assert done[line].returncode == 0, f"{line}\n{done[line].stdout}\n{done[line].stderr}"
    done["folder"] = subprocess.CompletedProcess([], 0, str(folder), "")
    return done


def test_the_ten_lines_of_the_readme_run(walked: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert len(lines()) == 10
    shown = walked["spearhead release dates --action list"].stdout
    assert "dates@1" in shown and "passing" in shown
    assert "the labels hold" in walked["spearhead verify answer.txt"].stdout


def test_the_trace_leads_from_the_file_to_licences_and_credits(
    walked: dict[str, subprocess.CompletedProcess[str]],
) -> None:
    traced = walked["spearhead trace answer.txt"].stdout
    assert "dates@1" in traced
    assert "CC0-1.0" in traced and "made by spearhead new" in traced
    assert "Apache-2.0" in traced and "SmolLM2" in traced


def test_a_second_run_does_nothing(walked: dict[str, subprocess.CompletedProcess[str]]) -> None:
    folder = walked["folder"].stdout
    again = subprocess.run(
        [sys.executable, "-m", "spearhead.cli", "run", "scenarios/dates", "--preset", "quick", "--json", "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = json.loads(again.stdout)
    assert [step["step"] for step in told["steps"] if step["ran"]] == []
    assert told["release"].endswith("dates/1")


def test_the_readmes_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("scenarios/*/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_the_chinese_readme_has_the_same_commands() -> None:
    other = (ROOT / "README.zh.md").read_text(encoding="utf-8")
    for block in re.findall(r"```(?:sh)?\n(.*?)```", README, re.S):
        for line in block.splitlines():
            if line.startswith(("spearhead ", "make ")):
                assert line.split("  ")[0].strip() in other, line


def test_every_scenario_has_a_page_that_names_its_commands() -> None:
    for file in ROOT.glob("scenarios/*/scenario.toml"):
        page = file.with_name("README.md").read_text(encoding="utf-8")
        assert f"scenarios/{file.parent.name}" in page
