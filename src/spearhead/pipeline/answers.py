"""Answers of a runtime to many prompts, written down one by one, so that a cut-off goes on. Judges nothing."""

import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from spearhead.core.files import write_whole
from spearhead.core.generation import Progress, Prompt
from spearhead.runtimes.batch import Start, streamed


@dataclass(frozen=True, slots=True)
class Written:
    """One answer and what the runtime counted for it."""

    index: int
    text: str
    prompt_units: int
    completion_units: int


def answer(
    start: Start, prompts: Sequence[Prompt], *, file: Path, stage: str, parallel: int = 16
) -> Generator[Progress, None, list[Written]]:
    """Each prompt's answer, in order; `file` holds a line for each that is there already.

    Nothing is started when every answer is in the file.
    """
    found = kept(file)
    missing = [index for index in range(len(prompts)) if index not in found]
    yield Progress(stage, len(prompts) - len(missing), len(prompts), unit="answers")
    if missing:
        with file.open("a", encoding="utf-8") as stream:
            for item in streamed(start, [prompts[index] for index in missing], parallel=parallel):
                usage = item.usage
                row = Written(missing[item.prompt], item.text.strip(), usage.prompt, usage.completion)
                found[row.index] = row
                stream.write(line(row))
                stream.flush()
                yield Progress(stage, len(found), len(prompts), unit="answers")
    return [found[index] for index in range(len(prompts))]


def line(row: Written) -> str:
    """One answer as it stands in the file."""
    return json.dumps(asdict(row), ensure_ascii=False) + "\n"


def kept(file: Path) -> dict[int, Written]:
    """The answers that are in the file; a line that was cut off by a kill is taken out of it."""
    if not file.is_file():
        return {}
    found = {}
    for row in file.read_text(encoding="utf-8").split("\n"):  # an answer may hold the other ends of a line
        try:
            value = Written(**json.loads(row))
        except (ValueError, TypeError):  # the last line of a run that was killed while it wrote
            continue
        found[value.index] = value
    write_whole(file, "".join(line(row) for row in found.values()))
    return found
