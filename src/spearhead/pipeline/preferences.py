"""`spearhead data from-review`: what reviewers decided, as a table to learn preferences from, with its rights.

An output of the house's own release is used under the licence that the operator states, and under every licence that
the release itself stands on: what one of those forbids stays forbidden, and their credits go along.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spearhead.core import files
from spearhead.core.errors import InputError
from spearhead.core.rights import Licence, Right
from spearhead.data import licences
from spearhead.pipeline.desk import opened
from spearhead.pipeline.told import Told
from spearhead.review import feedback
from spearhead.review.feedback import Preferred
from spearhead.store import releases
from spearhead.store.home import Home


def from_review(home: Home, scenario: str, *, out: Path, licence: str, credit: str = "") -> Told:
    """Write the pairs of `scenario` to `out` as JSON lines: prompt, chosen, rejected, licence, credit, source, reviews.

    A prompt of several messages, or with words of the system's, is a list of them.
    `licence` is the SPDX expression under which the house lets its own outputs, and the prompts they answer, be used;
    there is no default. Raises InputError when it allows no training, or no pair is left.
    """
    stated = _stated(licence, credit)
    found = feedback.feedback(opened(home), scenario=scenario)
    rights = _Rights(home, stated)
    left_out = Counter(found.left_out)
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, str, str]] = set()
    prompts: set[str] = set()
    for pair in found.pairs:
        row = _row(pair, rights)
        if isinstance(row, str):
            left_out[row] += 1
        elif (said := (pair.chosen.prompt, row["chosen"], row["rejected"])) in seen:
            left_out["says the same as another pair"] += 1
        else:
            seen.add(said)
            prompts.add(pair.chosen.prompt)
            rows.append(row)
    counts = {
        "pairs": len(rows),
        "edited": sum(row["kind"] == "edited" for row in rows),
        "prompts": len(prompts),
        **{f"alone_{name}": count for name, count in found.alone.items()},
    }
    words = [f"left out {count}: {reason}" for reason, count in sorted(left_out.items())]
    for name, count in found.alone.items():
        if count:
            words.append(f"{count} {name} without a partner to the same prompt: no pair")
    if not rows:
        told = "; ".join(words) or "no person has decided on a text of it"
        raise InputError(
            f"the reviews of {scenario!r} hold no pair of a better and a worse answer to one prompt: {told}"
        )
    files.write_whole(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    words.insert(0, f"{len(rows)} pairs ({counts['edited']} by edits) to {counts['prompts']} prompts in {out}")
    credits = "; ".join(dict.fromkeys(one for row in rows for one in row["credit"].split("; ") if one))
    words += ["", *_source(out, licence=stated.spdx, credit=credits)]
    return Told({**counts, "left_out": dict(left_out), "file": str(out)}, words)


def _stated(expression: str, credit: str) -> Licence:
    """What the operator says of the house's own outputs."""
    if not expression:
        raise InputError(
            "under which licence may your releases' outputs and the prompts they answer be trained on? Give --licence "
            "with an SPDX expression: LicenseRef-Proprietary-Own where they are yours, CC0-1.0 where you gave them up"
        )
    try:
        stated = licences.read(expression, credit=credit, wanted=Right.TRAIN)
    except ValueError as error:
        raise InputError(f"--licence: {error}") from error
    if why := licences.unfit(stated, Right.TRAIN):
        raise InputError(f"--licence: {why}")
    return stated


class _Rights:
    """What may be done with the outputs of each release; reads every manifest once."""

    def __init__(self, home: Home, stated: Licence) -> None:
        self.home, self.stated = home, stated
        self._known: dict[str, Licence | str] = {}

    def of(self, name: str) -> Licence | str:
        """The licence of what the release made, or why it is not known or does not do."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> Licence | str:
        scenario, _, version = name.partition("@")
        if not releases.NAME.fullmatch(scenario) or not releases.VERSION.fullmatch(version):
            return "made by a release that cannot be one"
        try:
            manifest = releases.read(self.home.releases / scenario / version).manifest
        except InputError:
            return f"the release {name} is not here any more, so its rights are unknown"
        joint = self.stated
        for credit in manifest.credits:
            try:
                joint = licences.both(joint, licences.read(credit.spdx, credit=credit.credit, wanted=Right.TRAIN))
            except ValueError as error:
                return f"the release {name} stands on a licence that cannot be read: {error}"
        why = licences.unfit(joint, Right.TRAIN)
        return f"the release {name} learnt from data whose licence forbids it: {why}" if why else joint


def _row(pair: Preferred, rights: _Rights) -> dict[str, Any] | str:
    """A line of the table, or why it is left out."""
    found = [rights.of(answer.release) for answer in (pair.chosen, pair.rejected)]
    if problem := next((one for one in found if isinstance(one, str)), ""):
        return problem
    joint = _joint(one for one in found if isinstance(one, Licence))
    return {
        "prompt": feedback.asked(pair.chosen.prompt),
        "chosen": pair.chosen.text,
        "rejected": pair.rejected.text,
        "licence": joint.spdx,
        "credit": "; ".join(dict.fromkeys(joint.credit.split("; "))),
        "source": " + ".join(dict.fromkeys((pair.chosen.release, pair.rejected.release))),
        "reviews": [pair.chosen.review, pair.rejected.review],
        "outputs": [pair.chosen.output, pair.rejected.output],
        "kind": "edited" if pair.edited else "decided",
    }


def _joint(found: Iterable[Licence]) -> Licence:
    first, second = found
    return licences.both(first, second)


def _source(out: Path, *, licence: str, credit: str) -> list[str]:
    """The lines of a scenario that read the table."""
    return [
        "[[data.sources]]",
        'kind = "files"',
        f"path = {json.dumps(str(out.absolute()), ensure_ascii=False)}",
        'reader = "jsonl"',
        'columns = { input = "prompt", output = "chosen", rejected = "rejected" }',
        f"licence = {json.dumps(licence)}",
        f"credit = {json.dumps(credit or 'the house', ensure_ascii=False)}",
        'licence_column = "licence"',
        'credit_column = "credit"',
    ]
