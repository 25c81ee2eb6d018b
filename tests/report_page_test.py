"""Promises of a run's page: every part is there in every language, it loads nothing, words stay words, a browser shows
it whole."""

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.chinese import english

from spearhead.core.manifest import BarResult
from spearhead.core.sentence import said
from spearhead.metrics import exposure
from spearhead.pipeline.report import Facts, Picture, render

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIGNATURE = "ppl|longest-run-of-words|mean|training:11ded0a3|cases:200|set:47bfd548|bootstrap:1000|seed:0"
HOSTILE = "</dd><script>document.title='taken'</script><img src=https://example.invalid/x.png onerror=alert(1)>"
FACTS = Facts(
    title="A title",
    name="page",
    scenario_digest="0123" * 16,
    data_digest="4567" * 16,
    description="What it is for.",
    created="2026-11-22T00:00:00Z",
    verdict="foam",
    reasons=[said("release.verdict.nothing_accepted")],
    bars=[
        BarResult(
            "chrf",
            said("release.bar.beats", baseline="copy", p=0.05),
            said("release.bar.against", value=61.2, theirs=71.0, p=0.31),
            False,
        )
    ],
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
    economics=[
        (said("pipeline.economics.pieces"), said("pipeline.economics.made", pieces=200, accepted=190)),
        (said("pipeline.economics.cost"), "0.000123 USD"),
    ],
    arithmetic=[said("ledger.cost.machine", milliseconds=10, rate=360_000_000, currency="USD", cost=1_000)],
    price={"currency": "USD", "prompt": 200_000_000, "completion": 800_000_000, "unit": "token"},
    policy={"checks": ["terms", "personal"], "stream": "strict"},
    reviewed={"allow": 190, "approval": 0, "hold": 9, "block": 1},
    made_by={"python": "3.11.7"},
    model=[(said("models.pretrained.method"), said("models.pretrained.ranked", method="lora", rank=16))],
)


@pytest.fixture(scope="module")
def page() -> str:
    return render(FACTS)


def test_every_part_of_a_run_is_on_its_page(page: str) -> None:
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for part, told in {
        "verdict and reasons": ["foam", "no piece was accepted"],
        "bars": ["chrf better than copy (p &lt; 0.05) 61.2 against 71, p = 0.31 missed"],
        "scores, intervals, baselines": ["chrf 61.23 58.5 to 63.25 71.04 ahead p 0.31 45.5 p 0.001 higher"],
        "further measures": [f"perplexity 7.5 7.1 to 7.9 {SIGNATURE}"],
        "signatures": ["chrf|cases:200"],
        "samples side by side": ["this release 给出的话 reference wanted words copy"],
        "rights": ["files:a.csv CC-BY-4.0 train, sell 1,234 A. Person"],
        "counts and refusals": ["considered 1,300 train 1,200", "near-duplicate of held-out 17"],
        "layouts": ["Q8_0 5.0 173 0.0021 released"],
        "review": ["terms, personal", "allow 190, approval 0, hold 9, block 1"],
        "cost per accepted piece": ["cost per accepted 0.000123 USD", "machine: 10 ms x 0.36 USD an hour"],
        "what was learnt": ["method lora, rank 16"],
        "price": ["0.20 USD per million prompt tokens, 0.80 USD per million completion tokens"],
        "timings": ["train 210.2 scores 3.5"],
    }.items():
        for one in told:
            assert one in words, part
    assert page.count("<svg") == 1 and "validation" in page, "the curve of training and validation loss"
    assert "beside the trivial baselines" in words


def test_real_pictures_are_told_as_a_ceiling_and_pictures_are_counted_by_class() -> None:
    score = {"name": "frechet", "value": 9.0, "interval": None, "better": "lower", "signature": "", "p_values": {}}
    score |= {"baselines": {"real": 1.0, "mean": 20.0, "gaussian": 4.0}}
    data = {**FACTS.data, "classes": {"disc": {"train": 1200, "test": 7}, "三角": {"train": 30, "test": 6}}}
    told = render(dataclasses.replace(FACTS, scores=[score], ceilings=("real", "nearest"), data=data))
    words = re.sub(r"<[^>]+>", " ", told)
    assert re.search(r"frechet +9 .* 1 +20 +4 +ahead", words), "the Gaussian is ahead and has to be beaten"
    assert "real, nearest: real pictures of the training data" in words
    assert re.search(r"disc +1,200 +7 +三角 +30 +6", " ".join(words.split()))
    assert "real pictures" not in render(FACTS) and "Pictures of each class" not in render(FACTS)


def test_large_figures_are_written_out() -> None:
    score = {"name": "kid", "value": 55_262.3, "interval": (51_000.4, 61_234.5), "better": "lower", "signature": ""}
    told = render(dataclasses.replace(FACTS, scores=[{**score, "baselines": {"mean": 123_456.7}, "p_values": {}}]))
    words = " ".join(re.sub(r"<[^>]+>", " ", told).split())
    assert "kid 55,262 51,000 to 61,234 123,457 lower" in words and "e+0" not in words


def test_the_page_loads_nothing_and_words_stay_words(page: str) -> None:
    assert "<script" not in page and "<img src=https" not in page and page.count("&lt;script&gt;") == 2
    plain = re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert not re.findall(r"<(?:link|iframe|object|embed|base|form)\b|@import|url\(", plain)
    assert all(target.startswith("#") for target in re.findall(r'\b(?:src|href)="([^"]*)"', page))
    gold = render(dataclasses.replace(FACTS, verdict="gold", curve=(), layouts=(), extras=(), bars=()))
    assert "Nothing was trained" in gold and "<svg" not in gold


PLANTED = [
    exposure.measured(
        repeats,
        (1.0,) * canaries,
        (2.0, 3.0),
        possible=9.0,
        extracted=found,
        probes=4,
        passes=3.0,
        how="x",
        seed=0,
        draws=9,
    )
    for repeats, canaries, found in ((0, 2, 0), (1, 1, 1), (16, 3, 1), (16, 3, 2))
]
PICTURE = Picture("data:image/png;base64,AA==")
NEAR = {"nearest": PICTURE, "distance": 0.25, "nearer": 95.0}
OF_PICTURES = dataclasses.replace(
    FACTS,
    verdict="gold",
    samples=[
        {"input": "coat", "reference": PICTURE, "output": PICTURE, "baselines": {"copy": PICTURE}, "closest": NEAR}
    ],
    closest=[{"output": PICTURE, **NEAR}],
    judged=1000,
    canaries=[dataclasses.asdict(group) for group in PLANTED],
    claims=exposure.claims(PLANTED),
    alarm=exposure.alarm(PLANTED),
    curve=(),
    extras=(),
    price={**FACTS.price, "unit": "picture"},
    policy={"checks": [], "stream": "fast"},
    data={"counts": {}, "refusals": {"check:personal": 3, "no partner": 1}},
)
NAMES = "A title What it is for page coat chrf perplexity copy base lora Q8 files CC-BY-4 Person python"
"""What the facts hold that is a name, or that somebody wrote."""


@pytest.mark.parametrize("facts", [FACTS, OF_PICTURES])
def test_nothing_of_the_chinese_page_is_left_in_english(facts: Facts) -> None:
    page = render(facts, "zh")
    assert 'lang="zh-CN"' in page and english(page, *NAMES.split()) == []
    assert len(english(render(facts), *NAMES.split())) > 100, "of the English page everything is"


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
