"""The core of a channel: requests, results, calls for an end, and limits, transition by transition."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statekit import DONE, Notebook, die, make_conversation, make_worker, names, started

from limen.actors._decisions import CallOff, Close, Note, Pause, Remind
from limen.actors.attempt import LOOK_AGAIN_S, Attempt
from limen.actors.conversation import CLOSED, NEW, PAUSED, RUNNING, WAITING
from limen.actors.recorder import MemoryRecorder
from limen.actors.routers import RoundRobin
from limen.messages.activities import Failed
from limen.messages.dispatch_errors import (
    ActivityFailed,
    DispatchFailed,
    NoWorkersAvailable,
    QueueFull,
    ScheduleToStartTimedOut,
    StartToCloseTimedOut,
)
from limen.messages.errors import ActivityCancelled, TerminalError, WorkerCrashed
from limen.messages.retry import Retry

FAILED = Failed(ValueError("no"))


def _kinds(decisions):
    return [type(each).__name__ for each in decisions]


def _book(*workers, **options):
    book = Notebook(**options)
    book.join(*(workers or (make_worker(),)))
    return book


def _running(book, *conversations):
    book.submit(*conversations)
    return [each.attempts[-1] for each in conversations]


# --- a request comes in ---------------------------------------------------------------------------------------------


def test_a_request_is_handed_to_the_least_loaded_worker_and_takes_a_slot():
    """DP-18: the slot is taken in the moment of the choice, not when the worker says so."""
    first, second = make_worker("worker-1", 2), make_worker("worker-2", 2)
    book = _book(first, second)

    book.submit(make_conversation("c-1"), make_conversation("c-2"), make_conversation("c-3"))

    assert [each.worker_id for each in book.handed] == ["worker-1", "worker-2", "worker-1"]
    assert (first.in_flight, second.in_flight) == (2, 1)
    assert [each.number for each in book.handed] == [1, 1, 1]


def test_a_request_waits_while_all_slots_are_taken_and_goes_when_one_is_free():
    """DP-18: `max_concurrent` is a limit; what is too much waits in order of arrival."""
    worker = make_worker("worker-1", 1)
    book = _book(worker)
    first, second, third = (make_conversation(f"c-{number}") for number in (1, 2, 3))

    book.submit(first, second, third)
    assert names(book.state.waiting.all()) == ["c-2", "c-3"]
    decided = book.do(book.state.finished(first.attempts[0], DONE, answered=False))

    assert _kinds(decided) == ["Close", "Attempt"]
    assert book.outcome(first) is DONE
    assert (second.phase, third.phase) == (RUNNING, WAITING)
    assert worker.in_flight == 1


def test_higher_priority_goes_first_and_equal_ones_in_order_of_arrival():
    """DP-18: priority, then first in, first out."""
    book = _book()
    running = make_conversation("running")
    book.submit(running, *(make_conversation(f"c-{i}", priority=p) for i, p in enumerate((0, 2, 1, 2))))

    assert names(book.state.waiting.all()) == ["c-1", "c-3", "c-2", "c-0"]


@pytest.mark.parametrize("plain", [True, False])
def test_more_requests_than_may_wait_are_refused(plain):
    """DP-18: never silence; the one that is too much is told so, and does not wait."""
    book = _book(queue_limit=2)
    book.submit(*(make_conversation(f"c-{number}", plain=plain) for number in range(4)))

    (refused,) = book.closed
    assert refused[0].id == "c-3"
    assert isinstance(refused[1], QueueFull)
    assert refused[1].waiting == 2


def test_a_request_that_was_accepted_is_never_refused_for_want_of_room():
    """DP-08: what a crash or a retry brings back had its place before the others came."""
    first, second = make_worker("worker-1", 1), make_worker("worker-2", 1)
    book = _book(first, second, queue_limit=1)
    lost = make_conversation("lost")
    book.submit(lost, make_conversation("other"), make_conversation("waits"))

    book.crash(first)

    assert book.outcome(lost) is None
    assert names(book.state.waiting.all()) == ["lost", "waits"]


def test_nobody_who_serves_it_is_an_error_at_once():
    """DP-10: opened and closed are all that is recorded, and the error says what is served here."""
    book = _book(make_worker("worker-1", 1, "resize"))
    conversation = make_conversation("c-1", "encode", recorder=MemoryRecorder())

    book.submit(conversation)

    error = book.outcome(conversation)
    assert isinstance(error, NoWorkersAvailable)
    assert error.served == ("resize",)
    assert "NoWorkersAvailable" in str(error)
    assert book.notes == ["conversation_opened"]


def test_a_worker_without_slots_serves_nobody():
    """TY-07: it is listed, and gets nothing, not even those who would wait."""
    idle = make_worker("worker-1", 0)
    book = _book(idle)
    conversation = make_conversation()

    book.submit(conversation)

    assert isinstance(book.outcome(conversation), NoWorkersAvailable)
    assert book.state.serving(None) == [idle]
    assert not idle.view().has_capacity


def test_what_can_only_wait_is_taken_from_the_tray_in_one_go():
    """DP-18: in order, within the bound, and only while no slot that serves it is free."""
    book = _book(queue_limit=3)
    book.submit(make_conversation("c-1", plain=True), make_conversation("c-2", plain=True))
    tray = deque(make_conversation(f"t-{number}", plain=number != 1) for number in range(3))
    book.state.absorb(tray)
    assert (names(tray), names(book.state.waiting.all())) == (["t-1", "t-2"], ["c-2", "t-0"])

    tray.popleft()
    book.state.absorb(tray)
    tray.append(make_conversation("t-3", plain=True))
    book.state.absorb(tray)

    assert (names(tray), names(book.state.waiting.all())) == (["t-3"], ["c-2", "t-0", "t-2"])


def test_the_id_of_an_open_conversation_is_refused_and_the_open_one_is_left_alone():
    """CV-18, DP-14: answers and records are found by id, so two of one id must not be open at the same time."""
    recorder = MemoryRecorder()
    book = _book()
    first, second = make_conversation("same", recorder=recorder), make_conversation("same", recorder=recorder)
    book.submit(first)

    book.submit(second)

    assert type(book.outcome(second)) is DispatchFailed
    assert "'same'" in str(book.outcome(second))
    assert second.recorder is None
    assert first.phase is RUNNING
    book.do(book.state.finished(first.attempts[0], DONE, answered=False))
    again = make_conversation("same")
    book.submit(again)
    assert again.phase is RUNNING


# --- results --------------------------------------------------------------------------------------------------------


def test_success_notes_what_was_received_before_it_closes():
    """DP-04: received, then closed, with the result in both."""
    book = _book()
    (attempt,) = _running(book, make_conversation(recorder=MemoryRecorder()))

    decided = book.do(book.state.finished(attempt, DONE, answered=False))

    assert [type(each) for each in decided] == [Note, Close]
    assert decided[0].operation.result is DONE
    assert decided[1].outcome is DONE


def test_a_reported_failure_is_final_and_names_worker_and_cause():
    """DP-07: no other worker is tried; the error is noted as not to be retried."""
    book = _book(make_worker("worker-1"), make_worker("worker-2"))
    conversation = make_conversation(recorder=MemoryRecorder())
    (attempt,) = _running(book, conversation)

    decided = book.do(book.state.finished(attempt, FAILED, answered=False))

    error = book.outcome(conversation)
    assert isinstance(error, ActivityFailed)
    assert (error.worker_id, error.cause_type, error.cause, error.attempts) == ("worker-1", "ValueError", "no", 1)
    assert error.__cause__ is FAILED.error
    assert (decided[0].operation.retryable, decided[0].operation.message) == (False, "no")
    assert len(book.handed) == 1


def test_an_error_without_a_readable_text_is_reported_all_the_same():
    """GR-05: a user's `__str__` that raises must not bring down the channel."""

    class Unreadable(Exception):
        def __str__(self):
            raise SystemExit

    book = _book()
    conversation = make_conversation(recorder=MemoryRecorder())
    (attempt,) = _running(book, conversation)

    book.do(book.state.finished(attempt, Failed(Unreadable()), answered=False))

    assert "its text cannot be had" in str(book.outcome(conversation))


def test_a_failure_is_tried_again_after_a_pause_by_the_callers_policy():
    """TY-05: the slot is free during the pause; the last error is the outcome when the policy says so."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation(retry=Retry(max_attempts=2, initial=0.5), recorder=MemoryRecorder())
    (attempt,) = _running(book, conversation)

    decided = book.do(book.state.finished(attempt, FAILED, answered=False))
    assert [type(each) for each in decided] == [Note, Note, Pause]
    assert decided[2].pause_s == 0.5
    assert (conversation.phase, worker.in_flight) == (PAUSED, 0)

    book.do(book.state.resume(conversation))
    assert [each.number for each in conversation.attempts] == [1, 2]
    book.do(book.state.finished(conversation.attempts[1], FAILED, answered=False))
    assert book.outcome(conversation).attempts == 2


def test_a_terminal_error_is_not_tried_again():
    """TY-05: terminal means terminal, whatever the policy."""
    book = _book()
    conversation = make_conversation(retry=Retry(max_attempts=5))
    (attempt,) = _running(book, conversation)

    book.do(book.state.finished(attempt, Failed(TerminalError("never")), answered=False))

    assert isinstance(book.outcome(conversation), ActivityFailed)


def test_resuming_what_is_not_paused_changes_nothing():
    """A pause may end after the request has been cancelled."""
    book = _book()
    conversation = make_conversation()
    book.submit(conversation)

    assert book.state.resume(conversation) == []


def test_an_answered_attempt_is_only_booked():
    """DP-14: its caller has the result already, so there is no second outcome."""
    worker = make_worker()
    book = _book(worker)
    (attempt,) = _running(book, make_conversation())
    assert attempt.claim()

    assert book.state.finished(attempt, DONE, answered=True) == []
    assert attempt.conversation.phase is CLOSED
    assert worker.in_flight == 0


def test_a_late_result_frees_the_slot_and_is_counted():
    """DP-15: whoever comes after the decision is fenced off."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    book.do(book.state.cancel(conversation))
    assert worker.in_flight == 1

    assert book.state.finished(attempt, DONE, answered=False) == []
    assert (worker.in_flight, book.state.late_results) == (0, 1)


def test_a_late_result_of_a_dead_incarnation_is_counted_too():
    """DP-15, design: each start of a worker is an incarnation; what an earlier one says late changes nothing."""
    first = make_worker("worker-1")
    book = _book(first, make_worker("worker-2"))
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    book.crash(first)

    assert book.state.finished(attempt, DONE, answered=False) == []
    assert book.state.late_results == 1
    assert conversation.phase is RUNNING


# --- a slot goes from one request to the next -----------------------------------------------------------------------


def test_a_slot_takes_the_next_request_along():
    """DP-18: the number of slots taken does not change, and the order is kept."""
    worker = make_worker()
    book = _book(worker)
    first, second = make_conversation("c-1", plain=True), make_conversation("c-2", plain=True)
    book.submit(first, second)
    first.attempts[0].claim()

    following = book.state.turn_over(first.attempts[0])

    assert isinstance(following, Attempt)
    assert following.conversation is second
    assert (first.phase, second.phase) == (CLOSED, RUNNING)
    assert worker.attempts == {following}
    assert book.state.waiting.count == 0


def test_a_slot_that_nobody_waits_for_is_free():
    """DP-18: it is free before the caller has his answer."""
    worker = make_worker()
    book = _book(worker)
    first = make_conversation("c-1", plain=True)
    book.submit(first)

    assert book.state.turn_over(first.attempts[0]) is True
    assert (first.phase, worker.in_flight) == (CLOSED, 0)


def test_a_slot_takes_the_next_one_from_the_tray_where_nobody_waits():
    """DP-18: as if it had been submitted and had waited."""
    worker = make_worker()
    book = _book(worker)
    first, second = make_conversation("c-1", plain=True), make_conversation("c-2", plain=True)
    book.submit(first, second)
    tray = deque(make_conversation(f"t-{number}", plain=True) for number in range(2))

    following: Attempt | bool | None = first.attempts[0]
    order = []
    while isinstance(following, Attempt):
        following = book.state.turn_over(following, tray)
        order.append(following.conversation.id if isinstance(following, Attempt) else following)

    assert order == ["c-2", "t-0", "t-1", True]
    assert (worker.in_flight, book.state.waiting.count, second.arrival) == (0, 0, 2)


def test_who_came_with_a_priority_is_not_left_behind_in_the_tray():
    """DP-18: those in the tray are put in order first."""
    worker = make_worker()
    book = _book(worker)
    first = make_conversation("c-1", plain=True)
    book.submit(first, make_conversation("c-2", plain=True))
    book.state.ranked = True
    tray = deque(make_conversation(f"t-{priority}", plain=True, priority=priority) for priority in (0, 3))

    following = book.state.turn_over(first.attempts[0], tray)

    assert isinstance(following, Attempt)
    assert (following.conversation.id, names(book.state.waiting.all())) == ("t-3", ["c-2", "t-0"])


@pytest.mark.parametrize("of", ["another type", "a recorder"])
def test_what_is_in_the_tray_for_others_goes_the_usual_way(of):
    """DP-18, DP-09: the slot takes nothing that it may not have, and nothing before its turn."""
    worker = make_worker()
    book = _book(worker)
    first = make_conversation("c-1", plain=True)
    book.submit(first, make_conversation("c-2", plain=True))
    attempt = book.state.turn_over(first.attempts[0])
    assert isinstance(attempt, Attempt)
    kind = "other" if of == "another type" else "encode"
    other = make_conversation("t-0", kind, plain=of != "a recorder")
    tray = deque([other, make_conversation("t-1", plain=True)])

    assert book.state.turn_over(attempt, tray) is None
    assert (names(tray), attempt in worker.attempts, book.state.waiting.count) == (["t-0", "t-1"], True, 0)


def _with_manual_slots(book, worker):
    book.do(book.state.set_manual(worker, 1))


def _with_round_robin(book, worker):
    book.do(book.state.deploy(RoundRobin()))


def _while_draining(book, worker):
    book.do(book.state.drain(worker))


def _when_dead(book, worker):
    die(worker)


def _with_a_recorded_request_next(book, worker):
    book.submit(make_conversation("first", recorder=MemoryRecorder(), priority=1))


@pytest.mark.parametrize(
    "circumstance",
    [_with_manual_slots, _with_round_robin, _while_draining, _when_dead, _with_a_recorded_request_next],
)
def test_a_slot_takes_nothing_along_where_more_is_to_be_decided(circumstance):
    """WR-03, DP-09: a router that learns is asked; a worker that is to have less gets nothing new."""
    worker = make_worker()
    book = _book(worker)
    first = make_conversation("c-1", plain=True)
    book.submit(first, make_conversation("c-2", plain=True))
    circumstance(book, worker)

    assert book.state.turn_over(first.attempts[0]) is None
    assert first.phase is RUNNING
    assert first.attempts[0] in worker.attempts


def _when_another_is_less_loaded(book, worker):
    book.submit(make_conversation("before"))
    book.join(make_worker("worker-2"))


@pytest.mark.parametrize(
    "circumstance",
    [_with_manual_slots, _with_round_robin, _while_draining, _when_dead, _when_another_is_less_loaded],
)
def test_a_slot_is_given_no_new_request_where_more_is_to_be_decided(circumstance):
    """DP-09, WR-03: it goes the usual way, and nothing has happened to it."""
    worker = make_worker()
    book = _book(worker)
    circumstance(book, worker)
    conversation = make_conversation(plain=True)

    assert book.state.admit(conversation, worker) is None
    assert (conversation.phase, conversation.attempts, book.state.waiting.count) == (NEW, (), 0)


def test_a_request_that_is_not_like_any_other_is_not_just_put_into_a_slot():
    """DP-16: its limits and its record are seen to first."""
    worker = make_worker()
    assert _book(worker).state.admit(make_conversation(), worker) is None


def test_a_new_request_for_an_idle_slot_goes_straight_into_it():
    """DP-18: as `submit` would have placed it."""
    worker = make_worker("worker-1")
    book = _book(worker, make_worker("worker-2"))
    conversation = make_conversation(plain=True)

    attempt = book.state.admit(conversation, worker)

    assert conversation.attempts == (attempt,)
    assert (conversation.phase, worker.attempts, worker.in_flight) == (RUNNING, {attempt}, 1)
    book.submit(second := make_conversation("c-2"))
    assert book.running_on(second) == "worker-2"


# --- cancelling -----------------------------------------------------------------------------------------------------


def test_a_waiting_request_that_is_cancelled_never_starts():
    """DP-14: closed once, and passed over when a slot is free."""
    book = _book()
    running, waiting = make_conversation("c-1"), make_conversation("c-2")
    book.submit(running, waiting)

    assert _kinds(book.do(book.state.cancel(waiting))) == ["Close"]
    assert isinstance(book.outcome(waiting), ActivityCancelled)
    assert book.do(book.state.finished(running.attempts[0], DONE, answered=False))[1:] == []


def test_a_running_request_that_is_cancelled_is_called_off():
    """DP-14: the caller has his answer now; the slot is free when the worker says so."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)

    decided = book.do(book.state.cancel(conversation))

    assert [type(each) for each in decided] == [CallOff, Close]
    assert attempt.claimed
    assert worker.in_flight == 1
    assert book.state.cancel(conversation) == []


def test_a_result_that_is_being_told_beats_the_cancel():
    """DP-14: whoever claims the attempt first decides, once."""
    book = _book()
    conversation = make_conversation()
    (attempt,) = _running(book, conversation)
    assert attempt.claim()

    assert book.state.cancel(conversation) == []
    assert conversation.phase is RUNNING


def test_a_paused_or_routed_request_can_be_cancelled():
    """DP-14: in each phase; a late answer of the routing function and the end of the pause do nothing."""
    book = _book()
    paused = make_conversation("paused", retry=Retry())
    (attempt,) = _running(book, paused)
    book.do(book.state.finished(attempt, FAILED, answered=False))
    book.do(book.state.cancel(paused))
    book.do(book.state.deploy(None))
    routed = make_conversation("routed")
    book.submit(routed)
    (ask,) = book.asks
    book.do(book.state.cancel(routed))

    assert [book.outcome(each).activity_type for each in (paused, routed)] == ["encode", "encode"]
    assert book.do(book.state.resume(paused)) == []
    assert book.do(book.state.routed(ask, "worker-1")) == []
    assert book.state.open() == []


# --- limits ---------------------------------------------------------------------------------------------------------


def test_schedule_to_start_ends_a_request_that_nobody_has_had():
    """TY-04: the limit is named, and that nobody had started it."""
    book = Notebook()
    conversation = make_conversation(schedule_to_start=1.0)
    book.submit(conversation)
    assert conversation.phase is WAITING

    book.do(book.state.timed_out(conversation, "schedule_to_start", 1.0, 1.0))

    error = book.outcome(conversation)
    assert isinstance(error, ScheduleToStartTimedOut)
    assert (error.limit, error.worker_id, error.limit_s) == ("schedule_to_start", None, 1.0)


def test_schedule_to_start_is_met_by_the_first_start():
    """TY-04: it counts from being accepted to a worker's start, once."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation(schedule_to_start=1.0)
    book.submit(conversation)

    assert book.state.timed_out(conversation, "schedule_to_start", 1.0, 1.0) == []
    assert conversation.phase is RUNNING


def test_schedule_to_start_ends_a_request_that_lies_with_a_worker_and_has_not_begun():
    """TY-04: to be handed over is not to start; what lies in front of a busy process is called off."""
    book = _book(make_worker(prefetch=1))
    conversation = make_conversation(schedule_to_start=1.0)
    (attempt,) = _running(book, conversation)

    book.do(book.state.timed_out(conversation, "schedule_to_start", 1.0, 1.0))

    error = book.outcome(conversation)
    assert isinstance(error, ScheduleToStartTimedOut)
    assert error.worker_id is None
    assert book.called_off == [attempt]


def test_nobody_waits_for_ever_because_a_limit_passed_while_it_ran():
    """TY-04, DP-10: the time that the caller gave it is over, so a crash of the last worker is the end."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation(schedule_to_start=1.0)
    started(*_running(book, conversation))
    book.do(book.state.timed_out(conversation, "schedule_to_start", 1.0, 1.0))

    book.crash(worker)

    assert isinstance(book.outcome(conversation), NoWorkersAvailable)
    assert isinstance(book.outcome(conversation).__cause__, WorkerCrashed)


def test_a_request_that_waits_again_is_given_up_when_its_patience_ends():
    """TY-04: it was started once, so this is no time-out of its start: nobody is there to serve it."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation(schedule_to_start=1.0)
    started(*_running(book, conversation))
    book.crash(worker)
    assert conversation.phase is WAITING

    book.do(book.state.timed_out(conversation, "schedule_to_start", 1.0, 1.0))

    assert isinstance(book.outcome(conversation), NoWorkersAvailable)


def test_start_to_close_fails_the_attempt_and_is_eligible_for_a_retry():
    """TY-04: the attempt is called off and noted as timed out; the policy decides about the rest."""
    worker = make_worker("worker-1", 2)
    book = _book(worker)
    once, twice = make_conversation("once", recorder=MemoryRecorder()), make_conversation("twice", retry=Retry())
    started(*_running(book, once, twice))

    decided = book.do(book.state.timed_out(once, "start_to_close", 0.2, 1.5))
    book.do(book.state.timed_out(twice, "start_to_close", 0.2, 1.5))

    assert [type(each) for each in decided] == [CallOff, Note, Close]
    error = book.outcome(once)
    assert isinstance(error, StartToCloseTimedOut)
    assert (error.limit, error.worker_id, error.elapsed_s, error.retryable) == ("start_to_close", "worker-1", 0.5, True)
    assert twice.phase is PAUSED
    assert worker.in_flight == 2


def test_the_limit_of_an_earlier_attempt_does_not_end_a_later_one():
    """TY-04: start to close counts for each attempt anew."""
    book = _book(make_worker("worker-1", 2))
    conversation = make_conversation(retry=Retry())
    (first,) = _running(book, conversation)
    book.do(book.state.finished(first, FAILED, answered=False))
    book.do(book.state.resume(conversation))

    assert book.state.timed_out(conversation, "start_to_close", 1.0, 2.0, first) == []
    assert conversation.phase is RUNNING


@pytest.mark.parametrize(
    ("began_s", "now_s", "again_s"),
    [(None, 5.0, 2.0), (4.0, 5.0, 1.0), (4.5, 5.0, 1.5), (3.0, 5.0, None), (2.0, 5.0, None), (3.0 + 1e-9, 5.0, None)],
)
def test_start_to_close_counts_from_the_start(began_s, now_s, again_s):
    """TY-04: who lies behind another does not pay for what that one takes, and nobody gets more than his time."""
    book = _book(make_worker(prefetch=1))
    conversation = make_conversation(start_to_close=2.0)
    (attempt,) = _running(book, conversation)
    attempt.started_s = began_s

    decided = book.do(book.state.timed_out(conversation, "start_to_close", 2.0, now_s, attempt))

    if again_s is None:
        assert isinstance(book.outcome(conversation), StartToCloseTimedOut)
    else:
        assert [(type(each), each.attempt, each.limit_s, each.delay_s) for each in decided] == [
            (Remind, attempt, 2.0, again_s)
        ]
        assert conversation.phase is RUNNING
        assert not attempt.claimed


@given(limit_s=st.floats(0.001, 1e4), handed_s=st.floats(0, 1e6), times=st.floats(0, 50))
def test_however_late_it_starts_an_attempt_has_its_time_and_hardly_more(limit_s, handed_s, times):
    """TY-04: asked again when told to, the book ends it when its time is up: not before, and no tick later."""
    book = _book(make_worker(prefetch=1))
    conversation = make_conversation(start_to_close=limit_s)
    (attempt,) = _running(book, conversation)
    began_s, now_s = handed_s + times * limit_s, handed_s + limit_s

    while conversation.phase is RUNNING:
        attempt.started_s = began_s if now_s >= began_s else None
        decided = book.do(book.state.timed_out(conversation, "start_to_close", limit_s, now_s, attempt))
        now_s += sum(each.delay_s for each in decided if isinstance(each, Remind))

    assert isinstance(book.outcome(conversation), StartToCloseTimedOut)
    assert began_s + limit_s - 2e-6 <= now_s <= began_s + max(limit_s, LOOK_AGAIN_S) + 2e-6


@pytest.mark.parametrize("phase", ["waiting", "running", "paused"])
def test_schedule_to_close_ends_it_in_every_phase(phase):
    """TY-04: retries and waiting are included."""
    worker = make_worker()
    book = _book(worker)
    conversation = make_conversation(retry=Retry())
    if phase == "waiting":
        book.submit(make_conversation("before"))
    book.submit(conversation)
    if phase == "paused":
        book.do(book.state.finished(conversation.attempts[0], FAILED, answered=False))
    assert conversation.phase.value == phase

    book.do(book.state.timed_out(conversation, "schedule_to_close", 1.0, 2.0))

    assert book.outcome(conversation).limit == "schedule_to_close"
    assert len(book.called_off) == (phase == "running")


# --- the end --------------------------------------------------------------------------------------------------------


def test_closing_gives_every_conversation_its_outcome_and_starts_nothing():
    """DP-14, WC-30: waiting, running, held, paused and routed alike."""
    worker = make_worker()
    book = _book(worker)
    running, paused, waiting = (
        make_conversation("c-1"),
        make_conversation("c-2", retry=Retry()),
        make_conversation("c-3"),
    )
    book.submit(paused)
    book.do(book.state.finished(paused.attempts[0], FAILED, answered=False))
    book.submit(running, waiting)
    error = RuntimeError("closed")

    decided = book.do(book.state.close(error))

    assert [book.outcome(each) for each in (running, paused, waiting)] == [error, error, error]
    assert not any(isinstance(each, Attempt) for each in decided)
    assert [each.conversation for each in book.called_off] == [running]
    assert book.state.close(error) == []


def test_recovering_in_between_changes_nothing():
    """The book outlives its actor: the next one finds everybody where he was."""
    workers = [make_worker("worker-1", 2, "encode"), make_worker("worker-2", 1)]
    book = _book(*workers)
    conversations = [make_conversation(f"c-{number}", priority=number % 2) for number in range(6)]
    book.submit(*conversations)
    book.do(book.state.set_manual(workers[1], 1))
    before = [each.phase for each in conversations], names(book.state.waiting.all()), [each.order for each in workers]

    assert book.do(book.state.recover()) == []
    assert before == (
        [each.phase for each in conversations],
        names(book.state.waiting.all()),
        [each.order for each in workers],
    )


def test_recovering_finds_a_slot_for_what_was_on_its_way_to_one():
    """A crash in the middle of a change leaves a request without a place; the next actor gives it one."""
    book = _book()
    conversation = make_conversation()
    book.state._set_apart(conversation, conversation.phase)

    book.do(book.state.recover())

    assert conversation.phase is RUNNING
