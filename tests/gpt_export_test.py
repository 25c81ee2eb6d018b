"""A trained gpt as other tools open it: transformers says the same, and llama.cpp goes on with the same tokens."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spearhead.core import media
from spearhead.core.family import Lesson, Task
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.gpt import FAMILY
from spearhead.models.gpt.config import Config
from spearhead.nn import gguf_file
from spearhead.nn.gguf_header import read_header
from spearhead.pipeline.weights import load
from spearhead.release import fidelity
from spearhead.runtimes.llamacpp import LlamaCpp, Settings
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import train
from spearhead.training.plan import Plan

PLAIN = Template(style="plain", before="<|line|>", stop="<|end|>")
ENGLISH = "The moon is bright before my bed; it seems like frost. I lift my head, and think of my old home. "
VERSES = {"characters": "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。 " + ENGLISH[:60], "bytes-bpe": ENGLISH}
PREFIXES = {"characters": ("舉頭", "The moon", "疑是地", "it "), "bytes-bpe": ("The moon", "it ", "I lift my", "hom")}
CONFIGS = {
    "characters": Config(depth=2, width=32, heads=2, key_heads=1, context=32),
    "bytes-bpe": Config(depth=2, width=32, heads=2, context=32, words="bytes-bpe", vocabulary=300, tie=True),
}


@dataclass(frozen=True)
class Trained:
    """A lesson learnt until it goes on by itself, and the folder that it left."""

    lesson: Lesson
    folder: Path
    words: str


def drained(steps: object) -> object:
    while True:
        try:
            next(steps)  # type: ignore[call-overload]
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="module", params=CONFIGS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One for each kind of words."""
    verse = VERSES[request.param]
    licence = Licence("CC0-1.0", Right.TRAIN | Right.SHARE | Right.SELL, "")
    records = [Record({"text": media.text(verse[i:] + verse[:i])}, licence, "made:here") for i in range(12)]
    config = CONFIGS[request.param]
    task = Task(config=config, train=lambda: records, validation=lambda: records[:2], template=PLAIN)
    lesson = drained(FAMILY.begin(task))
    assert isinstance(lesson, Lesson)
    plan = Plan(steps=60, batch=16, optimiser="muon", learning_rate=0.01, precision="fp32")
    order = Batches(lesson.examples, lesson.pack, plan=plan, change=lesson.change)
    list(train(lesson.model, order, plan, validation=held_out(lesson.held, lesson.pack, plan=plan)))
    folder = tmp_path_factory.mktemp(request.param)
    drained(lesson.finish(folder))
    return Trained(lesson, folder, request.param)


def test_transformers_opens_the_folder_and_says_the_same(trained: Trained) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lesson, folder = trained.lesson, trained.folder
    theirs = AutoModelForCausalLM.from_pretrained(folder / "merged", local_files_only=True)
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    words = AutoTokenizer.from_pretrained(folder / "merged", local_files_only=True)
    verse = VERSES[trained.words][:20]
    ids = torch.tensor([words(verse, add_special_tokens=False).input_ids])
    assert ids[0].tolist() == Tokenizer.open(folder / "merged").encode(verse, special=False)
    assert words.eos_token == "<|end|>" and theirs.config.eos_token_id == words.eos_token_id
    with torch.no_grad():
        assert (theirs(ids).logits - lesson.model(ids)).abs().max() < 1e-4


def test_the_gguf_goes_on_with_the_tokens_of_the_trained_model(trained: Trained) -> None:
    lesson, folder = trained.lesson, trained.folder
    merged = folder / "merged"
    state, config = load(merged)
    gguf_file.write_model(state, config, merged / "tokenizer.json", folder / "full.gguf", layout="F32")
    kept = read_header(folder / "full.gguf").metadata
    assert kept["general.architecture"] == "qwen3"
    assert (kept["tokenizer.ggml.model"], kept["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    tokenizer = Tokenizer.open(merged)
    prompts = [tokenizer.encode(prefix, special=False) for prefix in PREFIXES[trained.words]]
    with np.load(folder / "probe.npz", allow_pickle=False) as probe:
        prefixes, wanted = [row[row >= 0].tolist() for row in probe["prefixes"]], probe["logprobs"]

    async def served() -> tuple[list[list[int]], list[Any]]:
        settings = Settings(slots=1, context=64, threads=1)
        async with await LlamaCpp.start(folder / "full.gguf", merged / "tokenizer.json", settings=settings) as runtime:
            said = [list(prompt) for prompt in prompts]
            for ids in said:
                for _ in range(6):
                    ids.append(int((await runtime.next_logprobs(ids)).argmax()))
            return said, [await runtime.next_logprobs(prefix) for prefix in prefixes]

    said, rows = asyncio.run(served())
    fidelity.require(fidelity.compare(wanted, np.stack(rows)), layout="F16")
    rng = torch.Generator()
    for prompt, ids in zip(prompts, said, strict=True):
        *_, ours = lesson.model.sample(prompt, 1, rng=rng, options={"temperature": 0, "max_tokens": 6})
        assert ours[0].tolist() == ids[len(prompt) :], tokenizer.decode(ids)
    assert json.loads((merged / "config.json").read_text())["model_type"] == "qwen3"


def test_units_that_were_pruned_are_not_in_the_file_and_nothing_else_is_missed(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    from spearhead.models.gpt import words
    from spearhead.models.gpt.export import export
    from spearhead.models.gpt.network import GPT
    from spearhead.training import compress

    model = GPT(Config(depth=2, width=32, heads=2, inner=128, context=32), vocabulary=40)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=rng) / 4)
    smaller = compress.of(model, Plan(prune=0.5, prune_what="units"))
    assert smaller is not None
    smaller.prune(1.0)
    content = words.make([ENGLISH], Config(depth=2, width=32, heads=2), template=PLAIN)
    export(model, tmp_path / "merged", tokenizer=content, stop="<|end|>")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", local_files_only=True)
    assert theirs.config.intermediate_size == 64
    ids = torch.arange(20)[None] % 40
    with torch.no_grad():
        assert (theirs(ids).logits - model(ids)).abs().max() < 1e-4
