"""What became of one's own piece in review, and how to ask for another look at what was refused. Names no reviewer."""

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.engine import edits, outputs
from spearhead.provenance import audit
from spearhead.review import queue
from spearhead.review.queue import Moved
from spearhead.service.studio.page import PageError, form, go, render, signed_in, studio, text
from spearhead.service.studio.people import Person

LONGEST_REASON = 2000
HELD_HOURS = 24
"""How long an appeal waits when its release is not up any more."""
REFUSED = ("rejected", "auto_blocked")
"""States of the queue that can be appealed."""
DECISIONS = ("approved", "rejected", "escalated", "withdrawn", "auto_blocked", "needs_human", "appealed", "released")


async def show(request: Request) -> Response:
    """Where it stands, what was decided and why."""
    person = await signed_in(request, "creator")
    return await _show(request, person)


async def ask(request: Request) -> Response:
    """Ask for another look by another person."""
    person = await signed_in(request, "creator")
    fields = await form(request)
    reason = text(fields, "reason", most=LONGEST_REASON)
    if not reason:
        return await _show(request, person, wrong=True)
    found = await _found(request, person)
    if found["output"].erased:
        raise PageError(409, "moved")  # there is nothing left to look at
    engine = studio(request).engine
    up = engine.releases.get(found["output"].release)
    hours = up.policy.held_hours if up else HELD_HOURS

    def work(connection: Connection) -> None:
        id, clock = found["item"].id, engine.clock
        queue.appeal(connection, id, actor=person.id, reason=reason, held_hours=hours, clock=clock)
        detail = {"output": found["output"].id}
        audit.append(connection, actor=person.id, action="piece appealed", subject=id, detail=detail, clock=clock)

    try:
        await engine.desk.write(work)
    except Moved as error:
        raise PageError(409, "moved") from error
    return go(f"/appeal/{found['output'].id}?said=appealed")


async def _show(request: Request, person: Person, *, wrong: bool = False) -> Response:
    found = await _found(request, person)
    values = {
        **found,
        "may_appeal": found["item"].state in REFUSED and not found["output"].erased,
        "wrong": wrong,
        "longest": LONGEST_REASON,
        "said": request.query_params.get("said") == "appealed",
    }
    return render(request, "appeal.html", values, status=400 if wrong else 200)


async def _found(request: Request, person: Person) -> dict[str, Any]:
    id = str(request.path_params["id"])[:64]

    def work(connection: Connection) -> dict[str, Any]:
        output = outputs.current(connection, id)
        if output is None or output.review is None or output.account != person.account:
            raise PageError(404, "no_page")
        item = queue.find(connection, output.review)
        if item is None:
            raise PageError(404, "no_page")
        steps = [step for step in queue.history(connection, item.id) if step.to_state in DECISIONS]
        # What a creator wrote and what a reviewer gave as a reason; who and how an edit went is not theirs to know.
        steps = [step for step in steps if not edits.tells(step.reason)]
        return {"output": output, "item": item, "steps": steps, "mine": person.id}

    return await studio(request).engine.desk.read(work)


ROUTES = [Route("/appeal/{id}", show), Route("/appeal/{id}", ask, methods=["POST"])]
