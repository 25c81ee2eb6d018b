"""What every check promises, whichever folder it came in."""

import random
import time
from pathlib import Path

import pytest

from spearhead.core import media, sentence
from spearhead.core.catalogue import Catalogue
from spearhead.core.media import Media
from spearhead.core.review import Check, Context, Direction
from spearhead.index.copies import CopyIndex
from spearhead.review import categories
from spearhead.review.example import Example
from spearhead.review.scanner import Comparing, Following, Needing, Streaming, Weighing, follow, scan

CHECKS = Catalogue("spearhead.review", "CHECK")
EXAMPLES = Catalogue("spearhead.review", "EXAMPLE")
TEXTS = [name for name in CHECKS if CHECKS[name].modality in ("text", "any")]
CONTEXT = Context("s", Direction.OUTPUT)
BROKEN = [b"", b"\0", b"\xff\xfe\x00", b"\xed\xa0\x80", b"\x89PNG\r\n\x1a\n", "é".encode()[:1], bytes(range(256)) * 40]
LONG = "1 " * 10_000 + "a@" * 10_000 + "how to make a " * 2_000 + "\u200b" * 20_000 + "怎么" * 10_000


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_is(name: str) -> None:
    check: Check = CHECKS[name]
    assert check.name == name
    assert check.modality in ("text", "image", "audio", "video", "any")
    assert check.reach > 0


@pytest.mark.parametrize("language", sentence.LANGUAGES)
def test_every_check_and_category_has_a_name_in_every_language(language: str) -> None:
    book = sentence.book(language)
    assert {f"review.{name}.name" for name in CHECKS} <= book.keys()
    assert {f"review.categories.{name}" for name in categories.KNOWN} <= book.keys()


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


def ready(name: str, folder: Path) -> tuple[Check, Example]:
    """A check and its example; what compares with training data was trained on it."""
    check, example = CHECKS[name], EXAMPLES[name]
    if isinstance(check, Comparing):
        CopyIndex.build([("r1", example.text)]).save(folder)
        check = check.against(folder)
    return check, example


@pytest.mark.parametrize("name", TEXTS)
def test_findings_name_a_known_category_and_a_place(name: str, tmp_path: Path) -> None:
    check, example = ready(name, tmp_path)
    text = example.text
    found = check(media.text(text), example.context)
    assert found
    for finding in found:
        assert finding.check == name and finding.category in categories.KNOWN and 0 <= finding.severity <= 1
        if finding.start is None:  # about the whole
            assert finding.end is None
            continue
        assert finding.end is not None and 0 <= finding.start <= finding.end <= len(text)
        if finding.end > finding.start:
            assert text[finding.start : finding.end] not in str(finding.reason)


@pytest.mark.parametrize("name", TEXTS)
def test_a_scanner_fed_in_pieces_finds_what_the_check_finds(name: str, tmp_path: Path) -> None:
    check, example = ready(name, tmp_path)
    if not isinstance(check, Streaming | Following):
        pytest.skip("followed by a window")
    text = "a plain beginning. \U0001f600 " + example.text
    scanner, found = follow(check, example.context), []
    for character in text:
        light = isinstance(scanner, Weighing) and not scanner.weighs(character)
        found += (seen := scanner.feed(character))
        assert not (light and seen), "what it finds there it did not look for"
        assert 0 <= scanner.pending() <= len(text)
    found += scanner.finish()
    assert found and sorted(found, key=repr) == sorted(check(media.text(text), example.context), key=repr)
    assert scan(follow(check, Context("s", Direction.PROMPT)), "") == []


@pytest.mark.parametrize("name", CHECKS)
def test_hostile_lengths_cost_linear_time(name: str) -> None:
    check: Check = CHECKS[name]
    if not isinstance(check, Streaming | Following):
        pytest.skip("followed by a window")
    # One with a model gets a sample.
    text = LONG[::400] if isinstance(check, Needing) else LONG

    def seconds(times: int) -> float:
        """Of processor time, so that a busy machine changes little."""
        scanner, long, start = follow(check, CONTEXT), text * times, time.process_time()
        for place in range(0, len(long), 2_000):
            scanner.feed(long[place : place + 2_000])
            scanner.pending()
        scanner.finish()
        return time.process_time() - start

    once, four = min(seconds(1) for _ in range(2)), seconds(4)
    assert four < 6.5 * max(once, 0.02), "four times the length takes four times as long, or 16 where work is quadratic"
