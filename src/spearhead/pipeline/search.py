"""Searching over fields of a scenario: trials of training, judged by validation loss, poor ones cut short, resumable.

The test split is never looked at. A trial is a training step like any other, keyed by what it depends on: a search
that was killed goes on in the middle of the trial that it was cut off in.
"""

import json
import math
import tomllib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spearhead.core import digest, files
from spearhead.core.errors import InputError, SpearheadError
from spearhead.core.generation import Progress
from spearhead.pipeline import learn, road
from spearhead.pipeline.admitted import admitted
from spearhead.pipeline.told import Told, table
from spearhead.scenario import read
from spearhead.store.home import Home
from spearhead.training import launch
from spearhead.training.plan import NOT_THE_RESULT

STARTUP = 4
"""Trials that are drawn at random, and never cut short, before the search learns from them."""


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the scenario and what it may be: a range of numbers, or one of several values."""

    key: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False
    choices: tuple[Any, ...] = ()


def field(text: str) -> Field:
    """A field as a person writes it.

    >>> field("training.learning_rate=1e-4..1e-2")
    Field(key='training.learning_rate', low=0.0001, high=0.01, whole=False, log=True, choices=())
    >>> field("model.rank=4|8|16").choices
    (4, 8, 16)

    A range of numbers above zero that spans a factor of ten or more is searched by its logarithm. Raises InputError.
    """
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise InputError(f"--over {text!r}: wanted KEY=LOW..HIGH or KEY=VALUE|VALUE")
    if "|" in values:
        choices = tuple(_value(one, text) for one in values.split("|"))
        if any(not isinstance(one, (str, int, float, bool)) for one in choices):
            raise InputError(f"--over {text!r}: wanted plain values between the bars")
        return Field(key.strip(), choices=choices)
    low, dots, high = values.partition("..")
    ends = (_value(low, text), _value(high, text)) if dots else (None, None)
    numbers = [end for end in ends if isinstance(end, (int, float)) and not isinstance(end, bool)]
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)) or numbers[0] >= numbers[1]:
        raise InputError(f"--over {text!r}: wanted two numbers as in 1e-4..1e-2, the smaller one first")
    whole = all(isinstance(end, int) for end in numbers)
    return Field(key.strip(), numbers[0], numbers[1], whole, numbers[0] > 0 and numbers[1] / numbers[0] >= 10)


def _value(text: str, shown: str) -> Any:
    try:
        return tomllib.loads(f"x = {text.strip()}")["x"]
    except tomllib.TOMLDecodeError:
        if text.strip().replace("_", "").replace("-", "").isalnum():
            return text.strip()  # a bare word
        raise InputError(f"--over {shown!r}: {text.strip()!r} is no value of TOML") from None


def search(
    path: Path, *, home: Home, over: Sequence[Field], trials: int, preset: str = "", changes: Sequence[str] = ()
) -> Generator[Progress, None, Told]:
    """Train up to `trials` variants of the scenario and tell which fields matter and which values are best.

    Leaves `search.json` and `search.png` in the run's folder. Called again it goes on with the same study.
    """
    import optuna

    if launch.world() > 1:
        raise InputError("search runs in one process: start it without torchrun")
    if not over or trials < 1:
        raise InputError("search needs at least one --over and one trial")
    loaded = read.load(path, preset=preset, changes=tuple(changes))
    for one in over:  # a key that is unknown is said before anything is trained
        read.load(path, preset=preset, changes=(*changes, _change(one.key, _first(one))))
        if one.key in [f"training.{name}" for name in NOT_THE_RESULT]:
            raise InputError(f"--over {one.key}: it says how training is done and not what it comes to; leave it out")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = digest.of_value([loaded.digest, [[one.key, repr(one)] for one in over]])[:12]
    root = home.runs / loaded.scenario.name / f"search-{name}"
    with road.alone(root):
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{root / 'study.db'}",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
        )
        # The sampler is new at every start: with the same seed it would draw what it has drawn before.
        seed = loaded.scenario.training.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        for trial in study.trials:  # what a kill cut off is asked again, and finds its checkpoint
            if trial.state == optuna.trial.TrialState.RUNNING:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                study.enqueue_trial(trial.params)
        while (done := len(_ended(study))) < trials:
            yield Progress("search", done, trials, _best_words(study), "trials")
            yield from _trial(study, path, home=home, over=over, preset=preset, changes=changes, root=root)
        yield Progress("search", trials, trials, _best_words(study), "trials")
        return _told(study, over, root)


def _trial(
    study: Any, path: Path, *, home: Home, over: Sequence[Field], preset: str, changes: Sequence[str], root: Path
) -> Generator[Progress, None, None]:
    import optuna

    trial = study.ask()
    values = {one.key: _drawn(trial, one) for one in over}
    try:
        loaded = read.load(path, preset=preset, changes=(*changes, *(_change(k, v) for k, v in values.items())))
        dataset = yield from admitted(loaded, home)
        base = yield from learn.foundation(loaded, home)

        def watch(step: int, loss: float) -> None:
            trial.report(loss, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        done = yield from road.trained_by(
            loaded, home, dataset, base=base, base_key=learn.key(base), root=root, watch=watch
        )
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except SpearheadError as error:  # it diverged, or these values are impossible together: the search goes on
        trial.set_user_attr("failed", str(error)[:500])
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        if done.result["loss"] is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise InputError("this scenario trains nothing: there is nothing to search")
        study.tell(trial, done.result["loss"])


def _drawn(trial: Any, one: Field) -> Any:
    if one.choices:
        return trial.suggest_categorical(one.key, list(one.choices))
    if one.whole:
        return trial.suggest_int(one.key, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(one.key, one.low, one.high, log=one.log)


def _first(one: Field) -> Any:
    return one.choices[0] if one.choices else int(one.low) if one.whole else float(one.low)


def _change(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"


def _ended(study: Any) -> list[Any]:
    """Trials that count: a failed one that a kill left behind is asked again, one that diverged counts."""
    return [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED") or "failed" in t.user_attrs]


def _complete(study: Any) -> list[Any]:
    return sorted((t for t in study.trials if t.state.name == "COMPLETE"), key=lambda t: float(t.value))


def _best_words(study: Any) -> str:
    complete = _complete(study)
    return f"best {complete[0].value:.4f}" if complete else ""


def _told(study: Any, over: Sequence[Field], root: Path) -> Told:
    complete = _complete(study)
    if not complete:
        said = next((t.user_attrs["failed"] for t in study.trials if "failed" in t.user_attrs), "every trial was cut")
        raise SpearheadError(f"no trial came to its end: {said}")
    weights = _importances(study, over)
    states = {state: sum(t.state.name == state for t in study.trials) for state in ("COMPLETE", "PRUNED", "FAIL")}
    best = complete[0]
    values = {
        "best": {"loss": best.value, "values": best.params},
        "importance": weights,
        "trials": [
            {"number": t.number, "state": t.state.name, "loss": t.value, "values": t.params} for t in study.trials
        ],
        "states": states,
        "plot": str(root / "search.png"),
    }
    files.write_whole(root / "search.json", json.dumps(values, indent=1) + "\n")
    files.write_whole(root / "search.png", _plot(study, over, weights))
    rows = [[str(t.number), f"{t.value:.4f}", *(f"{t.params[one.key]}" for one in over)] for t in complete[:8]]
    flags = " ".join(f"--set {_change(key, value)}" for key, value in best.params.items())
    matter = ", ".join(f"{key} {share:.0%}" for key, share in sorted(weights.items(), key=lambda pair: -pair[1]))
    lines = [
        *table(["trial", "loss", *(one.key for one in over)], rows),
        "",
        f"{states['COMPLETE']} complete, {states['PRUNED']} cut short, {states['FAIL']} failed",
        *([f"what mattered: {matter}"] if weights else []),
        f"best: {flags}",
        f"plot: {root / 'search.png'}",
    ]
    return Told(values, lines)


def _importances(study: Any, over: Sequence[Field]) -> dict[str, float]:
    """The share of each field in what moved the loss (PED-ANOVA, arXiv 2304.10255); empty with too few trials."""
    import optuna

    if len(_complete(study)) < STARTUP or len(over) < 2:
        return {}
    found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    return {key: float(share) for key, share in found.items()}


def _plot(study: Any, over: Sequence[Field], weights: dict[str, float]) -> bytes:
    """A panel a field: loss against value, with its importance above."""
    import io

    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    complete = _complete(study)
    drawing, panels = pyplot.subplots(1, len(over), figsize=(3.6 * len(over), 3.2), sharey=True, squeeze=False)
    for panel, one in zip(panels[0], over, strict=True):
        values = [t.params[one.key] for t in complete]
        panel.scatter([str(v) for v in values] if one.choices else values, [t.value for t in complete], color="#0b5c8a")
        if one.log:
            panel.set_xscale("log")
        share = f" ({weights[one.key]:.0%})" if one.key in weights else ""
        panel.set_title(f"{one.key}{share}", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("validation loss")
    out = io.BytesIO()
    drawing.savefig(out, format="png", dpi=120, bbox_inches="tight")
    pyplot.close(drawing)
    return out.getvalue()
