"""A person's folder of pictures: what is seen in it, and the scenario that is written over it."""

import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spearhead.core.errors import InputError
from spearhead.scenario import album, read, scaffold


def fill(folder: Path, count: int, *, side: int = 70, mode: str = "RGB", ending: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new(mode, (side, side + number % 9), number % 256).save(folder / f"{number:03}.{ending}")


def made(tmp_path: Path, data: Path, **options: Any) -> Path:
    return scaffold.new("mine", into=tmp_path / "scenarios", table=data, licence="CC0-1.0", credit="me", **options)


@pytest.mark.parametrize("family", ["gan", "flow", "vae"])
def test_folders_of_pictures_make_a_scenario_that_is_valid_with_its_preset(tmp_path: Path, family: str) -> None:
    fill(tmp_path / "own" / "cat", 40)
    fill(tmp_path / "own" / "三角", 30, mode="L")
    (tmp_path / "own" / "cat" / "notes.txt").write_text("about cats")
    (tmp_path / "own" / "cat" / ".hidden.png").write_bytes(b"")
    seen = album.look(tmp_path / "own")
    assert (dict(seen.classes), seen.side, seen.channels) == ({"cat": 40, "三角": 30}, 64, 3)
    assert "70 pictures of 2 classes, a folder each: cat (40), 三角 (30)" in seen.told and seen.left == "1 .txt"
    folder = made(tmp_path, tmp_path / "own", family=family)
    for preset in ("", "quick"):
        scenario = read.load(folder, preset=preset).scenario
        (source,) = scenario.data.sources
        assert source.reader == "picture", "a text beside the pictures must not become a record"
        assert source.classes == {"cat": ("cat",), "三角": ("三角",)}
        assert scenario.model["family"] == family and scenario.evaluation.features == "classifier"
    assert scenario.scenario.languages == ("en", "zh") and scenario.model["size"] == 32


def test_small_grey_pictures_stay_small_and_grey(tmp_path: Path) -> None:
    fill(tmp_path / "own", 60, side=28, mode="L")
    folder = made(tmp_path, tmp_path / "own")
    scenario = read.load(folder, preset="quick").scenario
    assert (scenario.model["size"], scenario.model["channels"], scenario.data.pictures.size) == (32, 1, 32)
    assert scenario.evaluation.features == "efficientnet-lite0", "there is no class that a classifier could learn"
    assert [bar.metric for bar in scenario.bars] == ["kid"] and not scenario.data.sources[0].classes


def test_a_picture_of_far_too_many_pixels_is_measured_without_a_warning_of_a_library(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    fill(tmp_path / "own", 60, mode="L")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "own" / "large.png")
    recwarn.clear()
    seen = album.look(tmp_path / "own")
    assert (seen.pictures, seen.channels) == (61, 1) and not recwarn.list


def test_a_class_is_asked_for_in_composed_characters_however_its_folder_is_written(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "Café")
    fill(tmp_path / "own" / apart, 30)
    fill(tmp_path / "own" / "tea", 30)
    (source,) = read.load(made(tmp_path, tmp_path / "own")).scenario.data.sources
    assert source.classes[apart] == (unicodedata.normalize("NFC", apart),)


def test_two_folders_of_one_class_are_no_two_classes(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        fill(tmp_path / "own" / unicodedata.normalize(form, "Café"), 30)
    folder = made(tmp_path, tmp_path / "own")
    assert [bar.metric for bar in read.load(folder).scenario.bars] == ["kid"], "there is nothing to tell apart"
    fill(tmp_path / "own" / "tea", 30)
    (tmp_path / "scenarios").rename(tmp_path / "before")
    bars = {bar.metric: bar for bar in read.load(made(tmp_path, tmp_path / "own")).scenario.bars}
    assert bars["class_accuracy"].minimum == 75, "half way from 50, which is chance, to 100"


def test_a_review_template_takes_the_place_of_the_checks(tmp_path: Path) -> None:
    fill(tmp_path / "own", 60)
    text = (made(tmp_path, tmp_path / "own", template="games") / "scenario.toml").read_text("utf-8")
    assert tomllib.loads(text)["review"] == {"template": "games"}


def test_a_folder_that_does_not_do_says_why_and_makes_nothing(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(
        InputError, match=r"holds no picture that is read \(.png, .jpg, .jpeg, .webp\); there are 1 .gif"
    ):
        made(tmp_path, own)
    (own / "a.txt").write_text("words")
    with pytest.raises(InputError, match=r"there are 1 .gif, 1 .txt: .* or one of pictures or of texts"):
        made(tmp_path, own, family="gan")
    fill(own, 10)
    with pytest.raises(InputError, match="holds 10 pictures: wanted 50 at least"):
        made(tmp_path, own)
    fill(own / "cat", 60)
    with pytest.raises(InputError, match=r"10 pictures \(as 000.png\) lie beside folders of pictures"):
        made(tmp_path, own)
    with pytest.raises(InputError, match="--columns names columns of a table"):
        made(tmp_path, own / "cat", columns="a,b")
    with pytest.raises(InputError, match="--family: 'gpt' was given, wanted one of gan, flow, vae"):
        made(tmp_path, own / "cat", family="gpt")
    with pytest.raises(InputError, match="--family says what learns pictures or texts"):
        scaffold.new("mine", into=tmp_path / "scenarios", family="gan")
    assert not (tmp_path / "scenarios" / "mine").exists()
