"""Releases on the shelf: list, promote, roll back, clear away, and find a report. Makes none."""

from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.sentence import LANGUAGES
from spearhead.pipeline.desk import opened, write_down
from spearhead.pipeline.told import Told, table
from spearhead.provenance import signing
from spearhead.store import releases
from spearhead.store.home import Home


def act(home: Home, action: str, name: str, *, keep: int = 3) -> Told:
    """`spearhead release NAME --action list|promote|rollback|gc`."""
    scenario = Path(name).name if "@" not in name else name
    if action == "list":
        return listed(home, scenario)
    engine = opened(home)
    if action == "promote":
        done = releases.promote(home, engine, scenario, public_key=signing.ensure(home).public)
        write_down(engine, "release promoted", done.name, {})
        return Told({"live": done.name}, [f"{done.name} answers to {done.manifest.scenario!r} now"])
    if action == "rollback":
        done = releases.rollback(home, engine, scenario, public_key=signing.ensure(home).public)
        write_down(engine, "release rolled back", scenario, {"to": done.name})
        return Told({"live": done.name}, [f"{done.name} answers to {done.manifest.scenario!r} again"])
    _some(home, scenario)
    gone = releases.gc(home, engine, keep=keep, scenario=scenario)
    for one in gone:
        write_down(engine, "release removed", one, {})
    return Told({"removed": gone}, [f"removed {len(gone)}: {', '.join(gone)}" if gone else "nothing to remove"])


def _some(home: Home, scenario: str) -> list[releases.Release]:
    """The releases of a scenario; raises InputError when there are only others."""
    if found := releases.published(home, scenario=scenario):
        return found
    if others := sorted({release.manifest.scenario for release in releases.published(home)}):
        raise InputError(f"there is no release of a scenario {scenario!r}; there are releases of {', '.join(others)}")
    return []


def listed(home: Home, scenario: str) -> Told:
    """Every release of a scenario on disk with its state and verdict."""
    if not (there := _some(home, scenario)):
        return Told({"releases": []}, [f"no releases yet in {home.releases}: spearhead run SCENARIO"])
    engine = opened(home)
    rows, values = [], []
    for found in there:
        release = releases.live(home, engine, found.name)
        manifest = release.manifest
        marks = f"learnt from {len(release.affected)} withdrawn" if release.affected else ""
        marks += ", ended by its policy" if releases.stopped(release) else ""
        rows.append([release.name, release.state, manifest.verdict, manifest.created, marks])
        values.append(
            {"release": release.name, "state": release.state, "verdict": manifest.verdict, "affected": release.affected}
        )
    return Told({"releases": values}, table(["release", "state", "verdict", "made", ""], rows))


def report_of(home: Home, name: str, language: str = LANGUAGES[0]) -> Path:
    """The report of a release, or of the newest run of a scenario that reached none; English where it has no other.

    Raises InputError where there is neither, or the release has none: a run's report tells of another one.
    """
    scenario = Path(name).name
    try:
        releases.expected(home)
        release = releases.live(home, opened(home), scenario)
    except InputError:
        runs = sorted((home.runs / scenario).glob("report-*/report.html"), key=lambda path: path.stat().st_mtime)
        if not runs:
            raise
        page = runs[-1].with_name(releases.report_name(language))
        return page if page.is_file() else runs[-1]
    if (part := release.report(language)) is None:
        raise InputError(f"{release.name} has no report: it was made without one; what it is lies in {release.folder}")
    return release.folder / part.path
