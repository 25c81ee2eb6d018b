"""What tokens say: bytes of each, and an answer's text as it grows, held back where a stop text may have begun.

Knows byte-level BPE vocabularies (`tokenizer.ggml.model` gpt2) and no model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

CONTROL, PLAIN = 3, (4, 5)
"""Kinds of tokens that say nothing; that stand as they are written."""
ENDS = frozenset(
    ("<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>")
    + ("<end_of_turn>", "</s>", "<EOT>")
)
"""Control tokens that end an answer in every model that has them, as in llama.cpp."""


class Pieces:
    """The vocabulary of a GGUF. Raises ValueError, with the reason, on one that is not byte-level BPE."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        kind = metadata.get("tokenizer.ggml.model")
        if kind != "gpt2":
            raise ValueError(f"its tokenizer is {kind!r}")
        tokens = metadata.get("tokenizer.ggml.tokens", [])
        kinds = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
        if len(kinds) != len(tokens):
            raise ValueError("its tokens and their types are of different numbers")
        table = _letters()
        self.bytes = [_bytes(token, kind, table) for token, kind in zip(tokens, kinds, strict=True)]
        named = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
        ends = {metadata[name] for name in named if name in metadata}
        pairs = enumerate(zip(tokens, kinds, strict=True))
        ends |= {at for at, (token, kind) in pairs if kind == CONTROL and token in ENDS}
        self.ends = frozenset(ends)
        """Tokens that end an answer."""


class Growing:
    """One answer's text. `feed` gives what can be said by now; `stopped` is set by a stop text, which is not said."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = stops
        self._bytes = b""
        self._held = ""

    def feed(self, piece: bytes) -> str:
        """The text that `piece` makes certain."""
        self._bytes += piece
        text, self._bytes = _whole(self._bytes)
        self._held += text
        at = min((found for stop in self._stops if (found := self._held.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.stopped, said, self._held = True, self._held[:at], ""
            return said
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        said, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return said

    def rest(self) -> str:
        """What was held back when the answer ended without a stop text; half a character is never said."""
        return "" if self.stopped else self._held


def _whole(data: bytes) -> tuple[str, bytes]:
    """The characters of `data` and the bytes of one that has only begun; bytes that are none become U+FFFD."""
    for back in range(1, min(4, len(data) + 1)):
        lead = data[-back]
        if lead >= 0xC0:
            wanted = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            if back < wanted:
                return data[:-back].decode("utf-8", "replace"), data[-back:]
            break
        if lead < 0x80:
            break
    return data.decode("utf-8", "replace"), b""


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


def _letters() -> dict[str, int]:
    """GPT-2's printable stand-in of each byte (Radford et al. 2019, their encoder), the other way round."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


def _bytes(token: str, kind: int, table: Mapping[str, int]) -> bytes:
    if kind == CONTROL:
        return b""
    if kind in PLAIN or any(letter not in table for letter in token):
        return token.encode()
    return bytes(table[letter] for letter in token)
