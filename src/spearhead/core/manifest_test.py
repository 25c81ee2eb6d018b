"""Promises of the manifest's text: sentences come back as they were, and those of older releases stay readable."""

import json

import pytest

from spearhead.core.errors import InputError
from spearhead.core.manifest import BarResult, Manifest
from spearhead.core.sentence import said
from spearhead.core.specimen import manifest

BEATS = said("release.bar.beats", baseline="copy", p=0.05)
REASON = said("release.verdict.misses", bar="chrf", wanted=BEATS, got=said("release.bar.not_measured"))


def test_reasons_and_bars_come_back_as_the_sentences_that_they_were() -> None:
    whole = manifest(
        verdict_reasons=(REASON,), bars=(BarResult("chrf", BEATS, said("release.bar.not_measured"), False),)
    )
    assert Manifest.from_json(whole.to_json()) == whole


def test_a_manifest_of_before_sentences_is_read_and_written_as_it_is() -> None:
    old = manifest(
        verdict_reasons=("it reaches all 2 bars, 1 of them against trivial baselines",),
        bars=(BarResult("chrf", "at least 40", "41.2", True),),
        economics={"arithmetic": ["1 + 1 = 2"]},
    )
    text = old.to_json()
    assert '"wanted": "at least 40"' in text
    assert Manifest.from_json(text) == old and Manifest.from_json(text).to_json() == text


@pytest.mark.parametrize(
    "wrong", [3, None, ["a"], {"words": "a.b"}, {"words": "a b", "facts": {}}, {"words": "a.b", "facts": {"x": {}}}]
)
def test_a_reason_that_is_no_sentence_is_refused_by_its_place(wrong: object) -> None:
    raw = {**json.loads(manifest().to_json()), "verdict_reasons": ["fine", wrong]}
    with pytest.raises(InputError, match=r"manifest\.verdict_reasons\[1\]: "):
        Manifest.from_json(json.dumps(raw))
