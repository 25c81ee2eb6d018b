"""Which labels of a file hold, and what that rests on. Knows the file, and the key of an invisible mark if given."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.media import Media
from spearhead.provenance import recognise, seal
from spearhead.provenance.labels import wording
from spearhead.provenance.labels.watermark import Detection, Watermark

State = Literal["valid", "invalid", "absent"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name, its state, and a sentence that says what it rests on."""

    name: str
    state: State
    detail: str
    p_value: float | None = None
    """Of an invisible mark: how likely a piece without it would look as much like it."""
    scored: int | None = None
    """Of an invisible mark in a text: tokens that told."""


def verify(data: bytes, *, mime: str | None = None, watermark: Watermark | None = None) -> tuple[Layer, ...]:
    """The layers c2pa, gb45438 and visible of a file; anything may be given, its type is found in the bytes.

    With the installation's `watermark` the layer of that name too, of pictures, and of texts where it has releases
    that mark them.
    """
    return of_media(recognise.named(data, mime) if mime else recognise.recognise(data), watermark=watermark)


def of_media(media: Media, *, watermark: Watermark | None = None) -> tuple[Layer, ...]:
    """The layers of a piece."""
    seen = seal.read(media, watermark=watermark)
    layers = (_c2pa(seen), _implicit(seen), _visible(seen))
    return layers if seen.watermark is None else (*layers, _watermark(seen.watermark))


def holds(layers: tuple[Layer, ...]) -> bool:
    """Whether there is a label at all, and none that is broken."""
    states = {layer.state for layer in layers if layer.name != "visible"}
    return "valid" in states and "invalid" not in states


def _c2pa(seen: seal.Seen) -> Layer:
    manifest = seen.c2pa
    if manifest is None:
        return Layer("c2pa", "absent", "no C2PA manifest")
    if not manifest.valid:
        return Layer("c2pa", "invalid", f"the manifest does not hold: {', '.join(manifest.failures)}")
    trust = "a trusted" if manifest.state == "Trusted" else "an untrusted"
    words = f"signed by {trust} certificate of {manifest.issuer!r}; content unchanged"
    if manifest.stamped:
        known = "that is known here" if manifest.stamp_trusted else "that is not known here"
        words += f"; signed before {manifest.stamped}, says a time-stamp authority {known}"
    return Layer("c2pa", "valid", f"{words}; says that an invisible mark was drawn" if manifest.watermarked else words)


def _implicit(seen: seal.Seen) -> Layer:
    implicit = seen.implicit
    if implicit is None:
        return Layer("gb45438", "absent", "no GB 45438 label")
    if implicit.problems:
        return Layer("gb45438", "invalid", f"the label is not to the standard: {'; '.join(implicit.problems)}")
    if implicit.intact is False:
        return Layer("gb45438", "invalid", "the content was changed after it was labelled")
    proof = "content unchanged by its digest" if implicit.intact else "without a digest: unsigned words"
    return Layer("gb45438", "valid", f"labelled by {implicit.producer!r}; {proof}")


def _visible(seen: seal.Seen) -> Layer:
    if seen.visible:
        return Layer("visible", "valid", "carries the words that people see; anyone can write them")
    words = "no visible mark" if seen.visible is False else "not looked for: no mark of sound or video is built yet"
    return Layer("visible", "absent", words)


def _watermark(found: Detection) -> Layer:
    told = f"p = {found.p_value:.1g}" + ("" if found.scored is None else f" over {found.scored} tokens")
    survives = "saving anew" if found.scored is None else "copying"
    if found.found:
        words = f"made by this installation: {found.technique}, {told}; it survives {survives} and does not say which"
        return Layer("watermark", "valid", f"{words} output it was", found.p_value, found.scored)
    least = "" if found.enough else f"; nothing is claimed below {wording.LEAST} tokens"
    words = f"no invisible mark of this installation ({told}{least})"
    return Layer("watermark", "absent", words, found.p_value, found.scored)
