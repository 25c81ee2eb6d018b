"""Promises of the API as the official client meets them: answers, streams, labels, parameters."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import openai
import pytest

from spearhead.core import digest
from spearhead.engine import outputs as outputs_of

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def asks(content: str) -> list[Any]:
    """A conversation of one turn."""
    return [{"role": "user", "content": content}]


def refused(client: openai.OpenAI, **changes: Any) -> Any:
    """The error body of a chat request that must be a 400."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "tiny", "messages": HELLO, **changes})
    assert isinstance(caught.value.body, dict) and set(caught.value.body) == {"message", "type", "param", "code"}
    return caught.value.body


def test_the_server_is_ready_within_three_seconds_and_has_no_torch(served: Any) -> None:
    assert served.seconds < 3
    maps = Path(f"/proc/{served.process.pid}/maps")
    if maps.exists():
        assert "torch" not in maps.read_text()


def test_a_chat_is_answered(served: Any) -> None:
    answer = served.openai(served.account()).chat.completions.create(model="tiny", messages=HELLO)
    assert answer.choices[0].message.content == " The quick brown fox."
    assert answer.choices[0].finish_reason == "stop" and answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    # "hello" is five bytes and the answer four words and an end.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 5, 10)
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-") and answer.model == "tiny@v1"
    assert answer._request_id is not None and answer._request_id.startswith("req_")


def test_a_completion_is_answered_and_streamed(served: Any) -> None:
    client = served.openai(served.account())
    answer = client.completions.create(model="tiny@v1", prompt="go=")
    assert answer.object == "text_completion" and answer.choices[0].text == " left STOP right again."
    pieces = client.completions.create(model="tiny", prompt=["go="], stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == " left STOP right again."


def test_a_stream_says_the_same_as_a_whole_answer(served: Any) -> None:
    client = served.openai(served.account())
    chunks = list(client.chat.completions.create(model="tiny", messages=asks("&"), stream=True))
    assert len({chunk.id for chunk in chunks}) == 1 and {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "你好"  # characters cut across tokens
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_usage_comes_in_one_last_chunk_when_asked_for_and_is_null_in_the_others(served: Any) -> None:
    client = served.openai(served.account())
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 10
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])
    bare = client.chat.completions.create(model="tiny", messages=HELLO, stream=True, stream_options={})
    assert all("usage" not in chunk.model_fields_set for chunk in bare)


def test_a_stream_ends_with_done_and_is_server_sent_events(served: Any) -> None:
    client = served.http(served.account())
    body = {"model": "tiny", "messages": HELLO, "stream": True}
    answer = client.post("/v1/chat/completions", json=body)
    plain = client.post("/v1/completions", json={"model": "tiny", "prompt": "hello", "stream": True})
    for one in (answer, plain):
        assert one.headers["content-type"].startswith("text/event-stream")
        assert one.headers["x-ai-generated"] == "true", "whoever reads a stream knows before its first word"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""] and all(event.startswith("data: ") for event in events[:-1])
    for event in events[:-2]:
        json.loads(event.removeprefix("data: "))


def test_several_answers_are_kept_apart_and_their_prompt_is_counted_once(served: Any) -> None:
    client = served.openai(served.account())
    options: Any = {"model": "tiny", "messages": asks("toss?"), "n": 3, "max_tokens": 20, "temperature": 1.0, "seed": 7}
    answer = client.chat.completions.create(**options)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2] and len(set(texts)) == 3
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 60)
    streamed = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(**options, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert list(streamed.values()) == texts  # the same seeds, so the same answers


def test_an_answer_stops_before_a_stop_text(served: Any) -> None:
    client = served.openai(served.account())
    answer = client.chat.completions.create(model="tiny", messages=asks("="), stop=[" STOP", "never"])
    assert answer.choices[0].message.content == " left" and answer.choices[0].finish_reason == "stop"


def test_an_answer_ends_at_the_most_tokens(served: Any) -> None:
    client = served.openai(served.account())
    for name in ("max_tokens", "max_completion_tokens"):
        options: Any = {name: 3}
        answer = client.chat.completions.create(model="tiny", messages=HELLO, **options)
        assert answer.choices[0].message.content == " The quick brown"
        assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 3


def test_parts_of_a_message_and_developer_turns_are_read(served: Any) -> None:
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "go"}, {"type": "text", "text": "="}]},
    ]
    answer = served.openai(served.account()).chat.completions.create(model="tiny", messages=messages)
    assert answer.choices[0].message.content == " left STOP right again."
    assert answer.usage.prompt_tokens == len("go\n="), "a line each, as elsewhere"


def test_every_answer_names_its_release_and_carries_its_label(served: Any) -> None:
    client = served.http(served.account())
    for stream in (False, True):
        answer = client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, "stream": stream})
        assert answer.headers["x-spearhead-release"] == "tiny@v1" and answer.headers["x-ai-generated"] == "true"
        label = json.loads(unquote(answer.headers["x-spearhead-label"]))["AIGC"]
        number = answer.headers["x-spearhead-output"]
        # The seven members of GB 45438-2025 annex E, in their order, all strings, without spaces or quotes inside.
        assert list(label) == [
            "Label",
            "ContentProducer",
            "ProduceID",
            "ReservedCode1",
            "ContentPropagator",
            "PropagateID",
            "ReservedCode2",
        ]
        assert label["Label"] == "1" and label["ContentProducer"] == label["ContentPropagator"] == "spearhead-test"
        assert label["ProduceID"] == label["PropagateID"] == number
        assert int(answer.headers["openai-processing-ms"]) >= 0
        for kind in ("requests", "tokens"):
            left = int(answer.headers[f"x-ratelimit-remaining-{kind}"])
            assert 0 <= left < int(answer.headers[f"x-ratelimit-limit-{kind}"])
            assert answer.headers[f"x-ratelimit-reset-{kind}"].endswith("s")


def test_several_answers_have_a_label_each_in_a_header_that_clients_take(served: Any) -> None:
    client = served.http(served.account())
    answer = client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO, "n": 16})
    raw = answer.headers["x-spearhead-label"]
    assert len(raw) < 8190  # the most that some clients take
    numbers = [label["AIGC"]["ProduceID"] for label in json.loads(unquote(raw))]
    assert numbers == answer.headers["x-spearhead-output"].split(",") and len(set(numbers)) == 16


def test_an_output_and_its_labelled_file_are_kept(served: Any) -> None:
    from spearhead.core.media import Media
    from spearhead.provenance import seal

    account = served.account()
    client = served.http(account)
    answer = client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO})
    number = answer.headers["x-spearhead-output"]
    kept = client.get(f"/v1/outputs/{number}")
    assert kept.status_code == 200 and kept.json()["text"] == " The quick brown fox."
    file = client.get(kept.json()["file"])
    seen = seal.read(Media("text", "text/plain", file.content))
    assert seen.produce_id == number and seen.visible
    assert seen.c2pa is not None and seen.c2pa.valid and seen.c2pa.release == "tiny@v1"
    assert " The quick brown fox." in file.text
    other = served.http(served.account())
    assert other.get(f"/v1/outputs/{number}").status_code == 404
    assert other.get(f"/v1/outputs/{number}/file").status_code == 404


def test_models_are_listed_by_scenario_and_by_version(served: Any) -> None:
    client = served.openai(served.account())
    assert [model.id for model in client.models.list()] == ["tiny", "tiny@v1"]
    model = client.models.retrieve("tiny@v1")
    assert (model.object, model.owned_by, model.created) == ("model", "spearhead-test", 1795305600)


def test_an_unknown_model_is_not_found(served: Any) -> None:
    client = served.openai(served.account())
    several: list[Callable[[], object]] = [
        lambda: client.models.retrieve("nobody"),
        lambda: client.chat.completions.create(model="tiny@v2", messages=HELLO),
        lambda: client.completions.create(model="tony", prompt="x"),
    ]
    for ask in several:
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found" and caught.value.param == "model"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprobs", True),
        ("top_logprobs", 3),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x", "format": "wav"}),
        ("response_format", {"type": "json_object"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("reasoning_effort", "high"),
        ("verbosity", "low"),
        ("service_tier", "flex"),
        ("store", True),
        ("web_search_options", {"search_context_size": "low"}),
        ("repetition_penalty", 1.3),
        ("guided_json", {"type": "object"}),
        ("grammar", "root ::= [0-9]+"),
        ("min_tokens", 20),
        ("stop_token_ids", [2]),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(served: Any, name: str, value: Any) -> None:
    body = refused(served.openai(served.account()), extra_body={name: value})
    assert body["param"] == name and body["code"] == "unsupported_parameter" and name in body["message"]


def test_what_other_servers_know_is_taken_where_it_changes_nothing(served: Any) -> None:
    idle = {"repetition_penalty": 1.0, "min_tokens": 0, "ignore_eos": False, "guided_json": None, "grammar": ""}
    answer = served.openai(served.account()).chat.completions.create(model="tiny", messages=HELLO, extra_body=idle)
    assert answer.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"echo": True}, "echo"),
        ({"ignore_eos": True}, "ignore_eos"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 1}, "logprobs"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": []}, "prompt"),
    ],
)
def test_a_completion_refuses_what_it_cannot_honour(served: Any, changes: dict[str, Any], param: str) -> None:
    client = served.http(served.account())
    answer = client.post("/v1/completions", json={"model": "tiny", "prompt": "x", **changes})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_fields_that_mean_nothing_or_are_new_are_accepted(served: Any) -> None:
    answer = served.openai(served.account()).chat.completions.create(
        model="tiny",
        messages=HELLO,
        logprobs=False,
        tools=[],
        modalities=["text"],
        response_format={"type": "text"},
        parallel_tool_calls=True,
        user="u",
        metadata={"a": "b"},
        n=1,
        extra_body={"a_field_of_next_year": {"x": 1}, "top_k": 5, "min_p": 0.1},
    )
    assert answer.choices[0].finish_reason == "stop"


def test_a_bias_and_penalties_reach_the_runtime(served: Any) -> None:
    client = served.openai(served.account())
    plain = client.chat.completions.create(model="tiny", messages=asks("?"), max_tokens=8, temperature=0)
    said = str(plain.choices[0].message.content).split()[0]
    tokens = {"heads": 0, "tails": 0}
    vocabulary = json.loads((served.home.releases / "tiny/v1/parts/tokenizer.json").read_text())["model"]["vocab"]
    for word in tokens:
        tokens[word] = vocabulary[f"Ġ{word}"]
    biased = client.chat.completions.create(
        model="tiny", messages=asks("?"), max_tokens=8, temperature=0, logit_bias={str(tokens[said]): -100}
    )
    other = ({"heads", "tails"} - {said}).pop()
    assert str(biased.choices[0].message.content).split() == [other] * 8


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": asks("\ud800")}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, None),
        ({"model": 7}, "model"),
        ({"model": None}, "model"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"logit_bias": {"abc": 5}}, "logit_bias"),
        ({"logit_bias": {"384": 5}}, "logit_bias"),  # there are 384 tokens, from 0
    ],
)
def test_a_wrong_value_is_named(served: Any, changes: dict[str, Any], param: str | None) -> None:
    client = served.http(served.account())
    body = json.dumps({"model": "tiny", "messages": HELLO, **changes})
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and set(error) == {"message", "type", "param", "code"}
    codes = ("invalid_value", "unsupported_parameter", "invalid_json", "missing_required_parameter")
    assert error["code"] in codes, error
    assert error["param"] == param or (param is None and error["param"].startswith("messages[0].content"))


def test_a_prompt_past_the_context_is_refused_with_its_code(served: Any) -> None:
    client = served.openai(served.account())
    body = refused(client, messages=asks("a" * 5000))
    assert body["code"] == "context_length_exceeded" and "5,000" in body["message"] and "4,096" in body["message"]
    body = refused(client, max_tokens=4096)
    assert body["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe{}",
        b'{"model": NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
)
def test_a_body_that_is_no_json_object_is_a_400(served: Any, body: bytes) -> None:
    answer = served.http(served.account()).post("/v1/chat/completions", content=body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"


def test_a_body_that_is_too_large_is_a_413(served: Any) -> None:
    client = served.http(served.account())
    assert client.post("/v1/chat/completions", content=b"x" * (5 << 20)).status_code == 413
    pieces = (b"y" * 65536 for _ in range(80))  # no length said
    assert client.post("/v1/chat/completions", content=pieces).status_code == 413


def test_unknown_routes_and_methods_answer_in_the_envelope(served: Any) -> None:
    client = served.http(served.account())
    for answer, status in ((client.get("/v1/nothing"), 404), (client.get("/v1/chat/completions"), 405)):
        assert answer.status_code == status and set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"].startswith("req_")


def test_head_says_what_get_says_without_its_body(served: Any) -> None:
    client = served.http(served.account())
    for path in ("/v1/models", "/v1/models/tiny", "/health", "/ready", "/v1/nothing", "/login", "/v1/chat/completions"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert all(head.headers[name] == got.headers[name] for name in ("content-type", "content-length"))
    assert httpx.head(f"{served.url}/v1/models", timeout=60).status_code == 401


def test_the_interface_is_described(served: Any) -> None:
    document = served.http(served.account()).get("/openapi.json").json()
    schema = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"model", "messages"} <= set(schema["required"]) and "max_completion_tokens" in schema["properties"]
    assert "$ref" not in json.dumps(schema)


def test_health_readiness_and_figures(served: Any) -> None:
    client = served.http(served.account())
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "parts": {"database": True, "tiny@v1": True}}
    client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO})
    text = client.get("/metrics").text
    assert 'spearhead_runtime_up{release="tiny@v1"} 1.0' in text
    assert 'spearhead_answers_total{end="delivered",release="tiny@v1"}' in text
    # Behind a proxy every caller looks local: then only a key that may administer sees figures.
    assert client.get("/metrics", headers={"x-forwarded-for": "1.2.3.4"}).status_code == 403


def test_a_text_is_sealed_once_though_its_file_is_asked_for_at_once_and_by_many(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
    outputs = [client.post("/v1/chat/completions", json=body).headers["x-spearhead-output"] for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(lambda number: client.get(f"/v1/outputs/{number}/file"), outputs * 4))
    for number, output in enumerate(outputs):
        files = {answer.content for answer in seen[number::3]}
        etags = {answer.headers["etag"] for answer in seen[number::3]}
        assert len(files) == len(etags) == 1 and etags.pop() == f'"{digest.of_bytes(files.pop())}"'
        assert output.encode() in seen[number].content
        with served.engine.connect() as connection:
            found = outputs_of.find(connection, output)
        assert found is not None and found.blob == digest.of_bytes(seen[number].content)
