"""Promises of reports, plans and limits over the API: what is told is what was charged, and to whom it belongs."""

import io
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from spearhead.ledger import billing, economics, grants, invoices, journal, keys, limits, plans, usage
from spearhead.ledger.billing import Hands
from spearhead.ledger.plans import Plan

PROMPT, COMPLETION = 200, 800
"""Billionths a token, as the tiny release says."""
CHAT = "/v1/chat/completions"


def asking(content: str = "hello", **more: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


def admin(served: Any) -> httpx.Client:
    """A client that may read reports."""
    return client_of(served, served.account(credit=0), scopes=("admin",))


def client_of(served: Any, account: str, *, scopes: tuple[str, ...] = ("generate", "read")) -> httpx.Client:
    secret = served.key(account, scopes=scopes).secret
    client = httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {secret}"}, timeout=60)
    served.clients.append(client)
    return client


def sound(served: Any) -> bool:
    engine = served.engine
    assert usage.check(engine) + invoices.check(engine) + limits.check(engine) == []
    return True


def test_the_organization_sees_use_by_bucket_and_group_and_what_it_cost(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    for _ in range(3):
        assert client.post(CHAT, json=asking()).status_code == 200
    served.paid(account)
    start = int(time.time()) - 3600
    query: Any = {"start_time": start, "bucket_width": "1h", "user_ids": [account], "group_by": ["user_id", "model"]}
    page = admin(served).get("/v1/organization/usage/completions", params=query).json()
    found = [result for bucket in page["data"] for result in bucket["results"]]
    assert page["object"] == "page" and page["has_more"] is False and len(page["data"]) in (2, 3)
    assert sum(result["input_tokens"] for result in found) == sum(result["output_tokens"] for result in found) == 15
    assert sum(result["num_model_requests"] for result in found) == 3
    assert {(result["user_id"], result["model"], result["project_id"]) for result in found} == {
        (account, "tiny@v1", None)
    }
    days = {"start_time": start - 86400, "user_ids": account, "group_by": "line_item"}
    costs = admin(served).get("/v1/organization/costs", params=days).json()
    found = [result for bucket in costs["data"] for result in bucket["results"]]
    assert sum(result["amount_billionths"] for result in found) == 3 * 5 * (PROMPT + COMPLETION)
    assert found[0]["amount"]["currency"] == "usd" and found[0]["line_item"] == "tiny@v1"
    assert found[0]["amount"]["value"] == pytest.approx(sum(r["amount_billionths"] for r in found) / 1e9)


def test_pages_follow_each_other_and_hold_every_bucket_once(served: Any) -> None:
    client, start = admin(served), 1_700_000_000 // 86400 * 86400
    query: dict[str, Any] = {"start_time": start, "end_time": start + 10 * 86400, "limit": 4}
    seen = []
    while True:
        page = client.get("/v1/organization/usage/completions", params=query).json()
        seen += [bucket["start_time"] for bucket in page["data"]]
        if not page["has_more"]:
            break
        query["page"] = page["next_page"]
    assert seen == [start + day * 86400 for day in range(10)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({}, "start_time"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"start_time": "9" * 40}, "start_time"),
        ({"start_time": "253402300700", "end_time": "253402300799"}, "start_time"),
        ({"start_time": "100", "end_time": "50"}, "end_time"),
        ({"start_time": "100", "bucket_width": "1w"}, "bucket_width"),
        ({"start_time": "100", "limit": "32"}, "limit"),
        ({"start_time": "100", "group_by": "account; DROP TABLE"}, "group_by"),
        ({"start_time": "100", "batch": "true"}, "batch"),
    ],
)
def test_a_report_that_cannot_be_made_names_the_parameter(served: Any, query: dict[str, str], param: str) -> None:
    answer = admin(served).get("/v1/organization/usage/completions", params=query)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_reports_of_everybody_are_for_who_runs_it(served: Any) -> None:
    client = served.http(served.account())
    for path in ("/v1/organization/costs?start_time=1", "/v1/organization/usage/completions?start_time=1"):
        assert client.get(path).status_code == 403
        assert httpx.get(served.url + path, timeout=60).status_code == 401
    assert admin(served).get("/v1/organization/usage/dreams?start_time=1").status_code == 404


def test_an_account_sees_its_plan_limits_use_and_invoices_and_nobody_elses(served: Any) -> None:
    engine, hands = served.engine, Hands(datetime.now(UTC) - timedelta(days=80))
    account = keys.create_account(engine, "李雷", currency="USD", clock=hands).id
    plans.offer(engine, Plan(name="pro", currency="USD", fee=20 * 10**9, included=7, owing=10**9), actor="test")
    plans.subscribe(engine, account, "pro", clock=hands)
    assert len(billing.run(engine, account=account)) == 2
    invoices.pay(engine, account, 40 * 10**9, key="bank")
    limits.set_limit(engine, f"account:{account}", measure="requests", span="day", most=2, actor="test")
    client = client_of(served, account)
    assert client.post(CHAT, json=asking()).status_code == 200
    served.paid(account)
    seen = client.get("/v1/usage").json()
    # Ten units were made: the prompt's five and two of the answer are included, three are to be paid.
    assert seen["amount_billionths"] == 3 * COMPLETION and seen["owed_billionths"] == 0
    assert seen["plan"]["name"] == "pro" and [one["most"] - one["used"] for one in seen["limits"]] == [1]
    assert len(seen["invoices"]) == 2 and seen["lines"][0]["requests"] == 1
    number = seen["invoices"][0]["id"]
    assert client.get(f"/v1/invoices/{number}").json()["due"] == 20 * 10**9
    sheet = client.get(f"/v1/invoices/{number}", params={"format": "pdf", "language": "zh"})
    assert sheet.headers["content-type"] == "application/pdf" and io.BytesIO(sheet.content).read(5) == b"%PDF-"
    assert "李雷" in client.get(f"/v1/invoices/{number}?format=csv").text
    assert [one["id"] for one in client.get("/v1/invoices").json()["data"]][0] == number
    stranger = served.http(served.account())
    assert stranger.get(f"/v1/invoices/{number}").status_code == 404
    assert stranger.get("/v1/invoices/INV-X'--").status_code == 404
    assert stranger.get("/v1/usage").json()["invoices"] == []
    assert sound(served)


def test_limits_of_a_team_hold_for_all_its_keys_and_refusals_count_for_nothing(served: Any) -> None:
    one, other = served.account(), served.account()
    team = limits.create_team(served.engine, f"t{one[-12:]}")
    for account in (one, other):
        limits.join(served.engine, team, account)
    limits.set_limit(served.engine, f"team:{team}", measure="requests", span="month", most=2, actor="test")
    first, second = served.http(one), served.http(other)
    assert first.post(CHAT, json=asking("zzforbidden")).status_code == 400
    assert first.post(CHAT, json=asking()).status_code == 200
    assert second.post(CHAT, json=asking(stream=True)).status_code == 200
    refused = first.post(CHAT, json=asking())
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "requests" and int(refused.headers["retry-after"]) >= 1
    served.paid(one)
    served.paid(other)
    assert sound(served)


def test_a_spent_budget_is_said_like_a_lack_of_credit_and_clients_do_not_insist(served: Any) -> None:
    account = served.account()
    most = 5 * PROMPT + 3 * COMPLETION
    limits.set_limit(served.engine, f"account:{account}", measure="budget", span="day", most=most, actor="test")
    client = served.http(account)
    assert client.post(CHAT, json=asking(max_tokens=4)).status_code == 429
    assert client.post(CHAT, json=asking(max_tokens=3)).status_code == 200
    refused = client.post(CHAT, json=asking(max_tokens=1))
    assert refused.json()["error"]["code"] == "insufficient_quota" and refused.headers["x-should-retry"] == "false"
    assert served.balance(account).available == 10**9 - most and "retry-after" not in refused.headers


def test_a_gift_is_spent_before_money(served: Any) -> None:
    account = served.account()
    gift = 5 * PROMPT + 4 * COMPLETION
    grants.give(served.engine, account, gift, key="welcome", note="welcome", promotional=True, priority=1)
    assert served.http(account).post(CHAT, json=asking(max_tokens=5)).status_code == 200
    served.paid(account)
    assert [left for _, left in grants.of_account(served.engine, account)] == [0]
    assert served.balance(account).available == 10**9 - COMPLETION


def test_what_an_accepted_piece_cost_is_measured(served: Any) -> None:
    account = served.account()
    client = served.http(account)
    before = economics.measured(served.engine, "tiny@v1", wanted=1, machine_hour=0, review_minute=0)
    for _ in range(2):
        assert client.post(CHAT, json=asking()).status_code == 200
    served.paid(account)
    after = economics.measured(served.engine, "tiny@v1", wanted=1, machine_hour=0, review_minute=0)
    assert after.accepted - before.accepted == 2 and after.milliseconds >= before.milliseconds
    assert after.income - before.income == 2 * 5 * (PROMPT + COMPLETION) and after.verdict == "gold"


def test_the_journal_is_sound_after_all_this(served: Any) -> None:
    assert journal.check(served.engine) == [] and sound(served)
