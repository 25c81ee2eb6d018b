"""MP3 files: the label in their ID3v2 tag, whatever tag that was, and the seconds counted by hand."""

import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.sound import MODALITY, id3, mp3, tiny

LABEL = Label('演示 "maker"', "n-1", "s@1", "2026-11-22T02:00:00Z")
MEMBERS = gb45438.members(Label("wild", "w-7", "x@1", LABEL.created), b"other")
THEIRS = json.dumps({"AIGC": MEMBERS})


def sevens(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def frame(version: int, name: bytes, data: bytes, *, flags: int = 0, size: bytes | None = None) -> bytes:
    length = sevens(len(data)) if version == 4 else struct.pack(">I", len(data))
    return name + (size or length) + bytes([0, flags]) + data


def tag(version: int, body: bytes, *, flags: int = 0) -> bytes:
    return b"ID3" + bytes([version, 0, flags]) + sevens(len(body)) + body


TITLE = b"\0sea\xff\xe0"
PLAIN = b"\0AIGC\0" + THEIRS.encode()
WIDE = b"\1" + "AIGC".encode("utf-16") + b"\0\0" + THEIRS.encode("utf-16")
BIG = b"\2" + "AIGC".encode("utf-16-be") + b"\0\0" + THEIRS.encode("utf-16-be")
PACKED = zlib.compress(PLAIN)
TAGS = {
    "2.3": tag(3, frame(3, b"TIT2", TITLE) + frame(3, b"TXXX", PLAIN) + bytes(50)),
    "2.4": tag(4, frame(4, b"TIT2", TITLE) + frame(4, b"TXXX", b"\3" + PLAIN[1:])),
    "UTF-16": tag(3, frame(3, b"TXXX", WIDE) + frame(3, b"TIT2", TITLE)),
    "UTF-16 without a mark": tag(4, frame(4, b"TXXX", BIG) + frame(4, b"TIT2", TITLE)),
    "2.3 unsynchronised as a whole": tag(
        3, (frame(3, b"TIT2", TITLE) + frame(3, b"TXXX", WIDE)).replace(b"\xff", b"\xff\0"), flags=0x80
    ),
    "2.4 unsynchronised frame by frame": tag(
        4,
        frame(4, b"TIT2", TITLE.replace(b"\xff", b"\xff\0"), flags=2)
        + frame(4, b"TXXX", sevens(len(WIDE)) + WIDE.replace(b"\xff", b"\xff\0"), flags=3),
        flags=0x80,
    ),
    "packed, 2.4": tag(4, frame(4, b"TXXX", sevens(len(PLAIN)) + PACKED, flags=9) + frame(4, b"TIT2", TITLE)),
    "packed, 2.3": tag(
        3, frame(3, b"TXXX", struct.pack(">I", len(PLAIN)) + PACKED, flags=0x80) + frame(3, b"TIT2", TITLE)
    ),
    "in a group, 2.4": tag(4, frame(4, b"TXXX", b"\7" + PLAIN, flags=0x40) + frame(4, b"TIT2", TITLE)),
    "sizes as iTunes wrote them": tag(
        4, frame(4, b"TXXX", PLAIN, size=struct.pack(">I", len(PLAIN))) + frame(4, b"TIT2", TITLE)
    ),
    "extended header, 2.4": tag(
        4, sevens(6) + b"\1\0" + frame(4, b"TXXX", PLAIN) + frame(4, b"TIT2", TITLE), flags=0x40
    ),
    "extended header, 2.3": tag(
        3, struct.pack(">IHI", 6, 0, 0) + frame(3, b"TXXX", PLAIN) + frame(3, b"TIT2", TITLE), flags=0x40
    ),
    "footer": tag(4, frame(4, b"TXXX", PLAIN) + frame(4, b"TIT2", TITLE), flags=0x10) + b"3DI\4\0\0\0\0\0\0",
}


@pytest.mark.parametrize("name", TAGS)
def test_a_label_is_read_and_replaced_in_every_kind_of_tag(name: str) -> None:
    theirs = tiny.silence(tag=TAGS[name])
    assert MODALITY.extract(theirs) == MEMBERS
    ours = MODALITY.embed(theirs, LABEL)
    assert (MODALITY.extract(ours) or {})["ProduceID"] == "n-1" and MODALITY.embed(ours, LABEL) == ours
    read = id3.read(ours.data)
    assert [one.name for one in read.frames] == [b"TIT2", b"TXXX"] and b"w-7" not in ours.data
    assert id3.plain(read.frames[0], read.version) == TITLE
    assert ours.data[read.size :] == tiny.silence().data


def test_a_file_without_a_tag_gets_one_of_which_every_byte_is_known() -> None:
    ours = MODALITY.embed(tiny.silence(), LABEL)
    words = json.dumps(MODALITY.extract(ours), separators=(",", ":")).encode()
    assert ours.data == tag(4, frame(4, b"TXXX", b"\0AIGC\0" + words)) + tiny.silence().data
    assert tuple(json.loads(words)) == gb45438.MEMBERS and gb45438.problems(json.loads(words)) == []
    assert json.loads(words)["ReservedCode1"] == f"sha256:{digest.of_bytes(tiny.silence().data)}"


def test_seconds_are_counted_from_the_frames_of_sound() -> None:
    assert MODALITY.measure(tiny.silence(38)) == 1  # 38 x 1152 / 44100 = 0.993
    assert MODALITY.measure(tiny.silence(39)) == 2  # 1.019
    old = b"TAG" + bytes(125)
    assert MODALITY.measure(Media("sound", mp3.MIME, tiny.silence(38).data + old)) == 1
    lowest = b"\xff\xe3\x18\xc0" + bytes(68)  # MPEG-2.5, 8 kbit/s, 8 kHz: 72 bytes hold 576 samples
    assert MODALITY.measure(Media("sound", mp3.MIME, lowest * 28)) == 3  # 2.016


def test_tables_are_no_sound_and_what_the_encoder_added_is_not_counted() -> None:
    def first(words: bytes) -> bytes:
        return (b"\xff\xfb\x90\xc0" + bytes(17) + words).ljust(417, b"\0")

    info = b"Info" + struct.pack(">III", 0xF, 39, 16_680) + bytes(104)
    added = b"LAME3.100" + bytes(12) + bytes([576 >> 4, (576 & 15) << 4 | 252 >> 8, 252 & 255])
    for head, wanted in ((info + added, 1), (info, 2), (b"Xing" + bytes(4), 2)):  # 39 x 1152 - 828 = 44100
        assert MODALITY.measure(Media("sound", mp3.MIME, first(head) + tiny.silence(39).data)) == wanted
    fraunhofer = (b"\xff\xfb\x90\xc0" + bytes(32) + b"VBRI").ljust(417, b"\0")
    assert MODALITY.measure(Media("sound", mp3.MIME, fraunhofer + tiny.silence(38).data)) == 1


def test_what_is_no_whole_mp3_file_is_refused_in_one_line() -> None:
    good, labelled = tiny.silence().data, TAGS["2.4"]
    cases = {
        b"": "wanted frames",
        good[:-1]: "cut short",
        good + b"junk": "cut short",
        labelled: "wanted frames",
        labelled[:40]: "ID3 tag",
        labelled + labelled + good: "two ID3v2 tags",
        b"ID3\2\0\0\0\0\0\0" + good: "version 2.2",
        tag(3, frame(3, b"TXXX", PLAIN, size=b"\x7f\xff\xff\xff")) + good: "ID3 tag",
        tag(3, frame(3, b"tiny", PLAIN)) + good: "ID3 tag",
        tag(3, b"\0", flags=0x40) + good: "ID3 tag",
        tag(4, b"TIT2\0\0\0\0\0\0" * 20_000) + good: "ID3 tag",
    }
    for data, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            MODALITY.measure(Media("sound", mp3.MIME, data))
        assert "\n" not in str(caught.value)
        assert MODALITY.extract(Media("sound", mp3.MIME, data)) is None


def test_a_label_that_unpacks_without_end_is_read_in_part() -> None:
    bomb = zlib.compress(b"\0AIGC\0" + b" " * 50_000_000)
    piece = tiny.silence(tag=tag(4, frame(4, b"TXXX", sevens(9) + bomb, flags=9)))
    assert MODALITY.extract(piece) is None
    assert (MODALITY.extract(MODALITY.embed(piece, LABEL)) or {})["ProduceID"] == "n-1"


def test_texts_and_pictures_are_no_sound() -> None:
    for data in (
        b"ID3 is a tag",
        b"\xff\xfeI\0D\0",
        b"\xff\xd8\xff\xe0",
        b"RIFF1234WEBP",
        b"\xff\xf1\x50\x80",
        b"\xff",
    ):
        assert MODALITY.recognise(data) is None


@given(st.data())
def test_a_changed_file_gives_an_answer_or_one_sentence(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(TAGS)))
    whole = bytearray(tiny.silence(3, tag=TAGS[name]).data)
    end = len(TAGS[name]) + 8
    for place in data.draw(st.lists(st.integers(0, end), max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    piece = Media("sound", mp3.MIME, bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    MODALITY.recognise(piece.data)
    MODALITY.extract(piece)
    MODALITY.signature(piece)
    try:
        assert MODALITY.measure(piece) >= 0
        again = MODALITY.embed(piece, LABEL)
    except InputError:
        return
    assert (MODALITY.extract(again) or {})["ProduceID"] == "n-1"
