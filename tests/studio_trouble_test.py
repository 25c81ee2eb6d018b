"""Promises of the studio's pages when things go wrong, in a real browser: nothing typed is lost, nothing is done twice,
and the page says what happened and what to do next."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from tests.conftest import Guest, Served

from spearhead.ledger import keys
from spearhead.store import tables


@pytest.fixture
def creator(served: Served, tab: Page) -> Guest:
    """Somebody with credit who has Make open."""
    guest = served.guest(served.account(), "creator")
    guest.enter(tab, served.url)
    tab.goto(f"{served.url}/make")
    return guest


def prompt(tab: Page) -> Any:
    return tab.get_by_label("Prompt", exact=True)


def end_session(served: Served, guest: Guest) -> None:
    with served.engine.begin() as connection:
        connection.execute(tables.sessions.delete().where(tables.sessions.c.person == guest.id))


def come_again(served: Served, guest: Guest, tab: Page) -> None:
    """The same person, with another session."""
    again = served.guest(guest.account, "creator")
    with served.engine.begin() as connection:
        theirs = tables.sessions.c.person == again.id
        connection.execute(tables.sessions.update().where(theirs).values(person=guest.id))
    again.enter(tab, served.url)


def test_what_was_typed_outlives_a_reload_and_a_look_at_another_page_and_goes_with_signing_out(
    served: Served, creator: Guest, tab: Page
) -> None:
    prompt(tab).fill("a long thought")
    tab.locator("summary", has_text="Options").click()
    tab.fill("[name=max_tokens]", "7")
    tab.reload()
    expect(prompt(tab)).to_have_value("a long thought")
    expect(tab.locator("[name=max_tokens]")).to_have_value("7")
    expect(tab.locator("[name=max_tokens]")).to_be_visible()
    tab.get_by_role("link", name="Gallery").click()
    expect(tab).to_have_url(f"{served.url}/gallery")
    tab.get_by_role("link", name="Make", exact=True).first.click()
    expect(prompt(tab)).to_have_value("a long thought")
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    creator = served.guest(creator.account, "creator")
    creator.enter(tab, served.url)
    tab.goto(f"{served.url}/make")
    expect(prompt(tab)).to_have_value("")
    assert "thought" not in tab.evaluate("() => JSON.stringify(sessionStorage)")


def test_what_somebody_else_typed_in_this_window_is_shown_to_nobody(served: Served, creator: Guest, tab: Page) -> None:
    prompt(tab).fill("of the first")
    end_session(served, creator)
    other = served.guest(creator.account, "creator")
    other.enter(tab, served.url)
    tab.goto(f"{served.url}/make")
    expect(prompt(tab)).to_have_value("")
    assert "first" not in tab.evaluate("() => JSON.stringify(sessionStorage)")


def test_a_session_that_is_over_is_told_where_the_work_is_and_costs_no_word(
    served: Served, creator: Guest, tab: Page
) -> None:
    prompt(tab).fill("still here")
    end_session(served, creator)
    tab.get_by_role("button", name="Make", exact=True).click()
    told = tab.locator("#problem")
    expect(told).to_contain_text("You are signed out")
    expect(prompt(tab)).to_have_value("still here")
    told.get_by_role("link", name="Sign in").click()
    expect(tab).to_have_url(re.compile(r"/login\?next=/make"))
    come_again(served, creator, tab)
    tab.goto(f"{served.url}/make")
    expect(prompt(tab)).to_have_value("still here")


def test_a_form_goes_on_when_its_person_has_signed_in_anew_in_another_window(
    served: Served, creator: Guest, tab: Page
) -> None:
    prompt(tab).fill("fox of the old form")
    end_session(served, creator)
    come_again(served, creator, tab)
    tab.get_by_role("button", name="Make", exact=True).click()
    expect(tab.locator(".work[data-state=done] .draft")).to_have_text("The quick brown fox.")


def test_a_line_says_that_nobody_is_signed_in_and_goes_on_when_somebody_is(
    served: Served, creator: Guest, tab: Page
) -> None:
    expect(tab.locator("#touch-lost")).to_be_hidden()
    end_session(served, creator)
    tab.evaluate("() => listen()")  # the stream ends by itself within a quarter of a minute
    expect(tab.locator("#touch-out")).to_contain_text("You are signed out")
    come_again(served, creator, tab)
    expect(tab.locator("#touch-out")).to_be_hidden()


def test_without_an_answer_the_page_says_so_and_keeps_what_was_typed(served: Served, creator: Guest, tab: Page) -> None:
    prompt(tab).fill("into the dark")
    tab.context.set_offline(True)
    tab.get_by_role("button", name="Make", exact=True).click()
    expect(tab.locator("#problem")).to_contain_text("No answer came from the server")
    expect(prompt(tab)).to_have_value("into the dark")
    assert tab.url == f"{served.url}/make"
    tab.context.set_offline(False)
    tab.get_by_role("button", name="Make", exact=True).click()
    expect(tab.locator(".work[data-state=done]")).to_have_count(1)
    expect(tab.locator("#problem")).to_be_hidden()


def test_a_prompt_sent_before_the_one_ahead_of_it_was_taken_is_not_lost(
    served: Served, creator: Guest, tab: Page
) -> None:
    make = tab.get_by_role("button", name="Make", exact=True)
    on_the_way: list[Route] = []
    tab.route("**/make", lambda route: route.continue_() if on_the_way else on_the_way.append(route))
    prompt(tab).fill("one fox")
    make.dblclick()
    prompt(tab).fill("two walks")
    make.click()
    while not on_the_way:
        tab.wait_for_timeout(20)
    expect(make).to_have_attribute("aria-busy", "true")
    expect(tab.locator(".work")).to_have_count(0)
    on_the_way[0].continue_()
    expect(tab.locator(".work[data-state=done]")).to_have_count(2)
    expect(tab.locator(".work .asked")).to_have_text(["two walks", "one fox"])
    expect(make).not_to_have_attribute("aria-busy", "true")


def test_a_cancel_that_no_answer_came_to_is_told(served: Served, creator: Guest, tab: Page) -> None:
    tab.locator("summary", has_text="Options").click()
    tab.fill("[name=max_tokens]", "3000")
    prompt(tab).fill("walk on ~")
    with served.slowly():
        tab.get_by_role("button", name="Make", exact=True).click()
        cancel = tab.locator(".work[data-state=running]").get_by_role("button", name="Cancel")
        tab.route("**/make/cancel", lambda route: route.abort())
        cancel.click()
        expect(tab.locator("#problem")).to_contain_text("No answer came from the server")
        tab.unroute("**/make/cancel")
        tab.get_by_role("button", name="Cancel all").click()
        expect(tab.locator(".work[data-state=cancelled]")).to_have_count(1)
    expect(tab.get_by_role("button", name="Cancel all")).to_be_hidden()
    tab.get_by_role("button", name="Clear what is done").press("Enter")
    expect(tab.locator("#line-title")).to_be_focused()


def test_what_there_is_to_spend_is_told_anew_when_work_is_done(served: Served, creator: Guest, tab: Page) -> None:
    before = tab.locator("#balance").inner_text()
    prompt(tab).fill("fox")
    tab.get_by_role("button", name="Make", exact=True).click()
    expect(tab.locator(".work[data-state=done]")).to_have_count(1)
    expect(tab.locator("#balance")).not_to_have_text(before)
    assert tab.locator("#balance").inner_text().startswith("You have 0.99")


def test_two_windows_show_one_line_and_a_hidden_one_holds_no_connection(
    served: Served, creator: Guest, tab: Page
) -> None:
    other = tab.context.new_page()
    other.goto(f"{served.url}/make")
    prompt(tab).fill("seen twice")
    tab.get_by_role("button", name="Make", exact=True).click()
    expect(other.locator(".work[data-state=done]")).to_contain_text("seen twice")
    hide = """(hidden) => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")); return news === null; }"""
    assert other.evaluate(hide, True) is True
    tab.get_by_role("button", name="Clear what is done").click()
    expect(tab.locator(".work")).to_have_count(0)
    expect(other.locator(".work")).to_have_count(1)
    assert other.evaluate(hide, False) is False
    expect(other.locator(".work")).to_have_count(0)


# -- forms that leave the page ------------------------------------------------------------------------------------
@pytest.fixture
def operator(served: Served, tab: Page) -> Guest:
    """Somebody who runs the place, at their own account's page."""
    guest = served.guest(served.account(), "operator")
    guest.enter(tab, served.url)
    tab.goto(f"{served.url}/keys/accounts/{guest.account}")
    return guest


def test_a_double_click_makes_one_key(served: Served, operator: Guest, tab: Page) -> None:
    tab.locator("summary", has_text="Make a key").click()
    tab.get_by_label("Name").fill("shop")
    tab.get_by_role("button", name="Make a key").dblclick()
    expect(tab.locator("#secret")).to_be_visible()
    with served.engine.connect() as connection:
        assert len(keys.of_account(connection, operator.account)) == 1


def test_a_mistake_in_a_form_leads_back_to_it_with_what_was_typed(served: Served, operator: Guest, tab: Page) -> None:
    tab.locator("summary", has_text="Give credit").click()
    tab.get_by_label("Amount").fill("plenty")
    tab.get_by_label("What for").fill("a welcome")
    tab.get_by_role("button", name="Give credit").click()
    expect(tab.get_by_text("This cannot be done so")).to_be_visible()
    tab.get_by_role("link", name="Back to the page before").click()
    expect(tab.get_by_label("Amount")).to_have_value("plenty")
    expect(tab.get_by_label("What for")).to_have_value("a welcome")
    expect(tab.get_by_label("Amount")).to_be_visible()
    tab.get_by_label("Amount").fill("2")
    tab.get_by_role("button", name="Give credit").click()
    expect(tab.get_by_text("The credit is given.")).to_be_visible()
    expect(tab.get_by_label("Amount")).to_have_value("")
    tab.reload()
    expect(tab.get_by_text("The credit is given.")).to_have_count(0)


def test_a_key_is_blocked_only_after_a_question(served: Served, operator: Guest, tab: Page) -> None:
    key = served.key(operator.account).key
    tab.reload()
    tab.get_by_label(f"Block the key {key.name}").press("Enter")
    expect(tab.get_by_text("A blocked key never works again.")).to_be_visible()
    with served.engine.connect() as connection:
        assert keys.of_account(connection, operator.account)[0].blocked is None
    tab.get_by_role("button", name="Block it for good").press("Enter")
    expect(tab.get_by_text("The key is blocked.")).to_be_visible()


def test_another_language_on_what_a_form_answered_shows_the_page_of_the_form(
    served: Served, operator: Guest, tab: Page
) -> None:
    tab.locator("summary", has_text="Make a key").click()
    tab.get_by_label("Name").fill("shop")
    tab.get_by_role("button", name="Make a key").click()
    expect(tab.locator("#secret")).to_be_visible()
    tab.get_by_label("Language").select_option("zh")
    expect(tab).to_have_url(f"{served.url}/keys/accounts/{operator.account}")
    expect(tab.locator("html")).to_have_attribute("lang", "zh-CN")


def test_the_way_on_from_a_page_of_trouble(served: Served, creator: Guest, tab: Page) -> None:
    tab.goto(f"{served.url}/gallery")
    tab.evaluate("() => location.assign('/gallery/out_nothing')")
    tab.get_by_role("link", name="Back to the page before").click()
    expect(tab).to_have_url(f"{served.url}/gallery")
    elsewhere = {"referer": "http://elsewhere.example/gallery"}
    assert "Back to the page before" not in creator.http.get("/nowhere", headers=elsewhere).text
    doubled = {"referer": f"{served.url}//elsewhere.example"}
    assert "elsewhere" not in creator.http.get("/nowhere", headers=doubled).text
    end_session(served, creator)
    posted = creator.http.post("/manner", data={"token": "x"}, headers={"referer": f"{served.url}/gallery?words=a%20b"})
    assert posted.status_code == 403
    gone = creator.http.post("/make/clear", headers={"referer": f"{served.url}/gallery?words=a%20b"})
    assert gone.status_code == 401 and 'href="/login?next=%2Fgallery%3Fwords%3Da%2520b"' in gone.text


def test_a_comparison_asks_for_two_before_it_is_sent(served: Served, creator: Guest, tab: Page) -> None:
    for words in ("one", "two", "three"):
        body = {"model": "tiny", "prompt": words, "max_tokens": 5}
        headers = {"authorization": f"Bearer {served.key(creator.account).secret}"}
        assert creator.http.post("/v1/completions", json=body, headers=headers).status_code == 200
    tab.goto(f"{served.url}/gallery")
    boxes, told = tab.get_by_role("checkbox"), tab.locator("[data-picked]")
    compare = tab.get_by_role("button", name="Compare two")
    for number, said in ((0, "tick one more"), (1, "Two are ticked"), (2, "tick fewer")):
        boxes.nth(number).check()
        expect(told).to_contain_text(said)
    expect(compare).to_be_in_viewport()
    compare.press("Enter")
    expect(tab).to_have_url(f"{served.url}/gallery")
    boxes.nth(2).uncheck()
    compare.press("Enter")
    expect(tab.get_by_role("heading", name="Compare two")).to_be_visible()
    tab.go_back()
    expect(boxes.first).to_be_visible()
