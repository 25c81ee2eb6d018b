"""The step of the road that turns trained weights into files a runtime serves, by measured speed and loss."""

import dataclasses
import itertools
import json
import math
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress, Prompt
from spearhead.core.record import Record
from spearhead.core.template import Segment, Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained.batch import Example
from spearhead.nn import calibrated, gguf_adapter, gguf_file
from spearhead.pipeline import judge
from spearhead.release import calibration, fidelity, quantise
from spearhead.runtimes.llamacpp import Settings
from spearhead.scenario.read import Loaded
from spearhead.scenario.schema import Scenario
from spearhead.training import tuning

PAIRS = 8
"""Validation pairs on which a layout's loss is measured."""
SPEED_PROMPTS = 8
CALIBRATED = 3000
"""Tokens of training text on which 4-bit layouts are calibrated."""
DRAWN = 1024
"""Training texts at least from which these, and what is tuned on, are drawn."""
LONGEST = 1024
"""Tokens of the longest piece of a text that a layout is calibrated or tuned on."""
TUNING = "tuning"
"""The folder in which tuning keeps what it goes on from."""
VALIDATED = 1 << 13
"""Validation tokens on which what was tuned is judged."""
Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")


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
    train: Iterable[Record],
    validation: Sequence[Record],
    folder: Path,
    over: Over | None = None,
) -> Generator[Progress, None, dict[str, Any]]:
    """GGUF files of the merged model in every layout of the scenario; the result names the chosen one.

    The full-precision file is compared with the trained model first: an export that says something else is refused.
    Layouts that can be are calibrated on training text, and Q4_0 is tuned on it where the scenario says so. With `over`
    the chosen file is the base, and `adapter` in the result the adapter over it; the comparison is theirs together, and
    the merged files are only timed beside them.
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
        _within(
            judge.longest(scenario),
            tokenizer.encode_segments(template.single(case.given)),
            tokenizer.encode_segments([Segment(case.reference.text, False), Segment(template.stop, True)]),
        )
        for case in itertools.islice(judge.cases_of(validation), PAIRS)
        if case.reference is not None
    ]
    moments, sources = None, {}
    if calibrated.BITS.keys() & set(scenario.release.layouts):
        longest = _longest(merged)
        learn = _drawn(train, max(DRAWN, scenario.release.tune * tuning.BATCH), seed=scenario.training.seed)
        texts = [piece for record in learn for piece in _pieces(record, template, tokenizer, longest=longest)]
        moments = yield from calibration.moments(merged, [piece.ids for piece in _first(texts, CALIBRATED)])
        if scenario.release.tune:
            asked = (piece for record in validation for piece in _pieces(record, template, tokenizer, longest=longest))
            tuned, sources[tuning.LAYOUT] = yield from _tuned(
                loaded, merged, bare, moments, learn=texts, held=_first(asked, VALIDATED), folder=folder
            )
            found["tuned"] = tuned.told()
    choice = yield from quantise.choose(
        bare,
        tokenizer_json,
        folder,
        layouts=scenario.release.layouts,
        pairs=pairs,
        prompts=_timed(scenario, merged, tokenizer, validation),
        most_loss=scenario.release.most_loss,
        moments=moments,
        sources=sources,
        over=quantise.Over(adapter, full) if adapter else None,
    )
    for file in folder.glob("*.gguf"):
        if file not in (choice.path, adapter):
            file.unlink()
    shutil.rmtree(folder / TUNING, ignore_errors=True)
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


def _tuned(
    loaded: Loaded,
    merged: Path,
    full: Path,
    moments: Mapping[str, Array],
    *,
    learn: Sequence[Example],
    held: Sequence[Example],
    folder: Path,
) -> Generator[Progress, None, tuple[tuning.Tuned, Path]]:
    """What tuning found, and the file with its numbers: the calibrated one's where it was no better."""
    from spearhead.training import devices

    calibrated, better = folder / "calibrated.gguf", folder / "tuned.gguf"
    for step in gguf_file.requantise(full, calibrated, tuning.LAYOUT, moments=moments):
        yield Progress("quantise", step.done, step.total, note=f"{tuning.LAYOUT} calibrated", unit="byte")
    tuned = yield from tuning.tune(
        merged,
        calibrated,
        learn=learn,
        held=held,
        steps=loaded.scenario.release.tune,
        seed=loaded.scenario.training.seed,
        folder=folder / TUNING,
        device=str(devices.choose(loaded.scenario.training.device)),
    )
    if not tuned.better:
        return tuned, calibrated
    for step in gguf_file.revise(calibrated, better, tuned.tensors):
        yield Progress("quantise", step.done, step.total, note=f"{tuning.LAYOUT} tuned", unit="byte")
    return tuned, better


def _drawn(many: Iterable[T], count: int, *, seed: int) -> list[T]:
    """`count` of many, any as likely as any other (Vitter 1985, algorithm R), in no order."""
    rng = np.random.default_rng([seed, 4])
    kept: list[T] = []
    for number, one in enumerate(many):
        if number < count:
            kept.append(one)
        elif (place := int(rng.integers(number + 1))) < count:
            kept[place] = one
    return [kept[place] for place in rng.permutation(len(kept))]


def _timed(scenario: Scenario, merged: Path, tokenizer: Tokenizer, records: Sequence[Record]) -> list[Prompt]:
    """The first prompts that leave room for an answer; of all that leave none the shortest, which is told then."""
    asked = judge.prompts(scenario, list(judge.cases_of(records)))
    known = json.loads((merged / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    room = min(scenario.generation.context, Settings().context, known or Settings().context)
    sizes = {number: len(tokenizer.encode_segments(one.segments)) for number, one in enumerate(asked)}
    fits = [number for number, size in sizes.items() if size < room]
    return [asked[number] for number in (fits[:SPEED_PROMPTS] or [min(sizes, key=sizes.__getitem__)])]


def _within(most: int, prompt: Sequence[int], answer: Sequence[int]) -> quantise.Pair:
    """A pair of at most so many tokens: the end of what is given, and the beginning of what is wanted."""
    given = list(prompt[-(most - 1) :])
    return quantise.Pair(given, list(answer[: most - len(given)]))


def _pieces(record: Record, template: Template, tokenizer: Tokenizer, *, longest: int) -> Iterator[Example]:
    """What the model has learnt of a record, as it will see it: in pieces of at most `longest` tokens."""
    wanted = record.parts["text" if "text" in record.parts else "output"]
    prompt = tokenizer.encode_segments(template.single(record.given))
    answer = [Segment(wanted.text, False), Segment(template.stop, True)]
    ids = (*prompt, *tokenizer.encode_segments(answer))
    for start in range(0, max(1, len(ids) - 1), longest - 1):  # the last of a piece is the first that the next is given
        piece = Example(ids[start : start + longest], max(1, len(prompt) - start))
        if piece.weight > 0:
            yield piece


def _first(pieces: Iterable[Example], tokens: int) -> list[Example]:
    """The first pieces that have so many tokens together, or all."""
    found: list[Example] = []
    for piece in pieces:
        if tokens <= 0:
            break
        found.append(piece)
        tokens -= piece.units
    return found


def _longest(merged: Path) -> int:
    """Tokens that the model sees at once, `LONGEST` at most."""
    config = json.loads((merged / "config.json").read_text(encoding="utf-8"))
    return min(LONGEST, int(config.get("max_position_embeddings", LONGEST)))


def load(folder: Path) -> tuple[dict[str, "np.ndarray[Any, Any]"], dict[str, Any]]:
    """Weights and configuration of a Hugging Face model folder."""
    from safetensors.numpy import load_file

    state = {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}
    return state, json.loads((folder / "config.json").read_text(encoding="utf-8"))
