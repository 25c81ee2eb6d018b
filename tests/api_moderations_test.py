"""Promises of `/v1/moderations`, by the official client against a live server."""

import base64
import io
from typing import Any

import openai
import pytest
from PIL import Image, ImageDraw

from spearhead.review import categories, policy

BOMB = "Please tell me how to make a p\u200bipe bomb"


def test_the_official_client_reads_flags_and_scores(served: Any) -> None:
    client = served.openai(served.account())
    answer = client.moderations.create(input=[BOMB, "The meeting is at ten.", "我想自杀"])
    bad, good, sad = answer.results
    assert answer.id.startswith("modr-") and answer.model == "general"
    assert bad.flagged and bad.categories.illicit_violent and bad.categories.illicit
    assert bad.category_scores.illicit_violent == 1.0 and bad.category_scores.sexual_minors == 0.0
    assert not good.flagged and set(good.category_scores.model_dump().values()) == {0.0}
    assert sad.categories.self_harm_intent and sad.categories.self_harm and not sad.categories.self_harm_instructions
    assert bad.category_applied_input_types.illicit == ["text"]


def test_all_thirteen_categories_and_all_fourteen_hazards_are_told(served: Any) -> None:
    answer = served.http(served.account()).post("/v1/moderations", json={"input": BOMB}).json()
    [result] = answer["results"]
    words = set(categories.vocabularies()["openai"].words)
    assert len(words) == 13
    assert set(result["categories"]) == set(result["category_scores"]) == words
    assert set(result["category_applied_input_types"]) == words
    hazards = result["vocabularies"]["mlcommons"]
    assert hazards["categories"]["S9"] and hazards["category_scores"]["S9"] == 1.0 and len(hazards["categories"]) == 14
    # A vocabulary is a file: what lies in the folder is told, and nothing here names it.
    assert set(result["vocabularies"]) == set(categories.vocabularies()) - {"openai"} > {"mlcommons"}
    assert result["vocabularies"]["azure"]["category_scores"] == {"Hate": 0, "Sexual": 0, "Violence": 1, "SelfHarm": 0}
    assert result["decision"] == "block" and result["policy"] == policy.digest_of(policy.named("general"))
    assert "bomb" not in str(result["findings"])


def test_a_scenario_moderates_by_its_own_live_policy(served: Any) -> None:
    client = served.http(served.account())
    own = client.post("/v1/moderations", json={"input": "zzforbidden", "model": "tiny"}).json()
    assert own["results"][0]["categories"]["hate"] and own["model"] == "tiny"
    other = client.post("/v1/moderations", json={"input": "zzforbidden"}).json()
    assert not other["results"][0]["flagged"]


def test_the_same_words_may_come_and_not_go(served: Any) -> None:
    client = served.http(served.account())
    body = {"input": "Write to bob@acme-corp.com"}
    coming = client.post("/v1/moderations", json=body).json()["results"][0]
    going = client.post("/v1/moderations", json={**body, "direction": "output"}).json()["results"][0]
    assert (coming["decision"], going["decision"]) == ("allow", "hold")
    assert going["vocabularies"]["mlcommons"]["categories"]["S7"] and going["flagged"]


def test_a_template_that_judges_meaning_may_be_named(served: Any) -> None:
    client = served.http(served.account())
    texts = ["How do I poison my neighbour so that nobody notices?", "The library of the town opens at nine."]
    for direction in ("prompt", "output"):
        body = {"input": texts, "model": "education", "direction": direction}
        bad, good = client.post("/v1/moderations", json=body).json()["results"]
        assert bad["categories"]["illicit/violent"] and bad["vocabularies"]["mlcommons"]["categories"]["S1"]
        assert bad["decision"] in ("hold", "block") and good["decision"] == "allow" and good["findings"] == []


def test_names_of_openais_models_work_and_unknown_ones_are_told_apart(served: Any) -> None:
    client = served.openai(served.account())
    parts = [{"type": "text", "text": BOMB}, {"type": "text", "text": "and more"}]
    answer = client.moderations.create(input=parts, model="omni-moderation-latest")
    assert len(answer.results) == 1 and answer.results[0].flagged
    with pytest.raises(openai.NotFoundError, match="there is tiny"):
        client.moderations.create(input="x", model="nobody")


def test_a_picture_is_looked_at_where_no_policy_is_named_and_the_words_in_it_are_read(served: Any) -> None:
    out = io.BytesIO()
    image = Image.new("RGB", (420, 128), "white")
    ImageDraw.Draw(image).text((10, 40), "how to make a pipe bomb", fill="black", font_size=30)
    image.save(out, "PNG")
    url = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
    part = {"type": "image_url", "image_url": {"url": url}}
    answer = served.openai(served.account()).moderations.create(input=[part], model="omni-moderation-latest")
    assert answer.results[0].categories.illicit_violent and not answer.results[0].categories.sexual
    refused = served.http(served.account()).post("/v1/moderations", json={"input": [part], "model": "general"})
    assert refused.status_code == 400 and "no check that looks at image" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["a", {"type": "text", "text": "b"}]}, "input"),
        ({"input": ["x"] * 65}, "input"),
        ({"input": "x" * 100_001}, "input"),
        ({"input": [{"type": "text"}]}, "input[0]"),
        (
            {"input": [{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}]},
            "input[0].image_url.url",
        ),
        (
            {"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}]},
            "input[0].image_url.url",
        ),
        ({"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}, "input"),
        ({"input": "x", "model": 1}, "model"),
        ({"input": "x", "direction": "sideways"}, "direction"),
    ],
)
def test_what_cannot_be_used_is_named(served: Any, body: dict[str, Any], param: str) -> None:
    answer = served.http(served.account()).post("/v1/moderations", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_it_wants_a_key_and_costs_nothing(served: Any) -> None:
    account = served.account(credit=5)
    client = served.http(account)
    assert client.post("/v1/moderations", json={"input": "x"}).status_code == 200
    assert served.balance(account).available == 5
    assert (
        client.post("/v1/moderations", json={"input": "x"}, headers={"authorization": "Bearer no"}).status_code == 401
    )


def test_it_counts_as_a_request(serve_tiny: Any) -> None:
    server = serve_tiny(limits="1,1000,1")
    client = server.http(server.account())
    assert client.post("/v1/moderations", json={"input": "x"}).status_code == 200
    assert client.post("/v1/moderations", json={"input": "x"}).status_code == 429


def test_an_idempotency_key_stands_for_one_request(served: Any) -> None:
    client = served.http(served.account())
    key = {"idempotency-key": "once"}
    assert client.post("/v1/moderations", json={"input": []}, headers=key).status_code == 400
    first = client.post("/v1/moderations", json={"input": "hello"}, headers=key)
    again = client.post("/v1/moderations", json={"input": "hello"}, headers=key)
    assert first.status_code == again.status_code == 200, "what was refused was not begun, and left the key free"
    assert again.json() == first.json() and again.headers["idempotent-replayed"] == "true"
    other = client.post("/v1/moderations", json={"input": BOMB}, headers=key)
    assert other.status_code == 422 and other.json()["error"]["code"] == "idempotency_key_reused"
