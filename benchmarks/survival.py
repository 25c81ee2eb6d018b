"""Which label of a delivered file is still there after what files go through: format x transformation x layer.

    python benchmarks/survival.py
    python benchmarks/survival.py --pictures FOLDER --no-rivagan

Seals pictures (made from numbers, or those of a folder, brought to 256 pixels or more) and texts as the service does,
changes the files as people and platforms do, and asks `verify` what it still finds. Prints one Markdown table a format:
in how many of the files each layer held. A layer that is broken is not counted, and shown with an exclamation mark.
Exit code 3 when a file as delivered lacks a layer.
"""

import argparse
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spearhead.core import digest, media
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media.image import MODALITY, change, codec, container
from spearhead.media.image.codec import Pixels
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import c2pa_text, watermark
from spearhead.provenance.labels.rivagan import RivaGan
from spearhead.provenance.labels.spread import Spread
from spearhead.provenance.labels.watermark import Mark, Watermark
from spearhead.provenance.signer import Signer
from spearhead.provenance.verify import verify
from spearhead.store.home import Home

LABEL = Label("survival", "out-1", "survival@1", "2026-11-22T02:00:00Z", watermark=True)
TEXT_LABEL = replace(LABEL, watermark=False)
WORDS = "The spirit of a man will sustain him.\n\nA merry heart doeth good like a medicine.\n\n心乐乃是良药。\n"
Change = Callable[[Media], Media]


def main() -> int:
    """Seal, change, look, print."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = signing.ensure(Home(folder, folder))
        signer, secret = Signer(keys), watermark.secret_of(keys)
        marks: list[Mark] = [Spread(secret)]
        if options.rivagan:
            marks.append(RivaGan.fetched(Home(folder, options.cache), secret=secret))
        cached = [Remembering(mark) for mark in marks]
        watermarks = Watermark(lambda: cached)
        pieces = _folder(options.pictures) if options.pictures else _made()
        print(f"{len(pieces)} pictures: {', '.join(pieces)}; layers found by `verify`\n")
        whole = True
        for mime in options.formats.split(","):
            sealed = [
                seal.seal(codec.write(pixels, mime=mime), LABEL, signer=signer, watermark=watermarks)
                for pixels in pieces.values()
            ]
            whole &= _table(mime, sealed, changes=_picture_changes(mime), marks=cached)
        for mime in ("text/plain", "text/markdown"):
            text = seal.seal(media.text(WORDS, mime=mime), TEXT_LABEL, signer=signer)
            whole &= _table(mime, [text], changes=TEXT_CHANGES, marks=[])
    return 0 if whole else 3


class Remembering:
    """A mark that looks at the same pixels once: many changes leave them as they are."""

    def __init__(self, mark: Mark) -> None:
        self._mark, self._seen = mark, dict[str, float]()

    @property
    def name(self) -> str:
        """The name of the mark."""
        return self._mark.name

    def embed(self, pixels: Pixels) -> Pixels:
        """As the mark does."""
        return self._mark.embed(pixels)

    def p_value(self, pixels: Pixels) -> float:
        """As the mark finds, once for these pixels."""
        key = digest.of_bytes(repr(pixels.shape).encode() + pixels.tobytes())
        if key not in self._seen:
            self._seen[key] = self._mark.p_value(pixels)
        return self._seen[key]


# -- pictures --------------------------------------------------------------------------------------------------------
def _made() -> dict[str, Pixels]:
    """A photograph's spectrum, a drawing of flat colours, a small grey picture enlarged."""
    rng = np.random.default_rng(0)
    side = 320
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) + 1 / side
    light, *tints = (np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / radius).real for _ in range(4))
    planes = [128 + 45 * light / light.std() + 12 * tint / tint.std() for tint in tints]
    y, x = np.mgrid[0:64, 0:64]
    drawing = np.full((64, 64, 3), 250, np.uint8)
    drawing[np.hypot(y - 32, x - 32) < 28] = (255, 200, 40)
    for eye in (22, 42):
        drawing[np.hypot((y - 26) / 1.4, x - eye) < 5] = (70, 45, 20)
    drawing[(np.abs(np.hypot(y - 30, x - 32) - 16) < 2) & (y > 38)] = (70, 45, 20)
    garment = np.zeros((28, 28, 1), np.uint8)
    garment[4:26, 7:21] = rng.integers(120, 220, (22, 14, 1))
    garment[4:12, 2:26] = rng.integers(100, 200, (8, 24, 1))
    return {
        "photograph": np.clip(np.stack(planes, 2), 0, 255).astype(np.uint8),
        "drawing": codec.enlarge(drawing),
        "small grey picture": codec.enlarge(garment),
    }


def _folder(folder: Path) -> dict[str, Pixels]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    out = {}
    for path in files:
        data = path.read_bytes()
        out[path.name] = codec.enlarge(codec.read(Media("image", container.recognise(data) or "", data)))
    if not out:
        raise InputError(f"{folder} holds no PNG, JPEG or WebP picture")
    return out


def _picture_changes(mime: str) -> dict[str, Change]:
    def saved(change: Callable[[Pixels], Pixels], form: str = mime, quality: int | None = None) -> Change:
        return lambda piece: codec.write(change(codec.read(piece)), mime=form, quality=quality)

    def same(pixels: Pixels) -> Pixels:
        return pixels

    def sized(part: float) -> Callable[[Pixels], Pixels]:
        return lambda p: change.resize(p, width=round(p.shape[1] * part), height=round(p.shape[0] * part))

    def cut(part: float) -> Callable[[Pixels], Pixels]:
        def inner(p: Pixels) -> Pixels:
            tall, wide = round(p.shape[0] * part), round(p.shape[1] * part)
            return change.crop(p, left=(p.shape[1] - wide) // 2, top=(p.shape[0] - tall) // 2, width=wide, height=tall)

        return inner

    return {
        "as delivered": lambda piece: piece,
        "metadata stripped, pixels untouched": _stripped,
        "one metadata value edited": _edited,
        "saved anew in its format": saved(same),
        "saved as JPEG, quality 90": saved(same, "image/jpeg", 90),
        "saved as JPEG, quality 50": saved(same, "image/jpeg", 50),
        "saved as lossy WebP, quality 80": saved(same, "image/webp", 80),
        "half the size": saved(sized(0.5)),
        "twice the size": saved(sized(2.0)),
        "10 % of each side cut off": saved(cut(0.9)),
        "the middle half": saved(cut(0.5)),
        "lower right corner painted over": saved(_painted),
        "brightness + 20 %": saved(lambda p: change.brightness(p, 1.2)),
        "contrast + 20 %": saved(lambda p: change.contrast(p, 1.2)),
        "Gaussian noise of 8 levels": saved(lambda p: change.noise(p, np.random.default_rng(1))),
        "blurred by 1.5 pixels": saved(_blurred),
        "turned by 3 degrees": saved(_turned),
        "mirrored": saved(lambda p: p[:, ::-1].copy()),
    }


def _stripped(piece: Media) -> Media:
    """As tools do that take out what is not needed to show the picture."""
    keep = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"VP8 ", b"VP8L", b"ALPH")
    gone = (b"\xe1", b"\xeb", b"\xed", b"\xfe")
    chunks = container.split(piece.data, piece.mime)
    kept = [c for c in chunks if (c.name not in gone if piece.mime == "image/jpeg" else c.name in keep)]
    return Media("image", piece.mime, container.join(kept, piece.mime))


def _edited(piece: Media) -> Media:
    """Another number in the XMP packet, checksums and lengths as they should be."""
    chunks = container.split(piece.data, piece.mime)
    packet = (container.packet(chunks, piece.mime) or b"").replace(b"out-1", b"out-9")
    return Media("image", piece.mime, container.join(container.with_packet(chunks, piece.mime, packet), piece.mime))


def _painted(pixels: Pixels) -> Pixels:
    out = pixels.copy()
    out[-40:, -90:] = out[-60, -100]
    return out


def _blurred(pixels: Pixels) -> Pixels:
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5)), np.uint8)


def _turned(pixels: Pixels) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).rotate(3, Image.Resampling.BICUBIC), np.uint8)


# -- texts -----------------------------------------------------------------------------------------------------------
def _text(change: Callable[[str], str]) -> Change:
    return lambda piece: Media("text", piece.mime, change(piece.text).encode())


TEXT_CHANGES: Mapping[str, Change] = {
    "as delivered": _text(lambda text: text),
    "NFKC normalisation": _text(lambda text: unicodedata.normalize("NFKC", text)),
    "line ends changed to CRLF": _text(lambda text: text.replace("\n", "\r\n")),
    "invisible characters taken out": _text(c2pa_text.without),
    "white space trimmed at the ends": _text(str.strip),
    "one word changed": _text(lambda text: text.replace("merry", "happy")),
    "the words copied without head and foot": _text(lambda text: WORDS if text else ""),
    "the body copied with its last line": _text(lambda text: c2pa_text.without(text).split("---\n\n", 1)[-1]),
    "saved as UTF-16": lambda piece: Media("text", piece.mime, piece.text.encode("utf-16")),
}


# -- the table -------------------------------------------------------------------------------------------------------
def _table(mime: str, sealed: Sequence[Media], *, changes: Mapping[str, Change], marks: Sequence[Mark]) -> bool:
    """Print one; whether every file as delivered carries every layer."""
    layers = ["c2pa", "gb45438", "visible", *(mark.name for mark in marks)]
    print(f"| {mime} | {' | '.join(layers)} |")
    print(f"|---{'|---' * len(layers)}|")
    whole = True
    for name, changed in changes.items():
        held, broken = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)
        for piece in sealed:
            after = changed(piece)
            for layer in verify(after.data, mime=after.mime):
                held[layer.name] += layer.state == "valid"
                broken[layer.name] += layer.state == "invalid"
            if marks:
                found = Watermark(lambda: marks).read(after)
                for name_of, p_value in found.marks.items() if found else ():
                    held[name_of] += p_value <= watermark.FOUND
        cells = [f"{held[layer]}/{len(sealed)}{'!' if broken[layer] else ''}" for layer in layers]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if name == "as delivered":
            whole = all(held[layer] == len(sealed) for layer in ("c2pa", "gb45438", "visible"))
    print()
    return whole


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder of PNG, JPEG or WebP pictures instead of made ones")
    parser.add_argument("--formats", default=",".join(MODALITY.mimes), help="mime types, with commas between them")
    parser.add_argument("--no-rivagan", dest="rivagan", action="store_false", help="without RivaGAN's networks")
    parser.add_argument("--cache", type=Path, default=Path(".spearhead"), help="where fetched packages are kept")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"survival: {error}")
