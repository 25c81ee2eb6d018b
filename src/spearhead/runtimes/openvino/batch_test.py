"""A random model whose greedy answers go round in circles and whose drawn ones do not, computed in several ways."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from spearhead.nn.gguf_header import Gguf, read_header
from spearhead.runtimes.conftest import Table, needs_openvino, random_model
from spearhead.runtimes.openvino.sampling import Wishes

pytestmark = needs_openvino

LENGTH = 60
GREEDY, DRAWN = Wishes(temperature=0), Wishes(temperature=0.7)


@pytest.fixture(scope="module")
def model(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Gguf:
    return read_header(random_model(tmp_path_factory.mktemp("batch"), table, "llama", "Q8_0"))


def prompts() -> list[list[int]]:
    """Each says something twice, some of them across blocks."""
    draws = np.random.default_rng(3)
    parts = [[int(token) for token in draws.integers(3, 250, size)] for size in (1, 4, 20, 33)]
    return [part * 2 for part in parts]


def answers(model: Gguf, folder: Path, wishes: Wishes, *, at_once: int, guesses: int) -> tuple[list[list[int]], int]:
    """What follows each prompt, and how many steps it took, by a fresh batch."""
    from spearhead.runtimes.openvino.batch import Answer, Batch

    batch = Batch(model, folder, context=1024, slots=4, width=32, threads=1, guesses=guesses)
    waiting, running, steps = list(enumerate(prompts())), list[Answer](), 0
    said: dict[int, Sequence[int]] = {}
    numbers: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            number, prompt = waiting.pop(0)
            running.append(batch.add(prompt, dataclasses.replace(wishes, seed=number), most=LENGTH))
            numbers[id(running[-1])] = number
        batch.step()
        steps += 1
        for one in list(running):
            assert len(one.tokens) <= one.most
            if len(one.tokens) == one.most:
                said[numbers[id(one)]] = one.tokens[one.prompt :]
                running.remove(one)
                batch.drop(one)
    return [list(said[number]) for number in sorted(said)], steps


@pytest.mark.parametrize("wishes", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_neither_company_nor_guesses_change_an_answer(model: Gguf, tmp_path: Path, wishes: Wishes) -> None:
    alone, slowly = answers(model, tmp_path, wishes, at_once=1, guesses=0)
    assert slowly >= 4 * LENGTH and len({tuple(answer) for answer in alone}) == 4
    for at_once in (1, 3, 4):
        for guesses in (0, 8):
            assert answers(model, tmp_path, wishes, at_once=at_once, guesses=guesses)[0] == alone


def test_an_answer_that_repeats_itself_takes_fewer_steps(model: Gguf, tmp_path: Path) -> None:
    slowly, quickly = (answers(model, tmp_path, GREEDY, at_once=1, guesses=guesses)[1] for guesses in (0, 8))
    assert quickly < 0.8 * slowly
