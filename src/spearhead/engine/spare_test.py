"""Promises of work that waits for a quiet moment."""

import asyncio
import functools
import time

import pytest

from spearhead.engine.spare import LOOK, Spare


async def until(spare: Spare, *, left: int = 0) -> None:
    async with asyncio.timeout(10):
        while spare.waiting > left:
            await asyncio.sleep(0.001)


def test_work_is_done_in_turn_and_never_while_an_answer_runs() -> None:
    async def run() -> None:
        busy, done = True, list[int]()

        async def work(number: int) -> None:
            nonlocal busy
            assert not busy
            done.append(number)
            busy = number == 2  # another answer begins
            await asyncio.sleep(0)

        spare = Spare(lambda: busy)
        for number in range(5):
            spare.put(functools.partial(work, number))
        await asyncio.sleep(3 * LOOK)
        assert (done, spare.waiting) == ([], 5)
        busy = False
        await until(spare, left=2)
        await asyncio.sleep(3 * LOOK)
        assert done == [0, 1, 2]
        busy = False
        await until(spare)
        assert done == [0, 1, 2, 3, 4]

    asyncio.run(run())


def test_work_does_not_wait_for_ever() -> None:
    async def run() -> float:
        spare, begun = Spare(lambda: True, patience=0.2), time.monotonic()
        spare.put(lambda: asyncio.sleep(0))
        await until(spare)
        return time.monotonic() - begun

    assert asyncio.run(run()) >= 0.2


def test_whoever_finds_it_full_is_told_and_closing_does_all_that_waits() -> None:
    async def run() -> None:
        spare, done = Spare(lambda: True, most=2), list[int]()

        async def work(number: int) -> None:
            await asyncio.sleep(0.01)
            done.append(number)

        full = []
        for number in range(2):
            spare.put(functools.partial(work, number))
            full.append(spare.full)
        assert full == [False, True]
        await spare.aclose()
        assert (done, spare.waiting) == ([0, 1], 0)

    asyncio.run(run())


def test_closing_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        spare = Spare(lambda: False, parting=0.05)
        for _ in range(3):
            spare.put(asyncio.Event().wait)  # as a time-stamp authority that does not answer
        async with asyncio.timeout(10):
            await spare.aclose()
            await spare.aclose()

    asyncio.run(run())
    assert "3 pieces" in caplog.text


def test_work_that_fails_is_told_and_keeps_nothing_else_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[int]:
        spare, done = Spare(lambda: False), list[int]()

        async def fail() -> None:
            raise ValueError("broken")

        async def work() -> None:
            done.append(1)

        spare.put(fail)
        spare.put(work)
        await until(spare)
        return done

    assert asyncio.run(run()) == [1]
    assert "broken" in caplog.text
