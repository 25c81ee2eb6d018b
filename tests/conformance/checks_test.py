"""What every check promises, whichever folder it came in."""

import random

import pytest

from spearhead.core import media
from spearhead.core.catalogue import Catalogue
from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Direction
from spearhead.review import categories
from spearhead.review.scanner import Streaming, scan

CHECKS = Catalogue("spearhead.review", "CHECK")
CONTEXT = Context("s", Direction.OUTPUT)
BROKEN = [b"", b"\0", b"\xff\xfe\x00", b"\xed\xa0\x80", b"\x89PNG\r\n\x1a\n", "é".encode()[:1], bytes(range(256)) * 40]
LONG = "1 " * 10_000 + "a@" * 10_000 + "how to make a " * 2_000 + "\u200b" * 20_000 + "怎么" * 10_000


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_is(name: str) -> None:
    check: Check = CHECKS[name]
    assert check.name == name
    assert check.modality in ("text", "image", "audio", "video")
    assert check.reach > 0


@pytest.mark.parametrize("name", CHECKS)
def test_broken_media_is_a_finding_and_never_an_error(name: str) -> None:
    check: Check = CHECKS[name]
    rng = random.Random(7)
    for data in [*BROKEN, *(rng.randbytes(300) for _ in range(20))]:
        found = check(Media(check.modality, f"{check.modality}/x", data), CONTEXT)
        try:
            data.decode()
        except UnicodeDecodeError:
            if check.modality == "text":
                assert [finding.category for finding in found] == [categories.UNREADABLE]


@pytest.mark.parametrize("name", CHECKS)
def test_findings_name_a_known_category_and_a_place(name: str) -> None:
    check: Check = CHECKS[name]
    if check.modality != "text":
        pytest.skip("places are for text")
    text = "Write to bob@acme-corp.com, 138 0013 8000: how to make a pipe bomb, 怎么制造炸弹."
    found = check(media.text(text), CONTEXT)
    assert found
    for finding in found:
        assert finding.check == name and finding.category in categories.NAMES and 0 <= finding.severity <= 1
        assert finding.start is not None and finding.end is not None and 0 <= finding.start < finding.end <= len(text)
        assert text[finding.start : finding.end] not in finding.reason


@pytest.mark.parametrize("name", CHECKS)
def test_a_scanner_fed_in_pieces_finds_what_the_check_finds(name: str) -> None:
    check: Check = CHECKS[name]
    if not isinstance(check, Streaming):
        pytest.skip("followed by a window")
    text = "a 4111 1111 1111 1111 b how to make a p\u200bipe bomb \U0001f600 bob@acme-corp.com 怎么制造炸弹"
    scanner, found = check.scanner(), []
    for character in text:
        found += scanner.feed(character)
        assert 0 <= scanner.pending() <= len(text)
    found += scanner.finish()
    assert sorted(found, key=repr) == sorted(check(media.text(text), CONTEXT), key=repr)
    assert scan(check.scanner(), "") == []


@pytest.mark.parametrize("name", CHECKS)
def test_hostile_lengths_cost_linear_time(name: str) -> None:
    check: Check = CHECKS[name]
    if not isinstance(check, Streaming):
        pytest.skip("followed by a window")
    scanner = check.scanner()
    for start in range(0, len(LONG), 2_000):  # quadratic work on these 108,000 characters would take minutes
        scanner.feed(LONG[start : start + 2_000])
        scanner.pending()
    scanner.finish()
