"""Which labels of a file hold, and what that rests on. Knows the file, and the key of an invisible mark if given."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.media import Media
from spearhead.core.sentence import Said, said
from spearhead.provenance import recognise, seal
from spearhead.provenance.labels import wording
from spearhead.provenance.labels.watermark import Detection, Watermark

State = Literal["valid", "invalid", "absent"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name, its state, and a sentence that says what it rests on."""

    name: str
    state: State
    detail: Said
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
        return Layer("c2pa", "absent", said("provenance.c2pa.none"))
    if not manifest.valid:
        return Layer("c2pa", "invalid", said("provenance.c2pa.broken", failures=manifest.failures))
    issuer, when = manifest.issuer, manifest.stamped
    trusted = manifest.state == "Trusted"
    found = [
        said("provenance.c2pa.trusted", issuer=issuer) if trusted else said("provenance.c2pa.untrusted", issuer=issuer),
        said("provenance.c2pa.unchanged"),
    ]
    if when and manifest.stamp_trusted:
        found.append(said("provenance.c2pa.stamped", when=when))
    elif when:
        found.append(said("provenance.c2pa.stamped_by_unknown", when=when))
    if manifest.watermarked:
        found.append(said("provenance.c2pa.marked"))
    return Layer("c2pa", "valid", said("provenance.all", found=tuple(found)))


def _implicit(seen: seal.Seen) -> Layer:
    implicit = seen.implicit
    if implicit is None:
        return Layer("gb45438", "absent", said("provenance.gb45438.none"))
    if implicit.problems:
        return Layer("gb45438", "invalid", said("provenance.gb45438.broken", problems=implicit.problems))
    if implicit.intact is False:
        return Layer("gb45438", "invalid", said("provenance.gb45438.changed"))
    proof = said("provenance.gb45438.unchanged") if implicit.intact else said("provenance.gb45438.no_digest")
    by = said("provenance.gb45438.by", producer=implicit.producer)
    return Layer("gb45438", "valid", said("provenance.all", found=(by, proof)))


def _visible(seen: seal.Seen) -> Layer:
    if seen.visible:
        return Layer("visible", "valid", said("provenance.visible.there"))
    if seen.visible is False:
        return Layer("visible", "absent", said("provenance.visible.none"))
    return Layer("visible", "absent", said("provenance.visible.not_looked"))


def _watermark(found: Detection) -> Layer:
    p, tokens = found.p_value, found.scored
    chance = said("provenance.mark.chance", p=p)
    if tokens is not None:
        chance = said("provenance.mark.chance_of_text", p=p, tokens=tokens)
    if found.found and tokens is None:
        detail = said("provenance.mark.picture", technique=found.technique, chance=chance)
    elif found.found:
        detail = said("provenance.mark.text", technique=found.technique, chance=chance)
    elif found.enough:
        detail = said("provenance.mark.none", chance=chance)
    else:
        detail = said("provenance.mark.too_few", chance=chance, least=wording.LEAST)
    return Layer("watermark", "valid" if found.found else "absent", detail, p, tokens)
