"""Pictures come back as they were written, and a file that is made to harm is refused before it can."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.media.image import MODALITY, codec, container, metadata, tiny

PIXELS = tiny.pixels()


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> Media:
    out = io.BytesIO()
    image.save(out, form, **options)
    return Media("image", f"image/{form.lower()}", out.getvalue())


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    header = b"IHDR" + struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [header, b"IDAT" + zlib.compress(b""), b"IEND"]
    return container.PNG_SIGNATURE + b"".join(
        struct.pack("!I", len(part) - 4) + part + struct.pack("!I", zlib.crc32(part)) for part in parts
    )


@pytest.mark.parametrize("mime", MODALITY.mimes)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_comes_back_as_it_was_written(mime: str, channels: codec.Channels) -> None:
    alpha = np.full((24, 32, 1), 255, np.uint8)
    pixels = {1: PIXELS[:, :, :1], 3: PIXELS, 4: np.concatenate([PIXELS, alpha], 2)}[channels]
    back = codec.read(codec.write(pixels, mime=mime), channels=channels)
    assert back.dtype == np.uint8 and back.shape == pixels.shape
    assert np.abs(back.astype(int) - pixels).max() <= (6 if mime == "image/jpeg" else 0)


def test_half_transparent_colours_under_full_transparency_survive_where_the_format_can() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    for mime in ("image/png", "image/webp"):
        assert (codec.read(codec.write(pixels, mime=mime), channels=4) == pixels).all()


def test_transparency_lies_on_white() -> None:
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)
    wanted = [[[200, 0, 0], [255, 255, 255], [244, 204, 204]]]  # 255 + (c - 255) * 51 / 255
    assert codec.read(codec.write(pixels)).tolist() == wanted
    gif = Image.new("P", (2, 1))
    gif.putpalette([10, 20, 30, 0, 0, 0])
    assert codec.read(saved(gif, transparency=0)).tolist() == [[[255] * 3] * 2]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_usual_mode_is_read(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.array([[0, 0x80FF], [0xFFFF, 0x01FF]], np.uint16))
        assert codec.read(saved(image), channels=1)[:, :, 0].tolist() == [[0, 0x80], [0xFF, 0x01]]
    else:
        image = Image.fromarray(PIXELS).convert(mode)
        assert (codec.read(saved(image)) == np.asarray(image.convert("RGB"))).all()
    cmyk = saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(codec.read(cmyk).astype(int) - PIXELS).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255  # the corner that must end up at the top left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    picture = saved(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert (codec.read(picture) == upright).all()


def test_another_shape_is_cut_from_the_middle_and_resampled() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 255
    assert (codec.read(codec.write(wide), size=(5, 5)) == 255).all()
    assert codec.read(codec.write(PIXELS), size=(48, 20)).shape == (48, 20, 3)
    with pytest.raises(InputError, match="cannot be made"):
        codec.read(codec.write(PIXELS), size=(0, 5))


@pytest.mark.parametrize("size", [(16_001, 1_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"pixels: wanted at most 16,000,000$"):
        codec.read(Media("image", "image/png", png(*size)))


def test_a_file_too_long_is_refused_before_it_is_opened() -> None:
    data = png(1, 1) + b"\0" * codec.MOST_BYTES
    with pytest.raises(InputError, match="wanted at most 33,554,432"):
        codec.read(Media("image", "image/png", data))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_an_animation_is_refused(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 255)]
    with pytest.raises(InputError, match="animation"):
        codec.read(saved(frames[0], form, save_all=True, append_images=frames[1:]))


def test_a_photograph_with_more_behind_it_is_no_animation() -> None:
    behind = Image.new("RGB", (32, 24), (0, 0, 255))
    photograph = saved(Image.fromarray(PIXELS), "MPO", save_all=True, append_images=[behind], quality=95)
    assert len(container.recognise(photograph.data[:16]) or "") and photograph.data.count(b"\xff\xd8\xff") == 2
    found = codec.read(Media("image", "image/jpeg", photograph.data))
    assert np.abs(found.astype(int) - PIXELS).mean() < 6


def test_a_level_of_16_bits_that_is_transparent_stays_so() -> None:
    image = Image.fromarray(np.array([[0, 40_000, 40_001]], np.uint16))
    piece = saved(image, transparency=40_000)
    assert codec.read(piece, channels=4).tolist() == [[[0] * 3 + [255], [156] * 3 + [0], [156] * 3 + [255]]]
    assert codec.read(piece, channels=1).tolist() == [[[0], [255], [156]]]


@pytest.mark.parametrize("mime", MODALITY.mimes)
def test_a_file_cut_short_is_refused(mime: str) -> None:
    whole = codec.write(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), mime=mime).data
    for size in (12, 40, len(whole) // 2):
        with pytest.raises(InputError, match="damaged or cut short|no image"):
            codec.read(Media("image", mime, whole[:size]))


def test_what_is_not_a_picture_of_its_name_is_refused() -> None:
    for mime, data in (("image/png", b"hello"), ("image/jpeg", png(1, 1)), ("image/gif", b"GIF89a"), ("", b"")):
        with pytest.raises(InputError, match="wanted image/png, image/jpeg, image/webp"):
            codec.read(Media("image", mime, data))
    floats = Media("image", "image/jpeg", b"\xff\xd8\xff" + saved(Image.new("F", (2, 2)), "TIFF").data)
    with pytest.raises(InputError):
        codec.read(floats)


@settings(max_examples=120, deadline=None)
@given(mime=st.sampled_from(MODALITY.mimes), place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_byte_is_read_or_refused_and_never_a_crash(mime: str, place: int, value: int) -> None:
    data = bytearray(metadata.with_parameters(tiny.sample(mime), {"seed": "1"}).data)
    data[place % len(data)] = value
    piece = Media("image", mime, bytes(data))
    MODALITY.extract(piece)
    metadata.parameters(piece)
    try:
        assert codec.read(piece).dtype == np.uint8
    except InputError as error:
        assert "\n" not in str(error)


def test_what_is_not_pixels_cannot_be_written() -> None:
    wrongs: list[Any] = [PIXELS.astype(np.float32), PIXELS[:, :, 0], PIXELS[:, :, :2], PIXELS[:0]]
    for wrong in wrongs:
        with pytest.raises(InputError, match="wanted"):
            codec.write(wrong)
    with pytest.raises(InputError, match="image/gif"):
        codec.write(PIXELS, mime="image/gif")
    for mime, quality in (("image/png", 90), ("image/jpeg", 101), ("image/webp", 0)):
        with pytest.raises(InputError, match="wanted 1 to 100"):
            codec.write(PIXELS, mime=mime, quality=quality)


def test_a_lower_quality_makes_a_smaller_file() -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for mime in ("image/jpeg", "image/webp"):
        sizes = [len(codec.write(noisy, mime=mime, quality=quality).data) for quality in (20, 60, 95)]
        assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 2


def test_a_small_picture_is_enlarged_to_squares_by_the_least_whole_number() -> None:
    large = codec.enlarge(PIXELS)
    assert large.shape == (24 * 11, 32 * 11, 3)  # 10 times 24 is 240
    assert (large[::11, ::11] == PIXELS).all() and (large[5::11, 7::11] == PIXELS).all()
    assert codec.enlarge(large) is not None and codec.enlarge(large).shape == large.shape
    with pytest.raises(InputError, match="too narrow"):
        codec.enlarge(np.zeros((1, 9000, 3), np.uint8))


def test_a_grid_holds_every_picture_in_its_place() -> None:
    pictures = [np.full((4, 6, 3), number * 40, np.uint8) for number in range(5)]
    sheet = codec.grid(pictures, 3, gap=1)
    assert sheet.shape == (9, 20, 3)
    assert (sheet[5:9, 7:13] == 160).all()  # the fifth: second row, second column
    assert (sheet[4] == 255).all() and (sheet[5:, 14:] == 255).all()
    assert codec.grid(pictures[:1], 8).shape == (4, 6, 3)
    for wrong in ([], [pictures[0], PIXELS]):
        with pytest.raises(InputError, match="grid"):
            codec.grid(wrong, 2)


def test_the_codec_makes_pictures_of_mixed_size_and_mode_one_array() -> None:
    one = codec.Codec((8, 8), 1)
    items = [codec.write(PIXELS, mime=mime) for mime in MODALITY.mimes] + [codec.write(PIXELS[:, :, :1])]
    codes = one.encode(items)
    assert codes.shape == (4, 8, 8, 1) and one.shape == (8, 8, 1) and one.vocab is None
    assert (one.encode(one.decode(codes)) == codes).all()
    assert one.encode([]).shape == (0, 8, 8, 1)
    with pytest.raises(InputError, match=r"wanted uint8 \(n, 8, 8, 1\)"):
        one.decode(codes.astype(np.float32))


def test_nothing_heavy_is_imported_to_know_the_modality() -> None:
    import subprocess
    import sys

    script = "import sys; from spearhead.media.image import MODALITY; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_same_pixels_are_the_same_bytes() -> None:
    for mime in MODALITY.mimes:
        assert codec.write(PIXELS, mime=mime, parameters={"seed": "1"}) == codec.write(
            PIXELS, mime=mime, parameters={"seed": "1"}
        )
