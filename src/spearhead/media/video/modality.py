"""What one can do with a film: count its seconds, label it, read its label. Knows no frames, no model, no review.

It has no mark that people see yet: the opening frames carry that one, so it is drawn as they are made.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.video import boxes, metadata, samples
from spearhead.media.video.boxes import Movie, Top

_SIGNATURE = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""The extended type of the box that holds C2PA manifests."""
_UNKNOWN = (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True, slots=True)
class VideoModality:
    """MP4 and QuickTime (MOV)."""

    name: str = "video"
    mimes: tuple[str, ...] = (boxes.MIME, boxes.QUICKTIME)
    unit: str = "second"

    def recognise(self, data: bytes) -> str | None:
        """The mime type by the first bytes; None when it is no film."""
        return boxes.recognise(data)

    def measure(self, media: Media) -> int:
        """Its seconds, rounded up, by `mvhd`; raises InputError on a file that is not whole."""
        movie = boxes.parse(media.data)
        _content(movie)  # every table that tells where samples lie is looked at
        samples.join(movie, metadata.bare(movie.moov), without=lambda top: False)
        header = movie.moov.first(b"mvhd")
        try:
            form, at = (">IQ", 20) if header and header.data[:1] == b"\1" else (">II", 12)
            scale, length = struct.unpack_from(form, header.data if header else b"", at)
        except struct.error as error:
            raise boxes.damaged("its header is cut short") from error
        if scale == 0 or length in _UNKNOWN:
            raise boxes.damaged("it does not say how long it is")
        return int(-(-length // scale))

    def embed(self, media: Media, label: Label) -> Media:
        """A copy with the GB 45438 label, and only this label; samples untouched, signature gone."""
        movie = boxes.parse(media.data)
        members = gb45438.members(label, _content(movie))
        moov = metadata.put(metadata.bare(movie.moov), json.dumps(members, separators=(",", ":")))
        data = samples.join(movie, moov, without=lambda top: _signs(movie, top))
        return Media(media.modality, media.mime, data)

    def extract(self, media: Media) -> Mapping[str, str] | None:
        """The seven members of the label, as they are written; None when there is none."""
        try:
            movie = boxes.parse(media.data)
            _content(movie)
            return metadata.label(movie.moov)
        except InputError:
            return None

    def content(self, media: Media) -> bytes:
        """The samples of every track: what ReservedCode1 is the digest of."""
        return _content(boxes.parse(media.data))

    def signature(self, media: Media) -> tuple[int, int] | None:
        """Where the C2PA manifest lies: first byte and length of its box; None unless there is just one."""
        try:
            movie = boxes.parse(media.data)
        except InputError:
            return None
        found = [top for top in movie.tops if _signs(movie, top)]
        return (found[0].start, found[0].size) if len(found) == 1 else None

    def boxes(self, media: Media) -> Sequence[tuple[str, int, int]]:
        """Kind, first byte and length of each box of the file itself; raises InputError on a file that is not whole."""
        return [(top.kind.decode("latin-1"), top.start, top.size) for top in boxes.tops(media.data)]


def _content(movie: Movie) -> bytes:
    """The samples of every track: a copy into another layout, or other metadata, leaves them as they are."""
    return b"".join(kind + struct.pack(">Q", len(data)) + data for kind, data in samples.of_tracks(movie))


def _signs(movie: Movie, top: Top) -> bool:
    place = top.start + top.header
    return top.kind == b"uuid" and movie.data[place : place + 16] == _SIGNATURE
