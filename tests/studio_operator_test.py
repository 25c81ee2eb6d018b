"""Promises of the pages for who runs the place: scenarios, usage, keys and plans, over HTTP and in a real browser."""

import contextlib
import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from spearhead.core import money
from spearhead.core.errors import InputError
from spearhead.core.generation import Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.money import BILLION
from spearhead.ledger import billing, economics, grants, invoices, keys, limits, plans, usage
from spearhead.ledger.plans import Plan
from spearhead.pipeline import desk
from spearhead.provenance import audit
from spearhead.store import releases
from spearhead.store.tables import audit as audit_table
from spearhead.store.tables import releases as release_table

SECRET = re.compile(r"sk-spear-[\w-]{40,}")


@pytest.fixture(scope="module")
def operator(furnished: Any) -> Any:
    return furnished.guest(furnished.account(credit=0), "operator")


@pytest.fixture(scope="module")
def creator(furnished: Any) -> Any:
    return furnished.guest(furnished.account(), "creator")


@pytest.fixture(scope="module")
def auditor(furnished: Any) -> Any:
    return furnished.guest(furnished.account(credit=0), "auditor")


def ask(server: Any, account: str, content: str = "hello") -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
    assert server.http(account).post("/v1/chat/completions", json=body).status_code == 200


def audited(server: Any, actor: str) -> list[str]:
    """What was written down of somebody, oldest first."""
    query = sa.select(audit_table.c.action).where(audit_table.c.actor == actor).order_by(audit_table.c.id)
    with server.engine.connect() as connection:
        return list(connection.scalars(query))


# -- scenarios ----------------------------------------------------------------------------------------------------
def test_everybody_sees_bars_and_rights_and_only_insiders_what_a_piece_costs(
    furnished: Any, operator: Any, creator: Any
) -> None:
    assert furnished.studio().get("/scenarios").headers["location"].startswith("/login")
    for who in (operator, creator):
        page = who.get("/scenarios/tiny/v2").text
        assert "bleu" in page and "at least 1" in page and "CC0-1.0" in page and "train, share, sell" in page
        assert "it misses bleu: wanted better than base (p &lt; 0.05), got base was not measured" in page
        assert "0.20 USD for a million tokens asked, 0.80 USD for a million tokens made" in page
        assert "tiny@v1" in who.get("/scenarios").text
    assert "0.36 USD an hour" in operator.get("/scenarios/tiny/v2").text
    assert "0.36 USD an hour" not in creator.get("/scenarios/tiny/v2").text
    for path in ("/scenarios/tiny/v9", "/scenarios/..%2f..%2fetc/v1", "/scenarios/nothing/v1"):
        assert operator.get(path).status_code == 404, path


def test_large_figures_are_written_out_and_a_base_model_has_no_records(operator: Any) -> None:
    page = operator.get("/scenarios/tiny/v1").text
    assert "<strong>55,262</strong>" in page and "51,000 – 61,234" in page and "e+" not in page
    assert re.findall(r'data-label="Records" class="number">(.*?)</td>', page) == ["2", "–"]


def test_sums_before_any_use_are_in_what_the_release_is_sold_in(operator: Any) -> None:
    assert "machine: 0 ms x 0.36 USD an hour" in operator.get("/scenarios/tiny/v1").text


def test_a_verdict_is_projected_until_enough_pieces_were_accepted(furnished: Any, operator: Any) -> None:
    account = furnished.account()
    before = operator.get("/scenarios/tiny/v1").text
    assert "projected" in before and "0 of 2 accepted pieces" in before
    body = {"model": "tiny@v1", "messages": [{"role": "user", "content": "hello"}]}
    assert furnished.http(account).post("/v1/chat/completions", json=body).status_code == 404, "v2 answers, not v1"
    for _ in range(2):
        ask(furnished, account)
    page = operator.get("/scenarios/tiny/v2").text
    found = economics.measured(furnished.engine, "tiny@v2", wanted=2, machine_hour=360_000_000, review_minute=0)
    assert found.verdict is not None and found.accepted >= 2
    assert f"accepted pieces: {found.verdict} (measured)" in page
    assert f'<span class="verdict {found.verdict}"><strong>{found.verdict}</strong> measured</span>' in page


def test_a_report_is_a_page_in_which_nothing_runs(furnished: Any, creator: Any, browser: Any) -> None:
    answer = creator.get("/scenarios/tiny/v2/report")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "script" not in policy and "default-src 'none'" in policy and "unsafe" in policy
    assert "All of v2" in answer.text and answer.headers["x-content-type-options"] == "nosniff"
    context = browser.new_context()
    page = context.new_page()
    name, _, value = creator.http.headers["cookie"].partition("=")
    context.add_cookies([{"name": name, "value": value, "url": furnished.url}])
    page.goto(f"{furnished.url}/scenarios/tiny/v2/report")
    assert page.title() == "Report", "its script did not run"
    assert page.locator("p").evaluate("(p) => getComputedStyle(p).color") == "rgb(0, 0, 128)", "its style holds"
    context.close()
    path = furnished.home.releases / "tiny" / "v2" / "report.html"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole + b"<p>and more</p>")
        assert creator.get("/scenarios/tiny/v2/report").status_code == 404, "it is not what was signed"
    finally:
        path.write_bytes(whole)


def test_operators_promote_and_go_back_and_nobody_else_does(furnished: Any, operator: Any, creator: Any) -> None:
    def answers() -> str:
        return releases.live(furnished.home, furnished.engine, "tiny").name

    for path in ("/scenarios/tiny/v1/promote", "/scenarios/tiny/rollback"):
        assert creator.post(path, answers="tiny@v2").status_code == 403
        assert operator.http.post(path, data={"answers": "tiny@v2"}).status_code == 403, "no token"
    assert answers() == "tiny@v2"
    try:
        assert operator.post("/scenarios/tiny/v1/promote").headers["location"].endswith("/v1?said=promoted")
        assert answers() == "tiny@v1" and "answers now" in operator.get("/scenarios/tiny/v1").text
        assert operator.post("/scenarios/tiny/v2/promote").status_code == 303
        stale = operator.post("/scenarios/tiny/rollback", answers="tiny@v1")
        assert stale.status_code == 400 and answers() == "tiny@v2"
        assert operator.post("/scenarios/tiny/rollback", answers="tiny@v2").headers["location"].endswith("rolled_back")
        assert answers() == "tiny@v1" and "retired" in operator.get("/scenarios/tiny/v2").text
        manifest = furnished.home.releases / "tiny" / "v2" / "manifest.sig"
        signature = manifest.read_bytes()
        manifest.write_bytes(bytes(64))
        refused = operator.post("/scenarios/tiny/v2/promote")
        manifest.write_bytes(signature)
        assert refused.status_code == 400 and "is not promoted" in refused.text and answers() == "tiny@v1"
    finally:
        assert operator.post("/scenarios/tiny/v2/promote").status_code == 303
    assert audited(furnished, operator.id).count("release promoted") == 3 and audit.verify(furnished.engine) is None


def test_a_release_that_learnt_from_a_withdrawn_record_says_so(furnished: Any, creator: Any) -> None:
    release = releases.live(furnished.home, furnished.engine, "tiny")
    rows = release_table
    with furnished.engine.begin() as connection:
        releases.register(connection, release)
        connection.execute(sa.update(rows).where(rows.c.version == "v2").values(affected=json.dumps(["c" * 64])))
    try:
        assert "of the records that this release learnt from: 1." in creator.get("/scenarios/tiny/v2").text
        assert "Records withdrawn: 1" in creator.get("/scenarios").text
    finally:
        with furnished.engine.begin() as connection:
            connection.execute(sa.update(rows).values(affected="[]"))


# -- usage --------------------------------------------------------------------------------------------------------
def test_a_creator_sees_their_own_use_cost_and_what_is_left(furnished: Any, creator: Any) -> None:
    limits.set_limit(
        furnished.engine, f"account:{creator.account}", measure="requests", span="day", most=50, actor="test"
    )
    grants.give(
        furnished.engine, creator.account, 3 * BILLION, key="g", promotional=True, note="Welcome",
        expires=datetime.now(UTC) + timedelta(days=9),
    )  # fmt: skip
    ask(furnished, creator.account)
    page = creator.get("/usage").text
    (line,) = usage.report(furnished.engine, account=creator.account)
    assert f"{line.prompt_units} tokens" in page and f"{line.completion_units} tokens" in page
    assert line.amount == 200 * line.prompt_units + 800 * line.completion_units
    assert f"{money.show(line.amount)} USD in 30 days" in page
    assert "<rect" in page and "1 / 50" in page and ">49</td>" in page
    assert "Welcome" in page and "3.00 USD" in page
    assert "test (sk-spear-" in creator.get("/usage?by=key&days=7").text
    for wrong in ("by=account", "by=nothing", "days=31", "days=x"):
        assert creator.get(f"/usage?{wrong}").status_code == 404, wrong


def test_others_figures_and_invoices_are_for_operators_and_auditors(
    furnished: Any, operator: Any, creator: Any, auditor: Any
) -> None:
    other = furnished.account()
    ask(furnished, other)
    for who, status in ((creator, 403), (operator, 200), (auditor, 200)):
        assert who.get(f"/usage?account={other}").status_code == status
    assert operator.get("/usage?account=acct_0").status_code == 404
    assert other in operator.get("/usage?account=all&by=account").text
    assert furnished.guest(other, "reviewer").get("/usage").status_code == 403


def test_invoices_are_downloaded_by_who_pays_them_and_by_nobody_else(
    furnished: Any, operator: Any, creator: Any
) -> None:
    payer = furnished.guest(furnished.account(), "creator")
    used = Usage(0, 2_000_000, unit="token")
    usage.record(
        furnished.engine, used, source="test", event=payer.account, account=payer.account, key=None, release="tiny@v2",
        amount=0, currency="USD",
    )  # fmt: skip
    later = billing.Hands(datetime.now(UTC) + timedelta(days=40))
    (made,) = billing.run(furnished.engine, account=payer.account, clock=later)
    assert made.number in payer.get("/usage").text and made.number in operator.get("/usage").text
    kinds = {"json": "application/json", "csv": "text/csv; charset=utf-8", "pdf": "application/pdf"}
    for form, kind in kinds.items():
        path = f"/usage/invoices/{made.number}.{form}"
        answer = payer.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"] == kind
        assert f"{made.number}.{form}" in answer.headers["content-disposition"]
        assert creator.get(path).status_code == 404 and operator.get(path).status_code == 200
    assert payer.get(f"/usage/invoices/{made.number}.json").text == made.to_json()
    assert payer.get(f"/usage/invoices/{made.number}.pdf").content.startswith(b"%PDF")
    for wrong in (f"{made.number}.exe", "INV-0.pdf", "..%2f.pdf"):
        assert payer.get(f"/usage/invoices/{wrong}").status_code == 404
    assert invoices.check(furnished.engine) == []


# -- keys and plans -----------------------------------------------------------------------------------------------
def test_a_key_is_made_shown_once_and_works(furnished: Any, operator: Any, creator: Any) -> None:
    account = furnished.account()
    path, fields = f"/keys/accounts/{account}/keys", {"name": "for the shop", "scope": ["generate", "read"]}
    assert creator.post(path, **fields).status_code == 403
    made = operator.post(path, **fields, days="30")
    assert made.status_code == 200 and made.headers["cache-control"] == "no-store"
    (secret,) = SECRET.findall(made.text)
    assert not SECRET.findall(operator.get(f"/keys/accounts/{account}").text + operator.get("/keys").text)
    key = furnished.http(account)
    key.headers["authorization"] = f"Bearer {secret}"
    assert key.get("/v1/models").status_code == 200
    found = keys.of_account(furnished.engine, account)
    (own,) = [one for one in found if one.name == "for the shop"]
    assert own.expires is not None and own.scopes == ("generate", "read")
    wrongs: tuple[dict[str, Any], ...] = ({"name": ""}, {"scope": []}, {"days": "-1"}, {"days": "9999999"})
    for wrong in wrongs:
        assert operator.post(path, **{**fields, **wrong}).status_code == 400, wrong
    assert operator.post("/keys/accounts/acct_0/keys", **fields).status_code == 400
    with furnished.engine.connect() as connection:
        rows = connection.scalars(sa.select(audit_table.c.detail)).all()
    assert not [row for row in rows if secret in row]


def test_a_key_is_rotated_by_operators_and_blocked_by_whoever_owns_it(furnished: Any, operator: Any) -> None:
    owner = furnished.guest(furnished.account(), "creator")
    old, other = furnished.key(owner.account).key, furnished.key(furnished.account()).key
    assert owner.post(f"/keys/{old.id}/rotate", days="1").status_code == 403
    (secret,) = SECRET.findall(operator.post(f"/keys/{old.id}/rotate", days="1").text)
    assert keys.authenticate(furnished.engine, secret) is not None
    assert operator.post(f"/keys/{old.id}/rotate", days="1").status_code == 400, "it was replaced"
    own = owner.get("/keys").text
    assert "replaced" in own and other.prefix not in own and "Rotate" not in own
    assert owner.post(f"/keys/{other.id}/block").status_code == 404
    assert owner.post(f"/keys/{old.id}/block").headers["location"] == "/keys?said=blocked"
    states = {key.id: bool(key.blocked) for key in keys.of_account(furnished.engine)}
    assert states[old.id] and not states[other.id]
    assert furnished.guest(owner.account, "auditor").post(f"/keys/{other.id}/block").status_code == 403


def test_credit_is_given_once_and_what_is_left_of_it_is_booked_back(
    furnished: Any, operator: Any, creator: Any
) -> None:
    account = furnished.account(credit=0)
    path = f"/keys/accounts/{account}/credit"
    fields = {"amount": "5.25", "days": "10", "note": "Autumn", "once": "form-1"}
    assert creator.post(path, **fields).status_code == 403
    for _ in range(2):
        assert operator.post(path, **fields).headers["location"].endswith("said=given")
    assert furnished.balance(account).available == 525 * BILLION // 100
    for wrong in ({"amount": "5,25"}, {"amount": "-1"}, {"amount": "0"}, {"amount": ""}, {"once": ""}):
        assert operator.post(path, **{**fields, **wrong}).status_code == 400, wrong
    ((grant, _),) = grants.of_account(furnished.engine, account)
    assert "Autumn" in operator.get(f"/keys/accounts/{account}").text
    other = furnished.account(credit=0)
    assert operator.post(f"/keys/accounts/{other}/void", grant=grant.id).status_code == 404
    assert operator.post(f"/keys/accounts/{account}/void", grant=grant.id).status_code == 303
    assert furnished.balance(account).available == 0


def test_the_log_shows_amounts_in_their_currency_and_units_as_such(furnished: Any, operator: Any, auditor: Any) -> None:
    account = furnished.account(credit=0)
    money_, tokens = (
        grants.give(furnished.engine, account, amount, key=f"log-{amount}", unit=unit)
        for amount, unit in ((525 * BILLION // 100, None), (1_234_000, "token"))
    )
    for one in (money_, tokens):
        assert operator.post(f"/keys/accounts/{account}/void", grant=one.id).status_code == 303
    tag = dataclasses.asdict(PriceTag("USD", BILLION // 5, BILLION * 4 // 5, "token"))
    desk.write_down(furnished.engine, "price set", "tiny", tag)  # as `spearhead bill price --set` does

    def facts(language: str, action: str) -> list[str]:
        page = auditor.http.get("/audit", headers={"accept-language": language}).text
        rows = [row for row in page.split("<tr>") if f">{action}</td>" in row]
        return [re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row.partition('class="any"')[2])) for row in rows]

    of_tokens, of_money = facts("en", "credit voided")[:2]
    assert " left 5.25 USD " in of_money
    assert " left 1,234,000 " in of_tokens and " unit token" in of_tokens
    price = facts("en", "price set")[0]
    assert " price of a million asked 0.20 USD " in price and " price of a million made 0.80 USD " in price
    assert " 每百万输入价格 0.20 USD " in facts("zh-CN", "设置价格")[0]
    assert " 余下 5.25 USD " in facts("zh-CN", "终止余额")[1] and " 余下 1,234,000 " in facts("zh-CN", "终止余额")[0]


def test_a_plan_is_offered_begun_and_ended(furnished: Any, operator: Any, creator: Any) -> None:
    fields = {
        **{"name": "studio-plan", "currency": "USD", "months": "1", "unit": "token", "fee": "20.00"},
        **{"included": "1000000", "owing": "", "trial_days": "0", "trial_units": "", "trial_credit": "", "tax": "7.5"},
    }
    assert creator.post("/keys/plans", **fields).status_code == 403
    assert operator.post("/keys/plans", **fields).headers["location"] == "/keys?said=offered"
    made = {plan.name: plan for plan in plans.offered(furnished.engine)}["studio-plan"]
    assert made == Plan("studio-plan", "USD", fee=20 * BILLION, included=1_000_000, tax=75_000)
    for wrong in ({"name": "No Plan"}, {"currency": "usd"}, {"months": "5"}, {"fee": "x"}, {"unit": "byte"}):
        assert operator.post("/keys/plans", **{**fields, **wrong}).status_code == 400, wrong
    account = furnished.account()
    assert operator.post(f"/keys/accounts/{account}/plan", plan="studio-plan").status_code == 303
    assert operator.post(f"/keys/accounts/{account}/plan", plan="studio-plan").status_code == 400, "it has one"
    page = operator.get(f"/usage?account={account}").text
    assert "studio-plan" in page and "1,000,000 / 1,000,000 tokens" in page
    assert creator.post(f"/keys/accounts/{account}/change", plan="studio-plan").status_code == 403
    assert operator.post(f"/keys/accounts/{account}/change", plan="none-such").status_code == 400
    changed = operator.post(f"/keys/accounts/{account}/change", plan="studio-plan")
    assert changed.headers["location"].endswith("said=changed")
    first, second = plans.of_account(furnished.engine, account)
    assert (
        first.ended == second.started
        and "changes when its period is over" in operator.get(changed.headers["location"]).text
    )
    assert operator.post(f"/keys/accounts/{account}/end").status_code == 303
    (subscription,) = plans.of_account(furnished.engine, account)
    assert subscription.ended is not None and operator.post(f"/keys/accounts/{account}/end").status_code in (303, 400)


def test_a_limit_is_set_lifted_and_never_anothers(furnished: Any, operator: Any, auditor: Any) -> None:
    account = furnished.account()
    key, path = furnished.key(account).key, f"/keys/accounts/{account}/limit"
    fields = {"subject": f"key:{key.id}", "measure": "budget", "span": "month", "most": "2.50"}
    assert auditor.post(path, **fields).status_code == 403
    assert operator.post(path, **fields).status_code == 303
    assert [one.most for one in limits.of(furnished.engine, subject=f"key:{key.id}")] == [25 * BILLION // 10]
    assert "0.00 / 2.50 USD" in operator.get(f"/keys/accounts/{account}").text
    log = auditor.get("/audit").text
    assert "</small> 2.50<" in log and str(25 * BILLION // 10) not in log, "an amount, not billionths"
    assert operator.post(path, **{**fields, "most": ""}).status_code == 303
    assert limits.of(furnished.engine, subject=f"key:{key.id}") == []
    parallel = {"subject": f"account:{account}", "measure": "parallel", "span": "day", "most": "3"}
    assert operator.post(path, **parallel).status_code == 303, "the span of another measure does no harm"
    other = furnished.account()
    assert operator.post(path, **{**fields, "subject": f"account:{other}"}).status_code == 404
    for wrong in ({"measure": "size"}, {"most": "x"}, {"span": "week"}):
        assert operator.post(path, **{**fields, **wrong}).status_code == 400, wrong


def test_a_team_is_made_joined_limited_and_left_and_what_its_members_ask_counts_for_it(
    furnished: Any, operator: Any, auditor: Any, creator: Any
) -> None:
    account, other = furnished.account(), furnished.account()
    for who in (auditor, creator):
        for path in ("/keys/teams", "/keys/teams/news/join", "/keys/teams/news/leave", "/keys/teams/news/limit"):
            assert who.post(path, name="news", account=account).status_code == 403, path
    assert operator.post("/keys/teams", name="news").headers["location"] == "/keys?said=teamed"
    assert operator.post("/keys/teams", name="news").status_code == 400, "there is one"
    assert operator.post("/keys/teams", name="No Team").status_code == 400
    for one in (account, other):
        assert operator.post("/keys/teams/news/join", account=one).headers["location"] == "/keys?said=joined"
    for path, id in (("/keys/teams/none/join", account), ("/keys/teams/news/join", "acct_0")):
        assert operator.post(path, account=id).status_code == 400
    fields = {"subject": "team:news", "measure": "requests", "span": "day", "most": "1"}
    assert operator.post("/keys/teams/news/limit", **fields).headers["location"] == "/keys?said=limited"
    for wrong in (f"account:{account}", "team:other", ""):
        assert operator.post("/keys/teams/news/limit", **{**fields, "subject": wrong}).status_code == 404
    budget = {**fields, "measure": "budget", "most": "2.50"}
    assert operator.post("/keys/teams/news/limit", **budget).status_code == 303
    ask(furnished, account)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
    assert furnished.http(other).post("/v1/chat/completions", json=body).status_code == 429
    page = operator.get("/keys").text
    assert "1 / 1" in page and "/ 2.50 USD" in page and "news" in auditor.get("/keys").text
    assert "/keys/teams/news/leave" in page and "/keys/teams/news/leave" not in auditor.get("/keys").text
    assert operator.post("/keys/teams/news/leave", account=other).headers["location"] == "/keys?said=left"
    assert operator.post("/keys/teams/news/leave", account=other).status_code == 400, "it is no member"
    ask(furnished, other)
    team = next(one for one in limits.all_teams(furnished.engine) if one.id == "news")
    assert team.members == (account,) and limits.check(furnished.engine) == []
    done = audited(furnished, operator.id)
    assert (done.count("team made"), done.count("member joined"), done.count("member left")) == (1, 2, 1)


def test_people_are_listed_for_operators_and_auditors_alone(
    furnished: Any, operator: Any, auditor: Any, creator: Any
) -> None:
    for who in (operator, auditor):
        assert creator.name in who.get("/keys").text
        assert creator.name in who.get(f"/keys/accounts/{creator.account}").text
    assert operator.name not in creator.get("/keys").text
    assert creator.get(f"/keys/accounts/{creator.account}").status_code == 403
    assert "Make a key" not in auditor.get(f"/keys/accounts/{creator.account}").text


def test_auditors_and_operators_read_the_log_and_see_that_it_is_whole(
    furnished: Any, operator: Any, auditor: Any, creator: Any
) -> None:
    key = furnished.key(creator.account).key
    operator.post(f"/keys/{key.id}/block")
    for who in (auditor, operator):
        page = who.get("/audit?check=yes").text
        assert "rows are as they were written" in page and key.id in page and operator.name in page
    newest = audit.newest(furnished.engine, limit=1)[0]
    assert newest.subject == key.id and key.id not in auditor.get(f"/audit?before={newest.id}").text
    assert "are as they were written" not in auditor.get("/audit").text, "it says so only when it has looked"
    assert creator.get("/audit").status_code == 403
    for wrong in ("x", "-1", "9" * 13, "\0"):
        assert auditor.http.get("/audit", params={"before": wrong}).status_code == 404, wrong


# -- in a browser -------------------------------------------------------------------------------------------------
def test_a_new_key_is_copied_with_a_button(furnished: Any, operator: Any, tab: Page) -> None:
    operator.enter(tab, furnished.url)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=furnished.url)
    tab.goto(f"{furnished.url}/keys/accounts/{furnished.account()}")
    tab.get_by_text("Make a key").first.click()
    tab.get_by_label("Name").fill("of the browser")
    tab.get_by_role("button", name="Make a key").click()
    secret = tab.locator("#secret").inner_text()
    tab.get_by_role("button", name="Copy").click()
    expect(tab.get_by_text("Copied.")).to_be_visible()
    assert SECRET.fullmatch(secret) and tab.evaluate("navigator.clipboard.readText()") == secret


def test_a_team_is_made_and_joined_by_keyboard_and_forms_alone(furnished: Any, operator: Any, tab: Page) -> None:
    account = furnished.account()
    operator.enter(tab, furnished.url)
    tab.goto(f"{furnished.url}/keys")
    tab.get_by_text("Make a team").first.press("Enter")
    tab.get_by_role("region", name="Teams").get_by_label("Name").fill("film-crew")
    tab.get_by_role("button", name="Make a team").press("Enter")
    expect(tab.get_by_text("The team is made.")).to_be_visible()
    tab.get_by_text("Change film-crew").press("Enter")
    tab.locator("#j-film-crew").select_option(account)
    tab.locator("form[action='/keys/teams/film-crew/join']").get_by_role("button").press("Enter")
    expect(tab.get_by_text("The account is in the team")).to_be_visible()
    tab.get_by_role("button", name=f"({account[5:13]}) out of film-crew").press("Enter")
    expect(tab.get_by_text("The account is out of the team.")).to_be_visible()


CUT = """() => [...document.querySelectorAll(".card tbody td, .card tbody th")]
    .filter((cell) => !cell.closest(".wide") && cell.clientWidth > 1 && cell.scrollWidth > cell.clientWidth + 1)
    .map((cell) => cell.textContent.trim())"""
"""Cells of tables whose words stick out of them."""


@pytest.mark.parametrize(("language", "look"), [("en", "light"), ("zh", "dark")])
def test_the_pages_can_be_read_by_everybody(
    furnished: Any, operator: Any, creator: Any, tab: Page, language: str, look: str
) -> None:
    ask(furnished, creator.account)
    with contextlib.suppress(InputError):  # the other language's turn made it
        limits.create_team(furnished.engine, "readers")
    limits.join(furnished.engine, "readers", creator.account)
    operator.enter(tab, furnished.url, language=language, look=look)
    account = f"/keys/accounts/{creator.account}"
    for path in (
        "/scenarios",
        "/scenarios/tiny/v2",
        f"/usage?account={creator.account}",
        "/keys",
        account,
        "/audit?check=yes",
    ):
        for width, highest in ((390, 190), (768, 120)):
            tab.set_viewport_size({"width": width, "height": 800})
            tab.goto(furnished.url + path)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
            assert tab.evaluate(CUT) == [], f"{path} at {width}"
            head = tab.locator(".top").bounding_box()
            assert head is not None and head["height"] < highest, f"{path} at {width}: rows of the head"
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
        tab.set_viewport_size({"width": 1280, "height": 800})
        assert Axe().run(tab).response["violations"] == [], path
