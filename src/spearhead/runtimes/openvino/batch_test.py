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


def test_steps_keep_their_size_while_as_many_answers_run(model: Gguf, tmp_path: Path) -> None:
    from spearhead.runtimes.openvino.batch import Batch, tokens_of_step

    batch = Batch(model, tmp_path, context=1024, slots=4, width=96, threads=1)
    running = [batch.add(prompt, GREEDY, most=LENGTH) for prompt in prompts()]
    sizes = []
    while running:
        batch.step()
        sizes.append(batch._request.get_tensor("tokens").shape[0])
        for one in [one for one in running if len(one.tokens) == one.most]:
            running.remove(one)
            batch.drop(one)
    changes = sum(before != after for before, after in zip(sizes, sizes[1:], strict=False))
    assert sizes[0] == 96 and sizes[-1] == tokens_of_step(running=1, ready=1, waiting=0, most=96)
    assert len(sizes) > 15 and changes <= 4  # one where the prompts are done, and as answers end
    assert set(sizes) <= {96} | {tokens_of_step(running=n, ready=n, waiting=0, most=96) for n in (1, 2, 3, 4)}


def test_a_long_prompt_gets_wide_steps_and_a_short_one_none_beside_many_answers() -> None:
    from spearhead.runtimes.openvino.batch import tokens_of_step

    assert tokens_of_step(running=2, ready=1, waiting=500, most=96) == 96
    usual = tokens_of_step(running=16, ready=16, waiting=0, most=96)
    assert tokens_of_step(running=16, ready=15, waiting=40, most=96) == usual
    assert tokens_of_step(running=1, ready=0, waiting=2000, most=32) == 32
    for running in range(1, 33):
        for ready in range(running + 1):
            assert running < tokens_of_step(running=running, ready=ready, waiting=0, most=96) <= 96


@pytest.mark.parametrize("lengths", [(10, 8), (9, 3), (2, 9, 30), (1, 10, 1), (17, 2, 2, 40)])
def test_no_prompt_has_a_piece_of_one_token_but_one_of_a_single_token(
    model: Gguf, tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    from spearhead.runtimes.openvino.batch import Batch

    batch = Batch(model, tmp_path, context=1024, slots=4, width=96, threads=1, guesses=0)
    running = [batch.add(list(range(3, 3 + length)), GREEDY, most=30) for length in lengths]
    for _ in range(12):
        before = [one.done for one in running]
        batch.step()
        for one, done in zip(running, before, strict=True):
            piece = min(one.done, one.prompt) - done
            assert one.prompt == 1 or piece <= 0 or piece > 1
    assert all(len(one.tokens) > one.prompt for one in running)
