"""Personal data: found by form and check digit, in whatever dress; numbers that only look alike are left alone."""

import pytest

from spearhead.core import media
from spearhead.core.review import Context, Direction
from spearhead.review.personal import CHECK

CONTEXT = Context("s", Direction.OUTPUT)


def spans(text: str) -> list[tuple[str, str]]:
    """What was found, and as what."""
    found = CHECK(media.text(text), CONTEXT)
    return [(text[finding.start : finding.end], str(finding.reason).removeprefix("looks like ")) for finding in found]


MAIL, PHONE, IDENTITY = "an e-mail address", "a telephone number", "a Chinese identity card number"
CARD, IBAN, PASSPORT = "a bank card number", "a bank account number (IBAN)", "a passport number"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to bob.smith@acme-corp.co.uk.", [("bob.smith@acme-corp.co.uk", MAIL)]),
        ("写信到ｂｏｂ＠ａｃｍｅ．ｃｏｍ。", [("ｂｏｂ＠ａｃｍｅ．ｃｏｍ", MAIL)]),
        ("电话13800138000，", [("13800138000", PHONE)]),
        ("1\u200b38 0013-8000 now", [("1\u200b38 0013-8000", PHONE)]),
        ("call +44 20 7946 0958.", [("+44 20 7946 0958", PHONE)]),
        ("call (415) 623-4567 or 010-12345678", [("(415) 623-4567", PHONE), ("010-12345678", PHONE)]),
        # the example of GB 11643 and its last digit by ISO 7064 MOD 11-2
        ("身份证11010519491231002X。", [("11010519491231002X", IDENTITY)]),
        # made up, of a county that there is not
        ("number 643795199001019721 here", [("643795199001019721", IDENTITY)]),
        ("110105 19491231 002X.", [("110105 19491231 002X", IDENTITY)]),
        ("138/0013/8000 138·0013·8000", [("138/0013/8000", PHONE), ("138·0013·8000", PHONE)]),
        ("**138_0013_8000** or 1-3-8-0-0-1-3-8-0-0-0", [("138_0013_8000", PHONE), ("1-3-8-0-0-1-3-8-0-0-0", PHONE)]),
        ("1-1-0-1-0-5-1-9-4-9-1-2-3-1-0-0-2-X", [("1-1-0-1-0-5-1-9-4-9-1-2-3-1-0-0-2-X", IDENTITY)]),
        ("110105.1949.1231/002X", [("110105.1949.1231/002X", IDENTITY)]),
        # test numbers that card issuers publish
        ("card 4111 1111 1111 1111, yes", [("4111 1111 1111 1111", CARD)]),
        ("5500-0000-0000-0004 3782 822463 10005", [("5500-0000-0000-0004", CARD), ("3782 822463 10005", CARD)]),
        # the example of the IBAN registry for the United Kingdom
        ("to GB29 NWBK 6016 1331 9268 19 today", [("GB29 NWBK 6016 1331 9268 19", IBAN)]),
        ("to GB29NWBK60161331926819.", [("GB29NWBK60161331926819", IBAN)]),
        ("to gb29nwbk60161331926819 or GB29.NWBK/6016", [("gb29nwbk60161331926819", IBAN)]),
        ("护照E12345678; passport no. 123456789", [("E12345678", PASSPORT), ("123456789", PASSPORT)]),
        ("91350100M000100Y43", [("91350100M000100Y43", "a unified social credit code")]),
    ],
)
def test_personal_data_is_found_with_its_place(text: str, found: list[tuple[str, str]]) -> None:
    assert spans(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "All that were numbered were 603,550 and 22 273 in 1611 or 1 2 3 4 5 6 7 8 9 10 11 12 13.",
        "11010519491231002Y and 110105194912310021 and 4111 1111 1111 1112",
        "GB29 NWBK 6016 1331 9268 18 and GB29NWBK60161331926818",
        "ISBN 978-3-16-148410-0, timestamp 1700000000000, version 1.2.3.4, 3:16, 10^6, 12/31/1999",
        "1 3 8 0 0 1 3 8 0 0 0 and 1/3/8, 2020/10/10 12/34/56, *4500* ~ 4600 * 4700 * 4800, a_b_1_2_3_4_5_6",
        "a@b, @someone, user@, @@@@, a b@ c.com",
        "E1234567, 12345678901, sha 9f86d081884c7d65, page 123456789",
    ],
)
def test_numbers_that_only_look_alike_are_left_alone(text: str) -> None:
    assert spans(text) == []


def test_a_finding_never_holds_what_it_found() -> None:
    found = CHECK(media.text("bob@acme-corp.com 4111 1111 1111 1111"), CONTEXT)
    assert len(found) == 2
    for finding in found:
        assert not any(secret in repr(finding) for secret in ("bob", "acme", "4111"))
