"""How far a walk came and what it found, for a person and for a program. Does no work."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spearhead.core import sentence
from spearhead.core.family import Words
from spearhead.core.manifest import BarResult, Layout, Planted
from spearhead.core.sentence import Said
from spearhead.data import refusal
from spearhead.data.dataset import REFUSALS, Dataset
from spearhead.data.split import SPLITS
from spearhead.metrics import exposure
from spearhead.pipeline import judge
from spearhead.pipeline.steps import Done
from spearhead.pipeline.told import table

CLASSES = 20
"""Classes of pictures that are listed at most."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the road of one modality made, for the release and its economics."""

    runtime: str
    parts: Mapping[str, Path]
    """File name under `parts/` to file."""
    index: Path | None
    """The folder of the copy index."""
    layouts: tuple[Layout, ...]
    speed: float
    """Units a second of what is released."""
    prompt_units: int
    units: int
    """Of the held-out answers."""
    context: int
    options: Mapping[str, Any]
    """JSON Schema of what a request may set."""
    generation: Mapping[str, Any]
    """Defaults of those options."""
    words: Words
    """What the report says of the making."""


@dataclass
class Outcome:
    """How far a walk came and what it found."""

    name: str
    until: str
    dataset: Dataset
    samples: Sequence[Mapping[str, str]] = ()
    steps: list[Done] = field(default_factory=list)
    found: Words = ()
    """What the training found, as its family tells it."""
    judged: judge.Judged | None = None
    made: Made | None = None
    """None when no runtime serves the model."""
    canaries: Sequence[Planted] = ()
    """What was measured of planted sequences."""
    bars: Sequence[BarResult] = ()
    verdict: str = ""
    reasons: Sequence[Said] = ()
    release: Path | None = None
    answering: str = ""
    """The release that answers to the scenario's name, once there is one of this walk."""
    report: Path | None = None
    exit_code: int = 0
    message: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        summary = self.dataset.summary
        return {
            "scenario": self.name,
            "data": {
                **{key: summary[key] for key in ("digest", "records", "refusals", "licences", "credits")},
                "reasons": {
                    kind: [{"reason": one.reason, "source": one.source, "record": one.record} for one in some]
                    for kind, some in refusal.examples(self.dataset.refusals()).items()
                },
                "refused": str(self.dataset.folder / REFUSALS),
            },
            "samples": list(self.samples),
            "steps": [self._step(done) for done in self.steps],
            "scores": [dataclasses.asdict(score) for score in self.judged.scores] if self.judged else [],
            "extras": [dataclasses.asdict(score) for score in self.judged.extras] if self.judged else [],
            "canaries": [dataclasses.asdict(group) for group in self.canaries],
            "bars": sentence.plain(self.bars),
            "verdict": self.verdict,
            "reasons": sentence.plain(self.reasons),
            "release": str(self.release) if self.release else None,
            "answering": self.answering or None,
            "report": str(self.report) if self.report else None,
            "exit_code": self.exit_code,
            "message": self.message,
        }

    def after_release(self) -> str:
        """The command that comes next: to serve the release or, where an earlier one was promoted, to promote it."""
        assert self.release is not None
        mine = f"{self.name}@{self.release.name}"
        if self.answering == mine:
            return f"next: spearhead serve {self.name}"
        return (
            f"{self.answering} was promoted and answers to {self.name!r} still\n"
            f"next: spearhead release {mine} --action promote, or spearhead serve {mine} beside it"
        )

    def _step(self, done: Done) -> dict[str, Any]:
        found = {str(name): str(words) for name, words in self.found}
        told = {"words": found} if found and done.name == "train" else {}
        return {"step": done.name, "seconds": round(done.seconds, 2), "ran": done.fresh, **done.result, **told}

    def lines(self) -> list[str]:
        """The short table for a person."""
        out = _data_lines(self.dataset)
        if self.until == "data":
            for sample in self.samples:
                out += ["", *(f"{part:>7}: {words}" for part, words in sample.items())]
            some = refusal.examples(self.dataset.refusals())
            told = [f"  {kind}: {one.reason} ({one.source})" for kind, them in some.items() for one in them]
            out += ["", "why, by example:", *told] if told else []
            return [*out, "", f"refusals, one a line: {self.dataset.folder / REFUSALS}"]
        out += ["", *table(["step", "seconds", "ran"], [[s.name, f"{s.seconds:.1f}", _ran(s)] for s in self.steps])]
        out += ["", *(f"{name}: {words}" for name, words in self.found)] if self.found else []
        out += [f"forecast before training: {words}" for words in map(_foretold, self.steps) if words]
        if self.made:
            layouts = [
                [row.name, f"{row.bytes:,}", f"{row.tokens_per_second:.0f}", f"{row.nats_per_token:.2g}", _taken(row)]
                for row in self.made.layouts
            ]
            out += ["", *table(["layout", "bytes", "a second", "lost", ""], layouts)]
            out += ["", *(f"{name}: {words}" for name, words in self.made.words)] if self.made.words else []
        if self.judged:
            out += ["", *judge.score_table(self.judged)]
        if self.canaries:
            out += ["", "planted canaries:", *(f"  {claim}" for claim in exposure.claims(self.canaries))]
        if loud := exposure.alarm(self.canaries):
            out += ["", f"WARNING: {loud}"]
        if self.bars:
            rows = [[b.bar, b.wanted, b.got, "reached" if b.passed else "MISSED"] for b in self.bars]
            out += ["", *table(["bar", "wanted", "measured", ""], rows)]
        if self.verdict:
            out += ["", f"verdict: {self.verdict}", *(f"  {reason}" for reason in self.reasons)]
        if self.release:
            out += ["", f"release: {self.release}"]
        if self.report:
            out.append(f"report:  {self.report}")
        return [*out, *(["", self.message] if self.message else [])]


def _data_lines(dataset: Dataset) -> list[str]:
    summary, counts = dataset.summary, dataset.counts()
    rows = [["considered", f"{summary['considered']:,}"], *([name, f"{count:,}"] for name, count in counts.items())]
    if beyond := summary["beyond_limit"]:
        rows.append(["beyond data.limit", f"{beyond:,}"])
    rows += [[f"refused: {reason}", f"{count:,}"] for reason, count in summary["refusals"].items()]
    classes = dataset.classes()
    each = [[name, *(f"{found[split]:,}" for split in SPLITS)] for name, found in list(classes.items())[:CLASSES]]
    more = [f"and {len(classes) - CLASSES:,} more classes"] if len(classes) > CLASSES else []
    shown = ["", *table(["class", *SPLITS], each), *more] if classes else []
    owed = [f"  {credit.spdx}: {credit.credit} ({credit.records:,} records)" for credit in dataset.credits()]
    return [*table(["data", "records"], rows), *shown, "", "licences and credits owed:", *owed]


def _taken(layout: Layout) -> str:
    return "chosen" if layout.chosen else ""


def _foretold(done: Done) -> str:
    return str(done.result.get("forecast", {}).get("words", ""))


def _ran(done: Done) -> str:
    return "now" if done.fresh else "before"
