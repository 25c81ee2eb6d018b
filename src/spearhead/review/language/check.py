"""Judges the language sentence by sentence; what is too short or too mixed to tell is let through."""

from dataclasses import dataclass, field
from functools import cache
from importlib import util
from typing import Any

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.core.review import Context, Finding
from spearhead.core.sentence import said
from spearhead.review import categories
from spearhead.review.scanner import scan
from spearhead.review.segments import SegmentScanner

RELATED = {"zh": ("wuu", "yue")}
"""Written Cantonese and Wu are told from Mandarin by few characters: who allows Chinese means these too."""
ENOUGH = 30
"""Letters a sentence needs to be judged; a Chinese character counts as three."""
SURE, UNLIKELY = 0.6, 0.02
SEVERITY = 0.6


@cache
def _identifier() -> Any:
    from py3langid import langid  # a second, most of it to unpack the model

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


@dataclass(frozen=True, slots=True)
class LanguageCheck:
    """Findings for sentences in other languages. Option `allowed`: ISO 639 codes; else the context's language.

    Without either it finds nothing: any language will do.
    """

    allowed: tuple[str, ...] = ()
    name: str = field(default="language", init=False)
    modality: str = field(default="text", init=False)
    reach: int = field(default=240, init=False)

    def need(self) -> None:
        """Raises InputError when the identifier is not installed."""
        if util.find_spec("py3langid") is None:
            raise InputError("check language needs py3langid: install spearhead[review]")

    def configured(self, options: "dict[str, object]") -> "LanguageCheck":
        """This check with the options of a policy; raises InputError on anything it does not know."""
        allowed = options.get("allowed", [])
        codes = isinstance(allowed, (list, tuple)) and all(isinstance(c, str) and 2 <= len(c) <= 3 for c in allowed)
        if options.keys() - {"allowed"} or not codes or not allowed:
            raise InputError(f"check language: wanted allowed = a list of codes such as en and zh, got {options!r}")
        assert isinstance(allowed, (list, tuple))
        return LanguageCheck(tuple(allowed))

    def scanner_for(self, context: Context) -> SegmentScanner:
        """A scanner for one stream."""
        wanted = self.allowed or ((context.language,) if context.language else ())
        codes = frozenset(code for one in wanted for code in (one, *RELATED.get(one, ())))
        return SegmentScanner(lambda sentence: self._judge(sentence, codes))

    def __call__(self, item: Media, context: Context) -> list[Finding]:
        """Sentences in a language that is not allowed."""
        try:
            text = item.text
        except UnicodeDecodeError:
            return [Finding(self.name, categories.UNREADABLE, 1.0, said("review.not_text"))]
        return scan(self.scanner_for(context), text)

    def _judge(self, sentence: str, allowed: frozenset[str]) -> list[Finding]:
        if not allowed or sum((3 if ord(c) >= 0x2E80 else 1) for c in sentence if c.isalpha()) < ENOUGH:
            return []
        ranked = _identifier().rank(sentence)
        (language, share), rest = ranked[0], sum(part for code, part in ranked if code in allowed)
        if language in allowed or share < SURE or rest > UNLIKELY:
            return []
        reason = said("review.language.other", language=language, wanted=tuple(sorted(allowed)))
        return [Finding(self.name, "wrong-language", SEVERITY, reason, start=0, end=len(sentence))]
