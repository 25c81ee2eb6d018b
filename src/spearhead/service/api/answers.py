"""The bytes of answers: whole ones and the chunks of a stream. Written by hand where it runs once a token.

Knows nothing of where the text comes from.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Literal
from urllib.parse import quote

from spearhead.core.generation import Usage
from spearhead.core.media import Label, Media

Kind = Literal["chat", "completion", "image", "response"]
DONE = b"data: [DONE]\n\n"
MOST_LABELS = 16
"""In a header of their own each: some clients take no line of more than 8,190 characters."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished answer; `finish` is `stop`, `length` or `content_filter`."""

    index: int
    text: str
    finish: str
    output: str = ""
    """Its number, under which the file is to be had."""
    file: Media | None = None


def whole(kind: Kind, *, id: str, created: int, model: str, choices: Sequence[Choice], usage: Usage) -> bytes:
    """The body of an answer that was not streamed."""
    return _json(
        {
            "id": id,
            "object": "chat.completion" if kind == "chat" else "text_completion",
            "created": created,
            "model": model,
            "choices": [_choice(kind, choice) for choice in choices],
            "usage": usage_json(usage),
            **({"service_tier": "default"} if kind == "chat" else {}),
            "system_fingerprint": None,
        }
    )


def pictures(*, created: int, choices: Sequence[Choice], usage: Usage, site: str = "") -> bytes:
    """The body of an answer in pictures: their labelled files, or addresses at `site` that want the caller's key.

    One that waits for a person or was withheld has neither, and `finish_reason` says so.
    """
    formats = {choice.file.mime.partition("/")[2] for choice in choices if choice.file is not None}
    return _json(
        {
            "created": created,
            "data": [_picture(choice, site=site) for choice in choices],
            **({"output_format": formats.pop()} if len(formats) == 1 else {}),
            "usage": {
                "input_tokens": usage.prompt,
                "output_tokens": 0,
                "total_tokens": usage.prompt,
                "input_tokens_details": {"text_tokens": usage.prompt, "image_tokens": 0},
                "pictures": usage.completion,
            },
        }
    )


def _picture(choice: Choice, *, site: str) -> dict[str, Any]:
    if choice.file is None:
        return {"b64_json": None, "url": None, "revised_prompt": None, "finish_reason": choice.finish}
    where = f"{site}/v1/outputs/{choice.output}/file"
    body = {"url": where} if site else {"b64_json": base64.b64encode(choice.file.data).decode("ascii")}
    return {**body, "revised_prompt": None, "finish_reason": choice.finish}


def _choice(kind: Kind, choice: Choice) -> dict[str, Any]:
    said: dict[str, Any] = (
        {"message": {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}}
        if kind == "chat"
        else {"text": choice.text}
    )
    return {"index": choice.index, **said, "logprobs": None, "finish_reason": choice.finish}


def usage_json(usage: Usage) -> dict[str, Any]:
    """The `usage` object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class Chunks:
    """The events of one stream. What is the same in each is encoded once."""

    def __init__(self, kind: Kind, *, id: str, created: int, model: str, count: int, include_usage: bool) -> None:
        self._kind, self._count, self._include_usage = kind, count, include_usage
        object = "chat.completion.chunk" if kind == "chat" else "text_completion"
        head = {"id": id, "object": object, "created": created, "model": model, "system_fingerprint": None}
        self._head = _json(head).decode()[:-1]
        self._usage = ',"usage":null' if include_usage else ""
        open, close = ('"delta":{"content":', "}") if kind == "chat" else ('"text":', "")
        self._deltas = [
            (
                f'data: {self._head},"choices":[{{"index":{index},{open}',
                f'{close},"logprobs":null,"finish_reason":null}}]{self._usage}}}\n\n',
            )
            for index in range(count)
        ]

    def opening(self) -> bytes:
        """The chunks that open the answers of a chat; a completion has none."""
        if self._kind != "chat":
            return b""
        first = {"delta": {"role": "assistant", "content": "", "refusal": None}}
        return b"".join(self._chunk(index, first, finish=None) for index in range(self._count))

    def delta(self, index: int, text: str) -> bytes:
        """A piece of text."""
        before, after = self._deltas[index]
        return (before + encode_basestring_ascii(text) + after).encode("ascii")

    def last(self, index: int, finish: str, *, review: str | None = None) -> bytes:
        """The chunk that ends an answer; a held one names its review, since headers are gone by then."""
        said: dict[str, Any] = {"delta": {}} if self._kind == "chat" else {"text": ""}
        return self._chunk(index, said, finish=finish, review=review)

    def end(self, usage: Usage) -> bytes:
        """The chunk with the totals where it is wanted, and the end."""
        if not self._include_usage:
            return DONE
        return f'data: {self._head},"choices":[],"usage":{_json(usage_json(usage)).decode()}}}\n\n'.encode() + DONE

    def failed(self, envelope: Mapping[str, Any]) -> bytes:
        """What ends a stream that fails: clients raise on it, while a mere end looks complete to them."""
        return b"data: " + _json({"error": envelope}) + b"\n\n"

    def _chunk(self, index: int, said: Mapping[str, Any], *, finish: str | None, review: str | None = None) -> bytes:
        choice = {"index": index, **said, "logprobs": None, "finish_reason": finish}
        held = f',"x_review_id":{json.dumps(review)}' if review else ""
        return f'data: {self._head},"choices":[{_json(choice).decode()}]{self._usage}{held}}}\n\n'.encode()


def label_headers(labels: Sequence[Label], *, release: str) -> dict[str, str]:
    """What an API body does not say of itself: that a machine made it, which release, under which numbers.

    The label has the seven members of GB 45438 annex E, percent-encoded for a header; several answers have a list, and
    more than a header may be long one label with all their numbers.
    """
    together = [labels] if len(labels) > MOST_LABELS else [[label] for label in labels]
    numbers = [(",".join(label.produce_id for label in some), some[0].producer) for some in together]
    written = [_quoted(_json(number)[1:-1]).join(_around_id(producer)) for number, producer in numbers]
    return {
        "x-ai-generated": "true",
        "x-spearhead-release": release,
        "x-spearhead-output": ",".join(label.produce_id for label in labels),
        "x-spearhead-label": written[0] if len(written) == 1 else f"[{','.join(written)}]",
    }


@lru_cache(256)
def _around_id(producer: str) -> tuple[str, str, str]:
    """A label in a header without its number: what stands before it, between its two places and after it."""
    name = _json(producer).decode()
    return (
        _quoted(f'{{"AIGC":{{"Label":"1","ContentProducer":{name},"ProduceID":"'.encode()),
        _quoted(f'","ReservedCode1":"","ContentPropagator":{name},"PropagateID":"'.encode()),
        _quoted(b'","ReservedCode2":""}}'),
    )


def _quoted(text: bytes) -> str:
    return quote(text, safe="{}[]:,")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
