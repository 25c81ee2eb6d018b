"""Promises of Matroska and WebM: one label before the clusters, and every place that the file tells is right."""

import re
import time
import zlib

import pytest

from spearhead.core.errors import InputError
from spearhead.media.foreign import matroska, tiny

CLUSTER, VOID = b"\x1f\x43\xb6\x75", b"\xec"


def one(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes.fromhex(kind) + (0x1000_0000 | len(body)).to_bytes(4, "big") + body


def tag(name: bytes, *parts: bytes) -> bytes:
    return one("7373", one("63c0"), one("67c8", one("45a3", name), one("4487", b"words"), *parts))


def places(data: bytes) -> list[bytes]:
    """The first bytes of what each seek and each cue leads to."""
    start = data.index(b"\x18\x53\x80\x67") + 6  # the length has two bytes in the samples
    found = [
        int.from_bytes(body, "big")
        for kind in (rb"\x53\xac", rb"\xf1")
        for short, long in re.findall(kind + rb"(?:(?:\x81|\x40\x01)(.)|(?:\x82|\x40\x02)(..))", data, re.DOTALL)
        for body in [short or long]
    ]
    return [data[start + place :][:4] for place in found]


WANTED = [bytes.fromhex(kind) for kind in ("1549a966", "1654ae6b", "1c53bb6b", "1f43b675")]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("width", [1, 2])
def test_seeks_and_cues_lead_where_they_led(told: bool, width: int) -> None:
    data = tiny.film(b"webm", told=told, width=width)
    assert places(data) == WANTED
    for text in ("short", "x" * 400):
        labelled = matroska.put(data, text)
        assert matroska.label(labelled) == text and places(labelled) == WANTED, (
            "as numbers of two bytes where one is too few"
        )
        assert matroska.put(labelled, text) == labelled and matroska.content(labelled) == matroska.content(data)
        assert labelled.index(text.encode()) < labelled.index(CLUSTER)


def test_a_cluster_tells_its_place_or_is_silent_and_keeps_its_length() -> None:
    narrow, wide = (tiny.film(b"matroska", width=width) for width in (1, 2))
    after = matroska.put(wide, "x" * 400)
    start = after.index(b"\x18\x53\x80\x67") + 6
    told = after.index(b"\xa7\x40\x02", after.index(CLUSTER)) + 3
    assert int.from_bytes(after[told : told + 2], "big") == after.index(CLUSTER) - start
    silent = matroska.put(narrow, "x" * 400)
    assert b"\xa7\x40\x01" in narrow[narrow.index(CLUSTER) :] and b"\xa7\x40\x01" not in silent[silent.index(CLUSTER) :]
    assert VOID + b"\x40\x01" in silent[silent.index(CLUSTER) :]


def test_other_tags_stay_and_labels_of_others_go_wherever_they_are() -> None:
    inside = one("67c8", one("45a3", b"aigc\0"), one("4487", b"old"))
    tags = one("1254c367", tag(b"TITLE", inside), tag(b"AIGC"), tag(b"ARTIST"))
    data = tiny.film(b"matroska", tags=tags)
    behind = data + one("1254c367", tag(b"AIGC"))
    start = data.index(b"\x18\x53\x80\x67") + 4
    behind = behind[:start] + (0x4000 | len(behind) - start - 2).to_bytes(2, "big") + behind[start + 2 :]
    for film in (data, behind):
        assert matroska.label(film) == "old"
        labelled = matroska.put(film, "new")
        assert matroska.label(labelled) == "new" and b"TITLE" in labelled and b"ARTIST" in labelled
        assert len(re.findall(rb"(?i)aigc", labelled)) == 1 and labelled.count(b"\x12\x54\xc3\x67") == 1
        assert b"old" not in labelled and labelled.count(b"\x73\x73") == 3 and places(labelled) == WANTED


def test_nothing_leads_to_tags_that_are_gone() -> None:
    other, old = one("1254c367", tag(b"TITLE")), one("1254c367", tag(b"AIGC"))
    data = tiny.film(b"matroska", tags=other + old)
    start = data.index(b"\x18\x53\x80\x67") + 6
    tracks = bytes.fromhex("1654ae6b") + b"\x53\xac\x40\x02"
    at = data.index(tracks)
    place = (data.index(old) - start).to_bytes(2, "big")
    data = data[:at] + bytes.fromhex("1254c367") + tracks[4:] + place + data[at + len(tracks) + 2 :]
    assert places(data)[1] == b"\x12\x54\xc3\x67"
    assert places(matroska.put(data, "new")) == [WANTED[0], *WANTED[2:]]


def test_checksums_are_counted_anew() -> None:
    tags = tag(b"TITLE")
    data = tiny.film(b"matroska", tags=one("1254c367", one("bf", zlib.crc32(tags).to_bytes(4, "little")), tags))
    labelled = matroska.put(data, "new")
    at = labelled.index(b"\x12\x54\xc3\x67")
    size = int.from_bytes(labelled[at + 4 : at + 8], "big") - 0x1000_0000
    inner = labelled[at + 8 : at + 8 + size]
    assert inner[:5] == b"\xbf\x10\0\0\x04" and b"AIGC" in inner
    assert zlib.crc32(inner[9:]).to_bytes(4, "little") == inner[5:9]


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_is_cut_anywhere_is_refused_in_a_sentence(told: bool) -> None:
    data = matroska.put(tiny.film(b"webm", told=told), "label")
    whole = set()
    for end in range(len(data)):
        try:
            matroska.put(data[:end], "other")
            whole.add(end)
        except InputError:
            continue
    assert len(whole) == (0 if told else 9), "one without lengths is whole where an element ends"


def test_two_films_in_one_file_are_refused() -> None:
    data = tiny.film(b"webm")
    for film in (data + data, tiny.film(b"webm", told=False) + data):
        with pytest.raises(InputError, match="another film"):
            matroska.put(film, "label")


def test_depth_and_number_of_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = b""
    for _ in range(60):
        nested = one("67c8", nested)
    with pytest.raises(InputError, match="deep"):
        matroska.label(tiny.film(b"webm", tags=one("1254c367", one("7373", nested))))
    monkeypatch.setattr(matroska, "_MOST", 10_000)
    many = tiny.film(b"webm", told=False) + CLUSTER + b"\xff" + b"\xa3\x80" * 20_000
    started = time.process_time()
    with pytest.raises(InputError, match="more than 10,000 elements"):
        matroska.put(many, "label")
    assert time.process_time() - started < 1


def test_another_document_of_the_same_layout_is_no_film() -> None:
    assert matroska.recognise(tiny.film(b"other")) is None
    assert matroska.recognise(b"\x1a\x45\xdf\xa3" + b"\xff" * 9) is None
