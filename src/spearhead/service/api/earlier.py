"""Answers of before, as they stand now: whose they are, whether they are to be had, and what follows on one."""

import dataclasses
import json

from spearhead.engine import outputs
from spearhead.engine.held import settle_decided
from spearhead.engine.outputs import Output
from spearhead.engine.run import Engine
from spearhead.ledger.keys import Principal
from spearhead.service.api import responses
from spearhead.service.api.asks import MOST_MESSAGES, Ask
from spearhead.service.api.errors import ApiError, wrong_value

FOLLOWS = "previous_response_id"


def response_output(id: str) -> str:
    """The number of the output that is the answer of a response."""
    return outputs.name("req_" + id[:80].removeprefix("resp_"), 0)


async def find(engine: Engine, id: str, *, who: Principal, param: str = "id", unknown: ApiError) -> Output:
    """The output with this number or of this review, held or released.

    Raises `unknown` where there is none of the caller's account, and a 410 where it is not to be had any more.
    """
    found = await engine.desk.read(lambda connection: outputs.current(connection, id[:64]))
    if found is None or not (found.account == who.account or who.may("admin")):
        raise unknown
    if found.state == "held":
        await settle_decided(engine)  # a person may have decided a moment ago
        number = found.id
        found = await engine.desk.read(lambda connection: outputs.find(connection, number)) or found
    if found.erased is not None:
        raise ApiError(410, f"The output {found.id} was erased.", param=param, code="output_erased")
    if found.state not in ("held", "released"):
        why = {"rejected": "was rejected by review", "blocked": "was blocked by review"}
        raise ApiError(
            410,
            f"The output {found.id} {why.get(found.state, 'was withdrawn')}; it is not to be had.",
            param=param,
            code=f"output_{found.state}",
        )
    return found


async def followed(engine: Engine, ask: Ask, *, who: Principal) -> Ask:
    """The request with the conversation that it goes on with before its own words.

    `instructions` are of one response alone: those of the earlier one are left behind. Raises what `find` raises, 400
    where there is no such response or it was not to be kept, and 409 where it waits for a person.
    """
    unknown = ApiError(
        400,
        f"There is no response {ask.follows[:80]!r} of this account that was kept.",
        param=FOLLOWS,
        code="previous_response_not_found",
    )
    number = response_output(ask.follows)
    found = await find(engine, number, who=who, param=FOLLOWS, unknown=unknown)
    if (echo := responses.kept(found)) is None or found.account != who.account or found.prompt is None:
        raise unknown
    if found.state == "held":
        raise ApiError(409, f"The response {ask.follows} waits for a person.", param=FOLLOWS, code="output_held")
    asked = json.loads(found.prompt)[1 if echo["instructions"] else 0 :]
    own = ask.request.messages
    ahead = 1 if ask.echo["instructions"] else 0
    messages = (*own[:ahead], *asked, {"role": "assistant", "content": found.text}, *own[ahead:])
    if len(messages) > MOST_MESSAGES:
        raise wrong_value(FOLLOWS, f"The conversation has {len(messages)} messages: wanted at most {MOST_MESSAGES}.")
    return dataclasses.replace(ask, request=dataclasses.replace(ask.request, messages=messages))
