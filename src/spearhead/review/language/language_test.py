"""Language: sentences that are surely in another language, and no guesses."""

import pytest

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.review import Context, Direction
from spearhead.review.language import CHECK

GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund und geht dann nach Hause."
CHINESE = "今天天气很好，我们一起去公园散步吧，好不好呢？"
ENGLISH = "The meeting is at ten o'clock in the main hall tomorrow."


def wrong(text: str, language: str | None) -> int:
    return len(CHECK(media.text(text), Context("s", Direction.OUTPUT, language)))


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        (GERMAN, "en", 1),
        (CHINESE, "en", 1),
        (ENGLISH, "zh", 1),
        (ENGLISH, "en", 0),
        (CHINESE, "zh", 0),
        (GERMAN, None, 0),
        (f"{ENGLISH} {GERMAN}", "en", 1),
        ("Shadrach, Meshach and Abednego.", "en", 0),
        ("Ja, gut.", "en", 0),  # too short to tell
        ("12345 67890 " * 5, "zh", 0),
    ],
)
def test_only_what_is_surely_another_language_is_found(text: str, language: str | None, count: int) -> None:
    assert wrong(text, language) == count


def test_a_policy_may_allow_several() -> None:
    check = CHECK.configured({"allowed": ["en", "de"]})
    found = check(media.text(f"{ENGLISH} {GERMAN} {CHINESE}"), Context("s", Direction.OUTPUT, "fr"))
    assert len(found) == 1 and "wanted de or en" in str(found[0].reason)
    wrong_ones: list[dict[str, object]] = [{"allowed": []}, {"allowed": "en"}, {"more": 1}]
    for options in wrong_ones:
        with pytest.raises(InputError, match="check language"):
            CHECK.configured(options)
