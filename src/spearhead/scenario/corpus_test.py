"""A person's texts: what is seen in them, and the scenario that is written over them."""

import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spearhead.core.errors import InputError
from spearhead.scenario import album, corpus, read, scaffold

WORDS = ["the old", "fisherman", "and a", "young", "baker", "walked", "slowly home", "over hills", "in water"]
SIGNS = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少白日依山尽黄河入海流欲穷千里目更上一层楼"


def paragraphs(count: int, *, words: int = 20, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) + "." for _ in range(count)]


def fill(folder: Path, *, files: int = 4, each: int = 60, between: str = "\n\n") -> Path:
    for number in range(files):
        place = folder / ("deep/er" if number % 2 else ".") / f"{number}.{'TXT' if number else 'md'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(between.join(paragraphs(each, seed=number)) + "\n", encoding="utf-8")
    return folder


def pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number:03}.png")


def made(tmp_path: Path, data: Path, **options: Any) -> Path:
    return scaffold.new("mine", into=tmp_path / "scenarios", table=data, licence="CC0-1.0", **options)


def test_a_folder_of_texts_makes_a_scenario_that_is_valid_with_its_preset(tmp_path: Path) -> None:
    own = fill(tmp_path / "own")
    (own / "deep" / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (own / ".hidden.txt").write_text("none of it", encoding="utf-8")
    (own / "latin.txt").write_bytes(b"caf\xe9 ")
    seen = corpus.look(own)
    assert (seen.texts, seen.records, seen.reader, seen.encoding) == (4, 240, "paragraphs", "utf-8")
    assert f"4 texts of {seen.characters:,} characters; each of their 240 paragraphs is a record" in seen.told
    assert seen.left == "1 .csv" and seen.left_out.startswith("1 cannot be learnt from and is left out: latin.txt is ")
    folder = made(tmp_path, own)
    for preset in ("", "quick"):
        scenario = read.load(folder, preset=preset).scenario
        (source,) = scenario.data.sources
        assert (source.kind, source.path, source.reader) == ("files", str(own), "paragraphs")
        assert source.endings == (".txt", ".md") and source.credit == "the owner of the texts"
        assert scenario.model["family"] == "gpt" and scenario.baselines == ("ngram",)
        assert [(bar.metric, bar.beats, bar.cases) for bar in scenario.bars] == [("bits_per_byte", ("ngram",), 12)]
    assert scenario.scenario.languages == ("en",)


def test_one_file_whose_paragraphs_are_lines_is_learnt_line_by_line_in_its_own_encoding(tmp_path: Path) -> None:
    rng = random.Random(0)
    lines = ["".join(rng.choices(SIGNS, k=100)) for _ in range(300)]
    file = tmp_path / "novel.txt"
    file.write_bytes("\n".join(lines).encode("gb18030"))
    (source,) = read.load(made(tmp_path, file)).scenario.data.sources
    assert (source.reader, source.encoding, source.endings) == ("lines", "gb18030", ())
    assert corpus.look(file).languages == ("zh",)


def test_many_short_files_are_learnt_whole_and_long_records_make_a_longer_context(tmp_path: Path) -> None:
    for number, verse in enumerate(paragraphs(250, words=50)):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / f"{number}.txt").write_text(f"A verse\n\n{verse}\n", encoding="utf-8")
    scenario = read.load(made(tmp_path, tmp_path / "own")).scenario
    assert scenario.data.sources[0].reader == "text" and scenario.model["context"] == 512


def test_too_little_text_is_refused_with_numbers_and_makes_nothing(tmp_path: Path) -> None:
    own = fill(tmp_path / "own", files=2, each=20)
    (own / "a.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    numbers = (
        r"holds 2 texts of 6,\d\d\d characters, with 40 paragraphs of 8 words or more: wanted 20,000 .* and 200 of"
    )
    with pytest.raises(InputError, match=f"{numbers} .*; beside them lie 1 .csv: to learn from a table, name"):
        made(tmp_path, own)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"Name Number {number}" for number in range(5000)), encoding="utf-8")
    with pytest.raises(InputError, match="holds 1 text of .* characters, with 0 lines of 8 words or more"):
        made(tmp_path, names)
    assert not (tmp_path / "scenarios" / "mine").exists()


def test_texts_in_several_encodings_are_told_and_not_garbled(tmp_path: Path) -> None:
    own = fill(tmp_path / "own")
    (own / "a.txt").write_bytes((SIGNS * 3).encode("gb18030"))
    (own / "b.txt").write_bytes((SIGNS * 3).encode())
    with pytest.raises(InputError, match=r"in gb18030 \(as a.txt\) and utf-8 \(as b.txt\): save all of them in UTF-8"):
        made(tmp_path, own)


def test_of_pictures_and_texts_the_family_says_which_where_both_are_enough(tmp_path: Path) -> None:
    own = fill(tmp_path / "own")
    pictures(own, album.FEWEST - 1)
    assert corpus.holds(own) and corpus.look(own).left == "49 .png", "too few pictures to learn from are left aside"
    pictures(own, album.FEWEST)
    with pytest.raises(InputError, match=r"holds 50 pictures \(as 000.png\) and 4 texts \(as 0.md\)"):
        made(tmp_path, own)
    texts = made(tmp_path, own, family="gpt")
    assert read.load(texts).scenario.scenario.modality == "text"
    assert not corpus.holds(own, family="gan")


def test_what_does_not_go_with_texts_is_said(tmp_path: Path) -> None:
    own = fill(tmp_path / "own", each=250)
    with pytest.raises(InputError, match="--columns names columns of a table, and .* is of texts"):
        made(tmp_path, own, columns="a,b")
    with pytest.raises(InputError, match="--family: 'gan' was given, wanted gpt for texts"):
        made(tmp_path, own / "0.md", family="gan")
    with pytest.raises(InputError, match="Give --licence"):
        scaffold.new("mine", into=tmp_path, table=own)
