"""Continuous batching: one step computes the next tokens of every answer, and beside them pieces of new prompts.

Knows token ids; nothing of text or connections. A step costs about the same for one answer as for sixteen, so whoever
comes joins the next step instead of waiting (Yu et al. 2022).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from spearhead.core import memory
from spearhead.nn.gguf_header import Gguf
from spearhead.runtimes.openvino import graph, weights
from spearhead.runtimes.openvino.drafts import MOST, Drafts
from spearhead.runtimes.openvino.pages import Pages
from spearhead.runtimes.openvino.sampling import Sampler, Wishes, logprobs

Array = np.ndarray[Any, np.dtype[Any]]
WIDEST, GUESSED = 96, 32
"""Tokens in one step, and guessed ones among them that cost a place: more are no faster, and each takes memory.

Places that would be empty are filled with further guesses.
"""
LEAST = 4
"""Tokens that are worth copying from another block instead of computing them."""
PATIENCE = 4
"""Steps in which prompts may be computed beside the answers before they get wider steps of their own."""


def tokens_of_step(*, running: int, ready: int, waiting: int, most: int) -> int:
    """How many tokens the next step has, empty places among them; `most` at most.

    Of `running` answers, `ready` give one token each, and `waiting` tokens of prompts are not computed yet. When a step
    has another size than the one before, the runtime prepares every product anew: that takes as long as 12 tokens
    (3 ms and 0.25, with 135 million parameters on two cores). So the size stays while about as many answers run.

    >>> tokens_of_step(running=1, ready=1, waiting=0, most=96), tokens_of_step(running=1, ready=0, waiting=40, most=96)
    (8, 48)
    >>> tokens_of_step(running=13, ready=13, waiting=0, most=96)
    46
    >>> tokens_of_step(running=16, ready=14, waiting=80, most=96)
    46
    """
    about = 1 << max(0, running - 1).bit_length()
    usual = min(most, 6 + 5 * about // 2)
    if waiting <= PATIENCE * (usual - ready):
        return usual
    return min(most, -(-(ready + waiting) // 16) * 16)


@dataclass(slots=True, eq=False)
class Answer:
    """One answer under way: `tokens` are the prompt and what followed, the first `done` of them lie in the cache."""

    tokens: list[int]
    sampler: Sampler
    prompt: int
    most: int
    """Tokens that it may come to, with its prompt."""
    drafts: Drafts = field(default_factory=Drafts)
    done: int = 0
    cached: int = 0
    """Tokens of the prompt that another one had computed."""
    blocks: list[int] = field(default_factory=list)
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A new token of an answer; `logprobs` is its row (vocabulary,) where alternatives were asked for."""

    answer: Answer
    token: int
    logprobs: Array | None


class Batch:
    """A compiled model, its cache and the answers under way."""

    def __init__(
        self,
        model: Gguf,
        folder: Path,
        *,
        context: int,
        slots: int,
        width: int,
        threads: int,
        whole: bool = False,
        guesses: int = MOST,
    ) -> None:
        """Compile `model`; raises graph.Unfit. `width` tokens (and `WIDEST`) are computed in one step at most.

        `whole` keeps keys and values as float16; else they are kept in 8 bits, with a scale for each token and head.
        `guesses` tokens are guessed for an answer in one step at most.
        """
        self.form = graph.form(model)
        shelf = weights.Shelf(folder, size=weights.room(list(model.tensors.values())))
        built = graph.build(model, self.form, shelf)
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "f32",  # the processor's half precision saves nothing here and rounds more
            "KV_CACHE_PRECISION": "f16" if whole else "u8",
            "KEY_CACHE_QUANT_MODE": "BY_TOKEN",  # by channel a token would round those before it once more
        }
        compiled = ov.Core().compile_model(built, "CPU", config)
        self.width, self.guesses = max(min(width, WIDEST), slots), guesses
        size = compiled.input("value_cache.0").partial_shape[2].get_length()
        self.trial = min(self.width, context - 1)
        """Tokens of the longest step."""
        nobody = -(-self.width // size)
        # Each answer may leave a part of its last block empty; and the first one may come while `Desk.warm` computes.
        count = -(-context // size) + slots + -(-(self.trial + 1) // size) + nobody
        self.pages = Pages(count, size=size, keep=count // 8)
        self._nobody = [self.pages.take() for _ in range(nobody)]
        """Blocks for what is computed in a step's empty places."""
        self.running: list[Answer] = []
        self._request = compiled.create_infer_request()
        self._caches = _caches(compiled, self._request, count)
        self._shelf = shelf

    def settle(self) -> None:
        """Give back what lies in memory for nothing.

        The first steps pack the matrices, of whose originals single rows are read from then on; and steps of many
        sizes leave holes behind.
        """
        self._shelf.forget()
        memory.trim()

    @property
    def reserve(self) -> int:
        """Bytes that come into memory as they are first used: the cache, and the matrices as they are packed."""
        return sum(cache.nbytes for cache in self._caches) + self._shelf.size

    def add(self, prompt: Sequence[int], wishes: Wishes, *, most: int = 1) -> Answer:
        """Begin an answer of `most` tokens to `prompt`; its first token comes out of a later step."""
        one = Answer(list(prompt), Sampler(wishes, prompt), len(prompt), len(prompt) + most)
        self.running.append(one)
        return one

    def drop(self, one: Answer) -> None:
        """End an answer; what it computed stays known for a while."""
        self.running.remove(one)
        self.pages.learn(one.tokens[: one.done], one.blocks)
        self.pages.release(one.blocks)
        one.blocks = []

    def step(self) -> list[Drawn]:
        """Compute once; the tokens that came out of it, those of one answer in their order."""
        taken, width = self._shares()
        logits = self._compute(taken, width)
        plain = logits.argmax(axis=1) if any(one.sampler.plain for one, _ in taken) else []
        out: list[Drawn] = []
        row = 0
        for one, fed in taken:
            if not (last := _last(one, fed)):
                one.done += len(fed)
                continue
            if len(one.tokens) == one.prompt:
                self.pages.learn(one.tokens, one.blocks)
            for at in range(row, row + last):
                found = logprobs(logits[at]) if one.sampler.wishes.alternatives else None
                token = int(plain[at]) if one.sampler.plain else one.sampler.pick(logits[at])
                one.drafts.seen(token)
                one.tokens.append(token)
                out.append(Drawn(one, token, found))
                if at + 1 < row + last and token != fed[at + 1 - row]:
                    break  # what was computed after a wrong guess is worth nothing
            one.done = len(one.tokens) - 1
            row += last
        return out

    def _shares(self) -> tuple[list[tuple[Answer, list[int]]], int]:
        """Which tokens of whom the next step computes, and how many it has room for.

        The last of each answer with the guesses that are worth a place, then prompts in turn, then further guesses.
        """
        taken = []
        ready = [one for one in self.running if one.begun and len(one.tokens) - one.done == 1]
        waiting = sum(len(one.tokens) - one.done for one in self.running) - len(ready)
        width = tokens_of_step(running=len(self.running), ready=len(ready), waiting=waiting, most=self.width)
        left = width - len(ready)
        guessed = min(left, GUESSED)
        for one in ready:
            guess = one.drafts.guess(one.tokens, running=len(self.running), most=min(guessed, self._guessable(one)))
            taken.append((one, [one.tokens[-1], *guess]))
            guessed -= len(guess)
            left -= len(guess)
        served = set(ready)
        for one in self.running:
            if left and one not in served:
                if not one.begun:  # only now: those before it may have brought what it begins with
                    self._begin(one)
                rest = len(one.tokens) - one.done
                count = min(left, rest)
                count -= rest - count == 1
                if count > 1 or count == rest:  # a piece of one token alone rounds in another way
                    taken.append((one, one.tokens[one.done : one.done + count]))
                    left -= count
        for one, fed in taken[: len(ready)]:
            guess = one.drafts.guess(one.tokens, running=0, most=min(len(fed) - 1 + left, self._guessable(one)))
            more = guess[len(fed) - 1 :]
            fed += more
            left -= len(more)
        return taken, width

    def _guessable(self, one: Answer) -> int:
        """Tokens that may be guessed of an answer: after them one more is drawn."""
        return max(0, min(self.guesses, one.most - len(one.tokens) - 1))

    def _begin(self, one: Answer) -> None:
        """Take over what is known of the prompt: whole blocks are shared, the beginning of another one is copied."""
        one.begun = True
        one.blocks, (block, length) = self.pages.begin(one.tokens, limit=one.prompt - 2)
        one.done = len(one.blocks) * self.pages.size
        if length >= LEAST:
            own = self.pages.take()
            one.blocks.append(own)
            for cache in self._caches:  # (block, heads, token, width)
                cache[own, :, :length] = cache[block, :, :length]
            one.done += length
        one.cached = one.done

    def _compute(self, taken: Sequence[tuple[Answer, list[int]]], width: int) -> Array:
        """Logits (wanted rows, vocabulary) after the last tokens of everyone whose tokens are all in the cache then.

        Where `taken` has fewer tokens than `width`, nobody's are computed for nobody.
        """
        size = self.pages.size
        tokens: list[int] = []
        places: list[int] = []
        rows: list[int] = []
        past: list[int] = []
        begins, blocks, block_begins = [0], list[int](), [0]
        for one, fed in taken:
            end = one.done + len(fed)
            while len(one.blocks) * size < end:
                one.blocks.append(self.pages.take())
            tokens += fed
            places += range(one.done, end)
            # Attention over one new token rounds in its own way. So a guess stands as a sequence of its own over the
            # same blocks, all of which are written before they are read: guessing changes not one bit of an answer.
            pieces = [len(fed)] if one.done < one.prompt else [1] * len(fed)
            at = one.done
            for length in pieces:
                past.append(at)
                at += length
                begins.append(begins[-1] + length)
                blocks += one.blocks[: -(-at // size)]
                block_begins.append(len(blocks))
            rows += range(len(tokens) - _last(one, fed), len(tokens))
        # So does a product over one row, which no step is: a row that is wanted alone is computed twice.
        if empty := width - len(tokens):
            past.append(0)
            begins.append(begins[-1] + empty)
            blocks += self._nobody[: -(-empty // size)]
            block_begins.append(len(blocks))
            tokens += [0] * empty
            places += range(empty)
        lists: Mapping[str, Any] = dict(zip(graph.PAGING, (past, begins, blocks, block_begins), strict=True))
        inputs = {name: np.array(values, np.int32) for name, values in lists.items()}
        inputs[graph.LONGEST] = np.array(max(one.done + len(fed) for one, fed in taken), np.int32)
        inputs |= {"tokens": np.array(tokens, np.int64), "places": np.array(places, np.int64)}
        inputs["rows"] = np.array(rows if len(rows) > 1 else (rows or [0]) * 2, np.int64)
        for name, values in inputs.items():
            self._request.set_tensor(name, ov.Tensor(values))
        self._request.infer()
        return self._request.get_output_tensor(0).data[: len(rows)]  # type: ignore[no-any-return]


def _last(one: Answer, fed: Sequence[int]) -> int:
    """After how many of the last tokens of `fed` the next one is asked for: none while its prompt goes on."""
    return max(0, one.done + len(fed) + 1 - len(one.tokens))


def _caches(compiled: Any, request: Any, count: int) -> list[Array]:
    """The key and value blocks of every layer, given to `request`; pages of memory that nothing has touched yet."""
    out = []
    for port in compiled.inputs:
        name = port.any_name
        if "_cache." in name:
            shape = [count, *(part.get_length() for part in list(port.partial_shape)[1:])]
            out.append(np.empty(shape, port.element_type.to_dtype()))
            request.set_tensor(name, ov.Tensor(out[-1], shared_memory=True))
    return out
