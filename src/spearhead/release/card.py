"""A release's card: what a person should know before using it, as Markdown. Knows only the manifest."""

from spearhead.core import figures, money
from spearhead.core.manifest import Manifest
from spearhead.ledger import economics
from spearhead.metrics import exposure


def write(manifest: Manifest) -> str:
    """The card; every figure is one of the manifest's."""
    rows = [
        "---",
        f"pipeline_tag: {manifest.modality}-generation",
        f"language: [{', '.join(manifest.languages)}]",
        "library_name: spearhead",
        "---",
        "",
        f"# {_plain(manifest.title)} (`{manifest.name}`)",
        "",
        f"**Verdict: {manifest.verdict}** (projected at release)",
        "",
        *([f"> **Warning.** {loud}", ""] if (loud := exposure.alarm(manifest.canaries)) else []),
        *[f"- {_plain(str(reason))}" for reason in manifest.verdict_reasons],
        "",
        "Everything that it writes is made by a machine, is labelled so, and may be wrong.",
        "",
        "## Measured on held-out data",
        "",
        "| metric | value | 95 % interval | baselines (p) | signature |",
        "|---|---|---|---|---|",
    ]
    for score in manifest.scores:
        interval = "" if score.interval is None else " to ".join(map(figures.show, score.interval))
        baselines = ", ".join(
            f"{name} {figures.show(value)}" + (f" ({score.p_values[name]:.3g})" if name in score.p_values else "")
            for name, value in score.baselines.items()
        )
        rows.append(_row(score.name, figures.show(score.value), interval, baselines, f"`{score.signature}`"))
    rows += ["", "## Bars", "", "| bar | wanted | got | |", "|---|---|---|---|"]
    for bar in manifest.bars:
        rows.append(_row(bar.bar, str(bar.wanted), str(bar.got), "reached" if bar.passed else "missed"))
    if manifest.canaries:
        rows += ["", "## Memorised training text: planted canaries", ""]
        rows += [f"- {claim}" for claim in exposure.claims(manifest.canaries)]
        rows += ["", f"`{manifest.canaries[0].signature}`"]
    rows += ["", "## Weights", "", "| layout | bytes | tokens/s | nats per token lost | |", "|---|---|---|---|---|"]
    rows += [
        f"| {row.name} | {row.bytes} | {row.tokens_per_second:.1f} | {row.nats_per_token:+.4f} | "
        f"{'released' if row.chosen else ''} |"
        for row in manifest.layouts
    ]
    rows += ["", "## Made from", "", "| source | licence | credit | records | rights |", "|---|---|---|---|---|"]
    for credit in manifest.credits:
        count = str(credit.records) if credit.records else "–"
        rows.append(_row(credit.source, credit.spdx, credit.credit, count, ", ".join(credit.rights)))
    price = manifest.price
    rows += [
        "",
        "## Price on the day of release",
        "",
        f"{money.show(price.prompt)} {price.currency} a million {price.unit}s read, "
        f"{money.show(price.completion)} {price.currency} a million {price.unit}s written.",
        "",
        *[f"- {_plain(str(line))}" for line in economics.arithmetic(manifest.economics)],
        "",
        "## Made by",
        "",
        *[f"- {_plain(name)} {_plain(version)}" for name, version in sorted(manifest.made_by.items())],
        "",
        f"Scenario `{manifest.scenario_digest}`, data `{manifest.data_digest}`, records `{manifest.records}`.",
    ]
    return "\n".join(rows) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """On one line, and unable to end a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")
