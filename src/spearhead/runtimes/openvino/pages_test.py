"""Blocks of the cache, driven as a batch drives them."""

import random

import pytest

from spearhead.runtimes.openvino.pages import Pages


def filled(pages: Pages, tokens: list[int]) -> list[int]:
    """Blocks for `tokens`, computed and known."""
    blocks = [pages.take() for _ in range(-(-len(tokens) // pages.size))]
    pages.learn(tokens, blocks)
    return blocks


def test_equal_beginnings_share_their_blocks_and_only_these() -> None:
    pages = Pages(8, size=4, keep=8)
    first = filled(pages, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert pages.begin([1, 2, 3, 4, 5, 6, 7, 8, 9, 9], limit=9)[0] == first[:2]
    assert pages.begin([1, 2, 3, 4, 0, 6, 7, 8], limit=7)[0] == first[:1]
    assert pages.begin([5, 6, 7, 8], limit=4)[0] == []  # the same tokens in another place
    assert pages.begin([1, 2, 3, 4], limit=3)[0] == []  # the last token is always computed: its logits are wanted


def test_the_beginning_of_a_block_is_offered_for_copying() -> None:
    pages = Pages(8, size=4, keep=8)
    first = filled(pages, [1, 2, 3, 4, 5, 6, 7, 8])
    assert pages.begin([1, 2, 3, 4, 5, 6, 0, 0], limit=7) == (first[:1], (first[1], 2))
    assert pages.begin([1, 2, 0, 0], limit=3) == ([], (first[0], 2))
    assert pages.begin([1, 2, 3, 4], limit=3) == ([], (first[0], 3))
    assert pages.begin([9, 9], limit=1)[1][1] == 0


def test_what_nobody_holds_is_kept_up_to_a_bound_and_the_end_goes_before_the_beginning() -> None:
    pages = Pages(8, size=2, keep=2)
    blocks = filled(pages, [1, 2, 3, 4, 5, 6])
    pages.release(blocks)
    assert pages.begin([1, 2, 3, 4, 5, 6, 7], limit=6)[0] == blocks[:2]


def test_all_blocks_can_be_had_and_no_more() -> None:
    pages = Pages(4, size=2, keep=4)
    pages.release(filled(pages, [1, 2, 3, 4, 5, 6, 7, 8]))
    assert sorted(pages.take() for _ in range(4)) == [0, 1, 2, 3]
    with pytest.raises(KeyError):
        pages.take()


def test_no_block_is_ever_written_by_two_and_none_is_lost() -> None:
    draws = random.Random(3)
    pages = Pages(40, size=4, keep=10)
    running: list[tuple[list[int], list[int], int]] = []  # tokens, blocks, how many of them are shared
    for _ in range(3000):
        if len(running) < 5:
            tokens = [draws.randrange(2) for _ in range(draws.randrange(1, 30))]
            shared, _ = pages.begin(tokens, limit=len(tokens) - 1)
            own = [pages.take() for _ in range(-(-len(tokens) // 4) - len(shared))]
            held = {block for _, blocks, _ in running for block in blocks}
            assert not held & set(own), "a block that somebody holds was given away"
            running.append((tokens, shared + own, len(shared)))
        else:
            tokens, blocks, _ = running.pop(draws.randrange(5))
            pages.learn(tokens, blocks)
            pages.release(blocks)
    for _, blocks, _ in running:
        pages.release(blocks)
    assert len({pages.take() for _ in range(40)}) == 40
