"""Drafts of several answers as one stream. Knows no runtime."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from spearhead.core.generation import Draft


async def merged(answers: Sequence[AsyncGenerator[Draft, None]]) -> AsyncGenerator[Draft, None]:
    """Drafts of several answers as they come; the first failure ends them all, and so does closing this."""
    queue: asyncio.Queue[Draft | BaseException | None] = asyncio.Queue(maxsize=64)

    async def pump(answer: AsyncGenerator[Draft, None]) -> None:
        try:
            async for draft in answer:
                await queue.put(draft)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)
        finally:
            await answer.aclose()

    tasks = [asyncio.create_task(pump(answer)) for answer in answers]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
