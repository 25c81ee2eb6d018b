"""What is kept of a picture is its pixels, in bytes that depend on nothing else."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.data import pictures
from spearhead.data.config import PictureRules

RULES = PictureRules()


def noise(*shape: int) -> pictures.Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def file(found: Image.Image, form: str, **options: object) -> Media:
    out = io.BytesIO()
    found.save(out, form, **options)
    return Media("image", f"image/{form.lower()}", out.getvalue())


@pytest.mark.parametrize("shape", [(28, 28, 1), (1, 1, 3), (9, 300, 3), (200, 120, 4)])
def test_a_plain_png_opens_in_pillow_with_the_same_pixels(shape: tuple[int, ...]) -> None:
    wanted = noise(*shape)
    made = pictures.png(wanted)
    with Image.open(io.BytesIO(made.data)) as opened:
        opened.load()
        assert opened.mode == {1: "L", 3: "RGB", 4: "RGBA"}[shape[2]]
        assert (np.asarray(opened).reshape(shape) == wanted).all()
    assert (pictures.pixels(made) == wanted).all()


def test_the_bytes_are_those_of_the_standard_and_of_no_compressor() -> None:
    assert pictures.png(noise(2, 2, 1)).data[41:48] == bytes([0x78, 0x01, 1, 6, 0, 0xF9, 0xFF])


def test_one_picture_in_two_files_is_one_record_and_what_its_file_told_is_left_behind() -> None:
    found = noise(40, 30, 3)
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", "A. Person")
    exif = Image.Exif()
    exif[0x010F] = "camera"
    image = Image.fromarray(found)
    one = pictures.plain(file(image, "PNG", pnginfo=told, exif=exif, compress_level=9), RULES)
    other = pictures.plain(file(image, "WEBP", lossless=True), RULES)
    assert one.id == other.id == pictures.plain(found, RULES).id
    assert b"Person" not in one.data and b"camera" not in one.data


def test_channels_that_say_nothing_are_dropped_and_others_kept() -> None:
    grey = noise(16, 16, 1)
    coloured = Image.fromarray(np.repeat(grey, 3, 2))
    assert pictures.plain(file(coloured.convert("RGBA"), "PNG"), RULES).id == pictures.png(grey).id
    clear = noise(16, 16, 4)
    assert (pictures.pixels(pictures.plain(file(Image.fromarray(clear), "PNG"), RULES)) == clear).all()
    palette = file(Image.fromarray(noise(16, 16, 3)).convert("P"), "PNG")
    assert pictures.pixels(pictures.plain(palette, RULES)).shape == (16, 16, 3)


def test_pictures_are_brought_to_the_size_that_the_scenario_names() -> None:
    for shape in ((300, 200, 3), (20, 30, 1), (64, 64, 4)):
        assert pictures.pixels(pictures.plain(noise(*shape), PictureRules(size=64))).shape[:2] == (64, 64)


def test_too_large_and_too_small_pictures_are_said_with_what_to_do() -> None:
    with pytest.raises(InputError, match="has 300x20 pixels, wanted at most 256 on a side; set data.pictures.size"):
        pictures.plain(noise(20, 300, 1), RULES)
    with pytest.raises(InputError, match="has 30x7 pixels, wanted at least 8"):
        pictures.plain(noise(7, 30, 1), RULES)


def bomb() -> Media:
    """A file of a few hundred bytes that says it has 900 million pixels."""
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    parts = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    return Media("image", "image/png", b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_a_bomb_an_animation_and_half_a_file_are_refused_in_one_line() -> None:
    frames = [Image.fromarray(noise(16, 16, 3)), Image.fromarray(255 - noise(16, 16, 3))]
    moving = file(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=50)
    half = file(frames[0], "PNG")
    for broken, reason in (
        (bomb(), "far too many pixels: wanted at most 16,000,000"),
        (moving, "animation"),
        (Media("image", "image/png", half.data[:200]), "damaged or cut short"),
    ):
        with pytest.raises(InputError, match=reason) as error:
            pictures.plain(broken, RULES)
        assert "\n" not in str(error.value)


def test_pixels_of_a_strange_png_come_through_the_decoder() -> None:
    found = noise(12, 12, 3)
    packed = file(Image.fromarray(found), "PNG", compress_level=9)
    assert (pictures.pixels(packed)[..., :3] == found).all()
