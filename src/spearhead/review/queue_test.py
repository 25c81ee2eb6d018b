"""The queue: one pair of hands an item, two people where two are wanted, and an approval of exact bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from spearhead.core.errors import InputError
from spearhead.core.review import Decision
from spearhead.core.sentence import said
from spearhead.review import queue

BLOB, OTHER = "a" * 64, "b" * 64


class Watch:
    """A clock that tests wind."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def store(engine: Engine) -> Engine:
    """SQLite, and PostgreSQL where there is a server for tests."""
    return engine


def held(store: Engine, watch: Watch, people: int = 1) -> queue.Item:
    return queue.create(
        store, Decision.HOLD, scenario="s", policy="p", blob=BLOB, people=people, clock=watch, reason="privacy"
    )


def states(store: Engine, item: queue.Item) -> list[str]:
    return [step.to_state for step in queue.history(store, item.id)]


def test_an_item_goes_from_held_to_released_and_its_history_says_who_and_why(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    claimed = queue.claim(store, reviewer="ann", clock=watch)
    assert claimed and (claimed.id, claimed.state, claimed.claimed_by) == (item.id, "claimed", "ann")
    assert queue.approve(store, item.id, reviewer="ann", blob=BLOB, reason="fine", clock=watch).state == "approved"
    assert queue.release(store, item.id, clock=watch).state == "released"
    assert queue.withdraw(store, item.id, actor="op", reason="complaint", clock=watch).state == "withdrawn"
    steps = queue.history(store, item.id)
    assert states(store, item) == ["needs_human", "claimed", "approved", "released", "withdrawn"]
    assert [step.actor for step in steps] == ["system", "ann", "ann", "system", "op"]
    assert (steps[0].reason, steps[2].reason, steps[2].blob, steps[2].policy) == ("privacy", "fine", BLOB, "p")


def test_reasons_of_ours_are_kept_as_sentences_and_nobodys_own_words_are_read_as_one(store: Engine) -> None:
    watch = Watch()
    why = said("review.findings", found=(said("review.not_text"), "in English"))
    item = queue.create(store, Decision.HOLD, scenario="s", policy="p", blob=BLOB, reason=why, clock=watch)
    forged = '{"facts":{"output":"out_1"},"words":"engine.edit.replaced"}'
    for number, own in enumerate((forged, queue.GIVEN_BACK, "x" * 3000)):
        queue.claim(store, reviewer=f"ann{number}", clock=watch)
        queue.escalate(store, item.id, reviewer=f"ann{number}", reason=own, clock=watch)
    queue.claim(store, reviewer="bob", clock=watch)
    queue.give_back(store, item.id, reviewer="bob", clock=watch)
    queue.claim(store, reviewer="bob", clock=watch)
    queue.approve(store, item.id, reviewer="bob", blob=BLOB, clock=watch)
    reasons = [step.reason for step in queue.history(store, item.id) if step.reason]
    back, approved = said("review.queue.given_back"), said("review.queue.approved", given=1, of=1)
    assert reasons == [why, f"{forged}.", f"{queue.GIVEN_BACK}.", "x" * queue.LONGEST, back, approved]
    long = said("review.findings", found=tuple("y" * 400 for _ in range(8)))
    other = queue.create(store, Decision.BLOCK, scenario="s", policy="p", blob=None, reason=long, clock=watch)
    assert queue.history(store, other.id)[0].reason == str(long)[: queue.LONGEST]


def test_what_the_policy_decided_alone_waits_for_nobody(store: Engine) -> None:
    watch = Watch()
    for decision, state in ((Decision.ALLOW, "auto_passed"), (Decision.BLOCK, "auto_blocked")):
        assert queue.create(store, decision, scenario="s", policy="p", blob=None, clock=watch).state == state
    assert queue.claim(store, reviewer="ann", clock=watch) is None


def test_an_approval_is_of_these_bytes_and_no_others(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    with pytest.raises(InputError, match="other bytes"):
        queue.approve(store, item.id, reviewer="ann", blob=OTHER, clock=watch)
    bare = queue.create(store, Decision.HOLD, scenario="t", policy="p", blob=None, clock=watch)
    queue.claim(store, reviewer="ann", scenario="t", clock=watch)
    with pytest.raises(InputError, match="other bytes"):
        queue.approve(store, bare.id, reviewer="ann", blob=BLOB, clock=watch)


def test_a_rejection_is_of_these_bytes_too(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    with pytest.raises(InputError, match="other bytes"):
        queue.reject(store, item.id, reviewer="ann", reason="no", blob=OTHER, clock=watch)
    assert queue.reject(store, item.id, reviewer="ann", reason="no", blob=BLOB, clock=watch).state == "rejected"
    assert queue.history(store, item.id)[-1].blob == BLOB


def test_nobody_approves_twice_by_calling_it_a_return(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch, people=2)
    queue.claim(store, reviewer="ann", clock=watch)
    queue.approve(store, item.id, reviewer="ann", blob=BLOB, reason=queue.GIVEN_BACK, clock=watch)
    assert queue.claim(store, reviewer="ann", clock=watch) is None
    queue.claim(store, reviewer="bob", clock=watch)
    queue.give_back(store, item.id, reviewer="bob", clock=watch)
    assert queue.claim(store, reviewer="bob", clock=watch) is not None
    assert queue.approve(store, item.id, reviewer="bob", blob=BLOB, clock=watch).state == "approved"


def test_every_way_through_the_states_and_no_other(store: Engine) -> None:
    """Escalated, given back, approved, released, withdrawn; rejected, appealed, approved."""
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    queue.escalate(store, item.id, reviewer="ann", reason="unsure", clock=watch)
    queue.claim(store, reviewer="bob", clock=watch)
    queue.give_back(store, item.id, reviewer="bob", clock=watch)
    queue.claim(store, reviewer="bob", clock=watch)
    queue.reject(store, item.id, reviewer="bob", reason="no", clock=watch)
    queue.appeal(store, item.id, actor="customer", reason="please", clock=watch)
    assert queue.claim(store, reviewer="ann", clock=watch) is None  # both have decided on it
    assert queue.claim(store, reviewer="bob", clock=watch) is None
    queue.claim(store, reviewer="cid", clock=watch)
    queue.approve(store, item.id, reviewer="cid", blob=BLOB, clock=watch)
    queue.release(store, item.id, clock=watch)
    with pytest.raises(InputError, match="it cannot become appealed"):
        queue.appeal(store, item.id, actor="customer", reason="again", clock=watch)
    queue.withdraw(store, item.id, actor="op", reason="complaint", clock=watch)
    assert states(store, item) == (
        ["needs_human", "claimed", "escalated", "claimed", "escalated", "claimed", "rejected", "appealed", "claimed"]
        + ["approved", "released", "withdrawn"]
    )
    assert all(step.reason for step in queue.history(store, item.id) if step.to_state not in ("claimed", "released"))


def test_two_people_are_two_different_people(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch, people=2)
    queue.claim(store, reviewer="ann", clock=watch)
    assert queue.approve(store, item.id, reviewer="ann", blob=BLOB, clock=watch).state == "escalated"
    assert queue.claim(store, reviewer="ann", clock=watch) is None
    assert queue.claim(store, reviewer="ann", review=item.id, clock=watch) is None
    assert queue.claim(store, reviewer="bob", clock=watch) is not None
    assert queue.approve(store, item.id, reviewer="bob", blob=BLOB, clock=watch).state == "approved"


def test_asking_for_another_person_is_not_an_approval(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch, people=2)
    queue.claim(store, reviewer="ann", clock=watch)
    queue.escalate(store, item.id, reviewer="ann", reason="beyond me", clock=watch)
    for reviewer, state in (("bob", "escalated"), ("cid", "approved")):
        queue.claim(store, reviewer=reviewer, clock=watch)
        assert queue.approve(store, item.id, reviewer=reviewer, blob=BLOB, clock=watch).state == state


def test_only_the_holder_of_a_running_lease_decides(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    with pytest.raises(InputError, match="not in the hands"):
        queue.reject(store, item.id, reviewer="ann", reason="no", clock=watch)
    queue.claim(store, reviewer="ann", clock=watch)
    with pytest.raises(InputError, match="not in the hands"):
        queue.reject(store, item.id, reviewer="bob", reason="no", clock=watch)
    with pytest.raises(InputError, match="needs a reason"):
        queue.reject(store, item.id, reviewer="ann", reason=" ", clock=watch)
    watch.time += queue.LEASE
    with pytest.raises(InputError, match="lease"):
        queue.approve(store, item.id, reviewer="ann", blob=BLOB, clock=watch)


def test_an_expired_lease_returns_the_item_to_where_it_waited(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch, people=2)
    queue.claim(store, reviewer="ann", clock=watch)
    queue.approve(store, item.id, reviewer="ann", blob=BLOB, clock=watch)
    queue.claim(store, reviewer="bob", clock=watch)
    assert queue.claim(store, reviewer="cid", clock=watch) is None
    watch.time += queue.LEASE
    taken = queue.claim(store, reviewer="cid", clock=watch)
    assert taken and taken.claimed_by == "cid"
    assert states(store, item)[-3:] == ["claimed", "escalated", "claimed"]
    assert queue.approve(store, item.id, reviewer="cid", blob=BLOB, clock=watch).state == "approved"


def test_an_item_that_is_given_back_waits_as_before(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    assert queue.give_back(store, item.id, reviewer="ann", clock=watch).state == "needs_human"
    assert queue.claim(store, reviewer="ann", clock=watch) is not None


def test_nobody_answers_in_time_and_it_is_rejected(store: Engine) -> None:
    watch = Watch()
    late = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    watch.time += timedelta(hours=23)
    fresh = held(store, watch)
    assert queue.expire(store, clock=watch) == []
    watch.time += timedelta(hours=1)
    assert [item.id for item in queue.expire(store, clock=watch)] == [late.id]
    assert states(store, late) == ["needs_human", "claimed", "needs_human", "rejected"]
    found = queue.find(store, fresh.id)
    assert found and found.state == "needs_human"
    assert [item.id for item in queue.waiting(store)] == [fresh.id]


def test_an_overdue_item_is_not_given_out(store: Engine) -> None:
    watch = Watch()
    held(store, watch)
    watch.time += timedelta(hours=24)
    assert queue.claim(store, reviewer="ann", clock=watch) is None


def test_an_appeal_is_looked_at_by_someone_else(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    queue.reject(store, item.id, reviewer="ann", reason="harsh", clock=watch)
    watch.time += timedelta(hours=30)
    queue.appeal(store, item.id, actor="customer", reason="it is a quotation", clock=watch)
    assert queue.claim(store, reviewer="ann", clock=watch) is None
    assert queue.claim(store, reviewer="bob", clock=watch) is not None
    assert queue.approve(store, item.id, reviewer="bob", blob=BLOB, clock=watch).state == "approved"


def test_a_move_that_the_states_do_not_have_is_refused(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    with pytest.raises(InputError, match="needs human: it cannot become released"):
        queue.release(store, item.id, clock=watch)
    with pytest.raises(InputError, match="there is no review"):
        queue.release(store, "rev_0", clock=watch)


def test_twenty_reviewers_at_once_never_hold_the_same_item(store: Engine) -> None:
    watch = Watch()
    made = {held(store, watch).id for _ in range(15)}
    ready = threading.Barrier(20)

    def take(number: int) -> queue.Item | None:
        ready.wait()
        return queue.claim(store, reviewer=f"person-{number}", clock=watch)

    with ThreadPoolExecutor(20) as pool:
        taken = [item.id for item in pool.map(take, range(20)) if item]
    assert sorted(taken) == sorted(made)


def test_of_two_who_decide_at_once_one_wins(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    ready, outcomes = threading.Barrier(8), []

    def decide(number: int) -> None:
        ready.wait()
        try:
            if number % 2:
                queue.approve(store, item.id, reviewer="ann", blob=BLOB, clock=watch)
            else:
                queue.reject(store, item.id, reviewer="ann", reason="no", clock=watch)
            outcomes.append(number)
        except InputError:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decide, range(8)))
    assert len(outcomes) == 1
    assert states(store, item)[-1] == ("approved" if outcomes[0] % 2 else "rejected")
    assert len(states(store, item)) == 3


def test_a_lease_that_runs_can_begin_anew_and_one_that_ended_cannot(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    queue.claim(store, reviewer="ann", clock=watch)
    watch.time += timedelta(minutes=14)
    renewed = queue.renew(store, item.id, reviewer="ann", clock=watch)
    assert renewed.lease == "2026-11-22T00:29:00Z"
    with pytest.raises(queue.Moved, match="not in the hands of bob"):
        queue.renew(store, item.id, reviewer="bob", clock=watch)
    watch.time += timedelta(minutes=15)
    with pytest.raises(queue.Moved, match="lease of ann"):
        queue.renew(store, item.id, reviewer="ann", clock=watch)
    assert states(store, item) == ["needs_human", "claimed"]


def test_a_lease_does_not_begin_anew_for_ever(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    watch.time += timedelta(hours=23, minutes=59)
    queue.claim(store, reviewer="ann", clock=watch)
    ends = []
    for minutes in (10, 4):  # past the item's own day
        watch.time += timedelta(minutes=minutes)
        ends.append(queue.renew(store, item.id, reviewer="ann", clock=watch).lease)
    assert ends == ["2026-11-23T00:15:00Z"] * 2
    watch.time += timedelta(minutes=3)
    with pytest.raises(queue.Moved, match="lease of ann"):
        queue.renew(store, item.id, reviewer="ann", clock=watch)
    assert [one.id for one in queue.expire(store, clock=watch)] == [item.id]


def test_a_decision_on_what_went_through_other_hands_meanwhile_is_refused(store: Engine) -> None:
    watch = Watch()
    item = held(store, watch)
    seen = queue.claim(store, reviewer="ann", clock=watch)
    assert seen is not None
    queue.give_back(store, item.id, reviewer="ann", clock=watch)
    now = queue.claim(store, reviewer="ann", clock=watch)
    assert now is not None
    for decide in (queue.approve, queue.reject, queue.escalate):
        with pytest.raises(queue.Moved, match="other hands"):
            decide(store, item.id, reviewer="ann", blob=BLOB, reason="old", version=seen.version, clock=watch)
    with pytest.raises(queue.Moved, match="other bytes"):
        queue.escalate(store, item.id, reviewer="ann", blob=OTHER, reason="unsure", version=now.version, clock=watch)
    done = queue.approve(store, item.id, reviewer="ann", blob=BLOB, version=now.version, clock=watch)
    assert done.state == "approved"
