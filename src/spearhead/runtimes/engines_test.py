"""Two engines on the same file: random models of every architecture, whose answers nobody can guess, agree on both."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from spearhead.core.errors import InputError
from spearhead.core.generation import Prompt
from spearhead.core.template import Segment
from spearhead.media.text.keyed import Key, listen
from spearhead.runtimes.conftest import Table, needs_openvino, random_model
from spearhead.runtimes.llamacpp import Ahead, LlamaCpp, Settings
from spearhead.runtimes.llamacpp.engines import LLAMACPP, OPENVINO, WISH, eligible, installed


async def rows(model: Path, table: Table, engine: str) -> "np.ndarray[Any, Any]":
    """ln p of every token after prefixes that cross blocks, asked at once so that they share steps."""
    text = list(np.random.default_rng(1).integers(3, 250, 90))
    settings = Settings(context=512, slots=4, batch=32, threads=1, engine=engine)
    async with await LlamaCpp.start(model, table.tokenizer, settings=settings) as runtime:
        prefixes = [[int(token) for token in text[:length]] for length in (1, 31, 32, 33, 90)]
        found = await asyncio.gather(*(runtime.next_logprobs(prefix) for prefix in prefixes))
        again = await runtime.next_logprobs([*prefixes[3][:20], *prefixes[2][5:9]])  # begins like one that is known
        return np.stack([*found, again])


@needs_openvino
@pytest.mark.parametrize(
    ("kind", "layout", "far"),
    [("llama", "Q4_0", 0.1), ("qwen2", "F32", 0.02), ("qwen3", "Q8_0", 0.1), ("llama", "Q8_0/F16", 0.1)],
)
def test_both_engines_give_the_same_probabilities(
    table: Table, tmp_path: Path, kind: str, layout: str, far: float
) -> None:
    """Both round to eight bits where the file is quantised, each in its own way."""
    model = random_model(tmp_path, table, kind, layout)

    async def main() -> None:
        ours = await rows(model, table, OPENVINO.name)
        theirs = await rows(model, table, LLAMACPP.name)
        np.testing.assert_allclose(np.exp(ours).sum(axis=1), 1, rtol=1e-4)
        assert theirs.std() > 0.5, "a flat model would prove nothing"
        assert np.abs(ours - theirs).max() < far

    asyncio.run(main())


@needs_openvino
def test_what_is_not_computed_here_is_said_and_llama_cpp_takes_over(table: Table, tmp_path: Path) -> None:
    model = random_model(tmp_path, table, "llama", "Q5_0")

    async def main() -> None:
        with pytest.raises(
            InputError, match=r"llama-Q5_0.gguf cannot be computed by OpenVINO: blk.0.[a-z_]+.weight is in Q5_0"
        ):
            await LlamaCpp.start(model, table.tokenizer, settings=Settings(context=512, slots=2, engine=OPENVINO.name))

    asyncio.run(main())


def test_an_engine_is_chosen_by_what_is_there_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WISH, raising=False)
    notes: list[str] = []
    assert eligible("", bytes=1 << 20, adapter=False, notes=notes) == [LLAMACPP]
    assert len(notes) == 1 and notes[0].startswith("OpenVINO: ")
    assert eligible(OPENVINO.name, bytes=1 << 20, adapter=False, notes=notes) == [OPENVINO]
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match="engine 'ollama' is unknown: wanted OpenVINO or llama.cpp"):
        Settings(engine="ollama")
    monkeypatch.setenv(WISH, "ollama")
    with pytest.raises(InputError, match="'ollama' is unknown"):
        Settings()


@needs_openvino
@pytest.mark.parametrize("engine", [OPENVINO.name])
def test_answers_keep_their_promises(table: Table, engine: str) -> None:
    """What `llamacpp.client_test` asks of llama.cpp, where the engine has a part in it."""

    async def main() -> None:
        settings = Settings(context=2048, slots=8, batch=64, threads=1, engine=engine)
        async with await LlamaCpp.start(table.model, table.tokenizer, settings=settings) as runtime:

            async def answer(words: str, *, stop: tuple[str, ...] = (), seed: int = 0, **options: Any) -> Any:
                prompt = Prompt((Segment(words, False),), options=options, seed=seed, stop=stop)
                drafts = [draft async for draft in runtime.generate(prompt)]
                return "".join(draft.delta for draft in drafts), drafts[-1]

            text, last = await answer("a", temperature=0, max_tokens=21)
            assert text == "é😀a" * 3 and (last.usage.prompt, last.usage.completion, last.finish) == (1, 21, "length")
            text, last = await answer("az", temperature=0, max_tokens=21)
            assert (text, last.usage.completion, last.finish) == ("", 1, "stop")
            text, last = await answer("a", temperature=0, max_tokens=50, stop=("😀aé",))
            assert (text, last.finish, last.usage.completion) == ("é", "stop", 9)
            single = [(await answer("b", seed=40 + n, max_tokens=1))[0] for n in range(12)]
            assert set(single) == {"x", "y"}
            assert single == [(await answer("b", seed=40 + n, max_tokens=1))[0] for n in range(12)]
            text, last = await answer("b", temperature=0, max_tokens=1, logprobs=2)
            (entry,) = last.logprobs
            assert entry["logprob"] == pytest.approx(-0.31326, abs=1e-4)  # ln(e^2 / (e^2 + e))
            assert [other["token"] for other in entry["top_logprobs"]] == ["x", "y"]
            y = runtime.encode(Prompt((Segment("y", False),)))[0]
            assert (await answer("b", temperature=0, max_tokens=1, logit_bias={str(y): 1.5}))[0] == "y"
            assert (await answer("xb", temperature=0, max_tokens=1, presence_penalty=1.5))[0] == "y"
            asked = [answer("a" * n, temperature=0, max_tokens=301) for n in range(1, 13)]
            for text, last in await asyncio.gather(*asked):  # more than the context holds at once
                assert (text, last.finish) == ("é😀a" * 43, "length")
            worker = psutil.Process(runtime.pids[0])

            def spent() -> float:
                """Seconds of a processor, however many others want it."""
                return float(sum(worker.cpu_times()[:2]))

            for _ in range(2):  # the second time it is known to the engine, and quicker
                begun = spent()
                await answer("a", temperature=0, max_tokens=2000)
                whole = spent() - begun
            running = runtime.generate(Prompt((Segment("a", False),), options={"temperature": 0, "max_tokens": 2000}))
            begun = spent()
            await anext(running)
            assert any(await runtime.slots())
            await running.aclose()
            while any(await runtime.slots()):
                await asyncio.sleep(0.01)
            assert spent() - begun < whole / 2, "it goes on though nobody reads it"

    asyncio.run(main())


@needs_openvino
def test_a_marked_answer_is_told_by_its_key_unless_the_likeliest_tokens_were_taken(
    table: Table, tmp_path: Path
) -> None:
    model, secret = random_model(tmp_path, table, "llama", "F32"), b"ours"

    async def main() -> None:
        settings = Settings(context=512, slots=4, batch=64, threads=1, watermark=secret)
        assert "watermark" not in repr(settings)
        async with await LlamaCpp.start(model, table.tokenizer, settings=settings) as runtime:
            assert runtime.engine == OPENVINO.name

            async def tokens(seed: int, **options: Any) -> list[int]:
                options = {"max_tokens": 150, "logit_bias": {"0": -100, "2": -100}, "logprobs": 1, **options}
                prompt = Prompt((Segment("hello", False),), options=options, seed=seed)
                entries: list[Any] = []
                async for draft in runtime.generate(prompt):
                    entries += draft.logprobs or []
                return [entry["id"] for entry in entries]

            first, again, other, greedy = await asyncio.gather(
                tokens(1), tokens(1), tokens(2), tokens(3, temperature=0)
            )
            assert first == again != other
            for text in (first, other):
                assert listen(text, Key(secret)).p_value < 1e-12 and listen(text, Key(b"another")).p_value > 1e-3
            assert listen(greedy, Key(secret)).p_value > 1e-3

    asyncio.run(main())


def test_an_engine_that_cannot_mark_is_refused_by_name(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(engine: str = "", model: Path = table.model) -> str:
        settings = Settings(context=512, slots=2, engine=engine, watermark=b"ours")
        with pytest.raises(InputError) as caught:
            await LlamaCpp.start(model, table.tokenizer, settings=settings)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    monkeypatch.delenv(WISH, raising=False)
    said = asyncio.run(refused(LLAMACPP.name))
    assert (
        "an invisible mark in every text, which llama.cpp cannot draw: name OpenVINO in SPEARHEAD_TEXT_ENGINE" in said
    )
    if installed():
        said = asyncio.run(refused(model=random_model(tmp_path, table, "llama", "Q5_0")))
        assert "cannot be computed by OpenVINO: blk.0." in said and "labels.watermark" in said
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "install it (`pip install '.[openvino]'`" in asyncio.run(refused())


@needs_openvino
def test_a_worker_that_was_started_ahead_holds_the_first_model_and_ends_when_nobody_takes_it(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tmp_path / "scenario" / "1" / "parts"
    parts.mkdir(parents=True)

    async def main() -> None:
        assert (await Ahead.start(tmp_path)).pid is None, "no model, no process"
        draft = tmp_path / "scenario" / ".2.made" / "parts"
        draft.mkdir(parents=True)
        (draft / "model.gguf").write_bytes(b"half of it")
        (parts / "model.gguf").symlink_to(tmp_path / "just removed")
        monkeypatch.setenv(WISH, OPENVINO.name)
        assert (await Ahead.start(tmp_path)).pid is None, "of what others make and remove meanwhile nothing counts"
        (parts / "model.gguf").unlink()
        model = random_model(parts, table, "llama", "Q8_0")
        ahead = await Ahead.start(tmp_path)
        settings = Settings(context=512, slots=2, threads=1)
        async with await LlamaCpp.start(model, table.tokenizer, settings=settings, ahead=ahead) as runtime:
            assert ahead.take(OPENVINO) is None and runtime.engine == OPENVINO.name
            assert np.isfinite((await runtime.next_logprobs([5, 6, 7], top=3)).max())
        unused = await Ahead.start(tmp_path)
        assert unused.take(LLAMACPP) is None
        pid = unused.pid
        assert pid and psutil.pid_exists(pid)
        await unused.aclose()
        assert not psutil.pid_exists(pid) and unused.take(OPENVINO) is None

    asyncio.run(main())


@needs_openvino
def test_no_word_of_the_import_leaves_the_machine() -> None:
    script = (
        "from spearhead.runtimes.openvino import worker; worker.silence(); import sys, openvino\n"
        "there = [name for name, module in sys.modules.items() if module is not None]\n"
        "print(any('telemetry' in name or name.startswith('openvino.tools.ovc') for name in there), 'torch' in there)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@needs_openvino
def test_who_asks_before_it_is_warm_finds_room_in_the_smallest_cache(tmp_path: Path, table: Table) -> None:
    model = random_model(tmp_path, table, "llama", "F32")
    text = [int(token) for token in np.random.default_rng(2).integers(3, 250, 62)]

    async def first(engine: str) -> "np.ndarray[Any, Any]":
        settings = Settings(context=64, slots=1, threads=1, engine=engine)
        async with await LlamaCpp.start(model, table.tokenizer, settings=settings) as runtime:
            return await runtime.next_logprobs(text)

    ours, theirs = (asyncio.run(first(engine.name)) for engine in (OPENVINO, LLAMACPP))
    assert np.abs(ours - theirs).max() < 0.05


@needs_openvino
def test_an_answer_that_goes_round_in_circles_ends_at_the_same_token_whoever_computes_and_however_it_is_read(
    table: Table,
) -> None:
    async def end(engine: str, pause: float) -> tuple[str, int, str | None]:
        settings = Settings(context=2048, slots=2, batch=64, threads=1, engine=engine)
        prompt = Prompt((Segment("a", False),), options={"temperature": 0, "max_tokens": 900, "stop_repeats": 3})
        async with await LlamaCpp.start(table.model, table.tokenizer, settings=settings) as runtime:
            text = ""
            async for draft in runtime.generate(prompt):
                text += draft.delta
                await asyncio.sleep(pause)
            return text, draft.usage.completion, draft.finish

    ends = [asyncio.run(end(engine.name, pause)) for engine in (OPENVINO, LLAMACPP) for pause in (0.0, 0.03)]
    assert set(ends) == {ends[0]} and ends[0][0].startswith("é😀a" * 12) and ends[0][1] < 200 and ends[0][2] == "length"
