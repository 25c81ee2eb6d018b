"""Many prompts through one generator, for evaluation: each answer as it is complete.

Knows no particular runtime and nothing of metrics.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from spearhead.core import generation
from spearhead.core.generation import Prompt, Usage
from spearhead.core.media import Media
from spearhead.runtimes.failure import PromptTooLong


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer; `prompt` is its place among the prompts, `index` its place among that prompt's answers."""

    prompt: int
    index: int
    text: str
    usage: Usage
    finish: str
    media: Media | None = None
    """The picture; None for a text."""


class Runtime(generation.Generator, Protocol):
    """A generator that holds something open."""

    async def aclose(self) -> None: ...


Start = Callable[[], Awaitable[Runtime]]


async def answer_all(
    runtime: generation.Generator, prompts: Sequence[Prompt], *, parallel: int = 16
) -> AsyncGenerator[Answer, None]:
    """Each answer as it is complete, in no order; the first failure ends the rest."""
    waiting = enumerate(prompts)
    running: set[asyncio.Task[list[Answer]]] = set()
    done: set[asyncio.Task[list[Answer]]] = set()
    try:
        while True:
            while len(running) < parallel and (entry := next(waiting, None)) is not None:
                running.add(asyncio.create_task(_answers(runtime, entry[1], entry[0])))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                for answer in task.result():
                    yield answer
    finally:
        # Those that are done are gathered too: many fail with the first, and a failure that nobody takes is printed.
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *done, return_exceptions=True)


def streamed(start: Start, prompts: Sequence[Prompt], *, parallel: int = 16) -> Generator[Answer, None, None]:
    """Answers as they are ready; the runtime is started for them and ended with them, and not at all for no prompts.

    For callers that are not async; it runs an event loop of its own.
    """
    if not prompts:
        return
    steps = _stream(start, prompts, parallel)
    with asyncio.Runner() as runner:
        try:
            while (item := runner.run(_next(steps))) is not None:
                yield item
        finally:
            runner.run(_close(steps))


async def _answers(runtime: generation.Generator, prompt: Prompt, number: int) -> list[Answer]:
    """The answers of one prompt; empty ones of no units where it leaves no room for any, as a client is refused."""
    texts: list[list[str]] = [[] for _ in range(prompt.count)]
    last: dict[int, tuple[Usage, str, Media | None]] = {}
    try:
        async for draft in runtime.generate(prompt):
            texts[draft.index].append(draft.delta)
            if draft.finish is not None:
                last[draft.index] = (draft.usage, draft.finish, draft.media)
    except PromptTooLong as error:
        return [Answer(number, index, "", Usage(), error.code) for index in range(prompt.count)]
    return [Answer(number, index, "".join(texts[index]), *last[index]) for index in range(prompt.count)]


async def _stream(start: Start, prompts: Sequence[Prompt], parallel: int) -> AsyncGenerator[Answer, None]:
    runtime = await start()
    try:
        answers = answer_all(runtime, prompts, parallel=parallel)
        try:
            async for item in answers:
                yield item
        finally:
            await answers.aclose()
    finally:
        await runtime.aclose()


async def _next(steps: AsyncGenerator[Answer, None]) -> Answer | None:
    return await anext(steps, None)


async def _close(steps: AsyncGenerator[Answer, None]) -> None:
    await steps.aclose()
