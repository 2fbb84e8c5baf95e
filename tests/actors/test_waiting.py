"""The line of those that wait: who is next, and that nobody is in it twice."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from statekit import make_conversation, names

from limen.actors._waiting import WaitingRoom
from limen.actors.conversation import CLOSED, NEW, RUNNING, WAITING, Conversation


def _make(number, kind="encode", priority=0):
    made = make_conversation(f"c-{number}", kind, priority=priority)
    made.arrival = number
    return made


def _room(*conversations):
    room = WaitingRoom()
    for each in conversations:
        room.add(each)
    return room


def _next(room, *types) -> Any:
    return room.next_for(types)


def test_the_first_is_the_one_of_the_highest_priority_that_came_first():
    """DP-18: priority, then order of arrival."""
    room = _room(_make(1), _make(2, priority=5), _make(3, priority=5), _make(4, priority=-1))

    assert names(room.all()) == ["c-2", "c-3", "c-1", "c-4"]
    assert _next(room, "encode").id == "c-2"


def test_a_worker_is_shown_what_it_serves():
    """WC-23: by type; without types, everything."""
    room = _room(_make(1, "encode"), _make(2, "resize"), _make(3, "encode", 1))

    assert _next(room, "resize").id == "c-2"
    assert _next(room, "other") is None
    assert _next(room, "other", "resize", "resize").id == "c-2"
    assert _next(room).id == "c-3"


def test_showing_takes_nobody_out():
    """It goes on waiting until it is handed over."""
    room = _room(_make(1))

    assert _next(room) is _next(room)
    assert room.count == 1


def test_whoever_is_taken_or_leaves_is_not_shown_again():
    """From the front or from the middle, for good or for a while."""
    first, second, third = _make(1), _make(2), _make(3)
    room = _room(first, second, third)

    room.take(_next(room, "encode"), RUNNING)
    room.leave(third, CLOSED)

    assert (first.phase, third.phase) == (RUNNING, CLOSED)
    assert names(room.all()) == ["c-2"]
    assert room.count == 1
    room.leave(second, NEW)
    assert _next(room) is None
    assert room.of_types() == []


def test_one_that_comes_back_takes_its_old_place_and_is_there_once():
    """DP-08: a crash does not send a request to the end of the line, nor into it twice."""
    first, second, third = _make(1), _make(2), _make(3)
    room = _room(first, second, third)
    for each in (second, first):
        room.leave(each, RUNNING)
    room.add(second)
    room.add(first)

    assert names(room.all()) == ["c-1", "c-2", "c-3"]
    assert room.count == 3


def test_one_that_never_ran_takes_its_old_place_too():
    """RT-08: one that the routing function was asked about comes back without an attempt."""
    first, second = _make(1), _make(2)
    room = _room(first, second)
    room.leave(first, NEW)

    room.add(first)

    assert names(room.of_type("encode")) == ["c-1", "c-2"]


def test_those_that_were_cancelled_are_forgotten_in_time():
    """Invariant 7: a hundred thousand cancelled requests neither stay nor slow down the rest."""
    room = WaitingRoom()
    conversations = [_make(number) for number in range(5_000)]
    for each in conversations:
        room.add(each)
    for each in conversations[1:]:
        room.leave(each, CLOSED)

    assert room.count == 1
    assert sum(len(line.front) for line in room.lines.values()) < 2_000
    assert _next(room) is conversations[0]


steps = st.lists(
    st.tuples(st.sampled_from(["add", "take", "cancel", "lend"]), st.integers(0, 9), st.sampled_from("ab")), max_size=80
)


@settings(deadline=None, max_examples=60)
@given(steps=steps)
def test_the_line_is_what_a_sorted_list_would_be(steps):
    """DP-18, invariant 4: whoever comes, is taken, is cancelled, or goes and comes back."""
    room = WaitingRoom()
    waiting: list[Conversation] = []
    lent: list[Conversation] = []
    for number, (step, choice, kind) in enumerate(steps):
        if step == "add" and lent and choice > 4:
            waiting.append(lent.pop())
            room.add(waiting[-1])
        elif step == "add":
            waiting.append(_make(number, kind, choice % 3))
            room.add(waiting[-1])
        elif step == "take" and (first := room.next_for((kind,))) is not None:
            room.take(first, RUNNING)
            waiting.remove(first)
        elif step in {"cancel", "lend"} and waiting:
            chosen = waiting.pop(choice % len(waiting))
            room.leave(chosen, CLOSED if step == "cancel" else NEW)
            if step == "lend":
                lent.append(chosen)
        expected = sorted(waiting, key=lambda each: each.rank())
        assert room.all() == expected
        assert room.count == len(expected)
        assert all(each.phase is WAITING for each in expected)
        for types in (("a",), ("b",), ("a", "b"), ()):
            served = [each for each in expected if not types or each.activity_type in types]
            assert room.next_for(types) is (served[0] if served else None)
