"""Files of a few bytes, made by hand: for trying things out."""

import io
import struct
import zipfile

from spearhead.core.media import Media
from spearhead.media import riff
from spearhead.media.foreign import avi, flv, gif, office, tiff

_MAIN = dict(zip(office.MIMES, ("word/document.xml", "ppt/presentation.xml", "xl/workbook.xml"), strict=True))
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
    else:
        data = _document(mime)
    return Media("foreign", mime, data)


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
