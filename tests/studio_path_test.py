"""The whole path in real browsers: somebody makes, review holds, somebody else approves, the file leaves with its label
and verifies, and the invoice asks for exactly that.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, expect
from tests.conftest import other_readers

from spearhead.core import digest, money
from spearhead.engine import outputs
from spearhead.ledger import billing, invoices, journal, limits, plans, usage
from spearhead.ledger.plans import Plan

PROMPT, COMPLETION = 200, 800
"""Billionths for a token of each."""


def test_make_hold_approve_download_verify_invoice(furnished: Any, tab: Page, browser: Any, tmp_path: Path) -> None:
    account = furnished.account(credit=0)
    plans.offer(furnished.engine, Plan("pay-later", "USD", owing=5 * money.BILLION), actor="test")
    plans.subscribe(furnished.engine, account, "pay-later")
    maker = furnished.guest(account, "creator")
    rita = furnished.guest(furnished.account(credit=0), "reviewer")

    # Make: the answer names an address, so it waits.
    maker.enter(tab, furnished.url)
    tab.goto(f"{furnished.url}/make")
    tab.get_by_role("textbox", name="Prompt", exact=True).fill("Whom do I write to? #")
    tab.get_by_role("button", name="Make", exact=True).click()
    expect(tab.get_by_text("Waits for a person to look at it.")).to_be_visible()
    expect(tab.locator("main")).not_to_contain_text("ada@example.org")
    tab.get_by_role("link", name="Details").click()
    tab.wait_for_url("**/gallery/out_*")
    number = tab.url.rpartition("/")[2]
    tab.get_by_role("link", name="See how the review stands").click()
    expect(tab.get_by_role("heading", name="Your piece in review")).to_be_visible()
    review = tab.evaluate("location.pathname").rpartition("/")[2]
    assert review == number

    # Approve: somebody else sees what was asked and the very bytes.
    context = browser.new_context(locale="en-GB")
    desk = context.new_page()
    rita.enter(desk, furnished.url)
    with furnished.engine.connect() as connection:
        output = outputs.find(connection, number)
    assert output is not None and output.review is not None and output.blob is not None
    desk.goto(f"{furnished.url}/review")
    desk.locator(f"a[href='/review/{output.review}']").click()
    desk.get_by_role("button", name="Take it").click()
    expect(desk.get_by_text("Whom do I write to? #")).to_be_visible()
    expect(desk.locator(".words mark").first).to_have_text("ada@example.org")
    expect(desk.get_by_text(output.blob)).to_be_visible()
    desk.get_by_label("then take the next one").uncheck()
    desk.get_by_role("button", name="Approve").click()
    expect(desk.get_by_text("Approved. It is released.")).to_be_visible()
    context.close()

    # Download: with its label, byte for byte what was approved.
    tab.goto(f"{furnished.url}/gallery/{number}")
    with tab.expect_download() as taken:
        tab.get_by_role("link", name="Download with its label").click()
    file = tmp_path / taken.value.suggested_filename
    taken.value.save_as(file)
    assert digest.of_file(file) == output.blob and b"ada@example.org" in file.read_bytes()
    other_readers(file, "text/plain", number=number)

    # Verify: anybody may, and is told what it rests on.
    stranger = browser.new_context(locale="en-GB")
    public = stranger.new_page()
    public.goto(f"{furnished.url}/verify")
    public.get_by_label("File").set_input_files(file)
    public.get_by_role("button", name="Look at the labels").click()
    expect(public.get_by_text("Relied on: C2PA, GB 45438")).to_be_visible()
    stranger.close()
    answer = httpx.post(f"{furnished.url}/v1/verify", content=file.read_bytes(), timeout=60)
    assert answer.status_code == 200 and answer.json()["holds"] is True

    # Invoice: what was used, at its price, and nothing else.
    (line,) = usage.report(furnished.engine, account=account)
    assert line.amount == PROMPT * line.prompt_units + COMPLETION * line.completion_units > 0
    hands = billing.Hands(datetime.now(UTC) + timedelta(days=32))
    (made,) = billing.run(furnished.engine, account=account, clock=hands)
    assert sum(one.exact for one in made.lines) == line.amount
    tab.goto(f"{furnished.url}/usage")
    expect(tab.get_by_text(f"{money.show(line.amount)} USD in 30 days")).to_be_visible()
    tab.goto(f"{furnished.url}/usage?by=key")
    expect(tab.get_by_role("row", name=maker.name)).to_contain_text(money.show(line.amount))
    for form, begins in (("PDF", b"%PDF"), ("CSV", b"invoice,account"), ("JSON", b'{"account"')):
        with tab.expect_download() as taken:
            tab.get_by_role("link", name=f"Invoice {made.number} as {form}").click()
        assert Path(taken.value.path()).read_bytes().startswith(begins)
    for check in (journal.check, usage.check, invoices.check, limits.check):
        assert check(furnished.engine) == []
