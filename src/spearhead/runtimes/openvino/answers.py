"""The answers that a batch computes, as llama.cpp's server tells them: events of text, counts and probabilities.

Knows no connections: who asks gives a function that takes events. One step, then everyone is told, then the next.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spearhead.runtimes.loops import LoopWatch
from spearhead.runtimes.openvino import sampling
from spearhead.runtimes.openvino.batch import Answer, Array, Batch
from spearhead.runtimes.openvino.pieces import Growing, Pieces

if TYPE_CHECKING:
    from spearhead.media.text.keyed import Key

Event = dict[str, Any]
PAUSE = 0.04
"""Seconds between two events of one answer at least: an eye sees no difference, and every event costs its way."""


class Refused(Exception):
    """The request cannot be honoured; the sentence says why."""


@dataclass(slots=True, eq=False)
class Asked:
    """One request under way."""

    answer: Answer
    most: int
    text: Growing
    tell: Callable[[Event], None]
    stream: bool
    begun: float
    watch: LoopWatch
    count: int = 0
    told: float = 0.0
    """When the last event was told."""
    said: list[str] = field(default_factory=list)
    """What has not been told yet."""
    entries: list[Event] = field(default_factory=list)


class Desk:
    """Takes requests, lets the batch step and tells everyone what came of it."""

    def __init__(self, batch: Batch, pieces: Pieces, *, context: int, key: "Key | None" = None) -> None:
        self.batch, self.pieces, self.context, self.key = batch, pieces, context, key
        self.asked: list[Asked] = []

    def warm(self) -> None:
        """Steps over nothing of worth, beside whoever has come already: the first of a kind takes longer."""
        for length in (self.batch.trial, 1):
            one = self.batch.add([0] * length, sampling.Wishes(top_k=1))
            while len(one.tokens) == length:
                self.step()
            self.batch.drop(one)
        self.batch.settle()

    def ask(self, body: Mapping[str, Any], tell: Callable[[Event], None]) -> Asked:
        """Begin what `body` (of llama.cpp's /completion) asks for; raises Refused."""
        try:
            prompt = body["prompt"]
            known = self.batch.form.vocabulary
            if (
                not isinstance(prompt, list)
                or not prompt
                or any(type(t) is not int or not 0 <= t < known for t in prompt)
            ):
                raise ValueError(f"the prompt is no list of token ids below {known}")
            if len(prompt) >= self.context:
                raise ValueError(f"the prompt has {len(prompt)} tokens, the context {self.context}")
            most = min(int(body.get("n_predict", self.context)), self.context - len(prompt))
            stops = [str(stop) for stop in body.get("stop", ()) if stop]
            wishes = sampling.wishes(body, key=self.key)
            watch = LoopWatch(int(body.get("stop_repeats", 0)))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Refused(str(error)) from error
        answer = self.batch.add(prompt, wishes, most=max(1, most))
        one = Asked(answer, max(1, most), Growing(stops), tell, bool(body.get("stream")), time.monotonic(), watch)
        self.asked.append(one)
        return one

    def leave(self, one: Asked) -> None:
        """End a request, whole or not."""
        if one in self.asked:
            self.asked.remove(one)
            self.batch.drop(one.answer)

    def step(self) -> None:
        """Compute once and tell."""
        drawn = self.batch.step()
        asked = {one.answer: one for one in self.asked}
        for found in drawn:
            one = asked.get(found.answer)
            if one is not None and one in self.asked:  # an end may lie before the last token of a step
                self._take(one, found.token, found.logprobs)

    def _take(self, one: Asked, token: int, row: Array | None) -> None:
        one.count += 1
        ended = token in self.pieces.ends
        piece = b"" if ended else self._piece(token)
        text = one.text.feed(piece)
        full = one.count >= one.most or one.watch.feed(text)
        stop = "eos" if ended else "word" if one.text.stopped else "limit" if full else ""
        text += one.text.rest() if stop else ""
        one.said.append(text)
        if row is not None:
            one.entries.append(self._entry(token, row, one.answer.sampler.wishes.alternatives))
        now = time.monotonic()
        if stop:
            self.leave(one)
            timings = {"cache_n": one.answer.cached, "predicted_ms": round((now - one.begun) * 1000, 1)}
            one.tell({**self._event(one), "stop": True, "stop_type": stop, "timings": timings})
        elif one.stream and now - one.told >= PAUSE and (one.entries or any(one.said)):
            one.told = now
            one.tell(self._event(one))

    def _event(self, one: Asked) -> Event:
        found: Event = {
            "content": "".join(one.said),
            "stop": False,
            "tokens_predicted": one.count,
            "tokens_evaluated": one.answer.prompt,
        }
        if one.entries:
            found["completion_probabilities"] = one.entries
        one.said, one.entries = [], []
        return found

    def _entry(self, token: int, row: Array, count: int) -> Event:
        """One token with its probability and those of the likeliest, all before biases and penalties."""
        tokens = sampling.largest(row, min(count, len(row)))
        return {**self._named(token, row), "top_logprobs": [self._named(int(other), row) for other in tokens]}

    def _named(self, token: int, row: Array) -> Event:
        piece = self._piece(token)
        value = float(np.maximum(row[token], -1e30))  # JSON has no infinity
        return {"id": token, "token": piece.decode("utf-8", "replace"), "bytes": list(piece), "logprob": value}

    def _piece(self, token: int) -> bytes:
        return self.pieces.bytes[token] if token < len(self.pieces.bytes) else b""
