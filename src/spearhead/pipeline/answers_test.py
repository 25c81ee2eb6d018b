"""Answers that were written down are there again, whatever they hold; what a kill cut off is not."""

from pathlib import Path

import pytest

from spearhead.pipeline import answers
from spearhead.pipeline.answers import Written


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e", "\r", "\n", "\r\n"])
def test_an_answer_may_hold_any_end_of_a_line(end: str, tmp_path: Path) -> None:
    rows = [Written(0, f"床前{end}明月光", 3, 7), Written(1, "plain", 1, 1)]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(map(answers.line, rows)), encoding="utf-8")
    for _ in range(2):
        assert answers.kept(file) == dict(enumerate(rows))


def test_a_line_that_was_cut_off_is_taken_out(tmp_path: Path) -> None:
    whole = answers.line(Written(0, "whole", 1, 1))
    file = tmp_path / "answers.jsonl"
    file.write_text(whole + answers.line(Written(1, "cut", 1, 1))[:-5], encoding="utf-8")
    assert list(answers.kept(file)) == [0] and file.read_text(encoding="utf-8") == whole
