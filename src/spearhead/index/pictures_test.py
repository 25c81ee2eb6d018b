"""Copies of pictures are found in whatever size and quality; pictures that differ are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spearhead.core.errors import InputError
from spearhead.index import pictures
from spearhead.index.pictures import PictureIndex, Pixels


def blobs(count: int, *, side: int = 32, seed: int = 0) -> list[Pixels]:
    """Coloured discs on coloured grounds."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    out = []
    for _ in range(count):
        found = np.empty((side, side, 3), np.uint8)
        found[:] = rng.integers(180, 255, 3)
        for _ in range(3):
            y, x, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(side / 8, side / 3)
            found[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.integers(0, 130, 3)
        out.append(found)
    return out


def compressed(found: Pixels, quality: int) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(found).save(out, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(out))


def test_a_thumbnail_is_what_pillow_averages() -> None:
    for found in (blobs(1, side=32)[0], blobs(1, side=40)[0], blobs(1, side=28)[0]):
        wanted = np.asarray(Image.fromarray(found).resize((16, 16), Image.Resampling.BOX)).astype(int)
        got = pictures.thumbnails([found]).reshape(16, 16, 3).astype(int)
        if found.shape[0] % 16 == 0:  # elsewhere Pillow gives a pixel to one side or the other, here it is shared
            assert abs(got - wanted).max() <= 1
        assert abs(got - wanted).mean() < 12


def test_grey_clear_and_coloured_forms_of_one_picture_are_one_thumbnail() -> None:
    grey = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32, 1)
    coloured = np.repeat(grey, 3, 2)
    opaque = np.concatenate([coloured, np.full((32, 32, 1), 255, np.uint8)], 2)
    one, two, three = pictures.thumbnails([grey, coloured, opaque])
    assert (one == two).all() and (two == three).all()
    clear = np.concatenate([coloured, np.zeros((32, 32, 1), np.uint8)], 2)
    assert (pictures.thumbnails([clear]) == 255).all(), "what is wholly transparent shows the white ground"


def test_every_near_pair_is_found_that_comparing_all_with_all_finds() -> None:
    base = blobs(240)
    rng = np.random.default_rng(1)
    noisy = [np.clip(one + rng.normal(0, spread, one.shape), 0, 255).astype(np.uint8)
             for one, spread in zip(base, rng.uniform(0, 30, 240), strict=True)]  # fmt: skip
    flat = [np.full((32, 32, 1), value, np.uint8) for value in (0, 0, 7, 255)]
    found = pictures.thumbnails([*base, *noisy, *flat])
    wanted = set()
    for one in range(len(found)):
        alike = pictures.similarity(found[one][None], found[one + 1 :])
        wanted |= {(one, one + 1 + int(other)) for other in np.nonzero(alike >= 0.9)[0]}
    got = [tuple(sorted((one, other))) for one, others in pictures.pairs(found, 0.9) for other, _ in others]
    assert len(wanted) > 100 and len(got) == len(set(got)) and set(got) == wanted
    assert (480, 481) in wanted and (480, 482) not in wanted


def test_a_copy_in_other_size_or_quality_is_near_and_another_picture_is_not() -> None:
    found = blobs(40)
    for at, one in enumerate(found):
        for copy in (compressed(one, 85), np.asarray(Image.fromarray(one).resize((80, 80), Image.Resampling.BOX))):
            assert pictures.similarity(*pictures.thumbnails([one, copy])[:, None])[0] > 0.9
        other = found[(at + 1) % len(found)]
        assert pictures.similarity(*pictures.thumbnails([one, other])[:, None])[0] < 0.5


def test_pictures_that_differ_in_colour_alone_are_not_near() -> None:
    red, blue = np.full((32, 32, 3), 255, np.uint8), np.full((32, 32, 3), 255, np.uint8)
    red[8:24, 8:24], blue[8:24, 8:24] = (220, 20, 20), (20, 20, 220)
    assert pictures.similarity(*pictures.thumbnails([red, blue])[:, None])[0] < 0.2


def test_an_index_names_the_picture_that_was_copied_also_after_it_was_saved(tmp_path: Path) -> None:
    known = blobs(50)
    PictureIndex.build((f"r{at}", one) for at, one in enumerate(known)).save(tmp_path)
    index = PictureIndex.load(tmp_path)
    assert len(index) == 50
    copied = index.nearest(compressed(known[17], 80))
    assert copied.id == "r17" and copied.similarity > 0.9
    assert index.nearest(known[3]).similarity == 1.0
    assert index.nearest(blobs(1, seed=9)[0]).similarity < 0.7


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    PictureIndex.build([("a", blobs(1)[0])]).save(tmp_path)
    (tmp_path / "pictures.npz").write_bytes((tmp_path / "pictures.npz").read_bytes()[:-9] + b"123456789")
    with pytest.raises(InputError, match="build the index again"):
        PictureIndex.load(tmp_path)
    with pytest.raises(InputError, match="holds no picture index"):
        PictureIndex.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="at least one picture"):
        PictureIndex.build([])


def test_no_pictures_have_no_pairs() -> None:
    assert list(pictures.pairs(pictures.thumbnails([]), 0.9)) == []
    with pytest.raises(InputError, match="wanted above 0"):
        list(pictures.pairs(pictures.thumbnails([]), 0.0))


def test_what_a_picture_is_like_can_be_shown(tmp_path: Path) -> None:
    known = blobs(2)
    PictureIndex.build([("a", known[0]), ("b", known[1])]).save(tmp_path)
    index = pictures.opened(tmp_path)
    assert index.thumbnail("b").shape == (16, 16, 3)
    assert index.nearest(index.thumbnail("b")).id == "b"
    with pytest.raises(InputError, match="no picture 'c'"):
        index.thumbnail("c")


def test_an_index_of_grey_pictures_gives_what_one_of_colours_would() -> None:
    known = [one[..., :1] for one in blobs(40)]
    grey = PictureIndex.build((f"r{n}", one) for n, one in enumerate(known))
    both = PictureIndex.build([*((f"r{n}", one) for n, one in enumerate(known)), ("red", blobs(1, seed=5)[0])])
    for asked in (*[one[..., :1] for one in blobs(5, seed=8)], *blobs(5, seed=9), known[7]):
        thumb = pictures.thumbnails([asked])
        every = pictures.similarity(np.repeat(thumb, 40, axis=0), grey.found)
        found = grey.nearest(asked)
        assert found.similarity == pytest.approx(float(every.max()), abs=1e-6)
        assert found.id == f"r{int(every.argmax())}"
        assert both.nearest(asked).similarity >= found.similarity - 1e-6
