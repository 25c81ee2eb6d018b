"""A response as an object, and the events of its stream, in the shapes of the Responses API.

Knows nothing of where the text comes from.
"""

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from spearhead.core.generation import Usage


def head(*, id: str, created: int, model: str, options: Mapping[str, Any], echo: Mapping[str, Any]) -> dict[str, Any]:
    """What a response says whatever comes of it: `options` as the model has them, `echo` as `responses.read` has."""
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "model": model,
        "background": False,
        "max_tool_calls": None,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "temperature": options.get("temperature"),
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": options.get("top_p"),
        "truncation": "disabled",
        **echo,
    }


def whole(head: Mapping[str, Any], *, text: str, finish: str, usage: Usage) -> dict[str, Any]:
    """A response that is over: its answer, which may be empty, and how it ended."""
    status, reason = _ends(finish)
    return {
        **head,
        "status": status,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": [_item(head, [_part(text)], status="completed" if status == "completed" else "incomplete")],
        "usage": usage_json(usage),
    }


def usage_json(usage: Usage) -> dict[str, Any]:
    """The `usage` object."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


class Events:
    """The events of one stream, numbered in their order."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head, self._number = head, 0
        self._finish, self._review, self._said = "", "", [""]
        kind, item = "response.output_text.delta", _item_id(head)
        place = f'"item_id":"{item}","output_index":0,"content_index":0,"logprobs":[]'
        self._delta = f'event: {kind}\ndata: {{"type":"{kind}",{place},"delta":'

    def opening(self) -> bytes:
        """What comes before the first text: the response, its one message, and the message's one part."""
        begun = {**self._head, "status": "in_progress", "error": None, "incomplete_details": None}
        begun |= {"output": [], "usage": None}
        return b"".join(
            (
                self._event("response.created", response=begun),
                self._event("response.in_progress", response=begun),
                self._event("response.output_item.added", output_index=0, item=self._item("in_progress")),
                self._in_item("response.content_part.added", part=_part("")),
            )
        )

    def delta(self, index: int, text: str) -> bytes:
        """A piece of text."""
        self._said.append(text)
        return (self._delta + encode_basestring_ascii(text) + f',"sequence_number":{self._next()}}}\n\n').encode(
            "ascii"
        )

    def last(self, index: int, finish: str, *, review: str | None = None) -> bytes:
        """What ends the message, with all of it that left; a held one's review is named in the event that follows."""
        self._finish, self._review = finish, review or ""
        text = "".join(self._said)
        status = "completed" if finish == "stop" else "incomplete"
        return b"".join(
            (
                self._in_item("response.output_text.done", text=text, logprobs=[]),
                self._in_item("response.content_part.done", part=_part(text)),
                self._event("response.output_item.done", output_index=0, item=self._item(status, _part(text))),
            )
        )

    def end(self, usage: Usage) -> bytes:
        """The whole response, and how it ended. Nothing follows it: `[DONE]` is not of this API."""
        said = whole(self._head, text="".join(self._said), finish=self._finish, usage=usage)
        held = {"x_review_id": self._review} if self._review else {}
        kind = "response.completed" if said["status"] == "completed" else "response.incomplete"
        return self._event(kind, response=said, **held)

    def failed(self, envelope: Mapping[str, Any]) -> bytes:
        """What ends a stream that fails. The API's own codes are few: ours stands beside the event, as `x_code`."""
        error = {"code": "server_error", "message": envelope["message"]}
        over = {**self._head, "status": "failed", "error": error, "incomplete_details": None}
        return self._event("response.failed", response={**over, "output": [], "usage": None}, x_code=envelope["code"])

    def _item(self, status: str, *parts: Mapping[str, Any]) -> dict[str, Any]:
        return _item(self._head, list(parts), status=status)

    def _in_item(self, kind: str, **said: Any) -> bytes:
        return self._event(kind, item_id=_item_id(self._head), output_index=0, content_index=0, **said)

    def _event(self, kind: str, **said: Any) -> bytes:
        body = {"type": kind, **said, "sequence_number": self._next()}
        text = json.dumps(body, separators=(",", ":"))  # in ASCII: some clients take other signs for ends of lines
        return f"event: {kind}\ndata: {text}\n\n".encode("ascii")

    def _next(self) -> int:
        self._number += 1
        return self._number - 1


def _ends(finish: str) -> tuple[str, str | None]:
    """The status of a response that ended so, and why it is incomplete."""
    match finish:
        case "length":
            return "incomplete", "max_output_tokens"
        case "content_filter":
            return "incomplete", "content_filter"
        case "cancelled":
            return "cancelled", None
    return "completed", None


def _item_id(head: Mapping[str, Any]) -> str:
    return "msg_" + str(head["id"]).removeprefix("resp_")


def _item(head: Mapping[str, Any], parts: list[Mapping[str, Any]], *, status: str) -> dict[str, Any]:
    return {"id": _item_id(head), "type": "message", "role": "assistant", "status": status, "content": parts}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
