"""A request as it was asked and what has become of it so far. Knows no database and no events."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from spearhead.core import media
from spearhead.core.errors import SpearheadError
from spearhead.core.generation import Prompt, Request, Usage
from spearhead.core.manifest import PriceTag
from spearhead.core.media import Media
from spearhead.core.review import Context, Decision, Direction, Verdict
from spearhead.core.sentence import said
from spearhead.engine import books, outputs, pictures
from spearhead.engine.loaded import Loaded
from spearhead.engine.outputs import Output
from spearhead.ledger import price
from spearhead.ledger.holds import Reservation
from spearhead.review.stream import StreamReview
from spearhead.runtimes.failure import OptionRefused, PromptTooLong

_KEPT = ("seed", "context", "stop")
"""Keys of the generation table that are not sampling options of a runtime."""


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt of a request, read and measured."""

    messages: tuple[Mapping[str, str], ...]
    prompt: Prompt
    words: str
    units: int
    most: int
    """Units that one answer can have."""
    context: Context
    """What a check may know of its answers."""


@dataclass(slots=True)
class Answer:
    """One answer as it grows."""

    index: int
    question: Question
    stream: StreamReview
    held: Verdict | None = None
    """The verdict on its prompt, where that is held: then nothing of it leaves."""
    media: Media | None = None
    """The picture; None for a text."""
    pieces: list[str] = field(default_factory=list)
    shown: int = 0
    usage: Usage = Usage()
    finish: str | None = None
    tail: str = ""
    verdict: Verdict | None = None
    row: Output | None = None
    file: Media | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def cut_off(self) -> bool:
        """Whether a part of it has left and no row says so."""
        return self.row is None and self.shown > 0


@dataclass(slots=True, eq=False)
class Job:
    """A request under way."""

    request: Request
    key: str | None
    loaded: Loaded
    questions: tuple[Question, ...]
    reserved: int
    price: PriceTag
    """As it was when the request came: the release's own may change meanwhile."""
    reservation: Reservation | None = None
    reserving: "asyncio.Task[None] | None" = None
    answers: dict[int, Answer] = field(default_factory=dict)
    unsaved: list[Answer] = field(default_factory=list)
    saving: "asyncio.Task[None] | None" = None
    doubtful: bool = False
    """A write of rows was told to have failed: what a lost connection says of a commit need not be so."""
    began: bool = False
    milliseconds: int = 0
    """Of the whole machine: its share while others ran beside it."""
    later: bool = False
    """The text leaves in a body, without its file: that is made when nobody is answered, or at once for a person."""
    ahead: bool = False
    """The caller wants the last events while the disk is waited for, and lets nothing of them leave before the end."""
    ended: SpearheadError | None = None
    """Why it ends at its next event, as a client that leaves would end it; None: it goes on."""
    once: str | None = None
    """The key under which the caller's account asked, so that a repetition does not run beside this."""
    renew: Callable[[Connection], object] | None = None
    """What else the caller keeps from running out while this runs."""
    written: "asyncio.Future[None] | None" = None
    """The settlement is in the database; done when it is on the disk too."""

    @property
    def units(self) -> int:
        """Of all prompts."""
        return sum(question.units for question in self.questions)

    @property
    def most(self) -> int:
        """Units that all answers can have together."""
        return sum(question.most for question in self.questions) * self.request.count

    def number(self, index: int) -> int:
        """Which of the questions answer number `index` is to."""
        return index // self.request.count

    def asked(self, numbers: Iterable[int]) -> Usage:
        """What was read of these questions, each counted once however many answers it gets."""
        total = Usage(unit=self.price.unit)
        for number in set(numbers):
            parts = [answer.usage for answer in self.answers.values() if self.number(answer.index) == number]
            total += Usage(max(part.prompt for part in parts), 0, max(part.cached for part in parts))
        return total

    @property
    def made(self) -> Usage:
        """What the runtime has counted so far."""
        completion = sum(answer.usage.completion for answer in self.answers.values())
        return self.asked(map(self.number, self.answers)) + Usage(completion=completion)


def prepared(loaded: Loaded, request: Request, *, key: str | None = None) -> Job:
    """The job of `request`: all that can be known before money moves. Raises InputError on what cannot be answered."""
    if not 1 <= request.count <= books.MOST_ANSWERS:
        raise OptionRefused("n", f"{request.count} answers were asked for: wanted 1 to {books.MOST_ANSWERS}")
    if request.answers > books.MOST_TOGETHER:
        raise OptionRefused("n", f"{request.answers} answers were asked for: wanted at most {books.MOST_TOGETHER}")
    questions = []
    for number, messages in enumerate(conversations_of(request)):
        try:
            questions.append(_question(loaded, request, messages))
        except (PromptTooLong, OptionRefused) as error:
            error.number = number if request.prompts else None
            raise
    units, most = sum(one.units for one in questions), sum(one.most for one in questions)
    reserved = price.most_it_can_cost(loaded.price, prompt_units=units, max_completion=most, count=request.count)
    return Job(request, key, loaded, tuple(questions), reserved, loaded.price)


def _question(loaded: Loaded, request: Request, messages: tuple[Mapping[str, str], ...]) -> Question:
    if any("\0" in message["content"] for message in messages):
        raise OptionRefused("prompt", said("engine.prompt.nul"))
    segments = loaded.template.turns(messages)
    defaults = {name: value for name, value in loaded.manifest.generation.items() if name not in _KEPT}
    options = {**defaults, **{name: value for name, value in request.options.items() if name != "stop"}}
    stop = tuple(dict.fromkeys((*filter(None, (loaded.template.stop,)), *request.options.get("stop", ()))))
    seed = request.seed if request.seed is not None else random.SystemRandom().getrandbits(31)
    prompt = Prompt(tuple(segments), count=request.count, options=options, seed=seed, stop=stop)
    words = _words(messages)
    context = context_of(loaded, Direction.OUTPUT, source=media.text(words))
    units = loaded.runtime.measure(prompt)
    if loaded.manifest.modality == "image":
        pictures.check(request.options, made=loaded.size)
        own = {name: value for name, value in options.items() if name not in pictures.OURS}
        prompt, most = replace(prompt, options=own), 1
    else:
        most = _room(loaded, request, units=units, options=options)
        prompt = replace(prompt, options={**options, "max_tokens": most})
    return Question(messages, prompt, words, units, most, context)


def _room(loaded: Loaded, request: Request, *, units: int, options: Mapping[str, Any]) -> int:
    """Tokens that an answer can have; raises PromptTooLong, and OptionRefused where there is nothing to go on from."""
    if units < 1:
        raise OptionRefused("prompt", said("engine.prompt.empty"))
    room = loaded.runtime.context - units
    if room < 1:
        raise PromptTooLong(
            said("engine.prompt.long", tokens=units, scenario=request.scenario, context=loaded.runtime.context)
        )
    if request.options.get("max_tokens", 0) > room:
        raise PromptTooLong(
            said(
                "engine.prompt.no_room",
                tokens=units,
                asked=request.options["max_tokens"],
                scenario=request.scenario,
                context=loaded.runtime.context,
            )
        )
    return min(int(options.get("max_tokens", room)), room)


def bill_of(job: Job) -> books.Bill:
    """What was counted, and what of it is owed now and once a person approves.

    The customer pays for what left or was cut short by nobody's review: delivered answers and unfinished ones. What was
    judged and whose file could not be made is a gift. A prompt is counted once however many answers it got, and is
    owed with the first of them that is.
    """
    request = job.request
    answers = [a for a in job.answers.values() if a.verdict is None or a.row is not None]
    paid = [a for a in answers if a.verdict is None or a.verdict.decision is Decision.ALLOW]
    held = [a for a in answers if a.verdict is not None and a.verdict.decision is Decision.HOLD]

    def units(some: list[Answer], *, besides: list[Answer]) -> Usage:
        """Of these answers, and of those of their prompts that none of `besides` is to."""
        first, others = ({job.number(answer.index) for answer in group} for group in (some, besides))
        asked = job.asked(first - others)
        made_of_them = sum(answer.usage.completion for answer in some)
        return Usage(asked.prompt, made_of_them, unit=job.price.unit)

    return books.Bill(
        request=request.key,
        key=job.key,
        release=job.loaded.manifest.name,
        made=job.made,
        owed=units(paid, besides=[]),
        waiting=tuple(
            books.Line(
                books.held_key(request.key, outputs.name(request.key, answer.index)),
                units([answer], besides=[*paid, *held[:number]]),
            )
            for number, answer in enumerate(held)
        ),
        hours=job.loaded.policy.held_hours,
        price=job.price,
        milliseconds=job.milliseconds,
    )


def context_of(loaded: Loaded, direction: Direction, *, source: Media | None = None) -> Context:
    """What a check may know of a piece that goes this way."""
    return Context(loaded.manifest.scenario, direction, loaded.language, source)


def conversations_of(request: Request) -> tuple[tuple[Mapping[str, str], ...], ...]:
    """What was asked, each prompt as a conversation."""
    if request.messages:
        return (request.messages,)
    return tuple(({"role": "user", "content": prompt},) for prompt in request.prompts or (request.prompt,))


def _words(messages: Iterable[Mapping[str, str]]) -> str:
    return "\n".join(message["content"] for message in messages)
