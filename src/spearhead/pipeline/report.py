"""One self-contained HTML page about a run, made of facts, in any language. Measures nothing and decides nothing."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spearhead.core import clock, figures, money, sentence
from spearhead.core.family import Words
from spearhead.core.manifest import BarResult
from spearhead.core.media import Media
from spearhead.core.sentence import LANGUAGES, Said, Sentence


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the page shows: plain values, and sentences; empty lists leave their part of the page out."""

    title: str
    name: str
    scenario_digest: str
    data_digest: str
    description: str
    created: str
    verdict: str
    reasons: Sequence[Said]
    bars: Sequence[BarResult]
    scores: Sequence[dict[str, Any]]
    """Fields of `core.manifest.Measured`."""
    extras: Sequence[dict[str, Any]]
    """Further scores without baselines: fields of `core.score.Score`."""
    curve: Sequence[dict[str, Any]]
    """Rows `{step, loss, validation, rate, seconds}`; absent values are None."""
    samples: Sequence[dict[str, Any]]
    """`{input, reference, output, baselines: {name: text}}`, of pictures `closest: {nearest, distance, nearer}` too."""
    credits: Sequence[dict[str, Any]]
    data: dict[str, Any]
    """Summary of the admitted data: counts, refusals by reason, and pictures by class and split."""
    layouts: Sequence[dict[str, Any]]
    timings: Sequence[tuple[str, float]]
    economics: Words
    arithmetic: Sequence[Said]
    """The sums that these amounts come from."""
    price: dict[str, Any]
    policy: dict[str, Any]
    reviewed: dict[str, int]
    """What the policy decided on the held-out answers: allow, hold, block."""
    made_by: dict[str, str]
    model: Words = ()
    closest: Sequence[dict[str, Any]] = ()
    """`{output, nearest, distance, nearer}`: the outputs most like a training picture, see `metrics.nearest`."""
    judged: int = 0
    """Outputs that these were found among."""
    canaries: Sequence[dict[str, Any]] = ()
    """Fields of `core.manifest.Planted`."""
    ceilings: Sequence[str] = ()
    """Names of baselines that are real pieces, see `core.score.CEILINGS`."""
    claims: Sequence[Said] = ()
    """What was measured of the canaries, in sentences."""
    alarm: Said = ""
    """What must be said loudly about them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture inside the page."""

    url: str


def shown(piece: Media | None) -> str | Picture:
    """A piece as the page shows it: its text, or a picture that the page holds itself."""
    if piece is None:
        return ""
    if piece.modality == "text":
        return piece.text
    return Picture(f"data:{piece.mime};base64,{base64.b64encode(piece.data).decode()}")


def render(facts: Facts, language: str = LANGUAGES[0]) -> str:
    """The page in a language; every value is escaped, nothing is loaded from elsewhere.

    The template can use `t("key", n=3)` for `pipeline.report.key`, `say(sentence)` and `named(table, name)`.
    """
    import jinja2

    folder = Path(__file__).parent
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    env.filters["money"] = lambda value: money.show(int(value))
    env.filters["figure"] = figure
    env.filters["when"] = clock.shown
    env.filters["thousands"] = lambda value: f"{int(value):,}"

    def t(key: str, **places: Any) -> str:
        return sentence.say(Sentence(f"pipeline.report.{key}", places), language)

    return env.get_template("report.html.j2").render(
        facts=facts,
        curve=curve_svg(facts.curve),
        colours=(TRAINING, VALIDATION),
        language=language,
        t=t,
        say=partial(sentence.say, language=language),
        named=partial(sentence.named, language=language),
    )


def figure(value: float | None) -> str:
    """A number for people, see `core.figures`; a dash where there is none.

    >>> figure(58.6666), figure(None)
    ('58.67', '–')
    """
    return "–" if value is None else figures.show(value)


TRAINING, VALIDATION = "#9db4c8", "#0b5c8a"


def curve_svg(rows: Sequence[dict[str, Any]]) -> str:
    """Training and validation loss over steps as an inline picture without words; empty: there is nothing to draw."""
    train = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    held = [(row["step"], row["validation"]) for row in rows if row.get("validation") is not None]
    if not train:
        return ""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "spearhead"
    drawing, axes = pyplot.subplots(figsize=(7.2, 2.8))
    axes.plot(*zip(*train, strict=True), color=TRAINING, linewidth=1)
    if held:
        axes.plot(*zip(*held, strict=True), color=VALIDATION, linewidth=2, marker="o", markersize=3)
    top = sorted(loss for _, loss in train)[int(0.98 * (len(train) - 1))]
    axes.set_ylim(top=top + 0.1 * abs(top))  # a few first steps must not flatten all that follow
    axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    drawing.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(drawing)
    text = out.getvalue()
    return text[text.index("<svg") :]
