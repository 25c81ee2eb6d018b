"""Promises about review over the API: what is held, what is blocked, what a person's decision does."""

from typing import Any

from spearhead.review import queue

PROMPT, COMPLETION = 200, 800


def asking(content: str, **more: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


def decide(served: Any, review: str, *, approve: bool) -> None:
    """What a person does in the queue."""
    item = queue.claim(served.engine, reviewer="ada", review=review)
    assert item is not None and item.blob is not None
    if approve:
        queue.approve(served.engine, review, reviewer="ada", blob=item.blob)
    else:
        queue.reject(served.engine, review, reviewer="ada", reason="an address")


def test_a_held_answer_is_empty_and_costs_nothing_yet(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    answer = client.post("/v1/chat/completions", json=asking("#"))
    choice = answer.json()["choices"][0]
    assert answer.status_code == 200 and choice["message"]["content"] == ""
    assert choice["finish_reason"] == "content_filter"
    review = answer.headers["x-review-id"]
    waiting = client.get(f"/v1/outputs/{review}")
    assert waiting.status_code == 202 and waiting.json()["state"] == "held" and "ada@" not in waiting.text
    assert client.get(f"/v1/outputs/{review}/file").status_code == 409
    balance = served.balance(account)
    # One prompt token and eight of the answer wait for the decision; nothing else is held.
    assert balance.reserved == PROMPT + 8 * COMPLETION and balance.available + balance.reserved == 10**9
    assert client.get(f"/v1/receipts/{answer.headers['x-request-id']}").json()["settled"] is False


def test_an_approved_answer_is_given_out_and_charged(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    answer = client.post("/v1/chat/completions", json=asking("#"))
    decide(served, answer.headers["x-review-id"], approve=True)
    kept = client.get(f"/v1/outputs/{answer.headers['x-review-id']}")
    assert kept.status_code == 200 and kept.json()["text"] == " Write to ada@example.org now!!"
    assert b"ada@example.org" in client.get(kept.json()["file"]).content
    assert 10**9 - served.balance(account).available == PROMPT + 8 * COMPLETION
    assert served.balance(account).reserved == 0
    receipt = client.get(f"/v1/receipts/{answer.headers['x-request-id']}").json()
    assert receipt["settled"] is True and receipt["amount_billionths"] == PROMPT + 8 * COMPLETION
    assert receipt["usage"]["completion_tokens"] == 8


def test_a_rejected_answer_is_gone_and_free(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    answer = client.post("/v1/chat/completions", json=asking("#"))
    decide(served, answer.headers["x-review-id"], approve=False)
    gone = client.get(f"/v1/outputs/{answer.headers['x-spearhead-output']}")
    assert gone.status_code == 410 and gone.json()["error"]["code"] == "output_rejected"
    assert served.balance(account).available == 10**9 and served.balance(account).reserved == 0


def test_a_decision_is_carried_out_though_nobody_asks(served: Any) -> None:
    account = served.account()
    answer = served.http(account).post("/v1/chat/completions", json=asking("#"))
    decide(served, answer.headers["x-review-id"], approve=True)
    assert served.paid(account) == PROMPT + 8 * COMPLETION


def test_a_held_stream_shows_nothing_from_the_finding_on_and_names_its_review(served: Any) -> None:
    client = served.openai(served.account())
    chunks = list(client.chat.completions.create(**asking("#"), stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert " Write to ada@example.org now!!".startswith(text) and "ada" not in text
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert str(chunks[-1].model_extra["x_review_id"]).startswith("rev_")


def test_a_blocked_answer_is_empty_stops_early_and_costs_nothing(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    with served.slowly():
        answer = client.post("/v1/chat/completions", json=asking("%", max_tokens=4000))
    choice = answer.json()["choices"][0]
    assert answer.status_code == 200 and choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] == "" and "forbidden" not in answer.text
    assert answer.json()["usage"]["completion_tokens"] < 2000, "the rest was not made"
    assert served.balance(account).available == 10**9
    gone = client.get(f"/v1/outputs/{answer.headers['x-spearhead-output']}")
    assert gone.status_code == 410 and gone.json()["error"]["code"] == "output_blocked"


def test_a_blocked_stream_does_not_leak_across_chunks(served: Any) -> None:
    account = served.account()
    client = served.openai(account)
    chunks = list(client.chat.completions.create(**asking("%"), stream=True))  # " zz" and "forbidden" are two tokens
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.strip() in ("", "Say") and chunks[-1].choices[0].finish_reason == "content_filter"
    assert served.balance(account).available == 10**9


def test_under_fast_words_leave_at_once_and_are_cut_off_where_a_finding_is_certain(serve_tiny: Any) -> None:
    rules = [
        {"category": "*", "direction": "prompt", "hold": None, "block": 0.9},
        {"category": "*", "direction": "output", "hold": 0.5, "block": 0.9},
    ]
    fast = {"checks": ["terms"], "rules": rules, "stream": "fast", "held_hours": 24, "people": 1}
    server = serve_tiny(policy={**fast, "options": {"terms": {"extra": ["hate\t0.95\tzzforbidden"]}}})
    account = server.account()
    client = server.openai(account)
    words = asking("%", max_tokens=4000)
    chunks = list(client.chat.completions.create(**words, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.startswith(" Say") and len(text) < 400, "what follows the finding is neither shown nor made"
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    assert server.balance(account).available == 10**9 and server.balance(account).reserved == 0
    with client.chat.completions.create(**asking("~", max_tokens=400), stream=True) as good:
        shown = "".join(chunk.choices[0].delta.content or "" for chunk in good)
    assert shown.startswith(" on and onward we walk") and len(shown.split()) > 300


def test_of_several_answers_only_those_that_pass_are_charged(served: Any) -> None:
    account = served.account()
    answer = served.http(account).post("/v1/chat/completions", json=asking("#", n=2)).json()
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["content_filter"] * 2
    # Two holds, and the prompt is owed with the first of them only.
    assert served.balance(account).reserved == PROMPT + 16 * COMPLETION
