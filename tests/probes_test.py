"""Promises to whoever tries: no name, number or path leads to another's rows, to a file, or to a server error."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
from tests.conftest import Guest, Served

from spearhead.ledger import journal, limits, usage
from spearhead.store import tables

SQL = (
    "' OR '1'='1",
    '" OR ""="',
    "'; DROP TABLE accounts; --",
    "x' UNION SELECT hash FROM keys --",
    "1); DELETE FROM usage_events; --",
    "%",
    "out\\_%",
    "${7*7}{{7*7}}",
)
PATHS = (
    "../../../../../../etc/passwd",
    "..\\..\\..\\etc\\passwd",
    "/etc/passwd",
    "....//....//etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/spearhead.db",
    "tiny@v1/../../../keys",
    "a\0b",
    "\u202e\u0000\ufeff",
    "x" * 4000,
)
IN_PATHS = (
    *("/v1/models/{}", "/v1/outputs/{}", "/v1/outputs/{}/file", "/v1/responses/{}"),
    *("/v1/receipts/{}", "/v1/invoices/{}"),
)
Asked = tuple[httpx.Client, str, tuple[str, str]]
IN_QUERIES = (
    "group_by",
    "models",
    "user_ids",
    "api_key_ids",
    "project_ids",
    "bucket_width",
    "page",
    "limit",
    "end_time",
)
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/images/generations": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/moderations": {"input": "hello"},
}
RAW = (
    "/../../../../etc/passwd",
    "/static/../../../../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/v1/../spearhead.db",
    "/releases/tiny/v1/manifest.json",
    "/v1/models/..%2f..%2fmanifest.json",
    "/.spearhead/keys",
    "/%00",
    "/v1/outputs/%ff%fe",
)


@pytest.fixture(scope="module")
def served(furnished_on: Served) -> Served:
    """Both databases are probed: what one takes for a strange name, the other may not take at all."""
    return furnished_on


@pytest.fixture(scope="module")
def asked(served: Served) -> Iterator[Asked]:
    """A key that may do all to its own account, another account's number, and both of an answer of that one's."""
    victim = served.account()
    first = served.http(victim).post("/v1/responses", json={"model": "tiny", **BODIES["/v1/responses"]})
    numbers = (first.headers["x-spearhead-output"], first.json()["id"])
    secret = served.key(served.account(), scopes=("generate", "read")).secret
    with httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {secret}"}, timeout=60) as client:
        yield client, victim, numbers


@pytest.fixture(scope="module")
def guest(served: Served) -> Guest:
    """Somebody who may see and do all of it in the studio."""
    return served.guest(served.account(), "creator", "reviewer", "operator")


def counts(served: Served) -> dict[str, int]:
    """Rows of every table that somebody would like to drop."""
    names = ("accounts", "keys", "usage_events", "journal_entries", "outputs", "reservations")
    with served.engine.connect() as connection:
        return {
            name: int(connection.scalar(sa.select(sa.func.count()).select_from(tables.metadata.tables[name])) or 0)
            for name in names
        }


@pytest.mark.parametrize("place", IN_PATHS)
def test_no_number_in_a_path_is_more_than_a_number(place: str, served: Served, asked: Asked) -> None:
    client, victim, numbers = asked
    tricks = [trick for one in numbers for trick in (f"{one}' --", f"{one}/../{one}", one[:-1] + "_", one)]
    before = counts(served)
    for probe in (*SQL, *PATHS, *tricks):
        answer = client.get(place.format(quote(probe, safe="")))
        assert 400 <= answer.status_code < 500, f"{probe!r}: {answer.status_code} {answer.text[:300]}"
        assert "root:" not in answer.text and "Traceback" not in answer.text and victim not in answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert counts(served) == before


@pytest.mark.parametrize("furnished_on", ["sqlite"], indirect=True)
@pytest.mark.parametrize("path", BODIES)
def test_no_model_is_found_by_a_trick(path: str, served: Served, asked: Asked) -> None:
    client, victim, _ = asked
    before = counts(served)
    for probe in (*SQL, *PATHS):
        answer = client.post(path, json={**BODIES[path], "model": probe})
        assert 400 <= answer.status_code < 500, f"{probe!r}: {answer.status_code} {answer.text[:300]}"
        assert answer.json()["error"]["param"] == "model", answer.text
        assert "root:" not in answer.text and "Traceback" not in answer.text
    assert counts(served) == before


def test_no_answer_goes_on_from_one_that_is_found_by_a_trick(served: Served, asked: Asked) -> None:
    client, victim, numbers = asked
    tricks = [trick for one in numbers for trick in (f"{one}' --", f"{one}/../{one}", one[:-1] + "_", one)]
    before = counts(served)
    for probe in (*SQL, *PATHS, *tricks):
        body = {"model": "tiny", "input": "hello", "previous_response_id": probe}
        answer = client.post("/v1/responses", json=body)
        assert 400 <= answer.status_code < 500, f"{probe!r}: {answer.status_code} {answer.text[:300]}"
        assert answer.json()["error"]["param"] == "previous_response_id", answer.text
        assert "root:" not in answer.text and "Traceback" not in answer.text and victim not in answer.text
    assert counts(served) == before


def test_reports_filter_by_values_and_by_nothing_else(served: Served, asked: Asked) -> None:
    _, victim, _ = asked
    admin = served.key(served.account(), scopes=("admin",)).secret
    before = counts(served)
    with httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {admin}"}, timeout=60) as client:
        for path in ("/v1/organization/usage/completions", "/v1/organization/costs"):
            for name in IN_QUERIES:
                for probe in (*SQL, PATHS[0], "a\0b"):
                    answer = client.get(path, params={"start_time": "1", "bucket_width": "1d", name: probe})
                    assert answer.status_code in (200, 400), f"{path} {name}={probe!r}: {answer.status_code}"
                    if answer.status_code == 200:
                        assert all(not bucket["results"] for bucket in answer.json()["data"]), f"{name}={probe!r}"
        for probe in SQL + PATHS:
            assert client.get(f"/v1/organization/usage/{quote(probe, safe='')}").status_code in (400, 404)
    assert counts(served) == before


@pytest.mark.parametrize("furnished_on", ["sqlite"], indirect=True)
def test_no_header_is_more_than_text(served: Served, asked: Asked) -> None:
    client, _, _ = asked
    before = counts(served)
    body = {"model": "none", **BODIES["/v1/chat/completions"]}
    for probe in (*SQL, *(path for path in PATHS if path.isascii() and path.isprintable())):
        kept = client.post("/v1/chat/completions", json=body, headers={"idempotency-key": probe})
        assert kept.status_code in (400, 404), kept.text
        stranger = httpx.get(f"{served.url}/v1/models", headers={"authorization": f"Bearer {probe}"}, timeout=60)
        assert stranger.status_code == 401 and stranger.json()["error"]["code"] == "invalid_api_key"
    assert counts(served) == before
    assert sa.inspect(served.engine).has_table("accounts")


STUDIO = (
    *("/review/{}", "/review/{}/file", "/review/{}/nearest.png", "/appeal/{}", "/gallery/{}", "/gallery/{}/file"),
    *("/gallery/{}/picture", "/gallery/{}/trace", "/gallery/compare?one={}&one={}", "/usage/invoices/{}.pdf"),
    *("/usage/invoices/{}.csv", "/usage/invoices/{}.json", "/usage/invoices/1.{}", "/usage?account={}"),
    *("/usage?by={}", "/usage?days={}", "/make?from={}", "/make?scenario={}", "/make?work={}", "/gallery?words={}"),
    *("/gallery?scenario={}", "/gallery?page={}", "/gallery?top={}", "/review?scenario={}", "/review?list={}"),
    *("/review?page={}", "/keys/accounts/{}", "/scenarios/{}/v1", "/scenarios/tiny/{}", "/scenarios/{}/v1/report"),
    *("/scenarios/tiny/{}/report", "/audit?before={}", "/login?next={}"),
)
ACTS = (
    *("/review/{}/claim", "/review/{}/renew", "/review/{}/back", "/review/{}/decide", "/review/{}/edit", "/appeal/{}"),
    *("/keys/accounts/{}/keys", "/keys/accounts/{}/credit", "/keys/accounts/{}/limit", "/keys/accounts/{}/plan"),
    *("/keys/accounts/{}/end", "/keys/accounts/{}/void", "/keys/accounts/{}/change", "/keys/{}/rotate"),
    *("/keys/{}/block", "/keys/teams/{}/join", "/keys/teams/{}/leave", "/keys/teams/{}/limit", "/gallery/{}/erase"),
    *("/scenarios/{}/rollback", "/scenarios/{}/v1/promote", "/scenarios/tiny/{}/promote"),
    *("/scenarios/{}/v1/withdraw", "/scenarios/tiny/{}/withdraw"),
)


FIELDS = (
    *(("/scenarios/tiny/rollback", "answers"), ("/scenarios/tiny/v1/withdraw", "output"), ("/make", "scenario")),
    *(("/keys/accounts/{own}/plan", "plan"), ("/keys/accounts/{own}/change", "plan"), ("/make/cancel", "work")),
    *(("/review/next", "scenario"), ("/keys/accounts/{own}/void", "grant")),
)


@pytest.mark.parametrize("place", STUDIO)
def test_no_address_in_the_studio_is_more_than_a_name(place: str, served: Served, guest: Guest) -> None:
    before = counts(served)
    for probe in SQL + PATHS:
        answer = guest.get(place.replace("{}", quote(probe, safe="")))
        assert answer.status_code < 500, f"{probe!r}: {answer.status_code}"
        assert "root:" not in answer.text and "Traceback" not in answer.text
    assert counts(served) == before


@pytest.mark.parametrize("place", ACTS)
def test_no_act_in_the_studio_is_done_to_more_than_a_name(place: str, served: Served, guest: Guest) -> None:
    before = counts(served)
    for probe in SQL + PATHS:
        fields = {"decision": "approve", "blob": "0" * 64, "version": "1", "amount": "1.00", "reason": "x"}
        more = {"once": "x", "days": "1", "plan": probe, "words": "x", "measure": "requests", "span": "day"}
        to = place.replace("{}", quote(probe, safe=""))
        answer = guest.post(to, **fields, **more, account=probe, name="x", scope="read", most="1")
        assert 400 <= answer.status_code < 500, f"{probe!r}: {answer.status_code}"
    assert counts(served) == before


@pytest.mark.parametrize(("place", "name"), FIELDS)
def test_no_field_of_a_form_names_more_than_one_thing(place: str, name: str, served: Served, guest: Guest) -> None:
    before = counts(served)
    for probe in SQL + PATHS:
        answer = guest.post(place.replace("{own}", guest.account), **{"reason": "x", "prompt": "hello", name: probe})
        assert answer.status_code < 500, f"{probe!r}: {answer.status_code}"
        if place not in ("/make/cancel", "/review/next"):  # there is none of that name, which is no mistake
            assert answer.status_code >= 400, f"{probe!r}: {answer.status_code}"
        assert "root:" not in answer.text and "Traceback" not in answer.text
    assert counts(served) == before


@pytest.mark.parametrize("furnished_on", ["sqlite"], indirect=True)
def test_no_path_leads_out_of_what_is_served(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for path in RAW:
        for method in ("GET", "POST", "DELETE"):
            link = http.client.HTTPConnection(host, int(port), timeout=60)
            link.putrequest(method, path, skip_host=True)  # as it stands: nothing tidies it
            link.putheader("Host", host)
            link.putheader("Content-Length", "0")
            link.endheaders()
            answer = link.getresponse()
            said = answer.read().decode("utf-8", "replace")
            link.close()
            assert answer.status < 500, f"{method} {path}: {answer.status} {said[:300]}"
            assert "root:" not in said and "sha256" not in said and "SQLite format" not in said, f"{method} {path}"


def test_the_books_are_sound_after_all_of_it(served: Served) -> None:
    assert journal.check(served.engine) + usage.check(served.engine) + limits.check(served.engine) == []
