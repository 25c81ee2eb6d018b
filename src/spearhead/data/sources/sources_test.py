import zipfile
from pathlib import Path

import pytest

from spearhead.core import digest
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.data.config import Source
from spearhead.data.items import Item, SourceReader, Unread
from spearhead.store.home import Home

SOURCES = Catalogue("spearhead.data.sources", "SOURCE")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", cache=tmp_path / "cache")


def source(kind: str, **fields: str | dict[str, str] | tuple[str, ...]) -> Source:
    return Source(**{"kind": kind, "licence": "CC0-1.0", "credit": "", **fields})  # type: ignore[arg-type]


def items(which: Source, home: Home, folder: Path) -> list[Item | Unread]:
    reader: SourceReader = SOURCES[which.kind]
    return list(reader.read(which, home=home, folder=folder))


def test_every_folder_is_a_source_under_its_own_name() -> None:
    assert sorted(SOURCES) == ["files", "hub", "package"]
    assert [SOURCES[name].name for name in SOURCES] == sorted(SOURCES)


# -- package ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def package(home: Home, tmp_path: Path) -> Source:
    """A package that is in the cache already, so that no client is asked."""
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as box:
        box.writestr("tiny/a.jsonl", '{"text": "one"}\n{"text": "two"}\n')
        box.writestr("tiny/more/b.jsonl", '{"text": "three"}\n')
        box.writestr("tiny/code.py", "raise SystemExit")
    sha = digest.of_file(path)
    shelf = home.packages / sha
    shelf.mkdir(parents=True)
    path.rename(shelf / path.name)
    return source("package", registry="pypi", package="tiny", version="1.0", sha256=sha, member="tiny/a.jsonl")


def test_a_member_of_a_package_is_read(package: Source, home: Home, tmp_path: Path) -> None:
    assert items(package, home, tmp_path) == [Item("0", {"text": "one"}), Item("1", {"text": "two"})]
    assert SOURCES["package"].label(package) == "pypi:tiny==1.0"


def test_a_glob_reads_several_members_and_keys_name_them(package: Source, home: Home, tmp_path: Path) -> None:
    several = source(**{**_fields(package), "member": "**/*.jsonl"})
    keys = [item.key for item in items(several, home, tmp_path)]
    assert keys == ["tiny/a.jsonl:0", "tiny/a.jsonl:1", "tiny/more/b.jsonl:0"]


def test_a_member_that_is_not_there_is_named_with_what_is(package: Source, home: Home, tmp_path: Path) -> None:
    absent = source(**{**_fields(package), "member": "tiny/b.jsonl"})
    with pytest.raises(InputError, match=r"pypi:tiny==1.0 has no member 'tiny/b.jsonl': it holds tiny/a\.jsonl"):
        items(absent, home, tmp_path)


def test_a_package_needs_its_sum(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sha256 is empty"):
        SOURCES["package"].fingerprint(
            source("package", registry="pypi", package="tiny", version="1.0"), home=home, folder=tmp_path
        )


def _fields(one: Source) -> dict[str, str]:
    names = ("kind", "registry", "package", "version", "sha256", "member")
    return {name: getattr(one, name) for name in names}


# -- files -----------------------------------------------------------------------------------------------------------
def test_a_folder_is_read_in_the_order_of_names_and_a_glob_chooses(home: Home, tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    for name in ("d/b.txt", "d/a.txt", "d/e/c.txt", "d/.hidden.txt"):
        (tmp_path / name).write_text(name)
    assert [item.key for item in items(source("files", path="d"), home, tmp_path)] == ["a.txt", "b.txt", "e/c.txt"]
    assert [item.key for item in items(source("files", path="d/*.txt"), home, tmp_path)] == ["d/a.txt", "d/b.txt"]


def test_endings_choose_among_the_files_of_a_folder(home: Home, tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    for name in ("d/a.csv", "d/b.TXT", "d/e/c.md", "d/e/txt"):
        (tmp_path / name).write_text(name)
    some = source("files", path="d", reader="text", endings=(".txt", ".md"))
    assert [item.key for item in items(some, home, tmp_path)] == ["b.TXT", "e/c.md"]
    none = source("files", path="d", endings=(".jsonl",))
    with pytest.raises(InputError, match=r"'d' names no file that ends in .jsonl"):
        items(none, home, tmp_path)


def test_a_fingerprint_changes_with_the_content_alone(home: Home, tmp_path: Path) -> None:
    one = source("files", path="a.txt")
    (tmp_path / "a.txt").write_text("x")
    before = SOURCES["files"].fingerprint(one, home=home, folder=tmp_path)
    (tmp_path / "a.txt").touch()
    assert SOURCES["files"].fingerprint(one, home=home, folder=tmp_path) == before
    (tmp_path / "a.txt").write_text("y")
    assert SOURCES["files"].fingerprint(one, home=home, folder=tmp_path) != before


def test_a_file_with_the_sum_that_is_given_is_read_and_no_other(home: Home, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    given, other = digest.of_bytes(b"x"), digest.of_bytes(b"y")
    files, meant = SOURCES["files"], source("files", path="a.txt", sha256=given)
    assert files.fault(meant, tmp_path) == ""
    assert [item.key for item in items(meant, home, tmp_path)] == [""]
    free = files.fingerprint(source("files", path="a.txt"), home=home, folder=tmp_path)
    assert files.fingerprint(meant, home=home, folder=tmp_path) == free
    (tmp_path / "a.txt").write_text("y")
    said = f"sha256: a.txt has {other}, the scenario says {given}: this is not the file that was meant"
    assert files.fault(meant, None) == "" and files.fault(meant, tmp_path).startswith(said)
    for ask in (lambda: files.fingerprint(meant, home=home, folder=tmp_path), lambda: items(meant, home, tmp_path)):
        with pytest.raises(InputError, match=rf"^data\.sources\.{said}[^\n]*$"):
            ask()


@pytest.mark.parametrize("path", ["d", "d/*.txt"])
def test_a_sum_is_of_one_file_and_of_no_folder(path: str, home: Home, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.txt").write_text("x")
    given, files = digest.of_bytes(b"x"), SOURCES["files"]
    many = source("files", path=path, sha256=given)
    what = "a folder" if path == "d" else "a pattern"
    said = f"sha256: {given} was given for {path}, which is {what}: wanted the path of one file"
    assert files.fault(many, tmp_path) == said
    assert files.fault(source("files", path=path), tmp_path) == "", "without a sum they do"
    for ask in (lambda: files.fingerprint(many, home=home, folder=tmp_path), lambda: items(many, home, tmp_path)):
        with pytest.raises(InputError) as caught:
            ask()
        assert str(caught.value) == f"data.sources.{said}"


@pytest.mark.parametrize("given", ["12", "g" * 64, "A" * 64, "a" * 65, "a" * 64 + "\n"])
def test_what_is_no_sum_is_refused_before_the_file_is_looked_for(given: str) -> None:
    wanted = f"sha256: of a.txt is {given!r}: wanted 64 hexadecimal characters in lower case"
    assert SOURCES["files"].fault(source("files", path="a.txt", sha256=given), None) == wanted


# -- hub -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def local_copy(tmp_path: Path) -> Path:
    import datasets

    rows = {"question": ["Why?", "How?"], "answer": ["Because.", "So."], "score": [1.0, 2.0]}
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows), "test": datasets.Dataset.from_dict(rows)})
    whole.save_to_disk(str(tmp_path / "copy"))
    return tmp_path / "copy"


def test_a_local_copy_of_a_hub_data_set_is_read_offline(home: Home, tmp_path: Path, local_copy: Path) -> None:
    columns = {"input": "question", "output": "answer"}
    wanted = [Item("0", {"input": "Why?", "output": "Because."}), Item("1", {"input": "How?", "output": "So."})]
    assert items(source("hub", dataset="copy", columns=columns), home, tmp_path) == wanted
    assert items(source("hub", dataset="copy/test", columns=columns), home, tmp_path) == wanted, "one split alone"
    with pytest.raises(InputError, match="copy has no split 'dev': it has train, test"):
        items(source("hub", dataset="copy", split="dev", columns=columns), home, tmp_path)


def test_a_local_folder_of_data_files_is_read_through_the_library(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert items(source("hub", dataset="mine"), home, tmp_path) == [
        Item("0", {"text": "one"}),
        Item("1", {"text": "two"}),
    ]


def test_conversations_of_a_hub_data_set_are_read_with_the_tools_that_stand_beside_them(
    home: Home, tmp_path: Path
) -> None:
    import datasets

    talk = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
    rows = {"messages": [talk, talk], "tools": ["", "[{}]"], "score": [1.0, 2.0]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "copy"))
    assert items(source("hub", dataset="copy", columns={"messages": "messages"}), home, tmp_path) == [
        Item("0.1", {"input": "Who?", "output": "I."}),
        Unread("1", "column 'tools' offers tools: a scenario calls none"),
    ]


def test_preferences_of_a_hub_data_set_are_known_without_columns(home: Home, tmp_path: Path) -> None:
    import datasets

    asked, good, bad = (
        {"role": r, "content": c} for r, c in (("user", "Who?"), ("assistant", "I."), ("assistant", "A."))
    )
    rows = {"prompt": ["Who?"], "chosen": [[asked, good]], "rejected": [[asked, bad]], "score": [1.0]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "copy"))
    wanted = [Item("0", {"input": "Who?", "output": "I.", "rejected": "A."})]
    columns = {"input": "prompt", "output": "chosen", "rejected": "rejected"}
    assert items(source("hub", dataset="copy"), home, tmp_path) == wanted
    assert items(source("hub", dataset="copy", columns=columns), home, tmp_path) == wanted


def test_a_local_copys_fingerprint_follows_its_files(home: Home, tmp_path: Path, local_copy: Path) -> None:
    one = source("hub", dataset="copy")
    before = SOURCES["hub"].fingerprint(one, home=home, folder=tmp_path)
    (local_copy / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert SOURCES["hub"].fingerprint(one, home=home, folder=tmp_path) != before


def test_a_row_of_a_hub_data_set_that_cannot_be_had_is_told_in_one_line(home: Home, tmp_path: Path) -> None:
    import datasets

    kinds = datasets.Features({"text": datasets.Value("string"), "seen": datasets.Image()})
    rows = {"text": ["a"], "seen": [{"bytes": b"no picture", "path": None}]}
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(str(tmp_path / "seen"))
    with pytest.raises(InputError, match="hub:seen cannot be read: cannot identify image file"):
        items(source("hub", dataset="seen"), home, tmp_path)
    assert items(source("hub", dataset="seen", columns={"text": "text"}), home, tmp_path)


def test_a_name_of_the_hub_needs_its_commit_and_a_lost_copy_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="revision of 'someone/things' is empty: name the commit"):
        SOURCES["hub"].fingerprint(source("hub", dataset="someone/things"), home=home, folder=tmp_path)
    with pytest.raises(InputError, match=r"'\./lost' is not there"):
        items(source("hub", dataset="./lost"), home, tmp_path)


def test_a_broken_local_copy_is_said_in_one_line(home: Home, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/state.json").write_text("{")
    with pytest.raises(InputError, match="hub:broken cannot be read") as error:
        items(source("hub", dataset="broken"), home, tmp_path)
    assert "\n" not in str(error.value)


def test_a_label_does_not_tell_where_on_a_machine_data_lie(tmp_path: Path) -> None:
    for kind, field in (("files", "path"), ("hub", "dataset")):
        assert (
            SOURCES[kind]
            .label(source(kind, **{field: str(tmp_path / "my pictures")}))
            .startswith(f"{kind}:my pictures")
        )
        assert SOURCES[kind].label(source(kind, **{field: "own/pictures"})).startswith(f"{kind}:own/pictures")
