import pytest

from spearhead.core.errors import InputError
from spearhead.data import language
from spearhead.data.language import Languages


@pytest.fixture(scope="module")
def english() -> Languages:
    found = Languages.of(("en",))
    assert found is not None
    return found


def test_what_a_scenario_may_name_is_what_the_identifier_tells_apart() -> None:
    found = Languages.of(("en",))
    assert found is not None and set(found.identifier.labels) == language.TOLD
    assert len([code for code in language.CODES if len(code) == 2]) == 183, "ISO 639-1 has so many"


def test_any_language_will_do_when_none_is_named() -> None:
    assert Languages.of(()) is None


@pytest.mark.parametrize(
    "text",
    [
        "Bonjour tout le monde, il fait beau.",
        "Guten Morgen, wie geht es Ihnen heute?",
        "春眠不觉晓，处处闻啼鸟。",
        "これは日本語です",
        "Quod erat demonstrandum est in principio",
    ],
)
def test_a_text_in_another_language_is_refused(english: Languages, text: str) -> None:
    assert "text looks like" in english.misfit("text", text)


@pytest.mark.parametrize(
    "text",
    [
        "In the beginning God created the heaven and the earth.",
        "Meshullam, Abijah, Mijamin,",
        "And Abishua begat Bukki, and Bukki begat Uzzi,",
        "Ye call me Master and Lord: and ye say well; for so I am.",
        "42",
        "OK.",
    ],
)
def test_english_old_names_and_what_is_too_short_to_tell_are_let_through(english: Languages, text: str) -> None:
    assert english.misfit("text", text) == ""


def test_who_allows_chinese_means_its_written_relatives_too() -> None:
    chinese = Languages.of(("zh",))
    assert chinese is not None
    assert chinese.misfit("text", "你好") == "" and chinese.misfit("text", "春眠不觉晓，处处闻啼鸟。") == ""
    assert chinese.misfit("text", "In the beginning God created the heaven and the earth.") != ""


def test_an_unknown_code_is_named() -> None:
    with pytest.raises(InputError, match="'english' is unknown: wanted ISO 639 codes"):
        Languages.of(("english",))
