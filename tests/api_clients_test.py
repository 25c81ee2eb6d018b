"""Promises to clients that are not the official ones: the requests that they send, as they send them, are answered.

The bodies were recorded from the versions in docs/api.md, each client asked for one answer or stream.
"""

import json
from typing import Any

import httpx
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

HELLO = [{"role": "user", "content": "hello"}]
TOLD = [{"role": "system", "content": "be"}, *HELLO]
AGAIN = [*TOLD, {"role": "assistant", "content": " The quick brown fox."}, *HELLO]
USAGE = {"include_usage": True}
CHAT: dict[str, dict[str, Any]] = {
    "litellm": {"messages": HELLO},
    "litellm, stream": {"messages": HELLO, "stream": True},
    "langchain-openai, Python": {"stream": False, "messages": HELLO},
    "@langchain/openai, stream": {"stream": True, "stream_options": USAGE, "messages": HELLO},
    "pydantic-ai": {"stream": False, "messages": AGAIN},
    "pydantic-ai, stream": {"stream": True, "messages": TOLD, "stream_options": USAGE},
    "openai-agents": {"messages": AGAIN},
    "@ai-sdk/openai-compatible": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
    "llm": {"stream": True, "messages": HELLO, "stream_options": USAGE},
    "llama-index": {"messages": HELLO, "stream": False, "temperature": 0.1},
    "haystack": {"stream": False, "messages": HELLO, "n": 1},
    "lm-eval": {"messages": HELLO, "max_tokens": 64, "temperature": 0, "stop": ["\n\n"], "seed": 1234},
}
COMPLETION: dict[str, dict[str, Any]] = {
    "langchain-openai, Python": {
        "prompt": ["hello"],
        "frequency_penalty": 0,
        "logprobs": None,
        "max_tokens": 256,
        "n": 1,
        "presence_penalty": 0,
        "seed": None,
        "temperature": 0.7,
        "top_p": 1,
    },
    "langchain-openai, batch": {
        "prompt": ["hello"] * 20,
        "n": 1,
        "max_tokens": 256,
        "temperature": 0.7,
        "logprobs": None,
    },
    "lm-eval, batch": {"prompt": ["hello"] * 8, "max_tokens": 64, "temperature": 0, "stop": ["\n\n"], "seed": 1234},
    "@langchain/openai": {"n": 1, "stream": True, "prompt": "hello"},
    "@ai-sdk/openai-compatible": {"prompt": "user:\nhello\n\nassistant:\n", "stop": ["\nuser:"]},
    "llm": {"stream": True, "prompt": "hello", "stream_options": USAGE},
    "llama-index": {"prompt": "hello", "stream": False, "temperature": 0.1},
    "lm-eval": {"prompt": "hello", "max_tokens": 64, "temperature": 0, "stop": ["\n\n"], "seed": 1234},
}

ANSWERED = {
    "id": "msg_1",
    "content": [{"annotations": [], "text": " The fox.", "type": "output_text", "logprobs": []}],
    "role": "assistant",
    "status": "completed",
    "type": "message",
}
RESPONSE: dict[str, dict[str, Any]] = {
    "openai-agents": {"include": [], "input": [*HELLO, ANSWERED, *HELLO], "instructions": "be", "tools": []},
    "openai-agents, stream": {"stream": True, "include": [], "input": HELLO, "instructions": "be", "tools": []},
}


def said(answer: httpx.Response) -> str:
    """The text of an answer, whole or streamed."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"] == "application/json":
        (choice,) = answer.json()["choices"]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["text"] if "text" in choice else choice["delta"].get("content", "") for choice in choices)


def refused(answer: httpx.Response, status: int = 400) -> Any:
    """The error of an answer that must be one."""
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


@pytest.mark.parametrize("client", CHAT)
def test_a_chat_is_answered_as_other_clients_ask_for_it(served: Any, client: str) -> None:
    answer = served.http(served.account()).post("/v1/chat/completions", json={"model": "tiny", **CHAT[client]})
    assert said(answer) == " The quick brown fox."


@pytest.mark.parametrize("client", COMPLETION)
def test_a_completion_is_answered_as_other_clients_ask_for_it(served: Any, client: str) -> None:
    answer = served.http(served.account()).post("/v1/completions", json={"model": "tiny", **COMPLETION[client]})
    if "batch" in client:
        texts = [choice["text"] for choice in answer.json()["choices"]]
        assert texts == [" The quick brown fox."] * len(COMPLETION[client]["prompt"])
    else:
        assert said(answer) == " The quick brown fox."


@pytest.mark.parametrize("client", RESPONSE)
def test_a_response_is_answered_as_other_clients_ask_for_it(served: Any, client: str) -> None:
    answer = served.http(served.account()).post("/v1/responses", json={"model": "tiny", **RESPONSE[client]})
    assert answer.status_code == 200, answer.text
    whole = json.loads(answer.text.strip().split("data: ")[-1])
    whole = whole.get("response", whole)
    assert (whole["status"], whole["output"][0]["content"][0]["text"]) == ("completed", " The quick brown fox.")


@pytest.mark.parametrize(
    "idle",
    [
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"functions": [], "function_call": "auto"},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "text", "json_schema": None}},
        {"stream_options": {}},
        {"stream_options": None},
        {"stream_options": {"include_usage": False, "include_obfuscation": False}},
        {"n": 1, "user": "u", "store": False, "service_tier": "auto", "metadata": {}, "logit_bias": {}},
        {"logprobs": False, "top_logprobs": 0, "modalities": ["text"], "audio": None, "prediction": None},
        {"top_k": -1, "min_p": 0, "repetition_penalty": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"stop": None, "seed": None, "max_tokens": None, "max_completion_tokens": None, "temperature": None},
        {"stop": [], "safety_identifier": "s", "prompt_cache_key": "p", "web_search_options": {}},
    ],
)
def test_what_clients_always_send_and_asks_for_nothing_is_taken(served: Any, idle: dict[str, Any]) -> None:
    client = served.http(served.account())
    body = {"model": "tiny", "messages": HELLO, **idle}
    assert said(client.post("/v1/chat/completions", json=body)) == " The quick brown fox."


def test_an_answer_that_said_nothing_may_be_sent_back_as_null(served: Any) -> None:
    client = served.http(served.account())
    for nothing in ({"content": None}, {}, {"content": None, "refusal": None, "tool_calls": None}):
        turns = [*TOLD, {"role": "assistant", **nothing}, *HELLO]
        answer = client.post("/v1/chat/completions", json={"model": "tiny", "messages": turns})
        assert said(answer) == " The quick brown fox."
    for role in ("system", "user"):
        turns = [{"role": role, "content": None}, *HELLO]
        error = refused(client.post("/v1/chat/completions", json={"model": "tiny", "messages": turns}))
        assert (error["param"], error["code"]) == ("messages[0].content", "invalid_value")


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"function_call": {"name": "f"}, "functions": [{"name": "f"}]}, "functions"),
        ({"top_logprobs": 3, "logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"}}, "audio"),
    ],
)
def test_of_several_that_cannot_be_honoured_the_cause_is_named(served: Any, asked: dict[str, Any], named: str) -> None:
    client = served.http(served.account())
    error = refused(client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, **asked}))
    assert (error["param"], error["code"]) == (named, "unsupported_parameter")


@pytest.mark.parametrize("more", [{"messages": [{"role": "user", "content": "a" * 5000}]}, {"max_tokens": 4096}])
def test_an_overflow_is_told_in_the_words_that_frameworks_look_for(served: Any, more: dict[str, Any]) -> None:
    # litellm and LangChain shorten the conversation, or turn to a larger model, by these words: the official client
    # hands them the message without its code.
    client = served.http(served.account())
    error = refused(client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, **more}))
    assert error["code"] == "context_length_exceeded"
    assert "prompt is too long" in error["message"], "litellm, langchain-openai"
    assert "maximum context length" in error["message"], "@langchain/openai"


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/chat/completions", "ends in /v1, once: {url}/v1"),
        ("POST", "/v1/v1/chat/completions", "ends in /v1, once: {url}/v1"),
        ("GET", "/models", "ends in /v1, once: {url}/v1"),
        ("POST", "/openai/deployments/tiny/chat/completions?api-version=1", "ends in /v1, once: {url}/v1"),
        ("POST", "/responses", "ends in /v1, once: {url}/v1"),
        ("POST", "/v1/messages", "ask at /v1/chat/completions"),
        ("POST", "/v1/images/edits", "ask at /v1/images/generations"),
        ("POST", "/v1/assistants", "there is no such route."),
    ],
)
def test_a_client_with_the_wrong_address_is_told_the_right_one(served: Any, method: str, path: str, told: str) -> None:
    error = refused(served.http(served.account()).request(method, path), 404)
    assert error["code"] == "unknown_url" and told.format(url=served.url) in error["message"]


def test_the_list_of_models_may_end_in_a_slash(served: Any) -> None:
    client = served.http(served.account())
    assert client.get("/v1/models/").json() == client.get("/v1/models").json()


@pytest.mark.parametrize(
    ("accept", "kind", "read"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", parser),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8", parser),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text;", openmetrics),
    ],
)
def test_figures_are_in_the_format_that_the_scraper_asks_for(served: Any, accept: str, kind: str, read: Any) -> None:
    answer = httpx.get(f"{served.url}/metrics", headers={"accept": accept}, timeout=60)
    assert answer.headers["content-type"].startswith(kind)
    families = {family.name: family for family in read.text_string_to_metric_families(answer.text)}
    assert families["spearhead_runtime_up"].samples[0].value == 1 and families["spearhead_requests"].type == "counter"


ASK = """async ([url, key]) => {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", "x-stainless-lang": "js" };
  const body = JSON.stringify({ model: "tiny", messages: [{ role: "user", content: "hello" }] });
  const got = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  const said = await got.json();
  return [got.status, said.choices?.[0].message.content ?? said.error.code, got.headers.get("x-request-id")];
}"""


def test_a_client_in_a_page_of_another_site_is_answered_and_refused(served: Any, tab: Any) -> None:
    tab.goto(f"{served.url.replace('127.0.0.1', 'localhost')}/health")  # another site than the one that it asks
    status, text, number = tab.evaluate(ASK, [served.url, served.key(served.account()).secret])
    assert (status, text) == (200, " The quick brown fox.") and number.startswith("req_")
    assert tab.evaluate(ASK, [served.url, "sk-x"])[:2] == [401, "invalid_api_key"]


def test_the_studio_and_the_figures_are_open_to_no_other_site(served: Any) -> None:
    elsewhere = {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}
    for path in ("/", "/login", "/metrics", "/health", "/static/studio.js", "/v1x", "/chat/completions"):
        for method in ("GET", "POST", "OPTIONS"):
            answer = httpx.request(method, f"{served.url}{path}", headers=elsewhere, timeout=60)
            assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)
    assert (
        "access-control-allow-credentials"
        not in httpx.options(f"{served.url}/v1/models", headers=elsewhere, timeout=60).headers
    )
