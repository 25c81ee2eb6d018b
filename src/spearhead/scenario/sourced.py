"""What a scenario says of its data, looked at before anything is fetched: each fault is one sentence with its key.

Reads no data; with the scenario's folder it looks whether the files of a source are there, with their sums.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.rights import Right
from spearhead.data import clean, language, licences, readers, shapes
from spearhead.data.config import DataConfig, Source


def faults(data: DataConfig, *, price: str) -> Iterator[str]:
    """Everything in `[data]` that cannot be; `price` is what the scenario asks, empty where it asks nothing."""
    wanted = Right.named(data.rights) | (Right.SELL if price else Right(0))
    for number, source in enumerate(data.sources):
        for sentence in _of_source(source, wanted, price):
            yield f"data.sources.{number}.{sentence}"
    for key, rules in (("drop", data.cleaning.drop), ("replace", data.cleaning.replace)):
        for rule in rules.values() if key == "drop" else rules:
            try:
                clean.compiled(rule, key)
            except InputError as error:
                yield str(error)
    for code in data.cleaning.languages:
        if code not in language.TOLD:
            yield f"data.cleaning.languages: {code!r} was given, wanted ISO 639 codes that can be told, as en, zh or fr"


def absent(data: DataConfig, folder: Path) -> Iterator[str]:
    """The sources whose place is not there or holds another file than is meant, seen from the scenario's folder."""
    for number, source in enumerate(data.sources):
        if sentence := Catalogue("spearhead.data.sources", "SOURCE")[source.kind].fault(source, folder):
            yield f"data.sources.{number}.{sentence}"


def unknown(codes: tuple[str, ...]) -> str:
    """The first that is no language code, with or without script and region; empty when all are."""
    return next((code for code in codes if code.partition("-")[0] not in language.CODES), "")


def _of_source(source: Source, wanted: Right, price: str) -> Iterator[str]:
    if sentence := Catalogue("spearhead.data.sources", "SOURCE")[source.kind].fault(source, None):
        yield sentence
    known = ("auto", *readers.READERS, *readers.NAMED)
    if source.reader not in known:
        yield f"reader: {source.reader!r} was given, {_near(source.reader, known)}"
    try:
        "".encode(source.encoding)
    except LookupError:
        yield f"encoding: {source.encoding!r} is unknown: try utf-8 or gb18030"
    for part in source.columns:
        if part not in readers.FILLED:
            yield f"columns.{part}: unknown part; {_near(part, readers.FILLED)}"
    if odd := shapes.misshapen(source.columns):
        yield f"columns: {odd}"
    if source.part and not source.columns.keys().isdisjoint(shapes.SHAPES):
        yield f"part: {source.part!r} was given, but columns name both sides of a pair: leave it out"
    if not source.licence_column:  # else every row brings its own
        yield from _of_licence(source, wanted, price)


def _of_licence(source: Source, wanted: Right, price: str) -> Iterator[str]:
    try:
        found = licences.read(source.licence, credit=source.credit, wanted=wanted)
    except ValueError as error:
        yield f"licence: {error}"
        return
    if why := licences.unfit(found, wanted):
        sold = f", and at a price of {price} the scenario sells" if price and Right.SELL not in found.rights else ""
        yield f"licence: {why}{sold}: wanted a licence with every right of data.rights"


def _near(given: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(given, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"wanted one of {', '.join(known)}"
