"""What pictures are judged on: an extractor, the held-out pictures, the training pictures. Knows no metric."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.media import Media
from spearhead.core.record import Record
from spearhead.core.score import Case
from spearhead.index.pictures import thumbnails
from spearhead.media.image.codec import read
from spearhead.metrics import features
from spearhead.metrics.features import Extractor
from spearhead.store.home import Home

Array = np.ndarray[Any, Any]

MOST = 10_000
"""Reference pictures that are looked at: the first by the hash of their content."""
BLOCK = 1000


class Ground:
    """The reference and training pictures of one data set, seen once through one extractor. Lives as long as a judging.

    The reference is a split that nothing was learnt from, whichever of its pictures the cases ask for.
    """

    def __init__(
        self, extractor: Extractor, *, reference: Sequence[Media], split: str, train: Sequence[Media], digest: str
    ) -> None:
        self.extractor, self.split, self.digest = extractor, split, digest
        self.reference = sorted(reference, key=lambda media: media.id)[:MOST]
        self.train = train
        if len(self.reference) < 2:
            raise InputError(f"the {split} split holds {len(self.reference)} pictures: wanted two to measure against")
        self._made: dict[str, Any] = {}

    @property
    def signature(self) -> str:
        """The extractor with its version, the reference and how much there is of it."""
        return f"{self.extractor.facts.signature}|reference:{self.split}-{self.digest[:8]}x{len(self.reference)}"

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for all metrics that ask under this name."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def features(self, cases: Sequence[Case], metric: str) -> Array:
        """float64 (cases, width)."""
        return self.extractor(outputs(cases, metric)).features.astype(np.float64)

    def reference_features(self) -> Array:
        """float64 (reference, width)."""
        found: Array = self.once("reference", lambda: self.extractor(self.reference).features.astype(np.float64))
        return found

    def said(self, cases: Sequence[Case], metric: str) -> Array:
        """(cases,): the number of the class that the classifier sees; raises InputError when there is no classifier."""
        if not self.extractor.facts.classes:
            raise InputError(
                f"{metric} needs a classifier, and {self.extractor.facts.signature} has no classes: "
                "set evaluation.features to 'classifier'"
            )
        found: Array = self.extractor(outputs(cases, metric)).logits.argmax(1)
        return found

    def asked(self, cases: Sequence[Case], metric: str) -> Array:
        """(cases,): the number of the class that was asked for."""
        numbers = {name: number for number, name in enumerate(self.extractor.facts.classes)}
        out = []
        for at, case in enumerate(cases):
            words = case.input.text.strip() if case.input is not None and case.input.modality == "text" else ""
            if words not in numbers:
                raise InputError(f"{metric}: case {at} asks for {words[:60]!r}, which is no class of the training data")
            out.append(numbers[words])
        return np.array(out, dtype=np.int64)

    def thumbnails(self, found: Sequence[Media]) -> Array:
        """uint8 (n, 768), see `index.pictures`."""
        known: dict[str, Array] = self.once("thumbnails", dict)
        fresh = list({one.id: one for one in found if one.id not in known}.values())
        known |= dict(zip((one.id for one in fresh), thumbnails(read(one, channels=4) for one in fresh), strict=True))
        return np.stack([known[one.id] for one in found])


def ground(
    home: Home,
    *,
    train: Callable[[], Iterable[Record]],
    reference: Callable[[], Iterable[Record]],
    split: str,
    digest: str,
    extractor: str,
) -> Generator[Progress, None, Ground]:
    """Bring or train the extractor and see the reference; `extractor` is one of `features.NAMES`.

    `digest` is the data set's. The classifier takes about a minute the first time.
    """
    if extractor not in features.NAMES:
        raise InputError(f"evaluation.features is {extractor!r}: wanted one of {', '.join(features.NAMES)}")
    learnt, held = [list(_pictures(records())) for records in (train, reference)]
    if extractor == "classifier":
        seer = yield from features.classifier(home, train=learnt, held=held, data=digest)
    else:
        seer = yield from features.efficientnet(home)
    made = Ground(
        seer,
        reference=[media for _, media in held],
        split=split,
        train=[media for _, media in learnt],
        digest=digest,
    )
    for start in range(0, len(made.reference), BLOCK):
        yield Progress("features", start, len(made.reference), f"{split} pictures", "pictures")
        seer(made.reference[start : start + BLOCK])
    yield Progress("features", len(made.reference), len(made.reference), f"{split} pictures", "pictures")
    return made


def outputs(cases: Sequence[Case], metric: str) -> list[Media]:
    """Every case's picture; raises InputError on anything else."""
    for at, case in enumerate(cases):
        if case.output.modality != "image":
            raise InputError(f"{metric}: the output of case {at} is {case.output.modality}: wanted a picture")
    return [case.output for case in cases]


def _pictures(records: Iterable[Record]) -> Iterable[tuple[str, Media]]:
    """Class and picture of every record that has a picture; without words the class is empty."""
    for record in records:
        found = record.parts.get("output")
        if found is not None and found.modality == "image":
            given = record.parts.get("input")
            yield given.text.strip() if given is not None and given.modality == "text" else "", found
