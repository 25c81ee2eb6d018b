"""The kinds of harm that checks name, and what other vocabularies call them. A vocabulary is a table here, not code."""

UNREADABLE = "unreadable"
"""A check could not look: the piece is held, whatever the policy says."""

# Name: MLCommons hazard, OpenAI moderation category (None: that vocabulary has no such category).
TABLE: dict[str, dict[str, str | None]] = {
    "violent-crimes": {"mlcommons": "S1", "openai": "illicit/violent"},
    "non-violent-crimes": {"mlcommons": "S2", "openai": "illicit"},
    "sex-crimes": {"mlcommons": "S3", "openai": "sexual"},
    "child-exploitation": {"mlcommons": "S4", "openai": "sexual/minors"},
    "defamation": {"mlcommons": "S5", "openai": "harassment"},
    "specialised-advice": {"mlcommons": "S6", "openai": None},
    "privacy": {"mlcommons": "S7", "openai": None},
    "intellectual-property": {"mlcommons": "S8", "openai": None},
    "indiscriminate-weapons": {"mlcommons": "S9", "openai": "illicit/violent"},
    "hate": {"mlcommons": "S10", "openai": "hate"},
    "self-harm": {"mlcommons": "S11", "openai": "self-harm"},
    "sexual-content": {"mlcommons": "S12", "openai": "sexual"},
    "elections": {"mlcommons": "S13", "openai": None},
    "code-abuse": {"mlcommons": "S14", "openai": "illicit"},
}
NAMES = frozenset(TABLE)


def spoken(category: str, vocabulary: str) -> str | None:
    """What `vocabulary` calls a category; None where it has no word for it.

    >>> spoken("hate", "mlcommons")
    'S10'
    """
    return TABLE.get(category, {}).get(vocabulary)
