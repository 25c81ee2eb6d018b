"""Looks at this machine and this installation, and says what is wrong and what to do about it. Changes nothing.

What serving needs, training needs too; what training alone wants is told apart and is no fault of a box that serves.
"""

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from typing import Any

from spearhead.store.home import Home

SERVING = ("xllamacpp", "fastapi", "sqlalchemy", "tokenizers", "c2pa-python", "cryptography")
TRAINING = ("torch", "transformers", "peft", "sacrebleu", "mlcroissant")
_HOW = "in a checkout of spearhead: `make setup`, or pip install '.{extra}'"
"""Never by the bare name: on PyPI it is not ours, and whoever takes it decides what is installed."""
_BRING = "bring it with the `secrets` of the installation that made it"
PURPOSES = ("serving", "training")
MEMORY = {"serving": 1 << 30, "training": 5 << 30}
"""Bytes that the machine should have."""
DISK = {"serving": 1 << 30, "training": 6 << 30}
"""Bytes that should be free; for training what the demo needs: packages, base model, checkpoints, release."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` is empty when it is well."""

    what: str
    seen: str
    advice: str = ""
    purpose: str = "serving"
    """What it is for: `serving`, and so training too, or `training` alone."""


@dataclass(frozen=True, slots=True)
class Health:
    """Everything that was looked at, and what the machine is meant for."""

    findings: tuple[Finding, ...]
    purpose: str

    @property
    def exit_code(self) -> int:
        """1 when something is wrong for what the machine is meant for."""
        return 1 if any(finding.advice and self._counts(finding) for finding in self.findings) else 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "well": self.exit_code == 0,
            "purpose": self.purpose,
            "findings": [
                {"what": f.what, "seen": f.seen, "advice": f.advice, "purpose": f.purpose} for f in self.findings
            ],
        }

    def lines(self) -> list[str]:
        width = max(len(finding.what) for finding in self.findings)
        out = []
        for purpose in PURPOSES:
            there = [finding for finding in self.findings if finding.purpose == purpose]
            aside = "" if purpose == "serving" or self.purpose == purpose else " (not what this machine is for, so far)"
            out.append(f"for {purpose}{aside}:")
            for item in there:
                mark = "✓" if not item.advice else "!" if self._counts(item) else "-"
                advice = f"\n    → {item.advice}" if item.advice else ""
                out.append(f"{mark} {item.what:<{width}}  {item.seen}{advice}")
        return out

    def _counts(self, finding: Finding) -> bool:
        return finding.purpose == "serving" or self.purpose == "training"


def look(home: Home, *, purpose: str | None = None) -> Health:
    """Every finding, the bad ones with advice.

    `purpose` is one of PURPOSES; without one, what is installed tells: torch is there to train with.
    """
    purpose = purpose or ("training" if _version("torch") else "serving")
    return Health((*_machine(home), *_libraries(), *_installation(home)), purpose)


def _machine(home: Home) -> list[Finding]:
    import psutil

    version = platform.python_version()
    old = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    memory = psutil.virtual_memory().total
    place = home.root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Finding("python", version, old),
        Finding("system", f"{platform.system()} {platform.machine()}", _system_advice()),
        Finding("cores", str(cores)),
        *(_enough("memory", memory, MEMORY[purpose], "wanted", purpose) for purpose in PURPOSES),
        *(_enough("free disk", free, DISK[purpose], "free some: wanted", purpose) for purpose in PURPOSES),
    ]


def _enough(what: str, there: int, wanted: int, words: str, purpose: str) -> Finding:
    advice = "" if there >= wanted else f"{words} {wanted >> 30} GiB or more"
    return Finding(what, f"{there / 2**30:.1f} GiB", advice, purpose)


def _system_advice() -> str:
    system, machine = platform.system(), platform.machine()
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        return ""
    if system == "Darwin" and machine == "arm64":
        return ""
    return f"spearhead is tested on Linux x86_64; {system} {machine} is untried"


def _libraries() -> list[Finding]:
    from spearhead.runtimes.llamacpp import engines

    out = []
    for names, purpose, extra in ((SERVING, "serving", ""), (TRAINING, "training", "[train]")):
        for name in names:
            if version := _version(name):
                out.append(Finding(name, version, _lacking() if name == "xllamacpp" else "", purpose))
            else:
                out.append(Finding(name, "not installed", _HOW.format(extra=extra), purpose))
    return [*out, Finding("text engine", engines.here())]


def _version(package: str) -> str:
    """The version of an installed package; empty when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _lacking() -> str:
    """What llama.cpp, which is installed, lacks of the system; empty when it can be imported."""
    try:
        importlib.import_module("xllamacpp")
    except ImportError as error:
        return f"{error}: install it (on Debian: libgomp1)"
    return ""


def _database(home: Home) -> Finding:
    """Whether accounts, keys and books can be read; its address is not shown, for it may hold a password."""
    from spearhead.core.errors import SpearheadError
    from spearhead.store import database

    try:
        if wrong := database.problem(home.database_url):
            mend = "bring a backup with `spearhead store restore`, or mend what it says"
            return Finding("database", wrong, mend)
    except (SpearheadError, OSError) as error:
        return Finding("database", "cannot be used", str(error))
    return Finding("database", "sound, or not made yet")


def _installation(home: Home) -> list[Finding]:
    from spearhead.core.errors import SpearheadError
    from spearhead.provenance import signing
    from spearhead.store import releases

    out = [Finding("home", str(home.root) + ("" if home.root.exists() else " (not made yet)"))]
    if home.root.exists() and not os.access(home.root, os.W_OK | os.X_OK):
        out.append(
            Finding("home", "cannot be written to", f"give {home.root} to who runs this, or name another --home")
        )
    out.append(_database(home))
    if home.secrets.is_dir() and home.secrets.stat().st_mode & 0o077:
        out.append(Finding("secrets", "readable by others", f"chmod 700 {home.secrets}"))
    if not home.releases.is_dir():
        out.append(Finding("releases", "none yet"))
        return out
    folders = sorted(home.releases.glob("*/[!.]*/"))
    try:
        if (public := signing.public(home)) is None and folders:
            out.append(Finding("signing key", "none, so that no release is served", _BRING))
    except SpearheadError as error:
        public = None
        out.append(Finding("signing key", "unreadable", str(error)))
    for folder in folders:
        name = f"{folder.parent.name}@{folder.name}"
        try:
            problems = releases.verify(folder, public_key=public)
        except SpearheadError as error:
            problems = [str(error)]
        well = "whole and signed" if public else "whole"
        advice = (
            f"{problems[0]}; make it again with `spearhead run`, {_BRING}, or remove the folder" if problems else ""
        )
        out.append(Finding(f"release {name}", "not as it was released here" if problems else well, advice))
    return out
