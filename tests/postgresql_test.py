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
