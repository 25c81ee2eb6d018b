"""Promises of a run's page: every part is there, it loads nothing, words stay words, a browser shows it whole."""

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest

from spearhead.pipeline.report import Facts, render

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIGNATURE = "ppl|longest-run-of-words|mean|training:11ded0a3|cases:200|set:47bfd548|bootstrap:1000|seed:0"
HOSTILE = "</dd><script>document.title='taken'</script><img src=https://example.invalid/x.png onerror=alert(1)>"
FACTS = Facts(
    title="A title",
    name="page",
    version="scenario 0123, data 4567",
    description="What it is for.",
    created="2026-11-22T00:00:00Z",
    verdict="foam",
    reasons=["chrf missed its bar"],
    bars=[{"bar": "chrf beats copy", "wanted": "p < 0.05", "got": "p 0.31", "passed": False}],
    scores=[
        {
            "name": "chrf",
            "value": 61.23456,
            "interval": (58.5, 63.25),
            "better": "higher",
            "signature": "chrf|cases:200",
            "baselines": {"copy": 71.04, "base": 45.5},
            "p_values": {"copy": 0.31, "base": 0.001},
        }
    ],
    extras=[{"name": "perplexity", "value": 7.5, "interval": (7.1, 7.9), "better": "lower", "signature": SIGNATURE}],
    curve=[{"step": n, "loss": 3 - n / 10, "validation": 3.1 - n / 10 if n % 5 == 0 else None} for n in range(1, 21)],
    samples=[{"input": HOSTILE, "reference": "wanted words", "output": "给出的话", "baselines": {"copy": HOSTILE}}],
    credits=[
        {
            "source": "files:a.csv",
            "spdx": "CC-BY-4.0",
            "rights": ("train", "sell"),
            "records": 1234,
            "credit": "A. Person",
        }
    ],
    data={"counts": {"considered": 1300, "train": 1200}, "refusals": {"near-duplicate of held-out": 17}},
    layouts=[
        {"name": "Q8_0", "bytes": 5_000_000, "tokens_per_second": 173.4, "nats_per_token": 0.0021, "chosen": True}
    ],
    timings=[("train", 210.25), ("scores", 3.5)],
    economics={"pieces": "200 made, 190 accepted", "cost_per_accepted": "0.000123 USD"},
    price={"currency": "USD", "prompt": 200_000_000, "completion": 800_000_000, "unit": "token"},
    policy={"checks": ["terms", "personal"], "stream": "strict"},
    reviewed={"allow": 190, "approval": 0, "hold": 9, "block": 1},
    made_by={"python": "3.11.7"},
    model={"method": "lora", "steps": "20"},
)


@pytest.fixture(scope="module")
def page() -> str:
    return render(FACTS)


def test_every_part_of_a_run_is_on_its_page(page: str) -> None:
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for part, said in {
        "verdict and reasons": ["foam", "chrf missed its bar"],
        "bars": ["chrf beats copy p &lt; 0.05 p 0.31 missed"],
        "scores, intervals, baselines": ["chrf 61.23 58.5 to 63.25 71.04 ahead p 0.31 45.5 p 0.001 higher"],
        "further measures": [f"perplexity 7.5 7.1 to 7.9 {SIGNATURE}"],
        "signatures": ["chrf|cases:200"],
        "samples side by side": ["this release 给出的话 reference wanted words copy"],
        "rights": ["files:a.csv CC-BY-4.0 train, sell 1,234 A. Person"],
        "counts and refusals": ["considered 1,300 train 1,200", "near-duplicate of held-out 17"],
        "layouts": ["Q8_0 5.0 173 0.0021 released"],
        "review": ["terms, personal", "allow 190, approval 0, hold 9, block 1"],
        "cost per accepted piece": ["cost per accepted 0.000123 USD"],
        "price": ["0.20 USD per million prompt tokens, 0.80 USD per million completion tokens"],
        "timings": ["train 210.2 scores 3.5"],
    }.items():
        for one in said:
            assert one in words, part
    assert page.count("<svg") == 1 and "validation" in page, "the curve of training and validation loss"
    assert "beside the trivial baselines" in words


def test_the_page_loads_nothing_and_words_stay_words(page: str) -> None:
    assert "<script" not in page and "<img src=https" not in page and page.count("&lt;script&gt;") == 2
    plain = re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert not re.findall(r"<(?:link|iframe|object|embed|base|form)\b|@import|url\(", plain)
    assert all(target.startswith("#") for target in re.findall(r'\b(?:src|href)="([^"]*)"', page))
    gold = render(dataclasses.replace(FACTS, verdict="gold", curve=(), layouts=(), extras=(), bars=()))
    assert "Nothing was trained" in gold and "<svg" not in gold


def test_a_browser_shows_it_whole_on_any_screen_without_asking_the_network(
    page: str, tab: "Page", tmp_path: Any
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    for width, scheme in ((1280, "light"), (390, "dark")):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        tab.goto(file.as_uri())
        assert tab.title() == "A title: foam"
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nothing hangs over the side"
        row = tab.get_by_role("row", name="perplexity").bounding_box()
        assert row is not None and row["height"] < 200, "a long signature needs no column of single letters"
        chart = tab.locator("[role=img] svg").bounding_box()
        assert chart is not None and chart["width"] > 250 and chart["height"] > 90
    assert set(asked) == {file.as_uri()}
