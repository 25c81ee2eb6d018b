"""Promises over PostgreSQL, from the API through the studio to the invoice: what an installation does on SQLite too."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conftest import Served

from spearhead.engine.recall import recall
from spearhead.ledger import billing, invoices, journal, limits, usage
from spearhead.provenance import audit
from spearhead.review import queue


@pytest.mark.parametrize("furnished_on", ["postgresql"], indirect=True)
def test_an_answer_is_held_let_out_charged_invoiced_and_taken_back(furnished_on: Served) -> None:
    server = furnished_on
    account = server.account()
    client, rita = server.http(account), server.guest(server.account(credit=0), "reviewer", "auditor")
    body: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Whom do I write to? #"}]}
    key = {"idempotency-key": "once"}
    first = client.post("/v1/chat/completions", json=body, headers=key)
    review, number = first.headers["x-review-id"], first.headers["x-spearhead-output"]
    assert first.json()["choices"][0]["finish_reason"] == "content_filter"
    assert client.get(f"/v1/outputs/{review}").status_code == 202
    rita.post(f"/review/{review}/claim")
    item = queue.find(server.engine, review)
    assert item is not None and item.claimed_by == rita.id and item.blob is not None
    seen = {"blob": item.blob, "version": str(item.version)}
    assert rita.post(f"/review/{review}/decide", decision="approve", **seen).status_code == 303
    assert "ada@example.org" in client.get(f"/v1/outputs/{number}").json()["text"]
    receipt = client.get(f"/v1/receipts/{first.headers['x-request-id']}").json()
    assert receipt["settled"] and server.balance(account).available == 10**9 - receipt["amount_billionths"]
    assert client.post("/v1/chat/completions", json=body, headers=key).json() == first.json(), "charged once"
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream:
        assert "data: [DONE]" in stream.read().decode()
    hands = billing.Hands(datetime.now(UTC) + timedelta(days=32))
    (made,) = billing.run(server.engine, account=account, clock=hands)
    assert client.get(f"/v1/invoices/{made.number}").status_code == 200
    done = recall(server.engine, number, actor="ada", reason="a complaint", refund=True)
    assert done.refunded and client.get(f"/v1/outputs/{number}").status_code == 410
    assert client.post("/v1/chat/completions", json=body, headers=key).status_code == 410
    assert audit.verify(server.engine) is None and "rows are as they were written" in rita.get("/audit?check=yes").text
    for check in (journal.check, usage.check, invoices.check, limits.check):
        assert check(server.engine) == []


NUL_BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "/v1/chat/completions": ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
    "/v1/completions": ({"prompt": "a\0b"}, "prompt"),
    "/v1/images/generations": ({"prompt": "a\0b"}, "prompt"),
}


def test_a_nul_is_refused_in_a_prompt_and_left_out_of_an_answer_on_every_database(furnished_on: Served) -> None:
    account = furnished_on.account()
    client = furnished_on.http(account)
    for path, (body, param) in NUL_BODIES.items():
        refused = client.post(path, json={"model": "tiny", **body})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    stopped = client.post("/v1/completions", json={"model": "tiny", "prompt": "a", "stop": ["\0"]})
    assert (stopped.status_code, stopped.json()["error"]["param"]) == (400, "stop")
    assert furnished_on.balance(account).available == 10**9, "a refused prompt costs nothing"
    body = {"model": "tiny", "messages": [{"role": "user", "content": "What ends here? ^"}]}
    first = client.post("/v1/chat/completions", json=body)
    assert first.status_code == 200, first.text
    text, number = first.json()["choices"][0]["message"]["content"], first.headers["x-spearhead-output"]
    assert text == " Nothing ends here." and first.json()["usage"]["completion_tokens"] >= 4
    assert client.get(f"/v1/outputs/{number}").json()["text"] == text
    receipt = client.get(f"/v1/receipts/{first.headers['x-request-id']}").json()
    assert receipt["settled"] and receipt["amount_billionths"] > 0
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream:
        events = stream.read().decode()
    assert "data: [DONE]" in events and "\\u0000" not in events
    balance = furnished_on.balance(account)
    assert (balance.reserved, balance.available) == (0, 10**9 - 2 * receipt["amount_billionths"])
    assert client.get(f"/v1/outputs/{number}/file").content.decode().count("\0") == 0
