"""What every metric in the catalogue promises, third-party ones included."""

import random
import subprocess
import sys

import numpy as np
import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.score import Case, Metric
from spearhead.metrics.evaluate import evaluate

METRICS = Catalogue("spearhead.metrics", "METRIC")
ALONE = [name for name in METRICS if not hasattr(METRICS[name], "bind")]
"""Metrics that need nothing but the cases; those that are bound to data first are tested in their own folders."""
ENGLISH = [
    ("Yesterday Ruth gleaned 12 sheaves of barley.", "She carried 12 sheaves of barley to old Ruth."),
    ("Bright stars shone above Bethlehem while shepherds slept.", "Over Bethlehem every bright star was shining."),
    ("No merchant could sell him any cheaper cloth.", "Cheaper cloth was sold nowhere in this town."),
    ("Their boat reached an island after nine days.", "Nine days later they landed upon some island."),
]
CHINESE = [
    ("昨天她收了12捆大麦。", "她昨日收割了12捆大麦回家。"),
    ("夜空中星光照耀着小镇。", "小镇上空，繁星闪烁不停。"),
    ("没有商人肯便宜卖给他布。", "城里谁也不愿低价出售布料。"),
    ("他们航行九日到达海岛。", "九天之后，船终于靠岸登陆。"),
]


def cases(pairs: list[tuple[str, str]]) -> list[Case]:
    """Perfect outputs."""
    return [Case(text(given), text(wanted), text(wanted)) for given, wanted in pairs]


def spoilt(found: list[Case], how: str) -> list[Case]:
    """The same cases with worse outputs: all alike and invented, or empty, or words in disorder."""
    rng = random.Random(0)

    def worse(case: Case) -> str:
        if how == "empty":
            return ""
        if how == "invented":
            return "It was told by King Herod that 77 camels came, 77 camels came, 77 camels."
        characters = list(case.output.text)
        rng.shuffle(characters)
        return "".join(characters)

    return [Case(case.input, text(worse(case)), case.reference) for case in found]


@pytest.fixture(params=ALONE)
def metric(request: pytest.FixtureRequest) -> Metric:
    found: Metric = METRICS[request.param]
    return found


@pytest.mark.parametrize("pairs", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_a_perfect_output_scores_best(metric: Metric, pairs: list[tuple[str, str]]) -> None:
    sign = 1 if metric.better == "higher" else -1
    pairs = list(getattr(metric, "examples", pairs))  # a metric of one form of text brings texts of that form
    best = sign * value(metric, cases(pairs))
    assert sign * value(metric, spoilt(cases(pairs), "invented")) < best
    if needs_reference(metric):  # nonsense may well be diverse, and silence is truthful
        assert sign * value(metric, spoilt(cases(pairs), "disorder")) < best
        assert sign * value(metric, spoilt(cases(pairs), "empty")) < best


@pytest.mark.parametrize(
    "name", ["bleu", "chrf", "rouge", "rouge_1", "rouge_2", "exact_match", "token_f1", "length_ratio"]
)
@pytest.mark.parametrize("same", ["今天天气很好，我们去公园。", "你好", "好", "Hello", "Hello world"])
def test_identical_texts_score_100_however_short(name: str, same: str) -> None:
    assert value(METRICS[name], cases([("", same)])) == pytest.approx(100)


@pytest.mark.parametrize("same", ["今天天气很好，我们去公园。", "好", "Hello"])
def test_identical_texts_need_no_edit(same: str) -> None:
    assert value(METRICS["ter"], cases([("", same)])) == 0


def test_the_order_of_cases_does_not_matter(metric: Metric) -> None:
    found = cases(ENGLISH[:2]) + spoilt(cases(ENGLISH[2:] + CHINESE), "disorder")
    shuffled = random.Random(1).sample(found, len(found))
    assert value(metric, shuffled) == pytest.approx(value(metric, found), rel=1e-12)


def test_the_signature_is_the_same_every_time_and_holds_no_count(metric: Metric) -> None:
    before = metric.signature
    evaluate(cases(ENGLISH), [metric], seed=0, draws=10)
    assert metric.signature == before
    assert len(before) > len(metric.name) and "|" in before and "cases" not in before
    assert metric.modality and metric.better in ("higher", "lower")


def test_every_metric_has_a_signature_of_its_own() -> None:
    assert len({metric.signature for metric in METRICS.values()}) == len(METRICS)


def test_its_name_is_its_folder() -> None:
    assert [METRICS[name].name for name in METRICS] == list(METRICS)


@pytest.mark.parametrize("output", ["", " ", "\n", "。", "!", "\u0000", "🙂" * 50, "a" * 3000, "好" * 500, "1" * 5000])
@pytest.mark.parametrize("reference", ["", "a b c d e", "今天天气很好"])
def test_strange_texts_give_finite_numbers(metric: Metric, output: str, reference: str) -> None:
    found = [Case(text(""), text(output), text(reference))] * 2
    rows = metric.statistics(found)
    assert rows.shape[0] == 2 and rows.dtype == np.float64 and np.isfinite(rows).all()
    assert np.isfinite(metric.reduce(rows.sum(axis=0)))
    assert np.isfinite(metric.reduce(np.zeros(rows.shape[1])))


def test_looking_a_metric_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; from spearhead.core.catalogue import Catalogue; import spearhead.metrics.evaluate;"
        "[m.signature for m in Catalogue('spearhead.metrics', 'METRIC').values()];"
        "print({'sacrebleu', 'rouge_score', 'nltk', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_cases_give_no_rows(metric: Metric) -> None:
    assert len(metric.statistics([])) == 0


def needs_reference(metric: Metric) -> bool:
    """Whether it refuses a case without one."""
    try:
        metric.statistics([Case(text("a"), text("b"), None)])
    except InputError:
        return True
    return False


def value(metric: Metric, found: list[Case]) -> float:
    """The metric over all cases."""
    return metric.reduce(metric.statistics(found).sum(axis=0))
