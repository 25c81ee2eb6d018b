"""WAV files: the label goes beside the samples, once, and the seconds are counted by hand."""

import io
import json
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.sound import MODALITY, tiny, wav

LABEL = Label('演示 "maker"', "n-1", "s@1", "2026-11-22T02:00:00Z")
MEMBERS = gb45438.members(Label("wild", "w-7", "x@1", LABEL.created), b"other")


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes) -> Media:
    body = b"WAVE" + b"".join(chunks)
    return Media("sound", "audio/wav", b"RIFF" + struct.pack("<I", len(body)) + body)


def form(tag: int, *, rate: int, byte_rate: int, block: int, channels: int = 1) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block, 8))


def test_labelling_keeps_samples_and_every_other_chunk() -> None:
    notes, odd = chunk(b"LIST", b"INFOINAM\4\0\0\0sea\0"), chunk(b"data", b"\1\2\3")
    piece = riff(notes, form(1, rate=8000, byte_rate=8000, block=1), odd, chunk(b"id3 ", b"x"))
    labelled = MODALITY.embed(piece, LABEL)
    assert labelled.data[12 : len(piece.data)] == piece.data[12:]  # the label alone is new, and last
    assert labelled.data[len(piece.data) :][:4] == b"AIGC"
    assert struct.unpack_from("<I", labelled.data, 4)[0] == len(labelled.data) - 8
    with wave.open(io.BytesIO(labelled.data)) as reader:
        assert reader.readframes(9) == b"\1\2\3"


def test_the_label_is_what_the_guide_asks_for_and_fits_the_content() -> None:
    labelled = MODALITY.embed(tiny.wave_file(), LABEL)
    at = labelled.data.index(b"AIGC")
    (size,) = struct.unpack_from("<I", labelled.data, at + 4)
    members = json.loads(labelled.data[at + 8 : at + 8 + size])
    assert tuple(members) == gb45438.MEMBERS and members == MODALITY.extract(labelled)
    assert gb45438.problems(members) == [] and gb45438.plain(members["ContentProducer"]) == '演示 "maker"'
    assert members["ReservedCode1"] == f"sha256:{digest.of_bytes(MODALITY.content(labelled))}"
    assert MODALITY.content(labelled) == MODALITY.content(tiny.wave_file())


def test_the_digest_is_of_the_sound_alone() -> None:
    sound, notes = form(1, rate=8000, byte_rate=8000, block=1) + chunk(b"data", b"\1\2"), chunk(b"LIST", b"INFO")
    assert MODALITY.content(riff(sound)) == MODALITY.content(riff(notes, sound, notes)) == sound
    assert MODALITY.content(riff(sound.replace(b"\1\2", b"\1\3"))) != sound


def test_the_label_of_another_is_read_and_replaced_however_often_it_is_there() -> None:
    theirs = json.dumps({"AIGC": MEMBERS}).encode() + b"\n\0"
    sound = form(1, rate=8000, byte_rate=8000, block=1), chunk(b"data", b"\1\2")
    piece = riff(chunk(b"AIGC", b"no label"), chunk(b"AIGC", theirs), *sound, chunk(b"AIGC", theirs))
    assert MODALITY.extract(piece) == MEMBERS
    ours = MODALITY.embed(piece, LABEL)
    assert ours.data.count(b"AIGC") == 1 and b"w-7" not in ours.data
    assert MODALITY.embed(ours, LABEL) == ours


@pytest.mark.parametrize(
    ("frames", "rate", "channels", "wanted"), [(8000, 8000, 1, 1), (8001, 8000, 2, 2), (1, 8, 1, 1)]
)
def test_seconds_are_frames_over_the_rate_rounded_up(frames: int, rate: int, channels: int, wanted: int) -> None:
    assert MODALITY.measure(tiny.wave_file(frames, rate=rate, channels=channels)) == wanted


def test_seconds_of_packed_sound_are_bytes_over_the_byte_rate() -> None:
    packed = riff(form(0x55, rate=44_100, byte_rate=1000, block=1), chunk(b"data", bytes(2001)))
    assert MODALITY.measure(packed) == 3
    floats = riff(form(0xFFFE, rate=10, byte_rate=7, block=8, channels=2), chunk(b"data", bytes(168)))
    assert MODALITY.measure(floats) == 3  # 21 frames of two floats


def test_what_is_no_whole_wav_file_is_refused_in_one_line() -> None:
    good = tiny.wave_file(100).data
    nothing = form(1, rate=8000, byte_rate=8000, block=0), chunk(b"data", bytes(8))
    cases = {
        b"": "not audio/wav",
        good[:60]: "cut short",
        good[:12]: "cut short",
        b"RF64" + good[4:]: "RF64",
        good.replace(b"data", b"dada"): "cut short",
        good[:40] + b"\xff\xff\xff\xff" + good[44:]: "cut short",  # a length that leads out
        riff(*nothing).data: "sampling rate",
    }
    for data, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            MODALITY.measure(Media("sound", "audio/wav", data))
        assert "\n" not in str(caught.value)
        assert MODALITY.extract(Media("sound", "audio/wav", data)) is None


def test_a_million_chunks_are_refused_at_once() -> None:
    with pytest.raises(InputError, match="damaged"):
        MODALITY.measure(riff(b"abcd\0\0\0\0" * 1_000_000))


@given(st.data())
def test_a_changed_file_gives_an_answer_or_one_sentence(data: st.DataObject) -> None:
    whole = bytearray(MODALITY.embed(tiny.wave_file(20), LABEL).data)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    piece = Media("sound", wav.MIME, bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    MODALITY.recognise(piece.data)
    MODALITY.extract(piece)
    MODALITY.signature(piece)
    try:
        assert MODALITY.measure(piece) >= 0
        again = MODALITY.embed(piece, LABEL)
    except InputError:
        return
    assert (MODALITY.extract(again) or {})["ProduceID"] == "n-1"
