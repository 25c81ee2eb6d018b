"""Trace and verify for the command line: a file's labels, or a release's parts. Signs nothing."""

from pathlib import Path
from typing import Any

from spearhead.core import sentence
from spearhead.core.errors import InputError
from spearhead.pipeline.desk import opened
from spearhead.pipeline.told import Told
from spearhead.provenance import signing
from spearhead.provenance import trace as tracing
from spearhead.provenance import verify as verifying
from spearhead.provenance.labels import watermark
from spearhead.store import releases
from spearhead.store.home import Home

LARGEST = 64 << 20
"""Bytes of a file that is looked at."""


def trace(home: Home, file: Path) -> Told:
    """From a file back to output, release, records, licences and the credits owed."""
    found = tracing.trace(_read(file), home, opened(home))
    return Told(found.to_json(), tracing.render(found), exit_code=1 if found.problems else 0)


def verify(home: Home, place: Path) -> Told:
    """Which labels of a file hold; or, of a release's folder, whether it is what its signed manifest says."""
    if place.is_dir():
        problems = releases.verify(place, public_key=signing.ensure(home).public)
        words = problems or [f"{place}: every part is what the signed manifest says"]
        return Told({"release": str(place), "problems": problems}, words, exit_code=1 if problems else 0)
    marks = watermark.opened(home, signing.ensure(home))
    layers = verifying.verify(_read(place), watermark=marks)
    good = verifying.holds(layers)
    values: dict[str, Any] = {"file": str(place), "holds": good, "layers": sentence.plain(layers)}
    words = [f"{layer.name:<10} {layer.state}: {layer.detail}" for layer in layers]
    return Told(values, [*words, "the labels hold" if good else "no label holds"], exit_code=0 if good else 1)


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise InputError(f"{file}: {'a folder, wanted a file' if file.is_dir() else 'there is no such file'}")
    if file.stat().st_size > LARGEST:
        raise InputError(f"{file}: more than {LARGEST >> 20} MiB; wanted a file that left this system")
    return file.read_bytes()
