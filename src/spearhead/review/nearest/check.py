"""Compares pictures with the index that their release carries (index/pictures.py). Knows no policy.

Claims only what it measures: the areas of a training picture look like those of this one, whatever its size, whatever
a little noise or light changed. A copy that was shifted or cut is not found.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Direction, Finding
from spearhead.core.sentence import said
from spearhead.index import pictures
from spearhead.media.image import codec
from spearhead.review import categories

SEVERITY = 0.7


@dataclass(frozen=True, slots=True)
class NearestCheck:
    """A finding for a picture that is at least `similarity` like a training picture.

    Option of a policy: `similarity` (see `index.pictures.similarity`, 0.5 to 1). Without an index it cannot look,
    which holds the output.
    """

    similarity: float = 0.9
    index: Path | None = None
    name: str = field(default="nearest", init=False)
    modality: str = field(default="image", init=False)
    reach: int = field(default=1, init=False)

    def configured(self, options: "dict[str, object]") -> "NearestCheck":
        """This check with the options of a policy; raises InputError on anything it does not know."""
        if unknown := sorted(options.keys() - {"similarity"}):
            raise InputError(f"check nearest: option {unknown[0]!r} is unknown, there is similarity")
        similarity = options.get("similarity", self.similarity)
        if isinstance(similarity, bool) or not isinstance(similarity, int | float) or not 0.5 <= similarity <= 1:
            raise InputError(f"check nearest: similarity is {similarity!r}: wanted a number from 0.5 to 1")
        return replace(self, similarity=float(similarity))

    def against(self, index: Path) -> "NearestCheck":
        """This check with the index of a release; one of a release of texts says nothing about pictures."""
        if not (index / pictures.NAMES).is_file():
            return self
        pictures.opened(index)
        return replace(self, index=index)

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """The training picture that an output is too like."""
        if context.direction is not Direction.OUTPUT:
            return []  # prompts are the user's own, and data are what is copied
        if self.index is None:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.nearest.no_index"))]
        try:
            pixels = codec.read(item)  # (height, width, 3), bounded in size
        except InputError as error:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_picture", why=error.said))]
        found = pictures.opened(self.index).nearest(pixels)
        if found.similarity < self.similarity:
            return []
        reason = said("review.nearest.like", similarity=float(found.similarity), record=found.id)
        return [Finding(self.name, "intellectual-property", SEVERITY, reason)]
