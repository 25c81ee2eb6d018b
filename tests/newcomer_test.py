"""Promises to one who is new here: a slip is met with the word that was meant, and every verb names the next."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import start_server

from spearhead import __version__, cli
from spearhead.core.clock import now
from spearhead.core.errors import InputError
from spearhead.pipeline import pictures
from spearhead.pipeline.admitted import admitted
from spearhead.pipeline.show import drive
from spearhead.provenance import audit
from spearhead.scenario import read, scaffold
from spearhead.service.serve import bind
from spearhead.store.home import Home


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.main(words)
    told = capsys.readouterr()
    return code, told.err if code else told.out


@pytest.mark.parametrize(
    ("words", "meant"),
    [(("rnu", "x"), "'rnu' is unknown; did you mean 'run'?"), (("keys", "crate"), "did you mean 'create'?")],
)
def test_a_misspelt_verb_is_told_what_was_meant(
    words: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = said(capsys, *words)
    assert code == 2 and meant in line and "choose from" not in line


def test_a_verb_like_no_other_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = said(capsys, "zzz")
    assert code == 2 and "'zzz' is unknown; wanted one of new, check, data" in line


def test_a_scenario_named_without_its_folder_is_found_for_you(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`spearhead new NAME`" in said(capsys, "check", "dates")[1]
    scaffold.new("dates", into=Path("scenarios"))
    code, line = said(capsys, "check", "dates")
    assert code == 2 and "did you mean scenarios/dates?" in line


def test_check_and_data_name_the_next_command_with_the_same_preset_and_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scaffold.new("dates", into=tmp_path / "my scenarios")
    asked = [str(folder), "--preset", "quick", "--set", "training.steps=5"]
    for verb, following in (("check", "data"), ("data", "run")):
        code, told = said(capsys, verb, *asked, "--home", str(tmp_path / "home"))
        assert code == 0
        assert shlex.split(told.splitlines()[-1]) == ["next:", "spearhead", following, *asked]


def test_a_table_with_names_of_columns_alone_makes_no_scenario(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "my.csv"
    table.write_text("input,output\n\n", encoding="utf-8")
    code, line = said(capsys, "new", "mine", "--into", str(tmp_path), "--data", str(table), "--licence", "CC0-1.0")
    assert code == 2 and "no row below them" in line and not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            "运费由我们承担，请把退货单贴在包裹外面，仓库收到后三天内退款到您的账户。您也可以换一个颜色。",
            "zh (as its answers are; change it",
        ),
        ("42", "en (its answers do not tell; change it"),
    ],
)
def test_new_says_which_languages_it_took_the_answers_for_and_what_the_base_model_knows(
    answer: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "my.csv"
    table.write_text(f"input,output\na,{answer}\n", encoding="utf-8")
    code, lines = said(capsys, "new", "mine", "--into", str(tmp_path), "--data", str(table), "--licence", "CC0-1.0")
    assert code == 0 and f"scenario.languages: {told}" in lines
    assert ("knows little but English" in lines) == (answer != "42")


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "dates", "1 May 1999"),
        ("serve", "dates", "--port", "0"),
        ("serve", "--port", "0"),
        ("report", "dates"),
        ("policy", "dates"),
        ("release", "dates", "--action", "list"),
    ],
)
def test_who_asks_in_another_folder_is_told_where_was_looked_and_leaves_nothing_there(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPEARHEAD_HOME", raising=False)
    code, line = said(capsys, *words)
    assert str(tmp_path / ".spearhead" / "releases") in line and "spearhead run SCENARIO" in line
    assert code == 0 or (code == 2 and "--home or SPEARHEAD_HOME names another home" in line)
    assert list(tmp_path.iterdir()) == []


def test_an_account_that_is_not_there_and_a_licence_of_ones_own_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("keys", "credit", "--account", "shop", "--amount", "5.00", "--home", str(tmp_path / "home"))
    assert "`spearhead keys create --account NAME` makes one" in said(capsys, *asked)[1]
    table = tmp_path / "my.csv"
    table.write_text("input,output\na,b\n", encoding="utf-8")
    code, line = said(capsys, "new", "m", "--into", str(tmp_path), "--data", str(table), "--licence", "mine")
    assert code == 2 and "wanted an SPDX identifier, or LicenseRef-Proprietary-Own" in line


def test_a_server_that_no_key_may_ask_says_how_to_make_one(serve_tiny: Any) -> None:
    server = serve_tiny()
    log = server.home.root / "server.log"
    told = "no key may ask yet: `spearhead keys create` makes the first"
    assert log.read_text(encoding="utf-8").count(told) == 1
    server.key(server.account())
    server.close()
    start_server(server.home.root).close()
    assert log.read_text(encoding="utf-8").count(told) == 1


def test_a_promotion_without_a_version_says_what_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = said(capsys, "release", "dates", "--action", "promote", "--home", str(tmp_path))
    assert code == 2 and "which version? wanted SCENARIO@VERSION; there are: none of it" in line


def test_the_audit_log_shows_money_and_lists_as_people_write_them(served: Any) -> None:
    detail = {"amount": 5_250_000_000, "currency": "USD", "scopes": ["generate", "read"]}
    audit.append(served.engine, actor="command line", action="credit given", subject="acct_x", detail=detail, clock=now)
    page = served.guest(served.account(), "auditor").get("/audit").text
    assert "<small>amount</small> 5.25 USD<" in page and "<small>scopes</small> generate, read<" in page


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_cannot_be_is_refused_and_no_other_takes_its_place(port: int) -> None:
    with pytest.raises(InputError, match=f"--port {port}: wanted 1 to 65535"):
        bind("127.0.0.1", port)


def test_a_folder_of_pictures_is_told_by_class_and_leads_to_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(80):
        folder = tmp_path / "my pictures" / ("disc" if number % 2 else "三角")
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((40, 40)).save(folder / f"{number}.png")
    (tmp_path / "my pictures" / "disc" / "notes.txt").write_text("about discs")
    given = ["--into", str(tmp_path), "--data", str(tmp_path / "my pictures"), "--licence", "CC0-1.0"]
    code, told = said(capsys, "new", "mine", *given)
    assert code == 0 and "80 pictures of 2 classes, a folder each: disc (40), 三角 (40)" in told
    assert "left aside, no PNG, JPEG or WebP picture: 1 .txt" in told
    following = shlex.split(told.splitlines()[-1])
    assert following == ["next:", "spearhead", "run", str(tmp_path / "mine"), "--preset", "quick"]
    code, told = said(capsys, "data", str(tmp_path / "mine"), "--quiet", "--home", str(tmp_path / "home"))
    assert code == 0 and "a picture of 32 x 32 pixels, in colour" in told and "bytes" not in told
    head, disc, triangle = (told.splitlines()[told.splitlines().index("") + row] for row in (1, 2, 3))
    assert head.split() == ["class", "train", "validation", "test"]
    for line, name in ((disc, "disc"), (triangle, "三角")):
        assert line.split()[0] == name and sum(map(int, line.split()[1:])) == 40


def test_a_text_among_pictures_is_named_and_not_blamed_on_a_class(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(60):
        noise = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((40, 40)).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("about nothing")
    place = scaffold.new("mine", into=tmp_path, table=folder, licence="CC0-1.0")
    file = place / "scenario.toml"
    file.write_text(file.read_text("utf-8").replace('reader = "picture"\n', ""), "utf-8")
    loaded = read.load(place)
    data = drive(admitted(loaded, Home(tmp_path / "home", tmp_path / "cache")), quiet=True)
    with pytest.raises(InputError, match=r'notes.txt holds words and no picture: set reader = "picture"'):
        pictures.judgeable(loaded, data)


def test_a_folder_of_texts_is_made_checked_and_admitted_by_the_commands_that_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    words = ["the old", "fisherman", "and a", "young", "baker", "walked", "slowly home", "over hills", "in water"]
    for number in range(5):
        place = tmp_path / "my texts" / ("deep/er" if number % 2 else ".") / f"{number}.{'txt' if number else 'md'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n\n".join(" ".join(rng.choice(words, 20)) for _ in range(60)), encoding="utf-8")
    (tmp_path / "my texts" / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    given = ["--into", str(tmp_path), "--data", str(tmp_path / "my texts"), "--licence", "CC0-1.0"]
    code, told = said(capsys, "new", "mine", *given)
    assert code == 0 and re.search(r"5 texts of [\d,]+ characters; each of their 300 paragraphs is a record", told)
    assert "left aside, no .txt or .md file: 1 .csv" in told and "scenario.languages: en (as the texts are" in told
    following = shlex.split(told.splitlines()[-1])
    assert following == ["next:", "spearhead", "run", str(tmp_path / "mine"), "--preset", "quick"]
    code, told = said(capsys, "check", str(tmp_path / "mine"), "--preset", "quick")
    assert code == 0 and "is a valid scenario" in told
    code, told = said(capsys, "data", str(tmp_path / "mine"), "--quiet", "--home", str(tmp_path / "home"), "--json")
    found = json.loads(told)
    counts = found["data"]["records"].values()
    assert code == 0 and sum(counts) == 300 and min(counts) > 10 and not found["data"]["refusals"]
    code, line = said(capsys, "new", "less", *given[:3], str(tmp_path / "my texts" / "deep"), *given[4:])
    assert code == 2 and "holds 2 texts of" in line and "with 120 paragraphs of 8 words or more: wanted" in line


def test_a_table_of_pictures_and_captions_makes_no_scenario_of_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "captions.csv"
    table.write_text("file,caption\na.png,a red fox\nb/c.JPG,a hen\n", encoding="utf-8")
    for columns in ([], ["--columns", "caption,file"]):
        given = ["--into", str(tmp_path), "--data", str(table), "--licence", "CC0-1.0", *columns]
        code, line = said(capsys, "new", "mine", *given)
        assert code == 2 and "column 'file' names picture files" in line and "folder of the pictures" in line


def test_a_release_without_a_report_is_not_given_that_of_another_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_release: Callable[..., Path]
) -> None:
    page = tmp_path / "runs" / "tiny" / "report-1" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>a run that reached no release")
    assert said(capsys, "report", "tiny", "--home", str(tmp_path)) == (0, f"{page}\n")
    make_release(tmp_path / "releases")
    code, line = said(capsys, "report", "tiny", "--home", str(tmp_path))
    assert code == 2 and "tiny@v1 has no report" in line


def test_data_that_are_not_there_are_told_so_before_their_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = said(capsys, "new", "mine", "--data", str(tmp_path / "pictures"), "--licence", "CC0-1.0")
    assert code == 2 and "there is no such file" in line


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "spearhead", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__
