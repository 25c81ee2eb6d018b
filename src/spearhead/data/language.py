"""Which language a text is in, as far as its length lets one tell. Knows nothing of records."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import util
from typing import Any

from spearhead.core.errors import InputError

# Written Cantonese and Wu are told from Mandarin by few characters: who allows Chinese means these too.
RELATED = {"zh": ("wuu", "yue")}
SURE = 0.5
UNLIKELY = 0.2
ENOUGH = 2000
"""Characters that are looked at."""


_TOLD = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv "
    "fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky la "
    "lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se "
    "si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu zxx"
)
_MORE = (
    "aa ab ae ak av ay bi bm bo ce ch co cr cu cv dv ee ff fj gn gv ho hz ia ie ii ik io iu kg ki kj kl kr ks kv kw li "
    "lu mh mi na nb nd ng nr nv ny oj os pi rm rn sc sd sg sm ss su ti tn to ts tw ty ve wo yi za"
)
TOLD = frozenset(_TOLD.split())
"""What the identifier tells apart, said here so that a scenario is checked without unpacking its model."""
CODES = TOLD | frozenset(_MORE.split())
"""Those and the rest of ISO 639-1."""


@dataclass(frozen=True, slots=True)
class Languages:
    """The allowed languages and a loaded identifier (py3langid: naive Bayes over byte n-grams, 140 languages)."""

    allowed: frozenset[str]
    identifier: Any

    @classmethod
    def of(cls, codes: tuple[str, ...]) -> "Languages | None":
        """None when any language will do; raises InputError on a code that the identifier does not know."""
        if not codes:
            return None
        identifier = _identifier()
        if unknown := sorted(set(codes) - set(identifier.labels)):
            raise InputError(
                f"data.cleaning.languages: {unknown[0]!r} is unknown: wanted ISO 639 codes such as en, zh or fr"
            )
        return cls(frozenset(code for one in codes for code in (one, *RELATED.get(one, ()))), identifier)

    def misfit(self, part: str, text: str) -> str:
        """Why a text is in a wrong language, or an empty text.

        A text is refused when another language is likelier than not and the allowed ones together are unlikely; one
        too short to tell (a list of names, a number) is let through.
        """
        if self.identifier.classify(text[:ENOUGH])[0] in self.allowed:
            return ""
        ranked = self.identifier.rank(text[:ENOUGH])
        (best, sure), allowed = ranked[0], sum(share for code, share in ranked if code in self.allowed)
        if sure >= SURE and allowed < UNLIKELY:
            return f"{part} looks like {best} ({sure:.0%}), wanted {' or '.join(sorted(self.allowed))}"
        return ""


TELLS = 100
"""Letters by which texts tell their language; a Chinese character counts as three."""
SEEN = 0.05
"""Share of the texts from which on a script counts."""
EASTERN = 0x2E80
"""From here on lie the scripts of East Asia."""


def spoken(texts: Iterable[str]) -> tuple[str, ...]:
    """ISO 639 codes of what texts are written in, the most frequent first.

    None where they have too few letters, or where the identifier is not installed (it comes with the extra `train`).

    Texts in the scripts of East Asia and all others are told apart first, since a table may well hold both; two
    languages that share a script come out as the one that prevails.
    """
    if util.find_spec("py3langid") is None:
        return ()
    eastern: list[str] = []
    others: list[str] = []
    for text in texts:
        letters = [char for char in text if char.isalpha()]
        if letters:
            (eastern if 2 * sum(ord(char) >= EASTERN for char in letters) >= len(letters) else others).append(text)
    told = []
    for part in sorted((eastern, others), key=len, reverse=True):
        text = "\n".join(part)[: 2 * ENOUGH]
        letter = 3 if part is eastern else 1
        if len(part) < SEEN * (len(eastern) + len(others)) or letter * sum(map(str.isalpha, text)) < TELLS:
            continue
        code, sure = _identifier().rank(text)[0]
        if sure >= SURE:
            told.append(next((whole for whole, kin in RELATED.items() if code in kin), code))
    return tuple(told)


@cache
def _identifier() -> Any:
    from py3langid import langid  # a second, most of it to unpack the model

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
