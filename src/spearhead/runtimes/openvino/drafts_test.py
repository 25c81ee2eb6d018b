import math

from spearhead.runtimes.openvino.drafts import Drafts

TEXT = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]


def test_what_followed_the_last_tokens_before_is_the_guess() -> None:
    drafts = Drafts()
    assert drafts.guess([*TEXT, 20, 3, 4], running=1, most=99) == [5, 6, 7, 8]  # ln .048 / ln .5 = 4.4
    assert drafts.guess([*TEXT, 20, 3, 4], running=1, most=2) == [5, 6]
    assert drafts.guess([*TEXT, 20, 4, 3], running=1, most=99) == []
    assert Drafts().guess([1], running=1, most=99) == []


def test_the_latest_place_counts() -> None:
    assert Drafts().guess([1, 2, 3, 1, 2, 4, 1, 2], running=1, most=1) == [4]


def test_a_text_that_grows_is_looked_up_as_far_as_it_goes() -> None:
    drafts, text = Drafts(), list(TEXT)
    assert drafts.guess(text, running=1, most=9) == []
    text += [1, 2]
    assert drafts.guess(text, running=1, most=1) == [3]
    text += [30, 1, 2]
    assert drafts.guess(text, running=1, most=1) == [30]


def test_right_guesses_reach_further_and_wrong_ones_end_it() -> None:
    text, drafts = [*TEXT, 20, 1, 2], Drafts()
    for token in (3, 4, 5, 6, 7, 8):
        drafts.guess(text, running=1, most=99)
        drafts.seen(token)
        text.append(token)
    assert drafts.guess(text, running=1, most=8) == [9, 10, 11, 12, 20, 1, 2, 3]
    for _ in range(20):
        drafts.guess(text, running=1, most=99)
        drafts.seen(99)
    assert drafts.guess(text, running=1, most=99) == []


def test_who_shares_a_step_guesses_less() -> None:
    text = [*TEXT, 20, 1, 2]
    reach = [len(Drafts().guess(text, running=count, most=99)) for count in (1, 4, 16, 64)]
    assert reach == [int(math.log(0.05 * n / (1 + 0.05 * n)) / math.log(0.5)) for n in (1, 4, 16, 64)] == [4, 2, 1, 0]
