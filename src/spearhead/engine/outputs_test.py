"""Promises of rows: sentences come back, what older ones hold in English is understood, none is searched for."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from spearhead.core.review import Finding
from spearhead.core.sentence import said
from spearhead.engine import edits, outputs
from spearhead.ledger import keys

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


def test_the_answers_to_a_request_are_looked_up_among_however_many(steps: Any) -> None:
    engine, count = steps
    account = keys.create_account(engine, "someone", currency="EUR").id

    def write(requests: Iterable[str]) -> None:
        with engine.begin() as connection:
            for request in requests:
                name = outputs.name(request, 0)
                told = ("released", "text", "stop", "[]", "", "{}", None, 1, "2026-11-22T00:00:00Z")
                outputs.insert(connection, outputs.Output(name, request, account, "tiny@v1", *told))

    def read(connection: Connection) -> None:
        assert [row.request for row in outputs.of_request(connection, "r", account=account)] == ["r"]
        assert outputs.of_request(connection, "r", account="another") == []

    write(["r"])
    before = count(read)
    write(f"r{number}" for number in range(1000))
    assert count(read) < before + 10
