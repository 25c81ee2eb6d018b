"""A trained tokenizer as a codec: picture files to grids of codes and back, through ONNX. Needs no torch.

codec = Codec.open(folder)
codes = codec.encode(pictures)     # int64 (n, gh, gw)
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.media.image import codec as files

AT_ONCE = 64
"""Pictures in one run of a graph."""
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Form:
    """What `tokenizer.json` says beside the two graphs."""

    size: tuple[int, int]
    """Height and width in pixels."""
    channels: int
    grid: tuple[int, int]
    """Rows and columns of codes."""
    vocab: int

    def to_json(self) -> str:
        """JSON with a final newline."""
        said = {"size": self.size, "channels": self.channels, "grid": self.grid, "vocab": self.vocab}
        return json.dumps(said, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Form":
        """Read strictly; raises InputError that names what is wrong."""
        try:
            raw = json.loads(text)
            (height, width), (rows, columns) = raw["size"], raw["grid"]
            numbers = (height, width, rows, columns, raw["channels"], raw["vocab"])
            odd = set(raw) - {"size", "channels", "grid", "vocab"}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"tokenizer.json cannot be read: {error}") from error
        if odd or not all(type(number) is int and 1 <= number <= 1 << 16 for number in numbers):
            raise InputError("tokenizer.json: wanted size, channels, grid and vocab as whole numbers from 1 to 65,536")
        if raw["channels"] not in (1, 3, 4) or rows > height or columns > width or max(height, width) > 4096:
            raise InputError("tokenizer.json: channels must be 1, 3 or 4, sides at most 4,096, the grid no larger")
        return cls((height, width), raw["channels"], (rows, columns), raw["vocab"])


@dataclass(frozen=True, slots=True)
class Codec:
    """Pictures as grids of codes; `core.media.Codec`."""

    form: Form
    encoder: Any
    """onnxruntime sessions."""
    decoder: Any
    modality: str = "image"

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> "Codec":
        """The tokenizer in `folder`; raises InputError when a file is missing or damaged, or when they do not agree."""
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            form = Form.from_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
            encoder, decoder = (
                onnxruntime.InferenceSession((folder / name).read_bytes(), options, providers=["CPUExecutionProvider"])
                for name in ("encoder.onnx", "decoder.onnx")
            )
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{folder} holds no tokenizer: {error}") from error
        except InputError:
            raise
        except Exception as error:  # onnxruntime's own kinds, one for each way in which a graph can be broken
            raise InputError(f"{folder}: a graph of the tokenizer cannot be read ({type(error).__name__})") from error
        wanted = {
            "encoder.onnx": (encoder, "pixels", [form.channels, *form.size], "codes", list(form.grid)),
            "decoder.onnx": (decoder, "codes", list(form.grid), "pixels", [form.channels, *form.size]),
        }
        for name, (session, given, shape, made, _) in wanted.items():
            inputs, outputs = session.get_inputs(), session.get_outputs()
            names = ([entry.name for entry in inputs], [entry.name for entry in outputs])
            if names != ([given], [made]) or list(inputs[0].shape[1:]) != shape:
                raise InputError(f"{folder / name} is not the graph that tokenizer.json tells of")
        return cls(form, encoder, decoder)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of codes of one picture."""
        return self.form.grid

    @property
    def vocab(self) -> int | None:
        """How many codes there are."""
        return self.form.vocab

    def encode(self, items: Sequence[Media]) -> Ints:
        """int64 (n, gh, gw); other sizes are cut and resampled. Raises InputError on what is no picture."""
        out = np.empty((len(items), *self.form.grid), np.int64)
        wanted = files.Codec(self.form.size, _channels(self.form.channels))
        for part in _parts(len(items)):
            pixels = wanted.encode(items[part]).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
            (out[part],) = self.encoder.run(["codes"], {"pixels": pixels})
        return out

    def decode(self, codes: "np.ndarray[Any, Any]") -> list[Media]:
        """PNG files of int (n, gh, gw); raises InputError on another shape or a code that is not there."""
        if codes.dtype.kind not in "iu" or codes.shape[1:] != self.form.grid:
            raise InputError(f"got {codes.dtype} {codes.shape}: wanted whole numbers (n, {self.form.grid})")
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < self.form.vocab:
            raise InputError(f"a code lies outside 0 to {self.form.vocab - 1}")
        out: list[Media] = []
        for part in _parts(len(codes)):
            (pixels,) = self.decoder.run(["pixels"], {"codes": codes[part].astype(np.int64)})
            block = np.rint((np.clip(pixels, -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
            out += [files.write(picture) for picture in block]
        return out


def _channels(count: int) -> files.Channels:
    return 1 if count == 1 else 3 if count == 3 else 4


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE))
