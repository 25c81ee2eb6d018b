"""Promises of the studio's pages, in a real browser over a real server: to make, to look, to take along, to verify."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from spearhead.provenance import verify

PASSWORD = "four words that differ"
SEEN = """() => { const here = document.activeElement;
    return here === document.body || getComputedStyle(here).outlineStyle !== "none"; }"""


def sign_in(tab: Page, server: Any, name: str) -> None:
    tab.goto(f"{server.url}/login")
    tab.fill("#name", name)
    tab.fill("#password", PASSWORD)
    tab.press("#password", "Enter")
    tab.wait_for_selector("form[action='/logout']")


@pytest.fixture
def maker(served: Any, tab: Page) -> Page:
    """A tab in which a creator with credit is signed in."""
    served.guest(served.account(), "creator").enter(tab, served.url)
    return tab


def make(tab: Page, url: str, prompt: str, **fields: str) -> None:
    if not tab.url.startswith(f"{url}/make"):
        tab.goto(f"{url}/make")
    tab.get_by_label("Prompt", exact=True).fill(prompt)
    if fields.keys() - {"seed", "count"}:
        tab.locator("summary", has_text="Options").click()
    for name, value in fields.items():
        tab.fill(f"[name={name}]", value)
    tab.get_by_role("button", name="Make", exact=True).click()


def test_a_browser_that_is_up_leaves_other_tests_their_own_event_loops(chromium: Any) -> None:
    asyncio.run(asyncio.sleep(0))


def test_a_person_signs_in_and_out_in_a_browser(served: Any, tab: Page) -> None:
    name = served.person(served.account(), "creator")
    sign_in(tab, served, name)
    expect(tab.get_by_text(name)).to_be_visible()
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()


def test_what_is_made_is_in_the_gallery_leaves_with_its_label_and_verifies(
    served: Any, maker: Page, tmp_path: Path
) -> None:
    make(maker, served.url, "Tell me of the fox", seed="7")
    card = maker.locator(".work[data-state=done]")
    expect(card.locator(".draft")).to_have_text("The quick brown fox.")
    expect(card.get_by_text("AI", exact=True)).to_be_visible()
    expect(card.locator(".pill")).to_have_text("Done")
    expect(card.get_by_text("Seed 7", exact=True)).to_be_visible()
    card.get_by_role("link", name="Details").click()
    expect(maker.get_by_role("heading", name="Tell me of the fox")).to_be_visible()
    expect(maker.locator("dl.facts").first).to_contain_text("tiny@v1")
    with maker.expect_download() as taken:
        maker.get_by_role("link", name="Download with its label").click()
    file = tmp_path / taken.value.suggested_filename
    taken.value.save_as(file)
    layers = {layer.name: layer.state for layer in verify.verify(file.read_bytes())}
    assert layers["c2pa"] == layers["gb45438"] == "valid"
    maker.goto(f"{served.url}/verify")
    maker.get_by_label("File").set_input_files(file)
    maker.get_by_role("button", name="Look at the labels").click()
    expect(maker.get_by_text("This file says that AI made it, and its label holds.")).to_be_visible()
    expect(maker.get_by_text("Relied on: C2PA, GB 45438")).to_be_visible()


@pytest.mark.parametrize(
    ("language", "footer", "sign"),
    [
        ("en", "Texts and pictures here are made by AI. Every file that leaves carries a label", "Made by AI"),
        ("zh", "这里的文字和图片由人工智能生成。每个导出的文件都带有相应的标识。", "由人工智能生成"),
    ],
)
def test_whoever_sees_what_was_made_is_told_that_ai_made_it(served: Any, language: str, footer: str, sign: str) -> None:
    account = served.account()
    guest = served.guest(account, "creator", "reviewer")
    client: httpx.Client = served.http(account)

    def look(path: str) -> str:
        cookie = f"spearhead={guest.secret}; language={language}"
        answer = guest.http.get(path, headers={"cookie": cookie})
        assert answer.status_code == 200, path
        page, _, bottom = answer.text.partition('<footer class="bottom">')
        assert footer in bottom, path
        return re.sub(r"\s+", " ", page)

    def make(prompt: str) -> httpx.Headers:
        return client.post("/v1/completions", json={"model": "tiny", "prompt": prompt}).headers

    one, two = (make(f"{word} fox")["x-spearhead-output"] for word in ("first", "second"))
    tile, signed = f'<span class="ai" title="{sign}">AI</span>', f'<span class="ai">AI</span>{sign}'
    assert look("/gallery").count(tile) == 2
    assert look(f"/gallery/{one}").count(signed) == 1
    assert look(f"/gallery/compare?one={one}&one={two}").count(signed) == 2
    review = make("Write the letter #")["x-review-id"]
    assert look(f"/review/{review}").count(signed) == 1
    for path in ("/make", "/usage", "/verify", "/scenarios", "/review"):
        look(path)


def test_parameters_are_recalled_and_give_the_same_answer(served: Any, maker: Page) -> None:
    make(maker, served.url, "heads or tails ?", seed="11", temperature="1", max_tokens="12")
    first = maker.locator(".work[data-state=done] .draft").inner_text()
    maker.locator(".work a", has_text="Details").click()
    maker.get_by_role("link", name="Make again with these").click()
    expect(maker.get_by_label("Prompt", exact=True)).to_have_value("heads or tails ?")
    expect(maker.get_by_label("Seed")).to_have_value("11")
    expect(maker.locator("[name=max_tokens]")).to_have_value("12")
    maker.get_by_role("button", name="Make", exact=True).click()
    again = maker.locator(".work[data-state=done] .draft")
    expect(again).to_have_count(2)
    assert again.first.inner_text() == first


def test_each_answer_shows_its_own_seed_and_what_waits_for_a_person_is_not_called_done(
    served: Any, maker: Page
) -> None:
    make(maker, served.url, "heads or tails ?", seed="11", count="2")
    card = maker.locator(".work[data-state=done]")
    expect(card.locator(".answer").get_by_text("Seed")).to_have_text(["Seed 11", "Seed 12"])
    make(maker, served.url, "Whom do I write to? #", count="2", seed="")
    waits = maker.locator(".work[data-state=done]").first
    expect(waits.get_by_text("Waits for a person to look at it.")).to_have_count(2)
    expect(waits.locator(".pill")).to_have_text("Waits for review")
    maker.context.add_cookies([{"name": "language", "value": "zh", "url": served.url}])
    maker.reload()
    expect(waits.locator(".pill")).to_have_text("待审核")
    expect(card.last.locator(".answer").get_by_text("随机种子")).to_have_text(["随机种子 11", "随机种子 12"])


def test_drafts_appear_while_they_are_written_and_a_cancelled_one_is_kept_and_charged_as_counted(
    served: Any, maker: Page
) -> None:
    with served.slowly():
        make(maker, served.url, "walk on ~", max_tokens="3000")
        draft = maker.locator(".work[data-state=running] .draft")
        expect(draft).to_contain_text("onward we walk on and onward")
        maker.locator(".work").get_by_role("button", name="Cancel").click()
        card = maker.locator(".work[data-state=cancelled]")
        expect(card.get_by_text("stopped early; what was made is kept")).to_be_visible()
    kept = card.locator(".draft").inner_text()
    cost = card.get_by_text("USD for").inner_text()
    units = int(re.findall(r"for (\d+) tokens", cost)[0])
    assert 5 < units < 2990
    assert len(kept.split()) <= units
    amount = int(round(float(cost.split()[0]) * 1e9))
    prompt = (amount - units * 800) / 200
    assert prompt == int(prompt) and 5 < prompt < 40  # tokens of the prompt, at their own price


def test_a_list_goes_into_the_line_and_all_of_it_can_be_cancelled(served: Any, maker: Page, tmp_path: Path) -> None:
    maker.goto(f"{served.url}/make")
    file = tmp_path / "prompts.csv"
    file.write_text('prompt,note\n"walk, and on ~",1\nwalk ~,2\n"third ~",3\nfourth ~,4\n', "utf-8")
    maker.locator("summary", has_text="Many prompts").click()
    maker.locator("summary", has_text="Options").click()
    maker.fill("[name=max_tokens]", "3000")
    maker.get_by_label("Or a file").set_input_files(file)
    with served.slowly():
        maker.get_by_role("button", name="Make", exact=True).click()
        expect(maker.locator(".work")).to_have_count(4)
        expect(maker.locator(".work[data-state=running]")).to_have_count(2)
        expect(maker.locator(".work[data-state=waiting]")).to_have_count(2)
        maker.get_by_role("button", name="Cancel all").click()
        expect(maker.locator(".work[data-state=cancelled]")).to_have_count(4)
    maker.get_by_role("button", name="Clear what is done").click()
    expect(maker.locator(".work")).to_have_count(0)


def test_the_gallery_is_searched_compared_traced_and_erased(served: Any, maker: Page) -> None:
    for prompt in ("first fox", "second walk ~"):
        make(maker, served.url, prompt)
    expect(maker.locator(".work[data-state=done]")).to_have_count(2)
    maker.goto(f"{served.url}/gallery")
    expect(maker.locator(".tile")).to_have_count(2)
    maker.get_by_label("Words of the prompt").fill("QUICK")
    maker.get_by_role("button", name="Search").click()
    expect(maker.locator(".tile h2")).to_have_text(["first fox"])
    maker.get_by_role("link", name="Show everything").click()
    expect(maker.locator(".tile")).to_have_count(2)
    for box in maker.get_by_role("checkbox").all():
        box.check()
    maker.get_by_role("button", name="Compare two").click()
    expect(maker.locator("mark").first).to_be_visible()
    maker.locator("h2 a", has_text="first fox").click()
    maker.get_by_role("link", name="Where it comes from").click()
    expect(maker.get_by_role("row", name=re.compile("CC0-1.0.*nobody"))).to_be_visible()
    maker.go_back()
    maker.locator("summary", has_text="Erase").click()
    maker.get_by_role("button", name="Erase for good").click()
    expect(maker.get_by_text(re.compile("^Erased on"))).to_be_visible()
    maker.goto(f"{served.url}/gallery?words=fox")
    expect(maker.get_by_text("Nothing fits.")).to_be_visible()


def test_the_name_of_what_is_made_is_shown_whole_on_any_screen(serve_tiny: Any, tab: Page) -> None:
    title = "Archaic English to modern English, verse by verse, with what each word meant then"
    server = serve_tiny(title=title)
    server.guest(server.account(), "creator").enter(tab, server.url)
    inside = """(box) => { const text = document.createRange(); text.selectNodeContents(box);
        const one = text.getBoundingClientRect(), all = box.getBoundingClientRect();
        return one.left >= all.left && one.right <= all.right && one.bottom <= all.bottom; }"""
    for width in (360, 1280):
        tab.set_viewport_size({"width": width, "height": 800})
        tab.goto(f"{server.url}/make")
        chosen = tab.locator("#scenario summary")
        expect(chosen).to_contain_text(title)
        assert chosen.evaluate(inside), width
    chosen.press("Enter")
    tab.get_by_role("link", name=title).press("Enter")
    expect(tab).to_have_url(f"{server.url}/make?scenario=tiny")
    expect(tab.get_by_label("Prompt", exact=True)).to_be_visible()


def test_everything_works_without_a_mouse(served: Any, tab: Page) -> None:
    """From the address bar to an answer's details with the keyboard alone."""
    name = served.person(served.account(), "creator")
    tab.goto(f"{served.url}/make")
    expect(tab.locator("#name")).to_be_focused()
    tab.keyboard.type(name)
    tab.keyboard.press("Tab")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/make")

    def walk_to(wanted: Callable[[], bool], *, most: int = 40) -> None:
        for _ in range(most):
            tab.keyboard.press("Tab")
            assert tab.evaluate(SEEN), "the focus must be seen"
            if wanted():
                return
        raise AssertionError("the keyboard does not lead there")

    def at(selector: str) -> Callable[[], bool]:
        return lambda: bool(tab.evaluate("(s) => document.activeElement.matches(s)", selector))

    tab.keyboard.press("Tab")
    assert at(".skip")()
    tab.keyboard.press("Enter")
    walk_to(at("#prompt"))
    tab.keyboard.type("fox by hand")
    tab.keyboard.press("Control+Enter")
    tab.wait_for_selector(".work[data-state=done]")
    walk_to(lambda: tab.evaluate("() => document.activeElement.innerText") == "Details")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="fox by hand")).to_be_visible()


def test_the_page_works_without_scripts(served: Any, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        tab = context.new_page()
        sign_in(tab, served, served.person(served.account(), "creator"))  # signing in needs none either
        tab.goto(f"{served.url}/make")
        tab.fill("#prompt", "without scripts")
        tab.click("#send")
        expect(tab.locator(".work")).to_contain_text("without scripts")
        while "quick brown fox" not in tab.locator(".work").inner_text():
            tab.reload()
        tab.goto(f"{served.url}/gallery")
        tab.get_by_role("link", name="without scripts").click()
        expect(tab.locator(".words").first).to_have_text(re.compile("quick brown fox"))
    finally:
        context.close()


@pytest.fixture(scope="module")
def worked(served: Any) -> tuple[Any, list[str]]:
    """A person with two outputs and one that is held, and the pages of theirs that there are to look at."""
    guest = served.guest(served.account(), "creator")
    numbers = []
    headers = {"authorization": f"Bearer {served.key(guest.account).secret}"}
    for words in ("fox", "walk ~", "mail #"):
        body = {"model": "tiny", "prompt": words, "max_tokens": 20}
        answer = guest.http.post("/v1/completions", json=body, headers=headers)
        numbers.append(answer.headers["x-spearhead-output"])
    one, two, held = numbers
    paths = [
        "/make",
        "/gallery",
        f"/gallery/{one}",
        f"/gallery/{held}",
        f"/gallery/{one}/trace",
        f"/gallery/compare?one={one}&one={two}",
        "/verify",
        "/password",
        "/nowhere",
    ]
    return guest, paths


@pytest.mark.parametrize(
    ("language", "look", "rules"),
    [("en", "light", None), ("zh", "dark", ["color-contrast", "html-has-lang", "label", "link-name", "button-name"])],
)
def test_every_page_passes_axe(
    served: Any, tab: Page, worked: tuple[Any, list[str]], language: str, look: str, rules: list[str] | None
) -> None:
    """All rules once, and in the other light and language those that either can break."""
    guest, paths = worked
    only = {"runOnly": {"type": "rule", "values": rules}} if rules else None
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(f"{served.url}/login")
    problems, passed = [], set[str]()
    for path in ("/login", *paths):
        guest.enter(tab, served.url, language=language, look=look)
        if path != "/login":
            tab.goto(f"{served.url}{path}", wait_until="domcontentloaded")
        found = Axe().run(tab, options=only).response
        problems += [(path, one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
        passed |= {one["id"] for one in found["passes"]}
        wide = tab.evaluate("() => document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"{path} is wider than a telephone"
    assert problems == []
    assert passed >= set(rules or ("color-contrast", "region", "landmark-one-main", "label", "list"))
    assert tab.get_attribute("html", "lang") == {"en": "en", "zh": "zh-CN"}[language]
