from collections import Counter

import pytest

from spearhead.core import media
from spearhead.core.record import Record, before
from spearhead.core.rights import Licence, Right
from spearhead.data import split

FREE = Licence("CC0-1.0", Right.TRAIN, "")
VERSE = "And the servant told the king all the words that the prophet had spoken in the house"


def pair(asked: str, answered: str) -> Record:
    return Record({"input": media.text(asked), "output": media.text(answered)}, FREE, "test")


def refused(records: list[Record], places: list[str]) -> dict[int, str]:
    return {
        number: refusal.reason
        for number, _, refusal in split.apart(records, places, threshold=0.8)
        if refusal is not None
    }


def test_shares_are_met_and_a_record_keeps_its_place_whatever_else_there_is() -> None:
    ids = [f"{n:064x}" for n in range(20_000)]
    places = [split.place(one, validation=0.1, test=0.05) for one in ids]
    counts = Counter(places)
    # Three standard deviations of a binomial count: 3 * sqrt(n p (1 - p)).
    assert counts["validation"] == pytest.approx(2000, abs=128) and counts["test"] == pytest.approx(1000, abs=93)
    assert places[:100] == [split.place(one, validation=0.1, test=0.05) for one in ids[:100]]


def test_a_larger_share_only_adds_to_the_test_records() -> None:
    ids = [f"{n:064x}" for n in range(2000)]
    small = {one for one in ids if split.place(one, validation=0.1, test=0.02) == "test"}
    large = {one for one in ids if split.place(one, validation=0.1, test=0.04) == "test"}
    assert small < large


def test_the_training_record_goes_when_it_nearly_repeats_a_held_out_one() -> None:
    records = [
        pair(VERSE + " of cedar", "the answer is a long one"),
        pair(VERSE + " of stone", "the answer is a long one"),
    ]
    for held in ("test", "validation"):
        assert list(refused(records, ["train", held])) == [0]
        assert f"near-duplicate of held-out record {records[1].id}" in refused(records, ["train", held])[0]
    assert list(refused(records, ["validation", "test"])) == [0]


def test_an_equal_question_with_another_answer_is_not_left_in_training() -> None:
    records = [
        pair(VERSE, "one thing entirely, said at length"),
        pair(VERSE + "!", "something else altogether was meant"),
    ]
    assert "its input is a near-duplicate of held-out record" in refused(records, ["train", "test"])[0]
    assert refused(records, ["train", "train"]) == {}, "in one split, two answers to a question are two records"
    assert refused(records, ["test", "test"]) == {}


def test_equal_answers_to_different_questions_are_no_leak() -> None:
    records = [pair("Is it raining in the north today?", "Yes."), pair("Did the ship leave before dawn?", "Yes.")]
    assert refused(records, ["train", "test"]) == {}


def test_within_a_split_one_of_near_duplicates_stays() -> None:
    records = [pair(f"{VERSE} {n}", "and the same answer for all of them") for n in range(5)]
    assert len(refused(records, ["train"] * 5)) == 4


def test_a_copy_of_a_refused_record_is_judged_by_what_was_kept() -> None:
    # b is close to a, c is close to b but not to a: with b gone, c stays.
    words = [f"w{n}" for n in range(40)]
    a, b, c = words[:], words[:], words[:]
    b[0:3], c[0:3], c[20:23] = ["x"] * 3, ["x"] * 3, ["y"] * 3
    records = [Record({"text": media.text(" ".join(one))}, FREE, "test") for one in (a, b, c)]
    places = ["test", "validation", "train"]
    assert list(refused(records, places)) == [1]


def test_the_outcome_does_not_depend_on_the_order_of_records() -> None:
    records = [pair(f"{VERSE} {n % 7} {n % 3}", f"{VERSE} answered {n % 5}") for n in range(60)]
    places = [split.place(one.id, validation=0.3, test=0.3) for one in records]

    def kept(order: list[int]) -> set[str]:
        outcome = split.apart([records[n] for n in order], [places[n] for n in order], threshold=0.8)
        return {record.id for _, record, refusal in outcome if refusal is None}

    assert kept(list(range(60))) == kept(list(range(60))[::-1])


def talk(*said: str, system: str = "") -> Record:
    """The last answer of a conversation, the user and the assistant by turns."""
    turns = [*([("system", system)] if system else []), *zip(("user", "assistant") * len(said), said, strict=False)]
    earlier = {before(n, role): media.text(words) for n, (role, words) in enumerate(turns[:-2])}
    return Record({**earlier, **pair(*said[-2:]).parts}, FREE, "test")


THANKS = ("Thank you.", "You are welcome.")


def test_a_conversation_repeats_nothing_of_itself_and_another_one_that_does_goes() -> None:
    mine, more = talk(VERSE, f"{VERSE} of stone"), talk(VERSE, f"{VERSE} of stone", *THANKS)
    assert refused([mine, more], ["train", "train"]) == {}
    assert more.exchanges[0] == mine.id
    other = talk(VERSE, f"{VERSE} of cedar", *THANKS)
    assert f"near-duplicate of held-out record {more.id}" in refused([other, more], ["train", "test"])[0]


def test_what_was_said_before_belongs_to_the_input() -> None:
    long, short = "The king sent for the scribe at dawn.", "Who was in the house of cedar then?"
    records = [talk(long, "He came with haste.", *THANKS), talk(short, "Nobody at all was there.", *THANKS)]
    assert refused(records, ["train", "test"]) == {}, "thanks are said in any conversation"
    told = [talk(long, "He came with haste.", VERSE, f"{VERSE} {n}") for n in ("aloud", "of stone and cedar and gold")]
    assert "near-duplicate of held-out" in refused(told, ["train", "test"])[0]


def test_an_exchange_is_not_learnt_where_it_is_judged_in_another_conversation() -> None:
    records = [
        talk("Good morning to you, clerk of the shop!", "And to you, sir.", VERSE, f"{VERSE}, indeed"),
        talk(VERSE, f"{VERSE}, indeed"),
    ]
    for places in (["train", "test"], ["test", "train"]):
        (reason,) = refused(records, places).values()
        assert "its exchange is a near-duplicate of held-out" in reason


def test_a_system_message_that_all_share_makes_no_two_conversations_alike() -> None:
    records = [
        talk(f"What is {n} called?", name, system=f"{VERSE}. {VERSE}")
        for n, name in (("this", "A lamp."), ("that", "A key."))
    ]
    assert refused(records, ["train", "test"]) == {}
    alone = [
        talk("Sum it up.", answer, system=f"{VERSE} {n}") for n, answer in enumerate(("It is this.", "It was that."))
    ]
    assert "near-duplicate of held-out" in refused(alone, ["train", "test"])[0], "one's own text is compared"
