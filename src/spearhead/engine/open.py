"""An engine from an installation's folder, its upkeep while it lives, and its orderly end. Knows nothing of HTTP."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from spearhead.core import clock as clocks
from spearhead.core.clock import Clock
from spearhead.core.errors import InputError, SpearheadError
from spearhead.engine import erasure, held
from spearhead.engine.desk import Desk
from spearhead.engine.loaded import Loaded, Room, follow_terms, in_force, load
from spearhead.engine.orphans import Orphans
from spearhead.engine.run import Engine
from spearhead.engine.sealing import Sealer
from spearhead.ledger import idempotency, journal, servers
from spearhead.provenance import seal, signing
from spearhead.provenance.labels import watermark, wording
from spearhead.provenance.labels.watermark import Watermark
from spearhead.provenance.signer import Signer
from spearhead.store import database, releases
from spearhead.store.blobs import Blobs
from spearhead.store.home import Home
from spearhead.store.releases import Release

log = logging.getLogger("spearhead.engine")
AGAIN = 60.0
"""Seconds until a release that could not be loaded is tried again."""


@asynccontextmanager
async def opened(
    home: Home, *, models: tuple[str, ...] = (), room: Room | None = None, clock: Clock = clocks.now
) -> AsyncIterator[Engine]:
    """An engine that serves `models` (scenarios or `scenario@version`; none named: every scenario with a release).

    Leaving the block waits for settlements and sealed files. Raises InputError when there is nothing to serve.
    """
    await asyncio.to_thread(releases.expected, home)
    await asyncio.to_thread(database.migrate, home.database_url)
    store = database.connect(home.database_url)
    chosen = await asyncio.to_thread(choose, home, models=models)
    keys = await asyncio.to_thread(signing.ensure, home)
    signer, marks, secret = (
        Signer(keys, time_stamps=home.time_stamps),
        watermark.opened(home, keys),
        wording.secret_of(keys),
    )
    desk = Desk(store)
    sealer = Sealer(lambda item, label: seal.seal(item, label, signer=signer, watermark=marks), blobs=Blobs(home.blobs))
    up: dict[str, Loaded] = {}
    leaving: set[asyncio.Task[None]] = set()
    try:
        for names, release in chosen:
            await _with_marks(release, marks)
            loaded = await load(release, room=room or Room(), secret=secret, public_key=keys.public)
            up.update({name: loaded for name in names})
            await _refresh(desk, loaded)
        id = await desk.write(lambda connection: servers.enter(connection, clock=clock))
        engine = Engine(up, desk, sealer, clock, lambda name: releases.live(home, store, name).manifest, id)
        watch, orphans = servers.Watch(), Orphans(Blobs(home.blobs))
        beating = asyncio.create_task(_repeat(servers.BEAT, lambda: engine.beat(watch)))

        async def again() -> None:
            given, public = room or Room(), keys.public
            await follow(
                home, engine, leaving, models=models, room=given, secret=secret, public_key=public, marks=marks
            )

        tasks = [
            asyncio.create_task(_repeat(seconds, work))
            for seconds, work in (
                (1.0, lambda: _refresh_all(engine)),
                (1.0, engine.end_blocked),
                (5.0, lambda: held.settle_decided(engine)),
                (5.0, again),
                (30.0, lambda: _tidy(engine)),
                (600.0, lambda: _erase_old(home, engine)),
                (600.0, lambda: _forget_orphans(orphans, engine)),
            )
        ]
        try:
            yield engine
        finally:
            for task in (*tasks, *leaving):
                task.cancel()
            await asyncio.gather(*tasks, *leaving, return_exceptions=True)
            await engine.aclose()
            beating.cancel()  # not before: others would give back what is still being settled
            await asyncio.gather(beating, return_exceptions=True)
            await _leave(engine)
    finally:
        for one in set(up.values()):
            await one.runtime.aclose()
        await asyncio.to_thread(sealer.close)
        await asyncio.to_thread(desk.close)
        store.dispose()


async def _with_marks(release: Release, marks: Watermark | None) -> None:
    """Have what draws the invisible marks of the release's pictures, which is in a package, before the first of them.

    Raises InputError when it cannot be had.
    """
    if marks is None or release.manifest.modality != "image" or not release.manifest.labels.get("watermark"):
        return
    await asyncio.to_thread(lambda: marks.marks)  # fetched once and kept; here nobody waits for a picture


def choose(home: Home, *, models: tuple[str, ...], leave_out: bool = False) -> list[tuple[tuple[str, ...], Release]]:
    """Which releases to load and the names that each answers to.

    What a withdrawn record ended is an InputError when it was named, and left out by who serves others meanwhile.
    """
    store = database.connect(home.database_url)
    try:
        leave_out = leave_out or not models
        if not models:
            models = tuple(sorted({release.manifest.scenario for release in releases.published(home)}))
        found: dict[str, Release] = {}
        names: dict[str, set[str]] = {}
        for model in models:
            try:
                release = releases.live(home, store, model)
                if releases.stopped(release):
                    raise releases.Stopped(release.name)
            except releases.Stopped as stop:
                if not leave_out:
                    raise
                log.warning("%s", stop)
                continue
            found[release.name] = release
            names.setdefault(release.name, {release.name}).add(model)
        return [(tuple(sorted(names[name])), release) for name, release in found.items()]
    finally:
        store.dispose()


async def follow(
    home: Home,
    engine: Engine,
    leaving: set["asyncio.Task[None]"],
    *,
    models: tuple[str, ...],
    room: Room,
    secret: bytes = b"",
    public_key: bytes | None = None,
    marks: Watermark | None = None,
) -> None:
    """Serve what was promoted, rolled back or released since: the new one first, then the old one ends its answers.

    One that cannot be loaded keeps nothing else from changing: what answered to its name goes on. So does one whose
    pictures `marks` cannot draw in.
    """
    up = engine.releases
    chosen = await asyncio.to_thread(choose, home, models=models, leave_out=True)
    wanted: dict[str, Loaded] = {}
    stay: set[Loaded] = set()
    fresh: list[Loaded] = []
    try:
        for names, release in chosen:
            loaded = up.get(release.name)
            if loaded is None:
                loaded = await _loaded(release, engine, room=room, secret=secret, public_key=public_key, marks=marks)
                if loaded is None:
                    stay |= {up[name] for name in names if name in up}
                    continue
                fresh.append(loaded)
                log.info("%s is up", release.name)
            wanted.update({name: loaded for name in names})
        stay = {one for one in stay if await asyncio.to_thread(_may_stay, home, engine, one)}
    except BaseException:
        for loaded in fresh:
            await loaded.runtime.aclose()
        raise
    wanted = {name: one for name, one in up.items() if one in stay} | wanted
    old = set(up.values()) - set(wanted.values())
    up.update(wanted)
    for name in up.keys() - wanted.keys():
        del up[name]
    for loaded in old:
        task = asyncio.create_task(_put_down(loaded))
        leaving.add(task)
        task.add_done_callback(leaving.discard)


async def _loaded(
    release: Release, engine: Engine, *, room: Room, secret: bytes, public_key: bytes | None, marks: Watermark | None
) -> Loaded | None:
    """The release, loaded; None when that cannot be done, and for a while after it could not."""
    if time.monotonic() < engine.failed.get(release.name, 0.0):
        return None
    try:
        await _with_marks(release, marks)
        loaded = await load(release, room=room, secret=secret, public_key=public_key)
        try:
            await _refresh(engine.desk, loaded)
        except BaseException:
            await loaded.runtime.aclose()
            raise
        return loaded
    except Exception as error:
        engine.failed[release.name] = time.monotonic() + AGAIN
        log.error("%s is not served: %s", release.name, error, exc_info=not isinstance(error, SpearheadError))
        return None


def _may_stay(home: Home, engine: Engine, loaded: Loaded) -> bool:
    """Whether a release that is up is still there, and no withdrawn record has ended its serving since."""
    try:
        return not releases.stopped(releases.live(home, engine.desk.database, loaded.manifest.name))
    except InputError:
        return False


async def _put_down(loaded: Loaded) -> None:
    try:
        while loaded.running:
            await asyncio.sleep(0.1)
    finally:
        await loaded.runtime.aclose()
        log.info("%s is down", loaded.manifest.name)


async def _refresh(desk: Desk, loaded: Loaded) -> None:
    """Live price and policy, as they stand in the store."""
    follow_terms(loaded, *await desk.read(lambda connection: in_force(connection, loaded.manifest)))


async def _refresh_all(engine: Engine) -> None:
    """The same for all that is up; where one cannot be read, that release keeps what it had and the others go on."""
    trouble: SpearheadError | None = None
    for loaded in set(engine.releases.values()):
        try:
            await _refresh(engine.desk, loaded)
        except SpearheadError as error:
            trouble = error
    if trouble is not None:
        raise trouble


async def _tidy(engine: Engine) -> None:
    """What a day leaves behind: holds that ran out, old idempotency keys. What runs here or elsewhere stays.

    Where the database was away before, what people decided meanwhile is carried out first.
    """
    was_away, engine.away = engine.away, True
    await engine.renew()
    own, clock = engine.server, engine.clock
    swept = [] if was_away else await asyncio.to_thread(journal.sweep, engine.desk.database, clock, server=own)
    for id in swept:
        log.warning("reservation %s ran out and was given back", id)
    await engine.desk.write(lambda connection: idempotency.purge(connection, server=own, clock=clock))
    engine.away = False


async def _leave(engine: Engine) -> None:
    """Say that this server is no more: what it could not settle is given back by whoever comes."""
    own = engine.server
    if own is not None:
        with contextlib.suppress(SpearheadError):  # a database that is away takes it for dead
            await engine.desk.write(lambda connection: servers.leave(connection, own))


async def _erase_old(home: Home, engine: Engine) -> None:
    """Outputs that were kept as long as the operator says."""
    if done := await asyncio.to_thread(
        erasure.sweep, engine.desk.database, blobs=Blobs(home.blobs), clock=engine.clock
    ):
        log.info("%d outputs were kept long enough and are erased", done)


async def _forget_orphans(orphans: Orphans, engine: Engine) -> None:
    """Files that a kill left without a row."""
    if gone := await asyncio.to_thread(orphans.look, engine.desk.database):
        log.warning("%d files that no answer leads to were left by a server that died and are deleted", gone)


async def _repeat(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except SpearheadError as error:
            log.warning("upkeep failed and is tried again: %s", error)
        except Exception:
            log.exception("upkeep failed and is tried again")
