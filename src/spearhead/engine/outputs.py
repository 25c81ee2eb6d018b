"""Answers as rows: what was said, for whom, by which release, in which state. Knows nothing of money or HTTP."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from spearhead.core import digest, sentence
from spearhead.core.generation import Request
from spearhead.core.review import Finding
from spearhead.core.sentence import Sentence, said
from spearhead.store.prepared import Prepared, insertion
from spearhead.store.tables import outputs, reviews

MIME = "text/plain"
_insert = Prepared(insertion(outputs))
_seal = Prepared(
    outputs.update()
    .where(outputs.c.id == sa.bindparam("wanted"), outputs.c.blob.is_(None), outputs.c.erased.is_(None))
    .values(blob=sa.bindparam("file"))
)
_blob = Prepared(sa.select(outputs.c.blob).where(outputs.c.id == sa.bindparam("wanted")))
IN_PROMPT = "engine.in_prompt"
"""The words of a finding's reason that is about what was asked."""
_OLD = "in the prompt: "
"""How it began in rows of before sentences were kept."""
NAMED = 8
"""Findings that a reason names."""


@dataclass(frozen=True, slots=True)
class Output:
    """One answer; `blob` names its labelled file, which all have but the blocked.

    `state` is released, held, rejected, blocked, withdrawn or edited (another one took its place).
    """

    id: str
    request: str
    account: str
    release: str
    state: str
    text: str
    finish: str
    findings: str
    """JSON, as text: it is written once and seldom read."""
    policy: str
    options: str
    seed: int | None
    completion_units: int
    created: str
    review: str | None = None
    blob: str | None = None
    mime: str = MIME
    prompt: str | None = None
    """JSON list of the messages that it answers; None in rows of before and once it was erased."""
    edits: str | None = None
    """The output whose words a person changed into these."""
    asked: str | None = None
    """JSON of what else was asked for: see `asked_text`."""
    erased: str | None = None
    """Since when prompt, text and file are gone."""


def name(request: str, index: int) -> str:
    """The id of answer `index` of a request, known before the answer is: 36 characters that a label may hold."""
    return "out_" + digest.of_bytes(f"{request}\n{index}".encode())[:32]


def edited_name(original: str, text: str) -> str:
    """The id of an answer whose words a person changed."""
    return "out_" + digest.of_bytes(f"{original}\n{text}".encode())[:32]


def prompt_text(messages: Sequence[Mapping[str, str]]) -> str:
    """Messages as JSON."""
    return digest.canonical([dict(message) for message in messages])


def findings_text(findings: Sequence[Finding]) -> str:
    """Findings as JSON."""
    return digest.canonical([dataclasses.asdict(finding) for finding in findings])


def read_findings(text: str) -> list[Finding]:
    """Findings from that JSON; in rows of before sentences were kept their reasons are English text."""
    return [Finding(**{**one, "reason": sentence.read(one["reason"])}) for one in json.loads(text)]


def why(findings: Sequence[Finding]) -> Sentence:
    """Why a verdict is as it is, by its first findings."""
    return said("review.findings", found=tuple(finding.reason for finding in findings[:NAMED]))


def of_prompt(finding: Finding) -> bool:
    """Whether a finding of an answer's row is about what was asked."""
    reason = finding.reason
    return reason.words == IN_PROMPT if isinstance(reason, Sentence) else reason.startswith(_OLD)


def options_text(options: Mapping[str, Any]) -> str:
    """Sampling options as JSON."""
    return digest.canonical(dict(options))


def asked_text(request: Request) -> str:
    """How many answers a request wanted, with which seed and options of its own: what it takes to ask again.

    And the caller's `note`, where there is one.
    """
    asked = {"count": request.count, "seed": request.seed, "options": dict(request.options)}
    return digest.canonical({**asked, "note": dict(request.note)} if request.note else asked)


def insert(connection: Connection, output: Output) -> None:
    """Write a new row, after all that were written before it."""
    _insert.run(connection, {**_values(output), "placed": time.time_ns() // 1000})


def find(connection: Connection, id: str) -> Output | None:
    """The output with this id, or the one that this review is about."""
    here = sa.or_(outputs.c.id == id, outputs.c.id.in_(sa.select(reviews.c.output).where(reviews.c.id == id)))
    row = connection.execute(sa.select(outputs).where(here)).one_or_none()
    return None if row is None else of_row(row)


def of_request(connection: Connection, request: str, *, account: str) -> list[Output]:
    """The answers to one request of an account."""
    found = connection.execute(sa.select(outputs).where(outputs.c.request == request))
    # Not asked of the database: SQLite would look through all that the account ever had.
    return [of_row(row) for row in found if row.account == account]


def states(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """The state of each of these outputs that there is, `erased` for one whose words are gone."""
    wanted = sa.select(outputs.c.id, outputs.c.state, outputs.c.erased).where(outputs.c.id.in_(ids))
    return {id: "erased" if erased else state for id, state, erased in connection.execute(wanted).tuples()}


def current(connection: Connection, id: str) -> Output | None:
    """The output with this id or of this review; where it was edited, what stands in its place now."""
    found = find(connection, id)
    while found is not None and found.state == "edited":
        following = connection.scalar(sa.select(outputs.c.id).where(outputs.c.edits == found.id))
        if following is None:
            break
        found = find(connection, following)
    return found


def first(connection: Connection, output: Output) -> Output:
    """What the model itself said: the answer before every edit, under whose name its money waits."""
    while output.edits is not None:
        found = find(connection, output.edits)
        assert found is not None, "an edit is written beside what it edits, and rows stay"
        output = found
    return output


def move(connection: Connection, id: str, *, to: str) -> None:
    """Change the state of an answer."""
    connection.execute(outputs.update().where(outputs.c.id == id).values(state=to))


def sealed(connection: Connection, id: str, blob: str) -> str | None:
    """Note the file of an answer that has none yet; gives the one that stands, None when the answer was erased."""
    _seal.run(connection, {"wanted": id, "file": blob})
    stands: str | None = _blob.scalar(connection, {"wanted": id})
    return stands


def of_row(row: "sa.Row[Any]") -> Output:
    """What a row of the table says."""
    return Output(**{field: getattr(row, field) for field in Output.__slots__})


def _values(output: Output) -> dict[str, Any]:
    return {field: getattr(output, field) for field in Output.__slots__}
