"""A host's credit: never more than its slots and one for each route, and always where the work is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.rabbitmq._credit import Credit, Worker
from limen.rabbitmq._tap import Close, Open, Tap
from limen.rabbitmq.topology import Lane, Route

A, B, C = (Route("media", kind) for kind in "abc")


def credit(*workers: tuple[str, int]) -> Credit:
    """Make a credit for workers given by their types and slots."""
    made = Credit()
    made.serve("media", [Worker("media", tuple(types), slots) for types, slots in workers])
    return made


def totals(made: Credit) -> int:
    """Say how much may be held in all."""
    return sum(made.limits().values())


@pytest.mark.parametrize(
    ("workers", "limits"),
    [
        ([], {}),
        ([("a", 0)], {}),
        ([("a", 3)], {A: 4}),
        ([("a", 3), ("a", 2)], {A: 6}),
        ([("ab", 4)], {A: 3, B: 3}),
        ([("ab", 1)], {A: 2, B: 1}),
        ([("a", 2), ("b", 5)], {A: 3, B: 6}),
        ([("ab", 2), ("bc", 3)], {A: 3, B: 3, C: 2}),
    ],
)
def test_slots_are_shared_by_those_who_share_them(workers, limits):
    """Types that no worker has in common do not take from each other; one more of each may wait."""
    assert credit(*workers).limits() == limits


def test_credit_moves_to_where_the_work_is():
    """What one type does not use goes to the other that uses all it has, as long as slots are free."""
    made = credit(("ab", 4))

    assert made.tick({A: 3, B: 0}, {}, {})
    assert made.limits() == {A: 5, B: 1}
    assert made.tick({A: 1, B: 1}, {}, {})
    assert made.limits()[B] > 1
    assert totals(made) == 6


def test_credit_stays_where_slots_are_taken():
    """Both have work: nobody is given what the other uses."""
    made = credit(("ab", 4))

    assert not made.tick({A: 3, B: 3}, {}, {})
    assert not made.tick({A: 3, B: 2}, {}, {})


def test_short_activities_are_taken_in_advance():
    """As many as end in a tick, while they are that short; not one more when they are long again."""
    made = credit(("a", 2))

    assert not made.tick({A: 3}, {A: 7}, {})
    assert made.tick({A: 3}, {A: 8}, {})
    assert made.limits() == {A: 3 + 8}
    assert made.tick({A: 11}, {A: 100}, {})
    assert made.limits() == {A: 3 + 100}
    assert not made.tick({A: 50}, {A: 60}, {})
    assert made.tick({A: 103}, {A: 1}, {})
    assert made.limits() == {A: 3}


def test_what_pauses_between_two_tries_uses_no_slot():
    """It is held, and others come all the same."""
    made = credit(("a", 1))

    assert made.tick({A: 2}, {}, {A: 2})
    assert made.limits() == {A: 4}
    assert made.tick({A: 2}, {}, {})
    assert made.limits() == {A: 2}


def test_lanes_are_taken_from_as_long_as_their_type_is_served():
    """Other priorities share the slots too; of suspects there is one at a time."""
    made = credit(("a", 2))
    high, suspect = Route("media", "a", Lane.HIGH), Route("media", "a", Lane.SUSPECT)
    for each in (high, suspect, Route("media", "z", Lane.HIGH)):
        made.add_lane(each)

    assert made.limits() == {A: 3, high: 1, suspect: 1}
    assert made.tick({A: 0, high: 1}, {}, {})
    assert made.limits() == {A: 1, high: 3, suspect: 1}
    made.serve("media", [])
    assert made.limits() == {}


def test_nothing_is_taken_of_a_paused_channel():
    """Until it goes on."""
    made = credit(("a", 2))
    made.pause("media", on=True)
    assert made.limits() == {A: 0}
    made.pause("media", on=False)
    assert made.limits() == {A: 3}


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "ab", "abc", "bc"]), st.integers(0, 5)), max_size=4),
    st.lists(st.dictionaries(st.sampled_from([A, B, C]), st.integers(0, 12)), max_size=8),
)
def test_no_history_makes_more_credit_than_there_is(workers, ticks):
    """Without short activities: in all, the slots and one for each route, whatever was held when."""
    made = credit(*workers)
    slots = sum(count for _, count in workers)
    for held in ticks:
        made.tick(held, {}, {})

        limits = made.limits()
        assert sum(limits.values()) <= slots + len(limits)
        assert all(limit >= 1 for limit in limits.values())


# --- taps -------------------------------------------------------------------------------------------------------------


def test_a_tap_opens_what_it_may_and_adds_to_it():
    """More credit is one more consumer; less is one less."""
    tap = Tap()
    assert tap.steps(3) == [Open(3)]
    tap.opened("one", 3)
    assert tap.steps(3) == []
    assert tap.steps(5) == [Open(2)]
    tap.opened("two", 2)
    assert tap.steps(3) == [Close("one")]
    tap.closing("one")
    assert tap.steps(3) == []
    tap.closed("one")
    assert tap.steps(3) == [Open(1)]


def test_what_a_closed_consumer_has_delivered_counts_until_it_is_acknowledged():
    """Credit is not given twice for it."""
    tap = Tap()
    tap.opened("one", 4)
    for _ in range(4):
        tap.delivered("one")
    tap.closing("one")
    tap.closed("one")

    assert tap.steps(4) == []
    tap.acknowledged("one")
    assert tap.steps(4) == [Open(1)]


def test_limit_nothing_closes_all():
    """So does the end."""
    tap = Tap()
    tap.opened("one", 4)
    tap.opened("two", 1)

    assert set(tap.steps(0)) == {Close("one"), Close("two")}


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from(["deliver", "acknowledge", "closed"]), st.integers(0, 5)), max_size=60),
)
def test_a_tap_never_lets_more_come_than_was_ever_allowed(limits, history):
    """What is unacknowledged plus what may still come stays within the largest limit, and reaches the last one."""
    tap, names = Tap(), 0
    unacknowledged: list[str] = []
    closing: list[str] = []
    prefetches: dict[str, int] = {}
    most = 0

    def put(limit: int) -> None:
        nonlocal names
        for step in tap.steps(limit):
            if isinstance(step, Open):
                names += 1
                prefetches[str(names)] = step.prefetch
                tap.opened(str(names), step.prefetch)
            else:
                tap.closing(step.tag)
                closing.append(step.tag)

    def act(what: str, number: int) -> None:
        alive = [*tap.open, *closing]
        if what == "deliver" and alive:
            tag = alive[number % len(alive)]
            if unacknowledged.count(tag) < prefetches[tag]:
                unacknowledged.append(tag)
                tap.delivered(tag)
        elif what == "acknowledge" and unacknowledged:
            tap.acknowledged(unacknowledged.pop(number % len(unacknowledged)))
        elif what == "closed" and closing:
            tap.closed(closing.pop(0))

    for limit in limits:
        most = max(most, limit)
        put(limit)
        for what, number in history:
            act(what, number)
            put(limit)
            orphans = sum(tag not in tap.open for tag in unacknowledged)
            assert tap.held == len(unacknowledged)
            assert sum(tap.open.values()) + orphans <= most
    while unacknowledged or closing:
        act("acknowledge", 0)
        act("closed", 0)
        put(limits[-1])
    assert sum(tap.open.values()) == limits[-1]
