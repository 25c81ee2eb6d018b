"""Promises of the command line: quick help, one line for a mistake, the right exit code, JSON where it is asked for."""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spearhead import cli
from spearhead.core import digest
from spearhead.pipeline import health
from spearhead.provenance import signing
from spearhead.reference import pages
from spearhead.scenario.read import json_schema
from spearhead.store.home import Home

ROOT = Path(__file__).parents[1]


def spearhead(*words: str, home: Path, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spearhead.cli", *words, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
    )


def here(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has what a verb imports: where many are asked one after another."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli.main([*words, "--home", str(home)])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def test_help_answers_in_a_fifth_of_a_second_of_work() -> None:
    def once() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "spearhead.cli", "--help"], capture_output=True, check=True)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert statistics.median(once() for _ in range(5)) < 0.2  # processor time: the machine may be busy


def test_a_file_that_is_not_the_one_that_was_meant_stops_check_and_data_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert here("new", "dates", home=tmp_path / "home").returncode == 0
    folder = tmp_path / "scenarios" / "dates"
    given, file, table = digest.of_file(folder / "pairs.csv"), folder / "scenario.toml", folder / "pairs.csv"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('path = "pairs.csv"\n', f'path = "pairs.csv"\nsha256 = "{given}"\n'), encoding="utf-8")
    for verb in (["check"], ["data", "--quiet"]):
        assert here(*verb, str(folder), home=tmp_path / "home").returncode == 0
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))  # as a transfer between systems may change it
    said = f"data.sources.0.sha256: pairs.csv has {digest.of_file(table)}, the scenario says {given}"
    for verb in (["check"], ["data", "--quiet"]):
        done = here(*verb, str(folder), home=tmp_path / "home")
        assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
        assert said in done.stderr


def test_check_says_what_of_the_training_follows_from_the_models_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = (ROOT / "scenarios" / "tang-quatrains" / "scenario.toml").read_text(encoding="utf-8")
    file = tmp_path / "scenario.toml"
    file.write_text(raw.replace("\nsteps = 20000\n", "\n"), encoding="utf-8")
    assert cli.main(["check", str(file), "--set", "model.depth=4"]) == 0
    assert "training, where it says nothing: steps 966 (they follow from the model's size)" in capsys.readouterr().out
    assert cli.main(["check", str(ROOT / "scenarios" / "tang-quatrains")]) == 0
    assert "follow" not in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from spearhead import cli; cli.parser().format_help();"
        "print([m for m in ('torch','numpy','pydantic','rich','sqlalchemy','transformers') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


MISTAKES = [
    (("check", "nowhere"), "there is no such file"),
    (("run", "scenarios/modern-english", "--preset", "tiny"), "there is no such preset"),
    (("run", "scenarios/modern-english", "--set", "training.steps"), "wanted KEY=VALUE"),
    (("run", "scenarios/modern-english", "--set", "training.stepz=3"), "did you mean 'steps'?"),
    (("data",), "name a scenario"),
    (("data", "withdraw", "abc"), "is not a record id"),
    (("data", "withdraw"), "name a record by its id"),
    (("check",), "name a scenario"),
    (("train", "scenarios/modern-english", "--time-budget", "nan"), "training.minutes: nan was given"),
    (("trace", "scenarios"), "a folder, wanted a file"),
    (("generate", "nothing", "hello"), "there is no release in"),
    (("serve", "nothing"), "there is no release in"),
    (("trace", "nowhere.txt"), "there is no such file"),
    (("verify", "nowhere.txt"), "there is no such file"),
    (("keys", "block"), "--key"),
    (("keys", "credit", "--amount", "much"), "is not an amount"),
    (("keys", "credit", "--amount", "-5"), "--amount -5: wanted more than 0"),
    (("keys", "create", "--days", "99999999999"), "--days 99999999999: wanted 1 to 36,500"),
    (("keys", "create", "--days", "-1"), "--days -1: wanted 1 to 36,500"),
    (("store", "restore", "README.md"), "is not a SQLite database"),
    (("withdraw", "out_0", "--reason", "x"), "There is no output 'out_0'"),
    (("audit", "verify", "README.md"), "no signed head of an audit log"),
    (("audit", "show", "README.md"), "takes no FILE"),
    (("new", "Bad Name"), "is no name for a scenario"),
]
ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from spearhead import cli
from spearhead.core import digest
from spearhead.pipeline import health

answers = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = cli.main(words)
    answers.append([code, said.getvalue()])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[int, str]]:
    """Exit code and stderr of each of MISTAKES, in one fresh process: what an import says stands among them."""
    home = tmp_path_factory.mktemp("mistaken")
    asked = [[*words, "--home", str(home / str(number))] for number, (words, _) in enumerate(MISTAKES)]
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    answers = json.loads(done.stdout)
    return {words: (code, said) for (words, _), (code, said) in zip(MISTAKES, answers, strict=True)}


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: tuple[str, ...], said: str, mistaken: dict[tuple[str, ...], tuple[int, str]]
) -> None:
    code, stderr = mistaken[words]
    assert code == 2, stderr
    assert said in stderr
    assert len(stderr.strip().splitlines()) == 1, stderr
    assert "Traceback" not in stderr


def test_a_mistake_is_json_too_when_json_is_asked_for(tmp_path: Path) -> None:
    done = spearhead("check", "nowhere", "--json", home=tmp_path)
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2


@pytest.mark.parametrize(
    "words", [("chekc", "x"), ("run",), ("keys", "create", "--days", "soon"), ("run", "x", "--st")]
)
def test_words_that_make_no_sense_are_one_line_and_json_too(words: tuple[str, ...], tmp_path: Path) -> None:
    done = spearhead(*words, "--json", home=tmp_path)
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "--help" in done.stderr and "Traceback" not in done.stderr


def test_advice_names_no_package_that_is_not_ours() -> None:
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "pip install spearhead" not in text and "pip install 'spearhead[" not in text, file


def test_keys_are_made_shown_once_and_blocked(tmp_path: Path) -> None:
    made = json.loads(here("keys", "create", "--json", home=tmp_path).stdout)
    assert made["secret"].startswith("sk-spear-")
    listed = here("keys", "list", home=tmp_path)
    assert made["key"] in listed.stdout and made["secret"] not in listed.stdout
    assert "5.00 USD available" in here("keys", "credit", "--amount", "5.00", "--once", "a", home=tmp_path).stdout
    assert "5.00 USD available" in here("keys", "credit", "--amount", "5.00", "--once", "a", home=tmp_path).stdout
    assert here("keys", "block", "--key", made["key"], home=tmp_path).returncode == 0
    assert "blocked" in here("keys", "list", home=tmp_path).stdout


def test_the_first_key_too_has_the_name_and_the_end_that_were_asked_for(tmp_path: Path) -> None:
    made = json.loads(here("keys", "create", "--days", "1", "--name", "boss", "--json", home=tmp_path).stdout)
    assert made["name"] == "boss"
    assert timedelta(hours=23) < datetime.fromisoformat(made["expires"]) - datetime.now(UTC) <= timedelta(days=1)
    (listed,) = json.loads(here("keys", "list", "--json", home=tmp_path).stdout)["keys"]
    assert (listed["name"], listed["expires"]) == ("boss", made["expires"])


def test_the_database_goes_into_a_backup_and_comes_back(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy.db"
    here("keys", "create", home=home)
    here("keys", "credit", "--amount", "2.50", home=home)
    assert here("store", "backup", str(copy), home=home).returncode == 0
    here("keys", "credit", "--amount", "1.00", home=home)
    assert here("store", "restore", str(copy), home=home).returncode == 0
    assert "2.50 USD available" in here("keys", "balance", home=home).stdout


def test_doctor_says_what_it_sees(tmp_path: Path) -> None:
    done = spearhead("doctor", "--json", home=tmp_path / "home")
    answer = json.loads(done.stdout)
    found = {row["what"]: row for row in answer["findings"]}
    assert answer["purpose"] == "training", "for torch is here"
    assert found["python"]["seen"].startswith("3.")
    assert found["torch"]["seen"].startswith("2.13.0")
    assert not (tmp_path / "home").exists()  # it looks and changes nothing


def test_doctor_counts_what_training_wants_only_where_somebody_trains(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")
    small = health.Finding("memory", "1.0 GiB", "wanted 5 GiB or more", "training")
    lacking = health.Finding("fastapi", "not installed", "make setup")
    for purpose, findings, code in (
        ("serving", (small,), 0),
        ("training", (small,), 1),
        ("serving", (lacking,), 1),
        ("training", (lacking,), 1),
        ("training", (), 0),
    ):
        seen = health.look(home, purpose=purpose)
        well = tuple(finding for finding in seen.findings if not finding.advice)
        assert health.Health((*well, *findings), purpose).exit_code == code
    served = health.Health((health.Finding("python", "3.11"), small), "serving").lines()
    assert served[0] == "for serving:" and served[1].startswith("✓ python")
    assert served[2].startswith("for training (not what") and served[3].startswith("- memory  1.0 GiB\n    → wanted")
    for purpose in health.PURPOSES:
        answer = json.loads(here("doctor", purpose, "--json", home=home.root).stdout)
        torch = next(row for row in answer["findings"] if row["what"] == "torch")
        assert (answer["purpose"], torch["purpose"]) == (purpose, "training")


@pytest.mark.parametrize(
    ("content", "seen"), [(b"x" * 3000, "is not a SQLite database"), (b"SQLite format 3\0" + b"x" * 3000, "is damaged")]
)
def test_doctor_finds_a_database_that_cannot_be_used(content: bytes, seen: str, tmp_path: Path) -> None:
    (tmp_path / "spearhead.db").write_bytes(content)
    done = here("doctor", "--json", home=tmp_path)
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["what"] == "database"]
    assert done.returncode == 1 and found["seen"].startswith(seen) and "store restore" in found["advice"]
    assert (tmp_path / "spearhead.db").read_bytes() == content


def test_doctor_finds_a_release_that_would_not_be_served_here(tmp_path: Path, make_release: Any) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")
    make_release(home.releases)

    def found() -> dict[str, dict[str, str]]:
        done = here("doctor", "--json", home=home.root)
        return {row["what"]: row for row in json.loads(done.stdout)["findings"]}

    well = found()
    assert well["release tiny@v1"]["seen"] == "whole and signed" and "signing key" not in well
    assert not well["xllamacpp"]["advice"]
    home.secrets.rename(tmp_path / "left-behind")
    bare = found()
    assert bare["release tiny@v1"]["seen"] == "whole" and "secrets" in bare["signing key"]["advice"]
    assert not home.secrets.exists()  # it looks and changes nothing
    signing.ensure(home)
    foreign = found()["release tiny@v1"]
    assert foreign["seen"] == "not as it was released here" and "another key" in foreign["advice"]
    (home.secrets / "release.key").write_bytes(b"short")
    assert "restore it from a backup" in found()["signing key"]["advice"]


def test_the_generated_reference_is_up_to_date() -> None:
    for name, text in pages().items():
        assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == text, f"run `make docs`: {name}"


def test_every_key_of_a_scenario_is_explained_in_the_reference_and_to_editors() -> None:
    rows = [line.split(" | ") for line in pages()["scenario.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 150 and [row[0] for row in rows if len(row[1].strip()) < 5] == []
    schema = json_schema()
    tables = [*schema["$defs"].values(), *schema["properties"]["model"]["oneOf"]]
    keys = [key for table in tables for key in table.get("properties", {}).items() if key[0] != "family"]
    assert len(keys) > 150
    # What points to a table that says the same of itself needs no words of its own.
    assert [name for name, key in keys if "description" not in key and "$ref" not in key] == []


def verbs() -> dict[str, argparse.ArgumentParser]:
    """Every verb with its own words."""
    (found,) = (one for one in cli.parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(found.choices)


def test_every_verb_of_the_design_is_there_takes_json_and_says_its_exit_codes() -> None:
    wanted = "new check data train evaluate release run generate serve keys trace verify report doctor audit"
    assert set(wanted.split()) <= set(verbs())
    for verb in verbs().values():
        assert "--json" in verb.format_usage()
        told = " ".join(verb.format_help().split())
        assert all(f"{code} " in told for code in (0, 1, 2, 3)) and cli.EXIT_CODES in told
    for name in ("train", "evaluate", "release", "run", "search", "demo"):
        assert "--device" in verbs()[name].format_usage()


def test_what_answers_answers_in_json(tmp_path: Path) -> None:
    asked = f"""new dates --into {tmp_path}
        check {tmp_path}/dates
        keys create
        keys list
        people list
        bill plans
        store migrate
        audit verify
        audit show
        release dates --action list
        report dates
        verify {ROOT}/README.md"""
    for verb in asked.splitlines():
        done = here(*verb.split(), "--json", home=tmp_path / "home")
        told = json.loads(done.stdout)
        assert done.returncode in (0, 1) or told["exit_code"] == done.returncode == 2, verb


def test_an_interrupted_verb_says_so_in_one_line(tmp_path: Path) -> None:
    import signal

    process = subprocess.Popen(
        [sys.executable, "-m", "spearhead.cli", "generate", "x", "-", "--home", str(tmp_path)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    assert process.stdin is not None
    process.stdin.write("word " * 40_000)  # more than a pipe holds: it has come to where it reads its question
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.strip() == "spearhead: stopped; the same command goes on where it was cut off"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch brings another OpenMP")
@pytest.mark.parametrize(("said", "wanted"), [({}, "'1000'"), ({"GOMP_SPINCOUNT": "77"}, "'77'")])
def test_threads_that_wait_sleep_soon_unless_the_environment_says_otherwise(
    said: dict[str, str], wanted: str, tmp_path: Path
) -> None:
    code = "import sys; from spearhead.cli import main; main(['check', sys.argv[1]]); import torch"
    outside = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**outside, **said, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert f"GOMP_SPINCOUNT = {wanted}" in done.stderr


def _torch_asks_for_too_much() -> None:
    import torch

    torch.empty(1 << 55, dtype=torch.uint8)


@pytest.mark.parametrize("greedy", [lambda: bytes(1 << 55), _torch_asks_for_too_much])
def test_memory_that_ran_out_is_one_line_that_says_what_to_ask_less_of(
    greedy: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "doctor", lambda options: greedy())
    done = here("doctor", "--json", home=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(f"spearhead: {cli.STARVED} (")
    assert "Traceback" not in done.stderr and json.loads(done.stdout)["exit_code"] == 1
    monkeypatch.setattr(cli, "doctor", lambda options: [][1])
    with pytest.raises(IndexError):  # a mistake of ours is no want of memory
        here("doctor", home=tmp_path)
