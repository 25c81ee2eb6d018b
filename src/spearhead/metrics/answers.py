"""Short answers made comparable, as SQuAD's evaluation does: no case, no punctuation, no articles. Knows no metric."""

import unicodedata

from spearhead.metrics.words import words

SIGNATURE = "squad:no-punctuation,no-articles,nfkc,casefold,unspaced-by-character"
ARTICLES = {"a", "an", "the"}


def normalised(answer: str) -> list[str]:
    """The words that count. SQuAD deletes punctuation, so that `U.S.` is `us`; between Han characters nothing changes.

    >>> normalised("The U.S. Senate"), normalised("北京。")
    (['us', 'senate'], ['北', '京'])
    """
    bare = "".join(character for character in answer if not unicodedata.category(character).startswith("P"))
    return [word for word in words(bare) if word not in ARTICLES]
