"""Promises of progress as a person sees it."""

from collections.abc import Generator

import pytest

from spearhead.core.generation import Progress
from spearhead.pipeline import show


def work() -> Generator[Progress, None, str]:
    yield Progress("data: read", 0, 2)
    yield Progress("data: read", 2, 2)
    yield Progress("training", 1, 4, "loss 2.500")
    return "done"


def test_a_log_gets_a_line_a_stage_and_the_result_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.drive(work()) == "done"
    said = capsys.readouterr()
    assert said.err.splitlines() == ["data: read:   0%", "data: read: 100%", "training:  25%  loss 2.500"]
    assert said.out == "", "what is asked for is alone on standard output"


def test_time_left_is_that_of_the_pace_so_far() -> None:
    assert show._line(Progress("training", 1, 4, "loss 2.500"), 10.0) == "training:  25%, 30 s left  loss 2.500"


def test_a_terminal_gets_a_bar_with_time_left_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert show._bars(work()) == "done"
    bars = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert [line.split()[0] for line in bars] == ["data:", "training"]
    assert all("%" in line and "left" in line for line in bars) and "loss 2.500" in bars[-1]


def test_what_is_said_once_stays_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def foretold() -> Generator[Progress, None, str]:
        yield Progress("forecast", 1, 1, "600 steps of 16, learning rate 0.001: about 12.3 min, 1.2 GiB, 0.0100 [USD]")
        yield from work()
        return "done"

    assert show._bars(foretold()) == "done"
    said = capsys.readouterr().err.splitlines()
    assert said.count("forecast: 600 steps of 16, learning rate 0.001: about 12.3 min, 1.2 GiB, 0.0100 [USD]") == 1
    assert "loss 2.500" in said[-1], "and training has its own line below"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.drive(work(), quiet=True) == "done"
    assert capsys.readouterr() == ("", "")
