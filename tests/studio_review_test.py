"""Promises of review in the studio: over HTTP against the real server, and by keyboard alone in a real browser."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from spearhead import cli
from spearhead.core import clock, digest
from spearhead.core.media import Media
from spearhead.core.review import Decision, Finding
from spearhead.engine import erasure, outputs
from spearhead.media.image import codec
from spearhead.provenance import audit
from spearhead.review import queue
from spearhead.store.blobs import Blobs
from spearhead.store.tables import reviews

SAID = " Write to ada@example.org now!!"


def held(server: Any, account: str, *, people: int = 1) -> str:
    """A held answer of a creator; gives the number of its review."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Write the letter #"}]}
    review = server.http(account).post("/v1/chat/completions", json=body).headers["x-review-id"]
    if people > 1:
        with server.engine.begin() as connection:
            connection.execute(sa.update(reviews).where(reviews.c.id == review).values(people=people))
    return str(review)


def seen(server: Any, review: str) -> dict[str, str]:
    """What the form of an item carries."""
    item = queue.find(server.engine, review)
    assert item is not None and item.blob is not None
    return {"blob": item.blob, "version": str(item.version)}


def state(server: Any, review: str) -> str:
    item = queue.find(server.engine, review)
    assert item is not None
    return item.state


@pytest.fixture
def creator(furnished: Any) -> str:
    return str(furnished.account())


@pytest.fixture
def rita(furnished: Any, creator: str) -> Any:
    return furnished.guest(furnished.account(credit=0), "reviewer")


@pytest.fixture
def ruben(furnished: Any) -> Any:
    return furnished.guest(furnished.account(credit=0), "reviewer")


def test_only_reviewers_decide_auditors_look_and_nobody_else_enters(furnished: Any, creator: str) -> None:
    review = held(furnished, creator)
    maker, auditor = furnished.guest(creator, "creator", "operator"), furnished.guest(creator, "auditor")
    stranger = httpx.Client(base_url=furnished.url, timeout=60)
    for path in ("/review", f"/review/{review}", f"/review/{review}/file"):
        assert stranger.get(path).headers["location"].startswith("/login?next=")
        assert maker.get(path).status_code == 403
        assert auditor.get(path).status_code == 200
    for act in ("claim", "decide", "renew", "back", "edit"):
        assert auditor.post(f"/review/{review}/{act}", decision="approve").status_code == 403
        assert maker.post(f"/review/{review}/{act}", decision="approve").status_code == 403
    assert "Take it" not in auditor.get(f"/review/{review}").text
    assert "In my hands" not in auditor.get("/review").text, "a list that could never hold anything"
    assert auditor.get("/review/rev_0").status_code == 404 and state(furnished, review) == "needs_human"
    stranger.close()


def test_lists_say_what_waits_what_is_mine_what_others_hold_and_who_decided(
    furnished: Any, creator: str, rita: Any, ruben: Any
) -> None:
    mine, theirs, waiting = (held(furnished, creator) for _ in range(3))
    rita.post(f"/review/{mine}/claim")
    ruben.post(f"/review/{theirs}/claim")
    lists = {name: rita.get(f"/review?list={name}&scenario=tiny").text for name in ("waiting", "mine", "decided")}
    assert all(review[4:12] in lists["waiting"] for review in (mine, theirs, waiting)), "an item in hand is not gone"
    assert f"with {ruben.name}" in lists["waiting"]
    assert mine[4:12] in lists["mine"] and theirs[4:12] not in lists["mine"]
    rita.post(f"/review/{mine}/decide", decision="reject", reason="no", **seen(furnished, mine))
    decided = rita.get("/review?list=decided&scenario=tiny").text
    assert mine[4:12] in decided and rita.name in decided and waiting[4:12] not in decided
    assert waiting[4:12] not in rita.get("/review?scenario=nothing").text
    for wrong in ("list=all", "page=0", "page=x", "page=9999999"):
        assert rita.get(f"/review?{wrong}").status_code == 404, wrong
    assert ruben.post(f"/review/{theirs}/back").status_code == 303


def test_another_site_cannot_make_a_reviewer_decide(furnished: Any, creator: str, rita: Any) -> None:
    review = held(furnished, creator)
    assert rita.post(f"/review/{review}/claim").status_code == 303
    fields = {**seen(furnished, review), "decision": "approve"}
    path = f"/review/{review}/decide"
    assert rita.http.post(path, data=fields).status_code == 403
    assert rita.http.post(path, data={**fields, "token": "0" * 64}).status_code == 403
    foreign = {"origin": "https://elsewhere.example"}
    assert rita.http.post(path, data={**fields, "token": rita.token}, headers=foreign).status_code == 403
    assert rita.http.get(path).status_code == 405 and state(furnished, review) == "claimed"


def test_a_page_shows_the_very_bytes_what_was_found_and_what_they_are_like(
    furnished: Any, creator: str, rita: Any
) -> None:
    review = held(furnished, creator)
    file, page = rita.get(f"/review/{review}/file"), rita.get(f"/review/{review}").text
    assert digest.of_bytes(file.content) == seen(furnished, review)["blob"]
    assert "sandbox" in file.headers["content-security-policy"] and "attachment" in file.headers["content-disposition"]
    assert f'name="blob" value="{digest.of_bytes(file.content)}"' not in page, "not before it is in one's hands"
    rita.post(f"/review/{review}/claim")
    page = rita.get(f"/review/{review}").text
    assert f'name="blob" value="{digest.of_bytes(file.content)}"' in page
    assert "Write the letter #" in page and '<mark title="privacy">ada@example.org</mark>' in page
    assert '<span class="pill warn">hold</span>' in page, "what the finding leads to under its policy"
    assert "looks like an e-mail address" in page and "characters that nobody sees" in page
    # The shared run as the index keeps it: words alone.
    assert "please " in page and "write to ada</mark>" in page and "3 words in a row" in page


def test_an_approved_piece_leaves_as_it_was_seen_and_a_rejected_one_never_does(
    furnished: Any, creator: str, rita: Any
) -> None:
    client = furnished.http(creator)
    good, bad = held(furnished, creator), held(furnished, creator)
    for review in (good, bad):
        assert rita.post(f"/review/{review}/claim").headers["location"] == f"/review/{review}"
    shown = rita.get(f"/review/{good}/file").content
    answer = rita.post(f"/review/{good}/decide", decision="approve", **seen(furnished, good))
    assert answer.headers["location"] == "/review?said=approved"
    assert client.get(f"/v1/outputs/{good}/file").content == shown and state(furnished, good) == "released"
    refused = rita.post(f"/review/{bad}/decide", decision="reject", reason="  ", **seen(furnished, bad))
    assert refused.status_code == 400 and "Write the reason first" in refused.text
    assert state(furnished, bad) == "claimed"
    rita.post(f"/review/{bad}/decide", decision="reject", reason="a private address", **seen(furnished, bad))
    assert client.get(f"/v1/outputs/{bad}").status_code == 410
    assert rita.post(f"/review/{good}/decide", decision="nonsense", **seen(furnished, good)).status_code == 400
    decided = rita.get("/review?list=decided").text
    assert decided.index(bad[4:12]) < decided.index(good[4:12]), "the newest first"
    log = [(row.action, row.subject) for row in audit.newest(furnished.engine, limit=200) if row.actor == rita.id]
    assert log == [("piece rejected", bad), ("piece approved", good)], "what was refused is not in it"


def test_a_decision_on_what_has_moved_on_is_refused_and_says_so(
    furnished: Any, creator: str, rita: Any, ruben: Any
) -> None:
    review = held(furnished, creator)
    rita.post(f"/review/{review}/claim")
    old = seen(furnished, review)
    assert ruben.post(f"/review/{review}/claim").status_code == 409
    for decision in ("approve", "reject", "escalate"):
        fields = {"decision": decision, "reason": "why"}
        assert ruben.post(f"/review/{review}/decide", **fields, **old).status_code == 409, "in other hands"
        other = {**old, "blob": "0" * 64}
        assert rita.post(f"/review/{review}/decide", **fields, **other).status_code == 409, "other bytes"
    assert ruben.post(f"/review/{review}/renew").status_code == 409
    assert ruben.post(f"/review/{review}/back").status_code == 409
    assert rita.post(f"/review/{review}/back").headers["location"] == "/review?said=back"
    rita.post(f"/review/{review}/claim")
    stale = rita.post(f"/review/{review}/decide", decision="approve", **old)
    assert stale.status_code == 409 and "Nothing was decided by you." in stale.text
    assert rita.post(f"/review/{review}/edit", words="Write.", version=old["version"]).status_code == 409
    assert state(furnished, review) == "claimed"
    rita.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review))
    late = rita.post(f"/review/{review}/decide", decision="reject", reason="no", **old)
    assert late.status_code == 409 and "released" in late.text and state(furnished, review) == "released"


def test_an_operator_takes_back_what_had_left_and_its_address_says_so(furnished: Any, creator: str, rita: Any) -> None:
    operator, maker = furnished.guest(furnished.account(credit=0), "operator"), furnished.guest(creator, "creator")
    review, client = held(furnished, creator), furnished.http(creator)
    rita.post(f"/review/{review}/claim")
    rita.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review))
    with furnished.engine.connect() as connection:
        found = outputs.find(connection, review)
    assert found is not None and client.get(f"/v1/outputs/{review}").status_code == 200
    before = furnished.balance(creator).available
    path, fields = "/scenarios/tiny/v2/withdraw", {"output": review, "reason": "a complaint", "refund": "yes"}
    assert "Take back an output" in operator.get("/scenarios/tiny/v2").text
    assert "Take back an output" not in rita.get("/scenarios/tiny/v2").text
    assert rita.post(path, **fields).status_code == 403
    assert operator.post("/scenarios/tiny/v1/withdraw", **fields).status_code == 400, "another release made it"
    assert operator.post(path, **{**fields, "reason": " "}).status_code == 400
    assert operator.post(path, **fields).headers["location"] == "/scenarios/tiny/v2?said=refunded"
    for number in (review, found.id):
        for way in (f"/v1/outputs/{number}", f"/v1/outputs/{number}/file"):
            answer = client.get(way)
            assert answer.status_code == 410 and answer.json()["error"]["code"] == "output_withdrawn"
    assert maker.get(f"/gallery/{found.id}/file").status_code == 410
    assert "a complaint" in maker.get(f"/appeal/{found.id}").text
    assert furnished.balance(creator).available > before and state(furnished, review) == "withdrawn"
    assert operator.post(path, **fields).status_code == 400, "once"


def test_what_was_taken_back_does_not_come_again_under_its_idempotency_key(furnished: Any, creator: str) -> None:
    client = furnished.http(creator)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
    first = client.post("/v1/chat/completions", json=body, headers={"idempotency-key": "recall"})
    number = first.headers["x-spearhead-output"]
    words = ("withdraw", number, "--reason", "x", "--home", str(furnished.home.root), "--json")
    assert cli.main(words) == 0
    again = client.post("/v1/chat/completions", json=body, headers={"idempotency-key": "recall"})
    assert again.status_code == 410 and again.json()["error"]["code"] == "output_withdrawn"
    assert client.get(f"/v1/outputs/{number}").status_code == 410


def test_two_different_people_approve_where_two_are_wanted(furnished: Any, creator: str, rita: Any, ruben: Any) -> None:
    review = held(furnished, creator, people=2)
    rita.post(f"/review/{review}/claim")
    first = rita.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review))
    assert first.headers["location"] == "/review?said=joined" and state(furnished, review) == "escalated"
    page = rita.get(f"/review/{review}").text
    assert "Now it is another person" in page and "1 of 2 approvals" in page
    assert rita.post(f"/review/{review}/claim").status_code == 409
    ruben.post(f"/review/{review}/claim")
    ruben.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review))
    assert state(furnished, review) == "released"


def test_a_lease_begins_anew_for_whoever_holds_it(furnished: Any, creator: str, rita: Any) -> None:
    review = held(furnished, creator)
    rita.post(f"/review/{review}/claim")
    soon = clock.stamp(clock.now() + timedelta(seconds=100))
    with furnished.engine.begin() as connection:
        connection.execute(sa.update(reviews).where(reviews.c.id == review).values(lease=soon))
    headers = {"accept": "application/json", "x-form-token": rita.token}
    left = rita.http.post(f"/review/{review}/renew", headers=headers).json()["seconds"]
    assert 890 <= left <= 900
    assert rita.post(f"/review/{review}/renew").headers["location"].endswith("said=renewed")
    with furnished.engine.begin() as connection:
        connection.execute(sa.update(reviews).where(reviews.c.id == review).values(lease="2020-01-01T00:00:00Z"))
    assert rita.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review)).status_code == 409
    assert rita.post(f"/review/{review}/claim").status_code == 303, "and it can be taken again"


def test_an_edit_is_looked_at_anew_and_leaves_in_the_place_of_the_answer(
    furnished: Any, creator: str, rita: Any
) -> None:
    review = held(furnished, creator)
    rita.post(f"/review/{review}/claim")
    path, version = f"/review/{review}/edit", seen(furnished, review)["version"]
    blocked = rita.post(path, words="Say zzforbidden things", version=version)
    assert blocked.status_code == 400 and "blocks the edited text" in blocked.text
    assert "Say zzforbidden things" in blocked.text, "what was typed is not lost"
    saved = rita.post(path, words="Write to the editor.\r\nThank you.", version=version)
    place = saved.headers["location"].removesuffix("?said=edited")
    assert place != f"/review/{review}" and "Write to the editor." in rita.get(place).text
    new = place.rpartition("/")[2]
    rita.post(f"{place}/decide", decision="approve", **seen(furnished, new))
    answer = furnished.http(creator).get(f"/v1/outputs/{review}")
    assert answer.status_code == 200 and answer.json()["text"] == "Write to the editor.\nThank you."


def test_a_creator_learns_why_and_another_person_looks_on_appeal(
    furnished: Any, creator: str, rita: Any, ruben: Any
) -> None:
    review, maker = held(furnished, creator), furnished.guest(creator, "creator")
    rita.post(f"/review/{review}/claim")
    rita.post(f"/review/{review}/decide", decision="reject", reason="names <i>a person</i>", **seen(furnished, review))
    page = maker.get(f"/appeal/{review}").text
    assert "names &lt;i&gt;a person" in page and rita.name not in page and rita.id not in page
    other = furnished.guest(furnished.account(), "creator")
    assert other.get(f"/appeal/{review}").status_code == 404
    assert other.post(f"/appeal/{review}", reason="mine").status_code == 404
    assert rita.get(f"/appeal/{review}").status_code == 403
    assert maker.post(f"/appeal/{review}", reason="").status_code == 400 and state(furnished, review) == "rejected"
    assert maker.post(f"/appeal/{review}", reason="She agreed").headers["location"].endswith("said=appealed")
    assert maker.post(f"/appeal/{review}", reason="again").status_code == 409, "it waits already"
    assert rita.post(f"/review/{review}/claim").status_code == 409, "who decided before"
    ruben.post(f"/review/{review}/claim")
    assert "She agreed" in ruben.get(f"/review/{review}").text
    ruben.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review))
    assert furnished.http(creator).get(f"/v1/outputs/{review}").json()["text"] == SAID
    assert maker.post(f"/appeal/{review}", reason="more").status_code == 409, "nothing was refused now"


def test_what_was_erased_while_an_appeal_waits_cannot_be_approved(
    furnished: Any, creator: str, rita: Any, ruben: Any
) -> None:
    review, maker = held(furnished, creator), furnished.guest(creator, "creator")
    rita.post(f"/review/{review}/claim")
    rita.post(f"/review/{review}/decide", decision="reject", reason="no", **seen(furnished, review))
    maker.post(f"/appeal/{review}", reason="Look again")
    with furnished.engine.connect() as connection:
        output = outputs.find(connection, review)
    assert output is not None
    erasure.erase(furnished.engine, output.id, blobs=Blobs(furnished.home.blobs), actor="test")
    ruben.post(f"/review/{review}/claim")
    page = ruben.get(f"/review/{review}")
    assert page.status_code == 200 and "were erased on" in page.text and 'value="approve"' not in page.text
    assert ruben.get(f"/review/{review}/file").status_code == 404
    assert ruben.post(f"/review/{review}/decide", decision="approve", **seen(furnished, review)).status_code == 409
    ruben.post(f"/review/{review}/decide", decision="reject", reason="gone", **seen(furnished, review))
    assert state(furnished, review) == "rejected" and "Appeal</button>" not in maker.get(f"/appeal/{review}").text
    assert maker.post(f"/appeal/{review}", reason="again").status_code == 409


def test_a_picture_is_shown_as_it_would_leave_beside_the_one_it_is_like(
    furnished: Any, creator: str, rita: Any
) -> None:
    at = np.arange(64) // 16
    squares = np.repeat(((at[:, None] + at) % 2 * 200 + 20).astype(np.uint8)[:, :, None], 3, axis=2)
    file = codec.write(squares)
    blob, number = Blobs(furnished.home.blobs).put(file.data), f"out_{uuid.uuid4().hex}"
    row = outputs.Output(
        id=number, request=number, account=creator, release="tiny@v2", state="held", text="", finish="stop",
        findings=outputs.findings_text([Finding("nearest", "intellectual-property", 0.7, "like a training picture")]),
        policy="p", options="{}", seed=1, completion_units=1, created=clock.stamp(clock.now()), review=f"rev_{number}",
        blob=blob, mime="image/png", prompt=outputs.prompt_text([{"role": "user", "content": "squares"}]),
    )  # fmt: skip
    with furnished.engine.begin() as connection:
        outputs.insert(connection, row)
        queue.create(
            connection, Decision.HOLD, scenario="tiny", policy="p", blob=blob, output=number, review=row.review
        )
    path = f"/review/{row.review}"
    rita.post(f"{path}/claim")
    page, shown, like = rita.get(path).text, rita.get(f"{path}/file"), rita.get(f"{path}/nearest.png")
    assert f'<img class="piece" src="{path}/file"' in page and "dddddddddddddddd" in page
    assert shown.content == file.data and shown.headers["content-type"] == "image/png"
    assert "sandbox" in shown.headers["content-security-policy"] and "content-disposition" not in shown.headers
    small = codec.read(Media("image", "image/png", like.content))
    assert small.shape == (16, 16, 3) and small[0, 0, 0] == 0 and small[0, 4, 0] == 255, "four areas a square"
    assert "Edit the words" not in page
    assert rita.post(f"{path}/edit", words="no words", version="2").status_code == 400
    rita.post(f"{path}/decide", decision="approve", **seen(furnished, str(row.review)))
    assert furnished.http(creator).get(f"/v1/outputs/{number}/file").content == file.data


def test_twenty_reviewers_at_once_never_hold_the_same_item(furnished: Any) -> None:
    account = furnished.account(credit=0)
    items = {
        queue.create(furnished.engine, Decision.HOLD, scenario="crowd", policy="p", blob="a" * 64).id for _ in range(30)
    }
    crowd = [furnished.guest(account, "reviewer") for _ in range(20)]

    def work(reviewer: Any) -> list[str]:
        taken = []
        while "said=none" not in (place := reviewer.post("/review/next", scenario="crowd").headers["location"]):
            taken.append(place.rpartition("/")[2])
        return taken

    with ThreadPoolExecutor(len(crowd)) as pool:
        hands = list(pool.map(work, crowd))
    taken = [id for hand in hands for id in hand]
    assert len(taken) == 30 and set(taken) == items
    for reviewer, hand in zip(crowd, hands, strict=True):
        assert all(queue.find(furnished.engine, id).claimed_by == reviewer.id for id in hand)  # type: ignore[union-attr]
    assert sum(bool(hand) for hand in hands) > 1, "more than one of them had something"


# -- in a browser -------------------------------------------------------------------------------------------------
def arrives(tab: Page, path: str, *, told: str) -> None:
    """Wait for the page after a decision, which says what was done; its address says it only until it has been read."""
    tab.wait_for_url(re.compile(rf"{path}(\?said=\w+)?$"))
    expect(tab.get_by_text(told, exact=True)).to_be_visible()


def test_a_reviewer_works_by_keyboard_alone(furnished: Any, creator: str, rita: Any, tab: Page) -> None:
    with furnished.engine.begin() as connection:  # what other tests left in the queue is not theirs to decide
        connection.execute(sa.update(reviews).values(state="rejected").where(reviews.c.state != "released"))
    for _ in range(3):
        held(furnished, creator)
    first, second, third = (item.id for item in queue.waiting(furnished.engine))  # the oldest first
    rita.enter(tab, furnished.url)
    tab.goto(f"{furnished.url}/review")
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    expect(tab.locator(f"a[href='/review/{second}']")).to_be_focused()
    tab.keyboard.press("k")
    expect(tab.locator(f"a[href='/review/{first}']")).to_be_focused()
    tab.keyboard.press("n")
    tab.wait_for_url(f"**/review/{first}")
    tab.keyboard.press("a")
    expect(tab.get_by_role("button", name="Approve")).to_be_focused()
    expect(tab.locator("[data-told]")).to_have_text("Approve: Enter confirms.")
    tab.keyboard.press("Enter")
    arrives(tab, f"/review/{second}", told="Approved. It is released.")
    assert state(furnished, first) == "released"
    tab.keyboard.press("r")
    expect(tab.get_by_label("Reason")).to_be_focused()
    tab.keyboard.type("a private address, r and a are letters here")
    tab.keyboard.press("Control+Enter")
    arrives(tab, f"/review/{third}", told="Rejected.")
    assert state(furnished, second) == "rejected"
    tab.keyboard.press("?")
    expect(tab.get_by_label("Use these keys")).to_be_visible()
    tab.get_by_label("Use these keys").press("Space")
    tab.locator("main").focus()
    tab.keyboard.press("a")
    expect(tab.get_by_role("button", name="Approve")).not_to_be_focused()
    tab.reload()
    tab.keyboard.press("e")
    expect(tab.get_by_label("Reason")).not_to_be_focused()  # off stays off
    tab.get_by_label("Reason").focus()
    tab.keyboard.type("Unsure")
    for _ in range(3):
        tab.keyboard.press("Tab")
    expect(tab.get_by_role("button", name="Hand on")).to_be_focused()
    tab.keyboard.press("Enter")
    arrives(tab, "/review", told="Handed on to another person.")
    assert state(furnished, third) == "escalated"


def test_the_time_that_is_left_is_shown_and_runs_out(furnished: Any, creator: str, rita: Any, tab: Page) -> None:
    review = held(furnished, creator)
    rita.post(f"/review/{review}/claim")
    rita.enter(tab, furnished.url)
    tab.clock.install()
    tab.goto(f"{furnished.url}/review/{review}")
    tab.clock.run_for(13 * 60_000)
    expect(tab.get_by_text("In two minutes this goes back to the queue.")).to_be_visible()
    tab.get_by_role("button", name="Renew my time").click()
    expect(tab.get_by_text("In two minutes this goes back to the queue.")).to_be_hidden()
    tab.clock.run_for(16 * 60_000)
    expect(tab.get_by_text("Your time is over")).to_be_visible()
    expect(tab.get_by_role("button", name="Approve")).to_be_disabled()


@pytest.mark.parametrize(("language", "look"), [("en", "light"), ("zh", "dark")])
def test_review_can_be_read_by_everybody(
    furnished: Any, creator: str, rita: Any, tab: Page, language: str, look: str
) -> None:
    maker, review = furnished.guest(creator, "creator"), held(furnished, creator)
    rita.post(f"/review/{review}/claim")
    for who, path in ((rita, "/review"), (rita, f"/review/{review}"), (maker, f"/appeal/{review}")):
        who.enter(tab, furnished.url, language=language, look=look)
        for width in (1280, 390):
            tab.set_viewport_size({"width": width, "height": 800})
            tab.goto(furnished.url + path)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
        assert Axe().run(tab).response["violations"] == [], path
