"""A release that is up: its runtime, template, live price and live policy. Knows nothing of accounts."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection

from spearhead.core import generation
from spearhead.core.errors import InputError
from spearhead.core.manifest import Manifest, PriceTag
from spearhead.core.review import Direction, Policy, Rule
from spearhead.core.sampler import Sampler
from spearhead.core.template import Example, Template
from spearhead.ledger import price
from spearhead.review import live
from spearhead.review.reviewer import Reviewer
from spearhead.store import releases
from spearhead.store.releases import Release

if TYPE_CHECKING:
    from spearhead.runtimes.llamacpp import Ahead


class Runtime(generation.Generator, Protocol):
    """A generator with a life: it can be up or down, takes memory and is closed in the end."""

    restarts: int
    recycled: int

    @property
    def ready(self) -> bool: ...
    def rss(self) -> int: ...
    async def aclose(self) -> None: ...


@dataclass(slots=True, eq=False)
class Loaded:
    """`price` and `reviewer` change while it serves; all else is the release's own."""

    release: Release
    runtime: Runtime
    template: Template
    price: PriceTag
    policy: Policy
    reviewer: Reviewer
    size: tuple[int, int] = (0, 0)
    """Height and width of the pictures that the model makes."""
    running: int = 0
    """Requests under way: a release is put down only when there are none."""

    @property
    def manifest(self) -> Manifest:
        """What the release says of itself."""
        return self.release.manifest

    @property
    def language(self) -> str | None:
        """The language of every answer, where there is only one."""
        languages = self.manifest.languages
        return languages[0] if len(languages) == 1 else None


@dataclass(frozen=True, slots=True)
class Room:
    """How much of the machine a release gets; 0 leaves it to the release or the runtime."""

    context: int = 0
    """Units that all running answers share."""
    slots: int = 16
    """Answers at once; more wait."""
    threads: int = 0
    ahead: "Ahead | None" = None
    """A text worker that was started before its model was known."""


async def load(release: Release, *, room: Room, secret: bytes = b"", public_key: bytes | None = None) -> Loaded:
    """Start the release's runtime; raises InputError when the release cannot be served, or is not what was released.

    Every file must be the one that the manifest names and, with `public_key`, the manifest signed by its owner.
    `secret` draws the tokens of texts whose labels ask for an invisible mark; without one they are not to be had.
    """
    manifest = release.manifest
    template = read_template(manifest.template)
    policy = read_policy(manifest.policy)
    size = Sampler.read(release.file("sampler")).size if manifest.modality == "image" else (0, 0)
    whole = asyncio.create_task(asyncio.to_thread(_check, release, public_key))
    starting = asyncio.create_task(_start(release, whole, room=room, secret=secret))
    try:
        await whole
        reviewer = await asyncio.to_thread(_reviewer, policy, release)
    except BaseException:
        starting.cancel()
        for runtime in await asyncio.gather(starting, return_exceptions=True):
            if not isinstance(runtime, BaseException):
                await runtime.aclose()
        raise
    runtime = await starting
    return Loaded(release, runtime, template, manifest.price, policy, reviewer, size)


def _check(release: Release, public_key: bytes | None) -> None:
    """Raises InputError when something of the release was changed."""
    if problems := releases.verify(release.folder, public_key=public_key):
        advice = "release it again, or bring it anew with the `secrets` of the installation that made it"
        raise InputError(f"{release.name} is not served: {problems[0]}; {advice}")


def _reviewer(policy: Policy, release: Release) -> Reviewer:
    """The policy's checks, with what the release learnt from where it carries an index of it."""
    index = release.folder / "parts" / "index"
    return Reviewer(policy, index=index if index.is_dir() else None)


async def _start(release: Release, whole: "asyncio.Task[None]", *, room: Room, secret: bytes) -> Runtime:
    """The runtime; one with a process of its own reads the model while its digest is taken."""
    manifest = release.manifest
    if manifest.runtime not in _STARTS:
        raise InputError(f"{manifest.name} wants the runtime {manifest.runtime!r}, which this server does not have")
    if manifest.runtime != "llamacpp":
        await asyncio.shield(whole)
    return await _STARTS[manifest.runtime](release, room, secret)


async def _llamacpp(release: Release, room: Room, secret: bytes) -> Runtime:
    from spearhead.runtimes.llamacpp import LlamaCpp, Settings

    model, tokenizer = release.file("model"), release.file("tokenizer")
    marked = bool(release.manifest.labels.get("watermark"))
    if marked and not secret:
        raise InputError(f"{release.name} marks its texts (labels.watermark), and no key was given to draw the mark by")
    settings = Settings(
        context=room.context or release.manifest.context,
        slots=room.slots,
        threads=room.threads,
        adapter=release.adapter,
        watermark=secret if marked else b"",
    )
    return await LlamaCpp.start(model, tokenizer, settings=settings, ahead=room.ahead)


async def _onnx(release: Release, room: Room, secret: bytes) -> Runtime:
    from spearhead.runtimes.onnx import Onnx, Settings

    folder = release.file("sampler").parent
    return await Onnx.start(folder, settings=Settings(batch=room.slots, threads=room.threads))


_STARTS: Mapping[str, Callable[[Release, Room, bytes], Awaitable[Runtime]]] = {"llamacpp": _llamacpp, "onnx": _onnx}
"""What starts a runtime, by the name in the manifest."""


def read_template(raw: Mapping[str, Any]) -> Template:
    """A template as the manifest writes it."""
    examples = tuple(Example(item["input"], item["output"]) for item in raw.get("examples", ()))
    return Template(**{**raw, "examples": examples})


def read_policy(raw: Mapping[str, Any]) -> Policy:
    """A policy as a manifest writes it, or an earlier setting."""
    rules = tuple(
        Rule(rule["category"], Direction(rule["direction"]), rule.get("hold"), rule.get("block"))
        for rule in raw["rules"]
    )
    rest = {name: value for name, value in raw.items() if name not in ("rules", "checks")}
    return Policy(checks=tuple(raw["checks"]), rules=rules, **rest)


def in_force(connection: Connection, manifest: Manifest) -> tuple[PriceTag, Policy]:
    """Price and policy as requests meet them now: the scenario's newest in the store, else those of the release.

    Raises SpearheadError where what the store has cannot be read: neither is guessed.
    """
    rules = live.newest(connection, manifest.scenario)
    return price.of(connection, manifest), rules or read_policy(manifest.policy)


def follow_terms(loaded: Loaded, tag: PriceTag, policy: Policy) -> None:
    """Answer by this price and policy: requests that start later see them."""
    if dataclasses.asdict(policy) != dataclasses.asdict(loaded.policy):
        loaded.reviewer, loaded.policy = _reviewer(policy, loaded.release), policy
    loaded.price = tag
