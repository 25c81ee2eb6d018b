"""Text: the label stands at the head for every YAML reader, once, and nothing else of the text changes."""

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spearhead.core import digest, media
from spearhead.core.errors import InputError
from spearhead.core.media import Label, Media
from spearhead.media import gb45438
from spearhead.media.text import MODALITY, front_matter

LABEL = Label('演示 "maker" 100%\\', "n-1", "s@1", "2026-11-22T02:00:00Z")


def test_another_yaml_reader_finds_seven_strings_in_order() -> None:
    labelled = MODALITY.embed(media.text("words\n"), LABEL).text
    _, head, body = labelled.split("---\n", 2)
    members = yaml.safe_load(head)["AIGC"]
    assert list(members) == [
        "Label",
        "ContentProducer",
        "ProduceID",
        "ReservedCode1",
        "ContentPropagator",
        "PropagateID",
        "ReservedCode2",
    ]
    assert all(isinstance(value, str) for value in members.values())
    assert members["ReservedCode1"] == "sha256:" + digest.of_bytes(b"words\n")
    assert members["ContentProducer"] == "%E6%BC%94%E7%A4%BA%20%22maker%22%20100%25%5C"
    assert gb45438.plain(members["ContentProducer"]) == LABEL.producer
    assert body == "\nwords\n"


def test_a_front_matter_that_is_there_keeps_its_keys() -> None:
    text = "---\ntitle: A day\ntags:\n  - x\n---\n\nwords\n"
    labelled = MODALITY.embed(media.text(text, mime="text/markdown"), LABEL).text
    loaded = yaml.safe_load(labelled.split("---\n")[1])
    assert loaded["title"] == "A day" and loaded["AIGC"]["Label"] == "1"
    assert front_matter.without(labelled) == text


@pytest.mark.parametrize(
    "head",
    [
        'AIGC: {"Label": "1", "ContentProducer": "x", "ProduceID": "7"}\n',
        "AIGC:\n  Label: 1\n  ContentProducer: x\n  ProduceID: '7'\n",
        "title: t\nAIGC:\n    ProduceID: 7\n    ContentProducer: \"x\"\n    Label: '1'\nmore: 1\n",
    ],
)
def test_labels_of_careless_producers_are_read(head: str) -> None:
    members = MODALITY.extract(media.text(f"---\n{head}---\nwords"))
    assert members is not None
    assert (members["Label"], members["ContentProducer"], members["ProduceID"]) == ("1", "x", "7")
    assert MODALITY.embed(media.text(f"---\n{head}---\nwords"), LABEL).text.count("ProduceID") == 1


def test_a_rule_at_the_head_of_a_text_is_no_front_matter() -> None:
    text = "---\nA scene break, and no mapping at all.\n---\nMore.\n"
    labelled = MODALITY.embed(media.text(text), LABEL)
    assert front_matter.without(labelled.text) == text
    assert MODALITY.extract(labelled) is not None


LINES = st.sampled_from(["---", "AIGC:", "  Label: 1", "title: x", "words", "", " ", "\ufeff", "...", "\r", "AIGC: {}"])


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.lists(LINES, max_size=10).map("\n".join)))
@example(text="---\n 0\n---")
@example(text="---\n\t0\n---\nkey")
@example(text="---\nAIGC:\n---\n\ufeff")
def test_labelling_twice_is_labelling_once_and_changes_nothing_else(text: str) -> None:
    piece = media.text(text)
    once = MODALITY.embed(piece, LABEL)
    bare = front_matter.without(text.removeprefix("\ufeff"))
    assert MODALITY.embed(once, LABEL) == once
    assert front_matter.without(once.text) == bare
    members = MODALITY.extract(once)
    assert members == gb45438.members(LABEL, bare.encode())


def test_the_mark_for_people_has_both_elements_in_both_languages_and_stands_once() -> None:
    marked = MODALITY.mark(media.text("words"))
    assert marked.text == "words\n\nAI-generated / 人工智能生成\n"
    assert MODALITY.mark(marked) == marked
    assert not MODALITY.marked(media.text("words")) and MODALITY.marked(MODALITY.mark(media.text("")))


def test_four_characters_are_about_a_token() -> None:
    assert [MODALITY.measure(media.text("x" * count)) for count in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_text_that_is_not_utf8_cannot_be_labelled() -> None:
    with pytest.raises(InputError, match="byte 1 is not"):
        MODALITY.embed(Media("text", "text/plain", b"a\xff"), LABEL)


def test_what_breaks_the_standard_is_named() -> None:
    good = gb45438.members(LABEL, b"")

    def said(label: dict[str, str]) -> list[str]:
        return [str(problem) for problem in gb45438.problems(label)]

    assert gb45438.problems(good) == []
    assert said({**good, "Label": "AIGC"}) == ["Label is 'AIGC', wanted '1', '2' or '3'"]
    assert said({**good, "ProduceID": ""}) == ["ProduceID is empty"]
    assert said({**good, "ProduceID": 'a "b"'}) == ["ProduceID has a character that is not allowed"]
    assert said(dict(reversed(good.items()))) == ["wanted the seven members in their order"]
