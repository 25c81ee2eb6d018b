"""From a scenario's `[data]` to a data folder, once for equal configuration and content. The only place in `data`
that knows the order of the steps; it is handed the checks, and knows no review.
"""

import dataclasses
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spearhead.core import digest
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder, write_whole
from spearhead.core.generation import Progress
from spearhead.core.record import Record
from spearhead.core.review import Check, Context, Direction
from spearhead.core.rights import Right
from spearhead.data import dataset, pictures, split
from spearhead.data.admit import LIMITS, Candidate, Origin, Rights, cleaned, examined, licensed, named, paired
from spearhead.data.clean import Cleaner
from spearhead.data.config import DataConfig, Source
from spearhead.data.dataset import Dataset
from spearhead.data.items import SourceReader
from spearhead.data.language import Languages
from spearhead.data.refusal import Refusal, commonest
from spearhead.store.home import Home

RECIPE = 3
"""Counted up when the same configuration and content would give other records, so that old folders are not reused."""
EVERY = 500
"""Records between two reports of progress."""

Step = Generator[Progress, None, None]


@dataclasses.dataclass(slots=True)
class Batch:
    """What has been gathered so far."""

    records: list[Record] = dataclasses.field(default_factory=list)
    origins: dict[str, tuple[Origin, ...]] = dataclasses.field(default_factory=dict)
    refusals: list[Refusal] = dataclasses.field(default_factory=list)


def prepare(
    config: DataConfig,
    *,
    home: Home,
    folder: Path,
    checks: Sequence[Check],
    sells: bool,
    withdrawn: Collection[str],
    limits: Mapping[str, float | None] = LIMITS,
) -> Generator[Progress, None, Dataset]:
    """The data set of a scenario, from `home.data/<digest>` when it is there already.

    `folder` is the scenario's, `checks` what a record must pass and `limits` from which severity on a finding of theirs
    keeps it out, `withdrawn` the ids in the table of withdrawals (see `withdraw.withdrawn`), `sells` whether the
    scenario has a price. Raises InputError when a source cannot be
    opened, nothing is left to use, or nothing is held out.
    """
    wanted = Right.named(config.rights) | (Right.SELL if sells else Right(0))
    cleaner = Cleaner.of(config.cleaning)
    readers = [_reader(source) for source in config.sources]
    if not readers:
        raise InputError("data.sources is empty: name at least one source")
    base = _base(config, readers, home=home, folder=folder, checks=checks, limits=limits, wanted=wanted)
    listing = home.data / "candidates" / f"{base}.txt"
    batch = Batch()
    if not listing.exists():
        yield from _gather(batch, config, readers, cleaner, home=home, folder=folder, wanted=wanted)
        write_whole(listing, "".join(f"{record.id}\n" for record in batch.records))
    # Only withdrawals that concern these data count, so that others do not start a training anew.
    gone = sorted(set(withdrawn) & set(listing.read_text("utf-8").split()))
    name = digest.of_value([base, gone])
    place = home.data / name
    if (found := _sound(place)) is not None:  # a damaged one is made anew and replaced
        return found
    if not batch.records and not batch.refusals:
        yield from _gather(batch, config, readers, cleaner, home=home, folder=folder, wanted=wanted)
    considered = len(batch.records) + len(batch.refusals)
    _withdraw(batch, gone)
    beyond = _limit(batch, config.limit)
    yield from _examine(batch, config, checks, limits=limits, scenario=folder.name)
    splits: dict[str, list[Record]] = {}
    yield from _split(batch, splits, config)
    _insist(splits, batch, config)
    batch.refusals.sort(key=lambda one: (one.kind, one.source, one.reason))
    kept = {record.id for records in splits.values() for record in records}
    with whole_folder(place, stays=lambda there: _sound(there) is not None) as draft:
        dataset.write(
            draft,
            name=name,
            records=splits,
            origins={record_id: origins for record_id, origins in batch.origins.items() if record_id in kept},
            refusals=batch.refusals,
            facts={
                "considered": considered,
                "beyond_limit": beyond,
                "rights": wanted.names,
                "checks": sorted(check.name for check in checks),
                "names": _names(config),
            },
        )
    yield Progress("data", len(kept), len(kept), "written", "records")
    return Dataset.open(place)


def _sound(place: Path) -> Dataset | None:
    """The data set in a folder; None where there is none, or a damaged one."""
    try:
        return Dataset.open(place) if place.exists() else None
    except InputError:
        return None


def _reader(source: Source) -> SourceReader:
    reader: SourceReader = Catalogue("spearhead.data.sources", "SOURCE")[source.kind]
    if source.part not in ("", "input", "output", "text"):
        raise InputError(f"data.sources.part is {source.part!r}: wanted input, output or text")
    for own, names in source.classes.items():
        if not names or not all(name.strip() for name in names):
            raise InputError(
                f"data.sources.classes.{own} holds no name: wanted the class and its names, all with words"
            )
    return reader


def _names(config: DataConfig) -> dict[str, str]:
    """Further names of classes to the class; raises InputError on a name that two classes share."""
    found: dict[str, str] = {}
    for source in config.sources:
        for first, *others in source.classes.values():
            for name in (first, *others):
                if found.setdefault(name.strip(), first.strip()) != first.strip():
                    raise InputError(f"data.sources.classes: {name!r} names {found[name.strip()]!r} and {first!r}")
    return {name: first for name, first in found.items() if name != first}


def _base(
    config: DataConfig,
    readers: Sequence[SourceReader],
    *,
    home: Home,
    folder: Path,
    checks: Sequence[Check],
    limits: Mapping[str, float | None],
    wanted: Right,
) -> str:
    """Stands for everything that decides which records there are, but for withdrawals."""
    content = [
        reader.fingerprint(source, home=home, folder=folder)
        for reader, source in zip(readers, config.sources, strict=True)
    ]
    settings: dict[str, Any] = dataclasses.asdict(config)
    for name in ("canaries", "canary_repeats"):  # planted while learning: the data are the same without them
        del settings[name]
    for one in settings["sources"]:
        if not one["endings"]:  # what was prepared before there was this key stays as it is
            del one["endings"]
        if not one["registry"]:  # a check of what is there: its content is in the fingerprint
            one["sha256"] = ""
    settings["rights"] = wanted.names
    settings["checks"] = sorted(check.name for check in checks)
    if checks and limits != LIMITS:
        settings["limits"] = dict(limits)
    return digest.of_value({"recipe": RECIPE, "settings": settings, "content": content})


def _gather(
    batch: Batch,
    config: DataConfig,
    readers: Sequence[SourceReader],
    cleaner: Cleaner,
    *,
    home: Home,
    folder: Path,
    wanted: Right,
) -> Step:
    """Read every source, join pairs, clean, and drop exact duplicates (the first source keeps the record)."""
    sides: dict[str, list[dict[str, Candidate]]] = {"input": [], "output": []}
    found: list[Candidate] = []
    for number, (source, reader) in enumerate(zip(config.sources, readers, strict=True)):
        label = reader.label(source)
        yield Progress("data: read", number, len(readers), label, "sources")
        # A source whose own licence does not do is not even fetched, unless its records name theirs.
        verdict = Rights(credit=source.credit, wanted=wanted)(source.licence)
        if isinstance(verdict, str) and not source.licence_column:
            batch.refusals.append(Refusal("licence", verdict, label))
            continue
        side: dict[str, Candidate] = {}
        joins = source.part in sides
        items = (named(item, source) for item in reader.read(source, home=home, folder=folder))
        for one in licensed(source, label, items, wanted):
            if isinstance(one, Refusal):
                batch.refusals.append(one)
                continue
            key, candidate = one
            if not joins:
                found.append(candidate)
            elif key in side:
                batch.refusals.append(Refusal("duplicate", "its key is there twice in this source", candidate.source))
            else:
                side[key] = candidate
        if joins:
            sides[source.part].append(side)
    yield Progress("data: read", len(readers), len(readers), "", "sources")
    for asked, answered in _sides(sides):
        for joined in paired(asked, answered):
            batch.refusals.append(joined) if isinstance(joined, Refusal) else found.append(joined)
    seen: dict[str, str] = {}
    for number, candidate in enumerate(found):
        if number % EVERY == 0:
            yield Progress("data: clean", number, len(found), "", "records")
        record = cleaned(candidate, cleaner, config.pictures)
        if isinstance(record, Refusal):
            batch.refusals.append(record)
        elif record.id in seen:
            reason = f"the same as record {record.id} from {seen[record.id]}"
            batch.refusals.append(Refusal("duplicate", reason, record.source, record.id))
        else:
            seen[record.id] = record.source
            batch.records.append(record)
            batch.origins[record.id] = candidate.origins
    yield Progress("data: clean", len(found), len(found), "", "records")


def _sides(sides: dict[str, list[dict[str, Candidate]]]) -> Iterator[tuple[dict[str, Candidate], dict[str, Candidate]]]:
    """Which input source goes with which output source: in order; a single one goes with each of the others."""
    asked, answered = sides["input"], sides["output"]
    if not asked and not answered:
        return
    if 1 in (len(asked), len(answered)) and asked and answered:
        asked, answered = (
            side * max(len(asked), len(answered)) if len(side) == 1 else side for side in (asked, answered)
        )
    if len(asked) != len(answered):
        raise InputError(
            f'data.sources: {len(asked)} usable sources have part = "input" and {len(answered)} part = "output": '
            "wanted as many of one as of the other (a source with an unfitting licence does not count)"
        )
    yield from zip(asked, answered, strict=True)


def _withdraw(batch: Batch, gone: Sequence[str]) -> None:
    """An exchange that is withdrawn takes what was said after it along: it is what that was an answer to."""
    ids = set(gone)
    batch.refusals += [
        Refusal("withdrawn", "withdrawn after it had been admitted", record.source, record.id)
        for record in batch.records
        if not ids.isdisjoint(record.exchanges)
    ]
    batch.records = [record for record in batch.records if ids.isdisjoint(record.exchanges)]


def _limit(batch: Batch, limit: int) -> int:
    """By content hash, so that a smaller limit looks at a subset of a larger one; says how many stay unlooked at."""
    batch.records.sort(key=lambda record: record.id)
    before = len(batch.records)
    if limit:
        del batch.records[limit:]
    return before - len(batch.records)


def _examine(
    batch: Batch, config: DataConfig, checks: Sequence[Check], *, limits: Mapping[str, float | None], scenario: str
) -> Step:
    codes = config.cleaning.languages
    languages = Languages.of(codes)
    context = Context(scenario, Direction.DATA, codes[0] if len(codes) == 1 else None)
    kept = []
    fine: set[str] = set()
    """Words of classes that passed: thousands of pictures share them."""
    for number, record in enumerate(batch.records):
        if number % EVERY == 0:
            yield Progress("data: check", number, len(batch.records), "", "records")
        refusal = examined(record, languages=languages, checks=checks, context=context, limits=limits, fine=fine)
        if refusal is None:
            kept.append(record)
        else:
            batch.refusals.append(refusal)
    yield Progress("data: check", len(batch.records), len(batch.records), "", "records")
    batch.records = kept


def _split(batch: Batch, splits: dict[str, list[Record]], config: DataConfig) -> Step:
    places = [
        split.place(record.exchanges[0], validation=config.validation, test=config.test) for record in batch.records
    ]
    for name in split.SPLITS:
        splits[name] = []
    total = len(batch.records)
    yield Progress("data: compare", 0, total, "", "records")
    for done, (number, record, refusal) in enumerate(_apart(batch.records, places, config)):
        if done % EVERY == 0:
            yield Progress("data: compare", done, total, "", "records")
        if refusal is None:
            splits[places[number]].append(record)
        else:
            batch.refusals.append(refusal)
    for records in splits.values():
        records.sort(key=lambda record: record.id)


def _apart(
    records: Sequence[Record], places: Sequence[str], config: DataConfig
) -> Iterator[tuple[int, Record, Refusal | None]]:
    """Pictures are compared as pictures, everything else as text."""
    for holds, apart, threshold in (
        (False, split.apart, config.near),
        (True, split.pictures_apart, config.pictures.near),
    ):
        chosen = [n for n, record in enumerate(records) if (pictures.of(record) is not None) == holds]
        if chosen:
            found = apart([records[n] for n in chosen], [places[n] for n in chosen], threshold=threshold)
            yield from ((chosen[number], record, refusal) for number, record, refusal in found)


def _insist(splits: dict[str, list[Record]], batch: Batch, config: DataConfig) -> None:
    """Raises InputError unless there is something to learn from, to stop by and to judge by."""
    total = sum(map(len, splits.values()))
    if not total:
        why = commonest(batch.refusals) or "the sources hold none"
        raise InputError(f"no record can be used: {why}")
    for name in split.SPLITS:
        if not splits[name]:
            share = {"validation": config.validation, "test": config.test}.get(name)
            rule = f"data.{name} is {share:g}" if share is not None else "validation and test took all"
            left = f"; {len(batch.refusals)} were left out: {commonest(batch.refusals)}" if batch.refusals else ""
            raise InputError(
                f"none of the {total} usable records came to {name} ({rule}{left}): bring more records, or change the "
                "shares; what is learnt from and what is judged by must both be there"
            )
