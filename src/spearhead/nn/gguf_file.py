"""GGUF model files and Hugging Face states: one read as the other, one written from the other, requantised.

Torch-free; runs no model. How the bytes of a file lie is for `gguf_header` to say.
"""

import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType, GGUFValueType

from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Progress
from spearhead.nn import calibrated, gguf_names, weight_layouts
from spearhead.nn.gguf_header import Array, Gguf, Value, read_header


def read_config(file: Gguf) -> dict[str, Any]:
    """The config.json of a file whose every tensor `read_state` can name.

    Raises InputError on what would be read wrongly: another architecture, experts, tensors too many or too few, heads
    that turn in part, positions scaled by a tensor.
    """
    config = gguf_names.config_of(file.metadata)
    kind = config["model_type"]
    if "rms_norm_eps" not in config:
        raise InputError(f"{file.path.name} does not say {kind}.attention.layer_norm_rms_epsilon")
    width = gguf_names.heads(config)[2]
    if (turned := file.metadata.get(f"{kind}.rope.dimension_count", width)) != width:
        raise InputError(f"{file.path.name} turns {turned} of the {width} numbers of a head: only whole heads are read")
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    if kind == "llama":
        attention, mlp = ("attn_q", "attn_k", "attn_v", "attn_output"), ("ffn_gate", "ffn_up", "ffn_down")
        config |= {"attention_bias": _biased(file, attention), "mlp_bias": _biased(file, mlp)}
    if left := file.tensors.keys() - _names(file, config).values():
        raise InputError(f"tensor {min(left)!r} of {file.path.name} has no place in a {kind} here")
    config["vocab_size"] = file.tensors["token_embd.weight"].shape[0]
    return config


def read_state(file: Gguf) -> Generator[Progress, None, dict[str, Array]]:
    """The tensors of a GGUF as `transformers` names and lays them, float32: the way back from `write_model`.

    Takes seconds where loading the file through transformers takes half a minute. Raises InputError as `read_config`
    does, on a layout without a reader, and on numbers that are not finite.
    """
    config = read_config(file)
    names = _names(file, config)
    state: dict[str, Array] = {}
    for name, other in names.items():
        tensor = file.tensors[other]
        values = weight_layouts.decode(tensor.data, layout=tensor.layout, shape=tensor.shape)
        if not np.isfinite(values).all():
            raise InputError(f"tensor {other!r} of {file.path.name} holds infinities or NaN: the file is damaged")
        rows = gguf_names.rows_of(name, config)
        state[name] = values if rows is None else np.ascontiguousarray(gguf_names.separate(values, heads=rows))
        yield Progress("base model", len(state), len(names), "dequantising", "tensors")
    return state


def read_coded(file: Gguf, layout: str) -> dict[str, Array]:
    """The raw bytes (rows, bytes a row) of the file's matrices in `layout`, named and laid as in `transformers`."""
    config = read_config(file)
    found: dict[str, Array] = {}
    for name, other in _names(file, config).items():
        tensor = file.tensors[other]
        if tensor.layout == layout and len(tensor.shape) == 2:
            data, rows = tensor.data.reshape(tensor.shape[0], -1), gguf_names.rows_of(name, config)
            found[name] = data if rows is None else gguf_names.separate(data, heads=rows)
    return found


def revise(path: Path, out: Path, changed: Mapping[str, Array]) -> Generator[Progress, None, None]:
    """Write `path` again with other numbers in some of its tensors, named as in `transformers`; the rest bit for bit.

    An array of uint8 is the raw bytes (rows, bytes a row) in the layout that the tensor has, as `read_coded` gives
    them; any other is written in that layout. Raises InputError on a name or a size that the file does not have.
    """
    file = read_header(path)
    config = read_config(file)
    names = _names(file, config)
    if odd := changed.keys() - names.keys():
        raise InputError(f"{path.name} has no tensor {min(odd)!r}")
    own = {names[name]: name for name in changed}

    def coded(other: str, layout: str) -> Array:
        if other not in own:
            return file.tensors[other].data
        values, rows = changed[own[other]], gguf_names.rows_of(own[other], config)
        values = values if rows is None else gguf_names.interleave(values, heads=rows)
        data = values if values.dtype == np.uint8 else weight_layouts.encode(values, layout=layout)
        if data.nbytes != file.tensors[other].data.nbytes:
            raise InputError(f"tensor {own[other]!r} takes {data.nbytes:,} bytes, not those of {path.name}")
        return data

    yield from write(out, file.values, {n: (t.shape, t.layout) for n, t in file.tensors.items()}, coded)


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
        old = read_header(base)
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
    file = read_header(path)
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


def _names(file: Gguf, config: Mapping[str, Any]) -> dict[str, str]:
    """Hugging Face name to GGUF name of the tensors in the file that have both."""
    parts = ["input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    parts += [f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")]
    layers = range(int(config["num_hidden_layers"]))
    names = ["model.embed_tokens", "model.norm", "lm_head"]
    names += [f"model.layers.{layer}.{part}" for layer in layers for part in parts]
    known = gguf_names.all_names(config)
    there = [f"{n}.{end}" for n in names for end in ("weight", "bias") if f"{known.get(n)}.{end}" in file.tensors]
    return gguf_names.tensor_names(config, there)


def _biased(file: Gguf, parts: Sequence[str]) -> bool:
    """Whether these parts have biases: config.json says it of all together, and of all layers."""
    wanted = [f"blk.{layer}.{part}.bias" for layer in range(file.metadata["llama.block_count"]) for part in parts]
    there = {name in file.tensors for name in wanted}
    if len(there) > 1:
        raise InputError(f"{file.path.name} has biases at some of {', '.join(parts)} only")
    return there == {True}


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
