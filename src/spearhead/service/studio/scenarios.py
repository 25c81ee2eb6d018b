"""Installed releases as people judge them: verdict with its arithmetic, standing, what is live, what is affected.

Reads releases, their rows and the ledger; measures with `ledger.economics`. Knows no browser.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.manifest import Manifest, Measured, PriceTag
from spearhead.core.review import Policy
from spearhead.core.sentence import Said, said
from spearhead.engine import loaded
from spearhead.ledger import economics, price
from spearhead.review import policy as policies
from spearhead.store import releases
from spearhead.store.database import reading
from spearhead.store.home import Home
from spearhead.store.releases import Release


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario and its releases, newest first; `answers` names the one that answers to the scenario's name."""

    name: str
    title: str
    answers: str | None
    releases: tuple[Release, ...]

    @property
    def serving(self) -> Release | None:
        """The release that answers."""
        return next((one for one in self.releases if one.name == self.answers), None)

    @property
    def before(self) -> Release | None:
        """The one that a rollback would go back to: the newest before it that was not retired."""
        names = [one.name for one in self.releases]
        if self.answers is None:
            return None
        older = self.releases[names.index(self.answers) + 1 :]
        return next((one for one in older if one.state != "retired"), None)


@dataclass(frozen=True, slots=True)
class Judged:
    """A release's verdict: as projected on its day, and as measured since, where its manifest says how."""

    projected: str
    reasons: tuple[Said, ...]
    arithmetic: tuple[Said, ...]
    """Of the projection."""
    terms: economics.Terms | None
    measured: economics.Measured | None
    trouble: Said = ""
    """Why nothing could be measured."""

    @property
    def verdict(self) -> str:
        """`gold` or `foam`: measured where enough pieces were accepted, else projected."""
        return (self.measured.verdict if self.measured else None) or self.projected

    @property
    def is_measured(self) -> bool:
        """Whether the verdict rests on what was really made and sold."""
        return self.measured is not None and self.measured.verdict is not None


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds now for a scenario, and whether it is another than its release declared."""

    price: PriceTag
    price_changed: bool
    policy: Policy
    policy_changed: bool


def installed(home: Home, store: Engine | Connection) -> list[Scenario]:
    """Every scenario with a release, by name; raises InputError naming a release that cannot be read."""
    found: list[Scenario] = []
    for name in sorted({release.manifest.scenario for release in releases.published(home)}):
        here = releases.standing(home, store, name)
        answers = releases.answering(here)
        found.append(
            Scenario(
                name=name,
                title=here[-1].manifest.title,
                answers=answers.name if answers else None,
                releases=tuple(reversed(here)),
            )
        )
    return found


def one(home: Home, store: Engine | Connection, name: str) -> Release:
    """The release of that name, `scenario@version`; raises InputError when there is none."""
    scenario, _, version = name.partition("@")
    for release in releases.standing(home, store, scenario):
        if release.manifest.version == version:
            return release
    raise InputError(f"There is no release {name[:140]!r} here.")


def judged(store: Engine | Connection, manifest: Manifest) -> Judged:
    """The verdict with its arithmetic. What was sold in several currencies is not measured, and says so."""
    terms, found = economics.terms(manifest.economics), None
    trouble: Said = ""
    if terms is not None:
        try:
            found = economics.measured(
                store,
                manifest.name,
                wanted=terms.wanted,
                machine_hour=terms.machine_hour,
                review_minute=terms.review_minute,
                currency=price.of(store, manifest).currency,
            )
        except InputError as error:
            trouble = error.said
    sums = economics.arithmetic(manifest.economics)
    return Judged(manifest.verdict, manifest.verdict_reasons, sums, terms, found, trouble)


def in_force(store: Engine | Connection, manifest: Manifest) -> Terms:
    """Price and policy as a request would meet them now."""
    with reading(store) as connection:
        tag, rules = loaded.in_force(connection, manifest)
    declared = loaded.read_policy(manifest.policy)
    return Terms(tag, tag != manifest.price, rules, policies.digest_of(rules) != policies.digest_of(declared))


def baselines(manifest: Manifest) -> tuple[str, ...]:
    """Every baseline that any score was measured beside, in the order of their first mention."""
    return tuple(dict.fromkeys(name for score in manifest.scores for name in score.baselines))


def behind(score: Measured, baseline: str) -> bool:
    """Whether a trivial baseline did better than the release."""
    theirs = score.baselines.get(baseline)
    if theirs is None:
        return False
    return theirs > score.value if score.better == "higher" else theirs < score.value


def report(release: Release, language: str) -> bytes:
    """The release's report page; raises InputError when there is none, or when it is not the one that was signed."""
    if (part := release.report(language)) is None:
        raise InputError(said("service.studio.report.none", release=release.name))
    try:
        data = (release.folder / part.path).read_bytes()
    except OSError as error:
        raise InputError(said("service.studio.report.unread", release=release.name, why=error.strerror)) from error
    if digest.of_bytes(data) != part.sha256:
        raise InputError(said("service.studio.report.changed", release=release.name))
    return data
