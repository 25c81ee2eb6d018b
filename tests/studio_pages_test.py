"""Promises of the studio's pages, in a real browser over a real server."""

from typing import Any

from playwright.sync_api import Page

PASSWORD = "four words that differ"


def sign_in(tab: Page, server: Any, name: str) -> None:
    tab.goto(f"{server.url}/login")
    tab.get_by_label("Name").fill(name)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_label("Password").press("Enter")
    tab.get_by_role("button", name="Sign out").wait_for()


def test_a_person_signs_in_and_out_in_a_browser(served: Any, tab: Page) -> None:
    name = served.person(served.account(), "creator")
    sign_in(tab, served, name)
    assert tab.get_by_text(name).is_visible()
    tab.get_by_role("button", name="Sign out").click()
    assert tab.get_by_role("heading", name="Sign in").is_visible()
