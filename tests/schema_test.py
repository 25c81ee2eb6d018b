"""Promises to whoever sends anything at all: every operation of `/openapi.json` answers, and never with a 5xx.

Schemathesis draws requests from the document that the live server gives; half the bodies name the model that is there.
`explore` is also run by benchmarks/load.py, with many more examples.
"""

import json
from collections import Counter
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from tests.conftest import Served

LONGEST = 8
"""Tokens of an answer: what is drawn asks for billions."""


def explore(served: Served, *, examples: int, seed: bool = True) -> dict[str, Counter[int]]:
    """Send so many drawn requests to each operation; statuses by operation. Raises AssertionError on the first 5xx."""
    account = served.account(credit=10**15)
    everything = served.key(account, scopes=("generate", "read", "admin")).secret
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    seen: dict[str, Counter[int]] = {}
    drawn = settings(
        max_examples=examples,
        derandomize=seed,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    with httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {everything}"}, timeout=60) as client:
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # type: ignore[union-attr]
            name = f"{operation.method.upper()} {operation.path}"
            counts = seen[name] = Counter()

            _each(operation, name, client, counts, settings=drawn)
    return seen


def _each(operation: Any, name: str, client: httpx.Client, counts: Counter[int], *, settings: Any) -> None:
    """Every request that is drawn for one operation."""

    def one(case: Any) -> None:
        body = _tamed(case.body, number=counts.total())
        sent = case.as_transport_kwargs(base_url=str(client.base_url))
        data = json.dumps(body).encode("utf-8", "surrogatepass") if isinstance(body, dict | list) else None
        try:
            answer = client.request(
                case.method,
                sent["url"],
                params=sent.get("params"),
                content=data if data is not None else sent.get("data"),
                files=sent.get("files"),
                headers={"content-type": "application/json"} if data is not None else {},
            )
        except (httpx.InvalidURL, UnicodeError, httpx.LocalProtocolError):
            return  # no client can send it
        counts[answer.status_code] += 1
        _check(name, body, answer)

    settings(given(case=operation.as_strategy())(one))()


def _tamed(body: Any, *, number: int) -> Any:
    """The same body, every second one for the model that is there, none for an answer without end."""
    if isinstance(body, dict):
        body = dict(body)
        if number % 2 and "model" in body:
            body["model"] = "tiny"
        if number % 4 == 1 and "messages" in body:
            body["messages"] = [{"role": "user", "content": "hello"}]
        if number % 4 == 1 and "input" in body and "encoding_format" not in body:
            body["input"] = "hello"
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            if isinstance(body.get(name), int):
                body[name] = min(body[name], LONGEST)
    return body


def _check(name: str, body: Any, answer: httpx.Response) -> None:
    assert answer.status_code < 500, f"{name} {str(body)[:2000]!r}: {answer.status_code} {answer.text[:500]}"
    assert answer.headers["x-request-id"].startswith("req_")
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"], f"{name}: {answer.text[:500]}"


def test_every_operation_answers_whatever_is_sent_and_never_with_a_server_error(served: Served) -> None:
    seen = explore(served, examples=6)
    assert len(seen) >= 15 and all(counts.total() for counts in seen.values()), seen
    answered = sum(seen[f"POST /v1/{name}"][200] for name in ("chat/completions", "completions", "responses"))
    assert answered, "some of what is drawn must get as far as the model"
