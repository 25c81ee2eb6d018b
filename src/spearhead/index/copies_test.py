import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from spearhead.core.errors import InputError
from spearhead.index import copies
from spearhead.index.copies import CopyIndex, suffix_array

VERSES = [
    ("g1", "In the beginning God created the heavens and the earth."),
    ("g3", 'God said, "Let there be light," and there was light.'),
    ("j1", "In the beginning was the Word, and the Word was with God, and the Word was God."),
]


@pytest.fixture(scope="module")
def verses() -> CopyIndex:
    return CopyIndex.build(VERSES)


def longest_by_hand(query: list[str], texts: list[list[str]]) -> int:
    """The longest common run, by trying every start in every text."""
    best = 0
    for text in texts:
        for i in range(len(query)):
            for j in range(len(text)):
                length = 0
                while i + length < len(query) and j + length < len(text) and query[i + length] == text[j + length]:
                    length += 1
                best = max(best, length)
    return best


def test_a_copied_run_is_shown_as_it_stands_with_the_text_it_is_from(verses: CopyIndex) -> None:
    match = verses.nearest("They say that GOD created the heavens, and then rested.")
    assert (match.span, match.words, match.span_id) == ("GOD created the heavens, and", 5, "g1")


def test_a_whole_copy_is_most_similar_to_itself(verses: CopyIndex) -> None:
    for name, text in VERSES:
        match = verses.nearest(text)
        assert (match.id, match.similarity, match.span_id) == (name, 1.0, name)
        assert match.words == len(text.replace('"', "").split())


def test_nothing_shared_is_no_run(verses: CopyIndex) -> None:
    match = verses.nearest("Quite unrelated prose")
    assert (match.similarity, match.span, match.words, match.span_id) == (0.0, "", 0, "")
    assert verses.nearest("").words == 0


def test_a_run_does_not_cross_from_one_text_to_the_next(verses: CopyIndex) -> None:
    assert verses.nearest("the heavens and the earth God said let there").words == 5


def test_runs_equal_those_found_by_trying_everything() -> None:
    rng = random.Random(5)
    texts = [[rng.choice("abcd") for _ in range(rng.randint(0, 30))] for _ in range(40)]
    index = CopyIndex.build([(str(n), " ".join(words)) for n, words in enumerate(texts)])
    for _ in range(150):
        query = [rng.choice("abcde") for _ in range(rng.randint(0, 20))]
        assert index.nearest(" ".join(query)).words == longest_by_hand(query, texts)


def test_a_run_longer_than_the_sorted_depth_is_followed_to_its_end() -> None:
    rng = random.Random(6)
    long = " ".join(f"w{rng.randrange(50)}" for _ in range(2000))
    assert CopyIndex.build([("a", "other words"), ("b", long)]).nearest("x " + long + " y").words == 2000


def test_suffixes_are_in_the_order_that_sorting_them_gives() -> None:
    rng = np.random.default_rng(7)
    words = rng.integers(0, 4, size=300).astype(np.uint32)
    wanted = sorted(range(300), key=lambda at: words[at:].tolist())
    assert suffix_array(words, depth=512).tolist() == wanted


def test_a_saved_index_answers_alike_and_holds_no_pickle(verses: CopyIndex, tmp_path: Path) -> None:
    verses.save(tmp_path)
    again = CopyIndex.load(tmp_path)
    for text in ("created the heavens", "the Word was with them", "nothing", ""):
        assert again.nearest(text) == verses.nearest(text)
    with np.load(tmp_path / "copies.npz", allow_pickle=False) as box:
        assert all(box[name].dtype != object for name in box)


@pytest.mark.parametrize("damage", ["cut", "names", "missing", "other"])
def test_a_damaged_index_is_refused_in_one_line(verses: CopyIndex, tmp_path: Path, damage: str) -> None:
    verses.save(tmp_path)
    arrays, names = tmp_path / "copies.npz", tmp_path / "copies.json"
    if damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-9])
    elif damage == "names":
        names.write_text("[]")
    elif damage == "missing":
        arrays.unlink()
    else:
        value = json.loads(names.read_text())
        value["ids"] = value["ids"][:1]
        names.write_text(json.dumps(value))
    with pytest.raises(InputError, match="build (it|the index) again"):
        CopyIndex.load(tmp_path)


def test_an_index_by_another_minhash_still_answers_alike(verses: CopyIndex, tmp_path: Path) -> None:
    verses.save(tmp_path)
    names = json.loads((tmp_path / "copies.json").read_text())
    (tmp_path / "copies.json").write_text(json.dumps({**names, "minhash": 0}))
    assert CopyIndex.load(tmp_path).nearest("created the heavens") == verses.nearest("created the heavens")


def test_an_empty_index_is_refused() -> None:
    with pytest.raises(InputError, match="at least one text"):
        CopyIndex.build([])


def test_asking_among_ten_thousand_texts_takes_milliseconds() -> None:
    rng = random.Random(8)
    texts = [(str(n), " ".join(f"w{int(rng.paretovariate(1.0)) % 5000}" for _ in range(25))) for n in range(10_000)]
    start = time.process_time()
    index = CopyIndex.build(texts)
    built = time.process_time() - start
    start = time.process_time()
    for _, text in texts[:50]:
        index.nearest(text)
    asked = (time.process_time() - start) / 50
    assert built < 10 and asked < 0.02  # five times what was measured, for slow machines


def test_what_a_copy_was_found_in_can_be_shown(tmp_path: Path) -> None:
    CopyIndex.build([("a", "Hello, World! It's 5 o'clock."), ("b", "床前明月光，疑是 moon 霜。")]).save(tmp_path)
    index = copies.opened(tmp_path)
    assert index is copies.opened(tmp_path), "loaded once"
    assert index.text_of("a") == "hello world it's 5 o'clock"
    assert index.text_of("b") == "床前明月光疑是 moon 霜"
    with pytest.raises(InputError, match="no text 'c'"):
        index.text_of("c")
