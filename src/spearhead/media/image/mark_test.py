"""The mark for people: large enough, legible on everything, once, and never seen where it is not."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from spearhead.core.media import Media
from spearhead.media.image import MODALITY, change, codec, mark, metadata, tiny

SIZES = [(256, 256), (256, 900), (640, 480), (1024, 1024), (2000, 3000)]


def ink(pixels: codec.Pixels) -> tuple[int, int]:
    """Height and width of what is white, in pixels."""
    rows, columns = np.nonzero(pixels[:, :, 0] > 127)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("size", SIZES)
def test_the_letters_are_at_least_a_twentieth_of_the_shortest_side(size: tuple[int, int]) -> None:
    dark = mark.mark(np.zeros((*size, 3), np.uint8))
    height, width = ink(dark)
    assert height >= 0.05 * min(size) and height < 0.1 * min(size)
    assert width < 0.3 * size[1]
    first = dark[:, size[1] - width - int(0.4 * height) : size[1] - width + int(0.4 * height)]
    assert ink(first)[0] >= 0.05 * min(size)  # the letter A alone, not only the tallest


@pytest.mark.parametrize("shade", [0, 127, 255])
def test_it_is_legible_on_every_background_and_in_the_corner(shade: int) -> None:
    marked = mark.mark(np.full((300, 300, 3), shade, np.uint8))
    corner = marked[-27:, -60:]
    assert corner.max() == 255 and corner.min() == 0
    assert (marked[:250] == shade).all() and (marked[:, :200] == shade).all()


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (64, 64), (255, 700), (255, 255), (1000, 255)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_small_picture_keeps_its_pixels_and_gets_a_strip_below(size: tuple[int, int], channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    marked = mark.mark(pixels)
    left = (marked.shape[1] - size[1]) // 2
    assert (marked[: size[0], left : left + size[1]] == pixels).all()
    strip = marked[size[0] :]
    assert ink(strip)[0] >= 0.05 * min(marked.shape[:2]) and ink(strip)[1] > ink(strip)[0]
    assert mark.marked(marked) and not mark.marked(pixels)


@pytest.mark.parametrize("mime", MODALITY.mimes)
@pytest.mark.parametrize("size", [(40, 30), (256, 256), (500, 333)])
def test_a_picture_is_marked_once_however_often_it_is_asked(mime: str, size: tuple[int, int]) -> None:
    piece = codec.write(tiny.pixels(*size), mime=mime, parameters={"seed": "1"})
    once = MODALITY.mark(piece)
    assert not MODALITY.marked(piece) and MODALITY.marked(once) and MODALITY.mark(once) == once
    assert once.mime == mime and metadata.parameters(once) == {"seed": "1"}


def test_the_mark_is_still_seen_in_a_poor_jpeg() -> None:
    for size in ((64, 64), (256, 256), (512, 512)):
        marked = mark.mark(tiny.pixels(*size))
        assert mark.marked(codec.read(codec.write(marked, mime="image/jpeg", quality=30)))


@pytest.mark.parametrize("size", [(64, 64), (300, 256)])
def test_the_mark_is_found_again_in_a_resized_or_cut_picture(size: tuple[int, int]) -> None:
    marked = mark.mark(tiny.pixels(*size))
    tall, wide = marked.shape[:2]
    changed = [
        change.resize(marked, width=round(wide * part), height=round(tall * part)) for part in (0.55, 0.7, 1.3)
    ] + [marked[tall // 3 :], marked[: tall - 1, : wide - 1]]
    for pixels in changed:
        assert mark.marked(pixels, search=True)
    assert not mark.marked(changed[0])  # without a search only its own place is looked at


def test_a_search_finds_nothing_where_there_is_no_mark() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    blocks = codec.enlarge(rng.integers(0, 2, (48, 48, 3), dtype=np.uint8) * np.uint8(255))
    words = Image.new("RGB", (400, 256), "black")
    ImageDraw.Draw(words).text(
        (10, 10), "ALL RIGHTS RESERVED\nAIR MAIL 2026\nAl Gore +1" * 4, fill="white", font_size=22
    )
    for pixels in (noise, blocks, np.asarray(words), tiny.pixels(256, 256), np.zeros((300, 300, 3), np.uint8)):
        assert not mark.marked(pixels, search=True)


def test_transparency_stays_and_the_mark_is_opaque() -> None:
    pixels = np.zeros((300, 300, 4), np.uint8)
    marked = mark.mark(pixels)
    assert (marked[:200, :, 3] == 0).all() and (marked[-20:, -50:, 3] == 255).all()
    assert MODALITY.marked(codec.write(marked))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["noise", "blocks", "lines", "flat"]))
def test_what_carries_no_mark_is_never_taken_to_carry_one(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(200, 400, 2))
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "blocks":
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8), 8, 0), 8, 1)
    elif kind == "lines":
        pixels[:, :] = np.where(rng.random((height, 1, 1)) < 0.3, 255, 0)
    elif kind == "flat":
        pixels[:] = int(rng.integers(256))
    assert not mark.marked(pixels)


def test_drawing_anew_keeps_format_and_compression() -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for mime, quality in (("image/jpeg", 40), ("image/jpeg", 95), ("image/webp", None), ("image/webp", 90)):
        piece = codec.write(noisy, mime=mime, quality=quality)
        again = codec.redraw(piece, lambda pixels: pixels)
        assert len(again.data) == pytest.approx(len(piece.data), rel=0.1)
    grey = codec.redraw(codec.write(noisy[:, :, :1], mime="image/jpeg"), lambda pixels: pixels)
    with Image.open(io.BytesIO(grey.data)) as image:
        assert image.mode == "L"
    palette = io.BytesIO()
    Image.fromarray(noisy).quantize(8).save(palette, "PNG")
    assert codec.read(codec.redraw(Media("image", "image/png", palette.getvalue()), mark.mark)).shape == (88, 64, 3)
