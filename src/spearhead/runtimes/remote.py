"""Any OpenAI-compatible endpoint as a Generator: vLLM, SGLang, llama.cpp, spearhead itself.

Knows nothing of how the endpoint runs its model. It sends words, so a prompt's segments become the messages of a chat
(`chat=True`: one user message) or one text; the endpoint applies its own template. Usage is what the endpoint counted.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from spearhead.core.errors import InputError
from spearhead.core.generation import Draft, Prompt, Usage, seed_of
from spearhead.runtimes.failure import PromptTooLong, RuntimeFailed

OPTIONS = (
    "temperature",
    "top_p",
    "max_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
)
"""What every such endpoint understands."""
EXTENSIONS = ("top_k", "min_p", "repeat_penalty")
"""What vLLM, SGLang and llama.cpp understand too; sent under their own names, refused by strict endpoints."""
_LONGEST_LINE = 1 << 20


class Remote:
    """A model behind `url` (up to and with `/v1`). Close it with `aclose`."""

    def __init__(
        self, url: str, *, model: str, key: str = "", context: int = 8192, chat: bool = True, seconds: float = 120.0
    ) -> None:
        """`context` is what the endpoint's model can hold; `seconds` is how long it may be silent."""
        if not url.startswith(("http://", "https://")):
            raise InputError(f"{url!r} is not an address: wanted http:// or https:// up to and with /v1")
        self._model, self._context, self._chat = model, context, chat
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(seconds, connect=10.0),
            limits=httpx.Limits(max_connections=256),
            follow_redirects=False,  # the key is for this address alone
        )

    @property
    def context(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return self._context

    def measure(self, prompt: Prompt) -> int:
        """A guess, four characters a token: only the endpoint knows, and says so in each answer's usage."""
        return max(1, sum(len(segment.text) for segment in prompt.segments) // 4)

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Draft, None]:
        """Drafts of the answers; raises InputError when the endpoint refuses, RuntimeFailed when it breaks off."""
        drafts = [
            self._answer(self._body(prompt, None if prompt.seed is None else seed_of(prompt.seed, index)), index)
            for index in range(prompt.count)
        ]
        for one in drafts:  # one after the other: parallel work comes from many prompts
            try:
                async for draft in one:
                    yield draft
            finally:
                await one.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> "Remote":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _body(self, prompt: Prompt, seed: int | None) -> dict[str, Any]:
        words = "".join(segment.text for segment in prompt.segments)
        body: dict[str, Any] = {"model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        body |= {"messages": [{"role": "user", "content": words}]} if self._chat else {"prompt": words}
        for name, value in prompt.options.items():
            if value is None:
                continue
            if name not in OPTIONS and name not in EXTENSIONS:
                raise InputError(f"option {name!r} cannot be sent: there are {', '.join((*OPTIONS, *EXTENSIONS))}")
            if name == "logprobs" and self._chat:
                body |= {"logprobs": True, "top_logprobs": value}
            else:
                body[name] = value
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if seed is not None:
            body["seed"] = seed
        return body

    async def _answer(self, body: Mapping[str, Any], index: int) -> AsyncGenerator[Draft, None]:
        path = "/chat/completions" if self._chat else "/completions"
        finish, usage, whole = None, Usage(), False
        try:
            async with self._client.stream("POST", path, json=body) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await _at_most(response, 65536))
                async for line in response.aiter_lines():
                    if len(line) > _LONGEST_LINE:
                        raise RuntimeFailed(f"{self._client.base_url}: a line of the answer is too long")
                    if not line.startswith("data:"):
                        continue
                    if (payload := line[5:].strip()) == "[DONE]":
                        whole = True
                        break
                    value = json.loads(payload)
                    if "error" in value:
                        code = str(value["error"].get("code"))  # a status, or a word of the endpoint's own
                        status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 500
                        raise _refusal(status, payload.encode())
                    usage = _usage(value) or usage
                    for choice in value.get("choices", ()):
                        finish = choice.get("finish_reason") or finish
                        delta = choice.get("delta", {}).get("content") if self._chat else choice.get("text")
                        logprobs = (choice.get("logprobs") or {}).get("content")
                        if delta or logprobs:
                            yield Draft(index, delta or "", usage=usage, logprobs=logprobs)
        except httpx.ConnectError as error:
            where = f"{self._client.base_url}".rstrip("/")
            raise RuntimeFailed(
                f"{where}: nobody answers there ({error}): is the server running, at this port?"
            ) from error
        except (httpx.HTTPError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise RuntimeFailed(f"{self._client.base_url}: {type(error).__name__}: {error}") from error
        if not whole and finish is None:
            raise RuntimeFailed(f"{self._client.base_url}: the answer broke off")
        yield Draft(index, usage=usage, finish="length" if finish == "length" else "stop")


def _usage(value: Mapping[str, Any]) -> Usage | None:
    found = value.get("usage")
    if not found:
        return None
    cached = (found.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(int(found["prompt_tokens"]), int(found["completion_tokens"]), int(cached))


async def _at_most(response: httpx.Response, limit: int) -> bytes:
    out = b""
    async for chunk in response.aiter_bytes():
        out += chunk
        if len(out) > limit:
            break
    return out[:limit]


def _refusal(status: int, body: bytes) -> InputError | RuntimeFailed:
    try:
        error = json.loads(body)["error"]
        code, message = str(error.get("code") or error.get("type") or ""), str(error["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", body[:200].decode("utf-8", "replace")
    if "context_length" in code or "exceed_context" in str(body[:2000]):
        return PromptTooLong(f"the endpoint refuses the prompt: {message}")
    if 400 <= status < 500 and status not in (408, 429):
        return InputError(f"the endpoint refuses the request ({status}): {message}")
    return RuntimeFailed(f"the endpoint failed ({status}): {message}")
