import pytest

from spearhead.core.errors import InputError
from spearhead.data.clean import Cleaner
from spearhead.data.config import Cleaning


def clean(text: str, **rules: object) -> str:
    return Cleaner.of(Cleaning(**rules))("text", text)  # type: ignore[arg-type]


def test_control_characters_and_hidden_direction_marks_go_tabs_and_newlines_stay() -> None:
    assert clean("a\x00b\x1b[1mc\td\r\ne\rf\u202eg\ufeff\x85") == "ab[1mc\td\ne\nfg"


def test_lone_surrogates_go_so_that_every_text_can_be_written() -> None:
    assert clean("a\ud800b").encode() == b"ab"


def test_joiners_of_scripts_and_emoji_stay() -> None:
    assert clean("\u0645\u06cc\u200c\u062e") == "\u0645\u06cc\u200c\u062e"


def test_equal_characters_get_equal_codes() -> None:
    assert clean("e\u0301") == "\u00e9" and clean("\u212b") == "\u00c5"


def test_drop_belongs_to_a_part_and_replace_to_all() -> None:
    cleaner = Cleaner.of(Cleaning(drop={"input": r"[\[\]]"}, replace={"`": "'", r"\s+": " "}))
    assert cleaner("input", "darkness [was]  upon\nGod`s") == "darkness was upon God's"
    assert cleaner("output", "[sic]") == "[sic]"


def test_lengths_are_judged_after_cleaning() -> None:
    cleaner = Cleaner.of(Cleaning(shortest=3, longest=5))
    assert cleaner.misfit("text", cleaner("text", "  ab  ")) == "text has 2 characters, wanted at least 3"
    assert cleaner.misfit("text", cleaner("text", "abcdef")) == "text has 6 characters, wanted at most 5"
    assert cleaner.misfit("text", cleaner("text", " abcde ")) == ""


def test_a_rule_that_is_no_regular_expression_is_named() -> None:
    with pytest.raises(InputError, match=r"data\.cleaning\.drop\.input: '\(' is not a regular expression"):
        Cleaner.of(Cleaning(drop={"input": "("}))
    with pytest.raises(InputError, match="shortest is 5 and longest 4"):
        Cleaner.of(Cleaning(shortest=5, longest=4))
