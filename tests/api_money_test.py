"""Promises about keys, credit, limits and repetitions: what is charged is what was made, once."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest
from tests.conftest import until

from spearhead.ledger import journal, keys

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
# 0.20 and 0.80 of the currency a million units, as the tiny release says: billionths a unit.
PROMPT, COMPLETION = 200, 800


def asking(content: str, **more: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


def test_an_answer_costs_what_was_counted_and_has_a_receipt(served: Any) -> None:
    account = served.account()
    answer = served.openai(account).chat.completions.create(model="tiny", messages=HELLO)
    cost = 5 * PROMPT + 5 * COMPLETION
    assert served.paid(account) == cost
    client = served.http(account)
    receipt = client.get(f"/v1/receipts/{answer._request_id}").json()
    assert receipt["amount_billionths"] == cost and receipt["amount"] == "0.000005" and receipt["currency"] == "USD"
    assert receipt["usage"]["total_tokens"] == 10 and receipt["settled"] is True
    assert served.http(served.account()).get(f"/v1/receipts/{answer._request_id}").status_code == 404
    assert journal.check(served.engine) == []


def test_a_wrong_a_blocked_and_an_expired_key_get_the_same_answer(served: Any) -> None:
    account = served.account()
    blocked = served.key(account)
    keys.block(served.engine, blocked.key.id)
    answers = [
        httpx.get(f"{served.url}/v1/models", headers={"authorization": f"Bearer {secret}"}, timeout=60)
        for secret in ("nonsense", "sk-spear-" + "x" * 43, blocked.secret)
    ]
    answers.append(httpx.get(f"{served.url}/v1/models", timeout=60))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["error"]["code"] == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong").models.list()


def test_a_key_that_was_blocked_stops_within_a_moment(served: Any) -> None:
    account = served.account()
    issued = served.key(account)
    client = httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {issued.secret}"}, timeout=60)
    assert client.get("/v1/models").status_code == 200
    keys.block(served.engine, issued.key.id)
    blocked = time.monotonic()
    while True:
        asked = time.monotonic()
        if client.get("/v1/models").status_code == 401:
            return
        assert asked < blocked + 3, "a blocked key still worked after 3 s"
        time.sleep(0.05)


def test_a_key_may_do_only_what_its_scopes_say(served: Any) -> None:
    account = served.account()
    secret = served.key(account, scopes=("read",)).secret
    headers = {"authorization": f"Bearer {secret}"}
    answer = httpx.post(f"{served.url}/v1/chat/completions", headers=headers, json=asking("x"), timeout=60)
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "missing_scope"


def test_without_credit_nothing_is_generated_and_the_client_does_not_insist(served: Any) -> None:
    account = served.account(credit=0)
    tries = []
    client = openai.OpenAI(
        base_url=f"{served.url}/v1",
        api_key=served.key(account).secret,
        max_retries=2,
        http_client=openai.DefaultHttpxClient(event_hooks={"request": [lambda request: tries.append(request)]}),
    )
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="tiny", messages=HELLO)
    assert caught.value.code == "insufficient_quota" and caught.value.type == "insufficient_quota"
    assert "retry-after" not in caught.value.response.headers and len(tries) == 1


def test_credit_for_one_answer_buys_one_answer_however_many_ask_at_once(served: Any) -> None:
    # The most that this can cost: five prompt tokens and three of the answer.
    account = served.account(credit=5 * PROMPT + 3 * COMPLETION)
    client = served.http(account)
    start = threading.Barrier(8)

    def ask(_: int) -> int:
        start.wait()
        return int(client.post("/v1/chat/completions", json=asking("hello", max_tokens=3)).status_code)

    with ThreadPoolExecutor(8) as pool:
        got = sorted(pool.map(ask, range(8)))
    assert got == [200] + [429] * 7
    assert served.balance(account).available == 0 and served.balance(account).reserved == 0


def test_a_refused_prompt_costs_nothing(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    for stream in (False, True):
        answer = client.post("/v1/chat/completions", json=asking("say zzforbidden now", stream=stream))
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "content_filter" and answer.json()["error"]["param"] == "messages"
    assert served.paid(account) == 0
    assert client.get(f"/v1/receipts/{answer.headers['x-request-id']}").status_code == 404


def test_a_refused_request_takes_nothing_from_the_limits(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    first = client.post("/v1/chat/completions", json=asking("hello")).headers
    for body in (asking("zzforbidden"), asking("hello", echo=1, logprobs=True), asking("x" * 5000), {"model": "tiny"}):
        assert client.post("/v1/chat/completions", json=body).status_code == 400
    second = client.post("/v1/chat/completions", json=asking("hello")).headers
    left = "x-ratelimit-remaining-requests"
    assert int(first[left]) - int(second[left]) == 1


def test_limits_are_windows_of_their_own(serve_tiny: Any) -> None:
    served = serve_tiny(limits="3,100000,1")
    client = served.http(served.account())
    long = asking("~", max_tokens=4000, stream=True)
    with served.slowly(), client.stream("POST", "/v1/chat/completions", json=long) as running:
        seen = running.iter_raw()  # kept: an iterator that is dropped hangs up
        next(seen)
        busy = client.post("/v1/chat/completions", json=asking("hello"))
        assert busy.status_code == 429 and busy.json()["error"]["type"] == "parallel"
        assert int(busy.headers["retry-after"]) >= 1

    def hello() -> httpx.Response | None:
        answer = client.post("/v1/chat/completions", json=asking("hello"))
        return answer if answer.status_code == 200 else None

    answer = until(hello)  # the slot is free as soon as the cut-off answer is settled
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    assert client.post("/v1/chat/completions", json=asking("hello")).status_code == 200
    over = client.post("/v1/chat/completions", json=asking("hello"))
    assert over.status_code == 429 and over.json()["error"]["code"] == "rate_limit_exceeded"
    assert over.json()["error"]["type"] == "requests" and 1 <= int(over.headers["retry-after"]) <= 60
    fresh = served.http(served.account())
    assert fresh.post("/v1/chat/completions", json=asking("hello")).status_code == 200  # another key's window


def test_a_client_that_leaves_stops_the_work_and_pays_for_what_was_made(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    long = asking("~", max_tokens=4000, stream=True)
    with served.slowly(), client.stream("POST", "/v1/chat/completions", json=long) as answer:
        seen = answer.iter_raw()
        got = b""
        while got.count(b"data:") < 10:
            got += next(seen)
        number = answer.headers["x-request-id"]
        output = answer.headers["x-spearhead-output"]
    paid = served.paid(account)
    receipt = client.get(f"/v1/receipts/{number}").json()
    made = receipt["usage"]["completion_tokens"]
    assert 5 <= made < 4000, "it stopped before its end"
    assert paid == receipt["amount_billionths"] == PROMPT + made * COMPLETION
    kept = client.get(f"/v1/outputs/{output}").json()
    assert kept["finish_reason"] == "cancelled" and kept["text"].startswith(" on and onward we walk on")


def test_a_client_that_leaves_a_whole_answer_stops_the_work_too(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    for seconds in (0.25, 0.5, 1, 2, 4):  # on busy cores nothing may have been made so soon
        patience = httpx.Timeout(60, read=seconds)
        with served.slowly(), pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=asking("~", max_tokens=4090), timeout=patience)
        if paid := served.paid(account):
            break
    assert 0 < paid < PROMPT + 4090 * COMPLETION


def test_a_repetition_under_the_same_key_gets_the_same_answer_and_pays_once(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    body = asking("toss?", max_tokens=30, temperature=1.0)
    for stream in (False, True):
        before = served.balance(account).available
        headers = {"idempotency-key": f"same-{stream}"}
        first = client.post("/v1/chat/completions", json={**body, "stream": stream}, headers=headers)
        second = client.post("/v1/chat/completions", json={**body, "stream": stream}, headers=headers)
        assert first.status_code == second.status_code == 200
        assert second.content == first.content and second.headers["idempotent-replayed"] == "true"
        assert second.headers["content-type"] == first.headers["content-type"]
        assert second.headers["x-spearhead-output"] == first.headers["x-spearhead-output"]
        assert before - served.balance(account).available == 5 * PROMPT + 30 * COMPLETION


def test_the_same_key_with_another_payload_is_a_422(served: Any) -> None:
    client = served.http(served.account())
    headers = {"idempotency-key": "k"}
    assert client.post("/v1/chat/completions", json=asking("hello"), headers=headers).status_code == 200
    other = client.post("/v1/chat/completions", json=asking("other"), headers=headers)
    assert other.status_code == 422 and other.json()["error"]["code"] == "idempotency_key_reused"
    another = served.http(served.account())
    assert another.post("/v1/chat/completions", json=asking("other"), headers=headers).status_code == 200


def test_the_same_key_while_the_first_runs_is_a_409(served: Any) -> None:
    client = served.http(served.account())
    headers = {"idempotency-key": "k"}
    body = asking("~", max_tokens=4000, stream=True)
    with served.slowly(), client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as running:
        seen = running.iter_raw()  # kept: an iterator that is dropped hangs up
        next(seen)
        again = client.post("/v1/chat/completions", json=body, headers=headers)
        assert again.status_code == 409 and again.json()["error"]["code"] == "request_in_progress"

    def replayed() -> httpx.Response | None:
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        return None if answer.status_code == 409 else answer

    replay = until(replayed)
    # The client left: that is what a repetition hears, and the official clients do not send it again.
    assert replay.json()["error"]["code"] == "request_cut_off" and replay.headers["x-should-retry"] == "false"


def test_a_request_that_was_not_valid_leaves_its_key_free(served: Any) -> None:
    client = served.http(served.account())
    headers = {"idempotency-key": "k"}
    for body in (asking("x", n=99), asking("zzforbidden"), asking("\ud800")):
        content = json.dumps(body)
        assert client.post("/v1/chat/completions", content=content, headers=headers).status_code == 400
    assert client.post("/v1/chat/completions", json=asking("hello"), headers=headers).status_code == 200
    long = {"idempotency-key": "k" * 300}
    assert client.post("/v1/chat/completions", json=asking("hello"), headers=long).status_code == 400


def test_a_rotated_key_works_through_its_time_of_grace(served: Any) -> None:
    old = served.key(served.account())
    new = keys.rotate(served.engine, old.key.id, grace=timedelta(minutes=5))
    for secret in (old.secret, new.secret):
        answer = httpx.get(f"{served.url}/v1/models", headers={"authorization": f"Bearer {secret}"}, timeout=60)
        assert answer.status_code == 200
