"""The kinds of harm that checks name, and what other vocabularies call them. A vocabulary is a file, not code.

Each file in `vocabularies/` has the words of one vocabulary and, for every category that it has words for, these words:
the exact one first, then wider ones. A vocabulary is added by adding a file.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from spearhead.core.errors import InputError

UNREADABLE = "unreadable"
"""A check could not look: the piece is held, whatever the policy says."""
UNAPPROVED = "unapproved"
"""The policy wants a person to approve every piece: it is held, whatever else the policy says."""

CATEGORIES: Mapping[str, str] = {
    "violent-crimes": "help with, or praise of, killing, torture, kidnapping, terror, abuse of people or animals",
    "threats": "a threat of violence against someone",
    "graphic-violence": "wounds, gore and death shown in detail",
    "non-violent-crimes": "help with fraud, theft, drugs, forgery, smuggling, money laundering",
    "sex-crimes": "help with, or praise of, rape, trafficking, sexual harassment, pictures taken in secret",
    "child-exploitation": "sexual content about children, or help with abusing them",
    "defamation": "a false claim that would harm the good name of a real person",
    "harassment": "insults, humiliation and bullying of someone",
    "specialised-advice": "medical, legal or financial advice that is dangerous to follow without a professional",
    "privacy": "personal data of someone, or help with getting hold of it",
    "intellectual-property": "copies of protected works, or help with making them",
    "indiscriminate-weapons": "help with bombs and with chemical, biological, radiological or nuclear weapons",
    "hate": "content that demeans people for what they are",
    "hate-threatening": "hate that calls for violence",
    "self-harm": "content that praises suicide, self-injury or disordered eating",
    "self-harm-intent": "someone says that they mean to hurt or kill themselves",
    "self-harm-instructions": "how to hurt or kill oneself",
    "sexual-content": "erotica and explicit descriptions",
    "elections": "false facts about how, when or where to vote, or help with rigging a vote",
    "code-abuse": "malware, intrusion and attacks on computers",
    "profanity": "coarse words",
    "prompt-injection": "words that try to override what the system was told",
    "wrong-language": "a language that the scenario does not answer in",
    "unsupported-claims": "numbers and names that the source does not hold",
}
NAMES = frozenset(CATEGORIES)
KNOWN = NAMES | {UNREADABLE, UNAPPROVED}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one vocabulary with their meanings, and how it speaks of each category."""

    name: str
    title: str
    words: Mapping[str, str]
    spoken: Mapping[str, tuple[str, ...]]


def read_vocabulary(text: str, *, name: str) -> Vocabulary:
    """A vocabulary from TOML: `title`, `[words]` (word = meaning), `[categories]` (category = list of words).

    Raises InputError on an unknown category or word, and when a word is never used.

    >>> read_vocabulary('title = "T"\\n[words]\\nX = "bad"\\n[categories]\\nhate = ["X"]', name="t").spoken["hate"]
    ('X',)
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"vocabulary {name}: not TOML: {error}") from error
    if set(raw) != {"title", "words", "categories"} or not all(
        isinstance(raw[k], dict) for k in ("words", "categories")
    ):
        raise InputError(f"vocabulary {name}: wanted title, [words] and [categories], got {', '.join(sorted(raw))}")
    spoken = {category: tuple(words) for category, words in raw["categories"].items()}
    if strange := sorted(spoken.keys() - NAMES):
        raise InputError(f"vocabulary {name}: category {strange[0]!r} is unknown; there are {', '.join(sorted(NAMES))}")
    used = {word for words in spoken.values() for word in words}
    if odd := sorted(used ^ raw["words"].keys()):
        raise InputError(f"vocabulary {name}: {odd[0]!r} must stand under [words] and be used by some category")
    return Vocabulary(name, str(raw["title"]), dict(raw["words"]), spoken)


@cache
def vocabularies() -> Mapping[str, Vocabulary]:
    """Every vocabulary in the package, by the name of its file."""
    files = resources.files("spearhead.review").joinpath("vocabularies").iterdir()
    texts = {file.name.removesuffix(".toml"): file.read_text("utf-8") for file in files if file.name.endswith(".toml")}
    return {name: read_vocabulary(texts[name], name=name) for name in sorted(texts)}


def words(category: str, vocabulary: str) -> tuple[str, ...]:
    """Every word of `vocabulary` for a category, the exact one first; none where it has no word for it.

    >>> words("threats", "openai")
    ('harassment/threatening', 'harassment', 'violence')
    """
    known = vocabularies().get(vocabulary)
    return known.spoken.get(category, ()) if known else ()


def spoken(category: str, vocabulary: str) -> str | None:
    """What `vocabulary` calls a category; None where it has no word for it.

    >>> spoken("hate", "mlcommons")
    'S10'
    """
    return next(iter(words(category, vocabulary)), None)


def silent(vocabulary: str) -> Iterator[str]:
    """Categories that a vocabulary has no word for, so that a report in it does not tell of them."""
    return (name for name in CATEGORIES if not words(name, vocabulary))
