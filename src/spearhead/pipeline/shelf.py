"""Releases on the shelf: list, promote, roll back, clear away, and find a report. Makes none."""

from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.pipeline.desk import opened
from spearhead.pipeline.told import Told, table
from spearhead.provenance import signing
from spearhead.store import releases
from spearhead.store.home import Home


def act(home: Home, action: str, name: str, *, keep: int = 3) -> Told:
    """`spearhead release NAME --action list|promote|rollback|gc`."""
    engine = opened(home)
    scenario = Path(name).name if "@" not in name else name
    if action == "list":
        return listed(home)
    if action == "promote":
        done = releases.promote(home, engine, scenario, public_key=signing.ensure(home).public)
        return Told({"live": done.name}, [f"{done.name} answers to {done.manifest.scenario!r} now"])
    if action == "rollback":
        done = releases.rollback(home, engine, scenario, public_key=signing.ensure(home).public)
        return Told({"live": done.name}, [f"{done.name} answers to {done.manifest.scenario!r} again"])
    gone = releases.gc(home, engine, keep=keep, scenario=scenario)
    return Told({"removed": gone}, [f"removed {len(gone)}: {', '.join(gone)}" if gone else "nothing to remove"])


def listed(home: Home) -> Told:
    """Every release on disk with its state and verdict."""
    engine = opened(home)
    rows, values = [], []
    for found in releases.published(home):
        release = releases.live(home, engine, found.name)
        manifest = release.manifest
        marks = f"learnt from {len(release.affected)} withdrawn" if release.affected else ""
        marks += ", ended by its policy" if releases.stopped(release) else ""
        rows.append([release.name, release.state, manifest.verdict, manifest.created, marks])
        values.append(
            {"release": release.name, "state": release.state, "verdict": manifest.verdict, "affected": release.affected}
        )
    if not rows:
        return Told({"releases": []}, ["no releases yet: spearhead run SCENARIO"])
    return Told({"releases": values}, table(["release", "state", "verdict", "made", ""], rows))


def report_of(home: Home, name: str) -> Path:
    """The report of a release, or of the newest run of a scenario that reached none."""
    scenario = Path(name).name
    try:
        return releases.live(home, opened(home), scenario).folder / "report.html"
    except InputError:
        runs = sorted((home.runs / scenario).glob("report-*/report.html"), key=lambda path: path.stat().st_mtime)
        if not runs:
            raise
        return runs[-1]
