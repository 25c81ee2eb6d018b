"""The step of the road that turns trained weights into files a runtime serves, by measured speed and loss."""

import dataclasses
import json
import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.score import Case
from spearhead.core.template import Segment, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.nn import calibrated, gguf_adapter, gguf_file
from spearhead.pipeline import judge
from spearhead.release import calibration, fidelity, quantise
from spearhead.scenario.read import Loaded

PAIRS = 8
"""Validation pairs on which a layout's loss is measured."""
SPEED_PROMPTS = 8
CALIBRATED = 3000
"""Tokens of training text on which 4-bit layouts are calibrated."""
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Over:
    """A model that is released as an adapter over its base: what was learnt (peft's folder), and the base's folder."""

    adapter: Path
    base: Path


def make(
    loaded: Loaded,
    *,
    merged: Path,
    base: Path | None,
    probe: Path | None,
    train: Iterable[Case],
    validation: Sequence[Case],
    folder: Path,
    over: Over | None = None,
) -> Generator[Progress, None, dict[str, Any]]:
    """GGUF files of the merged model in every layout of the scenario; the result names the chosen one.

    The full-precision file is compared with the trained model first: an export that says something else is refused.
    Layouts that can be are calibrated on training text. With `over` the chosen file is the base, and `adapter` in the
    result the adapter over it; the comparison is theirs together, and the merged files are only timed beside them.
    """
    scenario = loaded.scenario
    tokenizer_json = merged / "tokenizer.json"
    tokenizer = Tokenizer.open(tokenizer_json)
    full, adapter = folder / "full.gguf", None
    count = 3 if over else 1
    yield Progress("export", 0, count, "F16")
    _write(merged, tokenizer_json, full, base=base)
    yield Progress("export", 1, count, "F16")
    bare = full
    if over is not None:
        bare, adapter = folder / "base.gguf", folder / "adapter.gguf"
        config = _write(over.base, tokenizer_json, bare, base=base)
        yield Progress("export", 2, count, "base F16")
        low_rank, scale = learnt(over.adapter)
        gguf_adapter.write_adapter(low_rank, config, adapter, scale=scale, name=scenario.name)
        yield Progress("export", 3, count, "adapter F16")
    found: dict[str, Any] = {}
    if probe is not None:
        with np.load(probe, allow_pickle=False) as kept:
            prefixes = [row[row >= 0].tolist() for row in kept["prefixes"]]
            trained = kept["logprobs"]
        exported = yield from fidelity.exported(bare, tokenizer_json, prefixes, adapter=adapter)
        close = fidelity.compare(trained, exported)
        fidelity.require(close, layout="F16")
        found["fidelity"] = dataclasses.asdict(close)
    template = scenario.template
    pairs = [
        quantise.Pair(
            tokenizer.encode_segments(template.single(case.input.text if case.input else "")),
            tokenizer.encode_segments([Segment(case.reference.text, False), Segment(template.stop, True)]),
        )
        for case in validation[:PAIRS]
        if case.reference is not None
    ]
    moments = None
    # What was learnt under a rounding is written by that rounding, and not by another.
    if calibrated.BITS.keys() & set(scenario.release.layouts) and not scenario.training.round_to:
        moments = yield from calibration.moments(merged, _calibrating(train, scenario.template, tokenizer))
    choice = yield from quantise.choose(
        bare,
        tokenizer_json,
        folder,
        layouts=scenario.release.layouts,
        pairs=pairs,
        prompts=judge.prompts(scenario, validation[:SPEED_PROMPTS]),
        most_loss=scenario.release.most_loss,
        moments=moments,
        over=quantise.Over(adapter, full) if adapter else None,
    )
    for file in folder.glob("*.gguf"):
        if file not in (choice.path, adapter):
            file.unlink()
    return {
        **found,
        "chosen": choice.path.name,
        "adapter": adapter.name if adapter else None,
        "layouts": [dataclasses.asdict(layout) for layout in choice.layouts],
        "alone": choice.alone,
        "nats": choice.nats,
    }


def _write(model: Path, tokenizer_json: Path, out: Path, *, base: Path | None) -> dict[str, Any]:
    """The model of a Hugging Face folder as a GGUF in F16; gives its configuration."""
    state, config = load(model)
    gguf_file.write_model(state, config, tokenizer_json, out, base=base, layout="F16")
    return config


def learnt(folder: Path) -> tuple[dict[str, tuple[Array, Array]], float]:
    """A LoRA as peft keeps it: A (rank, in) and B (out, rank) by module, and what B @ A is multiplied with.

    The scale is alpha / rank (arXiv 2106.09685, section 4.1), for rsLoRA alpha / sqrt(rank) (arXiv 2312.03732,
    theorem 3.2). Raises InputError when the folder is not there or holds anything else than low-rank pairs.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        values = load_file(folder / "adapter_model.safetensors")
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"the adapter in {folder} cannot be read ({error}): train again") from error
    halves: dict[str, dict[str, Array]] = {}
    for name, value in values.items():
        module, _, half = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        halves.setdefault(module, {})[half] = value
    if config.get("use_dora") or any(set(pair) != {"lora_A", "lora_B"} for pair in halves.values()):
        raise InputError(f"the adapter in {folder} is more than low-rank pairs: set release.form to 'merged'")
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return {module: (pair["lora_A"], pair["lora_B"]) for module, pair in halves.items()}, scale


def _calibrating(cases: Iterable[Case], template: Template, tokenizer: Tokenizer) -> list[list[int]]:
    """Training sequences of about `CALIBRATED` tokens together: what the layers will see."""
    sequences: list[list[int]] = []
    for case in cases:
        if sum(map(len, sequences)) >= CALIBRATED:
            break
        prompt = tokenizer.encode_segments(template.single(case.input.text if case.input else ""))
        answer = [Segment(case.reference.text, False), Segment(template.stop, True)] if case.reference else []
        sequences.append([*prompt, *tokenizer.encode_segments(answer)])
    return sequences


def load(folder: Path) -> tuple[dict[str, "np.ndarray[Any, Any]"], dict[str, Any]]:
    """Weights and configuration of a Hugging Face model folder."""
    from safetensors.numpy import load_file

    state = {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}
    return state, json.loads((folder / "config.json").read_text(encoding="utf-8"))
