"""`POST /v1/moderations`: what the checks of a policy see in texts and pictures, in the shape of the OpenAI endpoint.

Knows no check: the policy names them. `model` is a served scenario (its live policy) or a policy template; left out, or
one of OpenAI's names, it is the template `general`, with the checks of pictures where there are some. Beside the 13
categories each result tells the same decision in every other vocabulary (`vocabularies`), and what the policy decides
(`decision`). It is free, and counts as a request.
"""

import asyncio
import base64
import binascii
import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Finding
from spearhead.engine.run import Engine
from spearhead.ledger.keys import Principal
from spearhead.media.image import codec
from spearhead.review import categories, policy
from spearhead.review.reviewer import CHECKS, Reviewer
from spearhead.review.scanner import Comparing
from spearhead.service.api import asks, once
from spearhead.service.api.desk import Desk
from spearhead.service.api.errors import ApiError, wrong_value
from spearhead.service.api.frame import read_body

Who = Callable[..., Awaitable[Principal]]
OWN = "openai"
DEFAULT = "general"
MOST_INPUTS = 64
MOST_CHARACTERS = 100_000
"""Of all texts of a request: a check that judges meaning takes about a second for ten thousand."""
MOST_PICTURES = 4
AT_ONCE = 2
"""Requests that are judged at once. More wait for each other, and keep nobody waiting who signs in or is answered."""
MIMES = ("image/png", "image/jpeg", "image/webp", "image/gif")
PICTURES = ("nsfw", "writing")
"""What looks at pictures where no policy was named: `general` needs no model, and without one none is seen."""
_ALIASES = ("omni-moderation", "text-moderation")

_PART: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "required": ["type", "text"],
            "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        },
        {
            "type": "object",
            "required": ["type", "image_url"],
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}},
            },
        },
    ]
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "input": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "maxItems": MOST_INPUTS, "items": {"type": "string"}},
                {"type": "array", "minItems": 1, "maxItems": MOST_INPUTS, "items": _PART},
            ]
        },
        "model": {"type": "string", "description": "a served scenario or a policy template; left out: general"},
        "direction": {"enum": ["prompt", "output"], "description": "spearhead: which way the text goes"},
    },
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked body: each group of pieces gets one result."""

    groups: tuple[tuple[Media, ...], ...]
    model: str
    direction: Direction


def mount(app: FastAPI, desk: Desk, who: Who) -> None:
    """Add the route to the app."""
    judges = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="moderates")
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}}}

    @app.post("/v1/moderations", openapi_extra=body, responses={400: {"description": "The request cannot be used"}})
    async def moderations(request: Request) -> Response:
        """What review finds in texts and pictures, and what the policy would do."""
        principal = await who(request, "generate", route="moderations")
        raw = asks.read_json(await read_body(request.receive, request.headers))
        key, kept = await once.begin(desk, request, principal, raw)
        if kept is not None:
            return kept
        try:
            ask = read(raw)
            ticket = await desk.gate.enter(principal, tokens=0)
            try:
                reviewer, name = await asyncio.to_thread(chosen, desk.engine, ask)
                results = await asyncio.get_running_loop().run_in_executor(judges, judge, reviewer, ask)
            finally:
                desk.gate.leave(ticket, tokens=0)
        except BaseException:
            await once.abandon(desk, principal, key)  # nothing was judged: the key may be used again
            raise
        number = request.scope["state"]["number"].removeprefix("req_")
        answer = {"id": f"modr-{number}", "model": name, "results": results}
        data = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", **desk.gate.headers(principal.key)}
        if key is not None:
            await once.keep(desk, principal, key, status=200, headers=headers, body=data)
        return Response(data, headers=headers)


def read(raw: Mapping[str, Any]) -> Ask:
    """A moderation request; raises a 400 that names the parameter."""
    if "input" not in raw:
        raise ApiError(400, "input is missing: send a text.", param="input", code="missing_required_parameter")
    given, model, direction = raw["input"], raw.get("model"), raw.get("direction", "prompt")
    if model is not None and (not isinstance(model, str) or not 1 <= len(model) <= 200):
        raise wrong_value("model", "model must be the name of a scenario or of a policy template.")
    if direction not in ("prompt", "output"):
        raise wrong_value("direction", "direction must be prompt or output.")
    items = given if isinstance(given, list) else [given]
    if not 1 <= len(items) <= MOST_INPUTS:
        raise wrong_value("input", f"input has {len(items)} items: wanted 1 to {MOST_INPUTS}.")
    groups: tuple[tuple[Media, ...], ...]
    if all(isinstance(item, str) for item in items):
        groups = tuple((_text(item, f"input[{n}]"),) for n, item in enumerate(items))
    elif all(isinstance(item, dict) for item in items):
        groups = (tuple(_part(item, f"input[{n}]") for n, item in enumerate(items)),)
    else:
        raise wrong_value("input", "input must be a text, a list of texts, or a list of typed parts.")
    pieces = [piece for group in groups for piece in group]
    if sum(len(piece.data) for piece in pieces if piece.modality == "text") > 4 * MOST_CHARACTERS or (
        sum(len(piece.text) for piece in pieces if piece.modality == "text") > MOST_CHARACTERS
    ):
        raise wrong_value("input", f"input is longer than {MOST_CHARACTERS:,} characters: send it in parts.")
    if sum(piece.modality == "image" for piece in pieces) > MOST_PICTURES:
        raise wrong_value("input", f"input has more than {MOST_PICTURES} pictures: send them one by one.")
    return Ask(groups, model or _ALIASES[0], Direction(direction))


def chosen(engine: Engine, ask: Ask) -> tuple[Reviewer, str]:
    """The reviewer that `model` names, and its name as the answer tells it; raises a 404 or 400."""
    model = ask.model
    if (loaded := engine.releases.get(model)) is not None:
        return loaded.reviewer, model
    name = DEFAULT if model.startswith(_ALIASES) else model
    if name not in policy.templates():
        there = ", ".join([*sorted(engine.releases), *policy.templates()])
        raise ApiError(
            404,
            f"The model {model[:80]!r} does not moderate here: there is {there}.",
            param="model",
            code="model_not_found",
        )
    try:
        seen = name != model and any(piece.modality == "image" for group in ask.groups for piece in group)
        return _of_template(name, pictures=seen), name
    except InputError as error:  # a check of the policy needs something that is not installed
        raise ApiError(400, str(error), param="model", code="model_not_available") from error


@cache
def _of_template(name: str, *, pictures: bool) -> Reviewer:
    rules = policy.named(name)
    # What a release learnt from is not at hand here; without it a comparison would hold everything.
    checks = tuple(check for check in rules.checks if not isinstance(CHECKS[check], Comparing))
    checks += PICTURES if pictures else ()
    options = {check: value for check, value in rules.options.items() if check in checks}
    return Reviewer(dataclasses.replace(rules, checks=checks, options=options))


def judge(reviewer: Reviewer, ask: Ask) -> list[dict[str, Any]]:
    """One result a group of pieces."""
    for piece in (piece for group in ask.groups for piece in group):
        if reviewer.unseen(piece.modality):
            why = f"the policy has no check that looks at {piece.modality}; name another as model."
            raise ApiError(400, f"input: {why}", param="input", code="unsupported_parameter")
        if piece.modality == "image":
            try:
                codec.read(piece)
            except InputError as error:  # a check would hold it as unreadable, which says nothing of what it shows
                raise wrong_value("input", f"input: the picture cannot be read: {error}.") from error
    return [_result(reviewer, group, ask.direction) for group in ask.groups]


def _result(reviewer: Reviewer, group: Sequence[Media], direction: Direction) -> dict[str, Any]:
    context = Context("moderation", direction)
    found: list[Finding] = []
    for piece in group:
        seen = reviewer.review(piece, context).findings
        # That nobody has approved it is no finding about the content.
        found += [finding for finding in seen if finding.category != categories.UNAPPROVED]
    verdict = policy.decide(reviewer.policy, found, direction, known=reviewer.digest)
    reports = {
        name: policy.report(verdict, reviewer.policy, direction, vocabulary=name) for name in categories.vocabularies()
    }
    own, kinds = reports.pop(OWN), list(dict.fromkeys(piece.modality for piece in group))
    return {
        "flagged": verdict.decision is not Decision.ALLOW,
        "categories": own.flagged,
        "category_scores": own.scores,
        "category_applied_input_types": {word: kinds for word in own.scores},
        "decision": verdict.decision.value,
        "policy": verdict.policy,
        "vocabularies": {
            name: {"categories": one.flagged, "category_scores": one.scores} for name, one in reports.items()
        },
        "findings": [
            {"check": one.check, "category": one.category, "severity": one.severity, "reason": str(one.reason)}
            for one in verdict.findings[:100]
        ],
    }


def _text(value: str, param: str) -> Media:
    try:
        return media.text(value)
    except UnicodeEncodeError as error:
        raise wrong_value(param, f"{param} holds half of a surrogate pair, which is no character.") from error


def _part(part: Mapping[str, Any], param: str) -> Media:
    match part:
        case {"type": "text", "text": str(text)}:
            return _text(text, f"{param}.text")
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return _picture(url, f"{param}.image_url.url")
    raise wrong_value(param, f"{param} must be {{type: text, text}} or {{type: image_url, image_url: {{url}}}}.")


def _picture(url: str, param: str) -> Media:
    """Pictures come inside the request: nothing is fetched from elsewhere."""
    head, comma, data = url.partition(",")
    mime = head.removeprefix("data:").removesuffix(";base64")
    if not comma or not head.startswith("data:") or not head.endswith(";base64") or mime not in MIMES:
        raise wrong_value(param, f"{param} must be data:<type>;base64,... with one of {', '.join(MIMES)}.")
    try:
        return Media("image", mime, base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise wrong_value(param, f"{param} is not base64: {error}.") from error
