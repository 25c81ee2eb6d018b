"""Runs the checks of a policy over a piece. Knows which checks there are through the catalogue alone."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spearhead.core import media as pieces
from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Finding, Policy, Verdict
from spearhead.core.sentence import said
from spearhead.review import categories, policy
from spearhead.review.scanner import Comparing, Configurable, Needing, Reading, Weighing, can, follow

CHECKS = Catalogue("spearhead.review", "CHECK")
ANY = "any"
"""The modality of a check that does not look at what is in a piece."""


@dataclass(frozen=True, slots=True, init=False)
class Reviewer:
    """A policy with its checks at hand; make one and keep it.

    `index` is the folder of the copy index of the release whose outputs are reviewed. Raises InputError on an unknown
    check or option, and when a check needs something that is not installed.
    """

    policy: Policy
    checks: tuple[Check, ...]
    digest: str

    def __init__(self, rules: Policy, *, index: Path | None = None) -> None:
        checks = configured(rules)
        for check in checks:
            if isinstance(check, Needing):
                check.need()
        if index is not None:
            checks = tuple(check.against(index) if isinstance(check, Comparing) else check for check in checks)
        object.__setattr__(self, "policy", rules)
        object.__setattr__(self, "checks", checks)
        object.__setattr__(self, "digest", policy.digest_of(rules))

    def review(self, media: Media, context: Context) -> Verdict:
        """The verdict on a whole piece. A check that fails holds the piece; a piece that nothing looks at is held."""
        found = self.unseen(media.modality)
        for check in self.checks:
            if check.modality in (media.modality, ANY):
                found += look(check, media, context)
                if media.modality != "text" and isinstance(check, Reading):
                    found += self._inside(check, media, context)
        return policy.decide(self.policy, found, context.direction, known=self.digest)

    def heavy(self, context: Context) -> bool:
        """Whether to look at a text is long work (a model, an index), to be done off an event loop."""
        texts = (check for check in self.checks if check.modality in ("text", ANY))
        return any(can(type(follow(check, context)), Weighing) for check in texts)

    def unseen(self, modality: str) -> list[Finding]:
        """A finding that holds when the policy has checks and none of them looks at this modality."""
        if not self.checks or any(check.modality == modality for check in self.checks):
            return []
        return [Finding("reviewer", categories.UNREADABLE, 1.0, said("review.unseen", modality=modality))]

    def _inside(self, check: Reading, media: Media, context: Context) -> list[Finding]:
        """What the text checks find in the text that `check` reads out of other media; places in it mean nothing."""
        try:
            item = pieces.text(check.read(media))
        except Exception as error:  # what was not read was not looked at
            return [failed(check, error)]
        texts = [other for other in self.checks if other.modality == item.modality]
        found = [finding for other in texts for finding in look(other, item, context)]
        return [
            dataclasses.replace(one, reason=said("review.in_its_text", reason=one.reason), start=None, end=None)
            for one in found
        ]


def sees(checks: Sequence[Check], modality: str) -> bool:
    """Whether some check looks at this modality, or at every piece; to have no checks at all is a choice."""
    return not checks or any(check.modality in (modality, ANY) for check in checks)


def look(check: Check, media: Media, context: Context) -> list[Finding]:
    """A check's findings; its failure is a finding too, which holds the piece."""
    try:
        return check(media, context)
    except Exception as error:  # whatever it is: what was not looked at does not pass
        return [failed(check, error)]


def failed(check: Check | Reading, error: Exception) -> Finding:
    """The finding of a check that could not look; names the kind of error, never the text."""
    return Finding(check.name, categories.UNREADABLE, 1.0, said("review.failed", error=type(error).__name__))


def configured(rules: Policy) -> tuple[Check, ...]:
    """The checks of a policy with its options; raises InputError on a check or an option that there is not."""
    if strange := sorted(rules.options.keys() - set(rules.checks)):
        raise InputError(f"policy: options for {strange[0]!r}, which is not among its checks")
    return tuple(_configured(name, rules.options.get(name)) for name in rules.checks)


def _configured(name: str, options: "object | None") -> Check:
    check: Check = CHECKS[name]
    if not options:
        return check
    if not isinstance(check, Configurable) or not isinstance(options, dict):
        raise InputError(f"policy: check {name!r} takes no options, got {options!r}")
    return check.configured(options)
