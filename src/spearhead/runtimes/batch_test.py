"""Many prompts through the table model, and through an endpoint that serves it."""

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from spearhead.core.errors import InputError
from spearhead.core.generation import Prompt
from spearhead.core.template import Segment
from spearhead.runtimes.batch import answer_all, streamed
from spearhead.runtimes.conftest import Table
from spearhead.runtimes.failure import RuntimeFailed
from spearhead.runtimes.llamacpp import LlamaCpp, Settings
from spearhead.runtimes.remote import Remote

SMALL = Settings(context=2048, slots=8, batch=64, threads=1)


def ask(words: str, tokens: int, *, count: int = 1) -> Prompt:
    return Prompt((Segment(words, False),), count=count, options={"temperature": 0, "max_tokens": tokens}, seed=1)


def test_all_answers_come_back_and_say_which_prompt_they_are_for(table: Table) -> None:
    prompts = [ask("a", 7 * (1 + number % 4), count=1 + number % 2) for number in range(30)]
    running = streamed(lambda: LlamaCpp.start(table.model, table.tokenizer, settings=SMALL), prompts, parallel=12)
    answers = sorted(running, key=lambda answer: (answer.prompt, answer.index))
    wanted = [(n, index, "é😀a" * (1 + n % 4)) for n in range(30) for index in range(1 + n % 2)]
    assert [(answer.prompt, answer.index, answer.text) for answer in answers] == wanted
    assert sum(answer.usage.completion for answer in answers) == sum(7 * (1 + n % 4) * (1 + n % 2) for n in range(30))


def test_a_prompt_that_is_refused_ends_the_run_with_its_reason(table: Table) -> None:
    prompts = [ask("a", 7), ask("", 7), *[ask("a", 7)] * 20]
    running = streamed(lambda: LlamaCpp.start(table.model, table.tokenizer, settings=SMALL), prompts)
    with pytest.raises(InputError, match="empty"):
        for _ in running:
            pass


@pytest.fixture(scope="module")
def endpoint(table: Table) -> Iterator[str]:
    """llama.cpp's own HTTP server on loopback with the table model, in a process of its own."""
    code = (
        "import sys, xllamacpp\n"
        "p = xllamacpp.CommonParams(); p.model.path = sys.argv[1]; p.hostnames = ['127.0.0.1']\n"
        "p.port = 0; p.n_parallel = 4; p.n_ctx = 8192; p.verbosity = 0\n"
        "p.cpuparams.n_threads = 1; p.use_jinja = False\n"
        "server = xllamacpp.Server(p); print(server.listening_address, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(table.model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not (address := process.stdout.readline()).startswith("http"):
            assert process.poll() is None
        yield f"{address.strip()}/v1"
        process.kill()


def test_an_endpoint_answers_like_the_model_behind_it(endpoint: str) -> None:
    async def main() -> None:
        async with Remote(endpoint, model="table", context=2048, chat=False) as remote:
            answers = [answer async for answer in answer_all(remote, [ask("a", 21, count=2)] * 5, parallel=4)]
            assert [answer.text for answer in answers] == ["é😀a" * 3] * 10
            assert {(answer.usage.prompt, answer.usage.completion, answer.finish) for answer in answers} == {
                (1, 21, "length")
            }
            with pytest.raises(InputError, match="grammar"):
                async for _ in remote.generate(Prompt((Segment("a", False),), options={"grammar": "x"})):
                    pass
            with pytest.raises(InputError, match="context"):
                async for _ in remote.generate(ask("a" * 3000, 7)):
                    pass
        async with Remote(endpoint, model="table", context=2048) as remote:
            drafts = [draft async for draft in remote.generate(ask("a", 7))]
            assert drafts[-1].usage.prompt > 1  # the chat template added its own

    asyncio.run(main())


def test_an_endpoint_that_is_not_there_is_one_line() -> None:
    async def main() -> None:
        async with Remote("http://127.0.0.1:9/v1", model="x") as remote:
            with pytest.raises(RuntimeFailed, match="127.0.0.1:9/v1: nobody answers there .*is the server running"):
                async for _ in remote.generate(ask("a", 7)):
                    pass
        with pytest.raises(InputError, match="ftp"):
            Remote("ftp://x/v1", model="x")

    asyncio.run(main())


def test_many_prompts_to_an_endpoint_that_is_not_there_are_one_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def start() -> Remote:
        return Remote("http://127.0.0.1:9/v1", model="x")

    with pytest.raises(RuntimeFailed, match="127.0.0.1:9"):
        for _ in streamed(start, [ask("a", 7)] * 40):
            pass
    gc.collect()  # what asyncio says of a failure that nobody took, it says when the task is collected
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize(
    ("code", "raised"),
    [("runtime_failed", RuntimeFailed), (None, RuntimeFailed), (503, RuntimeFailed), (400, InputError)],
)
def test_what_an_endpoint_says_within_its_stream_is_told_in_its_own_words(code: Any, raised: type[Exception]) -> None:
    said = json.dumps({"error": {"code": code, "message": "it fell over"}})
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    async def endpoint(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{head}data: {said}\n\n".encode())
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(endpoint, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with Remote(f"http://127.0.0.1:{port}/v1", model="x") as remote:
                with pytest.raises(raised, match="it fell over"):
                    _ = [draft async for draft in remote.generate(Prompt((Segment("a", False),)))]

    asyncio.run(main())
