"""A GGUF file as a Generator: answers come from a worker process that may crash or be replaced while the service runs.

Knows nothing of accounts, review or labels.
"""

import asyncio
import dataclasses
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Draft, Prompt, Usage, seed_of
from spearhead.core.sentence import said
from spearhead.core.template import Segment
from spearhead.media.text.tokens import Tokenizer
from spearhead.runtimes.failure import OptionRefused, PromptTooLong, RuntimeFailed
from spearhead.runtimes.llamacpp import options, wire
from spearhead.runtimes.llamacpp.ahead import Ahead
from spearhead.runtimes.llamacpp.process import Moved, Settings, Worker, launch
from spearhead.runtimes.loops import LoopWatch
from spearhead.runtimes.merged import merged

log = logging.getLogger("spearhead.runtimes")
MOST_MEASURED = 64
"""Prompts whose token ids are remembered: those of one request."""
_FINISH = {"eos": "stop", "word": "stop", "limit": "length"}


class LlamaCpp:
    """A model that answers prompts. Use it as `async with await LlamaCpp.start(model, tokenizer) as runtime:`."""

    def __init__(self, model: Path, tokenizer: Tokenizer, settings: Settings) -> None:
        """Use `start`."""
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._worker: Worker | None = None
        self._measured: OrderedDict[int, tuple[tuple[Segment, ...], list[int]]] = OrderedDict()
        self._changed = asyncio.Condition()
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.restarts = 0
        """How often a worker has crashed and been replaced."""
        self.recycled = 0
        """How often a worker has grown too large and been replaced."""
        self.last_failure = ""

    @classmethod
    async def start(
        cls, model: Path, tokenizer: Path, *, settings: Settings | None = None, ahead: Ahead | None = None
    ) -> "LlamaCpp":
        """Load `model` (GGUF) and `tokenizer` (tokenizer.json); raises InputError when either cannot be read.

        So it does when `settings.adapter` is missing, damaged or of another model: never is the model served bare.
        """
        if not model.is_file():
            raise InputError(f"{model} is not there: wanted a GGUF file")
        if settings is not None and settings.adapter is not None and not settings.adapter.is_file():
            raise InputError(f"{settings.adapter} is not there: wanted a GGUF adapter for {model.name}")
        settings = settings or Settings()
        launching = asyncio.create_task(launch(model, settings, ahead=ahead))
        try:  # both take their time, and on two cores they take it at once
            runtime = cls(model, await asyncio.to_thread(Tokenizer.open, tokenizer), settings)
        except BaseException:
            launching.cancel()
            for worker in await asyncio.gather(launching, return_exceptions=True):
                if isinstance(worker, Worker):
                    await worker.close()
            raise
        await runtime._begin(await launching)
        return runtime

    @property
    def context(self) -> int:
        """The most tokens that prompt and answer may have together."""
        return self._context

    @property
    def ready(self) -> bool:
        """Whether a worker is up now."""
        return self._worker is not None and self._worker.alive

    @property
    def engine(self) -> str:
        """What computes now, and why it is not what is faster here where that could not be had."""
        worker = self._worker
        return "" if worker is None else f"{worker.engine.name} ({worker.note})" if worker.note else worker.engine.name

    @property
    def pids(self) -> tuple[int, ...]:
        """The worker process now, or nothing while it restarts."""
        return (self._worker.pid,) if self._worker else ()

    def rss(self) -> int:
        """Resident bytes of the worker."""
        return self._worker.rss() if self._worker else 0

    def encode(self, prompt: Prompt) -> list[int]:
        """The token ids of a prompt; they are remembered until it is answered, for it is measured before."""
        name = id(prompt.segments)  # of nothing else while they are kept here
        segments, ids = self._measured.get(name, (None, []))
        if segments is not prompt.segments:
            ids = self._tokenizer.encode_segments(prompt.segments)
            self._measured[name] = (prompt.segments, ids)
            if len(self._measured) > MOST_MEASURED:
                self._measured.popitem(last=False)
        return ids

    def measure(self, prompt: Prompt) -> int:
        """How many tokens the prompt has."""
        return len(self.encode(prompt))

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Draft, None]:
        """Drafts of `prompt.count` answers, sampled at once with the seeds seed, seed+1, ...; see core.Generator.

        Raises InputError on a prompt or option that cannot be honoured, RuntimeFailed when the worker dies.
        """
        tokens = self.encode(prompt)
        self._measured.pop(id(prompt.segments), None)
        self._check(tokens)
        seed = prompt.seed if prompt.seed is not None else random.SystemRandom().getrandbits(31)
        bodies = [
            options.body(
                tokens,
                prompt.options,
                stop=prompt.stop,
                seed=seed_of(seed, index),
                vocabulary=self._tokenizer.size,
            )
            for index in range(prompt.count)
        ]
        times = int(prompt.options.get("stop_repeats") or 0)
        if len(bodies) == 1:
            drafts = self._answer(bodies[0], index=0, times=times)
        else:
            drafts = merged([self._answer(body, index=index, times=times) for index, body in enumerate(bodies)])
        try:
            async for draft in drafts:
                yield draft
        finally:
            await drafts.aclose()

    async def next_logprobs(self, prefix: Sequence[int], *, top: int | None = None) -> "np.ndarray[Any, Any]":
        """Natural log-probabilities of the token after `prefix`: (vocabulary,), -inf outside the `top` likeliest.

        Without `top` the whole vocabulary, about 5 MB of talk: for checks, not for serving.
        """
        self._check(prefix)
        count = self._tokenizer.size if top is None else top
        body = {
            "prompt": list(prefix),
            "n_predict": 1,
            "n_probs": count,
            "temperature": 0.0,
            "top_k": 1,
            "samplers": ["top_k"],
            "cache_prompt": True,
        }
        said = (await self._ask(body, units=len(prefix) + 1)).get("completion_probabilities")
        if not said:  # the likeliest token is a part of a character, of which the server says nothing
            body["logit_bias"] = [[self._whole_character(), 1e6]]
            said = (await self._ask(body, units=len(prefix) + 1))["completion_probabilities"]
        found = said[0]["top_logprobs"]
        out = np.full(self._tokenizer.size, -np.inf, dtype=np.float32)
        out[[entry["id"] for entry in found]] = [entry["logprob"] for entry in found]
        return out

    async def nats(self, prefix: Sequence[int], answer: Sequence[int]) -> "np.ndarray[Any, Any]":
        """-ln p of each token of `answer` after `prefix` and the tokens before it: (len(answer),).

        llama.cpp's server gives no probabilities of prompt tokens. So each is asked for as a generation of one
        token, pushed to the wanted one by a bias: the probability that comes with it is taken before the bias, so it
        is exact. The prefix stays cached, so a position costs what one generated token costs. The server says nothing
        of a token that is a part of a character: there another one is generated, with the whole vocabulary beside it.
        """
        tokens = [*prefix, *answer]
        self._check(tokens)
        out = np.zeros(len(answer))
        for at, wanted in enumerate(answer):
            body = {
                "prompt": tokens[: len(prefix) + at],
                "n_predict": 1,
                "n_probs": 1,
                "temperature": 0.0,
                "top_k": 1,
                "samplers": ["top_k"],
                "logit_bias": [[wanted, 1e6]],
                "cache_prompt": True,
            }
            said = (await self._ask(body, units=len(tokens))).get("completion_probabilities")
            if not said:
                body |= {"logit_bias": [[self._whole_character(), 1e6]], "n_probs": self._tokenizer.size}
                (row,) = (await self._ask(body, units=len(tokens)))["completion_probabilities"]
                (found,) = (entry["logprob"] for entry in row["top_logprobs"] if entry["id"] == wanted)
                out[at] = -found
                continue
            got = said[0]
            if got["id"] != wanted:
                raise RuntimeFailed(f"asked for token {wanted}, got {got['id']}: probabilities cannot be measured")
            out[at] = -got["logprob"]
        return out

    def _whole_character(self) -> int:
        """A token that is a character, or several."""
        for letter in ["e", "a", "1", ",", "."]:
            if (ids := self._tokenizer.encode(letter, special=False)) and len(ids) == 1:
                return ids[0]
        raise RuntimeFailed("the tokenizer has no token for a letter: probabilities cannot be measured")

    async def slots(self) -> list[bool]:
        """Which slots of the worker are busy."""
        worker = await self._current()
        return [bool(slot["is_processing"]) for slot in await wire.ask(worker.socket, "GET", "/slots")]

    async def recycle(self) -> None:
        """Start a fresh worker, let the old one finish what it has, and end it. No request is dropped."""
        old = await self._current()
        await self._install(await launch(self._model, self._settings))
        self.recycled += 1
        old.retire()
        self._spawn(self._finish(old))

    async def aclose(self) -> None:
        """End the worker; running answers fail."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._workers))
        self._worker = None
        async with self._changed:
            self._changed.notify_all()

    async def __aenter__(self) -> "LlamaCpp":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _begin(self, worker: Worker) -> None:
        self._context = worker.context
        await self._install(worker)
        self._spawn(self._watch_memory())

    async def _install(self, worker: Worker) -> None:
        self._workers.add(worker)
        async with self._changed:
            self._worker = worker
            self._changed.notify_all()
        log.info("%s is computed by %s", self._model.name, self.engine)
        self._spawn(self._watch(worker))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, worker: Worker) -> None:
        """Replace the worker when it dies; with growing pauses, should every new one die too."""
        reason = await worker.gone()
        await worker.close()
        self._workers.discard(worker)
        if self._closing or worker is not self._worker:
            return
        self._worker, self.last_failure = None, reason
        self.restarts += 1
        pause = 0.1
        while not self._closing:
            try:
                await self._install(await launch(self._model, self._settings))
                return
            except (InputError, RuntimeFailed, wire.Disconnected, wire.Unreachable, OSError) as error:
                self.last_failure = str(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 10.0)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(self._settings.watch_seconds)
            worker = self._worker
            if worker is None or not worker.alive:
                continue
            if worker.rss() > worker.first_rss + self._settings.growth:
                try:
                    await self.recycle()
                except (InputError, RuntimeFailed, wire.Disconnected, wire.Unreachable, OSError) as error:
                    self.last_failure = str(error)  # the old one still serves; try again next time

    async def _finish(self, old: Worker) -> None:
        await old.drained()
        await old.close()

    async def _current(self) -> Worker:
        """The worker to use, waiting for a restart when there is none."""
        worker = self._worker
        if worker is not None and worker.alive:
            return worker
        try:
            async with asyncio.timeout(30), self._changed:
                while self._worker is None or not self._worker.alive:
                    if self._closing:
                        raise RuntimeFailed(said("runtimes.closed"))
                    await self._changed.wait()
                return self._worker
        except TimeoutError:
            raise RuntimeFailed(said("runtimes.llamacpp.gone", why=self.last_failure)) from None

    async def _open(self, body: dict[str, Any], units: int) -> tuple[Worker, wire.Exchange]:
        """What was asked of a worker that has `units` of its context set aside for it."""
        asked = wire.request("POST", "/completion", body)
        while True:
            worker = await self._current()
            try:
                await worker.take(units)
            except Moved:
                await asyncio.sleep(0.01)  # its successor is being put in place
                continue
            try:
                return worker, await wire.begin(worker.socket, asked)
            except wire.Unreachable:  # it has just died: wait for the next one
                worker.give(units)
                await asyncio.sleep(0.05)
            except BaseException:
                worker.give(units)
                raise

    def _check(self, tokens: Sequence[int]) -> None:
        if not tokens:
            raise OptionRefused("prompt", said("runtimes.llamacpp.empty"))
        if len(tokens) >= self.context:
            raise PromptTooLong(said("runtimes.llamacpp.long", tokens=len(tokens), context=self.context))

    async def _answer(self, body: dict[str, Any], *, index: int, times: int = 0) -> AsyncGenerator[Draft, None]:
        """One answer; it ends as `length` when it goes round in circles `times` times (see `loops`)."""
        prompt = len(body["prompt"])
        body["stop_repeats"] = times
        body["n_predict"] = min(body.get("n_predict", self.context), self.context - prompt)
        units = prompt + body["n_predict"]
        begun = finished = again = False
        while not finished:
            worker, exchange = await self._open(body, units)
            watch = LoopWatch(0 if worker.engine.ends_loops else times)
            try:
                async for value in exchange:
                    begun = True
                    text, round_again = "", watch.feed(value["content"])
                    # A reader that is behind gets what has gathered as one draft, up to where the answer goes round:
                    # where that is must not depend on how fast anybody reads.
                    while not round_again and "completion_probabilities" not in value:
                        if (later := exchange.waiting()) is None:
                            break
                        text += value["content"]
                        value = later
                        round_again = watch.feed(value["content"])
                    draft = _draft(value, text, index)
                    if round_again and draft.finish is None:
                        draft = dataclasses.replace(draft, finish="length")
                    finished = draft.finish is not None
                    yield draft
                    if finished:
                        break
                if not finished:
                    raise RuntimeFailed(said("runtimes.llamacpp.silent"))
            except wire.Disconnected as error:
                if begun or again:  # a second try only: a prompt that kills workers must not kill them all
                    raise _failure(error) from error
                again = True
            except wire.Rejected as error:
                raise _failure(error) from error
            finally:
                self._leave(worker, exchange, units)

    async def _ask(self, body: dict[str, Any], *, units: int) -> Any:
        worker, exchange = await self._open(body, units)
        try:
            async for value in exchange:
                return value
        except (wire.Disconnected, wire.Rejected) as error:
            raise _failure(error) from error
        finally:
            self._leave(worker, exchange, units)
        raise RuntimeFailed(said("runtimes.llamacpp.nothing"))

    def _leave(self, worker: Worker, exchange: wire.Exchange, units: int) -> None:
        """Close the connection; what it held of the context is free once the server knows."""
        if exchange.done:
            exchange.close()
            worker.give(units)
        else:
            self._spawn(_hang_up(worker, exchange, units))


async def _hang_up(worker: Worker, exchange: wire.Exchange, units: int) -> None:
    try:
        await exchange.hang_up()
    finally:
        worker.give(units)


def _draft(value: dict[str, Any], before: str, index: int) -> Draft:
    """What llama.cpp says as a draft, with the text that came `before`."""
    usage = Usage(value["tokens_evaluated"], value["tokens_predicted"])
    finish = None
    if value["stop"]:
        usage = Usage(usage.prompt, usage.completion, value["timings"]["cache_n"])
        finish = _FINISH.get(value["stop_type"], "stop")
    logprobs = value.get("completion_probabilities")
    return Draft(index, before + value["content"], usage=usage, finish=finish, logprobs=logprobs)


def _failure(error: wire.Disconnected | wire.Rejected) -> InputError | RuntimeFailed:
    if isinstance(error, wire.Disconnected):
        return RuntimeFailed(said("runtimes.llamacpp.broke_off", why=str(error)))
    if error.kind == "exceed_context_size_error":
        return PromptTooLong(str(error))
    if 400 <= error.status < 500:
        return InputError(said("runtimes.llamacpp.refuses", why=str(error)))
    return RuntimeFailed(said("runtimes.llamacpp.failed", why=str(error)))
