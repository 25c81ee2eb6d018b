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
from spearhead.core.sentence import Said, Sentence, said
from spearhead.engine import outputs
from spearhead.engine.outputs import MIME, Output
from spearhead.provenance import audit
from spearhead.review import queue

if TYPE_CHECKING:
    from spearhead.engine.run import Engine

LONGEST = 400_000
"""Characters that an edited answer may have."""
REPLACED, EDITED = "engine.edit.replaced", "engine.edit.by"
"""The words of the reason for which the answer before an edit is rejected, and of that for which the new one waits."""
_OLD = ("edited into ", "edited by ")
"""How both began in rows of before sentences were kept."""


async def edit(engine: "Engine", review: str, *, reviewer: str, text: str, version: int | None = None) -> Output:
    """Replace a held text that `reviewer` has claimed; gives the new answer, which waits in the queue as a held one.

    The old answer is rejected and its money waits for the decision on the new one. Who edits may be the one who
    approves, as the policy's number of people goes. Raises InputError on what cannot be edited, and on words that the
    policy blocks: a person may change an answer, not the policy. `version` as in a decision: see `queue.approve`.
    """
    before = await engine.desk.read(lambda connection: outputs.find(connection, review))
    if before is None or before.review != review or before.mime != MIME or before.state != "held":
        raise InputError(said("engine.edit.nothing", review=review))
    if not text.strip() or len(text) > LONGEST:
        raise InputError(said("engine.edit.length", characters=len(text), most=LONGEST))
    if text == before.text:
        raise InputError(said("engine.edit.same"))
    loaded = engine.loaded(before.release)
    context = Context(loaded.manifest.scenario, Direction.OUTPUT, loaded.language, media.text(_asked(before)))
    verdict = await asyncio.to_thread(loaded.reviewer.review, media.text(text), context)
    if verdict.decision is Decision.BLOCK:
        raise InputError(said("engine.edit.blocked", release=before.release, why=outputs.why(verdict.findings)))
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
            connection,
            review,
            reviewer=reviewer,
            reason=said(REPLACED, output=row.id),
            version=version,
            clock=engine.clock,
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
            reason=said(EDITED, person=reviewer),
            review=row.review,
            clock=engine.clock,
        )
        detail = {"output": before.id, "to": row.id, "review": row.review}
        audit.append(
            connection, actor=reviewer, action="piece edited", subject=review, detail=detail, clock=engine.clock
        )

    await engine.desk.write(work, account=before.account)
    return row


def tells(reason: Said) -> bool:
    """Whether a transition's reason says that, and how, an answer was edited."""
    return reason.words in (REPLACED, EDITED) if isinstance(reason, Sentence) else reason.startswith(_OLD)


def _asked(output: Output) -> str:
    """The words that an answer answers, as a check compares with."""
    return "\n".join(message["content"] for message in json.loads(output.prompt or "[]"))
