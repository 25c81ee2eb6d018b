"""The texts of a case, or one sentence about what is missing. Knows nothing of scores."""

from collections.abc import Sequence

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.score import Case

LONGEST = 200_000
"""Characters a judged text may have: some measures take time that grows with its square."""


def outputs(cases: Sequence[Case], metric: str) -> list[str]:
    """Every case's output."""
    return [_text(case.output, metric, at, "output") for at, case in enumerate(cases)]


def references(cases: Sequence[Case], metric: str) -> list[str]:
    """Every case's reference; raises InputError where there is none."""
    return [_text(case.reference, metric, at, "reference") for at, case in enumerate(cases)]


def inputs(cases: Sequence[Case], metric: str) -> list[str]:
    """Every case's input; raises InputError where there is none."""
    return [_text(case.input, metric, at, "input") for at, case in enumerate(cases)]


def sources(cases: Sequence[Case], metric: str) -> list[str]:
    """Every case's input under all that was said before it; raises InputError where there is none."""
    return [_text(case.source, metric, at, "input") for at, case in enumerate(cases)]


def _text(media: Media | None, metric: str, at: int, part: str) -> str:
    if media is None:
        raise InputError(f"{metric}: case {at} has no {part}: give it one, or leave {metric} out")
    if media.modality != "text":
        raise InputError(f"{metric}: the {part} of case {at} is {media.modality}: wanted text")
    try:
        text = media.text
    except UnicodeDecodeError as error:
        raise InputError(
            f"{metric}: the {part} of case {at} is not UTF-8 ({error.reason} at byte {error.start})"
        ) from None
    if len(text) > LONGEST:
        raise InputError(f"{metric}: the {part} of case {at} has {len(text)} characters: wanted at most {LONGEST}")
    return text
