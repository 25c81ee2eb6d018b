"""The runtime over graphs whose every picture can be worked out by hand."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spearhead.core.errors import InputError
from spearhead.core.generation import Draft, Prompt
from spearhead.core.sampler import Sampler
from spearhead.core.template import Segment
from spearhead.media.image import codec
from spearhead.runtimes.failure import RuntimeFailed
from spearhead.runtimes.onnx import Onnx, Settings
from spearhead.runtimes.onnx.graph import Graph

GREY = np.array([-0.5, 0.25, 0.0], np.float32)
"""Where the classes black and white, and no class, lead to."""
PULL = Sampler("flow", (1, 4, 6), (4, 6), 1, ("black", "white"), {"白": 1}, steps=5, solver="euler")
MIX = Sampler("oneshot", (32,), (4, 4), 3, ("one", "two", "three"))
ONE = Settings(threads=1, gather=0.0)


def save(folder: Path, sampler: Sampler, nodes: Sequence[Any], tables: dict[str, Any], output: str) -> Path:
    kinds: dict[str, Any] = {
        "x": (TensorProto.FLOAT, ["n", *sampler.noise]),
        "noise": (TensorProto.FLOAT, ["n", *sampler.noise]),
    }
    kinds |= {name: (TensorProto.FLOAT, ["n"]) for name in ("time", "length")}
    kinds |= {"label": (TensorProto.INT64, ["n"])}
    names = ("x", "time", "label") if sampler.kind == "flow" else ("noise", "label")
    if any("length" in node.input for node in nodes):
        names = (*names, "length")
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, *kinds[name]) for name in names],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", sampler.channels, *sampler.size])],
        [numpy_helper.from_array(value, name) for name, value in tables.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / sampler.model)
    (folder / "sampler.json").write_text(sampler.to_json(), encoding="utf-8")
    return folder


def pull(folder: Path, sampler: Sampler = PULL, *, grey: Any = GREY) -> Path:
    """dx/dt = grey of the class - x: after time 1 a share of 1/e of the noise is left."""
    nodes = [
        helper.make_node("Gather", ["grey", "label"], ["found"]),
        helper.make_node("Reshape", ["found", "shape"], ["goal"]),
        helper.make_node("Sub", ["goal", "x"], ["velocity"]),
    ]
    return save(folder, sampler, nodes, {"grey": grey, "shape": np.array([-1, 1, 1, 1])}, "velocity")


def leap(folder: Path, sampler: Sampler) -> Path:
    """dx/dt = the length that it is asked for, whatever the class."""
    nodes = [
        helper.make_node("Reshape", ["length", "shape"], ["long"]),
        helper.make_node("Mul", ["x", "nothing"], ["still"]),
        helper.make_node("Add", ["still", "long"], ["velocity"]),
    ]
    return save(
        folder, sampler, nodes, {"nothing": np.zeros(1, np.float32), "shape": np.array([-1, 1, 1, 1])}, "velocity"
    )


def mix(folder: Path) -> Path:
    """Pixels are sigmoids of sums over the noise: sums that could be taken in several orders."""
    rng = np.random.default_rng(3)
    tables = {
        "weights": rng.standard_normal((32, 48), dtype=np.float32),
        "names": rng.standard_normal((3, 48), dtype=np.float32),
        "shape": np.array([-1, 3, 4, 4]),
    }
    nodes = [
        helper.make_node("MatMul", ["noise", "weights"], ["sum"]),
        helper.make_node("Gather", ["names", "label"], ["name"]),
        helper.make_node("Add", ["sum", "name"], ["both"]),
        helper.make_node("Sigmoid", ["both"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["pixels"]),
    ]
    return save(folder, MIX, nodes, tables, "pixels")


def ask(words: str, *, count: int = 1, seed: Any = 7, **options: Any) -> Prompt:
    return Prompt((Segment(words, False),), count=count, options=options, seed=seed)


async def answer(runtime: Onnx, prompt: Prompt) -> list[Draft]:
    return [draft async for draft in runtime.generate(prompt)]


async def one(runtime: Onnx, prompt: Prompt) -> bytes:
    (draft,) = await answer(runtime, prompt)
    assert draft.media is not None
    return draft.media.data


def slow_down(runtime: Onnx, wait: Callable[[], object]) -> None:
    """Each evaluation of the real graph waits first."""
    run = runtime._graph.run

    def slow(inputs: Any) -> Any:
        wait()
        return run(inputs)

    runtime._graph.run = slow  # type: ignore[method-assign]


def noise(sampler: Sampler, seed: int) -> Any:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(sampler.noise, dtype=np.float32)


def pixels(draft: Draft, channels: Any = 1) -> Any:
    assert draft.media is not None
    return codec.read(draft.media, channels=channels).astype(int)


@pytest.mark.parametrize(("solver", "steps", "moved"), [("euler", 1, 1.0), ("euler", 4, 0.25), ("heun", 4, 0.0)])
def test_a_graph_that_leaps_is_told_how_far(tmp_path: Path, solver: Any, steps: int, moved: float) -> None:
    async def main() -> None:
        async with await Onnx.start(leap(tmp_path, replace(PULL, solver=solver)), settings=ONE) as runtime:
            (draft,) = await answer(runtime, ask("white", steps=steps))
            wanted = np.rint(((noise(PULL, 7) + moved).clip(-1, 1) + 1) * 127.5)
            np.testing.assert_allclose(pixels(draft)[..., 0], wanted[0], atol=1)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("solver", "steps", "left"),
    [
        ("euler", 5, 0.8**5),  # each step of h leaves 1 - h of the way
        ("euler", 20, 0.95**20),
        ("heun", 5, (1 - 0.2 + 0.02) ** 4 * 0.8),  # 1 - h + h^2 / 2, and Euler's at the end
        ("heun", 1, 0.0),
    ],
)
def test_a_picture_is_what_the_solver_makes_of_the_velocity(
    tmp_path: Path, solver: Any, steps: int, left: float
) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path, replace(PULL, solver=solver)), settings=ONE) as runtime:
            (draft,) = await answer(runtime, ask("white", steps=steps, guidance=1.0))
            x = GREY[1] + (noise(PULL, 7) - GREY[1]) * left
            wanted = np.rint((x.clip(-1, 1) + 1) * 127.5)
            np.testing.assert_allclose(pixels(draft)[..., 0], wanted[0], atol=1)
            assert (draft.usage.prompt, draft.usage.completion, draft.usage.unit) == (0, 1, "picture")
            assert (draft.finish, draft.media.mime) == ("stop", "image/png")  # type: ignore[union-attr]

    asyncio.run(main())


def test_guidance_leads_away_from_no_class(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=ONE) as runtime:
            (plain,) = await answer(runtime, ask("black", steps=1, guidance=1))
            assert (pixels(plain) == round((GREY[0] + 1) * 127.5)).all()  # one step goes all the way
            (led,) = await answer(runtime, ask("black", steps=1, guidance=1.5))
            goal = GREY[2] + 1.5 * (GREY[0] - GREY[2])  # -0.75
            assert np.abs(pixels(led) - (goal + 1) * 127.5).max() <= 1
            (free,) = await answer(runtime, ask("black", steps=1, guidance=0))
            assert np.abs(pixels(free) - 127.5).max() <= 1

    asyncio.run(main())


def test_the_same_seed_gives_the_same_bytes_whatever_else_is_being_made(tmp_path: Path) -> None:
    cases: list[tuple[Path, str, dict[str, Any]]] = [
        (pull(tmp_path / "a"), "白", {"guidance": 2.0}),
        (mix(tmp_path / "b"), "two", {}),
    ]

    async def main() -> None:
        for folder, name, options in cases:
            async with await Onnx.start(folder, settings=Settings(threads=2, batch=9)) as runtime:
                alone = [await one(runtime, ask(name, seed=seed, **options)) for seed in range(24)]
                together = await asyncio.gather(*(one(runtime, ask(name, seed=n, **options)) for n in range(24)))
                assert together == alone and len(set(alone)) == 24
                drafts = await answer(runtime, ask(name, seed=3, count=5, **options))
                found = {draft.index: draft.media.data for draft in drafts if draft.media}
                assert [found[n] for n in range(5)] == alone[3:8]

    asyncio.run(main())


def test_a_graph_whose_rows_depend_on_their_number_always_runs_at_one_size(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=1),
        helper.make_node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "count"], ["velocity"]),
    ]
    folder = save(tmp_path, PULL, nodes, {}, "velocity")
    graph = Graph.open(folder, PULL, rows=6, threads=1)
    assert graph.padding == 6
    rows: dict[str, Any] = {
        "x": np.ones((2, 1, 4, 6), np.float32),
        "time": np.zeros(2, np.float32),
        "label": np.zeros(2, np.int64),
    }
    assert (graph.run(rows) == 6).all() and len(graph.run(rows)) == 2


def test_concurrent_requests_share_evaluations(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=replace(ONE, gather=0.05)) as runtime:
            await asyncio.gather(*(one(runtime, ask("white", seed=n, steps=10)) for n in range(16)))
            assert runtime.evaluations <= 20  # 160, were each alone; a second wave if one came late
            before = runtime.evaluations
            await asyncio.gather(*(one(runtime, ask("white", seed=n, steps=10)) for n in range(17)))
            assert runtime.evaluations - before >= 20  # one more than a batch holds waits for its turn

    asyncio.run(main())


def test_unlike_requests_share_a_batch_and_each_gets_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path, replace(PULL, solver="heun")), settings=ONE) as runtime:
            asked = [
                ask(words, seed=n, steps=3 + n, guidance=[1, 2.5][n % 2])
                for n, words in enumerate(("white", "black", "WHITE ", "白", "black"))
            ]
            alone = [await one(runtime, prompt) for prompt in asked]
            assert list(await asyncio.gather(*(one(runtime, prompt) for prompt in asked))) == alone

    asyncio.run(main())


def test_previews_come_when_asked_for_and_cost_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=ONE) as runtime:
            *looks, last = await answer(runtime, ask("white", steps=12, preview=4))
            assert 1 <= len(looks) <= 3  # some may be overtaken by newer ones
            assert all(look.finish is None and look.usage.completion == 0 and look.media for look in looks)
            assert last.finish == "stop" and last.media is not None
            plain = await one(runtime, ask("white", steps=12))
            assert plain == last.media.data

    asyncio.run(main())


def test_truncation_shrinks_the_noise(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(mix(tmp_path), settings=ONE) as runtime:
            a = await one(runtime, ask("one", seed=1, truncation=0.0))
            assert a == await one(runtime, ask("one", seed=2, truncation=0))  # the class's own picture
            assert a != await one(runtime, ask("one", seed=1, truncation=0.5))
            assert await one(runtime, ask("one", seed=1)) == await one(runtime, ask("one", seed=1, truncation=1))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        (ask("white", seed="12a"), "seed: wanted a whole number"),
        (ask("white", seed=-1), "seed: wanted 0 to"),
        (ask("white", seed=True), "seed"),
        (ask("white", size="64x64"), "this model makes 6x4 and nothing else"),
        (ask("white", steps=0), "steps"),
        (ask("white", steps=10_000), "steps"),
        (ask("white", guidance=float("nan")), "guidance"),
        (ask("white", truncation=0.5), "truncation"),
        (ask("white", mixing=1), "mixing: this model draws from no styles"),
        (ask("white", mixing_seed=1), "mixing_seed: this model draws from no styles"),
        (ask("white", temperature=1), "temperature"),
        (ask("white", count=1000), "1000 pictures"),
        (ask("purple"), "names no class; wanted one of: black, white"),
        (ask(""), "names no class"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(tmp_path: Path, prompt: Prompt, named: str) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=ONE) as runtime:
            with pytest.raises(InputError, match=named):
                await answer(runtime, prompt)
            assert runtime.evaluations == 0

    asyncio.run(main())


def test_a_class_is_read_from_the_persons_words_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=ONE) as runtime:
            words = (Segment("Draw: ", True), Segment("black", False), Segment("\n", True))
            assert runtime.measure(Prompt(words)) == 0
            with pytest.raises(InputError, match="names no class"):
                runtime.measure(ask("blackish"))
            assert runtime.measure(ask("white", size="512x512", format="webp")) == 0  # others read these

    asyncio.run(main())


def test_guidance_of_a_model_without_classes_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        sampler = replace(PULL, classes=(), names={})
        async with await Onnx.start(pull(tmp_path, sampler), settings=ONE) as runtime:
            assert await one(runtime, ask("", guidance=1))
            with pytest.raises(InputError, match="no classes"):
                await answer(runtime, ask("", guidance=2))

    asyncio.run(main())


def test_a_graph_that_is_damaged_or_another_one_is_refused_in_one_line(tmp_path: Path) -> None:
    def refused(folder: Path, match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            asyncio.run(Onnx.start(folder, settings=ONE))
        assert "\n" not in str(caught.value)

    folder = pull(tmp_path / "a")
    whole = (folder / "model.onnx").read_bytes()
    changed = bytearray(whole)
    place = whole.index(GREY.tobytes())
    changed[place : place + 4] = np.float32(np.nan).tobytes()
    (folder / "model.onnx").write_bytes(changed)
    refused(folder, "not a number")
    (folder / "model.onnx").write_bytes(whole[: len(whole) // 2])
    refused(folder, "no ONNX graph that can be run")
    (folder / "model.onnx").write_bytes(b"not a graph")
    refused(folder, "no ONNX graph that can be run")
    (folder / "model.onnx").unlink()
    refused(folder, "cannot be read")
    (folder / "sampler.json").write_text("[]", encoding="utf-8")
    refused(folder, "sampler.json")

    other = mix(tmp_path / "b")
    (other / "sampler.json").write_text(PULL.to_json(), encoding="utf-8")
    refused(other, "not the graph that sampler.json describes: its inputs are label, noise")
    wide = pull(tmp_path / "c")
    (wide / "sampler.json").write_text(replace(PULL, channels=3).to_json(), encoding="utf-8")
    refused(wide, "not the graph that sampler.json describes")
    fewer = pull(tmp_path / "d")
    (fewer / "sampler.json").write_text(replace(PULL, noise=(1, 1, 1), size=(4, 5)).to_json(), encoding="utf-8")
    refused(fewer, "not the graph that sampler.json describes")


def test_a_graph_that_points_at_other_files_is_refused(tmp_path: Path) -> None:
    folder = pull(tmp_path)
    model = onnx.load(folder / "model.onnx")
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="secret.bin", size_threshold=0)
    with pytest.raises(InputError, match="keeps numbers in other files"):
        asyncio.run(Onnx.start(folder, settings=ONE))


def test_closing_an_answer_takes_it_out_before_the_next_evaluation(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=ONE) as runtime:
            slow_down(runtime, lambda: time.sleep(0.004))
            running = runtime.generate(ask("white", steps=250, preview=1, count=4))
            await anext(running)
            await running.aclose()
            seen = runtime.evaluations
            assert seen < 240 and not runtime._orders
            await one(runtime, ask("white", steps=3))
            assert runtime.evaluations - seen <= 4  # one may have been under way

    asyncio.run(main())


def test_a_cancelled_reader_takes_its_picture_along(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=ONE) as runtime:
            task = asyncio.create_task(answer(runtime, ask("white", steps=250)))
            while not runtime.evaluations:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not runtime._orders and runtime.ready

    asyncio.run(main())


def test_a_full_queue_turns_the_next_one_away_and_nobody_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(pull(tmp_path), settings=replace(ONE, queue=3)) as runtime:
            first = asyncio.create_task(answer(runtime, ask("white", steps=100, count=3)))
            while not runtime._orders:
                await asyncio.sleep(0)
            with pytest.raises(RuntimeFailed, match="3 pictures are waiting already"):
                await answer(runtime, ask("white"))
            assert len(await first) == 3
            assert len(await answer(runtime, ask("white"))) == 1

    asyncio.run(main())


def test_a_model_that_breaks_fails_its_own_picture_and_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        grey = np.array([3e38, 0.0, -3e38], np.float32)  # finite, but black guided away from no class is not
        async with await Onnx.start(pull(tmp_path, grey=grey), settings=ONE) as runtime:
            bad = asyncio.create_task(answer(runtime, ask("black", guidance=5.0, steps=4)))
            good = asyncio.create_task(answer(runtime, ask("white", guidance=1, steps=4)))
            with pytest.raises(RuntimeFailed, match="not a number"):
                await bad
            assert (await good)[0].finish == "stop" and not runtime._orders

    asyncio.run(main())


def test_the_event_loop_goes_on_while_a_picture_is_made(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Onnx.start(mix(tmp_path), settings=ONE) as runtime:
            inside, went_on = threading.Event(), threading.Event()

            def wait() -> None:
                inside.set()
                assert went_on.wait(30), "the loop stands still"

            slow_down(runtime, wait)
            task = asyncio.create_task(one(runtime, ask("one")))
            while not inside.is_set():
                await asyncio.sleep(0.005)
            for _ in range(3):
                await asyncio.sleep(0.005)
            assert not task.done()
            went_on.set()
            assert await task

    asyncio.run(main())


def test_closing_the_runtime_ends_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    async def main() -> None:
        runtime = await Onnx.start(pull(tmp_path), settings=ONE)
        running = asyncio.create_task(answer(runtime, ask("white", steps=250)))
        while not runtime.evaluations:
            await asyncio.sleep(0)
        await runtime.aclose()
        with pytest.raises(RuntimeFailed, match="closed"):
            await running
        with pytest.raises(RuntimeFailed, match="closed"):
            await answer(runtime, ask("white"))
        assert not runtime.ready

    asyncio.run(main())
