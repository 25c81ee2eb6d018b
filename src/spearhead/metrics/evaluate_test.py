"""Scores, intervals and comparisons, against sacrebleu's own corpus scores and paired bootstrap."""

import math
import random
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import text
from spearhead.core.score import Case, Metric
from spearhead.metrics import baselines, resample
from spearhead.metrics.bleu import Bleu
from spearhead.metrics.chrf import Chrf
from spearhead.metrics.evaluate import compare, evaluate, measured, robustness
from spearhead.metrics.self_bleu import SelfBleu

METRICS = Catalogue("spearhead.metrics", "METRIC")
SPOKEN = "the hand of a diligent man shall rule over all those who sleep in their fields, and he will say: go!"
WORDS = SPOKEN.split()


def cases(*, seed: int, wrong: float, count: int = 60) -> list[Case]:
    """References of random words and outputs of which a share of words is wrong; the same references for all seeds."""
    sentences, rng = random.Random(0), random.Random(seed)
    made = []
    for _ in range(count):
        wanted = sentences.choices(WORDS, k=sentences.randint(1, 20))
        got = [rng.choice(WORDS) if rng.random() < wrong else word for word in wanted]
        made.append(Case(text(" ".join(reversed(wanted))), text(" ".join(got)), text(" ".join(wanted))))
    return made


def texts(found: list[Case]) -> tuple[list[str], list[str]]:
    return [case.output.text for case in found], [case.reference.text for case in found if case.reference]


def finish(steps: Generator[Any, None, Any]) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("wrong", [0.1, 0.6, 1.0])
def test_totals_reproduce_the_corpus_scores_of_sacrebleu(wrong: float) -> None:
    from sacrebleu.metrics import BLEU, CHRF, TER

    found = cases(seed=1, wrong=wrong)
    outputs, references = texts(found)
    bleu, chrf, ter = evaluate(found, [METRICS["bleu"], METRICS["chrf"], METRICS["ter"]], seed=0, draws=10)
    assert bleu.value == BLEU().corpus_score(outputs, [references]).score
    assert chrf.value == CHRF().corpus_score(outputs, [references]).score
    assert ter.value == TER().corpus_score(outputs, [references]).score
    [plus] = evaluate(found, [Chrf(words=2)], seed=0, draws=10)
    assert plus.value == CHRF(word_order=2).corpus_score(outputs, [references]).score


def test_chinese_is_scored_with_sacrebleus_chinese_tokenizers() -> None:
    from sacrebleu.metrics import BLEU, TER

    pairs = [
        ("今天天气很好，我们去公园。", "今天天气不错，我们去公园玩。"),
        ("他在Google工作了三年。", "他在Google上班三年了。"),
    ]
    found = [Case(None, text(got), text(wanted)) for got, wanted in pairs]
    outputs, references = texts(found)
    bleu, named, ter = evaluate(found, [METRICS["bleu"], Bleu("zh"), METRICS["ter"]], seed=0, draws=10)
    assert bleu.value == named.value == BLEU(tokenize="zh").corpus_score(outputs, [references]).score > 20
    assert ter.value == TER(normalized=True, asian_support=True).corpus_score(outputs, [references]).score
    assert 0 < ter.value < 100
    assert bleu.signature != named.signature


def test_ter_judges_the_first_words_of_a_runaway_output() -> None:
    long = " ".join(f"w{at}" for at in range(2000))
    for runaway, wanted in ((long, 500 / 3), ("长" * 2000, 500 / 3)):
        reference = "a short answer" if " " in runaway else "短回答"
        [score] = evaluate([Case(None, text(runaway), text(reference))], [METRICS["ter"]], seed=0, draws=10)
        assert score.value == pytest.approx(100 * wanted)


def test_rouge_is_that_of_rouge_score_on_english() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    found = cases(seed=2, wrong=0.5)
    outputs, references = texts(found)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    each = [scorer.score(wanted, got) for got, wanted in zip(outputs, references, strict=True)]
    for name, kind in (("rouge", "rougeL"), ("rouge_1", "rouge1"), ("rouge_2", "rouge2")):
        longer = [at for at, wanted in enumerate(references) if len(wanted.split()) > 1]
        [score] = evaluate([found[at] for at in longer], [METRICS[name]], seed=0, draws=10)
        assert score.value == pytest.approx(100 * np.mean([each[at][kind].fmeasure for at in longer]))


def test_rouge_of_chinese_by_hand() -> None:
    # 5 of 6 characters shared, 4 characters in order without 去: pairs 我们, 们去 of 5 each
    case = Case(None, text("我们去公园玩"), text("我们去玩公园"))
    scores = evaluate([case], [METRICS["rouge_1"], METRICS["rouge_2"], METRICS["rouge"]], seed=0, draws=10)
    assert [score.value for score in scores] == pytest.approx([100.0, 100 * 3 / 5, 100 * 5 / 6])


def test_self_bleu_is_sentence_bleu_against_all_the_others() -> None:
    from sacrebleu.metrics import BLEU

    outputs, _ = texts(cases(seed=3, wrong=1.0, count=25))
    outputs += [outputs[0], outputs[1] + " go"]
    found = [Case(None, text(output), None) for output in outputs]
    scorer = BLEU(effective_order=True)
    wanted = [scorer.sentence_score(each, outputs[:at] + outputs[at + 1 :]).score for at, each in enumerate(outputs)]
    [score] = evaluate(found, [SelfBleu()], seed=0, draws=10)
    assert score.value == pytest.approx(np.mean(wanted), abs=1e-9)


def test_distinct_n_of_the_whole_is_different_over_all() -> None:
    found = [Case(None, text(output), None) for output in ("a b c a b", "a b d", "x")]
    [score] = evaluate(found, [METRICS["distinct_n"]], seed=0, draws=10)
    assert score.value == pytest.approx(100 * 4 / 6)  # ab bc ca ab | ab bd: ab, bc, ca, bd are different


@pytest.mark.parametrize(
    ("got", "wanted", "match", "f1"),
    [
        ("The U.S. Senate!", "us senate", 100, 100),
        ("in the Senate", "Senate", 0, 100 * 2 / 3),
        ("北京。", "北京", 100, 100),
        ("北京市", "北京", 0, 80),
        ("", "", 100, 100),
        ("", "x", 0, 0),
        ("a a b", "b b c", 0, 100 * 2 / 4),  # the article a does not count: b against b b c
    ],
)
def test_answers_match_as_in_squad(got: str, wanted: str, match: float, f1: float) -> None:
    case = Case(None, text(got), text(wanted))
    scores = evaluate([case], [METRICS["exact_match"], METRICS["token_f1"]], seed=0, draws=10)
    assert [score.value for score in scores] == pytest.approx([match, f1])


def test_the_p_value_is_sacrebleus_on_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.significance import PairedTest

    theirs, ours = cases(seed=4, wrong=0.45), cases(seed=5, wrong=0.40)
    (base, references), (system, _) = texts(theirs), texts(ours)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    paired = PairedTest(
        [("base", base), ("ours", system)],
        {"BLEU": BLEU(), "chrF2": CHRF()},
        [references],
        test_type="bs",
        n_samples=500,
    )
    results = paired()[1]
    for metric, name in ((METRICS["bleu"], "BLEU"), (METRICS["chrf"], "chrF2")):
        found = compare(ours, theirs, metric, seed=7, draws=500)
        assert found.p_value == results[name][1].p_value
        assert 0.002 < found.p_value < 1  # neither end, where anything would agree


def test_better_systems_win_and_equal_ones_do_not_differ() -> None:
    good, bad = cases(seed=6, wrong=0.1), cases(seed=7, wrong=0.6)
    won = compare(good, bad, METRICS["bleu"], seed=0)
    assert won.delta > 0 and won.interval[0] > 0 and won.p_value < 0.01
    same = compare(good, good, METRICS["bleu"], seed=0)
    assert (same.delta, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.3
    found = [Case(None, text("x" if hit else "y"), text("x")) for hit in hits]
    [score] = evaluate(found, [METRICS["exact_match"]], seed=1, draws=4000)
    half = 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 400) * 100
    assert score.interval == pytest.approx((score.value - half, score.value + half), abs=0.6)


def test_the_same_seed_gives_the_same_scores_however_the_draws_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = cases(seed=8, wrong=0.3)
    whole = evaluate(found, [METRICS["bleu"]], seed=3)
    monkeypatch.setattr(resample, "BLOCK", 777)
    assert evaluate(found, [METRICS["bleu"]], seed=3) == whole
    assert evaluate(found, [METRICS["bleu"]], seed=4) != whole


def test_what_a_manifest_says_has_every_baseline_beside_it() -> None:
    ours = cases(seed=9, wrong=0.2, count=20)
    rows = finish(measured(ours, {"copy": baselines.copy(ours)}, [METRICS["bleu"], METRICS["ter"]], seed=0, draws=200))
    alone = evaluate(ours, [METRICS["bleu"], METRICS["ter"]], seed=0, draws=200)
    copied = evaluate(baselines.copy(ours), [METRICS["bleu"], METRICS["ter"]], seed=0, draws=200)
    for row, score, other in zip(rows, alone, copied, strict=True):
        assert (row.value, row.interval, row.signature) == (score.value, score.interval, score.signature)
        assert row.baselines == {"copy": other.value}
        assert row.p_values == {
            "copy": compare(ours, baselines.copy(ours), METRICS[row.name], seed=0, draws=200).p_value
        }


def test_scores_of_other_cases_do_not_subtract() -> None:
    ours, copied = cases(seed=10, wrong=0.2), baselines.copy(cases(seed=10, wrong=0.2))
    [one], [other] = (evaluate(each, [METRICS["bleu"]], seed=0, draws=10) for each in (ours, copied))
    assert one - other == one.value - other.value
    assert evaluate(ours[::-1], [METRICS["bleu"]], seed=0, draws=10)[0].signature == one.signature
    [fewer] = evaluate(ours[1:], [METRICS["bleu"]], seed=0, draws=10)
    with pytest.raises(ValueError, match="not measured alike"):
        one - fewer


def test_robustness_is_the_score_on_noisy_inputs_and_the_paired_difference() -> None:
    clean, noisy = cases(seed=11, wrong=0.1), cases(seed=12, wrong=0.5)
    noisy = [Case(text("noise"), case.output, case.reference) for case in noisy]
    score, change = robustness(clean, noisy, METRICS["chrf"], noise="typos:0.1,seed:3", seed=0)
    [before], [after] = (evaluate(each, [METRICS["chrf"]], seed=0) for each in (clean, noisy))
    assert (score.name, change.name) == ("chrf_with_typos", "chrf_change_with_typos")
    assert (score.value, score.interval) == (after.value, after.interval)
    assert change.value == after.value - before.value < 0
    assert change.interval is not None and change.interval[1] < 0
    assert "typos:0.1,seed:3" in score.signature and "typos:0.1,seed:3" in change.signature
    assert score.signature != change.signature


def test_what_is_missing_is_named() -> None:
    bare = [Case(None, text("x"), None)]
    with pytest.raises(InputError, match="bleu: case 0 has no reference"):
        evaluate(bare, [METRICS["bleu"]], seed=0)
    with pytest.raises(InputError, match="truthfulness: case 0 has no input"):
        evaluate(bare, [METRICS["truthfulness"]], seed=0)
    with pytest.raises(InputError, match="no cases"):
        evaluate([], [METRICS["bleu"]], seed=0)
    ours = cases(seed=0, wrong=0.1)
    with pytest.raises(InputError, match="copy: 59 cases beside 60"):
        finish(measured(ours, {"copy": ours[1:]}, [METRICS["bleu"]], seed=0))
    with pytest.raises(InputError, match="case 0 is another one"):
        compare(ours[:2], ours[2:4], METRICS["bleu"], seed=0)


def test_a_metric_whose_rows_do_not_fit_is_stopped() -> None:
    metric: Metric = _Short()
    with pytest.raises(ValueError, match="one row a case"):
        evaluate(cases(seed=0, wrong=0.1), [metric], seed=0)


class _Short(Bleu):
    def statistics(self, cases: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
        return np.zeros((1, 10))
