"""Promises about several prompts in one request: each is answered as if it came alone, and charged once."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from tests.api_review_test import decide

from spearhead.engine import erasure
from spearhead.ledger import journal
from spearhead.store.blobs import Blobs

PROMPT, COMPLETION = 200, 800


def asking(*prompts: str, **more: Any) -> dict[str, Any]:
    """A body."""
    return {"model": "tiny", "prompt": list(prompts), **more}


def streamed(text: str, count: int) -> tuple[list[str], list[str]]:
    """Texts and ends of so many choices, by their index."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    texts, ends = [""] * count, [""] * count
    for choice in (choice for line in lines for choice in json.loads(line)["choices"]):
        texts[choice["index"]] += choice["text"]
        ends[choice["index"]] += choice["finish_reason"] or ""
    return texts, ends


def test_each_prompt_has_its_choices_in_order_and_one_request_is_charged_once(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    answer = http.post("/v1/completions", json=asking("hello", "go=", "&"))
    choices = answer.json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert [choice["text"] for choice in choices] == [" The quick brown fox.", " left STOP right again.", "你好"]
    usage = answer.json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5 + 3 + 1, 5 + 5 + 4)
    assert served.paid(account) == 9 * PROMPT + 14 * COMPLETION
    receipt = http.get(f"/v1/receipts/{answer.headers['x-request-id']}").json()
    assert receipt["amount_billionths"] == 9 * PROMPT + 14 * COMPLETION and receipt["usage"]["total_tokens"] == 23
    for number, choice in zip(answer.headers["x-spearhead-output"].split(","), choices, strict=True):
        assert http.get(f"/v1/outputs/{number}").json()["text"] == choice["text"]
    assert journal.check(served.engine) == []


def test_with_a_seed_they_say_what_they_say_alone_and_without_one_equals_differ(served: Any) -> None:
    client = served.openai(served.account())
    options: Any = {"model": "tiny", "n": 2, "max_tokens": 20, "temperature": 1.0}
    alone = [
        choice.text
        for prompt in ("toss?", "again?")
        for choice in client.completions.create(prompt=prompt, seed=7, **options).choices
    ]
    together = client.completions.create(prompt=["toss?", "again?"], seed=7, **options)
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in together.choices] == alone
    assert (together.usage.prompt_tokens, together.usage.completion_tokens) == (5 + 6, 80), "each prompt once"
    pieces = client.completions.create(prompt=["toss?", "again?"], seed=7, stream=True, **options)
    said = {index: "" for index in range(4)}
    for choice in (choice for piece in pieces for choice in piece.choices):
        said[choice.index] += choice.text
    assert list(said.values()) == alone
    same = client.completions.create(prompt=["toss?"] * 3, **{**options, "n": 1})
    assert len({choice.text for choice in same.choices}) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_review_refuses_costs_nothing_and_keeps_nothing_from_the_others(
    served: Any, stream: bool
) -> None:
    account = served.account()
    http = served.http(account)
    body = asking("hello", "zzforbidden", "go=", stream=stream, n=2)
    answer = http.post("/v1/completions", json=body)
    if stream:
        texts, ends = streamed(answer.text, 6)
    else:
        choices = answer.json()["choices"]
        texts, ends = [one["text"] for one in choices], [one["finish_reason"] for one in choices]
    assert texts == [*[" The quick brown fox."] * 2, "", "", *[" left STOP right again."] * 2]
    assert ends == ["stop", "stop", "content_filter", "content_filter", "stop", "stop"]
    assert served.paid(account) == (5 + 3) * PROMPT + 20 * COMPLETION
    refused = answer.headers["x-spearhead-output"].split(",")[2]
    assert http.get(f"/v1/outputs/{refused}").status_code == 404, "nothing was generated"
    none = http.post("/v1/completions", json=asking("zzforbidden", "say zzforbidden", stream=stream))
    assert (none.status_code, none.json()["error"]["code"]) == (400, "content_filter")
    assert served.paid(account) == (5 + 3) * PROMPT + 20 * COMPLETION


def test_a_held_answer_waits_with_its_own_prompt_and_a_blocked_one_costs_nothing(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    answer = http.post("/v1/completions", json=asking("#", "hello", "%", "#", max_tokens=40))
    ends = [choice["finish_reason"] for choice in answer.json()["choices"]]
    assert ends == ["content_filter", "stop", "content_filter", "content_filter"]
    balance = served.balance(account)
    assert 10**9 - balance.available - balance.reserved == 5 * (PROMPT + COMPLETION), "what was delivered"
    assert balance.reserved == 2 * (PROMPT + 8 * COMPLETION), "each held one with the prompt that it answers"
    first, second = answer.headers["x-review-id"].split(",")
    decide(served, first, approve=True)
    decide(served, second, approve=False)
    assert served.paid(account) == 6 * PROMPT + 13 * COMPLETION
    receipt = http.get(f"/v1/receipts/{answer.headers['x-request-id']}").json()
    assert receipt["settled"] and receipt["amount_billionths"] == 6 * PROMPT + 13 * COMPLETION
    assert journal.check(served.engine) == []


def test_one_who_leaves_pays_for_what_was_made_of_each(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    long = asking("~", "a~", max_tokens=2000, stream=True)
    with served.slowly(), http.stream("POST", "/v1/completions", json=long) as answer:
        seen, got = answer.iter_raw(), b""
        while not (got.count(b'"index":0') > 4 and got.count(b'"index":1') > 4):
            got += next(seen)
        numbers = answer.headers["x-spearhead-output"].split(",")
    assert 3 * PROMPT + 8 * COMPLETION < served.paid(account) < 3 * PROMPT + 4000 * COMPLETION
    for number in numbers:
        kept = http.get(f"/v1/outputs/{number}").json()
        assert kept["finish_reason"] == "cancelled" and kept["text"].startswith(" on and onward")


def test_a_repetition_covers_the_whole_and_an_erased_part_ends_it(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    headers = {"idempotency-key": "once"}
    body = asking("toss?", "again?", max_tokens=30, temperature=1.0)
    first, second = (http.post("/v1/completions", json=body, headers=headers) for _ in range(2))
    assert first.status_code == 200 and second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    assert served.paid(account) == 11 * PROMPT + 60 * COMPLETION
    assert http.post("/v1/completions", json=asking("toss?"), headers=headers).status_code == 422
    number = first.headers["x-spearhead-output"].split(",")[1]
    erasure.erase(served.engine, number, blobs=Blobs(served.home.blobs), actor="op")
    assert http.post("/v1/completions", json=body, headers=headers).status_code == 410


def test_sixty_four_are_answered_and_one_more_is_told_the_most(served: Any) -> None:
    account = served.account()
    http = served.http(account)
    answer = http.post("/v1/completions", json=asking(*["go="] * 64, max_tokens=2))
    choices = answer.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(64))
    assert {choice["text"] for choice in choices} == {" left STOP"}
    assert served.paid(account) == 64 * (3 * PROMPT + 2 * COMPLETION)
    numbers = answer.headers["x-spearhead-output"].split(",")
    label = json.loads(unquote(answer.headers["x-spearhead-label"]))["AIGC"]
    assert label["ProduceID"].split(",") == numbers and len(set(numbers)) == 64
    assert len(answer.headers["x-spearhead-label"]) < 8190  # the most that some clients take
    for body in (asking(*["a"] * 65), asking(*["a"] * 33, n=2)):
        many = http.post("/v1/completions", json=body)
        assert (many.status_code, many.json()["error"]["param"]) == (400, "prompt")
        assert "at most 64" in many.json()["error"]["message"]


@pytest.mark.parametrize("wrong", ["a" * 5000, "", "a\0b", "\ud800"])
def test_a_prompt_that_cannot_be_answered_is_named_and_nothing_is_charged(served: Any, wrong: str) -> None:
    account = served.account()
    http = served.http(account)
    answer = http.post("/v1/completions", content=json.dumps(asking("hello", wrong)))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt[1]"), answer.text
    assert served.paid(account) == 0


def test_credit_for_two_buys_no_third(served: Any) -> None:
    account = served.account(credit=2 * (5 * PROMPT + 3 * COMPLETION))
    http = served.http(account)
    assert http.post("/v1/completions", json=asking(*["hello"] * 3, max_tokens=3)).status_code == 429
    assert http.post("/v1/completions", json=asking(*["hello"] * 2, max_tokens=3)).status_code == 200
    assert served.balance(account).available == 0
