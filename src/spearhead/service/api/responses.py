"""`POST /v1/responses`: what clients of the Responses API send, as a request for the engine.

An answer is kept to be had again and to be gone on with (`store`), under the operator's terms. A conversation comes
whole in `input`, or as what is new of it and the response that it follows: `earlier.followed` puts the two together.
"""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, Tag

from spearhead.engine.outputs import Output
from spearhead.service.api import asks
from spearhead.service.api.asks import (
    BOTH,
    FIRST,
    MOST_MESSAGES,
    SHAPED,
    TEXT_OR_LIST,
    Ask,
    Sampling,
    Text,
    TextPart,
    empty,
    only,
)
from spearhead.service.api.errors import unsupported, wrong_value

KEPT = "response"
"""The name under which an output's note says what its response repeats."""
_PARTS = ("input_text", "output_text", "text")


class InputPart(TextPart):
    """One piece of a message that is a list."""

    type: Literal["input_text", "output_text", "text"]  # type: ignore[assignment]


class InputMessage(BaseModel):
    """A turn of the conversation, the client's own or an answer of before."""

    type: Literal["message"] | None = None
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[InputPart], FIRST, Tag("list")],
        TEXT_OR_LIST,
    ]


class ResponseBody(Sampling):
    """`POST /v1/responses`."""

    input: Annotated[
        Annotated[Text, Tag("text")]
        | Annotated[list[InputMessage], Field(min_length=1, max_length=MOST_MESSAGES), FIRST, Tag("list")],
        TEXT_OR_LIST,
    ]
    instructions: Text | None = None
    max_output_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[StrictStr, Field(max_length=64)], Annotated[StrictStr, Field(max_length=512)]],
            Field(max_length=16),
        ]
        | None
    ) = None
    text: dict[StrictStr, Any] | None = None
    reasoning: dict[StrictStr, Any] | None = None
    previous_response_id: Annotated[StrictStr, Field(max_length=200)] | None = None
    store: StrictBool | None = Field(None, description="false: not to be had at /v1/responses/{id}, nor gone on with")


def _without_logprobs(value: Any) -> bool:
    return empty(value) or (isinstance(value, list) and "message.output_text.logprobs" not in value)


_KNOWN: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **BOTH,
    "tools": (empty, "a scenario calls no tools"),
    "tool_choice": (only("none", "auto"), "a scenario calls no tools"),
    "text.format": (lambda value: value is None or value == {"type": "text"}, SHAPED),
    "text.verbosity": (only("medium"), "the scenario sets the manner of its answers; leave it out or 'medium'"),
    "reasoning.effort": (only("none"), "the model does not reason apart from its answer; leave it out or 'none'"),
    "reasoning.mode": (only("standard"), "the model does not reason apart from its answer; leave it out"),
    "include": (_without_logprobs, "alternatives of a token would leave without review; leave it out"),
    "top_logprobs": (only(0), "alternatives of a token would leave without review; leave it out"),
    "conversation": (empty, "send `previous_response_id`, or the conversation as `input`"),
    "prompt": (empty, "the scenario's template is filled; send `input`"),
    "truncation": (only("disabled"), "a conversation that is too long is refused, not cut; leave it out or 'disabled'"),
    "context_management": (empty, "a conversation that is too long is refused, not cut; leave it out"),
    "n": (only(1), "a response is one answer; leave it out or 1"),
    "max_tokens": (empty, "send max_output_tokens"),
    "max_completion_tokens": (empty, "send max_output_tokens"),
    "messages": (empty, "send them as `input`"),
    "response_format": (lambda value: value is None or value == {"type": "text"}, SHAPED),
}
"""Of the Responses API and, at its end, what belongs to chat and would be missed."""


def read(raw: Mapping[str, Any], *, account: str, key: str) -> Ask:
    """A request for a response; raises a 400 that names the parameter."""
    asks.check_known({**raw, **_inside(raw, "text"), **_inside(raw, "reasoning")}, _KNOWN)
    _check_items(raw.get("input"))
    body = asks.validated(ResponseBody, raw)
    messages = ({"role": "user", "content": body.input},) if isinstance(body.input, str) else _turns(body.input)
    if messages[-1]["role"] != "user":
        raise wrong_value("input", "The last message of input must be the user's.")
    for number, turn in enumerate(messages):
        asks.check_prompt(turn["content"], "input" if isinstance(body.input, str) else f"input[{number}].content")
    if body.instructions:
        asks.check_prompt(body.instructions, "instructions")
        messages = ({"role": "system", "content": body.instructions}, *messages)
    asks.check_text(body.user or "", "user")
    asks.check_prompt(body.previous_response_id or "", "previous_response_id")
    echo = {
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "previous_response_id": body.previous_response_id or None,
        "store": body.store is not False,
        "user": body.user,
    }
    request = asks.request_of(
        body,
        account=account,
        key=key,
        messages=messages,
        most=body.max_output_tokens,
        note={KEPT: echo} if echo["store"] else None,
    )
    follows = body.previous_response_id or ""
    return Ask("response", request, body.model, bool(body.stream), include_usage=True, echo=echo, follows=follows)


def kept(output: Output) -> dict[str, Any] | None:
    """What the response repeats whose answer this is; None when it was not asked for as one, or not to be kept."""
    found: dict[str, Any] | None = json.loads(output.asked or "{}").get("note", {}).get(KEPT)
    return found


def _turns(items: list[InputMessage]) -> tuple[dict[str, str], ...]:
    return tuple(
        {
            "role": "system" if item.role == "developer" else item.role,
            "content": item.content if isinstance(item.content, str) else asks.joined(item.content),
        }
        for item in items
    )


def _inside(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = raw.get(name)
    return {f"{name}.{key}": value for key, value in inner.items()} if isinstance(inner, dict) else {}


def _check_items(items: Any) -> None:
    """Calls of tools, earlier answers by their number, pictures and files are known and cannot be honoured."""
    for number, item in enumerate(items if isinstance(items, list) else []):
        if not isinstance(item, dict):
            continue
        kind, place = item.get("type", "message"), f"input[{number}]"
        if isinstance(kind, str) and kind != "message":
            reads = f"{kind[:40]!r} items are not taken; this scenario reads messages"
            raise unsupported(f"{place}.type", reads)
        content = item.get("content")
        for inner, part in enumerate(content if isinstance(content, list) else []):
            if isinstance(part, dict) and isinstance(part.get("type"), str) and part["type"] not in _PARTS:
                reads = f"{part['type'][:40]!r} parts are not taken; this scenario reads text"
                raise unsupported(f"{place}.content[{inner}].type", reads)
