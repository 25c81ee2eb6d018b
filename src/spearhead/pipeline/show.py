"""Progress on the terminal: bars with time left for a person, a line now and then for a log. Decides nothing."""

import sys
import time
from collections.abc import Generator
from typing import TypeVar

from spearhead.core.generation import Progress

T = TypeVar("T")


def drive(work: Generator[Progress, None, T], *, quiet: bool = False) -> T:
    """Run a step to its end, show how far it is on stderr, and give its result."""
    if quiet:
        return _silent(work)
    return _bars(work) if sys.stderr.isatty() else _lines(work)


def _silent(work: Generator[Progress, None, T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _lines(work: Generator[Progress, None, T]) -> T:
    shown, stage, since = 0.0, "", time.monotonic()
    try:
        while True:
            now = next(work)
            moment = time.monotonic()
            if now.stage != stage:
                stage, since = now.stage, moment
            elif moment - shown < 5 and now.done < now.total:
                continue
            shown = moment
            print(_line(now, moment - since), file=sys.stderr, flush=True)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _line(now: Progress, elapsed: float) -> str:
    share = now.done / now.total if now.total else 0.0
    left = f", {elapsed / share - elapsed:.0f} s left" if 0.02 < share < 1 and elapsed > 1 else ""
    note = f"  {now.note}" if now.note else ""
    return f"{now.stage}: {share:4.0%}{left}{note}"


def _bars(work: Generator[Progress, None, T]) -> T:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=Console(stderr=True)) as bars:
        try:
            while True:
                now = next(work)
                if now.stage not in tasks and now.note and now.done >= now.total:  # said once, and not to be lost
                    bars.console.print(f"{now.stage}: {now.note}", markup=False, highlight=False, soft_wrap=True)
                    continue
                if now.stage not in tasks:
                    for task in tasks.values():
                        bars.stop_task(task)
                    tasks[now.stage] = bars.add_task(now.stage, total=now.total, note="")
                bars.update(tasks[now.stage], completed=now.done, total=now.total, note=now.note)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
