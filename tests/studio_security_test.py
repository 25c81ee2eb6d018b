"""Promises of the studio to whoever is attacked through it: forms, sessions, roles, strangers' words and numbers."""

import html
import re
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests import conftest

from spearhead.store import tables

PASSWORD = "four words that differ"
CALM = {"default-src": "'none'", "script-src": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'"}


def token(client: httpx.Client) -> str:
    return str(re.findall(r'name="form-token" content="(\w+)"', client.get("/verify").text)[0])


def ask(client: httpx.Client, prompt: str, **fields: str) -> httpx.Response:
    return client.post("/make", data={"token": token(client), "scenario": "tiny", "prompt": prompt, **fields})


def made(client: httpx.Client, served: Any, account: str, prompt: str) -> str:
    """The number of an answer to `prompt`, made over the API."""
    headers = {"authorization": f"Bearer {served.key(account).secret}"}
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 8}
    answer = client.post("/v1/completions", json=body, headers=headers)
    return str(answer.headers["x-spearhead-output"])


@pytest.fixture(scope="module")
def ada(served: Any) -> tuple[str, httpx.Client]:
    """A creator who is signed in, and the account that pays."""
    account = served.account()
    return account, served.studio(served.person(account, "creator"))


@pytest.mark.parametrize(
    "path", ["/login", "/make", "/gallery", "/verify", "/nowhere", "/static/style.css", "/static/../app.py"]
)
def test_every_answer_has_a_strict_policy_and_private_ones_are_not_kept(ada: Any, path: str) -> None:
    answer = ada[1].get(path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert CALM.items() <= policy.items()
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    if not path.startswith("/static/style"):
        assert answer.headers["cache-control"] == "no-store"
    # What the policy would stop anyway is not even written.
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:|https?://", answer.text.lower())


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/make", {"scenario": "tiny", "prompt": "x"}),
        ("/make/cancel", {}),
        ("/logout", {}),
        ("/manner", {}),
        ("/password", {"old": PASSWORD, "new": "four words once more", "again": "four words once more"}),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_from_another_site_does_nothing(
    served: Any, ada: Any, path: str, fields: dict[str, str], headers: dict[str, str]
) -> None:
    client = ada[1]
    answer = client.post(path, data={"token": token(client), **fields}, headers=headers)
    assert answer.status_code == 403
    assert "Nothing was done" in answer.text
    assert client.get("/make").status_code == 200  # still signed in, and nothing in the line
    assert 'class="work"' not in client.get("/make").text


def test_a_program_that_does_not_say_where_it_comes_from_is_refused(ada: Any, served: Any) -> None:
    with httpx.Client(base_url=served.url, verify=False, cookies=ada[1].cookies, timeout=60) as silent:
        assert silent.post("/make", data={"token": token(silent)}).status_code == 403


@pytest.mark.parametrize("kind", ["none", "another person's", "a visitor's", "half"])
def test_a_form_carries_the_token_of_its_own_session(served: Any, ada: Any, kind: str) -> None:
    client = ada[1]
    tokens = {
        "none": "",
        "another person's": token(served.guest(served.account(), "creator").http),
        "a visitor's": token(served.studio()),
        "half": token(client)[:32],
    }
    answer = client.post("/make", data={"token": tokens[kind], "scenario": "tiny", "prompt": "x"})
    assert answer.status_code == 403 and "too old" in answer.text


def test_signing_in_gives_a_new_session_and_the_old_cookie_stays_nobodys(served: Any) -> None:
    name = served.person(served.account(), "creator")
    client: httpx.Client = served.studio()
    before = client.cookies["spearhead"]
    answer = client.post("/login", data={"token": token(client), "name": name, "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
    after = client.cookies["spearhead"]
    assert after != before and len(after) >= 43
    with httpx.Client(base_url=served.url, verify=False, cookies={"spearhead": before}, timeout=60) as thief:
        assert thief.get("/make").status_code == 303
    with served.engine.connect() as connection:  # the store never sees what the browser has
        kept = str(connection.execute(sa.select(tables.sessions)).all())
    assert after not in kept


def test_signing_out_ends_the_session_for_everyone_who_has_its_cookie(served: Any) -> None:
    client = served.studio(served.person(served.account(), "creator"))
    cookie = dict(client.cookies)
    assert client.get("/make").status_code == 200
    assert client.post("/logout", data={"token": token(client)}).status_code == 303
    with httpx.Client(base_url=served.url, verify=False, cookies=cookie, timeout=60) as thief:
        assert thief.get("/make").headers["location"].startswith("/login")


def test_a_session_ends_when_it_is_old_unused_or_its_person_is_blocked(served: Any) -> None:
    from spearhead.service.studio import people

    name = served.person(served.account(), "creator")
    for change in ({"expires": "2020-01-01T00:00:00Z"}, {"seen": "2020-01-01T00:00:00Z"}, None):
        client = served.studio(name)
        assert client.get("/make").status_code == 200
        if change is None:
            people.block(served.engine, name, actor="test")
        else:
            person = people.named(served.engine, name).id
            with served.engine.begin() as connection:
                connection.execute(tables.sessions.update().where(tables.sessions.c.person == person).values(**change))
        assert client.get("/make").status_code == 303
    refused = client.post("/login", data={"token": token(client), "name": name, "password": PASSWORD})
    assert refused.status_code == 401


def test_an_unknown_name_and_a_wrong_password_get_one_answer(served: Any) -> None:
    name = served.person(served.account(), "creator")
    pages = []
    for who in (name, "nobody-at-all"):
        client = served.studio()
        answer = client.post("/login", data={"token": token(client), "name": who, "password": "wrong " * 3})
        page = re.sub(r"\b[0-9a-f]{64}\b", "", answer.text.replace(who, "NAME"))
        pages.append((answer.status_code, page, answer.headers.get("set-cookie")))
    assert pages[0] == pages[1]
    assert pages[0][0] == 401


def test_a_password_is_not_guessed_by_trying(served: Any) -> None:
    name = served.person(served.account(), "creator")
    client: httpx.Client = served.studio()
    client.headers["x-forwarded-for"] = "203.0.113.10"
    carried = token(client)

    def attempt(password: str) -> httpx.Response:
        fields = {"token": carried, "name": name.upper(), "password": password}
        return client.post("/login", data=fields)

    tries = [attempt(f"guess number {n}").status_code for n in range(10)]
    assert tries[:8] == [401] * 8 and tries[8:] == [429, 429]
    late = attempt(PASSWORD)  # even the right one is not looked at now
    assert late.status_code == 429 and int(late.headers["retry-after"]) > 60


NEW = "another four words entirely"


def change(client: httpx.Client, old: str = PASSWORD, new: str = NEW, again: str = "") -> httpx.Response:
    fields = {"token": token(client), "old": old, "new": new, "again": again or new}
    return client.post("/password", data=fields)


def entered(served: Any, name: str, password: str) -> int:
    client = served.studio()
    fields = {"token": token(client), "name": name, "password": password}
    return int(client.post("/login", data=fields).status_code)


def test_a_person_changes_their_own_password_and_every_other_window_of_theirs_is_signed_out(served: Any) -> None:
    from spearhead.service.studio import people

    name, other = (served.person(served.account(), "reviewer") for _ in range(2))
    here, elsewhere, others = served.studio(name), served.studio(name), served.studio(other)
    assert f">{name}<" in here.get("/verify").text and 'href="/password"' in here.get("/verify").text
    assert change(here).headers["location"] == "/password?said=changed"
    assert "Your password is changed" in here.get("/password?said=changed").text
    assert elsewhere.get("/password").headers["location"].startswith("/login")
    assert others.get("/password").status_code == 200
    assert [entered(served, name, one) for one in (PASSWORD, NEW)] == [401, 303]
    with served.engine.connect() as connection:
        rows = connection.execute(
            sa.select(tables.audit.c.actor, tables.audit.c.subject).where(tables.audit.c.action == "password changed")
        ).all()
    person = people.named(served.engine, name).id
    assert (person, person) in rows and (NEW not in str(rows))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"old": "not the one I have"}, "This is not your password now"),
        ({"again": "another four words entirel"}, "The two new passwords differ"),
        ({"new": "short"}, "12 to 200 characters; this one has 5"),
        ({"new": "aaaaaaaaaaaaaaaa"}, "too easy to guess"),
        ({"new": PASSWORD}, "This is the password that you have"),
        ({"new": "x" * 900}, "12 to 200 characters"),
    ],
)
def test_a_password_that_cannot_be_changed_stays_and_the_page_says_why(
    served: Any, fields: dict[str, str], told: str
) -> None:
    name = served.person(served.account(), "creator")
    here, elsewhere = served.studio(name), served.studio(name)
    refused = change(here, **fields)
    assert refused.status_code == 400 and told in html.unescape(refused.text)
    assert all(one not in refused.text for one in (PASSWORD, NEW))
    assert elsewhere.get("/make").status_code == 200 and entered(served, name, PASSWORD) == 303


def test_an_old_password_is_not_guessed_at_a_change_either(served: Any) -> None:
    here = served.studio(served.person(served.account(), "creator"))
    here.headers["x-forwarded-for"] = "203.0.113.11"
    tries = [change(here, f"guess number {n}").status_code for n in range(9)]
    assert tries == [400] * 8 + [429]
    assert change(here).status_code == 429  # even the right one is not looked at now


@pytest.mark.parametrize(
    ("role", "opens", "shut"),
    [("creator", "/make", ""), ("auditor", "/gallery", "/make"), ("reviewer", "/verify", "/gallery")],
)
def test_roles_open_what_is_theirs_and_nothing_else(served: Any, role: str, opens: str, shut: str) -> None:
    client = served.guest(served.account(), role).http
    assert client.get(opens).status_code == 200
    if shut:
        assert client.get(shut).status_code == 403
        assert f'href="{shut}"' not in client.get("/verify").text
    assert client.post("/make", data={"token": token(client)}).status_code == (400 if role == "creator" else 403)


def test_an_auditor_may_look_and_not_erase(served: Any, ada: Any) -> None:
    account, creator = ada
    number = made(creator, served, account, "keep this")
    auditor = served.guest(account, "auditor").http
    page = auditor.get(f"/gallery/{number}")
    assert page.status_code == 200 and "Erase" not in page.text
    assert auditor.post(f"/gallery/{number}/erase", data={"token": token(auditor)}).status_code == 403
    assert creator.get(f"/gallery/{number}/file").status_code == 200


def test_what_another_account_made_is_not_there(served: Any, ada: Any) -> None:
    account, owner = ada
    number = made(owner, served, account, "mine alone")
    stranger = served.guest(served.account(), "creator", "auditor").http
    for path in ("", "/file", "/picture", "/trace"):
        assert stranger.get(f"/gallery/{number}{path}").status_code == 404
    assert stranger.post(f"/gallery/{number}/erase", data={"token": token(stranger)}).status_code == 404
    assert stranger.get(f"/make?from={number}").status_code == 404
    assert stranger.get(f"/gallery/compare?one={number}&one=out_0").status_code == 404
    assert number not in stranger.get("/gallery?words=mine").text
    assert owner.get(f"/gallery/{number}/file").status_code == 200


@pytest.mark.parametrize("path", ["/make", "/make/news", "/gallery", "/gallery/out_1", "/gallery/out_1/file", "/"])
def test_a_visitor_is_led_to_the_door_and_back(served: Any, path: str) -> None:
    visitor = served.studio()
    answer = visitor.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=" + path.replace("/", "%2F")


@pytest.mark.parametrize(
    "bad",
    [
        "//elsewhere.example",
        "https://elsewhere.example/",
        "/\\elsewhere.example",
        "\\\\elsewhere.example",
        "/\t/elsewhere.example",
        "javascript:alert(1)",
        "elsewhere",
        "///elsewhere.example",
        "http:elsewhere",
    ],
)
def test_nobody_is_sent_to_another_site_after_signing_in(served: Any, ada: Any, bad: str) -> None:
    assert ada[1].get("/login", params={"next": bad}).headers["location"] == "/"
    moved = ada[1].post("/manner", data={"token": token(ada[1]), "next": bad, "language": "en"})
    assert moved.headers["location"] == "/"


WORDS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 191 }}x{% raw %}",
    "</textarea><script>alert(2)</script>",
    "' onfocus='alert(3)' autofocus='",
]


def test_words_from_strangers_stay_words_on_every_page(served: Any, ada: Any) -> None:
    account, client = ada
    words = " ".join(WORDS)
    number = made(client, served, account, words)
    other = made(client, served, account, "plain")
    ask(client, words)
    pages = [
        client.get("/make"),
        client.get("/make", params={"scenario": words, "work": words}),
        client.get("/make", params={"from": number}),
        ask(client, words, count=words),
        client.get("/gallery", params={"words": words[:199], "scenario": words, "state": words}),
        client.get("/gallery"),
        client.get(f"/gallery/{number}"),
        client.get(f"/gallery/compare?one={number}&one={other}"),
        client.get("/nowhere/" + words),
        client.get("/login", params={"next": "/" + words}, cookies={"spearhead": "x" * 43}),
    ]
    client.post("/make/clear", data={"token": token(client)})
    shown = 0
    for page in pages:
        assert not [one for one in WORDS[:2] + WORDS[3:] if one in page.text]
        assert "1337x" not in page.text
        shown += WORDS[0] in html.unescape(page.text)
    assert shown >= 7


def test_a_persons_name_is_words_too(served: Any) -> None:
    name = served.person(served.account(), "creator", name="<b>bob</b>&\"'")
    page = served.studio(name).get("/make").text
    assert "<b>bob" not in page and name in html.unescape(page)


@pytest.mark.parametrize(
    "query",
    [
        "page=99999999999",
        "page=-1",
        "page=%00",
        "words=%27%20OR%201%3D1--",
        "words=%25%25%25___",
        "words=%00",
        "state=held%27",
        "since=9999-99-99",
        "since=0001-01-01&until=9999-12-31",
        "words=" + "x" * 5000,
        "words=%ff%fe",
    ],
)
def test_the_gallery_takes_any_query(ada: Any, query: str) -> None:
    assert ada[1].get(f"/gallery?{query}").status_code in (200, 400)


@pytest.mark.parametrize("number", ["..%2f..%2fetc%2fpasswd", "%00", "out_%27--", "x" * 3000, "%F0%9F%A6%8A"])
@pytest.mark.parametrize("rest", ["", "/file", "/trace"])
def test_a_number_that_is_none_is_not_there(ada: Any, number: str, rest: str) -> None:
    assert ada[1].get(f"/gallery/{number}{rest}").status_code == 404


def test_what_review_withheld_is_not_shown_found_or_taken_along(served: Any, ada: Any) -> None:
    account, client = ada
    held, blocked = made(client, served, account, "please mail #"), made(client, served, account, "please say %")
    for number in (held, blocked):
        page = client.get(f"/gallery/{number}")
        assert page.status_code == 200
        assert "ada@example" not in page.text and "zzforbidden" not in page.text
        assert client.get(f"/gallery/{number}/file").status_code in (409, 410)
        assert client.get(f"/gallery/{number}/picture").status_code in (409, 410)
    for words in ("ada@example", "zzforbidden"):
        assert 'class="tile"' not in client.get("/gallery", params={"words": words}).text


def test_bodies_and_forms_are_bounded(served: Any, ada: Any) -> None:
    client = ada[1]
    carried = token(client)
    assert client.post("/make/cancel", data={"token": carried, "work": "x" * (2 << 20)}).status_code == 413
    assert client.post("/make", data={"token": carried, "prompt": "x" * (5 << 20)}).status_code == 413
    many = {f"f{n}": "x" for n in range(500)}
    assert client.post("/make", data={"token": carried, **many}).status_code == 400
    files = {"file": ("a.txt", b"x" * (300 << 10), "text/plain")}
    assert client.post("/make", data={"token": carried, "scenario": "tiny"}, files=files).status_code == 400
    bad = client.post("/make", content=b"\xff" * 99, headers={"content-type": "multipart/form-data"})
    assert bad.status_code == 400
    listed = ask(client, "", list="\n".join(map(str, range(101))))
    assert listed.status_code == 400 and "at most 100" in listed.text


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", "17"), ("count", "0"), ("count", "1e3"), ("seed", "-1"), ("seed", "9" * 25), ("temperature", "nan")],
)
def test_a_form_that_cannot_be_carried_out_says_which_field_and_starts_nothing(
    ada: Any, field: str, value: str
) -> None:
    answer = ask(ada[1], "never begun", **{field: value})
    assert answer.status_code == 400 and f"{field} is" in html.unescape(answer.text)
    assert "tiny: never begun" not in answer.text


def test_a_file_that_was_damaged_is_a_page_that_says_the_mistake_is_ours(served: Any, ada: Any) -> None:
    account, client = ada
    number = made(client, served, account, "to be damaged")
    assert client.get(f"/gallery/{number}/file").status_code == 200
    with served.engine.connect() as connection:
        blob = connection.scalar(sa.select(tables.outputs.c.blob).where(tables.outputs.c.id == number))
    path = served.home.blobs / blob[:2] / blob
    path.write_bytes(path.read_bytes() + b"x")
    answer = client.get(f"/gallery/{number}/file")
    assert answer.status_code == 500 and "The mistake is ours" in answer.text
    assert str(path) not in answer.text
    assert number in client.get("/gallery").text


def test_a_database_that_is_away_is_a_page_that_says_so_and_never_a_sign_in(
    serve_tiny: Callable[..., Any],
) -> None:
    server = serve_tiny()
    client = server.guest(server.account(), "creator").http
    path = server.home.root / "spearhead.db"
    with sqlite3.connect(path) as other:
        for name in ("sessions", "accounts"):
            other.execute(f"ALTER TABLE {name} RENAME TO {name}_away")
    answer = client.get("/make")
    assert answer.status_code == 503 and "records cannot be reached" in answer.text
    assert int(answer.headers["retry-after"]) > 0
    with sqlite3.connect(path) as other:
        for name in ("sessions", "accounts"):
            other.execute(f"ALTER TABLE {name}_away RENAME TO {name}")
    assert client.get("/make").status_code == 200


def test_a_server_that_is_told_to_stop_keeps_and_charges_what_was_made_and_waits_for_no_window(
    serve_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = conftest.SERVE.replace(
        "\nroot, host, port", "\nserve.__globals__['DRAIN_SECONDS'] = 150\nroot, host, port"
    )
    assert patient != conftest.SERVE
    monkeypatch.setattr(conftest, "SERVE", patient)
    server = serve_tiny(context=16_384)  # room for both to write at once
    account = server.account()
    client = server.guest(account, "creator").http
    carried = token(client)
    fields = {"token": carried, "scenario": "tiny", "list": "walk ~\nwalk on ~\nthird ~", "max_tokens": "3900"}
    with server.slowly(), client.stream("GET", "/make/news") as news:
        lines = news.iter_lines()
        assert client.post("/make", data=fields).status_code == 303
        writing: set[str] = set()
        while len(writing) < 2:
            writing |= set(re.findall(r'^data: {"work": "(\w+)", "index"', next(lines)))
        start = time.monotonic()
        server.process.terminate()
        for _ in lines:
            pass  # the stream ends, and its end is reached
    assert server.process.wait(timeout=60) == 0
    assert time.monotonic() - start < 60, "an open window would be waited for far longer"
    with server.engine.connect() as connection:
        kept = connection.execute(sa.select(tables.outputs)).all()
        used = connection.execute(sa.select(tables.usage_events)).all()
    assert len({row.request for row in kept}) == 2  # two ran, the third had not begun
    assert "cancelled" in {row.finish for row in kept}
    assert all(row.text.strip().startswith("on and onward") for row in kept)
    assert len(used) == 2 and all(row.amount > 0 for row in used)
    assert server.balance(account).reserved == 0


def test_verify_is_free_bounded_and_counted(served: Any) -> None:
    elsewhere = {"x-forwarded-for": "203.0.113.9"}  # as a proxy on this machine says
    with httpx.Client(base_url=served.url, verify=False, headers=elsewhere, timeout=60) as anybody:
        text = anybody.post("/v1/verify", content=b"nothing to see")
        assert text.status_code == 200
        assert text.json()["holds"] is False and text.json()["relied_on"] == []
        assert anybody.post("/v1/verify", content=b"").status_code == 400
        assert anybody.post("/v1/verify", content=b"x" * ((16 << 20) + 1)).status_code == 413
        assert anybody.get("/v1/verify").status_code == 405
        codes = [anybody.post("/v1/verify", content=b"x").status_code for _ in range(24)]
        assert set(codes) == {200, 429}
