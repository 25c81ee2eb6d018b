"""Looks at this machine and this installation, and says what is wrong and what to do about it. Changes nothing."""

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
DISK = 6 << 30
"""Bytes that the demo needs at most: packages, base model, checkpoints, release."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` is empty when it is well."""

    what: str
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Everything that was looked at."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return 1 if any(finding.advice for finding in self.findings) else 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "well": self.exit_code == 0,
            "findings": [{"what": f.what, "seen": f.seen, "advice": f.advice} for f in self.findings],
        }

    def lines(self) -> list[str]:
        width = max(len(finding.what) for finding in self.findings)
        out = []
        for item in self.findings:
            mark = "!" if item.advice else "✓"
            out.append(f"{mark} {item.what:<{width}}  {item.seen}" + (f"\n    → {item.advice}" if item.advice else ""))
        return out


def look(home: Home) -> Health:
    """Every finding, the bad ones with advice."""
    return Health((*_machine(home), *_libraries(), *_installation(home)))


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
        Finding("memory", f"{memory / 2**30:.1f} GiB", "" if memory > 5 * 2**30 else "training wants 5 GiB or more"),
        Finding("free disk", f"{free / 2**30:.1f} GiB", "" if free > DISK else f"free some: wanted {DISK >> 30} GiB"),
    ]


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
    for names, extra in ((SERVING, ""), (TRAINING, "train")):
        for name in names:
            try:
                version = importlib.metadata.version(name)
                out.append(Finding(name, version, _lacking() if name == "xllamacpp" else ""))
            except importlib.metadata.PackageNotFoundError:
                if extra:
                    out.append(Finding(name, f"not installed (only serving works; {_HOW.format(extra=f'[{extra}]')})"))
                else:
                    out.append(Finding(name, "not installed", _HOW.format(extra="")))
    return [*out, Finding("text engine", engines.here())]


def _lacking() -> str:
    """What llama.cpp, which is installed, lacks of the system; empty when it can be imported."""
    try:
        importlib.import_module("xllamacpp")
    except ImportError as error:
        return f"{error}: install it (on Debian: libgomp1)"
    return ""


def _installation(home: Home) -> list[Finding]:
    from spearhead.core.errors import SpearheadError
    from spearhead.provenance import signing
    from spearhead.store import releases

    out = [Finding("home", str(home.root) + ("" if home.root.exists() else " (not made yet)"))]
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
