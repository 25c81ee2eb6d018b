"""Reads what is written in a picture; the reviewer hands it to the text checks. Loaded at the first picture."""

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

_LOCK = threading.Lock()


@cache
def _reader() -> Any:
    wanted = {
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        # As it comes, a small picture is enlarged to 736 on its shortest side, which takes half a minute for a banner.
        "Det.limit_type": "max",
        "Det.limit_side_len": 960,
    }
    return import_module("rapidocr").RapidOCR(params=wanted)


@dataclass(frozen=True, slots=True)
class WritingCheck:
    """Finds nothing by itself: whoever reads a picture it cannot read gets the failure, which holds it."""

    name: str = field(default="writing", init=False)
    modality: str = field(default="image", init=False)
    reach: int = field(default=1, init=False)

    def need(self) -> None:
        """Raises InputError when the reader is not installed."""
        if util.find_spec("rapidocr") is None:
            raise InputError("check writing needs rapidocr: install spearhead[review]")

    def read(self, item: Media) -> str:
        """The text in the picture, a line for each; raises InputError on what is no picture."""
        pixels = codec.read(item)  # (height, width, 3), bounded in size
        with _LOCK:
            found = _reader()(pixels[:, :, ::-1])  # it wants blue first
        return "\n".join(found.txts or ())

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Only that a picture cannot be read."""
        try:
            codec.read(item)
        except InputError as error:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_picture", why=error.said))]
        return []
