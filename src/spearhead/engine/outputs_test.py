"""Promises of findings as rows keep them: sentences come back, and what older rows hold in English is understood."""

import json

from spearhead.core.review import Finding
from spearhead.core.sentence import said
from spearhead.engine import edits, outputs

LISTED = said("review.listed", category="hate")


def test_findings_come_back_from_their_row_as_they_were() -> None:
    found = [
        Finding("terms", "hate", 0.9, LISTED, start=3, end=6),
        Finding("terms", "hate", 0.9, said(outputs.IN_PROMPT, reason=LISTED)),
        Finding("theirs", "hate", 0.5, "in the words of a check from elsewhere"),
    ]
    assert outputs.read_findings(outputs.findings_text(found)) == found
    assert [outputs.of_prompt(one) for one in found] == [False, True, False]
    assert str(outputs.why(found)) == (
        "listed under hate; in the prompt: listed under hate; in the words of a check from elsewhere"
    )
    assert len(outputs.why(found * 9).facts["found"]) == outputs.NAMED


def test_rows_of_before_sentences_are_understood() -> None:
    old = {"check": "terms", "category": "hate", "severity": 0.9, "start": None, "end": None}
    rows = [{**old, "reason": "in the prompt: listed under hate"}, {**old, "reason": "listed under hate"}]
    found = outputs.read_findings(json.dumps(rows))
    assert [(one.reason, outputs.of_prompt(one)) for one in found] == [
        ("in the prompt: listed under hate", True),
        ("listed under hate", False),
    ]
    for edit in ("edited into out_1", "edited by per_1", said(edits.REPLACED, output="out_1")):
        assert edits.tells(edit)
    assert not edits.tells("it was edited badly") and not edits.tells(LISTED)
