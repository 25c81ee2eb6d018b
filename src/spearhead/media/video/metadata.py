"""What a film says of itself: the GB 45438 label at `moov.udta.meta`, key AIGC (practice guide TC260-PG-20257A).

Laid out as QuickTime's metadata: a handler `mdta`, names in `keys`, values in `ilst` by the number of their name. Read
also where others put it: straight in `moov`, or as a free-form item of iTunes. Knows no samples and no signatures.
"""

import struct
from collections.abc import Callable
from dataclasses import replace

from spearhead.core.errors import InputError
from spearhead.media import gb45438
from spearhead.media.video.boxes import Box, children, damaged, render

_HANDLER = b"\0\0\0\0" + b"\0\0\0\0" + b"mdta" + bytes(12) + b"\0"
_KEY = gb45438.KEY.encode()
_UTF8 = 1
_FREE = b"----"
_MOST_LABEL = 64 * 1024
_MOST_METAS, _MOST_IN_ITEM = 16, 16


def label(moov: Box) -> dict[str, str] | None:
    """The first label in it; None when there is none."""
    found: list[dict[str, str]] = []

    def look(meta: Box) -> Box:
        head, inner = _opened(meta)
        texts = [text for name, text in _values(inner) if _is_label(name)]
        found.extend(one for text in texts if (one := gb45438.from_json(text)))
        return meta

    _each(moov, look)
    return found[0] if found else None


def bare(moov: Box) -> Box:
    """The same without any label; a `meta` that held nothing else goes, and so does a `udta` that holds nothing."""
    out = _each(moov, _without)
    inner = tuple(box for box in out.inner or () if box.kind != b"udta" or box.inner)
    return replace(out, inner=inner)


def put(moov: Box, text: str) -> Box:
    """A bare `moov` with this label: beside other names where it has a list of them, else in a `meta` of its own."""
    inner = list(moov.inner or ())
    place = next((number for number, box in enumerate(inner) if box.kind == b"udta"), None)
    if place is None:
        inner.append(Box(b"udta", b"", (_new(text),)))
        return replace(moov, inner=tuple(inner))
    udta, metas, done = inner[place], list[Box](), False
    for box in udta.inner or ():
        joined = None if done or box.kind != b"meta" else _joined(box, text)
        metas.append(joined or box)
        done = done or joined is not None
    # A list of iTunes' own (`mdir`) cannot hold other names, so it stays and a second one comes behind it.
    inner[place] = replace(udta, inner=(*metas, *([] if done else [_new(text)])))
    return replace(moov, inner=tuple(inner))


def _each(moov: Box, change: Callable[[Box], Box | None]) -> Box:
    """`moov` with every `meta` of its own and of its `udta` changed, or gone where the change gives None."""
    out: list[Box] = []
    lists = [moov, *(box for box in moov.inner or () if box.kind == b"udta")]
    if sum(one.kind == b"meta" for box in lists for one in box.inner or ()) > _MOST_METAS:
        raise damaged(f"it has more than {_MOST_METAS} boxes `meta`")
    for box in moov.inner or ():
        if box.kind == b"udta":
            inner = (change(one) if one.kind == b"meta" else one for one in box.inner or ())
            out.append(replace(box, inner=tuple(one for one in inner if one is not None)))
        elif (changed := change(box) if box.kind == b"meta" else box) is not None:
            out.append(changed)
    return replace(moov, inner=tuple(out))


def _new(text: str) -> Box:
    parts = (Box(b"hdlr", _HANDLER), Box(b"keys", _keys([b"mdta" + _KEY])), Box(b"ilst", render(_item(1, text))))
    return Box(b"meta", bytes(4) + b"".join(map(render, parts)))


def _joined(meta: Box, text: str) -> Box | None:
    """The `meta` with one name more at the end of its list; None when it has no such list."""
    head, inner = _opened(meta)
    names, (items, rest) = _names(inner), _items(inner)
    numbers = {struct.pack(">I", number) for number in range(1, len(names) + 1)}
    handled = any(box.kind == b"hdlr" and box.data[8:12] == b"mdta" for box in inner)
    if not handled or not items or rest or not all(item.kind in numbers for item in items):
        return None
    item = render(_item(len(names) + 1, text))
    return _closed(head, inner, keys=[*names, b"mdta" + _KEY], items=lambda data: data + item)


def _without(meta: Box) -> Box | None:
    """The `meta` without a label, as it was where it has none; None when it holds nothing else."""
    head, inner = _opened(meta)
    names, (items, _) = _names(inner), _items(inner)
    if names:
        gone = {number for number, name in enumerate(names, 1) if _is_label(name[4:].decode("utf-8", "replace"))}
        if not gone:
            return meta
        if len(gone) == len(names):
            return None
        kept = [number for number in range(1, len(names) + 1) if number not in gone]
        new = {struct.pack(">I", number): struct.pack(">I", place) for place, number in enumerate(kept, 1)}
        data = b"".join(render(replace(item, kind=new[item.kind])) for item in items if item.kind in new)
        return _closed(head, inner, keys=[names[number - 1] for number in kept], items=lambda _: data)
    free = [item for item in items if not (item.kind == _FREE and _is_label(_free(item)[0]))]
    if len(free) == len(items):
        return meta
    data = b"".join(map(render, free))
    return _closed(head, inner, keys=None, items=lambda _: data)


def _closed(head: bytes, inner: tuple[Box, ...], *, keys: list[bytes] | None, items: Callable[[bytes], bytes]) -> Box:
    """A `meta` of these boxes with another list of names and other items."""
    out = []
    for box in inner:
        if box.kind == b"keys" and keys is not None:
            box = Box(b"keys", _keys(keys))
        elif box.kind == b"ilst":
            box = Box(b"ilst", items(box.data))
        out.append(render(box))
    return Box(b"meta", head + b"".join(out))


def _opened(meta: Box) -> tuple[bytes, tuple[Box, ...]]:
    """Version and flags of a `meta`, which QuickTime leaves out, and the boxes in it; none where they do not fit."""
    head = b"" if meta.data[4:8] == b"hdlr" else meta.data[:4]
    try:
        inner, rest = children(meta.data[len(head) :])
    except InputError:  # strangers' metadata that is broken is left as it is
        return head, ()
    return head, () if rest else inner


def _values(inner: tuple[Box, ...]) -> list[tuple[str, str]]:
    """Every name with its text."""
    names, (items, _) = _names(inner), _items(inner)
    out = []
    for item in items:
        number = struct.unpack(">I", item.kind)[0]
        if item.kind == _FREE:
            out.append(_free(item))
        elif 0 < number <= len(names):
            out.append((names[number - 1][4:].decode("utf-8", "replace"), _text(item)))
    return out


def _names(inner: tuple[Box, ...]) -> list[bytes]:
    """The list of names, each behind the four letters of its kind; empty when there is none, or a broken one."""
    data = next((box.data for box in inner if box.kind == b"keys"), b"")
    try:
        entries, rest = children(data[8:])
    except InputError:
        return []
    if len(data) < 8 or rest or len(entries) != struct.unpack_from(">I", data, 4)[0]:
        return []
    return [entry.kind + entry.data for entry in entries]


def _keys(names: list[bytes]) -> bytes:
    return struct.pack(">II", 0, len(names)) + b"".join(render(Box(name[:4], name[4:])) for name in names)


def _items(inner: tuple[Box, ...]) -> tuple[tuple[Box, ...], bytes]:
    data = next((box.data for box in inner if box.kind == b"ilst"), b"")
    try:
        return children(data)
    except InputError:
        return (), b""


def _item(number: int, text: str) -> Box:
    value = Box(b"data", struct.pack(">II", _UTF8, 0) + text.encode())
    return Box(struct.pack(">I", number), render(value))


def _free(item: Box) -> tuple[str, str]:
    """Name and text of a free-form item."""
    try:
        inner, _ = children(item.data, [_MOST_IN_ITEM])
    except InputError:
        return "", ""
    name = next((box.data[4:] for box in inner if box.kind == b"name"), b"")
    return name.decode("utf-8", "replace"), _text(item)


def _text(item: Box) -> str:
    try:
        inner, _ = children(item.data, [_MOST_IN_ITEM])
    except InputError:
        return ""
    data = next((box.data for box in inner if box.kind == b"data"), b"")
    return data[8 : 8 + _MOST_LABEL].decode("utf-8", "replace")


def _is_label(name: str) -> bool:
    return name.rpartition(".")[2].upper() == gb45438.KEY
