"""Taking a record back after it was admitted: a row that stays. Knows no releases; who owns them asks `withdrawn`."""

import re
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from spearhead.core import clock
from spearhead.core.errors import InputError
from spearhead.data.dataset import Dataset
from spearhead.data.split import SPLITS
from spearhead.store.home import Home
from spearhead.store.tables import withdrawals


def withdraw(home: Home, engine: Engine, record_id: str, reason: str, *, time: clock.Clock = clock.now) -> None:
    """Write down that a record must not be used any more; the next `prepare` is without it.

    Raises InputError when no data set of this installation ever held the record, when it is withdrawn already, or
    without a reason.
    """
    if not re.fullmatch("[0-9a-f]{64}", record_id):
        raise InputError(f"{record_id!r} is not a record id: wanted 64 hexadecimal characters, as in the data files")
    if not reason.strip():
        raise InputError("a withdrawal needs a reason: say who asked, or why")
    if not any(record_id in path.read_text("utf-8").split() for path in sorted(home.data.glob("candidates/*.txt"))):
        raise InputError(f"record {record_id} is in no data set that was prepared under {home.root}")
    row = {"record": record_id, "reason": reason.strip(), "created": clock.stamp(time())}
    try:
        with engine.begin() as connection:
            connection.execute(withdrawals.insert().values(row))
    except IntegrityError as error:
        raise InputError(f"record {record_id} is withdrawn already") from error


def withdrawn(engine: Engine) -> dict[str, str]:
    """Every withdrawn record's id with the reason."""
    with engine.connect() as connection:
        rows = connection.execute(select(withdrawals.c.record, withdrawals.c.reason).order_by(withdrawals.c.record))
        return {record: reason for record, reason in rows}


def affected(records: Iterable[str], gone: Iterable[str]) -> list[str]:
    """Which of a release's records are withdrawn, sorted; `records` are the lines of its `records.txt`."""
    return sorted({line.strip() for line in records} & set(gone))


def holding(home: Home, engine: Engine) -> list[Path]:
    """Every data folder that still holds a withdrawn record's text; `prepare` makes them anew without it.

    Whoever deletes them sees to it that no training is under way, which reads its folder to the end.
    """
    gone = set(withdrawn(engine))
    return [folder for folder in sorted(home.data.glob("*")) if gone and gone & _ids(folder)]


def _ids(folder: Path) -> set[str]:
    """The ids of the records of a data folder and of what was said before them; none for anything else there."""
    if not (folder / "summary.json").is_file():
        return set()
    return {one for split in SPLITS for record in Dataset(folder, {}).read(split) for one in record.exchanges}
