"""Taking back what had left: from now on nobody gets it here. Knows no page and no verb.

Files that were downloaded are where they are; the address answers 410, a repetition under the request's Idempotency-Key
too, and nothing is learnt from the piece. Money stays as it was unless its return is asked for.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from spearhead.core.clock import Clock, now
from spearhead.core.errors import InputError
from spearhead.core.sentence import said
from spearhead.engine import books, erasure, outputs
from spearhead.engine.outputs import Output
from spearhead.ledger import usage
from spearhead.provenance import audit
from spearhead.review import queue
from spearhead.store.database import writing
from spearhead.store.tables import outputs as table
from spearhead.store.tables import usage_events

LONGEST_REASON = 2000
CODE = "output_withdrawn"


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was taken back, what its request was charged for it, and whether that was given back."""

    output: str
    request: str
    account: str
    charged: int
    currency: str
    refunded: bool


def recall(
    store: Engine | Connection, id: str, *, actor: str, reason: str, refund: bool = False, clock: Clock = now
) -> Recalled:
    """Take back a released output, by its own number or its review's.

    With `refund` its charge is undone. Raises InputError when it is not released, without a reason, and where a refund
    is asked for and one charge covers other answers too: then nothing changes.
    """
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise InputError(said("engine.output.why", most=LONGEST_REASON))
    with writing(store) as connection:
        output = outputs.current(connection, id)
        if output is None:
            raise InputError(said("engine.output.none", output=id[:80]))
        if output.state != "released" or output.erased is not None:
            state = "erased" if output.erased is not None else output.state
            raise InputError(said("engine.output.not_out", output=output.id, state=state))
        event, charged, currency, alone = _charge(connection, output)
        if refund and not alone:
            raise InputError(said("engine.output.together", request=output.request))
        if output.review is not None:
            queue.withdraw(connection, output.review, actor=actor, reason=reason, clock=clock)
        outputs.move(connection, output.id, to="withdrawn")
        message = "The answer was withdrawn; it is not to be had."
        erasure.forget_replay(connection, output, code=CODE, message=message)
        refunded = refund and usage.correct(connection, event, source=books.SOURCE, clock=clock)
        detail = {"account": output.account, "blob": output.blob, "refunded": refunded}
        audit.append(connection, actor=actor, action="output withdrawn", subject=output.id, detail=detail, clock=clock)
    return Recalled(output.id, output.request, output.account, charged, currency, refunded)


def _charge(connection: Connection, output: Output) -> tuple[str, int, str, bool]:
    """The usage event that charged an answer, its amount and currency, and whether it charged nothing else.

    What a person let out was charged on its own; what left at once was charged with its request.
    """
    own = books.held_key(output.request, outputs.first(connection, output).id)
    columns = usage_events.c
    wanted = sa.select(columns.event, columns.amount, columns.currency).where(
        columns.source == books.SOURCE, columns.account == output.account
    )
    for event in (own, output.request):
        if (row := connection.execute(wanted.where(columns.event == event)).first()) is not None:
            beside = sa.select(sa.func.count()).where(table.c.request == output.request, table.c.edits.is_(None))
            alone = event == own or int(connection.execute(beside).scalar_one()) == 1
            return str(row.event), int(row.amount), str(row.currency), alone
    return output.request, 0, "", True
