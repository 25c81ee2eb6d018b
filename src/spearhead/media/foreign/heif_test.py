"""Promises of HEIF and AVIF: one label in the XMP of the first picture, and every item lies where the file says."""

import struct

import pytest

from spearhead.core.errors import InputError
from spearhead.media import xmp
from spearhead.media.foreign import heif, tiny

TOOL = ("http://ns.adobe.com/xap/1.0/", "xmp", "CreatorTool")


def one(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def item(number: int, kind: bytes, words: bytes = b"\0") -> bytes:
    return one(b"infe", b"\2\0\0\0", struct.pack(">HH4s", number, 0, kind), words)


def made(
    *,
    method: int = 0,
    packet: bytes = b"",
    of: int = 1,
    base: int = 0,
    behind: bytes = b"",
    extents: tuple[tuple[int, int], ...] = (),
    encoding: bytes = b"",
) -> bytes:
    """A file of a picture (1) and XMP (2) that describes item `of`; `method` 1 keeps the XMP in `idat`.

    `base`: bytes of the places' bases; `extents` are the XMP's in place of the true ones.
    """

    def meta(start: int) -> bytes:
        place = start + 5 if method == 0 else 0
        lies = extents or ((place, len(packet)),)
        table = (
            struct.pack(">HHH", 1, 0, 0)
            + (start if base else 0).to_bytes(base, "big")
            + struct.pack(">HII", 1, 0 if base else start, 5)
        )
        table += struct.pack(">HHH", 2, method, 0) + bytes(base) + struct.pack(">H", len(lies))
        table += b"".join(struct.pack(">II", *piece) for piece in lies)
        return one(
            b"meta",
            bytes(4),
            one(b"hdlr", bytes(8), b"pict", bytes(13)),
            one(b"pitm", bytes(4), b"\0\1"),
            one(b"idat", packet if method == 1 else b""),
            one(b"iloc", b"\1\0\0\0\x44", bytes([base << 4]), b"\0\2", table),
            one(
                b"iinf",
                bytes(4),
                b"\0\2",
                item(1, b"av01"),
                item(2, b"mime", b"x\0application/rdf+xml\0" + encoding + b"\0"),
            ),
            one(b"iref", bytes(4), one(b"cdsc", struct.pack(">HHH", 2, 1, of))),
            struct.pack(">I4s", 0, b"free") + b"room to the end",
        )

    head = one(b"ftyp", b"avif", bytes(4), b"mif1", b"avif")
    return head + meta(len(head) + len(meta(0)) + 8) + one(b"mdat", b"pixel", packet if method == 0 else b"") + behind


def pixels(data: bytes) -> bytes:
    """What `iloc` says that item 1 is, read by other means than the code's own."""
    at = data.index(b"iloc") + 4
    version, sizes, base = data[at], data[at + 4], data[at + 5] >> 4
    wide = sizes >> 4
    at += 8 + (2 if version == 2 else 0)
    at += (4 if version == 2 else 2) + (2 if version else 0) + 2
    start = int.from_bytes(data[at : at + base], "big")
    at += base + 2
    start += int.from_bytes(data[at : at + wide], "big")
    return data[start : start + int.from_bytes(data[at + wide : at + 2 * wide], "big")]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_picture_lies_where_every_version_of_the_table_says(version: int) -> None:
    data = tiny.picture(heif.AVIF, version=version)
    labelled = heif.put(data, "{}")
    assert pixels(data) == pixels(labelled) == b"pixel" and heif.label(labelled) == "{}"
    assert heif.put(labelled, "{}") == labelled and heif.content(labelled) == heif.content(data)


@pytest.mark.parametrize("method", [0, 1])
@pytest.mark.parametrize("base", [0, 4, 8])
def test_xmp_that_is_there_takes_the_label_and_keeps_what_else_it_says(method: int, base: int) -> None:
    packet = xmp.put(None, {TOOL: "brush", xmp.AIGC: "old words"})
    data = made(method=method, packet=packet, base=base)
    assert heif.label(data) == "old words" and pixels(data) == b"pixel"
    labelled = heif.put(data, "new")
    assert heif.label(labelled) == "new" and b"old words" not in labelled and labelled.count(b"brush") == 1
    assert pixels(labelled) == b"pixel" and labelled.count(b"infe") == 2 and labelled.count(b"cdsc") == 1
    assert heif.put(labelled, "new") == labelled and heif.content(labelled) == heif.content(data)


def test_xmp_of_another_picture_stays_but_for_its_label() -> None:
    data = made(packet=xmp.put(None, {TOOL: "brush", xmp.AIGC: "old words"}), of=7)
    labelled = heif.put(data, "new")
    assert labelled.count(b"infe") == 3 and labelled.count(b"brush") == 1 and b"old words" not in labelled
    assert heif.label(labelled) == "new" and heif.put(labelled, "new") == labelled
    assert heif.content(labelled) == heif.content(data)


def test_the_last_box_in_meta_may_reach_to_its_end() -> None:
    data, room = tiny.picture(heif.AVIF), struct.pack(">I4s", 0, b"free") + b"room"
    start, end = data.index(b"meta") - 4, data.index(b"mdat") - 4
    longer = data[:start] + struct.pack(">I", end - start + len(room)) + data[start + 4 : end] + room + data[end:]
    place = struct.pack(">I", data.index(b"pixel"))
    longer = longer.replace(place, struct.pack(">I", longer.index(b"pixel")))
    labelled = heif.put(longer, "new")
    assert pixels(longer) == pixels(labelled) == b"pixel" and heif.content(labelled) == heif.content(longer)
    assert heif.put(labelled, "new") == labelled and b"room" in labelled
    assert len(heif._parsed(labelled).references) == 1, "it has not swallowed the box behind it"


def test_what_lies_behind_is_not_touched() -> None:
    behind = one(b"mpvd", b"a film of its own") + struct.pack(">I4s", 0, b"skip") + b"to the end"
    labelled = heif.put(made(packet=xmp.put(None, {TOOL: "brush"}), behind=behind), "new")
    assert labelled.endswith(behind) and pixels(labelled) == b"pixel"


def test_what_cannot_keep_its_promises_is_refused_in_a_sentence() -> None:
    signature = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    film = made(packet=xmp.put(None, {xmp.AIGC: "old"}), behind=one(b"moov", b""))
    assert heif.label(film) == "old", "of a sequence a label is read"
    lies = "cannot be used: its XMP lies within another item"
    for data, why in (
        (film, "sequence of pictures"),
        (made(packet=b"x", behind=one(b"uuid", signature)), "signed with C2PA"),
        (made(packet=b"x", encoding=b"deflate"), "compressed"),
        (made(packet=b"x", extents=((len(made()) - 5, 3),)), lies),
        (made(packet=b"x", extents=((1 << 31, 3),)), "outside of it"),
        (made(packet=b"x", extents=((40, 0),)), "does not tell its length"),
        (made(packet=b"x", method=2), lies),
        (made() + one(b"meta", bytes(4)), "2 boxes `meta`"),
    ):
        with pytest.raises(InputError, match=why):
            heif.put(data, "new")


def test_items_that_hold_the_file_again_and_again_are_refused() -> None:
    data = made(packet=b"x" * 5000)
    head, table = data.index(b"iinf"), data.index(b"iloc")
    many = 100
    entries = b"".join(struct.pack(">HHHHII", number, 0, 0, 1, 0, 3000) for number in range(1, many + 1))
    bomb = data[: table - 4] + one(b"iloc", b"\1\0\0\0\x44\0", struct.pack(">H", many), entries)
    size = len(bomb) - data.index(b"meta") + 4 + len(data) - head + 4 - len(data[data.index(b"mdat") - 4 :])
    at = data.index(b"meta") - 4
    whole = bomb[:at] + struct.pack(">I", size) + bomb[at + 4 :] + data[head - 4 :]
    with pytest.raises(InputError, match="hold more than the file"):
        heif.content(whole)
    assert len(whole) > 5000


def test_a_file_that_is_cut_anywhere_is_refused_in_a_sentence() -> None:
    data = heif.put(made(packet=xmp.put(None, {TOOL: "brush"})), "label")
    for end in range(len(data)):
        with pytest.raises(InputError):
            heif.put(data[:end], "other")
    for place in range(len(data)):
        for bit in (1, 0x80):
            changed = bytearray(data)
            changed[place] ^= bit
            try:
                heif.put(bytes(changed), "other")
            except InputError:
                continue


@pytest.mark.parametrize(
    ("brands", "mime"),
    [
        ((b"avif", b"mif1"), "image/avif"),
        ((b"mif1", b"miaf", b"avif"), "image/avif"),
        ((b"mif1", b"heic"), "image/heic"),
        ((b"mif1", b"mif1"), "image/heif"),
        ((b"msf1", b"hevc"), "image/heic-sequence"),
        ((b"isom", b"avif"), None),
        ((b"mp42", b"heic"), None),
        ((b"qt  ", b"heic"), None),
    ],
)
def test_brands_tell_what_a_file_is_and_films_are_left_to_others(brands: tuple[bytes, bytes], mime: str | None) -> None:
    assert heif.recognise(one(b"ftyp", brands[0], bytes(4), *brands[1:])) == mime
