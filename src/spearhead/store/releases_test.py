"""Releases on disk: what is verified, what answers, what goes."""

import dataclasses
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.manifest import Part
from spearhead.core.specimen import manifest
from spearhead.store import database, releases, tables
from spearhead.store.home import Home


def make(home: Home, *, version: str, scenario: str = "tiny", learnt: tuple[str, ...] = (), **changes: Any) -> Path:
    """A complete small release whose parts are its model and the ids that it learnt from."""
    place = home.releases / scenario / version
    (place / "parts").mkdir(parents=True)
    (place / "parts" / "model.gguf").write_bytes(b"GGUF" + version.encode())
    (place / releases.RECORDS).write_text("".join(f"{record}\n" for record in learnt))
    parts = tuple(
        Part(path, digest.of_file(place / path), (place / path).stat().st_size, role)
        for path, role in (("parts/model.gguf", "model"), (releases.RECORDS, "document"))
    )
    told = dict(created=f"2026-11-22T00:00:0{len(version)}Z", parts=parts, records=parts[1].sha256)
    made = manifest(scenario=scenario, version=version, **{**told, **changes})
    (place / "manifest.json").write_text(made.to_json())
    return place


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", cache=tmp_path / "cache")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, made once."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    database.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def engine(home: Home, migrated: Path) -> Iterator[Engine]:
    home.root.mkdir(parents=True)
    shutil.copy(migrated, home.root / "spearhead.db")
    made = database.connect(home.database_url)
    yield made
    made.dispose()


def test_a_whole_release_has_no_problems(home: Home) -> None:
    place = make(home, version="1")
    assert releases.verify(place) == []
    release = releases.read(place)
    assert release.name == "tiny@1"
    assert release.file("model") == place / "parts" / "model.gguf"
    with pytest.raises(InputError, match="0 files of role 'tokenizer'"):
        release.file("tokenizer")


def test_every_tampering_is_seen(home: Home, tmp_path: Path) -> None:
    def problems(spoil: Any, *, expect: str) -> None:
        place = make(home, version="1")
        spoil(place)
        found = releases.verify(place)
        assert len(found) == 1, found
        assert expect in found[0]
        shutil.rmtree(place)

    model = "parts/model.gguf"
    problems(lambda place: (place / model).write_bytes(b"GGUF2"), expect="has been changed")
    problems(lambda place: (place / model).write_bytes(b"GGUF22"), expect="should have 5")
    problems(lambda place: (place / model).unlink(), expect="cannot be read")
    problems(lambda place: (place / "parts" / "more.txt").write_text("x"), expect="parts/more.txt is in the folder")
    problems(lambda place: (place / "evil").symlink_to(tmp_path), expect="evil is in the folder")
    problems(lambda place: (place / "manifest.json").write_text("{}"), expect="is missing")
    problems(lambda place: (place / "manifest.json").unlink(), expect="holds no release")

    def swap(place: Path) -> None:
        (tmp_path / "same").write_bytes((place / model).read_bytes())
        (place / model).unlink()
        (place / model).symlink_to(tmp_path / "same")

    problems(swap, expect="is not a plain file")


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "parts//model", "a\\b", "", "manifest.json", "./x"])
def test_a_part_outside_the_release_is_refused(home: Home, path: str) -> None:
    place = make(home, version="1", parts=(Part(path, "0" * 64, 1, "model"),))
    with pytest.raises(InputError, match="does not lie inside"):
        releases.read(place)


@pytest.mark.parametrize("name", ["a.pkl", "model.bin", "harmless.gguf"])
def test_no_release_holds_a_pickle(home: Home, name: str) -> None:
    place = make(home, version="1")
    path = place / "parts" / name
    path.write_bytes(pickle.dumps({"weights": [1.0]}))
    old = releases.read(place).manifest
    part = Part(f"parts/{name}", digest.of_file(path), path.stat().st_size, "document")
    (place / "manifest.json").write_text(dataclasses.replace(old, parts=(*old.parts, part)).to_json())
    (problem,) = releases.verify(place)
    assert "is a pickle" in problem


def test_a_signature_is_by_the_given_key_or_does_not_count(home: Home) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    place = make(home, version="1")
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    assert "nobody signed" in releases.verify(place, public_key=public)[0]
    (place / "manifest.sig").write_bytes(key.sign((place / "manifest.json").read_bytes()))
    assert releases.verify(place, public_key=public) == []
    assert "does not fit" in releases.verify(place, public_key=other.public_key().public_bytes_raw())[0]
    text = (place / "manifest.json").read_text()
    (place / "manifest.json").write_text(text.replace("Tiny", "tiny"))
    assert "does not fit" in releases.verify(place, public_key=public)[0]
    with pytest.raises(InputError, match="public key cannot be read"):
        releases.verify(place, public_key=b"nonsense")


def test_the_newest_passing_release_answers_until_a_person_promotes_one(home: Home, engine: Engine) -> None:
    for number in range(1, 11):
        make(home, version=str(number), created="2026-11-22T00:00:00Z")
    assert releases.live(home, engine, "tiny").name == "tiny@10"
    assert releases.live(home, engine, "tiny@3").name == "tiny@3"
    assert releases.promote(home, engine, "tiny@4").state == "live"
    assert releases.live(home, engine, "tiny").name == "tiny@4"
    assert releases.promote(home, engine, "tiny@5").state == "live"
    assert releases.live(home, engine, "tiny@4").state == "passing"
    with pytest.raises(InputError, match="did you mean 'tiny'"):
        releases.live(home, engine, "tini")
    with pytest.raises(InputError, match="tiny@77 is not there: there are 1, 2"):
        releases.live(home, engine, "tiny@77")
    with pytest.raises(InputError, match="is no name of a release"):
        releases.live(home, engine, "../tiny@1")


def test_a_broken_release_is_never_promoted(home: Home, engine: Engine) -> None:
    make(home, version="1")
    place = make(home, version="22")
    (place / "parts" / "model.gguf").write_bytes(b"GGUF00")
    with pytest.raises(InputError, match="tiny@22 is not promoted: parts/model.gguf has been changed"):
        releases.promote(home, engine, "tiny@22")
    assert releases.live(home, engine, "tiny@22").state == "passing"


def test_rollback_retires_what_answers_and_returns_to_the_one_before(home: Home, engine: Engine) -> None:
    for version in ("1", "2", "3"):
        make(home, version=version)
    assert releases.rollback(home, engine, "tiny").name == "tiny@2"
    assert releases.live(home, engine, "tiny").name == "tiny@2"
    assert releases.live(home, engine, "tiny@3").state == "retired"
    assert releases.rollback(home, engine, "tiny").name == "tiny@1"
    with pytest.raises(InputError, match="nothing changed"):
        releases.rollback(home, engine, "tiny")
    assert releases.live(home, engine, "tiny").name == "tiny@1"


def test_a_rollback_goes_back_to_nothing_that_was_changed_or_that_somebody_else_signed(
    home: Home, engine: Engine
) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    place = make(home, version="1")
    make(home, version="2")
    (place / "manifest.sig").write_bytes(other.sign((place / "manifest.json").read_bytes()))
    with pytest.raises(InputError, match="tiny@1 is not promoted: .*signed with another key"):
        releases.rollback(home, engine, "tiny", public_key=public)
    (place / "manifest.sig").write_bytes(key.sign((place / "manifest.json").read_bytes()))
    (place / "parts" / "model.gguf").write_bytes(b"GGUF0")
    with pytest.raises(InputError, match="tiny@1 is not promoted: parts/model.gguf has been changed"):
        releases.rollback(home, engine, "tiny", public_key=public)
    assert releases.live(home, engine, "tiny").name == "tiny@2"


def test_what_a_rollback_has_to_read_keeps_no_other_write_waiting(
    home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2"):
        make(home, version=version)
    begun, goes_on, of_file = threading.Event(), threading.Event(), digest.of_file

    def slow(path: Path) -> str:
        begun.set()
        assert goes_on.wait(30)
        return of_file(path)

    monkeypatch.setattr(digest, "of_file", slow)
    with ThreadPoolExecutor(1) as pool:
        back = pool.submit(releases.rollback, home, engine, "tiny")
        try:
            assert begun.wait(30)
            with database.writing(engine, wait=False):
                pass
        finally:
            goes_on.set()
        assert back.result().name == "tiny@1"


def meanwhile(engine: Engine, first: Callable[[Connection], object], second: Callable[[], object]) -> None:
    """Do both at the same moment: the second is done, or waits for the first, before the first one commits."""
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    waits = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = {here}"
    with ThreadPoolExecutor(1) as pool:
        with database.writing(engine) as connection:
            first(connection)
            done = pool.submit(second)
            while not done.done() and not connection.exec_driver_sql(waits).scalar():
                time.sleep(0.01)
        done.result(60)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # SQLite has one writer
def test_of_two_who_enter_one_release_at_once_the_second_finds_it(home: Home, url: str) -> None:
    engine, release = database.connect(url), releases.read(make(home, version="1"))
    meanwhile(engine, lambda one: releases.register(one, release), lambda: releases.register(engine, release))
    assert [one.state for one in releases.standing(home, engine, "tiny")] == ["passing"]
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_of_two_who_promote_at_once_one_leaves_its_release_live(home: Home, url: str) -> None:
    engine = database.connect(url)
    for version in ("1", "2"):
        make(home, version=version)
    meanwhile(
        engine, lambda one: releases.promote(home, one, "tiny@1"), lambda: releases.promote(home, engine, "tiny@2")
    )
    assert [one.state for one in releases.standing(home, engine, "tiny")] == ["passing", "live"]
    engine.dispose()


def test_a_release_that_is_removed_while_others_are_listed_is_left_out(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, read = {version: make(home, version=version) for version in ("1", "2")}, releases.read

    def overtaken(folder: Path) -> releases.Release:
        if places["1"].exists():
            shutil.rmtree(places["1"])
        return read(folder)

    monkeypatch.setattr(releases, "read", overtaken)
    assert [one.name for one in releases.published(home)] == ["tiny@2"]
    (places["2"] / "manifest.json").write_text("{")
    with pytest.raises(InputError):
        releases.published(home)


def test_of_two_who_clear_up_at_once_neither_fails(home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1", "2", "3"):
        make(home, version=version)
    replace, others = os.replace, list[list[str]]()

    def overtaken(source: Path, target: Path) -> None:
        if not others:
            others.append([])
            others[0] += releases.gc(home, engine, keep=1)
        replace(source, target)

    monkeypatch.setattr(os, "replace", overtaken)
    assert releases.gc(home, engine, keep=1) == others[0] == ["tiny@1", "tiny@2"]
    assert [path.name for path in (home.releases / "tiny").iterdir()] == ["3"]


def test_gc_spares_what_answers_and_what_a_trace_needs(home: Home, engine: Engine) -> None:
    for version in ("1", "2", "3", "4", "5"):
        make(home, version=version)
    releases.promote(home, engine, "tiny@1")
    with database.writing(engine) as connection:
        connection.execute(
            tables.accounts.insert().values(id="a", name="a", role="user", currency="EUR", created="2026")
        )
        connection.execute(
            tables.outputs.insert().values(
                id="o", request="r", account="a", release="tiny@2", state="released", mime="text/plain",
                finish="stop", findings="[]", policy="p", options="{}", completion_units=1, created="2026",
            )
        )  # fmt: skip
    draft = home.releases / "tiny" / ".6.abc"
    draft.mkdir()
    os.utime(draft, (0, 0))
    fresh = home.releases / "tiny" / ".7.abc"
    fresh.mkdir()
    assert releases.gc(home, engine, keep=2) == ["tiny@3"]
    assert [release.name for release in releases.published(home)] == ["tiny@1", "tiny@2", "tiny@4", "tiny@5"]
    assert not draft.exists()
    assert fresh.exists()
    assert releases.gc(home, engine, keep=2) == []
    with pytest.raises(InputError, match="wanted at least 1"):
        releases.gc(home, engine, keep=0)


def test_withdrawn_records_mark_the_releases_that_learnt_from_them(home: Home, engine: Engine) -> None:
    make(home, version="1", learnt=("a" * 64, "b" * 64))
    make(home, version="2", learnt=("c" * 64,))
    assert releases.mark_affected(home, engine, ["b" * 64, "d" * 64]) == ["tiny@1"]
    assert releases.mark_affected(home, engine, ["a" * 64]) == ["tiny@1"]
    assert releases.live(home, engine, "tiny@1").affected == ("a" * 64, "b" * 64)
    assert releases.live(home, engine, "tiny").affected == ()
    with database.writing(engine) as connection:
        connection.execute(tables.withdrawals.insert().values(record="e" * 64, reason="asked", created="2026"))
    late = releases.read(make(home, version="3", learnt=("e" * 64,)))
    assert releases.register(engine, late).affected == ("e" * 64,)
    with database.reading(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.releases)).scalar() == 2


def test_a_withdrawn_record_ends_what_its_policy_ends(home: Home, engine: Engine) -> None:
    stop = {"withdrawn": "stop"}
    make(home, version="1", learnt=("c" * 64,), policy=stop)
    make(home, version="22", learnt=("a" * 64,), policy=stop)
    make(home, version="1", scenario="other", learnt=("a" * 64,), policy={"withdrawn": "serve"})
    releases.promote(home, engine, "tiny@22")
    assert releases.mark_affected(home, engine, ["a" * 64]) == ["other@1", "tiny@22"]
    assert releases.live(home, engine, "other").affected, "marked, and serves on"
    assert releases.live(home, engine, "tiny").name == "tiny@1"
    with pytest.raises(InputError, match="tiny@22 learnt from withdrawn records, and its policy ends its serving"):
        releases.promote(home, engine, "tiny@22")
    releases.mark_affected(home, engine, ["c" * 64])
    with pytest.raises(releases.Stopped, match="tiny@22 learnt"):
        releases.live(home, engine, "tiny")


def test_a_release_under_another_name_is_refused(home: Home) -> None:
    place = make(home, version="1")
    place.rename(place.parent / "2")
    with pytest.raises(InputError, match="lies under its own name"):
        releases.published(home)
