import csv
import json
import re
import shutil
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Finding
from spearhead.data.config import Cleaning, DataConfig, Source
from spearhead.data.dataset import Dataset
from spearhead.data.prepare import prepare
from spearhead.data.refusal import Refusal
from spearhead.data.split import SPLITS
from spearhead.data.withdraw import affected, holding, withdraw, withdrawn
from spearhead.store.home import Home
from spearhead.store.tables import metadata

WORDS = [f"{a}{b}" for a in ("ba", "do", "ki", "mu", "re", "so", "ta") for b in ("l", "n", "r", "st", "x")]


def sentence(number: int) -> str:
    """A sentence that no other number's nearly repeats."""
    bits = int(digest.of_value(number), 16)
    return " ".join(WORDS[(bits >> (6 * place)) % len(WORDS)] for place in range(12))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", cache=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario's folder with a table of 60 questions and answers."""
    place = tmp_path / "scenario"
    place.mkdir()
    table(place / "pairs.csv", [(f"ask {sentence(n)}", f"say {sentence(n + 1000)}") for n in range(60)])
    return place


def table(path: Path, rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = ("input", "output")) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])


def files(path: str, **fields: Any) -> Source:
    return Source(**{"kind": "files", "licence": "CC0-1.0", "credit": "", "path": path, **fields})


def config(*sources: Source, **fields: Any) -> DataConfig:
    return DataConfig(sources or (files("pairs.csv"),), **{"validation": 0.2, "test": 0.2, "checks": (), **fields})


def outcome(run: Generator[Progress, None, Dataset]) -> tuple[list[Progress], Dataset]:
    seen = []
    while True:
        try:
            seen.append(next(run))
        except StopIteration as end:
            return seen, end.value


def prepared(
    what: DataConfig,
    home: Home,
    folder: Path,
    *,
    checks: Sequence[Check] = (),
    sells: bool = False,
    gone: Collection[str] = (),
) -> Dataset:
    return outcome(prepare(what, home=home, folder=folder, checks=checks, sells=sells, withdrawn=gone))[1]


def everything(data: Dataset) -> dict[str, str]:
    """Record id to split."""
    return {record.id: name for name in SPLITS for record in data.read(name)}


def refused(data: Dataset, kind: str) -> list[Refusal]:
    return [one for one in data.refusals() if one.kind == kind]


# -- what comes out --------------------------------------------------------------------------------------------------
def test_every_record_of_a_table_is_split_three_ways_with_its_rights_and_its_row(home: Home, folder: Path) -> None:
    data = prepared(config(), home, folder)
    assert sum(data.counts().values()) == 60 and all(data.counts().values())
    for split in SPLITS:
        for record in data.read(split):
            row = int(record.source.removeprefix("files:pairs.csv#"))
            assert record.parts["input"].text == f"ask {sentence(row)}"
            assert record.parts["output"].text == f"say {sentence(row + 1000)}"
            assert record.licence.spdx == "CC0-1.0" and record.licence.rights.names == ["train", "share", "sell"]
    assert data.credits()[0].records == 60


def test_the_same_again_reads_no_source_and_gives_the_same_folder(home: Home, folder: Path) -> None:
    first = prepared(config(), home, folder)
    seen, again = outcome(prepare(config(), home=home, folder=folder, checks=(), sells=False, withdrawn=()))
    assert seen == [] and again.digest == first.digest and again.folder == first.folder


def test_equal_data_give_equal_bytes_in_another_place(home: Home, folder: Path, tmp_path: Path) -> None:
    elsewhere = Home(root=tmp_path / "other", cache=tmp_path / "cache2")
    moved = shutil.copytree(folder, tmp_path / "moved")
    one, other = prepared(config(), home, folder), prepared(config(), elsewhere, moved)
    for path in sorted(one.folder.iterdir()):
        assert path.read_bytes() == (other.folder / path.name).read_bytes(), path.name
    assert {path.name for path in one.folder.iterdir()} == {path.name for path in other.folder.iterdir()}


def test_a_changed_file_or_rule_is_another_data_set(home: Home, folder: Path) -> None:
    first = prepared(config(), home, folder).digest
    assert prepared(config(cleaning=Cleaning(longest=500)), home, folder).digest != first
    with (folder / "pairs.csv").open("a") as out:
        out.write("one more question here,one more answer here\n")
    assert prepared(config(), home, folder).digest != first


def test_more_data_never_move_a_record_to_another_split(home: Home, folder: Path) -> None:
    before = everything(prepared(config(), home, folder))
    table(folder / "more.csv", [(f"ask {sentence(n)}", f"say {sentence(n + 1000)}") for n in range(60, 90)])
    after = everything(prepared(config(files("pairs.csv"), files("more.csv")), home, folder))
    assert len(after) == 90 and {record: after[record] for record in before} == before


def test_a_smaller_limit_looks_at_a_subset(home: Home, folder: Path) -> None:
    small, large = (everything(prepared(config(limit=n), home, folder)) for n in (20, 40))
    assert len(small) == 20 and len(large) == 40 and small.items() <= large.items()
    assert prepared(config(limit=20), home, folder).summary["beyond_limit"] == 40


def test_of_two_who_prepare_at_once_neither_takes_away_what_the_other_has(
    home: Home, folder: Path, tmp_path: Path
) -> None:
    def begun(where: Home) -> Generator[Progress, None, Dataset]:
        return prepare(config(), home=where, folder=folder, checks=(), sells=False, withdrawn=())

    seen, _ = outcome(begun(Home(root=tmp_path / "other", cache=tmp_path / "cache")))
    slow = begun(home)
    for _ in seen[:-1]:  # all that comes before it is written
        next(slow)
    first = prepared(config(), home, folder)
    place = (first.folder / "summary.json").stat().st_ino
    _, second = outcome(slow)
    assert second.folder == first.folder and (second.folder / "summary.json").stat().st_ino == place
    assert everything(first) == everything(second)


def test_a_damaged_folder_is_made_anew(home: Home, folder: Path) -> None:
    first = prepared(config(), home, folder)
    wanted = (first.folder / "train.jsonl").read_bytes()
    (first.folder / "train.jsonl").write_bytes(wanted[:-20])
    with pytest.raises(InputError, match=r"train\.jsonl was changed after it was prepared"):
        Dataset.open(first.folder)
    assert (prepared(config(), home, folder).folder / "train.jsonl").read_bytes() == wanted


def test_progress_names_what_is_done_and_never_goes_back(home: Home, folder: Path) -> None:
    seen, _ = outcome(prepare(config(), home=home, folder=folder, checks=(), sells=False, withdrawn=()))
    stages = list(dict.fromkeys(one.stage for one in seen))
    assert stages == ["data: read", "data: clean", "data: check", "data: compare", "data"]
    for stage in stages:
        done = [one.done for one in seen if one.stage == stage]
        assert done == sorted(done) and all(one.done <= one.total for one in seen)


def test_a_stop_at_any_moment_leaves_no_half_folder(home: Home, folder: Path) -> None:
    total = len(outcome(prepare(config(), home=home, folder=folder, checks=(), sells=False, withdrawn=()))[0])
    for stop in range(1, total):
        shutil.rmtree(home.data, ignore_errors=True)
        run = prepare(config(), home=home, folder=folder, checks=(), sells=False, withdrawn=())
        for _ in range(stop):
            next(run)
        run.close()
        assert all(Dataset.open(path) for path in home.data.glob("*/") if path.name != "candidates")


def test_the_description_is_valid_croissant(home: Home, folder: Path) -> None:
    import mlcroissant

    data = prepared(config(files("pairs.csv", licence="CC-BY-4.0", credit="A. Person")), home, folder)
    described = mlcroissant.Dataset(jsonld=data.folder / "croissant.json")
    assert not described.metadata.issues.errors
    rows = list(described.records("test"))
    assert {row["test/id"].decode() for row in rows} == {record.id for record in data.read("test")}
    assert {row["test/output"].decode() for row in rows} == {r.parts["output"].text for r in data.read("test")}


# -- pairs and rights ------------------------------------------------------------------------------------------------
def parallel(folder: Path, count: int = 60) -> None:
    (folder / "old.txt").write_text("".join(f"old {sentence(n)}\n" for n in range(count)))
    (folder / "new.txt").write_text("".join(f"new {sentence(n)}\n" for n in range(count - 1)) + "\n")


def test_two_sources_are_joined_by_key_under_both_licences(home: Home, folder: Path) -> None:
    parallel(folder)
    data = prepared(
        config(
            files("old.txt", part="input", reader="lines", licence="MIT", credit="Old"),
            files("new.txt", part="output", reader="lines", licence="CC-BY-NC-4.0", credit="New"),
            rights=("train", "share"),
        ),
        home,
        folder,
    )
    record = next(data.read("train"))
    assert record.licence.spdx == "MIT AND CC-BY-NC-4.0" and record.licence.credit == "Old; New"
    assert record.licence.rights.names == ["train", "share"]
    assert re.fullmatch(r"files:old\.txt#(\d+) \+ files:new\.txt#\1", record.source)
    assert record.parts["input"].text[4:] == record.parts["output"].text[4:]
    assert [(c.source, c.spdx, c.records) for c in data.credits()] == [
        ("files:new.txt", "CC-BY-NC-4.0", 59),
        ("files:old.txt", "MIT", 59),
    ]
    assert [one.source for one in refused(data, "no partner")] == ["files:old.txt#59"]


def test_non_commercial_data_in_a_scenario_that_sells_are_refused(home: Home, folder: Path) -> None:
    bound = config(files("pairs.csv", licence="CC-BY-NC-4.0", credit="A"), rights=("train", "share"))
    assert prepared(bound, home, folder).counts()["train"] > 0
    with pytest.raises(InputError, match="no record can be used: .*CC-BY-NC-4.0 does not allow to sell"):
        prepared(bound, home, folder, sells=True)


def test_an_unknown_licence_is_refused_with_its_reason_and_its_source_is_not_even_read(
    home: Home, folder: Path
) -> None:
    data = prepared(config(files("pairs.csv"), files("pairs.csv", licence="Homemade-1.0", credit="x")), home, folder)
    assert [(one.source, one.reason) for one in refused(data, "licence")] == [
        (
            "files:pairs.csv",
            "licence 'Homemade-1.0' is not known here, and unknown means no; wanted an SPDX identifier, or "
            "LicenseRef-Proprietary-Own",
        )
    ]
    absent = Source("package", "Homemade", "x", registry="pypi", package="nosuch", version="1", sha256="0" * 64)
    with pytest.raises(InputError, match="unknown means no"):
        prepared(config(absent), home, folder)


def test_each_row_is_judged_by_the_licence_that_it_names(home: Home, folder: Path) -> None:
    names = ["MIT", "CC-BY-NC-4.0", "Homemade"]
    rows = [(sentence(n), sentence(n + 1000), names[n % 3]) for n in range(90)]
    table(folder / "mixed.csv", rows, ("input", "output", "rights"))
    data = prepared(config(files("mixed.csv", licence_column="rights", credit="A")), home, folder, sells=True)
    assert data.summary["licences"] == {"MIT": 30}
    assert len(refused(data, "licence")) == 60


def test_one_output_source_may_serve_two_inputs_but_two_do_not_fit_three(home: Home, folder: Path) -> None:
    parallel(folder)
    (folder / "older.txt").write_text("".join(f"older {sentence(n + 500)} {n}\n" for n in range(60)))
    inputs = [files(name, part="input", reader="lines") for name in ("old.txt", "older.txt")]
    output = files("new.txt", part="output", reader="lines")
    assert sum(prepared(config(*inputs, output), home, folder).counts().values()) == 118
    with pytest.raises(InputError, match='2 usable sources have part = "input" and 3 part = "output"'):
        prepared(config(*inputs, output, output, output), home, folder)


# -- duplicates, checks, languages -----------------------------------------------------------------------------------
def test_exact_and_near_duplicates_are_left_out_and_say_of_what(home: Home, folder: Path) -> None:
    rows = [(f"ask {sentence(n)}", f"say {sentence(n + 1000)}") for n in range(60)]
    same, near = (rows[3][0] + "  ", rows[3][1]), (rows[5][0], rows[5][1] + " again")
    table(folder / "pairs.csv", [*rows, same, near])
    data = prepared(config(), home, folder)
    [exact] = refused(data, "duplicate")
    assert exact.source == "files:pairs.csv#60" and "files:pairs.csv#3" in exact.reason
    close = refused(data, "near-duplicate") + refused(data, "near-duplicate of held-out")
    assert len(close) == 1 and close[0].source in ("files:pairs.csv#5", "files:pairs.csv#61")


@dataclass(frozen=True)
class NoX:
    """A check of our own that looks for words with an x, and cannot look at one text."""

    name: str = "no-x"
    modality: str = "text"
    reach: int = 10

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        assert context.direction == "data" and context.scenario == "scenario"
        if "kix" in item.text:
            raise RuntimeError("cannot look")
        severity = 0.9 if "bax" in item.text else 0.4
        return [Finding(self.name, "letter", severity, f"found in {item.text!r}")] if "x" in item.text else []


def test_severe_findings_keep_a_record_out_and_their_text_is_not_kept(home: Home, folder: Path) -> None:
    shares = config(validation=0.34, test=0.34)
    plain, checked = prepared(shares, home, folder), prepared(shares, home, folder, checks=[NoX()])
    texts = {r.id: " ".join(p.text for p in r.parts.values()) for split in SPLITS for r in plain.read(split)}
    wanted = {record for record, text in texts.items() if "bax" not in text and "kix" not in text}
    assert 0 < len(wanted) < 60 and set(everything(checked)) == wanted
    reasons = {one.reason for one in refused(checked, "check:no-x")}
    assert any(reason.endswith(": letter (0.90)") for reason in reasons)
    assert any("the check failed to look" in reason for reason in reasons)
    assert not any("bax" in line for line in (checked.folder / "refusals.jsonl").read_text().splitlines())


@pytest.mark.parametrize("limits", [{"*": 0.5, "letter": 0.95}, {"*": 0.0, "letter": None}])
def test_from_which_severity_on_a_finding_keeps_a_record_out_is_handed_in(
    limits: dict[str, float | None], home: Home, folder: Path
) -> None:
    shares = config(validation=0.34, test=0.34)
    plain = prepared(shares, home, folder, checks=[NoX()])
    run = prepare(shares, home=home, folder=folder, checks=[NoX()], sells=False, withdrawn=(), limits=limits)
    lenient = outcome(run)[1]
    assert everything(plain).keys() < everything(lenient).keys() and plain.digest != lenient.digest
    assert {one.reason for one in refused(lenient, "check:no-x")} == {
        f"the check failed to look at {part}: RuntimeError" for part in ("input", "output")
    }
    with pytest.raises(InputError, match="of the 1 usable records"):  # a category without a limit is out, however mild
        run = prepare(
            shares, home=home, folder=folder, checks=[NoX()], sells=False, withdrawn=(), limits={"other": 1.0}
        )
        outcome(run)


@pytest.mark.parametrize(
    ("columns", "has"),
    [
        ({"input": "input"}, "input"),
        ({"output": "input"}, "output"),
        ({"input": "input", "text": "output"}, "input and text"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_no_record(
    columns: dict[str, str], has: str, home: Home, folder: Path
) -> None:
    with pytest.raises(InputError, match=f"60 x incomplete .*has {has} alone: wanted input and output, or text"):
        prepared(config(files("pairs.csv", columns=columns)), home, folder)


def test_too_few_records_are_told_with_what_was_left_out(home: Home, folder: Path) -> None:
    (folder / "same.csv").write_text("input,output\n" + "ask,answer\n" * 60)
    with pytest.raises(InputError, match=r"none of the 1 usable records .*; 59 were left out: 59 x duplicate"):
        prepared(config(files("same.csv")), home, folder)


def test_a_record_in_another_language_is_left_out(home: Home, folder: Path) -> None:
    english = [f"This is the sentence about number {n} and the {WORDS[n % 35]} house on the hill." for n in range(60)]
    french = "Bonjour tout le monde, il fait beau ce matin et nous allons au marché."
    (folder / "lines.txt").write_text("\n".join([*english, french]) + "\n")
    source = files("lines.txt", reader="lines", part="text")
    data = prepared(config(source, cleaning=Cleaning(languages=("en",)), near=1.0), home, folder)
    assert [one.source for one in refused(data, "language")] == ["files:lines.txt#60"]
    assert sum(data.counts().values()) == 60


# -- withdrawing -----------------------------------------------------------------------------------------------------
def test_a_withdrawn_record_is_gone_from_the_next_data_set_and_only_there(home: Home, folder: Path) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    before = prepared(config(), home, folder)
    victim = next(before.read("train")).id
    withdraw(home, engine, victim, "asked by its author")
    assert withdrawn(engine) == {victim: "asked by its author"}
    after = prepared(config(), home, folder, gone=withdrawn(engine))
    left = everything(before)
    left.pop(victim)
    assert everything(after) == left and after.digest != before.digest
    assert [one.record for one in refused(after, "withdrawn")] == [victim]
    assert affected([f"{one}\n" for one in everything(before)], withdrawn(engine)) == [victim]
    # Data that never held the record are not prepared anew.
    table(folder / "other.csv", [(f"x {sentence(n + 5000)}", "y " + sentence(n + 6000)) for n in range(60)])
    other = prepared(config(files("other.csv")), home, folder)
    assert prepared(config(files("other.csv")), home, folder, gone=withdrawn(engine)).digest == other.digest


def test_the_folders_that_hold_a_withdrawn_text_are_found_and_no_other(home: Home, folder: Path) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    before = prepared(config(), home, folder)
    assert holding(home, engine) == []
    withdraw(home, engine, next(before.read("test")).id, "asked by its author")
    after = prepared(config(), home, folder, gone=withdrawn(engine))
    assert after.folder.exists() and holding(home, engine) == [before.folder]


def test_withdrawing_needs_a_known_record_a_reason_and_happens_once(home: Home, folder: Path) -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    record = next(prepared(config(), home, folder).read("test")).id
    with pytest.raises(InputError, match="is in no data set"):
        withdraw(home, engine, "0" * 64, "asked")
    with pytest.raises(InputError, match="is not a record id"):
        withdraw(home, engine, "../etc", "asked")
    with pytest.raises(InputError, match="needs a reason"):
        withdraw(home, engine, record, " ")
    withdraw(home, engine, record, "asked")
    with pytest.raises(InputError, match="withdrawn already"):
        withdraw(home, engine, record, "asked")


# -- bad input -------------------------------------------------------------------------------------------------------
def mixed_folder(folder: Path) -> Path:
    place = folder / "texts"
    place.mkdir()
    for n in range(30):
        (place / f"{n:02}.txt").write_text(f"text {sentence(n)}")
    (place / "empty.txt").write_bytes(b"")
    (place / "picture.txt").write_bytes(b"\x89PNG\r\n\0\0\0")
    (place / "latin.txt").write_bytes("na\u00efve words".encode("latin-1"))
    (place / "unknown.xyz").write_text("words")
    (place / "million.txt").write_text("word " * 200_000)
    (place / ".hidden").write_text("words")
    return place


def test_bad_files_in_a_folder_are_listed_and_the_good_ones_used(home: Home, folder: Path) -> None:
    mixed_folder(folder)
    data = prepared(config(files("texts")), home, folder)
    assert sum(data.counts().values()) == 30
    unread = {one.source: one.reason for one in refused(data, "unread")}
    assert sorted(unread) == [
        f"files:texts#{name}" for name in ("empty.txt", "latin.txt", "picture.txt", "unknown.xyz")
    ]
    [long] = refused(data, "long")
    assert (
        long.source == "files:texts#million.txt" and long.reason == "text has 999999 characters, wanted at most 20000"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.csv", b"", "empty.csv: is empty"),
        ("binary.csv", b"\0\1\2", "looks binary"),
        ("latin.txt", "na\u00efve".encode("latin-1"), "is not utf-8"),
        ("header.csv", b"input,output\n", "the sources hold none"),
        ("long.txt", b"x" * 1_000_000, "text has 1000000 characters"),
    ],
)
def test_nothing_usable_is_said_with_the_reason(
    home: Home, folder: Path, name: str, content: bytes, reason: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match="no record can be used") as error:
        prepared(config(files(name)), home, folder)
    assert reason in str(error.value) and "\n" not in str(error.value)
    assert not [path for path in home.data.iterdir() if path.name != "candidates"]


def test_too_few_records_to_hold_any_out_is_said_with_what_to_do(home: Home, folder: Path) -> None:
    table(folder / "few.csv", [("one question", "one answer"), ("another thing", "entirely different")])
    with pytest.raises(InputError, match=r"none of the 2 usable records came to .*: bring more records, or change"):
        prepared(config(files("few.csv"), validation=0.02, test=0.02), home, folder)


def test_a_sum_that_a_file_has_changes_nothing_of_what_is_prepared(home: Home, folder: Path) -> None:
    given = digest.of_file(folder / "pairs.csv")
    free, sure = (prepared(config(files("pairs.csv", **more)), home, folder) for more in ({}, {"sha256": given}))
    assert free.folder == sure.folder
    with pytest.raises(InputError, match=r"data\.sources\.sha256: pairs\.csv has .*, the scenario says 0{64}: this is"):
        prepared(config(files("pairs.csv", sha256="0" * 64)), home, folder)


def test_a_place_that_is_not_there_is_named(home: Home, folder: Path) -> None:
    with pytest.raises(InputError, match="path 'nosuch.csv' is not there"):
        prepared(config(files("nosuch.csv")), home, folder)
    with pytest.raises(InputError, match="needs the path of a file or a folder"):
        prepared(config(files("")), home, folder)
    with pytest.raises(InputError, match="names no file"):
        prepared(config(files("*.nosuch")), home, folder)
    with pytest.raises(InputError, match="'ftp' is unknown, there are files, hub, package"):
        prepared(config(replace(files("pairs.csv"), kind="ftp")), home, folder)


def test_the_refusals_and_the_summary_agree(home: Home, folder: Path) -> None:
    mixed_folder(folder)
    data = prepared(config(files("texts")), home, folder)
    counted: dict[str, int] = {}
    for one in data.refusals():
        counted[one.kind] = counted.get(one.kind, 0) + 1
    summary = json.loads((data.folder / "summary.json").read_text())
    assert summary["refusals"] == counted == {"unread": 4, "long": 1}
    assert summary["considered"] == 35


def test_an_unknown_split_is_named(home: Home, folder: Path) -> None:
    data = prepared(config(), home, folder)
    with pytest.raises(InputError, match="split 'dev' is unknown: wanted train, validation, test"):
        list(data.read("dev"))
    with pytest.raises(InputError, match="is not a prepared data folder"):
        Dataset.open(folder)


@pytest.fixture(autouse=True)
def _nothing_left_behind(home: Home) -> Iterator[None]:
    yield
    if home.data.exists():
        assert not [path for path in home.data.iterdir() if path.name.startswith(".")], "a draft was left"


# -- conversations ---------------------------------------------------------------------------------------------------
def conversations(folder: Path, count: int = 60) -> DataConfig:
    """As many conversations of two exchanges under one system message."""
    with (folder / "talks.jsonl").open("w", encoding="utf-8") as out:
        for n in range(count):
            said = [
                f"ask {sentence(n)}",
                f"say {sentence(n + 1000)}",
                f"more {sentence(n + 2000)}",
                "so " + sentence(n + 3000),
            ]
            turns = [{"role": ("user", "assistant")[at % 2], "content": words} for at, words in enumerate(said)]
            out.write(json.dumps({"messages": [{"role": "system", "content": "Be short. "}, *turns]}) + "\n")
    return config(files("talks.jsonl", columns={"messages": "messages"}))


def test_a_conversation_is_a_record_for_each_answer_all_in_one_split(home: Home, folder: Path) -> None:
    data = prepared(conversations(folder), home, folder)
    assert sum(data.counts().values()) == 120 and all(data.counts().values()) and data.conversing == 120
    homes: dict[str, set[str]] = {}
    for split in SPLITS:
        for record in data.read(split):
            homes.setdefault(record.source.rpartition(".")[0], set()).add(split)
            assert record.before[0] == {"role": "system", "content": "Be short."}, "as clean as any other part"
    assert len(homes) == 60 and all(len(splits) == 1 for splits in homes.values())
    assert prepared(config(), home, folder).conversing == 0


def test_a_conversation_is_valid_croissant_too(home: Home, folder: Path) -> None:
    import mlcroissant

    data = prepared(conversations(folder), home, folder)
    described = mlcroissant.Dataset(jsonld=data.folder / "croissant.json")
    assert not described.metadata.issues.errors
    rows = list(described.records("test"))
    assert {row["test/before_000_system"].decode() for row in rows} == {"Be short."}


class Secrets(NoX):
    """A check that looks for one word."""

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        return [Finding(self.name, "word", 0.9, "found")] if "secret" in item.text else []


def test_checks_and_withdrawals_see_what_was_said_before(home: Home, folder: Path) -> None:
    what = conversations(folder)
    lines = (folder / "talks.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "talks.jsonl").write_text(
        "\n".join([lines[0].replace("ask ", "ask secret "), *lines[1:]]), encoding="utf-8"
    )
    data = prepared(what, home, folder, checks=(Secrets(),))
    assert [one.source for one in refused(data, "check:no-x")] == ["files:talks.jsonl#0.1", "files:talks.jsonl#0.2"]
    first, second = sorted((r for s in SPLITS for r in data.read(s) if "#7." in r.source), key=lambda r: r.source)
    after = prepared(what, home, folder, checks=(Secrets(),), gone=(first.id,))
    assert {one.record for one in refused(after, "withdrawn")} == {first.id, second.id}
    last = prepared(what, home, folder, checks=(Secrets(),), gone=(second.id,))
    assert {one.record for one in refused(last, "withdrawn")} == {second.id}


def test_two_answers_that_say_the_same_once_they_are_clean_are_no_preference(home: Home, folder: Path) -> None:
    rows = [(f"ask {sentence(n)}", f"say {sentence(n + 1000)}", f"no {sentence(n + 2000)}") for n in range(30)]
    header = ("input", "output", "rejected")
    table(folder / "pairs.csv", [*rows, ("ask again", "the same", " the same\r\n")], header)
    data = prepared(config(files("pairs.csv", columns={name: name for name in header})), home, folder)
    assert sum(data.counts().values()) == 30 and data.summary["refusals"] == {"alike": 1}
    (refused,) = data.refusals()
    assert refused.reason == "the answer that is preferred and the one that is not say the same"


def test_both_answers_of_a_preference_are_cleaned_alike(home: Home, folder: Path) -> None:
    rows = [(f"ask {sentence(n)}", f"[1] say {sentence(n)}", f"[2] no {sentence(n + 1000)}") for n in range(30)]
    header = ("input", "output", "rejected")
    table(folder / "pairs.csv", rows, header)
    source = files("pairs.csv", columns={name: name for name in header})

    def begins(**drop: str) -> set[str]:
        data = prepared(config(source, cleaning=Cleaning(drop=drop)), home, folder)
        return {record.parts[part].text[:3] for record in data.read("train") for part in ("output", "rejected")}

    assert begins(output=r"\[\d\] ") == {"say", "no "}
    assert begins(output=r"\[\d\] ", rejected=r"\[9\]") == {"say", "[2]"}, "unless it has a rule of its own"
