"""Text to token ids and back, alike for training and serving. Knows no model and no torch.

A person's words are never read as markers: a segment that is not `special` is encoded as plain text, whatever it holds.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers

from spearhead.core.errors import InputError
from spearhead.core.template import Segment

LARGEST_FILE = 128 * 1024 * 1024


class Tokenizer:
    """A vocabulary read from a `tokenizer.json`; holds two readers of it, one of which sees no markers."""

    def __init__(self, content: str) -> None:
        """`content` is the text of a `tokenizer.json`; raises InputError when it is none."""
        try:
            self._marked = tokenizers.Tokenizer.from_str(content)
            self._plain = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"this is no tokenizer.json: {error}") from error
        for reader in (self._marked, self._plain):
            reader.no_truncation()
            reader.no_padding()
        self._plain.encode_special_tokens = True

    @classmethod
    def open(cls, path: Path) -> "Tokenizer":
        """Read `path`, a `tokenizer.json` or the folder that holds one."""
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise InputError(f"{path} has no tokenizer.json: wanted the folder of a converted base model")
        if file.stat().st_size > LARGEST_FILE:
            raise InputError(f"{file} has {file.stat().st_size:,} bytes: wanted at most {LARGEST_FILE:,}")
        try:
            return cls(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not UTF-8 text: wanted a tokenizer.json") from error

    @property
    def size(self) -> int:
        """How many ids there are, markers included."""
        return int(self._marked.get_vocab_size(with_added_tokens=True))

    def id(self, marker: str) -> int | None:
        """The id of one vocabulary entry, or None."""
        found = self._marked.token_to_id(marker)
        return None if found is None else int(found)

    def encode(self, text: str, *, special: bool) -> list[int]:
        """The ids of `text`; with `special` its markers are read as such."""
        reader = self._marked if special else self._plain
        return list(reader.encode(text, add_special_tokens=False).ids)

    def encode_segments(self, segments: Iterable[Segment]) -> list[int]:
        """The ids of a prompt, one segment after the other; nothing is added before, between or after."""
        return [token for segment in segments for token in self.encode(segment.text, special=segment.special)]

    def decode(self, ids: Sequence[int], *, markers: bool = False) -> str:
        """The text of `ids`; markers are left out unless asked for."""
        return str(self._marked.decode(list(ids), skip_special_tokens=not markers))

    def count(self, segments: Iterable[Segment]) -> int:
        """How many ids a prompt has."""
        return len(self.encode_segments(segments))
