"""The step of the road that turns trained weights into files a runtime serves, by measured speed and loss."""

import dataclasses
import json
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.generation import Progress
from spearhead.core.score import Case
from spearhead.core.template import Segment, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.nn import gguf_file
from spearhead.pipeline import judge
from spearhead.release import calibration, fidelity, quantise
from spearhead.scenario.read import Loaded

PAIRS = 8
"""Validation pairs on which a layout's loss is measured."""
SPEED_PROMPTS = 8
CALIBRATED = 3000
"""Tokens of training text on which 4-bit layouts are calibrated."""


def make(
    loaded: Loaded,
    *,
    merged: Path,
    base: Path | None,
    probe: Path | None,
    train: Iterable[Case],
    validation: Sequence[Case],
    folder: Path,
) -> Generator[Progress, None, dict[str, Any]]:
    """GGUF files of the merged model in every layout of the scenario; the result names the chosen one.

    The full-precision file is compared with the trained model first: an export that says something else is refused.
    Layouts of four bits are calibrated on training text.
    """
    scenario = loaded.scenario
    tokenizer_json = merged / "tokenizer.json"
    tokenizer = Tokenizer.open(tokenizer_json)
    full = folder / "full.gguf"
    yield Progress("export", 0, 1, "F16")
    state, config = load(merged)
    gguf_file.write_model(state, config, tokenizer_json, full, base=base, layout="F16")
    del state
    yield Progress("export", 1, 1, "F16")
    found: dict[str, Any] = {}
    if probe is not None:
        with np.load(probe, allow_pickle=False) as kept:
            prefixes = [row[row >= 0].tolist() for row in kept["prefixes"]]
            trained = kept["logprobs"]
        exported = yield from fidelity.exported(full, tokenizer_json, prefixes)
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
    if set(scenario.release.layouts) & {"Q4_0", "Q4_1"}:
        moments = yield from calibration.moments(merged, _calibrating(train, scenario.template, tokenizer))
    choice = yield from quantise.choose(
        full,
        tokenizer_json,
        folder,
        layouts=scenario.release.layouts,
        pairs=pairs,
        prompts=judge.prompts(scenario, validation[:SPEED_PROMPTS]),
        most_loss=scenario.release.most_loss,
        moments=moments,
    )
    for layout in scenario.release.layouts:
        if folder / f"{layout}.gguf" != choice.path:
            (folder / f"{layout}.gguf").unlink(missing_ok=True)
    full.unlink(missing_ok=True)
    return {
        **found,
        "chosen": choice.path.name,
        "layouts": [dataclasses.asdict(layout) for layout in choice.layouts],
        "alone": choice.alone,
        "nats": choice.nats,
    }


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
