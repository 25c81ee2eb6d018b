"""Files of a few bytes, made by hand: for trying things out."""

import io
import struct
import zipfile
from itertools import accumulate

from spearhead.core.media import Media
from spearhead.media import riff
from spearhead.media.foreign import avi, flv, gif, heif, matroska, office, pdf, tiff

_MAIN = dict(zip(office.MIMES, ("word/document.xml", "ppt/presentation.xml", "xl/workbook.xml"), strict=True))
_CODED = {heif.AVIF: (b"avif", b"av01"), heif.HEIC: (b"heic", b"hvc1"), heif.HEIF: (b"mif1", b"jpeg")}
"""Brand, and how the picture is coded."""
_NAMES = "http://schemas.openxmlformats.org/package/2006"


def sample(mime: str) -> Media:
    """A file of this type."""
    if mime == gif.MIME:
        head = b"GIF87a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
        data = head + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0" + b"\x3b"
    elif mime == tiff.MIME:
        values = ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 122), (277, 1), (278, 1), (279, 1))
        entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in values)
        data = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4) + b"\x80\0"
    elif mime == avi.MIME:
        data = riff.join(
            [(b"LIST", b"hdrl" + b"avih\x04\0\0\0abcd"), (b"LIST", b"movi" + b"00dc\x02\0\0\0xy")], b"AVI "
        )
    elif mime == flv.MIME:
        about = b"\x02\0\x0aonMetaData\x08\0\0\0\1\0\x08filesize\0" + struct.pack(">d", 88) + b"\0\0\x09"
        tags = ((18, about), (9, b"\x12\0\0xy"))
        parts = [bytes([kind]) + len(body).to_bytes(3, "big") + bytes(7) + body for kind, body in tags]
        data = b"FLV\1\1\0\0\0\x09" + bytes(4) + b"".join(one + struct.pack(">I", len(one)) for one in parts)
    elif mime in (matroska.MIME, matroska.WEBM):
        data = film(b"webm" if mime == matroska.WEBM else b"matroska")
    elif mime in _CODED:
        data = picture(mime)
    elif mime == pdf.MIME:
        data = page()
    else:
        data = _document(mime)
    return Media("foreign", mime, data)


def film(doctype: bytes, *, told: bool = True, width: int = 2, tags: bytes = b"") -> bytes:
    """A Matroska file with a seek head, a cluster that says where it is, and cues.

    `told`: the lengths of segment and cluster are; `width`: bytes of a place; `tags` stand before the cluster.
    """

    def one(kind: str, *parts: bytes, known: bool = True) -> bytes:
        body = b"".join(parts)
        return bytes.fromhex(kind) + (0x4000 | len(body) if known else 0x7FFF).to_bytes(2, "big") + body

    def segment(places: list[bytes]) -> list[bytes]:
        seeks = zip(("1549a966", "1654ae6b", "1c53bb6b"), (places[1], places[2], places[-1]), strict=True)
        return [
            one("114d9b74", *(one("4dbb", one("53ab", bytes.fromhex(kind)), one("53ac", at)) for kind, at in seeks)),
            one("1549a966", one("2ad7b1", b"\x0f\x42\x40")),
            one("1654ae6b", one("ae", one("d7", b"\1"), one("83", b"\1"), one("86", b"V_MJPEG"))),
            *([tags] if tags else []),
            one("1f43b675", one("e7", b"\0"), one("a7", places[-2]), one("a3", b"\x81\0\0\x80xy"), known=told),
            one("1c53bb6b", one("bb", one("b3", b"\0"), one("b7", one("f7", b"\1"), one("f1", places[-2])))),
        ]

    sizes = accumulate((len(part) for part in segment([bytes(width)] * 6)), initial=0)
    parts = segment([place.to_bytes(width, "big") for place in [*sizes][:-1]])
    return one("1a45dfa3", one("4282", doctype)) + one("18538067", *parts, known=told)


def picture(mime: str, *, version: int = 0) -> bytes:
    """A HEIF or AVIF file of one item, which `iloc` of this version tells of."""
    brand, coded = _CODED[mime]

    def one(kind: bytes, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return struct.pack(">I4s", len(body) + 8, kind) + body

    def meta(place: int) -> bytes:
        number = struct.pack(">I" if version == 2 else ">H", 1)
        said = (number, b"\0\0" if version else b"", b"\0\0", struct.pack(">HII", 1, place, 5))
        return one(
            b"meta",
            bytes(4),
            one(b"hdlr", bytes(8), b"pict", bytes(13)),
            one(b"pitm", bytes(4), b"\0\1"),
            one(b"iloc", bytes([version, 0, 0, 0]), b"\x44\0", number, *said),
            one(b"iinf", bytes(4), b"\0\1", one(b"infe", b"\2\0\0\0\0\1\0\0", coded, b"\0")),
        )

    head = one(b"ftyp", brand, bytes(4), b"mif1", brand)
    return head + meta(len(head) + len(meta(0)) + 8) + one(b"mdat", b"pixel")


def page(*, info: bytes = b"<< /Title (a) >>", more: bytes = b"") -> bytes:
    """A PDF without pages, with this document information; `more` goes into its trailer."""
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(
        (b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>", info), 1
    ):
        places.append(b"%010d 00000 n \n" % len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(places)
    trailer = b"trailer\n<< /Size 4 /Root 1 0 R /Info 3 0 R %b>>\n" % more
    return out + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(out)


def _document(mime: str) -> bytes:
    main, out = _MAIN[mime], io.BytesIO()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<?xml version="1.0"?><Types xmlns="{_NAMES}/content-types"><Default Extension="rels" ContentType='
            f'"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/{main}" '
            f'ContentType="{mime}.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<?xml version="1.0"?><Relationships xmlns="{_NAMES}/relationships"><Relationship Id="rId1" '
            f'Type="{kind}" Target="{main}"/></Relationships>',
        )
        archive.writestr(main, "<root/>")
    return out.getvalue()
