"""Memorisation: a model that recites is found, one that does not is not."""

import pytest

from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.score import Case
from spearhead.index.copies import CopyIndex
from spearhead.metrics import baselines
from spearhead.metrics.evaluate import evaluate
from spearhead.metrics.memorisation import Copied, Recited, extraction, prefixes

TRAINING = [
    "In the beginning was a word, and nobody wrote it down in time.",
    "All rivers run to the sea, yet the sea is never full of them.",
    "天地玄黄，宇宙洪荒，日月盈昃，辰宿列张。",
]
HELD_OUT = ["Better is a dry morsel with quietness than a house full of feasting."]


def reciter(given: list[str]) -> list[str]:
    """A model that knows its training data by heart, and answers anything else with the same words."""
    known = [next((one for one in TRAINING if one.startswith(prefix)), None) for prefix in given]
    rest = [one[len(prefix) :] if one else " something else" for one, prefix in zip(known, given, strict=True)]
    return [each + " And on it goes." for each in rest]


def test_a_model_that_recites_is_found_on_its_training_data_alone() -> None:
    assert extraction(TRAINING, reciter, seed=0, draws=100).value == 100
    assert extraction(HELD_OUT, reciter, seed=0, draws=100).value == 0
    assert extraction(TRAINING + HELD_OUT, reciter, seed=0, draws=100).value == 75


def test_one_wrong_word_is_not_recited() -> None:
    [case] = prefixes(TRAINING[:1])
    assert case.reference is not None
    for output, wanted in ((case.reference.text, 100), (case.reference.text.replace("time", "ink"), 0), ("", 0)):
        assert evaluate([Case(case.input, text(output), case.reference)], [Recited()], seed=0)[0].value == wanted


def test_the_prefix_is_half_the_words_and_ends_without_a_space() -> None:
    [english, chinese] = prefixes(["one two three four, five six seven eight nine", TRAINING[2], "too short"][:2])
    assert [part.text for part in (english.input, english.reference) if part] == [
        "one two three four,",
        "five six seven eight nine",
    ]
    assert [part.text for part in (chinese.input, chinese.reference) if part] == [
        "天地玄黄，宇宙洪荒，",
        "日月盈昃，辰宿列张。",
    ]
    [long] = prefixes([" ".join(f"w{at}" for at in range(400))])
    assert long.input is not None and len(long.input.text.split()) == 50


def test_short_records_cannot_be_probed() -> None:
    assert prefixes(["only five words in here"]) == []
    with pytest.raises(InputError, match="none of 1 texts"):
        extraction(["short"], reciter, seed=0)
    with pytest.raises(InputError, match="0 continuations of 3"):
        extraction(TRAINING, lambda given: [], seed=0)


def test_copied_is_the_longest_run_beside_that_of_the_references() -> None:
    index = CopyIndex.build([(str(at), content) for at, content in enumerate(TRAINING)])
    metric = Copied(index, training="hand")
    made = ["All rivers run to the sea", "It never rains at the sea", "日月盈昃也", ""]  # 6 of 6, 2 of 6, 4 of 5, none
    cases = [Case(None, text(output), text("rivers run dry")) for output in made]  # 2 of 3
    [ours], [theirs] = (evaluate(each, [metric], seed=0) for each in (cases, baselines.reference(cases)))
    assert ours.value == pytest.approx(100 * (1 + 2 / 6 + 4 / 5 + 0) / 4)
    assert theirs.value == pytest.approx(100 * 2 / 3)
    assert "training:hand" in ours.signature
