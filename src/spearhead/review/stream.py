"""Reviews a text while it is written: hands on what no finding can touch any more, and nothing else.

Under `strict`, what a finding may include stays back until it is certain that it does not: usually the last word.
Under `fast`, text leaves at once and the stream is cut off where a finding shows. Each character is looked at once.
"""

from typing import cast

from spearhead.core.review import Check, Context, Decision, Finding, Verdict
from spearhead.review import policy
from spearhead.review.reviewer import ANY, Reviewer, failed
from spearhead.review.scanner import Scanner, Weighing, can, follow, place


class StreamReview:
    """One answer on its way out.

    `decision` is what is known so far. Once it is not ALLOW, `feed` hands on nothing after the place of the finding;
    feeding on is allowed, so that a held text is reviewed to its end.
    """

    def __init__(self, reviewer: Reviewer, context: Context) -> None:
        self.reviewer, self.context = reviewer, context
        self.scanners: list[tuple[Check, Scanner | None, list[Finding]]] = [
            (check, follow(check, context), []) for check in reviewer.checks if check.modality in ("text", ANY)
        ]
        followers = [scanner for _, scanner, _ in self.scanners if scanner is not None]
        self._weighing = [cast(Weighing, scanner) for scanner in followers if can(type(scanner), Weighing)]
        self.unseen = reviewer.unseen("text")
        self.text = ""  # what has not left; its first character stands at `shown`
        self.shown = 0
        self.decision = Decision.ALLOW
        self.cut: int | None = None  # nothing from here on may leave
        self._note([], self.unseen)

    def weighs(self, delta: str) -> bool:
        """Whether `feed(delta)` is long work, to be done off an event loop; nothing else may be fed meanwhile."""
        return any(scanner.weighs(delta) for scanner in self._weighing)

    @property
    def heavy(self) -> bool:
        """Whether `finish` is long work."""
        return bool(self._weighing)

    def feed(self, delta: str) -> str:
        """The text that may leave now."""
        self.text += delta
        for number, (check, scanner, findings) in enumerate(self.scanners):
            if scanner is None:
                continue
            try:
                self._note(findings, scanner.feed(delta))
            except Exception as error:  # what is not looked at does not leave
                self._lost(number, check, error)
        limit = self.shown + len(self.text)
        if self.reviewer.policy.stream == "strict":
            limit = min([limit, *(scanner.pending() for _, scanner, _ in self.scanners if scanner is not None)])
        return self._release(limit)

    def finish(self) -> tuple[str, Verdict]:
        """The text that may leave at the end, and the verdict on the whole."""
        for number, (check, scanner, findings) in enumerate(self.scanners):
            if scanner is None:
                continue
            try:
                self._note(findings, scanner.finish())
            except Exception as error:
                self._lost(number, check, error)
        found = self.unseen + [finding for _, _, findings in self.scanners for finding in sorted(findings, key=place)]
        rules, digest = self.reviewer.policy, self.reviewer.digest
        verdict = policy.decide(rules, found, self.context.direction, known=digest)
        rest = self._release(self.shown + len(self.text)) if verdict.decision is Decision.ALLOW else ""
        return rest, verdict

    def _note(self, findings: list[Finding], new: list[Finding]) -> None:
        for finding in new:
            findings.append(finding)
            decision = policy.consequence(self.reviewer.policy, finding, self.context.direction)
            if decision is Decision.ALLOW:
                continue
            start = self.shown if finding.start is None else max(self.shown, finding.start)
            self.cut = start if self.cut is None else min(self.cut, start)
            if self.decision is not Decision.BLOCK:
                self.decision = decision

    def _lost(self, number: int, check: Check, error: Exception) -> None:
        findings = self.scanners[number][2]
        self._note(findings, [failed(check, error)])
        self.scanners[number] = (check, None, findings)

    def _release(self, limit: int) -> str:
        if self.cut is not None:
            limit = min(limit, self.cut)
        count = max(0, limit - self.shown)
        free, self.text = self.text[:count], self.text[count:]
        self.shown += count
        return free
