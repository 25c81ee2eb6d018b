"""One resumable step of the road: a folder named by what went in, done when it says so. Knows no step in particular."""

import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spearhead import __version__
from spearhead.core import digest, files
from spearhead.core.generation import Progress

Work = Callable[[Path], Generator[Progress, None, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Done:
    """A finished step: its folder, what it found, its key for the steps that build on it, and whether it ran now."""

    name: str
    folder: Path
    key: str
    result: Mapping[str, Any]
    seconds: float
    fresh: bool


DATA = "data.txt"
"""The file of a step's folder that names the data set it rests on: so a withdrawal finds what it left in it."""


def step(root: Path, name: str, inputs: Mapping[str, Any], work: Work, *, data: str) -> Generator[Progress, None, Done]:
    """Run `work(folder)` unless a step with equal inputs is finished; a cut-off step goes on in its own folder.

    `data` is the digest of the data set it rests on, directly or by another step.

    `inputs` must hold all that can change the outcome (as JSON). The result is written last and whole, so that
    a step is finished or not, whatever happened to the process.
    """
    key = digest.of_value({"step": name, "version": __version__, **inputs})
    folder = root / f"{name}-{key[:12]}"
    files.write_whole(folder / DATA, data)
    file = folder / "done.json"
    if file.is_file():
        note = json.loads(file.read_text(encoding="utf-8"))
        if note["key"] == key:
            return Done(name, folder, key, note["result"], note["seconds"], fresh=False)
    spent_file = folder / "spent.json"
    before = json.loads(spent_file.read_text(encoding="utf-8")) if spent_file.is_file() else 0.0
    start = time.monotonic()
    try:
        result = yield from work(folder)
    except BaseException:
        files.write_whole(spent_file, json.dumps(before + time.monotonic() - start))
        raise
    seconds = before + time.monotonic() - start
    files.write_whole(file, json.dumps({"key": key, "result": result, "seconds": seconds}, indent=2) + "\n")
    return Done(name, folder, key, result, seconds, fresh=True)
