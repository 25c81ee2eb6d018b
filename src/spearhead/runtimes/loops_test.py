"""Promises of the watch on loops."""

import random

import pytest

from spearhead.runtimes.loops import EVERY, LONGEST, LoopWatch, loops


@pytest.mark.parametrize(
    "run", ["And he said, ", "to the custody of Hehai, that Esther was brought also ", "他又说了一遍这句话，然后"]
)
def test_a_loop_is_seen_within_a_few_characters_of_its_third_turn(run: str) -> None:
    watch = LoopWatch(3)
    text = "In the beginning. " + run * 6
    for place, letter in enumerate(text):
        if watch.feed(letter):
            begin = len("In the beginning. ")
            # The blank before the first turn is that before the others, so that the run may be seen one letter early.
            assert begin + 3 * len(run) - 2 <= place < begin + 3 * len(run) + EVERY
            return
    pytest.fail("the loop was not seen")


def test_ordinary_repetition_is_left_alone() -> None:
    for text in ("no, no, no, no!", "holy, holy, holy is Yahweh of Armies", "a" * 11 + "b" + "a" * 11, "He said. " * 2):
        watch = LoopWatch(3)
        assert not any(watch.feed(letter) for letter in text)


def test_a_watch_that_is_off_sees_nothing() -> None:
    assert not any(LoopWatch(0).feed("round and round it goes ") for _ in range(20))


def test_random_text_is_no_loop() -> None:
    rng = random.Random(0)
    text = "".join(rng.choice("abcdefgh ") for _ in range(20_000))
    watch = LoopWatch(3)
    assert not any(watch.feed(text[at : at + 3]) for at in range(0, len(text), 3))


def test_the_longest_run_counts_and_one_longer_does_not() -> None:
    rng = random.Random(1)
    run = "".join(rng.choice("abcdefghijklmnop ") for _ in range(LONGEST))
    assert loops(run * 3, 3)
    assert not loops((run + "x") * 3, 3)
