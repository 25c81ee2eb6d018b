"""From a folder or an IDX pair of pictures to a data set: classes, duplicates, splits and what is refused."""

import io
import json
import struct
import zlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spearhead.core.errors import InputError
from spearhead.data import pictures
from spearhead.data.config import DataConfig, PictureRules, Source
from spearhead.data.dataset import Dataset
from spearhead.data.prepare import prepare
from spearhead.data.split import SPLITS
from spearhead.index import pictures as near_pictures
from spearhead.store.home import Home

KINDS = ("bag", "shoe")


def drawn(number: int, *, side: int = 24) -> pictures.Pixels:
    """A picture like no other number's."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def save(path: Path, found: pictures.Pixels, form: str = "PNG", **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(found).save(path, form, **options)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", cache=tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario's folder with 60 pictures of two classes."""
    for number in range(60):
        save(tmp_path / "scenario/pictures" / KINDS[number % 2] / f"{number:02}.png", drawn(number))
    return tmp_path / "scenario"


def files(path: str = "pictures", **fields: Any) -> Source:
    return Source(**{"kind": "files", "licence": "CC0-1.0", "credit": "", "path": path, **fields})


def config(*sources: Source, **fields: Any) -> DataConfig:
    return DataConfig(sources or (files(),), **{"validation": 0.2, "test": 0.2, "checks": (), **fields})


def prepared(what: DataConfig, home: Home, folder: Path, gone: Collection[str] = ()) -> Dataset:
    run = prepare(what, home=home, folder=folder, checks=(), sells=False, withdrawn=gone)
    while True:
        try:
            next(run)
        except StopIteration as end:
            found: Dataset = end.value
            return found


def refused(data: Dataset, kind: str) -> dict[str, str]:
    return {one.source.rpartition("/")[2]: one.reason for one in data.refusals() if one.kind == kind}


def test_a_folder_of_pictures_becomes_records_of_class_and_picture(home: Home, folder: Path) -> None:
    data = prepared(config(), home, folder)
    assert sum(data.counts().values()) == 60 and all(data.counts().values())
    assert {name: sum(found.values()) for name, found in data.classes().items()} == {"bag": 30, "shoe": 30}
    for split in SPLITS:
        ids = []
        for record in data.read(split):
            number = int(record.source[-6:-4])
            assert record.parts["input"].text == KINDS[number % 2]
            assert record.parts["output"].mime == "image/png" and record.licence.spdx == "CC0-1.0"
            assert (pictures.pixels(record.parts["output"]) == drawn(number)).all()
            ids.append(record.id)
        assert ids == sorted(ids)


def test_equal_pictures_give_equal_files_in_another_place(home: Home, folder: Path, tmp_path: Path) -> None:
    one = prepared(config(), home, folder)
    other = prepared(config(), Home(root=tmp_path / "other", cache=tmp_path / "cache"), folder)
    for path in sorted(one.folder.iterdir()):
        assert path.read_bytes() == (other.folder / path.name).read_bytes(), path.name


def test_the_scenario_names_the_classes_in_its_languages(home: Home, folder: Path) -> None:
    named = files(classes={"bag": ("handbag", "包"), "shoe": ("shoe", "鞋", "boot")})
    data = prepared(config(named), home, folder)
    assert set(data.classes()) == {"handbag", "shoe"}
    assert data.names() == {"包": "handbag", "鞋": "shoe", "boot": "shoe"}
    fewer = prepared(config(replace(named, classes={"bag": ("handbag",)})), home, folder)
    assert set(fewer.classes()) == {"handbag"} and len(refused(fewer, "unread")) == 30
    wrongs: list[tuple[dict[str, tuple[str, ...]], str]]
    wrongs = [({"bag": ("a", "x"), "shoe": ("b", "x")}, "'x' names 'a' and 'b'"), ({"bag": ()}, "no name")]
    for wrong, reason in wrongs:
        with pytest.raises(InputError, match=reason):
            prepared(config(replace(named, classes=wrong)), home, folder)


def test_no_copy_of_a_held_out_picture_is_left_to_learn_from(home: Home, folder: Path) -> None:
    for number in range(60):  # every picture once more, enlarged and compressed
        large = Image.fromarray(drawn(number)).resize((48, 48), Image.Resampling.BICUBIC)
        save(folder / "pictures" / KINDS[number % 2] / f"again{number:02}.jpg", np.asarray(large), "JPEG", quality=90)
    data = prepared(config(), home, folder)
    near, held = refused(data, "near-duplicate"), refused(data, "near-duplicate of held-out")
    assert len(near) + len(held) == 60 and len(held) > 5
    kept = {int(record.source[-6:-4]): split for split in SPLITS for record in data.read(split)}
    assert len(kept) == 60, "one of the two stays"
    learnt, judged = (
        near_pictures.thumbnails(pictures.pixels(r.parts["output"]) for split in names for r in data.read(split))
        for names in (("train",), ("validation", "test"))
    )
    assert max(near_pictures.similarity(one[None], learnt).max() for one in judged) < 0.9


def test_the_same_pixels_in_another_file_are_the_same_record(home: Home, folder: Path) -> None:
    save(folder / "pictures/bag/same.webp", drawn(0), "WEBP", lossless=True)
    assert set(refused(prepared(config(), home, folder), "duplicate")) == {"same.webp"}


def test_thousands_may_share_the_words_of_a_class(home: Home, folder: Path) -> None:
    data = prepared(config(), home, folder)
    assert data.summary["refusals"] == {}


def test_bad_pictures_in_a_folder_are_listed_and_the_good_ones_used(home: Home, folder: Path) -> None:
    place = folder / "pictures/bag"
    save(place / "huge.png", np.zeros((40, 600, 3), np.uint8))
    save(place / "tiny.png", drawn(1, side=5))
    (place / "cut.png").write_bytes((place / "00.png").read_bytes()[:100])
    (place / "words.png").write_text("words")
    frames = [Image.fromarray(drawn(n)) for n in (100, 101)]
    frames[0].save(place / "moving.webp", save_all=True, append_images=frames[1:])
    Image.fromarray(drawn(102)).convert("CMYK").save(place / "print.jpg", quality=95)
    Image.fromarray(drawn(103)).convert("L").save(place / "grey.png")
    data = prepared(config(), home, folder)
    assert sum(data.counts().values()) == 62
    wrong = refused(data, "picture")
    assert set(wrong) == {"huge.png", "tiny.png", "cut.png", "moving.webp"}
    assert "set data.pictures.size" in wrong["huge.png"] and "animation" in wrong["moving.webp"]
    assert set(refused(data, "unread")) == {"words.png"}
    sized = prepared(config(pictures=PictureRules(size=16)), home, folder)
    assert {pictures.pixels(r.parts["output"]).shape[:2] for s in SPLITS for r in sized.read(s)} == {(16, 16)}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def one_bit(side: int, *, whole: bool) -> bytes:
    """A black PNG of `side` x `side` pixels, a bit each; what is not whole says so and holds nothing."""
    box = zlib.compressobj(9)
    line = bytes(1 + -(-side // 8))
    body = b"".join(box.compress(line) for _ in range(side if whole else 1)) + box.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return pictures.SIGNATURE + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("rules", [PictureRules(), PictureRules(size=16)])
def test_files_that_unpack_to_far_too_much_are_listed_unopened_and_nothing_else_is_lost(
    rules: PictureRules, home: Home, folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    place = folder / "pictures/bag"
    bombs = {"a bomb.png": one_bit(20_000, whole=True), "warned.png": one_bit(10_000, whole=True)}
    assert all(len(data) < 60_000 for data in bombs.values()), "small files of 400 and 100 megapixels"
    bombs |= {"said.png": one_bit(60_000, whole=False), "more.png": one_bit(4_001, whole=False)}
    small = io.BytesIO()
    Image.fromarray(drawn(100)).save(small, "JPEG")
    frame = small.getvalue().index(b"\xff\xc0") + 5
    bombs["said.jpg"] = small.getvalue()[:frame] + struct.pack(">HH", 60_000, 60_000) + small.getvalue()[frame + 4 :]
    words = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100 << 20), 9))  # 100 MB of text behind a small picture
    png = pictures.png(drawn(101)).data
    bombs["words.png"] = png[:33] + words + png[33:]
    for name, content in bombs.items():
        (place / name).write_bytes(content)
    data = prepared(config(pictures=rules), home, folder)
    wrong = refused(data, "picture")
    assert sum(data.counts().values()) == 60 and data.summary["refusals"] == {"picture": len(bombs)}
    assert set(wrong) == set(bombs)
    for name in ("a bomb.png", "said.png", "said.jpg"):
        assert wrong[name] == "output: the picture has far too many pixels: wanted at most 16,000,000"
    for name, side in (("warned.png", 10_000), ("more.png", 4_001)):
        assert wrong[name] == f"output: the picture has {side}x{side} pixels: wanted at most 16,000,000"
    assert wrong["words.png"].startswith("output: the picture cannot be read")
    assert not recwarn.list, "the refusal says it, in our words"


def test_one_picture_is_too_few_and_one_class_is_enough(home: Home, folder: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 1 usable records came to"):
        prepared(config(files("pictures/bag/00.png")), home, folder)
    data = prepared(config(files("pictures/bag", classes={"": ("bag",)})), home, folder)
    assert sum(data.counts().values()) == 30 and data.classes() == {}, "pictures without a folder have no class"


def test_an_idx_pair_is_joined_by_number(home: Home, folder: Path) -> None:
    pixels = np.stack([drawn(number)[..., 0] for number in range(40)])
    labels = np.arange(40, dtype=np.uint8) % 3
    (folder / "train-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 40, 24, 24) + pixels.tobytes()
    )
    (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 40) + labels.tobytes())
    names = {str(at): (name,) for at, name in enumerate("abc")}
    pair = (
        files("train-labels-idx1-ubyte", part="input", classes=names),
        files("train-images-idx3-ubyte", part="output"),
    )
    data = prepared(config(*pair), home, folder)
    assert sum(data.counts().values()) == 40 and set(data.classes()) == {"a", "b", "c"}
    (folder / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 40, 24, 24) + b"\0")
    with pytest.raises(InputError, match="no record can be used: .*corrupt or cut short"):
        prepared(config(*pair), home, folder)


def test_keys_that_differ_in_case_are_joined_when_the_scenario_says_so(home: Home, folder: Path) -> None:
    (folder / "names.json").write_text(json.dumps([{"input": f"n{n % 2}", "code": f"A{n}"} for n in range(30)]))
    for number in range(30):
        save(folder / "set" / f"a{number}.png", drawn(number))
    words = files("names.json", part="input", columns={"input": "input", "key": "code"})
    with pytest.raises(InputError, match="no partner"):
        prepared(config(words, files("set", part="output")), home, folder)
    data = prepared(config(words, files("set", part="output", keys="upper")), home, folder)
    assert sum(data.counts().values()) == 30


def test_a_withdrawn_picture_is_gone(home: Home, folder: Path) -> None:
    victim = next(prepared(config(), home, folder).read("train")).id
    after = prepared(config(), home, folder, gone=[victim])
    assert victim not in {record.id for split in SPLITS for record in after.read(split)}
    assert sum(after.counts().values()) == 59


def test_a_damaged_table_is_made_anew(home: Home, folder: Path) -> None:
    data = prepared(config(), home, folder)
    path = data.folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"train\.parquet was changed"):
        Dataset.open(data.folder)
    with pytest.raises(InputError, match="is not a file of records"):
        list(Dataset(data.folder, {}).read("train"))
    assert sum(prepared(config(), home, folder).counts().values()) == 60


def test_the_description_is_valid_croissant_and_opens_the_pictures(home: Home, folder: Path) -> None:
    import mlcroissant

    data = prepared(config(), home, folder)
    described = mlcroissant.Dataset(jsonld=data.folder / "croissant.json")
    assert not described.metadata.issues.errors
    rows = {row["test/id"].decode(): row for row in described.records("test")}
    for record in data.read("test"):
        row = rows.pop(record.id)
        assert row["test/input"].decode() == record.parts["input"].text
        shown = row["test/output"]
        with shown if isinstance(shown, Image.Image) else Image.open(io.BytesIO(shown)) as opened:
            assert (np.asarray(opened) == pictures.pixels(record.parts["output"])).all()
    assert not rows
