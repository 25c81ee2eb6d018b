"""The label of a film: where the guide puts it, once, with what others wrote kept as it was."""

import json
import struct

import pytest

from spearhead.core import digest
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.video import MODALITY, boxes
from spearhead.media.video.tiny import box, film

LABEL = Label('演示 "maker"', "n-1", "s@1", "2026-11-22T02:00:00Z")
MEMBERS = gb45438.members(Label("wild", "w-7", "x@1", LABEL.created), b"other")
THEIRS = json.dumps({"AIGC": MEMBERS}).encode()


def value(text: bytes) -> bytes:
    return box(b"data", struct.pack(">II", 1, 0), text)


def meta(*pairs: tuple[bytes, bytes], version: bytes = bytes(4), handler: bytes = b"mdta") -> bytes:
    keys = box(b"keys", struct.pack(">II", 0, len(pairs)), *(box(b"mdta", name) for name, _ in pairs))
    items = (box(struct.pack(">I", number), value(text)) for number, (_, text) in enumerate(pairs, 1))
    return box(b"meta", version, box(b"hdlr", bytes(8), handler, bytes(13)), keys, box(b"ilst", *items))


FREE = box(b"----", box(b"mean", bytes(4), b"com.apple.iTunes"), box(b"name", bytes(4), b"AIGC"), value(THEIRS))
TOOL = box(b"\xa9too", value(b"Lavf"))
ITUNES = box(b"meta", bytes(4), box(b"hdlr", bytes(8), b"mdir", b"appl", bytes(9)), box(b"ilst", TOOL, FREE))
TITLE, PLACE = (b"title", b"the sea"), (b"com.apple.quicktime.location.ISO6709", b"+1+2/")
WILD = {
    "alone": box(b"udta", meta((b"AIGC", THEIRS))),
    "among others": box(b"udta", box(b"name", b"x"), meta(TITLE, (b"AIGC", THEIRS), PLACE)),
    "twice": box(b"udta", meta((b"AIGC", b"no label"), (b"AIGC", THEIRS))),
    "straight in moov, as QuickTime does": meta(TITLE, (b"com.apple.quicktime.AIGC", THEIRS), version=b""),
    "free form of iTunes": box(b"udta", ITUNES),
    "in two places": box(b"udta", meta((b"AIGC", THEIRS)), meta(TITLE)) + box(b"udta", ITUNES),
}


@pytest.mark.parametrize("name", WILD)
def test_the_label_of_another_is_read_and_replaced(name: str) -> None:
    theirs = film(extra=WILD[name])
    assert MODALITY.extract(theirs) == MEMBERS
    ours = MODALITY.embed(theirs, LABEL)
    assert (MODALITY.extract(ours) or {})["ProduceID"] == "n-1"
    assert ours.data.count(b"AIGC") == 1 and b"w-7" not in ours.data
    for words in (b"the sea", b"+1+2/", b"Lavf"):
        assert (words in ours.data) == (words in WILD[name])
    assert MODALITY.embed(ours, LABEL) == ours


def test_a_film_without_metadata_gets_a_place_of_which_every_byte_is_known() -> None:
    piece, ours = film(layout="mdat moov"), MODALITY.embed(film(layout="mdat moov"), LABEL)
    members = MODALITY.extract(ours) or {}
    words = json.dumps(members, separators=(",", ":")).encode()
    assert ours.data[len(piece.data) :] == box(b"udta", meta((b"AIGC", words)))
    assert tuple(members) == gb45438.MEMBERS and gb45438.problems(members) == []
    assert members["ReservedCode1"] == f"sha256:{digest.of_bytes(MODALITY.content(ours))}"
    assert gb45438.plain(members["ContentProducer"]) == '演示 "maker"'


def test_the_label_joins_a_list_of_names_and_leaves_one_of_itunes_alone() -> None:
    listed = MODALITY.embed(film(extra=box(b"udta", meta(TITLE, PLACE))), LABEL).data
    assert listed.count(b"keys") == 1 and struct.unpack_from(">I", listed, listed.index(b"keys") + 8) == (3,)
    tunes = box(b"meta", bytes(4), box(b"hdlr", bytes(8), b"mdir", b"appl", bytes(9)), box(b"ilst", TOOL))
    beside = MODALITY.embed(film(extra=box(b"udta", tunes)), LABEL).data
    assert tunes in beside and beside.index(tunes) < beside.index(b"keys")


@pytest.mark.parametrize(
    "extra",
    [
        box(b"udta", bytes(4)),
        box(b"udta"),
        box(b"udta", meta(TITLE), bytes(4)),
        box(b"udta", meta(TITLE, handler=b"mdir")),
        box(b"udta", box(b"meta")),
        box(
            b"udta",
            box(b"meta", bytes(4), box(b"hdlr", bytes(8), b"mdta", bytes(13)), box(b"keys", b"\0\0\0\0\0\0\0\7")),
        ),
        box(b"udta", box(b"meta", bytes(4), b"\0\0\xff\xffhdlr")),
        box(b"udta", meta(TITLE).replace(struct.pack(">I4s", 31, b"\0\0\0\1"), struct.pack(">I4s", 31, b"\0\0\0\7"))),
    ],
)
def test_odd_metadata_is_left_as_it_is(extra: bytes) -> None:
    piece = film(extra=extra)
    assert MODALITY.extract(piece) is None
    ours = MODALITY.embed(piece, LABEL)
    assert (MODALITY.extract(ours) or {})["ReservedCode1"] == f"sha256:{digest.of_bytes(MODALITY.content(ours))}"
    assert MODALITY.content(ours) == MODALITY.content(piece) and MODALITY.embed(ours, LABEL) == ours


def test_metadata_made_to_harm_says_nothing_and_is_no_obstacle() -> None:
    crowd = [(b"AIGC", b"{" * 5000)] * 300
    deep = box(b"udta", meta((b"AIGC", b"[" * 60_000)), meta(*crowd))
    piece = Media("video", boxes.MIME, film(extra=deep).data)
    assert MODALITY.extract(piece) is None
    assert (MODALITY.extract(MODALITY.embed(piece, LABEL)) or {})["ProduceID"] == "n-1"
