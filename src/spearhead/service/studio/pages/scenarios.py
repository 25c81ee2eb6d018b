"""Every installed release: verdict with its arithmetic, bars, scores beside baselines, rights, policy, price, report.

Everyone who is signed in sees them; what a release costs is for operators and auditors. Operators promote, roll back
and take back single outputs, by their number: what these say is not shown to them.
"""

import asyncio
from typing import Any

from sqlalchemy import Connection, Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spearhead.core.clock import Clock
from spearhead.core.errors import InputError
from spearhead.core.score import CEILINGS
from spearhead.core.sentence import said
from spearhead.engine import outputs, recall
from spearhead.engine.recall import Recalled
from spearhead.provenance import audit, signing
from spearhead.service.studio import scenarios
from spearhead.service.studio.page import PageError, form, go, render, signed_in, studio, text, visitor
from spearhead.store import releases
from spearhead.store.database import writing
from spearhead.store.releases import Release

INSIDE = ("operator", "auditor")
"""Who sees costs."""
SAID = ("promoted", "rolled_back", "withdrawn", "refunded")
REPORT = {
    # A page of its own with its styles and pictures inside: nothing runs in it, nothing is fetched, and the sandbox
    # gives it an origin of its own.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox",
    "content-type": "text/html; charset=utf-8",
    "x-frame-options": "SAMEORIGIN",
}


async def list_(request: Request) -> Response:
    """Every scenario with the release that answers, and the ones before."""
    person = await signed_in(request)
    home, store = studio(request).home, studio(request).engine.desk.database

    def work() -> dict[str, Any]:
        found = scenarios.installed(home, store)
        judged = {one.name: scenarios.judged(store, one.manifest) for scenario in found for one in scenario.releases}
        prices = {s.name: scenarios.in_force(store, (s.serving or s.releases[0]).manifest).price for s in found}
        return {"scenarios": found, "judged": judged, "prices": prices}

    values = {
        **await asyncio.to_thread(work),
        "inside": person.may(*INSIDE),
        "may_promote": person.may("operator"),
        "said": _said(request),
        "up": set(studio(request).engine.releases),
    }
    return render(request, "scenarios.html", values)


async def show(request: Request) -> Response:
    """One release."""
    person = await signed_in(request)
    release = await _release(request)
    home, store = studio(request).home, studio(request).engine.desk.database

    def work() -> dict[str, Any]:
        here = next(s for s in scenarios.installed(home, store) if s.name == release.manifest.scenario)
        return {
            "scenario": here,
            "judged": scenarios.judged(store, release.manifest),
            "terms": scenarios.in_force(store, release.manifest),
        }

    values = {
        **await asyncio.to_thread(work),
        "release": release,
        "manifest": release.manifest,
        "baselines": scenarios.baselines(release.manifest),
        "behind": scenarios.behind,
        "ceilings": CEILINGS.get(release.manifest.modality, ()),
        "inside": person.may(*INSIDE),
        "may_promote": person.may("operator"),
        "has_report": release.report() is not None,
        "said": _said(request),
        "up": release.name in studio(request).engine.releases,
    }
    return render(request, "scenario.html", values)


async def report(request: Request) -> Response:
    """The release's own report in the reader's language, in a sandbox."""
    await signed_in(request)
    release = await _release(request)
    try:
        data = await asyncio.to_thread(scenarios.report, release, visitor(request).language)
    except InputError as error:
        raise PageError(404, "no_report", detail=error.said) from error
    return Response(data, headers=REPORT)


async def promote(request: Request) -> Response:
    """Make a release the one that answers to its scenario's name."""
    person = await signed_in(request, "operator")
    await form(request)
    release = await _release(request)
    home, engine = studio(request).home, studio(request).engine
    store = engine.desk.database

    def work() -> None:  # not at the engine's desk: what verifies gigabytes must not keep answers waiting
        releases.promote(home, store, release.name, public_key=signing.ensure(home).public)
        _write_down(store, "release promoted", release.name, actor=person.id, clock=engine.clock)

    await asyncio.to_thread(work)
    return go(f"/scenarios/{release.manifest.scenario}/{release.manifest.version}?said=promoted")


async def rollback(request: Request) -> Response:
    """Retire the release that answers and go back to the one before it."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    scenario, answers = str(request.path_params["scenario"]), text(fields, "answers", most=200)
    home, engine = studio(request).home, studio(request).engine
    store = engine.desk.database

    def work() -> Release:
        current, target = releases.way_back(home, store, scenario, public_key=signing.ensure(home).public)
        if current.name != answers:
            raise InputError(said("service.studio.form.other_answers", release=current.name, given=answers[:140]))
        with writing(store) as connection:
            target = releases.go_back(home, connection, current, target)
            _write_down(connection, "release rolled back", current.name, actor=person.id, clock=engine.clock)
            return target

    target = await asyncio.to_thread(work)
    return go(f"/scenarios/{target.manifest.scenario}/{target.manifest.version}?said=rolled_back")


async def withdraw(request: Request) -> Response:
    """Take back an output of this release."""
    person = await signed_in(request, "operator")
    fields = await form(request)
    release = await _release(request)
    number, reason = text(fields, "output", most=64), text(fields, "reason", most=recall.LONGEST_REASON)
    refund = text(fields, "refund", most=4) == "yes"
    room = studio(request)

    def work(connection: Connection) -> Recalled:
        found = outputs.current(connection, number)
        if found is None or found.release != release.name:
            raise InputError(said("service.studio.form.no_output", release=release.name, output=number))
        clock = room.engine.clock
        return recall.recall(connection, number, actor=person.id, reason=reason, refund=refund, clock=clock)

    done = await room.engine.desk.write(work)
    room.line.forget(done.request)
    told = "refunded" if done.refunded else "withdrawn"
    return go(f"/scenarios/{release.manifest.scenario}/{release.manifest.version}?said={told}")


def _write_down(store: Engine | Connection, action: str, subject: str, *, actor: str, clock: Clock) -> None:
    audit.append(store, actor=actor, action=action, subject=subject, detail={}, clock=clock)


async def _release(request: Request) -> Release:
    scenario, version = str(request.path_params["scenario"])[:64], str(request.path_params["version"])[:64]
    room = studio(request)
    try:
        return await asyncio.to_thread(scenarios.one, room.home, room.engine.desk.database, f"{scenario}@{version}")
    except InputError as error:
        raise PageError(404, "no_page") from error


def _said(request: Request) -> str:
    said = request.query_params.get("said", "")
    return said if said in SAID else ""


ROUTES = [
    Route("/scenarios", list_),
    Route("/scenarios/{scenario}/rollback", rollback, methods=["POST"]),
    Route("/scenarios/{scenario}/{version}", show),
    Route("/scenarios/{scenario}/{version}/report", report),
    Route("/scenarios/{scenario}/{version}/promote", promote, methods=["POST"]),
    Route("/scenarios/{scenario}/{version}/withdraw", withdraw, methods=["POST"]),
]
