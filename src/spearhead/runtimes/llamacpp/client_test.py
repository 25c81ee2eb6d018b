"""The runtime against a model whose every probability is known (see conftest)."""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from gguf import GGUFWriter

from spearhead.core.errors import InputError
from spearhead.core.generation import Draft, Prompt
from spearhead.core.template import Segment
from spearhead.media.text.tokens import Tokenizer
from spearhead.runtimes.conftest import WIDTH, Table
from spearhead.runtimes.failure import PromptTooLong, RuntimeFailed
from spearhead.runtimes.llamacpp import LlamaCpp, Settings
from spearhead.runtimes.llamacpp.client import MOST_MEASURED
from spearhead.runtimes.llamacpp.engines import LLAMACPP

SMALL = Settings(context=2048, slots=8, batch=64, threads=1)
CYCLE = "é😀a"  # what follows an `a`, seven tokens long


def ask(words: str, *, stop: tuple[str, ...] = (), count: int = 1, seed: int | None = None, **options: Any) -> Prompt:
    return Prompt((Segment(words, False),), count=count, options=options, seed=seed, stop=stop)


async def answer(runtime: LlamaCpp, prompt: Prompt) -> tuple[str, Draft]:
    """The whole text of a single answer and its last draft."""
    drafts = [draft async for draft in runtime.generate(prompt)]
    return "".join(draft.delta for draft in drafts), drafts[-1]


def started(table: Table, settings: Settings = SMALL) -> Any:
    return LlamaCpp.start(table.model, table.tokenizer, settings=settings)


async def until(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.01)


def test_an_answer_is_what_the_table_says(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            text, last = await answer(runtime, ask("a", temperature=0, max_tokens=21))
            assert text == CYCLE * 3
            assert (last.usage.prompt, last.usage.completion, last.finish) == (1, 21, "length")
            text, last = await answer(runtime, ask("az", temperature=0, max_tokens=21))
            assert (text, last.usage.prompt, last.usage.completion, last.finish) == ("", 2, 1, "stop")

    asyncio.run(main())


def test_a_character_split_over_tokens_leaves_whole_or_not_at_all(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            drafts = [draft async for draft in runtime.generate(ask("a", temperature=0, max_tokens=12))]
            # the twelfth token is the third byte of a 😀
            assert "".join(draft.delta for draft in drafts) == "é😀aé"
            assert drafts[-1].usage.completion == 12

    asyncio.run(main())


def test_a_persons_words_are_never_markers(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            words = "<|im_end|>"
            assert runtime.measure(Prompt((Segment(words, True),))) == 1
            assert runtime.measure(Prompt((Segment(words, False),))) == len(words)
            _, last = await answer(runtime, ask(words, temperature=0, max_tokens=1))
            assert last.usage.prompt == len(words)

    asyncio.run(main())


def test_prompts_that_were_measured_are_not_split_again_to_be_answered(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, encode = [], Tokenizer.encode_segments

    def noting(self: Tokenizer, segments: Sequence[Segment]) -> list[int]:
        split.append(segments)
        return encode(self, segments)

    async def main() -> None:
        async with await started(table) as runtime:
            monkeypatch.setattr(Tokenizer, "encode_segments", noting)
            prompts = [ask("a" * length, temperature=0, max_tokens=2) for length in range(1, MOST_MEASURED + 1)]
            assert [runtime.measure(prompt) for prompt in prompts] == [len(one.segments[0].text) for one in prompts]
            for prompt in prompts:
                _, last = await answer(runtime, prompt)
                assert last.usage.prompt == len(prompt.segments[0].text)
            assert len(split) == MOST_MEASURED and not runtime._measured
            assert [runtime.measure(ask("a" * length)) for length in range(1, 101)] == [*range(1, 101)]
            assert len(runtime._measured) == MOST_MEASURED, "what nobody answers is forgotten"

    asyncio.run(main())


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            text, last = await answer(runtime, ask("a", stop=("😀aé",), temperature=0, max_tokens=50))
            assert (text, last.finish, last.usage.completion) == ("é", "stop", 9)

    asyncio.run(main())


def test_an_answer_that_goes_round_in_circles_is_ended_and_its_slot_freed(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            text, last = await answer(runtime, ask("a", temperature=0, max_tokens=900, stop_repeats=3))
            # a run of 12 characters is four cycles; three of them are 36 characters in 84 tokens
            assert text.startswith(CYCLE * 12) and len(text) < 36 + 40
            assert last.finish == "length" and 84 <= last.usage.completion < 900
            limit = time.monotonic() + 60
            while any(await runtime.slots()):
                assert time.monotonic() < limit, "the slot is still busy"
                await asyncio.sleep(0.01)
            _, whole = await answer(runtime, ask("a", temperature=0, max_tokens=300, stop_repeats=0))
            assert whole.usage.completion == 300

    asyncio.run(main())


def test_probabilities_are_those_of_the_table(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            b = runtime.encode(ask("b"))[0]
            drafts = [draft async for draft in runtime.generate(ask("b", temperature=0, max_tokens=1, logprobs=2))]
            entries = [entry for draft in drafts for entry in draft.logprobs or []]
            assert [entry["token"] for entry in entries] == ["x"]
            # after b: x with logit 2, y with 1, the rest far below: ln(e^2 / (e^2 + e)) = -0.31326
            assert entries[0]["logprob"] == pytest.approx(-0.31326, abs=1e-4)
            assert [entry["token"] for entry in entries[0]["top_logprobs"]] == ["x", "y"]
            np.testing.assert_allclose(await runtime.next_logprobs([b]), table.logprobs(b), atol=2e-4)
            top = await runtime.next_logprobs([b], top=2)
            assert np.isfinite(top).sum() == 2

            answered = runtime.encode(ask("ybx"))
            wanted = [-table.logprobs(before)[after] for before, after in zip([b, *answered], answered, strict=False)]
            np.testing.assert_allclose(await runtime.nats([b], answered), wanted, atol=2e-4)
            a = runtime.encode(ask("a"))[0]  # whose likeliest follower is the first byte of a letter
            np.testing.assert_allclose(await runtime.next_logprobs([a]), table.logprobs(a), atol=2e-4)
            part = runtime.encode(ask("\u00e9"))[0]  # the first of two bytes: no character yet
            np.testing.assert_allclose(await runtime.nats([b], [part]), [-table.logprobs(b)[part]], rtol=1e-4)

    asyncio.run(main())


def test_the_same_seed_gives_the_same_answer_and_several_answers_use_the_next_seeds(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            single = [(await answer(runtime, ask("b", seed=40 + n, max_tokens=1)))[0] for n in range(12)]
            assert set(single) == {"x", "y"}
            drafts = [draft async for draft in runtime.generate(ask("b", count=12, seed=40, max_tokens=1))]
            together = ["".join(draft.delta for draft in drafts if draft.index == n) for n in range(12)]
            assert together == single
            assert sorted(draft.index for draft in drafts if draft.finish) == list(range(12))

    asyncio.run(main())


async def _share_of_x(runtime: LlamaCpp, options: Mapping[str, Any], draws: int) -> float:
    async def draw(n: int) -> str:
        return (await answer(runtime, Prompt((Segment("b", False),), options={**options, "max_tokens": 1}, seed=n)))[0]

    letters = await asyncio.gather(*(draw(n) for n in range(draws)))
    assert set(letters) <= {"x", "y"}
    return letters.count("x") / draws


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({}, 0.7311),  # e^2 / (e^2 + e)
        ({"temperature": 0.5}, 0.8808),  # e^4 / (e^4 + e^2)
        ({"temperature": 2.0}, 0.6225),
        ({"temperature": 0}, 1.0),
        ({"top_k": 1}, 1.0),
        ({"top_p": 0.7}, 1.0),
        ({"min_p": 0.5}, 1.0),  # y is 0.37 times as likely as x
        ({"min_p": 0.3}, 0.7311),
    ],
)
def test_sampling_options_do_what_they_are_named(table: Table, options: Mapping[str, Any], share: float) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            seen = await _share_of_x(runtime, options, 300)
            assert seen == pytest.approx(share, abs=4 * (share * (1 - share) / 300) ** 0.5 + 1e-9)

    asyncio.run(main())


def test_biases_and_penalties_do_what_they_are_named(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            y = runtime.encode(ask("y"))[0]
            first: dict[str, Any] = {"temperature": 0, "max_tokens": 1}
            assert (await answer(runtime, ask("b", **first, logit_bias={str(y): 1.5})))[0] == "y"
            assert (await answer(runtime, ask("xb", **first)))[0] == "x"
            # one x in the text so far: x falls from 2 to 0.5, below the 1 of y
            assert (await answer(runtime, ask("xb", **first, presence_penalty=1.5)))[0] == "y"
            assert (await answer(runtime, ask("xb", **first, presence_penalty=0.5)))[0] == "x"
            assert (await answer(runtime, ask("xxb", **first, frequency_penalty=0.6)))[0] == "y"
            assert (await answer(runtime, ask("xb", **first, frequency_penalty=0.6)))[0] == "x"
            assert (await answer(runtime, ask("xb", **first, repeat_penalty=2.5)))[0] == "y"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"echo": True}, "echo"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 1.5}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"²": 1}}, "logit_bias"),
        ({"logit_bias": {"٣": 1}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"100000": 1}}, "logit_bias: 100000 is no token"),
        ({"logprobs": 10_000}, "logprobs"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused_by_name(
    table: Table, options: dict[str, Any], named: str
) -> None:
    async def main() -> None:
        # refused before anything is sent, so no worker is needed
        runtime = LlamaCpp(table.model, _tokenizer(table), SMALL)
        runtime._context = 2048
        with pytest.raises(InputError, match=named):
            await answer(runtime, ask("a", **options))

    asyncio.run(main())


def _tokenizer(table: Table) -> Any:
    from spearhead.media.text.tokens import Tokenizer

    return Tokenizer.open(table.tokenizer)


def test_a_prompt_past_the_context_is_refused_with_its_code(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            assert runtime.context == 2048
            with pytest.raises(PromptTooLong, match="2,048") as caught:
                await answer(runtime, ask("a" * 2048))
            assert caught.value.code == "context_length_exceeded"
            with pytest.raises(InputError, match="empty"):
                await answer(runtime, ask(""))
            text, last = await answer(runtime, ask("a" * 2041, temperature=0, max_tokens=99))
            assert (text, last.finish) == (CYCLE, "length")  # what fits is answered

    asyncio.run(main())


def test_an_answer_may_fill_a_context_of_any_size(table: Table) -> None:
    async def main() -> None:
        settings = dataclasses.replace(SMALL, context=1000, engine="llama.cpp")  # it makes 1,024 of them
        async with await started(table, settings) as runtime, asyncio.timeout(60):
            assert runtime.context == 1000
            _, last = await answer(runtime, ask("a", temperature=0, max_tokens=5000))
            assert (last.usage.completion, last.finish) == (999, "length")

    asyncio.run(main())


def test_closing_an_answer_frees_its_slot_and_its_share_of_the_context(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            worker = await runtime._current()
            running = runtime.generate(ask("xa", temperature=0, max_tokens=2000))
            seen = await anext(running)
            assert seen.usage.completion >= 1
            assert any(await runtime.slots())
            await running.aclose()
            await until(lambda: worker.running == 0)
            assert worker._free == 2048 and not any(await runtime.slots())
            _, last = await answer(runtime, ask("xa" + CYCLE * 250, temperature=0, max_tokens=1))
            assert last.usage.cached < 1000, "it went on though nobody read it"
            assert (await answer(runtime, ask("a", temperature=0, max_tokens=7)))[0] == CYCLE

    asyncio.run(main())


def test_a_slow_reader_gets_what_has_gathered_as_one_draft(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            running = runtime.generate(ask("a", temperature=0, max_tokens=210))
            first = await anext(running)
            while any(await runtime.slots()):  # all of it is made
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)  # and has come
            rest = [draft async for draft in running]
            assert len(rest) < 60  # 210 drafts were sent
            assert first.delta + "".join(draft.delta for draft in rest) == CYCLE * 30
            assert rest[-1].usage.completion == 210

    asyncio.run(main())


def test_more_answers_than_the_context_holds_wait_their_turn_and_all_come_whole(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:  # 30 times 301 tokens over 2048 shared, 8 slots
            asked = [answer(runtime, ask("a", temperature=0, max_tokens=301)) for _ in range(30)]
            for text, last in await asyncio.gather(*asked):
                assert (text, last.finish) == (CYCLE * 43, "length")

    asyncio.run(main())


def test_answers_that_are_cut_off_leave_the_context_free_for_the_next(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            for number in range(5):  # each fills most of the context: two of them at once would not fit
                running = runtime.generate(ask("abcdefgh"[number % 8] * 1500 + "a", temperature=0, max_tokens=500))
                await anext(running)
                await running.aclose()
            text, _ = await answer(runtime, ask("x" * 1500 + "a", temperature=0, max_tokens=301))
            assert text == CYCLE * 43

    asyncio.run(main())


def test_a_killed_worker_ends_what_ran_and_the_next_answer_comes_from_a_new_one(table: Table) -> None:
    async def main() -> None:
        async with await started(table) as runtime:
            running = runtime.generate(ask("a", temperature=0, max_tokens=2000))
            await anext(running)
            first = runtime.pids
            os.kill(first[0], signal.SIGKILL)
            with pytest.raises(RuntimeFailed) as caught:
                async for _ in running:
                    pass
            assert caught.value.code == "runtime_failed"
            assert (await answer(runtime, ask("a", temperature=0, max_tokens=7)))[0] == CYCLE
            assert runtime.restarts == 1 and runtime.pids != first
            assert "signal 9" in runtime.last_failure

    asyncio.run(main())


def test_a_worker_that_grew_is_replaced_without_dropping_an_answer(table: Table) -> None:
    async def main() -> None:
        settings = dataclasses.replace(SMALL, growth=-(1 << 30), watch_seconds=0.1)
        async with await started(table, settings) as runtime:
            first = runtime.pids
            texts = []
            while runtime.recycled < 2:
                asked = [answer(runtime, ask("a", temperature=0, max_tokens=147)) for _ in range(16)]
                texts += [text for text, _ in await asyncio.gather(*asked)]
            assert texts == [CYCLE * 21] * len(texts)
            assert runtime.restarts == 0
            await until(lambda: not psutil.pid_exists(first[0]))

    asyncio.run(main())


def test_a_model_that_cannot_be_read_is_one_line(table: Table, tmp_path: Path) -> None:
    whole = table.model.read_bytes()
    damaged = {
        "truncated.gguf": whole[: len(whole) * 2 // 3],
        "junk.gguf": b"not a model at all" * 50,
        "empty.gguf": b"",
        "lying.gguf": whole[:8] + b"\xff" * 16 + whole[24:],
    }

    async def main() -> None:
        with pytest.raises(InputError, match="missing.gguf is not there"):
            await LlamaCpp.start(tmp_path / "missing.gguf", table.tokenizer, settings=SMALL)
        for name, data in damaged.items():
            path = tmp_path / name
            path.write_bytes(data)
            with pytest.raises(InputError, match=name) as caught:
                await LlamaCpp.start(path, table.tokenizer, settings=SMALL)
            assert "\n" not in str(caught.value)

    asyncio.run(main())


def test_a_worker_that_cannot_load_its_model_stays_until_the_reason_was_read(tmp_path: Path) -> None:
    (tmp_path / "junk.gguf").write_bytes(b"not a model at all" * 50)
    values = {"slots": 1, "context": 64, "batch": 32, "threads": 1, "adapter": "", "cache": ""}
    asked = {**values, "model": str(tmp_path / "junk.gguf"), "socket": str(tmp_path / "s.sock")}
    command, pipe = [sys.executable, *LLAMACPP.command], subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout and process.stderr
        print(json.dumps(asked), file=process.stdin, flush=True)
        assert "error" in json.loads(process.stdout.readline())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.stdin.close()
        assert "error loading model: " in process.stderr.read() and process.wait(60) == 1


def test_a_tokenizer_that_cannot_be_read_is_one_line_and_leaves_no_process_behind(table: Table, tmp_path: Path) -> None:
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{")

    def children() -> set[int]:
        return {child.pid for child in psutil.Process().children()}

    async def main() -> None:
        before = children()
        with pytest.raises(InputError, match="tokenizer.json"):
            await LlamaCpp.start(table.model, broken, settings=SMALL)
        assert children() <= before

    asyncio.run(main())


def _write_adapter(path: Path, table: Table) -> None:
    """A LoRA of rank 1 on the output matrix that adds 3 to the logit of `y` after `b`."""
    size = len(table.logits)
    b, y = (size - 257 + ord(letter) for letter in "by")  # the bytes are the last tokens but one
    a, up = np.zeros((1, WIDTH), dtype=np.float32), np.zeros((size, 1), dtype=np.float32)
    a[0, b], up[y, 0] = 1.0, 3.0 / np.sqrt(WIDTH)
    out = GGUFWriter(path, "llama")
    out.add_type("adapter")
    out.add_string("adapter.type", "lora")
    out.add_float32("adapter.lora.alpha", 1.0)
    out.add_tensor("output.weight.lora_a", a)
    out.add_tensor("output.weight.lora_b", up)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def test_an_adapter_changes_the_answers_and_outlives_a_crash_of_the_worker(table: Table, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.gguf"
    _write_adapter(adapter, table)
    settings = dataclasses.replace(SMALL, adapter=adapter)

    async def main() -> None:
        async with await started(table, settings) as runtime:
            b, x, y = (runtime.encode(ask(letter))[0] for letter in "bxy")
            first = runtime.pids
            for kill in (True, False):
                found = await runtime.next_logprobs([b])
                assert found[y] - found[x] == pytest.approx(table.logits[b, y] + 3 - table.logits[b, x], abs=0.02)
                text, _ = await answer(runtime, ask("b", temperature=0, max_tokens=1))
                assert text == "y", "without the adapter it is x"
                if kill:
                    os.kill(first[0], signal.SIGKILL)
                    await until(lambda: runtime.ready and runtime.pids != first)

    asyncio.run(main())


def test_an_adapter_that_cannot_be_laid_over_the_model_is_one_line(table: Table, tmp_path: Path) -> None:
    adapter, bad = tmp_path / "adapter.gguf", tmp_path / "bad.gguf"
    _write_adapter(adapter, table)
    whole = adapter.read_bytes()

    async def main() -> None:
        with pytest.raises(InputError, match="missing.gguf is not there: wanted a GGUF adapter for table.gguf"):
            await started(table, dataclasses.replace(SMALL, adapter=tmp_path / "missing.gguf"))
        for data, reason in [
            (b"", "failed to load lora adapter"),
            (whole[:100], "failed to load lora adapter"),
            (whole[:-100], "not within the file bounds"),
            (whole.replace(b"output.weight.lora", b"unknow.weight.lora"), "does not exist in base model"),
            (table.model.read_bytes(), "expect general.type to be 'adapter'"),
        ]:
            bad.write_bytes(data)
            with pytest.raises(InputError, match=f"table.gguf with bad.gguf cannot be loaded: .*{reason}") as caught:
                await started(table, dataclasses.replace(SMALL, adapter=bad))
            assert "\n" not in str(caught.value)

    asyncio.run(main())


def test_a_library_that_the_system_lacks_is_named_and_the_model_is_not_blamed(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "libgomp.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "xllamacpp.py").write_text(f"raise ImportError({reason!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError) as caught:
        asyncio.run(started(table))
    assert str(caught.value) == f"llama.cpp cannot be loaded: {reason}: install it (on Debian: libgomp1)"


def test_nothing_listens_on_the_network_and_no_secret_reaches_the_worker(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEARHEAD_DATABASE", "postgresql://user:secret@db/x")

    async def main() -> None:
        async with await started(table) as runtime:
            process = psutil.Process(runtime.pids[0])
            assert process.net_connections(kind="inet") == []
            assert "secret" not in str(process.environ())
            folder = Path((await runtime._current()).socket).parent
            assert folder.stat().st_mode & 0o777 == 0o700
        assert not folder.exists()

    asyncio.run(main())


def test_the_worker_and_its_folder_go_when_its_parent_is_killed(table: Table) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from spearhead.runtimes.llamacpp import LlamaCpp, Settings\n"
        "async def main():\n"
        "    paths = map(pathlib.Path, sys.argv[1:])\n"
        "    runtime = await LlamaCpp.start(*paths, settings=Settings(context=512, slots=1, threads=1))\n"
        "    print(runtime.pids[0], (await runtime._current()).socket, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(table.model), str(table.tokenizer)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, path = parent.stdout.readline().split()
        worker = psutil.Process(int(pid))
        parent.kill()
    psutil.wait_procs([worker], timeout=30)
    assert not worker.is_running()
    assert not Path(path).parent.exists()


@dataclass(frozen=True, slots=True)
class Row:
    """A choice of settings and whether it is one."""

    values: dict[str, Any]
    named: str


@pytest.mark.parametrize("row", [Row({"cache": "q2"}, "q2"), Row({"slots": 0}, "slots"), Row({"batch": 1}, "batch")])
def test_settings_that_are_none_are_refused(row: Row) -> None:
    with pytest.raises(InputError, match=row.named):
        Settings(**row.values)
