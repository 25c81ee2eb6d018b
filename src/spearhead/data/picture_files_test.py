"""IDX files and folders of pictures, whole and broken."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spearhead.data import readers
from spearhead.data.config import Source
from spearhead.data.items import Item, Unread


def source(**fields: str) -> Source:
    return Source(kind="files", licence="MIT", credit="x", **fields)  # type: ignore[arg-type]


def idx(values: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def read(name: str, data: bytes, **fields: str) -> list[Item | Unread]:
    return list(readers.read(name, data, source(**fields), alone=False))


def test_pictures_and_labels_of_one_set_meet_under_one_key() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    images = read("d/train-images-idx3-ubyte.gz", gzip.compress(idx(pixels)), part="output")
    labels = read("d/train-labels-idx1-ubyte", idx(np.array([7, 0, 9], np.uint8)), part="input")
    assert [one.key for one in images] == [one.key for one in labels] == ["d/train:0", "d/train:1", "d/train:2"]
    assert [one.texts["input"] for one in labels if isinstance(one, Item)] == ["7", "0", "9"]
    for number, one in enumerate(images):
        assert isinstance(one, Item) and (np.asarray(one.pictures["output"]) == pixels[number][..., None]).all()


WHOLE = idx(np.zeros((2, 4, 4), np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (WHOLE[:-1], "31 bytes follow a head that says 2x4x4"),
        (WHOLE + b"x", "33 bytes follow"),
        (b"PK" + WHOLE[2:], "does not begin with two zero bytes"),
        (WHOLE[:2] + b"\x0d" + WHOLE[3:], "type 0x0d: wanted unsigned bytes"),
        (WHOLE[:3] + b"\x02" + WHOLE[4:], "2 dimensions: wanted 1"),
        (WHOLE[:3] + b"\xff" + WHOLE[4:], "255 dimensions"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "says its pictures are 4294967295x4294967295"),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), "3 dimensions"),
        (gzip.compress(WHOLE, mtime=0)[:-9], "cut short"),
        (gzip.compress(WHOLE, mtime=0)[:12] + b"\xff" * 20, "not a whole gzip file"),
        (b"\0\0", "is no IDX file"),
    ],
)
def test_a_corrupt_idx_is_said_in_one_line(data: bytes, reason: str) -> None:
    [found] = read("t-images-idx3-ubyte", data)
    assert isinstance(found, Unread) and reason in found.reason and "\n" not in found.reason


def test_a_gzip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spearhead.data.picture_files.MOST_BYTES", 1000)
    [found] = read("t-images-idx3-ubyte.gz", gzip.compress(b"\0" * 100_000))
    assert isinstance(found, Unread) and "unpacks to more than 1000 bytes" in found.reason


def test_the_folder_of_a_picture_is_its_class() -> None:
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "PNG")
    [found] = read("shoes/red/a.png", out.getvalue())
    assert isinstance(found, Item) and found.texts == {"input": "red"} and found.key == "shoes/red/a.png"
    [bare] = read("a.png", out.getvalue())
    assert isinstance(bare, Item) and bare.texts == {} and set(bare.pictures) == {"output"}
    [joined] = read("deep/1f600.png", out.getvalue(), part="output")
    assert isinstance(joined, Item) and joined.key == "1f600" and joined.texts == {}


def test_a_file_that_only_ends_like_a_picture_is_named() -> None:
    [found] = read("a.png", b"GIF89a....")
    assert isinstance(found, Unread) and found.reason == "is no PNG, JPEG or WebP picture"


def test_readers_of_pictures_are_offered_where_a_reader_is_unknown(tmp_path: Path) -> None:
    [found] = read("a.xyz", b"words")
    assert isinstance(found, Unread) and "idx, picture" in found.reason
