"""The text of a `scenario.toml` over a person's folder of pictures. Knows what was found there; looks at no file."""

import json
from collections.abc import Callable
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.scenario import album as albums
from spearhead.scenario.album import Album


def text(
    name: str,
    album: Album,
    *,
    place: Path,
    family: str,
    licence: str,
    credit: str,
    review: str,
    people: str,
    quoted: Callable[[str], str],
) -> str:
    """The file; `review` and `people` are lines of `[review]` and `[economics]`, `quoted` writes a text as TOML does.

    Raises InputError for a family that there is no such scenario of.
    """
    if family not in _MODELS:
        raise InputError(f"--family: {family!r} was given, wanted one of {', '.join(_MODELS)}")
    classes = {own: _name(own, to) for own, to in albums.names(album).items()}
    judged = len(set(classes.values())) > 1  # by a classifier that is trained on the pictures themselves
    metrics = ["frechet", "kid", *(["class_accuracy"] if judged else []), "precision", "recall", "nearest"]
    rows = "".join(f"{quoted(own)} = [{quoted(called)}]\n" for own, called in classes.items())
    model, training, quick = _MODELS[family]
    return _TOML.format(
        name=name,
        title=name.replace("-", " ").capitalize(),
        words=quoted(f"Draws pictures like those of {place.name}" + (", by class." if classes else ".")),
        languages='"en", "zh"' if any(ord(sign) > 0x2E80 for sign in "".join(classes.values())) else '"en"',
        source=f"path = {quoted(str(place.absolute()))}\nlicence = {quoted(licence)}\ncredit = {quoted(credit)}\n",
        classes=_CLASSES + rows if classes else "",
        side=album.side,
        family=family,
        channels=album.channels,
        model=model,
        quick=f"[presets.quick.model]   # half the side, a quarter of the work\nsize = {album.side // 2}\n{quick}\n"
        if album.side > 32
        else "",
        training=training,
        metrics=json.dumps(metrics),
        features="classifier" if judged else "efficientnet-lite0",
        bars=_bars(album, classes=len(set(classes.values()))),
        review=review,
        people=people,
    )


def _name(own: str, called: str) -> str:
    if not called:
        raise InputError(f"the folder {own!r} has no name that a class can be asked for by: rename it")
    return called


def _bars(album: Album, *, classes: int) -> str:
    cases = max(10, album.pictures // 10)  # a fifth is held out; duplicates are not counted
    found = _BAR.format(metric="frechet" if classes > 1 else "kid", cases=cases)
    if classes > 1:
        chance = 100 / classes
        found += _RIGHT.format(least=round((100 + chance) / 2), chance=f"{chance:.3g}", cases=cases)
    return found


_MODELS = {
    "gan": (
        'width = 32\naugment = ["translation", "cutout"]   # for a few thousand pictures or fewer\n',
        "micro_batch = 256\nclip = 0.0\nwarmup = 0.02\naverage = 0.998\n",
        "width = 24\n",
    ),
    "flow": ("patch = 4\nwidth = 64\nguidance = 2.0\n", "average = 0.998\n", ""),
    "vae": ('network = "conv"\nlikelihood = "logistic"\nhidden = 32\nlatent = 64\n', "", ""),
}
"""By family: the rest of `[model]` and of `[training]`, and what the quick preset changes where it halves the side."""

_CLASSES = """
[data.sources.classes]   # the folder = ["what it is called and asked for by", "in another language", "or word"]
"""

_BAR = """[[bars]]   # a release must beat what needs no network: the mean picture, a Gaussian of the pixels
metric = "{metric}"
beats = ["mean", "gaussian"]
cases = {cases}

"""

_RIGHT = """[[bars]]   # of 100 pictures, how many are taken for the class that was asked for; guessing: {chance}
metric = "class_accuracy"
minimum = {least}.0
cases = {cases}

"""

_TOML = """#:schema ./scenario.schema.json
# {title}. Every key is explained in docs/reference/scenario.md; `spearhead check` says what is wrong.

[scenario]
name = "{name}"
title = "{title}"
description = {words}
languages = [{languages}]
modality = "image"

[data]
rights = ["train", "share", "sell"]   # what every record's licence must allow
validation = 0.1
test = 0.2

[data.pictures]   # each is cut to a square in its middle and resampled; of near-duplicates one stays
size = {side}
near = 0.9

[[data.sources]]
kind = "files"
reader = "picture"
{source}{classes}
[model]
family = "{family}"
size = {side}
channels = {channels}
{model}
[training]
steps = 3000
minutes = 60.0
batch = 32
learning_rate = 1e-3
{training}validate_every = 100
save_every = 100

[evaluation]
metrics = {metrics}
baselines = ["real", "mean", "gaussian", "nearest"]
features = "{features}"
draws = 200

{bars}[review]
{review}

[labels]
producer = "{name}"

[price]   # decimal text per million pictures: 0.002 each
currency = "USD"
unit = "picture"
prompt = "0"
completion = "2000.00"

[economics]
machine_hour = "0.05"
{people}pieces = 100

{quick}[presets.quick.training]
steps = 800
minutes = 4.0

[presets.quick.evaluation]
draws = 100
"""
