"""DOCX, PPTX and XLSX: the label as the custom property AIGC (ECMA-376, part 1, section 15.2.12.2)."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from xml.dom import minidom

from spearhead.core.errors import InputError
from spearhead.media import xmp

_KIND = "application/vnd.openxmlformats-officedocument"
MIMES = (
    f"{_KIND}.wordprocessingml.document",
    f"{_KIND}.presentationml.presentation",
    f"{_KIND}.spreadsheetml.sheet",
)
_MAIN = dict(zip(("word/document.xml", "ppt/presentation.xml", "xl/workbook.xml"), MIMES, strict=True))
_TYPES, _RELATIONS, _CUSTOM = "[Content_Types].xml", "_rels/.rels", "docProps/custom.xml"
_ABOUT = (_TYPES, _RELATIONS, _CUSTOM)
"""Parts that only say what there is: a label changes them, so its digest is not of them."""
_PROPERTIES = "http://schemas.openxmlformats.org/officeDocument/2006/custom-properties"
_VALUES = "http://schemas.openxmlformats.org/officeDocument/2006/docPropsVTypes"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/custom-properties"
_CUSTOM_TYPE = f"{_KIND}.custom-properties+xml"
_FORMAT = "{D5CDD505-2E9C-101B-9397-08002B2CF9AE}"
_NAME = "AIGC"
_NEW = f'<Properties xmlns="{_PROPERTIES}" xmlns:vt="{_VALUES}"/>'.encode()
MOST_PARTS, MOST_BYTES = 10_000, 256 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error)


def recognise(data: bytes) -> str | None:
    """The mime type by the main part that the archive names."""
    if data[:4] != b"PK\x03\x04":
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except _BROKEN:
        return None
    return next((mime for name, mime in _MAIN.items() if name in names), None) if _TYPES in names else None


def label(data: bytes) -> str | None:
    """The text of the label."""
    parts = _parts(data)
    document = xmp.parsed(parts.get(_CUSTOM))
    for one in document.getElementsByTagName("*") if document else ():
        if one.localName == "property" and one.getAttribute("name") == _NAME:
            return xmp.words(one)
    return None


def put(data: bytes, text: str) -> bytes:
    """The file with this label alone; equal files give equal bytes."""
    parts = _parts(data)
    parts[_CUSTOM] = _with_property(parts.get(_CUSTOM), text)
    parts[_TYPES] = _with(parts.get(_TYPES), "Override", {"PartName": f"/{_CUSTOM}", "ContentType": _CUSTOM_TYPE})
    relation = {"Id": "rIdSpearhead", "Type": _RELATION, "Target": _CUSTOM}
    parts[_RELATIONS] = _with(parts.get(_RELATIONS), "Relationship", relation, key="Type")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (_TYPES, *(name for name in parts if name != _TYPES)):  # which readers want first
            archive.writestr(zipfile.ZipInfo(name), parts[name], compress_type=zipfile.ZIP_DEFLATED)
    return out.getvalue()


def content(data: bytes) -> bytes:
    """Every part with its name, but those that say what there is."""
    parts = _parts(data)
    kept = sorted(name for name in parts if name not in _ABOUT)
    return b"".join(f"{name}\n{len(parts[name])}\n".encode() + parts[name] for name in kept)


def _parts(data: bytes) -> dict[str, bytes]:
    """Name and bytes of every part, in order and within bounds; raises InputError."""
    out: dict[str, bytes] = {}
    left = MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > MOST_PARTS:
                raise InputError(f"the document has more than {MOST_PARTS:,} parts")
            for info in archive.infolist():
                if info.filename in out:
                    raise InputError("the document holds a part twice")
                with archive.open(info) as part:  # what the archive says of its size is not believed
                    out[info.filename] = part.read(left + 1)
                left -= len(out[info.filename])
                if left < 0:
                    raise InputError(f"the document unpacks to more than {MOST_BYTES >> 20} MiB")
    except _BROKEN as error:
        raise InputError("the document is damaged: its archive cannot be read") from error
    return out


def _with_property(part: bytes | None, text: str) -> bytes:
    """The custom properties with this one alone of its name."""
    document = xmp.parsed(part) or minidom.parseString(_NEW)
    root = document.documentElement
    if root is None or root.localName != "Properties":
        document = minidom.parseString(_NEW)
        root = document.documentElement
    assert root is not None
    taken = [1]
    for one in [node for node in root.childNodes if isinstance(node, minidom.Element)]:
        if one.getAttribute("name") == _NAME:
            root.removeChild(one)
        elif (number := one.getAttribute("pid")).isascii() and number.isdecimal() and len(number) < 10:
            taken.append(int(number))
    made = document.createElementNS(_PROPERTIES, f"{root.prefix}:property" if root.prefix else "property")
    for name, value in (("fmtid", _FORMAT), ("pid", str(max(taken) + 1)), ("name", _NAME)):
        made.setAttribute(name, value)
    held = document.createElementNS(_VALUES, "vt:lpwstr")
    held.setAttribute("xmlns:vt", _VALUES)
    held.appendChild(document.createTextNode(text))
    made.appendChild(held)
    root.appendChild(made)
    return bytes(document.toxml(encoding="UTF-8"))


def _with(part: bytes | None, name: str, values: Mapping[str, str], *, key: str = "PartName") -> bytes:
    """A list of parts or relations that has this entry; one that is there already stays."""
    document = xmp.parsed(part)
    root = document.documentElement if document else None
    if document is None or root is None:
        raise InputError("the document is damaged: the list of its parts cannot be read")
    entries = [one for one in root.childNodes if isinstance(one, minidom.Element)]
    if any(one.localName == name and one.getAttribute(key) == values[key] for one in entries):
        return part or b""
    made = document.createElementNS(root.namespaceURI, f"{root.prefix}:{name}" if root.prefix else name)
    for attribute, value in values.items():
        made.setAttribute(attribute, value)
    root.appendChild(made)
    return bytes(document.toxml(encoding="UTF-8"))
