"""The core of a bounded channel: accepted, deferred or rejected, who waits for room, and that nobody is overtaken."""

import math

import pytest
from statekit import CRASH, DONE, Notebook, make_conversation, make_worker, names

from limen.actors._decisions import AwaitRoom
from limen.actors.conversation import CLOSED, RUNNING, WAITING
from limen.actors.recorder import MemoryRecorder
from limen.messages.dispatch import AckStatus
from limen.messages.dispatch_errors import NoWorkersAvailable, QueueFull
from limen.messages.errors import ActivityCancelled
from limen.messages.limits import Limit
from limen.messages.pressure import Accept, Defer, Reject


def _book(bound, *workers):
    book = Notebook()
    book.join(*(workers or (make_worker("worker-1", 1),)))
    book.do(book.state.bound(bound))
    return book


def _request(name="c", wait_s=None, kind="encode", **options):
    made = make_conversation(name, kind, **options)
    made.wait_s = wait_s
    return made


def _end(book, conversation):
    return book.do(book.state.finished(conversation.attempts[-1], DONE, answered=False))


# --- accept, defer, reject --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_five_tasks_for_one_slot_and_a_buffer_of_two(plain):
    """BP-03 to BP-06: one accepted, two deferred, two rejected, with the counts before; the deferred run in order."""
    book = _book(2)
    tasks = [make_conversation(f"c-{number}", plain=plain) for number in range(5)]

    book.submit(*tasks)

    full = {"current_in_flight": 1, "max_in_flight": 1, "max_buffer_depth": 2}
    assert [each.signal for each in tasks] == [
        Accept(current_in_flight=0, max_in_flight=1),
        Defer(**full, buffer_depth=0),
        Defer(**full, buffer_depth=1),
        Reject(**full, buffer_depth=2),
        Reject(**full, buffer_depth=2),
    ]
    assert [each.signal.status for each in tasks if each.signal is not None] == [
        AckStatus.ACCEPTED,
        *2 * [AckStatus.DEFERRED],
        *2 * [AckStatus.REJECTED],
    ]
    for each in tasks[:3]:
        _end(book, each)
    assert [each.conversation.id for each in book.handed] == ["c-0", "c-1", "c-2"], "what was rejected never runs"
    assert all(isinstance(book.outcome(each), QueueFull) for each in tasks[3:])


def test_a_free_slot_accepts_even_while_others_wait():
    """BP-03: those that wait are for other workers."""
    book = _book(1, make_worker("worker-1", 1, "encode"), make_worker("worker-2", 1, "resize"))
    book.submit(_request("running"), _request("waits"))

    resize = _request("resize", kind="resize")
    book.submit(resize)

    assert resize.signal == Accept(current_in_flight=0, max_in_flight=1)
    assert resize.phase is RUNNING


def test_the_counts_are_of_all_workers_that_could_have_it():
    """BP-04: over groups of workers, with slots that their owners took, and without those that have left."""
    first, second, third = make_worker("w-1", 2, "encode"), make_worker("w-2", 3), make_worker("w-3", 5, "resize")
    book = _book(5, first, second, third)
    book.do(book.state.set_manual(second, 2))
    book.submit(_request("c-1"), _request("c-2"))
    seen = _request("c-3")
    book.submit(seen)
    assert seen.signal == Accept(current_in_flight=4, max_in_flight=5)

    book.crash(first, CRASH)
    book.join(make_worker("w-4", 4, "encode"))
    running = sum(entry.in_flight for entry in book.state.candidates.members("encode"))
    later = _request("c-4")
    book.submit(later)

    assert later.signal == Accept(current_in_flight=running, max_in_flight=7)


def test_counting_begins_with_what_there_is():
    """The bound is set while work is under way, and outlives the actor."""
    book = Notebook()
    worker = make_worker("worker-1", 2)
    book.join(worker)
    book.submit(_request("before"))

    book.do(book.state.bound(3))
    book.do(book.state.recover())
    seen = _request("after")
    book.submit(seen)

    assert seen.signal == Accept(current_in_flight=1, max_in_flight=2)


def test_without_a_bound_of_its_own_a_channel_notes_no_signals():
    """A dispatch that nobody asks about costs nothing for it."""
    book = Notebook(queue_limit=1)
    book.join(make_worker())
    requests = [_request(f"c-{number}") for number in range(3)]

    book.submit(*requests)

    assert [each.signal for each in requests] == [None, None, None]
    assert isinstance(book.outcome(requests[2]), QueueFull)


def test_what_nobody_serves_is_neither_deferred_nor_rejected():
    """DP-10: that has its own error."""
    book = _book(1, make_worker("worker-1", 1, "resize"))
    request = _request()

    book.submit(request)

    assert request.signal is None
    assert isinstance(book.outcome(request), NoWorkersAvailable)


def test_a_request_at_a_shut_gate_is_deferred_though_slots_are_free():
    """It waits, so that is what its caller is told."""
    book = _book(3, make_worker("worker-1", 4))
    book.do(book.state.limit("encode", Limit(max_concurrent=1)))
    first, second = _request("c-1"), _request("c-2")

    book.submit(first, second)

    assert isinstance(first.signal, Accept)
    assert second.signal == Defer(current_in_flight=1, max_in_flight=4, buffer_depth=0, max_buffer_depth=3)


def test_a_signal_is_of_the_arrival_and_stays():
    """Whatever happens to the request later."""
    first, second = make_worker("worker-1", 1), make_worker("worker-2", 1)
    book = _book(1, first, second)
    request = _request("c-1")
    book.submit(request, _request("c-2"))
    signal = request.signal

    book.crash(first)

    assert request.phase is WAITING
    assert request.signal is signal


def test_a_rejection_is_on_record():
    """Opened, rejected, and then closed."""
    book = _book(1)
    book.submit(_request("c-1"), _request("c-2"))
    book.submit(_request("c-3", recorder=MemoryRecorder()))

    assert book.notes == ["conversation_opened", "rejected"]


def test_a_lower_bound_turns_nobody_away_that_waits_already():
    """It is for those that come."""
    book = _book(3)
    waiting = [_request(f"c-{number}") for number in range(4)]
    book.submit(*waiting)

    book.do(book.state.bound(1))
    late = _request("late")
    book.submit(late)

    assert names(book.state.waiting.all()) == ["c-1", "c-2", "c-3"]
    assert late.signal == Reject(current_in_flight=1, max_in_flight=1, buffer_depth=3, max_buffer_depth=1)


def test_the_bound_counts_what_waits_for_one_particular_worker():
    """A routing function's choice waits like any other."""
    book = _book(1, make_worker("worker-1", 1), make_worker("worker-2", 1))
    book.do(book.state.deploy(None))
    requests = [_request(f"c-{number}") for number in range(3)]
    book.submit(requests[0])
    book.do(book.state.routed(book.asks[-1], "worker-1"))
    book.submit(requests[1])
    book.do(book.state.routed(book.asks[-1], "worker-1"))
    assert requests[1].waits_for is not None
    book.do(book.state.set_manual(list(book.state.candidates)[1], 1))

    book.submit(requests[2])

    assert isinstance(requests[2].signal, Reject)


# --- waiting for room -------------------------------------------------------------------------------------------------


def test_a_caller_with_time_waits_for_room_and_comes_in_when_there_is_some():
    """First come, first in."""
    book = _book(1)
    running, waits = _request("running"), _request("waits")
    book.submit(running, waits)
    first, second = _request("first", 5.0), _request("second", 5.0)

    decided = [book.do(book.state.submit(each)) for each in (first, second)]

    assert all(isinstance(each, AwaitRoom) for (each,) in decided)
    assert (first.is_outside, second.is_outside, book.entered) == (True, True, [])
    _end(book, running)
    assert book.entered == [first]
    assert first.signal == Defer(current_in_flight=1, max_in_flight=1, buffer_depth=0, max_buffer_depth=1)
    _end(book, waits)
    assert book.entered == [first, second]
    assert not book.state.outside


def test_whoever_waits_for_room_has_his_place_in_line():
    """A newcomer without time is rejected, and one with time comes after; priority goes before arrival."""
    book = _book(1)
    running, waits = _request("running"), _request("waits")
    book.submit(running, waits)
    patient, hasty, urgent = _request("patient", 5.0), _request("hasty"), _request("urgent", 5.0, priority=1)

    book.submit(patient, hasty, urgent)

    assert isinstance(book.outcome(hasty), QueueFull)
    _end(book, running)
    assert urgent.phase is RUNNING, "it was served before there was room for it"
    assert urgent.signal == Accept(current_in_flight=0, max_in_flight=1)
    assert book.entered == [urgent]
    _end(book, urgent)
    assert book.entered == [urgent, patient]
    assert waits.phase is RUNNING


def test_a_slot_that_others_cannot_use_is_for_whoever_waits_outside():
    """The room is full of requests for other workers; its own worker is free."""
    encoder, resizer = make_worker("worker-1", 1, "encode"), make_worker("worker-2", 1, "resize")
    book = _book(1, encoder, resizer)
    busy = _request("busy", kind="resize")
    book.submit(_request("running"), _request("waits"), busy)
    resize = _request("resize", 5.0, kind="resize")
    book.submit(resize)
    assert resize.is_outside

    _end(book, busy)

    assert resize.phase is RUNNING
    assert book.entered == [resize]


def test_whoever_has_waited_in_vain_is_rejected():
    """And is told how many waited."""
    book = _book(1)
    book.submit(_request("running"), _request("waits"))
    late = _request("late", 0.5)
    book.submit(late)

    book.do(book.state.no_room(late))

    error = book.outcome(late)
    assert isinstance(error, QueueFull)
    assert error.waiting == 1
    assert isinstance(late.signal, Reject)
    assert book.do(book.state.no_room(late)) == []


def test_a_time_of_zero_is_none():
    """It is rejected at once."""
    book = _book(1)
    book.submit(_request("running"), _request("waits"))
    late = _request("late", 0.0)

    book.submit(late)

    assert late.phase is CLOSED


def test_time_that_is_up_changes_nothing_for_those_that_are_in():
    """The two may cross."""
    book = _book(1)
    running = _request("running")
    book.submit(running, _request("waits"))
    late = _request("late", 0.5)
    book.submit(late)
    _end(book, running)

    assert book.do(book.state.no_room(late)) == []
    assert late.phase is WAITING


@pytest.mark.parametrize("of", ["the one that waits", "the one outside"])
def test_a_cancellation_makes_room(of):
    """Of whoever is in; one that is outside takes up none."""
    book = _book(1)
    waits, late, later = _request("waits"), _request("late", 5.0), _request("later", math.inf)
    book.submit(_request("running"), waits, late, later)

    cancelled = waits if of == "the one that waits" else late
    book.do(book.state.cancel(cancelled))

    assert isinstance(book.outcome(cancelled), ActivityCancelled)
    assert cancelled.signal is None or isinstance(cancelled.signal, Defer)
    assert book.entered == ([late] if cancelled is waits else [])
    assert not cancelled.is_outside


def test_a_higher_bound_lets_in_as_many_as_there_is_room_for():
    """In their order."""
    book = _book(1)
    late = [_request(f"late-{number}", 5.0) for number in range(3)]
    book.submit(_request("running"), _request("waits"), *late)

    book.do(book.state.bound(3))

    assert book.entered == late[:2]
    assert late[2].is_outside


def test_while_somebody_waits_for_room_no_slot_takes_the_next_one_by_itself():
    """Room that is made that way would not be noticed."""
    book = _book(1)
    running, waits = _request("running", plain=True), _request("waits", plain=True)
    book.submit(running, waits, _request("late", 5.0, plain=True))
    running.attempts[0].claim()

    assert book.state.turn_over(running.attempts[0]) is None
    book.do(book.state.finished(running.attempts[0], DONE, answered=True))
    waits.attempts[0].claim()

    assert book.state.swaps
    assert book.state.turn_over(waits.attempts[0]) is not None


def test_those_outside_outlive_the_actor():
    """CH-14: they are still outside, in the same order."""
    book = _book(1)
    running = _request("running")
    late = [_request(f"late-{number}", 5.0, priority=number) for number in range(2)]
    book.submit(running, _request("waits"), *late)

    book.do(book.state.recover())
    assert all(each.is_outside for each in late)
    _end(book, running)
    _end(book, late[1])

    assert book.entered == [late[1], late[0]]


def test_the_close_ends_those_outside_too():
    """Each has one outcome."""
    book = _book(1)
    late = _request("late", 5.0)
    book.submit(_request("running"), _request("waits"), late)
    closed = RuntimeError("closed")

    book.do(book.state.close(closed))

    assert book.outcome(late) is closed
    assert not book.state.outside
