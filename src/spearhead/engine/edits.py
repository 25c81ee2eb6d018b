"""A person's words in the place of a held answer. An approval is of exact bytes, so an edit is an answer of its own:
reviewed again, labelled anew, and waiting to be approved. Knows nothing of how people edit.
"""

import asyncio
import dataclasses
import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from spearhead.core import media
from spearhead.core.clock import stamp
from spearhead.core.errors import InputError
from spearhead.core.review import Context, Decision, Direction
from spearhead.engine import outputs
from spearhead.engine.outputs import MIME, Output
from spearhead.provenance import audit
from spearhead.review import queue

if TYPE_CHECKING:
    from spearhead.engine.run import Engine

LONGEST = 400_000
"""Characters that an edited answer may have."""
REPLACED = "edited into "
"""How the reason begins for which the answer before an edit is rejected; the new answer's id follows."""


async def edit(engine: "Engine", review: str, *, reviewer: str, text: str, version: int | None = None) -> Output:
    """Replace a held text that `reviewer` has claimed; gives the new answer, which waits in the queue as a held one.

    The old answer is rejected and its money waits for the decision on the new one. Who edits may be the one who
    approves, as the policy's number of people goes. Raises InputError on what cannot be edited, and on words that the
    policy blocks: a person may change an answer, not the policy. `version` as in a decision: see `queue.approve`.
    """
    before = await engine.desk.read(lambda connection: outputs.find(connection, review))
    if before is None or before.review != review or before.mime != MIME or before.state != "held":
        raise InputError(f"{review} holds no text that waits for a person: nothing to edit")
    if not text.strip() or len(text) > LONGEST:
        raise InputError(
            f"the edited text has {len(text):,} characters: wanted 1 to {LONGEST:,}, not all of them blank"
        )
    if text == before.text:
        raise InputError("the edited text is what the answer says already: approve that, or change it")
    loaded = engine.loaded(before.release)
    context = Context(loaded.manifest.scenario, Direction.OUTPUT, loaded.language, media.text(_asked(before)))
    verdict = await asyncio.to_thread(loaded.reviewer.review, media.text(text), context)
    if verdict.decision is Decision.BLOCK:
        why = "; ".join(finding.reason for finding in verdict.findings)[:500]
        raise InputError(f"the policy of {before.release} blocks the edited text: {why}")
    row = dataclasses.replace(
        before,
        id=outputs.edited_name(before.id, text),
        text=text,
        findings=outputs.findings_text(verdict.findings),
        policy=verdict.policy,
        created=stamp(engine.clock()),
        review=f"rev_{uuid.uuid4().hex}",
        edits=before.id,
    )
    blob, file = await engine.sealer.make(media.text(text), engine.label(row))
    row = dataclasses.replace(row, blob=blob, mime=file.mime)

    def work(connection: Connection) -> None:
        queue.reject(
            connection, review, reviewer=reviewer, reason=REPLACED + row.id, version=version, clock=engine.clock
        )
        old = queue.find(connection, review)
        assert old is not None
        outputs.move(connection, before.id, to="edited")
        outputs.insert(connection, row)
        left = datetime.fromisoformat(old.expires) - engine.clock()  # no longer than its money is held
        queue.create(
            connection,
            Decision.HOLD,
            scenario=old.scenario,
            policy=verdict.policy,
            blob=blob,
            output=row.id,
            people=max(old.people, loaded.policy.people),
            held_hours=left.total_seconds() / 3600,
            reason=f"edited by {reviewer}",
            review=row.review,
            clock=engine.clock,
        )
        detail = {"output": before.id, "to": row.id, "review": row.review}
        audit.append(
            connection, actor=reviewer, action="piece edited", subject=review, detail=detail, clock=engine.clock
        )

    await engine.desk.write(work, account=before.account)
    return row


def _asked(output: Output) -> str:
    """The words that an answer answers, as a check compares with."""
    return "\n".join(message["content"] for message in json.loads(output.prompt or "[]"))
