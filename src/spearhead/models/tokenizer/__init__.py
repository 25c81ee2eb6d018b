"""Tokenizers of pictures, FSQ and VQ: what the catalogue sees. Imports no torch."""

import math
from collections.abc import Generator, Mapping
from typing import Any

from spearhead.core.family import OF_EMBEDDINGS, OF_MATRICES, Family, Lesson, Task, Words
from spearhead.core.generation import Progress
from spearhead.core.sentence import said
from spearhead.models.tokenizer.config import Config, impossible


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.tokenizer.begin import begin

    return (yield from begin(task))


def _unservable(config: Config) -> str:
    return "a tokenizer makes no pictures by itself: it is a codec that other models stand on"


def _words(config: Config) -> Words:
    codes = math.prod(config.levels) if config.quantiser == "fsq" else config.codes
    return [(said("models.tokenizer.quantiser"), config.quantiser), (said("models.tokenizer.codes"), f"{codes:,}")]


def _found(facts: Mapping[str, Any]) -> Words:
    error = said("models.tokenizer.squares", error=facts["held_error"], psnr=facts["held_psnr"])
    used, vocab, perplexity = facts["held_used"], facts["held_vocab"], facts["held_perplexity"]
    share = said("models.tokenizer.share", used=used, vocab=vocab, perplexity=perplexity)
    return [(said("models.tokenizer.held_out"), error), (said("models.tokenizer.in_use"), share)]


FAMILY = Family(
    name="tokenizer",
    config=Config,
    presets={
        "debug": Config(size=8, levels=(5, 5), codes=25, width=8, halvings=1),
        "default": Config(),
        "vq": Config(quantiser="vq"),
        "colour": Config(size=64, channels=3, levels=(8, 8, 8, 6, 5), width=64, halvings=3),
    },
    begin=_begin,
    modality="image",
    impossible=impossible,
    unheard={**OF_EMBEDDINGS, **OF_MATRICES},
    unservable=_unservable,
    words=_words,
    found=_found,
)
