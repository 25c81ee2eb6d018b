"""GGUF model files: read whole, written from a Hugging Face state, requantised. Torch-free; runs no model.

>>> from pathlib import Path
>>> read(Path("pyproject.toml"))
Traceback (most recent call last):
spearhead.core.errors.InputError: pyproject.toml does not begin with GGUF: that is another kind of file
"""

import os
import tempfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType, GGUFValueType

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Progress
from spearhead.nn import calibrated, gguf_names, weight_layouts
from spearhead.nn.gguf_header import Array, Gguf, Tensor, Value, read_header

__all__ = ["Gguf", "Tensor", "Value", "read", "read_state", "requantise", "write", "write_model"]


def read(path: Path) -> Gguf:
    """Metadata and tensors of a GGUF file; raises InputError in one sentence when it is cut short or corrupt."""
    return read_header(path)


def read_state(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """A GGUF as Hugging Face state (float32, names of `transformers`) and config.json; the way back from
    `write_model`. Takes seconds where loading the file through transformers takes half a minute."""
    file = read(path)
    config = gguf_names.config_of(file.metadata)
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    names = gguf_names.tensor_names(config, _state_names(config, file))
    state: dict[str, Array] = {}
    for name, other in names.items():
        tensor = file.tensors[other]
        values = weight_layouts.decode(tensor.data, layout=tensor.layout, shape=tensor.shape)
        rows = gguf_names.rows_of(name, config)
        state[name] = values if rows is None else np.ascontiguousarray(gguf_names.separate(values, heads=rows))
    return state, config


def write_model(
    state: Mapping[str, Array],
    config: Mapping[str, Any],
    tokenizer_json: Path,
    out: Path,
    *,
    base: Path | None = None,
    layout: str = "F16",
    split: str = "",
    chat_template: str = "",
    name: str = "",
) -> None:
    """Write `state` (names as in `transformers`: `model.layers.0.self_attn.q_proj.weight`) to `out`.

    `config` is config.json as a dict. With `base` its metadata and tokenizer are kept as they are and
    `tokenizer_json`, `split` and `chat_template` are not read; the shapes must agree. Raises InputError on tensors
    that are unknown, missing, of the wrong shape or not finite.
    """
    weight_layouts.known(layout)
    names = gguf_names.tensor_names(config, list(state))
    kind = gguf_names.architecture(config)
    extra: dict[str, Array] = {}
    if base is None:
        values = {"general.architecture": Value(gguf_names.STRING, kind), "general.type": Value(8, "model")}
        values |= gguf_names.hyper_parameters(config)
        values |= gguf_names.tokenizer(tokenizer_json, config, split=split, chat_template=chat_template)
        if (factors := gguf_names.rope_factors(config)) is not None:
            extra["rope_freqs.weight"] = factors
    else:
        old = read(base)
        _must_agree(old, config)
        values = dict(old.values)
        if (kept := old.tensors.get("rope_freqs.weight")) is not None:
            extra[kept.name] = weight_layouts.decode(kept.data, layout=kept.layout, shape=kept.shape)
    if name:
        values["general.name"] = Value(gguf_names.STRING, name)
    shapes = {other: _shape(own, state[own], config) for own, other in names.items()}
    own_names = {other: own for own, other in names.items()}

    def tensor(other: str) -> Array:
        if other in extra:
            return extra[other]
        own = own_names[other]
        found = np.asarray(state[own], dtype=np.float32)
        if not np.isfinite(found).all():
            raise InputError(f"tensor {own!r} holds numbers that are not finite: the training broke, do not release it")
        rows = gguf_names.rows_of(own, config)
        return found if rows is None else gguf_names.interleave(found, heads=rows)

    shapes |= {other: found.shape for other, found in extra.items()}
    for _ in _write_floats(out, values, shapes, tensor, layout=layout):
        pass


def requantise(
    path: Path, out: Path, layout: str, *, moments: Mapping[str, Array] | None = None
) -> Generator[Progress, None, None]:
    """Write `path` again with its matrices in `layout`; tensors that have it already are copied bit by bit.

    A generator: nothing is written before it is run to its end. `moments` maps modules as `transformers` names them
    to the second moments of their inputs; in Q4_0 and Q5_0 those modules are rounded for such inputs (see
    `calibrated`).
    """
    weight_layouts.known(layout)
    file = read(path)
    inputs: dict[str, Array] = {}
    if moments:
        known = gguf_names.all_names(gguf_names.config_of(file.metadata))
        inputs = {f"{known[module]}.weight": found for module, found in moments.items() if module in known}

    def coded(name: str, wanted: str) -> Array:
        tensor = file.tensors[name]
        if tensor.layout == wanted:
            return tensor.data
        values = weight_layouts.decode(tensor.data, layout=tensor.layout, shape=tensor.shape)
        if name in inputs and wanted in calibrated.BITS:
            return calibrated.encode(values, layout=wanted, moments=inputs[name])
        return weight_layouts.encode(values, layout=wanted)

    layouts = {n: weight_layouts.layout_of(n, t.shape, wanted=layout) for n, t in file.tensors.items()}
    values = dict(file.values) | _about(layout)
    yield from write(out, values, {n: (t.shape, layouts[n]) for n, t in file.tensors.items()}, coded)


def write(
    out: Path,
    values: Mapping[str, Value],
    tensors: Mapping[str, tuple[tuple[int, ...], str]],
    coded: Callable[[str, str], Array],
) -> Generator[Progress, None, None]:
    """Write a GGUF tensor by tensor: `tensors` names shape and layout, `coded(name, layout)` gives the raw bytes.

    `out` appears when it is whole. Raises SpearheadError when the disk does not take it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name[:60]}.")
    os.close(handle)
    try:
        yield from _write(Path(draft), values, tensors, coded)
        os.chmod(draft, 0o644)
        os.replace(draft, out)
    except OSError as error:
        raise SpearheadError(f"{out} could not be written: {error.strerror or error}") from error
    finally:
        Path(draft).unlink(missing_ok=True)


def _write(
    draft: Path,
    values: Mapping[str, Value],
    tensors: Mapping[str, tuple[tuple[int, ...], str]],
    coded: Callable[[str, str], Array],
) -> Generator[Progress, None, None]:
    writer = GGUFWriter(None, str(values["general.architecture"].value))
    for key, value in values.items():
        if key in ("general.architecture", "general.alignment"):  # the writer's own
            continue
        item = None if value.item is None else GGUFValueType(value.item)
        if isinstance(value.value, list) and not value.value:
            continue  # an empty array has no type in the writer, and none in a reader's eyes
        writer.add_key_value(key, value.value, GGUFValueType(value.kind), sub_type=item)
    for name, (shape, layout) in tensors.items():
        size = weight_layouts.bytes_of(shape, layout=layout)
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=GGMLQuantizationType[layout])
    try:
        writer.write_header_to_file(draft)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        total = sum(weight_layouts.bytes_of(shape, layout=layout) for shape, layout in tensors.values())
        done = 0
        for name, (_, layout) in tensors.items():
            data = np.ascontiguousarray(coded(name, layout))
            writer.write_tensor_data(data)
            done += data.nbytes
            yield Progress("write", done, total, note=name, unit="byte")
        writer.flush()
        os.fsync(writer.fout[0].fileno())
    finally:
        writer.close()


def _write_floats(
    out: Path,
    values: Mapping[str, Value],
    shapes: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], Array],
    *,
    layout: str,
) -> Generator[Progress, None, None]:
    tensors = {name: (shape, weight_layouts.layout_of(name, shape, wanted=layout)) for name, shape in shapes.items()}

    def coded(name: str, wanted: str) -> Array:
        return weight_layouts.encode(tensor(name), layout=wanted)

    yield from write(out, dict(values) | _about(layout), tensors, coded)


def _about(layout: str) -> dict[str, Value]:
    kind = Value(gguf_names.U32, weight_layouts.FILE_TYPES[layout])
    return {"general.file_type": kind, "general.quantization_version": Value(gguf_names.U32, 2)}


def _state_names(config: Mapping[str, Any], file: Gguf) -> list[str]:
    """The Hugging Face names of the tensors in the file."""
    parts = ["input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    parts += [f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")]
    layers = range(int(config["num_hidden_layers"]))
    names = ["model.embed_tokens", "model.norm", "lm_head"]
    names += [f"model.layers.{layer}.{part}" for layer in layers for part in parts]
    known = gguf_names.all_names(config)
    return [f"{n}.{end}" for n in names for end in ("weight", "bias") if f"{known.get(n)}.{end}" in file.tensors]


def _must_agree(base: Gguf, config: Mapping[str, Any]) -> None:
    """The base's metadata will describe the new weights, so they must be of one shape."""
    theirs = gguf_names.config_of(base.metadata)
    theirs["head_dim"], ours = gguf_names.heads(theirs)[2], dict(config) | {"head_dim": gguf_names.heads(config)[2]}
    ours["rope_theta"] = gguf_names.rope(config)[0]
    for key, value in theirs.items():
        if key.endswith("_token_id") or key in ("hidden_act", "max_position_embeddings", "rope_scaling"):
            continue
        got = ours.get(key)
        same = abs(got - value) <= 1e-6 * abs(value) if isinstance(value, float) and got is not None else got == value
        if not same:
            raise InputError(f"{base.path.name} has {key} {value!r} and the model has {got!r}: they are not one base")


def _shape(name: str, values: Array, config: Mapping[str, Any]) -> tuple[int, ...]:
    """The tensor's shape; raises InputError when config.json says another."""
    queries, keys, width = gguf_names.heads(config)
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    rows = {"q_proj": queries * width, "k_proj": keys * width, "v_proj": keys * width, "o_proj": hidden}
    rows |= {"gate_proj": inner, "up_proj": inner, "down_proj": hidden, "q_norm": width, "k_norm": width}
    rows |= {"embed_tokens": int(config["vocab_size"]), "lm_head": int(config["vocab_size"]), "norm": hidden}
    columns = {"o_proj": queries * width, "down_proj": inner}
    part, end = name.split(".")[-2:]
    first = rows.get(part, hidden)
    vector = end == "bias" or part.endswith("norm")
    wanted = (first,) if vector else (first, columns.get(part, hidden))
    if tuple(values.shape) != wanted:
        raise InputError(f"tensor {name!r} has shape {list(values.shape)}, config.json wants {list(wanted)}")
    if values.dtype.kind != "f":
        raise InputError(f"tensor {name!r} holds {values.dtype}, wanted floating-point numbers")
    return wanted
