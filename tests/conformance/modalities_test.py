"""What every modality promises about labels, whichever folder it came in."""

import importlib

import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.media import Label, Media, Modality
from spearhead.media import gb45438

MODALITIES = Catalogue("spearhead.media", "MODALITY")
LABEL = Label("maker", "n-1", "s@1", "2026-11-22T02:00:00Z")
SAMPLES = {"text": b"some words"}


def sample(name: str, mime: str) -> Media:
    """A small piece: bytes that any file may be, else what the modality's own folder makes for trying things out."""
    if name in SAMPLES:
        return Media(name, mime, SAMPLES[name])
    made: Media = importlib.import_module(f"spearhead.media.{name}.tiny").sample(mime)
    return made


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_says_what_it_is(name: str) -> None:
    modality: Modality = MODALITIES[name]
    assert modality.name == name
    assert modality.mimes and modality.unit in ("token", "picture", "second", "file")


@pytest.mark.parametrize("name", MODALITIES)
def test_a_label_is_read_as_it_was_written_and_replaced_by_the_next(name: str) -> None:
    modality: Modality = MODALITIES[name]
    for mime in modality.mimes:
        piece = sample(name, mime)
        assert modality.extract(piece) is None
        once = modality.embed(piece, LABEL)
        members = modality.extract(once)
        assert members is not None and gb45438.problems(members) == []
        assert (members["ContentProducer"], members["ProduceID"], members["Label"]) == ("maker", "n-1", "1")
        assert (members["ContentPropagator"], members["PropagateID"]) == ("maker", "n-1")
        assert modality.embed(once, LABEL) == once
        again = modality.extract(modality.embed(once, Label("other", "n-2", "s@1", LABEL.created)))
        assert again is not None and again["ProduceID"] == "n-2"


@pytest.mark.parametrize("name", MODALITIES)
def test_broken_bytes_have_no_label_and_raise_nothing(name: str) -> None:
    modality: Modality = MODALITIES[name]
    for data in (b"", b"\xff\xfe", b"---\nAIGC:", b"---\nAIGC: {\n---\n", b"---\nAIGC:\n  Label: [1]\n---\n" * 9):
        members = modality.extract(Media(name, modality.mimes[0], data))
        assert members is None or tuple(members) == gb45438.MEMBERS
