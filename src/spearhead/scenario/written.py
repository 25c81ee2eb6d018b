"""The text of a `scenario.toml` over a person's texts. Knows what was found there; looks at no file."""

import json
from collections.abc import Callable
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.scenario import corpus as corpora
from spearhead.scenario.corpus import Corpus


def text(
    name: str,
    corpus: Corpus,
    *,
    place: Path,
    family: str,
    licence: str,
    credit: str,
    review: str,
    people: str,
    quoted: Callable[[str], str],
) -> str:
    """The file; `review` and `people` are lines of `[review]` and `[economics]`, `quoted` writes a text as TOML does.

    Raises InputError for a family that does not learn texts alone.
    """
    if family != corpora.FAMILY:
        raise InputError(f"--family: {family!r} was given, wanted {corpora.FAMILY} for texts")
    context = 256 if corpus.short else 512
    return _TOML.format(
        name=name,
        title=name.replace("-", " ").capitalize(),
        words=quoted(words(place)),
        languages=", ".join(map(quoted, corpus.languages or ("en",))),
        path=quoted(str(place.absolute())),
        endings=f"endings = {json.dumps(list(corpora.ENDINGS))}\n" if place.is_dir() else "",
        reader=corpus.reader,
        encoding="" if corpus.encoding == "utf-8" else f"encoding = {quoted(corpus.encoding)}\n",
        licence=quoted(licence),
        credit=quoted(credit),
        context=context,
        most_tokens=context // 2,
        cases=min(20, corpus.records // 20),  # a tenth is held out; near-duplicates are not counted
        review=review,
        people=people,
    )


def words(place: Path) -> str:
    """One sentence on what such a scenario makes."""
    return f"Continues a text as those of {place.name} go on."


_TOML = """#:schema ./scenario.schema.json
# {title}. Every key is explained in docs/reference/scenario.md; `spearhead check` says what is wrong.

[scenario]
name = "{name}"
title = "{title}"
description = {words}
languages = [{languages}]

[data]
rights = ["train", "share", "sell"]   # what every record's licence must allow
validation = 0.1
test = 0.1

[[data.sources]]
kind = "files"
path = {path}
{endings}reader = "{reader}"   # what is a record: a file (text), paragraphs between empty lines, or lines
{encoding}licence = {licence}
credit = {credit}

[model]   # learnt from nothing; batch, steps and learning rate follow from the depth
family = "gpt"
depth = 4
context = {context}
words = "characters"   # "bytes-bpe": pieces of words, for some million characters or more
dropout = 0.1

[template]
style = "plain"   # nothing stands around a text
stop = "<|end|>"

[training]
minutes = 60.0
average = 0.998
validate_every = 100
save_every = 100

[generation]
temperature = 0.8
top_p = 0.95
max_tokens = {most_tokens}
context = 2048

[evaluation]
metrics = ["distinct_n"]
baselines = ["ngram"]   # nothing is given, so there is nothing to copy
cases = 200
perplexity_cases = 200
noise_cases = 0

[[bars]]   # held-out texts must be likelier than counted characters find them, by paired bootstrap
metric = "bits_per_byte"
beats = ["ngram"]
cases = {cases}

[release]
layouts = ["F16", "Q8_0"]

[review]
{review}

[labels]
producer = "{name}"

[price]   # decimal text per million tokens
currency = "USD"
prompt = "0.20"
completion = "0.80"

[economics]
machine_hour = "0.05"
{people}pieces = 100

[presets.quick.training]
steps = 400
minutes = 4.0

[presets.quick.release]
layouts = ["Q8_0"]

[presets.quick.evaluation]
cases = 40
perplexity_cases = 40
extraction_cases = 0
"""
