"""What clients send, checked and turned into a request for the engine.

Fields nobody knows are ignored, for clients send new ones all the time. A field that the API defines and that cannot
be honoured is refused by name, never ignored.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, StrictInt, StrictStr, Tag, ValidationError

from spearhead.core.generation import Request
from spearhead.core.sampler import MOST_LAYERS, MOST_STEPS
from spearhead.engine.books import MOST_TOGETHER
from spearhead.service.api.errors import ApiError, unsupported, wrong_value

DEEPEST = 32
"""Levels of lists and objects in a body."""
MOST_MESSAGES = 2048
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[StrictStr, Field(max_length=4_000_000)]
TEXT_OR_LIST = Discriminator(lambda value: "list" if isinstance(value, list) else "text")
"""So that what is wrong inside a list is named where it stands."""
FIRST = Field(fail_fast=True)
"""Of a list that is wrong the first item is told: a million wrong ones take a minute and two gigabytes to note."""


Body = TypeVar("Body", bound=BaseModel)


class TextPart(BaseModel):
    """One piece of a message that is a list."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], FIRST] | None = Field(
        None, description="null only for an assistant that said nothing"
    )


class StreamOptions(BaseModel):
    """What a stream says besides its text."""

    include_usage: StrictBool | None = None


class Sampling(BaseModel):
    """What the endpoints of texts take alike."""

    model_config = ConfigDict(extra="ignore")
    model: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[StrictInt, Field(ge=-1, le=1_000_000)] | None = Field(
        None, description="spearhead: 0 is off, and -1, as elsewhere"
    )
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(None, description="spearhead")
    n: Annotated[StrictInt, Field(ge=1, le=16)] | None = None
    stop: (
        Annotated[StrictStr, Field(min_length=1, max_length=256)]
        | Annotated[list[Annotated[StrictStr, Field(min_length=1, max_length=256)]], FIRST]
        | None
    ) = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    seed: Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[StrictStr, Annotated[Number, Field(ge=-100, le=100)]] | None = None
    user: StrictStr | None = None


class ChatBody(Sampling):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES), FIRST]
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None


class ImageBody(BaseModel):
    """`POST /v1/images/generations`."""

    model_config = ConfigDict(extra="ignore")
    model: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    prompt: Annotated[StrictStr, Field(max_length=32_000)]
    n: Annotated[StrictInt, Field(ge=1, le=16)] | None = None
    size: Annotated[StrictStr, Field(max_length=20)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None = Field(None, description="spearhead")
    steps: Annotated[StrictInt, Field(ge=1, le=MOST_STEPS)] | None = Field(None, description="spearhead")
    guidance: Annotated[Number, Field(ge=0, le=20)] | None = Field(None, description="spearhead")
    truncation: Annotated[Number, Field(gt=0, le=2)] | None = Field(None, description="spearhead")
    mixing: Annotated[StrictInt, Field(ge=0, le=MOST_LAYERS)] | None = Field(None, description="spearhead")
    mixing_seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] | None = Field(None, description="spearhead")
    crop: Annotated[StrictStr, Field(max_length=40)] | None = Field(None, description="spearhead: WxH+LEFT+TOP")
    brightness: Annotated[Number, Field(ge=0, le=4)] | None = Field(None, description="spearhead")
    contrast: Annotated[Number, Field(ge=0, le=4)] | None = Field(None, description="spearhead")
    resize: Annotated[StrictStr, Field(max_length=20)] | None = Field(None, description="spearhead: WxH, any size")
    parameters: StrictBool | None = Field(None, description="spearhead: say inside the file how it was made")
    user: StrictStr | None = None


class CompletionBody(Sampling):
    """`POST /v1/completions`."""

    prompt: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[Text], Field(min_length=1), FIRST, Tag("list")], TEXT_OR_LIST
    ]


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked body."""

    kind: Literal["chat", "completion", "image", "response"]
    request: Request
    model: str
    stream: bool
    include_usage: bool
    link: bool = False
    """Pictures as addresses instead of bytes."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """What a response repeats of what was asked."""
    follows: str = ""
    """The response whose conversation it goes on with."""


def empty(value: Any) -> bool:
    """Whether a value says nothing."""
    return value in (None, [], {}, "", False)


def only(*values: Any) -> Callable[[Any], bool]:
    """Whether a value is one of these or null: then it asks for nothing that is not so anyway."""
    return lambda value: value is None or any(value == one and type(value) is type(one) for one in values)


def _text(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and value.get("type") == "text")


SHAPED = "answers are plain text, held to no grammar; leave it out"
_OTHERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("repetition_penalty", "repeat_penalty"), (only(1, 1.0), "send frequency_penalty in its place")),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar"), (empty, SHAPED)),
    **dict.fromkeys(("structured_outputs", "json_schema", "grammar"), (empty, SHAPED)),
    "min_tokens": (only(0), "an answer ends where the model ends it; leave it out"),
    "prompt_logprobs": (empty, "alternatives of a token would leave without review; leave it out"),
    "n_probs": (only(0), "alternatives of a token would leave without review; leave it out"),
    "ignore_eos": (only(False), "an answer ends where the model ends it; leave it out"),
    "stop_token_ids": (empty, "send texts, as `stop`"),
    "typical_p": (only(1, 1.0), "send top_p, top_k or min_p in its place"),
    "mirostat": (only(0), "send top_p, top_k or min_p in its place"),
    "use_beam_search": (only(False), "answers are sampled; leave it out"),
    "chat_template": (empty, "the scenario's template is filled; leave it out"),
    "continue_final_message": (only(False), "the last message is the user's; leave it out"),
}
"""What vLLM, SGLang and llama.cpp's server know beyond the API, and what changes the answer there."""
# Field -> (what of it means nothing to honour, why the rest cannot be).
BOTH: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **_OTHERS,
    "logprobs": (only(False), "alternatives of a token would leave without review; leave it out"),
    "service_tier": (only("auto", "default"), "there is one tier, 'default'"),
    "moderation": (empty, "every request is reviewed by the scenario's own policy"),
    "background": (only(False), "answers are given at once"),
}
_CHAT: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **BOTH,
    "top_logprobs": (only(0), "alternatives of a token would leave without review; leave it out"),
    "tools": (empty, "a scenario calls no tools"),
    "tool_choice": (only("none", "auto"), "a scenario calls no tools"),
    "functions": (empty, "a scenario calls no functions"),
    "function_call": (only("none", "auto"), "a scenario calls no functions"),
    "audio": (empty, "this scenario answers in text"),
    "modalities": (only(["text"]), "this scenario answers in text: ['text']"),
    "prediction": (empty, "predicted output is not used"),
    "reasoning_effort": (only("none"), "the model does not reason apart from its answer; leave it out or 'none'"),
    "verbosity": (only("medium"), "the scenario sets the manner of its answers; leave it out or 'medium'"),
    "web_search_options": (empty, "a scenario searches nothing"),
    "response_format": (_text, 'answers are plain text; leave it out or send {"type": "text"}'),
    "store": (only(False), "answers are kept as the operator's policy says, not by request; leave it out"),
}
_COMPLETION: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **BOTH,
    "echo": (only(False), "the prompt is not repeated; leave it out or false"),
    "suffix": (only(""), "text is written forwards only; leave it out"),
}


_IMAGE: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "background": (only("auto", "opaque"), "pictures have no transparency; leave it out"),
    "moderation": (only("auto"), "every request is reviewed by the scenario's own policy"),
    "output_compression": (only(100), "pictures are delivered at full quality; leave it out"),
    "partial_images": (only(0), "a picture leaves when it is whole and reviewed; leave it out"),
    "quality": (only("auto", "standard"), "there is one quality, 'auto'; name steps instead"),
    "stream": (only(False), "a picture leaves when it is whole and reviewed; leave it out"),
    "style": (empty, "the scenario sets the style; leave it out"),
}


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """The body of an endpoint as its part of the OpenAPI document, without references: it stands alone."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    inlined = _inline(schema, schema.get("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined}}}}


def _inline(value: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if (name := str(value.get("$ref", "")).rpartition("/")[2]) in parts:
            return _inline(parts[name], parts)
        return {key: _inline(one, parts) for key, one in value.items() if key != "$defs"}
    return [_inline(one, parts) for one in value] if isinstance(value, list) else value


def read_json(body: bytes) -> dict[str, Any]:
    """The object in a body; raises a 400 on anything else."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        if not _shallow(value):
            raise ApiError(400, f"The body is nested deeper than {DEEPEST} levels.", code="invalid_json")
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise ApiError(400, f"The body is not JSON in UTF-8: {reason}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise ApiError(400, f"The body is a JSON {type(value).__name__}: wanted an object.", code="invalid_json")
    return value


def chat(raw: Mapping[str, Any], *, account: str, key: str) -> Ask:
    """A chat request; raises a 400 that names the parameter."""
    check_known(raw, _CHAT)
    _check_parts(raw)
    body = validated(ChatBody, raw)
    both = {body.max_tokens, body.max_completion_tokens} - {None}
    if len(both) > 1:
        raise wrong_value("max_tokens", "max_tokens and max_completion_tokens differ: send max_completion_tokens.")
    for number, message in enumerate(body.messages):
        if message.content is None and message.role != "assistant":
            raise _without_content(number, given="content" in message.model_fields_set)
    messages = tuple(_turn(message) for message in body.messages)
    if messages[-1]["role"] != "user":
        raise wrong_value("messages", "The last message must be the user's.")
    for number, turn in enumerate(messages):
        check_prompt(turn["content"], f"messages[{number}].content")
    most = body.max_completion_tokens or body.max_tokens
    request = request_of(body, account=account, key=key, messages=messages, most=most)
    return Ask("chat", request, body.model, bool(body.stream), _usage_wanted(body))


def completion(raw: Mapping[str, Any], *, account: str, key: str) -> Ask:
    """A completion request; raises a 400 that names the parameter."""
    check_known(raw, _COMPLETION)
    prompt = raw.get("prompt")
    if isinstance(prompt, list) and prompt and not all(isinstance(item, str) for item in prompt):
        raise unsupported("prompt", "token ids are not taken; send text")
    body = validated(CompletionBody, raw)
    if (best := raw.get("best_of")) is not None and best != (body.n or 1):
        raise unsupported("best_of", "every answer is returned, so it can only equal n; leave it out")
    prompts = (body.prompt,) if isinstance(body.prompt, str) else tuple(body.prompt)
    if (answers := len(prompts) * (body.n or 1)) > MOST_TOGETHER:
        many = f"prompt has {len(prompts)} texts, with n that is {answers} answers"
        raise wrong_value("prompt", f"{many}: wanted at most {MOST_TOGETHER} in one request.")
    for number, prompt in enumerate(prompts):
        check_prompt(prompt, "prompt" if len(prompts) == 1 else f"prompt[{number}]")
    request = request_of(body, account=account, key=key, prompts=prompts, most=body.max_tokens)
    return Ask("completion", request, body.model, bool(body.stream), _usage_wanted(body))


def image(raw: Mapping[str, Any], *, account: str, key: str) -> Ask:
    """A request for pictures; raises a 400 that names the parameter."""
    check_known(raw, _IMAGE)
    body = validated(ImageBody, raw)
    check_prompt(body.prompt, "prompt")
    options = {
        "size": body.size,
        "format": body.output_format,
        "parameters": body.parameters,
        "steps": body.steps,
        "guidance": body.guidance,
        "truncation": body.truncation,
        "mixing": body.mixing,
        "mixing_seed": body.mixing_seed,
        "crop": body.crop,
        "brightness": body.brightness,
        "contrast": body.contrast,
        "resize": body.resize,
    }
    request = Request(
        scenario=body.model,
        account=account,
        key=key,
        prompt=body.prompt,
        count=body.n or 1,
        options={name: value for name, value in options.items() if value is not None},
        seed=body.seed,
    )
    return Ask("image", request, body.model, False, False, link=body.response_format == "url")


def request_of(
    body: Sampling,
    *,
    account: str,
    key: str,
    most: int | None,
    prompts: tuple[str, ...] = (),
    messages: tuple[Mapping[str, str], ...] = (),
    note: Mapping[str, Any] | None = None,
) -> Request:
    """What the engine is asked for; raises a 400 on stop texts that cannot be."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stop) > 4:
        raise wrong_value("stop", f"stop has {len(stop)} texts: wanted at most 4.")
    for word in stop:
        check_prompt(word, "stop")
    options = {
        "max_tokens": most,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": 0 if body.top_k == -1 else body.top_k,
        "min_p": body.min_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "logit_bias": body.logit_bias or None,
        "stop": stop or None,
    }
    return Request(
        scenario=body.model,
        account=account,
        key=key,
        prompt=prompts[0] if len(prompts) == 1 else "",
        prompts=prompts if len(prompts) > 1 else (),
        messages=messages,
        count=body.n or 1,
        options={name: value for name, value in options.items() if value is not None},
        seed=body.seed,
        note=note or {},
    )


def _turn(message: Message) -> dict[str, str]:
    role = "system" if message.role == "developer" else message.role
    content = message.content or ""
    return {"role": role, "content": content if isinstance(content, str) else joined(content)}


def joined(parts: Sequence[TextPart]) -> str:
    """The parts of a message as one text, a line each, as vLLM and llama.cpp's server have them."""
    return "\n".join(part.text for part in parts)


def _without_content(number: int, *, given: bool) -> ApiError:
    """A turn that must say something and does not."""
    param = f"messages[{number}].content"
    if given:
        return wrong_value(param, f"{param} is null: wanted a text; only an assistant may have said nothing.")
    return ApiError(400, f"{param}: Field required.", param=param, code="missing_required_parameter")


def _usage_wanted(body: Sampling) -> bool:
    wanted = bool(body.stream_options and body.stream_options.include_usage)
    if wanted and not body.stream:
        raise wrong_value("stream_options", "stream_options.include_usage is only for stream: true.")
    return wanted


def check_known(raw: Mapping[str, Any], known: Mapping[str, tuple[Callable[[Any], bool], str]]) -> None:
    """Refuse by name what the API defines and this server cannot honour."""
    for name, (nothing, why) in known.items():  # in this order: of several the same is named every time
        if name in raw and not nothing(raw[name]):
            raise unsupported(name, why)
    options = raw.get("stream_options")
    if isinstance(options, dict) and options.get("include_obfuscation") is True:
        raise unsupported("stream_options.include_obfuscation", "chunks are not padded; leave it out")


def _check_parts(raw: Mapping[str, Any]) -> None:
    """Pictures, sounds, files and tools inside messages are known and cannot be honoured."""
    messages = raw.get("messages")
    for number, message in enumerate(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict):
            continue
        if message.get("role") in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
            raise unsupported(f"messages[{number}].role", "a scenario calls no tools")
        content = message.get("content")
        for place, part in enumerate(content if isinstance(content, list) else []):
            if isinstance(part, dict) and isinstance(part.get("type"), str) and part["type"] != "text":
                raise unsupported(
                    f"messages[{number}].content[{place}].type",
                    f"{part['type'][:40]!r} parts are not taken; this scenario reads text",
                )


def validated(kind: type[Body], raw: Mapping[str, Any]) -> Body:
    """The body as its model; raises a 400 that names the parameter."""
    for name in kind.model_fields:
        if isinstance(given := raw.get(name), dict) and len(given) > MOST_MESSAGES:
            raise wrong_value(name, f"{name} has {len(given)} members: wanted at most {MOST_MESSAGES}.")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = _path(first["loc"], raw, missing=first["type"] == "missing")
        given = "" if first["type"] == "missing" else f", got {_short(first['input'])}"
        raise ApiError(
            400,
            f"{param or 'the body'}: {first['msg']}{given}.",
            param=param or None,
            code="missing_required_parameter" if first["type"] == "missing" else "invalid_value",
        ) from error


def _path(place: tuple[int | str, ...], raw: Any, *, missing: bool) -> str:
    """`messages[0].content`; parts of the place that only name a choice of types are left out."""
    path, here = "", raw
    for step in place:
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(step, str) and (not path or (isinstance(here, dict) and (missing or step in here))):
            path = f"{path}.{step}" if path else step
            here = here.get(step) if isinstance(here, dict) else None
    return path


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def check_text(text: str, param: str) -> None:
    """Raise a 400 when it cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise wrong_value(param, f"{param} holds half of a surrogate pair, which is no character.") from error


def check_prompt(text: str, param: str) -> None:
    """Raise a 400 when it is no text that is kept: not UTF-8, or with a NUL, which PostgreSQL holds in no text."""
    check_text(text, param)
    if "\0" in text:
        raise wrong_value(param, f"{param} holds a NUL (U+0000), which no text has: take it out.")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _shallow(value: Any) -> bool:
    level, layer = 0, [value]
    while layer:
        if level > DEEPEST:
            return False
        layer = [
            child
            for item in layer
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        level += 1
    return True
