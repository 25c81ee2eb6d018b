"""Promises of the Responses API, as the official client and its own models of every object meet them."""

import asyncio
import json
from typing import Any

import openai
import pydantic
import pytest
import sqlalchemy as sa
from openai.types.responses import Response, ResponseStreamEvent
from tests.api_review_test import decide

from spearhead.engine import erasure, recall
from spearhead.store.blobs import Blobs
from spearhead.store.tables import outputs

PROMPT, COMPLETION = 200, 800
OFFICIAL: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
STREAM = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
TOLD = [
    {"role": "developer", "content": "be kind"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": " The fox.", "annotations": [], "logprobs": []}],
    },
    {"role": "user", "content": [{"type": "input_text", "text": "go"}, {"type": "input_text", "text": "="}]},
]


def asking(words: Any, **more: Any) -> dict[str, Any]:
    """A body."""
    return {"model": "tiny", "input": words, **more}


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each as the official client's models take it, named and numbered in their order."""
    found = []
    for number, event in enumerate(text.strip().split("\n\n")):
        kind, _, data = event.partition("\n")
        said = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {said['type']}" and said["sequence_number"] == number
        OFFICIAL.validate_python(said)
        found.append(said)
    return found


def lasting(response: dict[str, Any]) -> dict[str, Any]:
    """A response without what is not kept: the second in which it was begun, and what the runtime had at hand."""
    usage = {**response["usage"], "input_tokens_details": None}
    return {**response, "created_at": 0, "usage": usage}


def refused(served: Any, **body: Any) -> tuple[str, str]:
    """The parameter and the code of a 400."""
    answer = served.http(served.account()).post("/v1/responses", content=json.dumps({"model": "tiny", **body}))
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["param"], answer.json()["error"]["code"]


def test_a_response_is_answered_charged_labelled_and_kept(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    body = asking("hello", metadata={"case": "7"}, max_output_tokens=20, temperature=0.5, user="u")
    answer = http.post("/v1/responses", json=body)
    whole = answer.json()
    said = Response.model_validate(whole)
    assert (said.output_text, said.status, said.error, said.incomplete_details) == (
        " The quick brown fox.", "completed", None, None,
    )  # fmt: skip
    assert (said.object, said.model, said.temperature, said.top_p) == ("response", "tiny@v1", 0.5, 1.0)
    assert (said.metadata, said.max_output_tokens, said.user, said.tools) == ({"case": "7"}, 20, "u", [])
    assert said.usage is not None
    assert (said.usage.input_tokens, said.usage.output_tokens, said.usage.total_tokens) == (5, 5, 10)
    assert served.paid(account) == 5 * (PROMPT + COMPLETION)
    assert answer.headers["x-ai-generated"] == "true" and "ContentProducer" in answer.headers["x-spearhead-label"]
    again = http.get(f"/v1/responses/{said.id}")
    assert again.status_code == 200 and lasting(again.json()) == lasting(whole)
    assert again.headers["x-spearhead-output"] == answer.headers["x-spearhead-output"]
    assert http.get(f"/v1/outputs/{answer.headers['x-spearhead-output']}").json()["text"] == said.output_text


def test_a_stream_has_every_event_in_its_order_and_says_the_same(served: Any) -> None:
    account = served.account()
    answer = served.http(account).post("/v1/responses", json=asking("&", stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream") and "[DONE]" not in answer.text
    assert answer.headers["x-ai-generated"] == "true" and "ContentProducer" in answer.headers["x-spearhead-label"]
    found = events(answer.text)
    assert list(dict.fromkeys(event["type"] for event in found)) == [*STREAM, "response.completed"]
    text = "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")
    over = Response.model_validate(found[-1]["response"])
    assert text == over.output_text == found[-4]["text"] == "你好"
    assert over.usage is not None and over.usage.output_tokens == 4 and over.status == "completed"
    assert found[0]["response"]["id"] == over.id and found[2]["item"]["id"] == found[-2]["item"]["id"]
    assert served.paid(account) == PROMPT + 4 * COMPLETION


def test_the_official_client_reads_streams_synchronously_and_asynchronously(served: Any) -> None:
    account = served.account()
    client = served.openai(account)
    with client.responses.stream(model="tiny", input="hello", instructions="be") as stream:
        assert stream.get_final_response().output_text == " The quick brown fox."
    pieces = client.responses.create(model="tiny", input="hello", stream=True)
    said = "".join(event.delta for event in pieces if event.type == "response.output_text.delta")
    assert said == " The quick brown fox."

    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.key(account).secret) as client:
            first = await client.responses.create(model="tiny", input="hello")
            return first.output_text, (await client.responses.retrieve(first.id)).output_text

    assert asyncio.run(ask()) == (" The quick brown fox.", " The quick brown fox.")


def test_a_conversation_is_read_in_every_form_that_clients_send(served: Any) -> None:
    account = served.account()
    client = served.openai(account)
    answer = client.responses.create(model="tiny", input=TOLD, instructions="Be short.")
    assert answer.output_text == " left STOP right again." and answer.instructions == "Be short."
    assert answer.usage.input_tokens == len("go\n="), "a line each, as in a chat"
    with served.engine.connect() as connection:
        (prompt,) = connection.scalars(sa.select(outputs.c.prompt).where(outputs.c.account == account))
    assert [(turn["role"], turn["content"]) for turn in json.loads(prompt)] == [
        ("system", "Be short."),
        ("system", "be kind"),
        ("user", "hello"),
        ("assistant", " The fox."),
        ("user", "go\n="),
    ]
    following = [*TOLD, *(item.model_dump() for item in answer.output), {"role": "user", "content": "hello"}]
    assert client.responses.create(model="tiny", input=following).output_text == " The quick brown fox."


def test_a_response_goes_on_with_the_conversation_of_another_but_not_with_its_instructions(served: Any) -> None:
    account = served.account()
    client = served.openai(account)
    ask = {"model": "tiny", "instructions": "Be short."}
    first = client.responses.create(**ask, input="hello")
    second = client.responses.create(**ask, input="go\n=", previous_response_id=first.id)
    assert (second.output_text, second.previous_response_id) == (" left STOP right again.", first.id)
    assert served.paid(account) == (first.usage.input_tokens + second.usage.input_tokens) * PROMPT + COMPLETION * (
        first.usage.output_tokens + second.usage.output_tokens
    )
    stream = client.responses.create(model="tiny", input="&", previous_response_id=second.id, stream=True)
    over = [event.response for event in stream if event.type == "response.completed"][0]
    assert (over.output_text, over.previous_response_id) == ("你好", second.id)
    assert client.responses.retrieve(over.id).previous_response_id == second.id
    with served.engine.connect() as connection:
        prompts = connection.scalars(sa.select(outputs.c.prompt).where(outputs.c.account == account))
        told = sorted(([(turn["role"], turn["content"]) for turn in json.loads(one)] for one in prompts), key=len)
    talk = [
        ("user", "hello"), ("assistant", " The quick brown fox."), ("user", "go\n="),
        ("assistant", " left STOP right again."), ("user", "&"),
    ]  # fmt: skip
    assert told == [[("system", "Be short."), *talk[:1]], [("system", "Be short."), *talk[:3]], talk]


def test_what_cannot_be_gone_on_with_is_told_and_costs_nothing(served: Any) -> None:
    account = served.account()
    http = served.http(account)

    def ask(words: str, **more: Any) -> Any:
        return http.post("/v1/responses", json=asking(words, **more))

    def refusal(follows: str, client: Any = http) -> tuple[int, str, str]:
        answer = client.post("/v1/responses", json=asking("hello", previous_response_id=follows))
        error = answer.json()["error"]
        return answer.status_code, error["code"], error["param"]

    first, unkept, blocked, erased = (
        ask("hello"), ask("hello", store=False), ask("%", max_output_tokens=4000), ask("hello"),
    )  # fmt: skip
    erasure.erase(served.engine, erased.headers["x-spearhead-output"], blobs=Blobs(served.home.blobs), actor="op")
    before = served.paid(account)
    where = "previous_response_id"
    for follows in ("resp_none", "x", unkept.json()["id"]):
        assert refusal(follows) == (400, "previous_response_not_found", where)
    assert refusal(first.json()["id"], served.http(served.account())) == (400, "previous_response_not_found", where)
    assert refusal(blocked.json()["id"]) == (410, "output_blocked", where)
    assert refusal(erased.json()["id"]) == (410, "output_erased", where)
    assert served.paid(account) == before
    held = ask("#")
    assert refusal(held.json()["id"]) == (409, "output_held", where)
    decide(served, held.headers["x-review-id"], approve=True)
    out = ask("hello", previous_response_id=held.json()["id"])
    assert out.status_code == 200 and Response.model_validate(out.json()).output_text == " The quick brown fox."


def test_an_answer_that_is_cut_by_its_length_is_incomplete(served: Any) -> None:
    client = served.openai(served.account())
    answer = client.responses.create(model="tiny", input="hello", max_output_tokens=3)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.output_text == " The quick brown" and answer.output[0].status == "incomplete"
    http = served.http(served.account())
    found = events(http.post("/v1/responses", json=asking("~", max_output_tokens=3, stream=True)).text)
    assert found[-1]["type"] == "response.incomplete"
    assert found[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_held_answer_is_incomplete_and_comes_once_a_person_lets_it_out(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    answer = http.post("/v1/responses", json=asking("#"))
    whole = Response.model_validate(answer.json())
    assert (whole.status, whole.output_text) == ("incomplete", "")
    assert whole.incomplete_details is not None and whole.incomplete_details.reason == "content_filter"
    review = answer.headers["x-review-id"]
    assert served.balance(account).reserved == PROMPT + 8 * COMPLETION
    waiting = http.get(f"/v1/responses/{whole.id}")
    assert (waiting.status_code, waiting.headers["x-review-id"]) == (202, review) and "ada@" not in waiting.text
    assert lasting(waiting.json()) == lasting(answer.json())
    decide(served, review, approve=True)
    out = Response.model_validate(http.get(f"/v1/responses/{whole.id}").json())
    assert (out.status, out.output_text) == ("completed", " Write to ada@example.org now!!")
    found = events(http.post("/v1/responses", json=asking("#", stream=True)).text)
    assert found[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
    shown = found[-1]["response"]["output"][0]["content"][0]["text"]
    assert "ada" not in shown and " Write to ada".startswith(shown)
    decide(served, found[-1]["x_review_id"], approve=False)
    gone = http.get(f"/v1/responses/{found[0]['response']['id']}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "output_rejected")


def test_a_blocked_answer_and_a_refused_prompt_cost_nothing(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    for stream in (False, True):
        answer = http.post("/v1/responses", json=asking("%", stream=stream, max_output_tokens=4000))
        whole = events(answer.text)[-1]["response"] if stream else answer.json()
        assert whole["status"] == "incomplete" and whole["incomplete_details"] == {"reason": "content_filter"}
        assert "forbidden" not in answer.text
        gone = http.get(f"/v1/responses/{whole['id']}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "output_blocked")
        no = http.post("/v1/responses", json=asking("say zzforbidden", stream=stream))
        assert (no.status_code, no.json()["error"]["code"], no.json()["error"]["param"]) == (
            400, "content_filter", "input",
        )  # fmt: skip
    assert served.paid(account) == 0


def test_what_was_erased_or_taken_back_is_not_to_be_had_as_a_response_either(served: Any) -> None:
    http = served.http(served.account())
    for code in ("output_erased", "output_withdrawn"):
        answer = http.post("/v1/responses", json=asking("hello"))
        number = answer.headers["x-spearhead-output"]
        if code == "output_erased":
            erasure.erase(served.engine, number, blobs=Blobs(served.home.blobs), actor="op")
        else:
            recall.recall(served.engine, number, actor="op", reason="wrong")
        gone = http.get(f"/v1/responses/{answer.json()['id']}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, code) and "quick" not in gone.text


def test_a_response_is_had_again_by_its_own_account_where_it_was_to_be_kept(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    kept = http.post("/v1/responses", json=asking("hello")).json()["id"]
    unkept = http.post("/v1/responses", json=asking("hello", store=False)).json()
    chat = http.post("/v1/chat/completions", json={"model": "tiny", "messages": [{"role": "user", "content": "hi"}]})
    number = chat.json()["id"].replace("chatcmpl-", "resp_")
    stranger = served.http(served.account())
    assert http.get(f"/v1/responses/{kept}").status_code == 200 and unkept["store"] is False
    for client, id in ((http, unkept["id"]), (http, number), (stranger, kept), (http, "resp_none")):
        answer = client.get(f"/v1/responses/{id}")
        assert answer.status_code == 404 and id in answer.json()["error"]["message"]


def test_a_repetition_under_the_same_key_is_the_same_response_and_pays_once(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    for stream in (False, True):
        before, headers = served.balance(account).available, {"idempotency-key": f"same-{stream}"}
        body = asking("toss?", max_output_tokens=30, temperature=1.0, stream=stream)
        first, second = (http.post("/v1/responses", json=body, headers=headers) for _ in range(2))
        assert first.status_code == 200 and second.content == first.content
        assert second.headers["idempotent-replayed"] == "true"
        assert before - served.balance(account).available == 5 * PROMPT + 30 * COMPLETION


def test_a_client_that_leaves_pays_for_what_was_made(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    long = asking("~", max_output_tokens=4000, stream=True)
    with served.slowly(), http.stream("POST", "/v1/responses", json=long) as answer:
        seen, got = answer.iter_raw(), b""
        while got.count(b"output_text.delta") < 10:
            got += next(seen)
        id = json.loads(got.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    assert PROMPT < served.paid(account) < PROMPT + 4000 * COMPLETION
    assert http.get(f"/v1/responses/{id}").json()["status"] == "cancelled"


@pytest.mark.parametrize(
    "idle",
    [
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "max_tool_calls": None},
        {"truncation": "disabled", "reasoning": {}, "include": [], "text": {"format": {"type": "text"}}},
        {"reasoning": {"effort": None, "summary": "auto"}, "include": ["reasoning.encrypted_content"], "text": {}},
        {"text": {"verbosity": "medium"}, "service_tier": "auto", "background": False, "top_logprobs": 0},
        {"metadata": None, "instructions": "", "previous_response_id": None, "conversation": None, "prompt": None},
        {"store": True, "user": "u", "safety_identifier": "s", "prompt_cache_key": "p", "stream_options": {}},
        {"temperature": None, "top_p": None, "max_output_tokens": None, "a_field_of_next_year": {"x": 1}},
        {"n": 1, "seed": 7, "stop": ["never"], "top_k": -1, "max_tokens": None, "response_format": None},
    ],
)
def test_what_clients_always_send_and_asks_for_nothing_is_taken(served: Any, idle: dict[str, Any]) -> None:
    answer = served.http(served.account()).post("/v1/responses", json=asking("hello", **idle))
    assert answer.status_code == 200, answer.text
    assert Response.model_validate(answer.json()).output_text == " The quick brown fox."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function", "name": "f", "parameters": {}}]),
        ("tools", [{"type": "web_search"}]),
        ("tool_choice", "required"),
        ("text.format", {"type": "json_object"}),
        ("text.format", {"type": "json_schema", "name": "n", "schema": {}, "strict": True}),
        ("text.verbosity", "low"),
        ("reasoning.effort", "high"),
        ("include", ["message.output_text.logprobs"]),
        ("top_logprobs", 3),
        ("conversation", "conv_1"),
        ("prompt", {"id": "pmpt_1"}),
        ("truncation", "auto"),
        ("background", True),
        ("service_tier", "flex"),
        ("n", 2),
        ("max_tokens", 5),
        ("messages", [{"role": "user", "content": "hello"}]),
        ("stream_options.include_obfuscation", True),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(served: Any, name: str, value: Any) -> None:
    outer, _, inner = name.partition(".")
    body = {outer: {inner: value} if inner else value}
    assert refused(served, input="hello", **body) == (name, "unsupported_parameter")


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}, "input[0].type"),
        ({"type": "function_call_output", "output": "x", "call_id": "c"}, "input[0].type"),
        ({"type": "item_reference", "id": "msg_1"}, "input[0].type"),
        ({"type": "reasoning", "summary": [], "id": "rs_1"}, "input[0].type"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}, "input[0].content[0].type"),
    ],
)
def test_what_is_no_text_is_refused_where_it_stands(served: Any, item: dict[str, Any], param: str) -> None:
    assert refused(served, input=[item, {"role": "user", "content": "x"}]) == (param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"input": [{"role": "user", "content": "a\0b"}]}, "input[0].content"),
        ({"input": "x", "instructions": "\ud800"}, "instructions"),
        ({"input": "x", "instructions": 7}, "instructions"),
        ({"input": "x", "metadata": {"a": "\ud800"}}, "metadata.a"),
        ({"input": "x", "metadata": {"\ud800": "a"}}, "metadata"),
        ({"input": "x", "metadata": {"a" * 65: "a"}}, f"metadata.{'a' * 65}"),
        ({"input": "x", "metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"input": "x", "metadata": {"a": 7}}, "metadata.a"),
        ({"input": "x", "user": "\ud800"}, "user"),
        ({"input": "x", "previous_response_id": "resp_\ud800"}, "previous_response_id"),
        ({"input": "x", "previous_response_id": 7}, "previous_response_id"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "temperature": 3}, "temperature"),
        ({"input": "x", "text": "plain"}, "text"),
        ({"input": "x", "store": "no"}, "store"),
        ({}, "input"),
        ({"input": "a" * 5000}, "input"),
    ],
)
def test_a_wrong_value_is_named(served: Any, body: dict[str, Any], param: str) -> None:
    named, code = refused(served, **body)
    assert named == param and code in ("invalid_value", "missing_required_parameter", "context_length_exceeded")


def test_a_schema_that_an_answer_is_to_fill_is_refused_by_name(served: Any) -> None:
    class Filled(pydantic.BaseModel):
        word: str

    with pytest.raises(openai.BadRequestError) as caught:
        served.openai(served.account()).responses.parse(model="tiny", input="hello", text_format=Filled)
    assert caught.value.param == "text.format"
