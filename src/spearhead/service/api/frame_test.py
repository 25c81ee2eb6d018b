"""Who leaves before an answer is done, however soon or late."""

import asyncio

import pytest

from spearhead.service.api import errors
from spearhead.service.api.errors import ApiError
from spearhead.service.api.frame import PATIENCE, Message, unless_gone


@pytest.mark.parametrize("after", [0.0, PATIENCE, 4 * PATIENCE])
def test_work_for_who_has_left_is_cancelled(after: float) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def receive() -> Message:
            await asyncio.sleep(max(0.0, begun + after - asyncio.get_running_loop().time()))
            return {"type": "http.disconnect"}

        begun = asyncio.get_running_loop().time()
        with pytest.raises(ApiError) as caught:
            await asyncio.wait_for(unless_gone(work(), receive), 30)
        assert caught.value.code == errors.cut_off().code and ended.is_set()

    asyncio.run(main())


def test_work_that_is_done_first_looks_for_nobody_afterwards() -> None:
    async def main() -> None:
        asked = 0

        async def receive() -> Message:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()
            raise AssertionError("nobody leaves here")

        async def work(seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "done"

        assert await unless_gone(work(0), receive) == "done"
        await asyncio.sleep(2 * PATIENCE)
        assert asked == 0
        assert await unless_gone(work(8 * PATIENCE), receive) == "done"
        await asyncio.sleep(0)
        assert asked == 1 and asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_server_that_ends_says_so_to_who_is_still_there() -> None:
    async def main() -> None:
        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("nobody leaves here")

        async def request() -> None:
            await unless_gone(asyncio.Event().wait(), receive)

        task = asyncio.create_task(request())
        await asyncio.sleep(2 * PATIENCE)
        task.cancel()
        with pytest.raises(ApiError) as caught:
            await task
        assert caught.value.code == errors.ENDED

    asyncio.run(main())
