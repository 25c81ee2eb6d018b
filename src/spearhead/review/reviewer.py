"""Runs the checks of a policy over a piece. Knows which checks there are through the catalogue alone."""

from dataclasses import dataclass

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Finding, Policy, Verdict
from spearhead.review import categories, policy
from spearhead.review.scanner import Configurable

CHECKS = Catalogue("spearhead.review", "CHECK")


@dataclass(frozen=True, slots=True, init=False)
class Reviewer:
    """A policy with its checks at hand; make one and keep it. Raises InputError on an unknown check or option."""

    policy: Policy
    checks: tuple[Check, ...]
    digest: str

    def __init__(self, rules: Policy) -> None:
        if strange := sorted(rules.options.keys() - set(rules.checks)):
            raise InputError(f"policy: options for {strange[0]!r}, which is not among its checks")
        object.__setattr__(self, "policy", rules)
        object.__setattr__(self, "checks", tuple(_check(name, rules.options.get(name)) for name in rules.checks))
        object.__setattr__(self, "digest", policy.digest_of(rules))

    def review(self, media: Media, context: Context) -> Verdict:
        """The verdict on a whole piece. A check that fails holds the piece; a piece that nothing looks at is held."""
        found = self.unseen(media.modality)
        for check in self.checks:
            if check.modality == media.modality:
                found += look(check, media, context)
        return policy.decide(self.policy, found, context.direction, known=self.digest)

    def unseen(self, modality: str) -> list[Finding]:
        """A finding that holds when the policy has checks and none of them looks at this modality."""
        if not self.checks or any(check.modality == modality for check in self.checks):
            return []
        return [Finding("reviewer", categories.UNREADABLE, 1.0, f"no check of the policy looks at {modality}")]


def look(check: Check, media: Media, context: Context) -> list[Finding]:
    """A check's findings; its failure is a finding too, which holds the piece."""
    try:
        return check(media, context)
    except Exception as error:  # whatever it is: what was not looked at does not pass
        return [failed(check, error)]


def failed(check: Check, error: Exception) -> Finding:
    """The finding of a check that could not look; names the kind of error, never the text."""
    return Finding(check.name, categories.UNREADABLE, 1.0, f"the check failed: {type(error).__name__}")


def _check(name: str, options: "object | None") -> Check:
    check: Check = CHECKS[name]
    if not options:
        return check
    if not isinstance(check, Configurable) or not isinstance(options, dict):
        raise InputError(f"policy: check {name!r} takes no options, got {options!r}")
    return check.configured(options)
