"""Promises of the studio's languages: on a Chinese page nothing of ours is left in English, whoever looks at it."""

import ast
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pypdf
import pytest
from tests.chinese import english, left
from tests.conftest import Served, furnish, start_server
from tests.studio_review_test import seen

import spearhead
from spearhead.core import sentence
from spearhead.core.generation import Usage
from spearhead.core.money import BILLION
from spearhead.core.sampler import Sampler
from spearhead.engine import erasure
from spearhead.ledger import billing, journal, keys, usage
from spearhead.pipeline import desk
from spearhead.release import options
from spearhead.service.studio import app, words
from spearhead.service.studio.pages import review as review_page
from spearhead.store.blobs import Blobs
from spearhead.store.home import Home


def test_the_reader_hears_what_is_left_in_english() -> None:
    page = '<p class="mono">id</p><p title="a tip">好 <b>good</b> USD <code>x</code><kbd>a</kbd></p><img alt="pic">'
    assert [one.partition(":")[0] for one in english(page)] == ["a", "tip", "good", "pic"]
    assert english("<p>每秒 token</p>") == ["token: 每秒 token"]


# -- a place where everything has happened ------------------------------------------------------------------------
@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own: other tests give keys and plans English names."""
    root = tmp_path_factory.mktemp("chinese")
    furnish(Home(root, root / "cache"))
    server = start_server(root)
    yield server
    server.close()


@dataclass
class Place:
    """Everybody who looks, by their role, and what they find by its name."""

    who: dict[str, Any]
    found: dict[str, str]


@pytest.fixture(scope="module")
def place(here: Served) -> Place:
    """A place where everything has happened that pages tell of."""
    account = keys.create_account(here.engine, "某人", currency="USD").id
    journal.credit(here.engine, account, BILLION, key="first")
    who = {role: here.guest(account, role) for role in ("creator", "reviewer", "operator", "auditor")}
    second = here.guest(account, "reviewer")
    creator, reviewer, operator = who["creator"], who["reviewer"], who["operator"]
    key = keys.create(here.engine, account, name="钥匙").secret

    def ask(prompt: str, *, gives: str = "x-spearhead-output", **options: Any) -> str:
        body = {"model": "tiny", "prompt": prompt, "max_tokens": 16, **options}
        answer = creator.http.post("/v1/completions", json=body, headers={"authorization": f"Bearer {key}"})
        return str(answer.headers.get(gives, ""))

    for prompt in ("说 %", "zzforbidden", "走 ~"):  # withheld, refused, cut at its longest
        ask(prompt)
    one, two, erased, swept, withdrawn = (ask("你好&", temperature=0.5, stop=["。"], seed=n) for n in range(5))
    approved, rejected, appealed, waiting, edited, given = (ask("写信 #", gives="x-review-id") for _ in range(6))

    def decide(review: str, decision: str) -> None:
        reviewer.post(f"/review/{review}/claim")
        done = reviewer.post(f"/review/{review}/decide", decision=decision, reason="理由", **seen(here, review))
        assert done.status_code == 303, done.text

    decide(approved, "approve")
    decide(rejected, "reject")
    decide(appealed, "reject")
    creator.post(f"/appeal/{appealed}", reason="请再看")
    reviewer.post(f"/review/{edited}/claim")
    saved = reviewer.post(f"/review/{edited}/edit", words="改好了。", version=seen(here, edited)["version"])
    after = saved.headers["location"].partition("?")[0].rpartition("/")[2]
    decide(after, "escalate")
    reviewer.post(f"/review/{given}/claim")
    reviewer.post(f"/review/{given}/back")
    second.post(f"/review/{given}/claim")
    budget = {"measure": "budget", "span": "month", "most": "9"}
    forms: dict[str, dict[str, Any]] = {
        "/keys/plans": {"name": "pro", "currency": "USD", "months": "1", "unit": "token", "fee": "0.1",
                        "included": "10", "trial_days": "3", "trial_units": "5", "trial_credit": "0.1"},
        "/keys/teams": {"name": "film-crew"},
        "/keys/teams/film-crew/join": {"account": account},
        "/keys/teams/film-crew/limit": {"subject": "team:film-crew", "measure": "parallel", "most": "3"},
        f"/keys/accounts/{account}/keys": {"name": "新钥匙", "scope": ["generate", "read", "admin"]},
        f"/keys/accounts/{account}/credit": {"amount": "2", "days": "9", "note": "赠", "once": "1"},
        f"/keys/accounts/{account}/plan": {"plan": "pro"},
        f"/keys/accounts/{account}/limit": {"subject": f"account:{account}", **budget},
        "/scenarios/tiny/v2/withdraw": {"output": withdrawn, "reason": "不妥"},
    }  # fmt: skip
    for path, fields in forms.items():
        answer = operator.post(path, **fields)
        assert answer.status_code in (200, 303), (path, answer.text)
    assert creator.post(f"/gallery/{erased}/erase").status_code == 303
    erasure.erase(here.engine, swept, blobs=Blobs(here.home.blobs), actor="retention")
    used = {"source": "test", "event": "1", "account": account, "key": None, "release": "tiny@v2"}
    usage.record(here.engine, Usage(0, 2_000_000), **used, amount=0, currency="USD")  # type: ignore[arg-type]
    billing.run(here.engine, account=account, clock=billing.Hands(datetime.now(UTC) + timedelta(days=40)))
    for action in actions():  # whatever else was ever written down
        desk.write_down(here.engine, action, "tiny@v2", DETAIL)
    found = {"account": account, "one": one, "two": two, "erased": erased, "waiting": waiting, "edited": after}
    found |= {"given": given, "approved": approved, "rejected": rejected, "appealed": appealed}
    return Place(who, found)


DETAIL = {
    "account": "acct_1", "name": "名", "scopes": ["generate", "admin"], "expires": "2026-11-22T02:00:00Z",
    "to": "key_1", "days": 3, "amount": BILLION, "currency": "USD", "note": "注", "left": 5, "plan": "pro",
    "begins": "2026-11-22T02:00:00Z", "ends": "2026-11-22T02:00:00Z", "until": "2026-11-22T02:00:00Z",
    "measure": "tokens", "span": "day", "most": 7, "output": "out_1", "review": "rev_1", "blob": "a" * 64,
    "state": "approved", "reason": "由", "releases": ["tiny@v2"], "policy": "b" * 64, "template": "tiny", "due": 1,
    "once": "1", "roles": ["reviewer"], "prompt": 1, "completion": 1, "unit": "token", "refunded": True,
    "subject": "名",
}  # fmt: skip
"""Every detail that any action writes down."""


def actions() -> list[str]:
    """What the code writes into the audit log, found where it does."""
    found = set(review_page._DONE.values())
    for file in sorted(Path(spearhead.__file__).parent.rglob("*.py")):
        if file.name.endswith("_test.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            named = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = [keyword.value for keyword in node.keywords if keyword.arg == "action"]
            if named in ("append", "write_down", "_write_down"):
                given += node.args if named != "append" else []
                said = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
                found |= {one for one in said if re.fullmatch(r"[a-z]+( [a-z]+)+", one)}
    return sorted(found)


# -- pages --------------------------------------------------------------------------------------------------------
PAGES: Mapping[str, tuple[str, ...]] = {
    "": ("/login", "/verify"),
    "creator": (
        "/", "/make", "/make?from={one}", "/gallery", "/gallery?state=erased", "/gallery?words=zz&state=held",
        "/gallery/{one}", "/gallery/{erased}", "/gallery/{one}/trace", "/gallery/compare?one={one}&one={two}",
        "/gallery/compare", "/appeal/{rejected}", "/appeal/{appealed}", "/appeal/{approved}", "/usage", "/usage?by=key",
        "/keys", "/scenarios", "/scenarios/tiny/v2", "/review", "/password",
    ),
    "reviewer": (
        "/review", "/review?list=mine", "/review?list=decided", "/review/{waiting}", "/review/{edited}",
        "/review/{given}",
        "/review/{approved}", "/review/{appealed}", "/scenarios/tiny/v2",
    ),
    "operator": (
        "/scenarios", "/scenarios/tiny/v2", "/usage?account=all", "/usage?account=all&by=account",
        "/usage?account={account}", "/keys", "/keys/accounts/{account}", "/audit?check=yes", "/audit",
    ),
    "auditor": ("/gallery", "/review/{rejected}", "/keys", "/keys/accounts/{account}", "/audit", "/scenarios/tiny/v2"),
}  # fmt: skip
FILES = {"/gallery/{id}/file", "/gallery/{id}/picture", "/review/{id}/file", "/review/{id}/nearest.png", "/make/news"}
FILES |= {"/usage/invoices/{number}.{form}", "/scenarios/{scenario}/{version}/report", "/static", "/manner"}
"""Addresses that answer with no page of ours."""


CHINESE = {"accept-language": "zh-CN"}


def zh(guest: Any, path: str) -> str:
    """A page in Chinese: of a guest, or with a bare client of nobody who is signed in."""
    answer = getattr(guest, "http", guest).get(path, headers=CHINESE, follow_redirects=True)
    assert 'lang="zh-CN"' in answer.text, path
    return str(answer.text)


def test_no_page_says_anything_in_english_to_who_reads_chinese(place: Place, here: Served) -> None:
    left = set()
    for role, paths in PAGES.items():
        for path in paths:
            page = zh(place.who[role] if role else here.studio(), path.format(**place.found))
            left |= {f"{role} {path}: {line}" for line in english(page)}
    assert not left, "\n".join(sorted(left))


def test_what_is_downloaded_is_in_chinese_too(place: Place) -> None:
    creator = place.who["creator"]
    sheets, tables = "", ""
    for number in sorted(set(re.findall(r"INV-\w+-\d+", zh(creator, "/usage")))):
        found = [creator.http.get(f"/usage/invoices/{number}.{form}", headers=CHINESE) for form in ("pdf", "csv")]
        sheets += "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(found[0].content)).pages)
        tables += found[1].text
    for text in (sheets, tables):
        assert "套餐费" in text and "用量" in text and "词元" in text
        assert [one for line in re.split("[,\n]", text) for one in left(line)] == []
    assert english(zh(creator, "/scenarios/tiny/v2/report")) == []
    assert "All of v1" in creator.http.get("/scenarios/tiny/v1/report", headers=CHINESE).text, "it has no other"
    assert "All of v2" in creator.http.get("/scenarios/tiny/v2/report").text


def test_the_walk_comes_by_every_page() -> None:
    shown = [path.partition("?")[0] for paths in PAGES.values() for path in paths]
    for route in app.ROUTES:
        if "GET" in (getattr(route, "methods", None) or ()) and route.path not in FILES:  # type: ignore[attr-defined]
            regex = route.path_regex  # type: ignore[attr-defined]
            assert any(regex.match(re.sub(r"{\w+}", "x", path)) for path in shown), route


def test_every_action_and_detail_of_the_log_has_words() -> None:
    made = actions()
    assert len(made) > 30 and "key made" in made and "piece handed on" in made
    assert {f"audit.actions.{action}" for action in made} == {
        key for key in words.book("zh") if key.startswith("audit.actions.")
    }
    assert {f"audit.details.{name}" for name in DETAIL} == {
        key for key in words.book("zh") if key.startswith("audit.details.")
    }


def test_every_option_of_a_model_has_a_name() -> None:
    flow = Sampler("flow", (1, 28, 28), (28, 28), 1, ("coat", "bag"), steps=12, guidance=2.0)
    styles = Sampler("oneshot", (16,), (64, 64), 3, layers=5)
    forms = [options.schema({}, context=64), *(options.for_pictures({}, sampler=one) for one in (flow, styles))]
    named = {name for form in forms for name in form["properties"]} - {"prompt"}
    assert {f"service.studio.fields.{name}" for name in named} <= sentence.book("zh").keys()


def test_what_an_older_release_said_in_english_is_shown_and_marked_as_english(place: Place) -> None:
    who = place.who
    page = zh(who["operator"], "/scenarios/tiny/v1")
    for line in (
        "it reaches all 1 bars, 0 of them against trivial baselines",
        "machine: 10 ms x 0.36 USD an hour / 3600000 = 0.000001",
        "&gt;= 1",
    ):
        assert f'<span lang="en">{line}</span>' in page
    assert "至少在 2 条样本上" in zh(who["operator"], "/scenarios/tiny/v2")


def test_a_mistake_is_said_in_the_language_of_who_made_it(place: Place) -> None:
    who, found = place.who, place.found
    account, operator, creator = found["account"], who["operator"], who["creator"]
    for path, fields, told in (
        ("/keys/plans", {"name": "A b", "currency": "USD", "months": "1", "unit": "token"}, "不能作为套餐名称"),
        ("/keys/plans", {"name": "ab", "currency": "usd", "months": "1", "unit": "token"}, "“usd”不是货币"),
        (
            "/keys/plans",
            {"name": "ab", "currency": "USD", "months": "1", "unit": "token", "fee": "x"},
            "费用：“x”不是金额",
        ),
        ("/keys/teams", {"name": "film-crew"}, "团队“film-crew”已存在。"),
        (f"/keys/accounts/{account}/keys", {"name": "k", "days": "x"}, "天数：“x”不是 0 至 3660 之间的整数。"),
        (f"/keys/accounts/{account}/keys", {"name": "k"}, "未选择权限，可选：生成、读取、全部。"),
        (f"/keys/accounts/{account}/plan", {"plan": "none"}, "没有套餐“none”，可选：pro"),
        ("/scenarios/tiny/rollback", {"answers": "tiny@v1"}, "现在服务的是 tiny@v2，而不是 tiny@v1，请重新载入页面。"),
        ("/scenarios/none/rollback", {"answers": "x"}, "“none”没有可服务的发布版，可选：tiny"),
        ("/keys/teams/film-crew/join", {"account": "acct_x"}, "没有账户“acct_x”。"),
        ("/keys/teams/none/join", {"account": account}, "没有团队“none”。"),
        (
            f"/keys/accounts/{account}/limit",
            {"subject": f"account:{account}", "measure": "budget", "span": "month", "most": "99999999999"},
            "不能作为上限，应为 0 至",
        ),
        ("/keys/accounts/acct_x/credit", {"amount": "1", "once": "2"}, "没有账户“acct_x”。"),
        (f"/keys/accounts/{account}/credit", {"amount": "1", "once": "3", "note": "甲\n乙"}, "附注最多 200 个可见字符"),
        (
            "/keys/plans",
            {"name": "ab", "currency": "USD", "months": "1", "unit": "mile"},
            "“mile”不能作为套餐的单位，可选：词元、图片、秒、字符、帧。",
        ),
        ("/scenarios/tiny/v2/withdraw", {"output": found["one"]}, "请写明撤回的理由"),
        (
            "/scenarios/tiny/v2/withdraw",
            {"output": found["erased"], "reason": "不妥"},
            f"作品 {found['erased']} 已删除，只有已发布的作品才能撤回。",
        ),
    ):
        page = operator.http.post(path, data={"token": operator.token, **fields}, headers=CHINESE).text
        assert told in page and english(page) == [], (path, page)
    asked = {"token": creator.token, "scenario": "tiny", "prompt": "好", "count": "1"}
    for fields, told in (
        ({"prompt": ""}, "提示词为空，请写明要生成什么。"),
        ({"temperature": "9"}, "温度为“9”，应为 0 至 2 之间的数。"),
        ({"count": "x"}, "数量为“x”，应为 1 至"),
        ({"max_tokens": "4095", "prompt": "好" * 20}, "请缩短提示词，或减少要求。"),
        ({"scenario": "gone"}, "此处不再生成“gone”，请另选一项。"),
    ):
        page = creator.http.post("/make", data={**asked, **fields}, headers=CHINESE).text
        assert told in page, page
        told_alone = creator.http.post(
            "/make", data={**asked, **fields}, headers={**CHINESE, "accept": "application/json"}
        )
        assert told in told_alone.json()["problem"]
    page = creator.http.post(f"/gallery/{found['waiting']}/erase", data={"token": creator.token}, headers=CHINESE).text
    assert "正在等待人工处理，作出决定后才能删除。" in page and english(page) == []
    page = creator.http.get("/gallery?since=yesterday", headers=CHINESE).text
    assert "“yesterday”不是日期" in page


def test_the_labels_of_a_file_are_told_in_chinese(place: Place) -> None:
    who, found = place.who, place.found
    creator = who["creator"]
    file = creator.get(f"/gallery/{found['one']}/file").content
    for data, told in (
        (file, "内容未改动"),
        (file.replace("好".encode(), "坏".encode(), 1), "清单不成立"),
        (b"plain", "没有 C2PA 清单"),
    ):
        page = creator.http.post(
            "/verify", data={"token": creator.token}, files={"file": ("作品.txt", data, "text/plain")}, headers=CHINESE
        ).text
        assert told in page and english(page) == [], page
    layers = creator.http.post("/v1/verify", content=file).json()["layers"]
    assert "content unchanged" in layers[0]["detail"], "programs are told in English, as before"
