"""A sampler's file is read strictly, and its words name classes."""

import json

import pytest

from spearhead.core.errors import InputError
from spearhead.core.sampler import Sampler

FASHION = Sampler("oneshot", (16,), (28, 28), 1, ("coat", "bag"), {"大衣": 0})


def test_a_sampler_reads_back_as_written() -> None:
    assert Sampler.from_json(FASHION.to_json()) == FASHION


def test_a_release_from_before_styles_could_be_mixed_has_none() -> None:
    raw = json.loads(FASHION.to_json())
    del raw["layers"]
    assert Sampler.from_json(json.dumps(raw)) == FASHION and FASHION.layers == 0


@pytest.mark.parametrize(("words", "label"), [("coat", 0), (" Bag ", 1), ("大衣", 0)])
def test_words_name_a_class(words: str, label: int) -> None:
    assert FASHION.label(words) == label


def test_an_unknown_word_is_answered_with_the_classes() -> None:
    with pytest.raises(InputError, match="coat, bag"):
        FASHION.label("shoe")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "eval"},
        {"size": [28]},
        {"size": [28, 100_000]},
        {"names": {"x": 2}},
        {"model": "../m"},
        {"odd": 1},
        {"channels": "three"},
        {"channels": None},
        {"names": ["x"]},
        {"names": {"x": "y"}},
        {"noise": [1e400]},
        {"steps": [1]},
        {"guidance": "much"},
        {"truncation": float("nan")},
        {"layers": -1},
        {"layers": 1025},
        {"layers": 4, "kind": "flow"},
        {"layers": "all"},
        {"model": ["model.onnx/"]},
    ],
)
def test_an_altered_file_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="sampler.json"):
        Sampler.from_json(json.dumps({**json.loads(FASHION.to_json()), **change}))


def test_a_prompt_that_names_no_class_is_told_them_in_its_own_language() -> None:
    both = Sampler("oneshot", (1,), (8, 8), 1, ("boot", "bag"), names={"靴": 0, "boots": 0})
    with pytest.raises(InputError, match="'hat' names no class; wanted one of: boot, bag"):
        both.label("hat")
    with pytest.raises(InputError, match="'帽子' names no class; wanted one of: 靴, bag"):
        both.label("帽子")
    alone = Sampler("oneshot", (1,), (8, 8), 1)
    assert alone.label(" ") == 0
    with pytest.raises(InputError, match="the prompt is 'hat', but this model knows no classes: wanted it empty"):
        alone.label("hat")
