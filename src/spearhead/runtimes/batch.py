"""Many prompts through one generator, for evaluation: as they come, or as a step that reports its progress.

Knows no particular runtime and nothing of metrics.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from spearhead.core import generation
from spearhead.core.generation import Progress, Prompt, Usage
from spearhead.core.media import Media


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


def run_all(
    start: Callable[[], Awaitable[Runtime]], prompts: Sequence[Prompt], *, stage: str = "generate", parallel: int = 16
) -> Generator[Progress, None, list[Answer]]:
    """Start a runtime, answer every prompt, close it: yields after each answer, returns them in the prompts' order.

    For callers that are not async; it runs an event loop of its own.
    """
    answers: list[Answer] = []
    total = sum(prompt.count for prompt in prompts)
    with asyncio.Runner() as runner:
        runtime = runner.run(_started(start))
        running = answer_all(runtime, prompts, parallel=parallel)
        try:
            yield Progress(stage, 0, total, unit="answers")
            while (answer := runner.run(_next(running))) is not None:
                answers.append(answer)
                yield Progress(stage, len(answers), total, unit="answers")
        finally:
            runner.run(_closed(running, runtime))
    return sorted(answers, key=lambda answer: (answer.prompt, answer.index))


async def _answers(runtime: generation.Generator, prompt: Prompt, number: int) -> list[Answer]:
    texts: list[list[str]] = [[] for _ in range(prompt.count)]
    last: dict[int, tuple[Usage, str, Media | None]] = {}
    async for draft in runtime.generate(prompt):
        texts[draft.index].append(draft.delta)
        if draft.finish is not None:
            last[draft.index] = (draft.usage, draft.finish, draft.media)
    return [Answer(number, index, "".join(texts[index]), *last[index]) for index in range(prompt.count)]


async def _started(start: Callable[[], Awaitable[Runtime]]) -> Runtime:
    return await start()


async def _next(answers: AsyncGenerator[Answer, None]) -> Answer | None:
    return await anext(answers, None)


async def _closed(answers: AsyncGenerator[Answer, None], runtime: Runtime) -> None:
    try:
        await answers.aclose()
    finally:
        await runtime.aclose()
