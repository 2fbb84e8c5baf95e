"""The core of a channel with pauses and limits: who starts, who keeps his place, and that every slot comes back."""

from collections import deque

import pytest
from statekit import CRASH, DONE, NORMAL, Notebook, make_conversation, make_worker, names, started

from limen.actors._waiting import Line
from limen.actors.attempt import Attempt
from limen.actors.conversation import CLOSED, RUNNING, WAITING, Conversation
from limen.actors.routers import LeastLoaded
from limen.messages.activities import Failed
from limen.messages.limits import Limit
from limen.messages.retry import Retry

ONE = Limit(max_concurrent=1)


def _book(*workers, limit=None, **limits):
    book = Notebook()
    book.join(*(workers or (make_worker("worker-1", 4),)))
    for kind, each in {**limits, **({"encode": limit} if limit else {})}.items():
        book.do(book.state.limit(kind, each))
    return book


def _requests(count, kind="encode", **options):
    return [make_conversation(f"{kind}-{number}", kind, **options) for number in range(count)]


def _end(book, conversation):
    return book.do(book.state.finished(conversation.attempts[-1], DONE, answered=False))


def _past(book, kind="encode"):
    return book.state.gates[kind].running


# --- pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_nothing_starts_while_paused_and_what_waits_goes_on_in_order(plain):
    """Priority, then arrival, as if there had been no pause."""
    book = _book(make_worker("worker-1", 2))
    book.state.pause()
    requests = [make_conversation(f"c-{n}", priority=n % 2, plain=plain) for n in range(4)]

    book.submit(*requests)

    assert not book.handed
    assert all(each.phase is WAITING for each in requests)
    book.do(book.state.unpause())
    assert [each.conversation.id for each in book.handed] == ["c-1", "c-3"]


def test_what_runs_goes_on_in_a_pause_and_its_slot_stays_empty():
    """Also where a slot would have taken the next one by itself."""
    book = _book(make_worker("worker-1", 1))
    first, second = _requests(2, plain=True)
    book.submit(first, second)
    book.state.pause()

    attempt = first.attempts[0]
    attempt.claim()
    assert book.state.turn_over(attempt) is None, "the short cut is closed"
    book.do(book.state.finished(attempt, DONE, answered=True))

    assert (first.phase, second.phase) == (CLOSED, WAITING)
    book.do(book.state.unpause())
    assert second.phase is RUNNING


def test_whatever_happens_in_a_pause_starts_nothing():
    """A crash, a retry, a worker that joins, a router that is swapped, a slot that is given back."""
    first, second = make_worker("worker-1", 1), make_worker("worker-2", 1)
    book = _book(first, second)
    lost, failed, waits = (make_conversation(name, retry=Retry(max_attempts=3)) for name in ("lost", "failed", "waits"))
    book.submit(lost, failed, waits)
    book.state.pause()

    book.crash(first)
    book.do(book.state.finished(failed.attempts[0], Failed(ValueError("no")), answered=False))
    book.do(book.state.resume(failed))
    book.join(make_worker("worker-3", 5))
    book.do(book.state.set_manual(second, 0))
    book.do(book.state.deploy(book.state.router))
    book.do(book.state.recover())

    assert len(book.handed) == 2
    assert names(book.state.waiting.all()) == ["lost", "failed", "waits"]
    book.do(book.state.unpause())
    assert [each.conversation.id for each in book.handed[2:]] == ["lost", "failed", "waits"]


def test_a_choice_that_comes_in_a_pause_is_kept_for_later():
    """The routing function was asked before; its choice waits for that worker."""
    book = _book(make_worker("worker-1", 1))
    book.do(book.state.deploy(None))
    (request,) = _requests(1)
    book.submit(request)
    book.state.pause()

    book.do(book.state.routed(book.asks[0], "worker-1"))
    assert not book.handed

    book.do(book.state.unpause())
    assert book.running_on(request) == "worker-1"


def test_a_choice_of_a_function_that_was_replaced_binds_nobody_after_a_pause():
    """It waits for whoever is free first, as the router that is deployed now would have it."""
    book = _book(make_worker("worker-1", 1), make_worker("worker-2", 1))
    book.do(book.state.deploy(None))
    (request,) = _requests(1)
    book.submit(request)
    book.do(book.state.deploy(LeastLoaded()))
    book.state.pause()

    book.do(book.state.routed(book.asks[0], "worker-2"))
    assert request.waits_for is None
    assert [each.id for each in book.state.waiting.all()] == [request.id]

    book.do(book.state.unpause())
    assert book.running_on(request) == "worker-1"


def test_a_pause_is_no_reason_to_wait_for_nobody():
    """DP-10: without a worker for it, a request fails as at any other time."""
    book = _book(make_worker("worker-1", 1, "encode"))
    book.state.pause()
    (request,) = _requests(1, "unheard-of")

    book.submit(request)

    assert request.phase is CLOSED


def test_requests_in_a_pause_may_stay_in_the_tray():
    """They can do nothing but wait, so nobody need look at each: they are entered in one go."""
    book = _book()
    book.state.pause()
    book.submit(*_requests(1, plain=True))
    tray = deque(make_conversation(f"t-{n}", plain=True) for n in range(3))

    book.state.absorb(tray)

    assert not tray
    assert book.state.waiting.count == 4


# --- limits by number -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_no_more_run_at_once_than_the_limit_and_others_pass_by(plain):
    """A type at its limit waits; the slots are for the others."""
    book = _book(encode=Limit(max_concurrent=2))
    encodes, resizes = _requests(4, plain=plain), _requests(2, "resize", plain=plain)

    book.submit(*encodes, *resizes)

    assert [each.phase for each in encodes] == [RUNNING, RUNNING, WAITING, WAITING]
    assert [each.phase for each in resizes] == [RUNNING, RUNNING]
    _end(book, encodes[1])
    assert [each.phase for each in encodes] == [RUNNING, CLOSED, RUNNING, WAITING]


def test_a_slot_that_ends_another_type_never_takes_one_past_the_limit():
    """The short cut from one request to the next looks at the line, too."""
    book = _book(make_worker("worker-1", 2), limit=ONE)
    (resize,) = _requests(1, "resize", plain=True)
    others = [*_requests(3, plain=True), *_requests(1, "crop", plain=True)]
    book.submit(resize, *others)
    resize.attempts[0].claim()

    following = book.state.turn_over(resize.attempts[0])

    assert isinstance(following, Attempt)
    assert following.activity_type == "crop"
    assert _past(book) == 1


def test_the_short_cut_is_closed_to_what_is_limited():
    """An end that frees a place at a gate is for the whole channel to hear."""
    book = _book(make_worker("worker-1", 1), limit=Limit(max_concurrent=5))
    first, second = _requests(2, plain=True)
    book.submit(first, second)
    first.attempts[0].claim()

    assert book.state.turn_over(first.attempts[0]) is None


def test_the_short_cut_leaves_a_limited_request_alone_that_would_be_next():
    """It is next, and past its gate it goes by the channel's hand."""
    book = _book(make_worker("worker-1", 1), limit=Limit(max_concurrent=5))
    (running,), (first,), (second,) = _requests(1, "resize", plain=True), _requests(1, plain=True), _requests(1, "crop")
    book.submit(running, first, second)
    running.attempts[0].claim()

    assert book.state.turn_over(running.attempts[0]) is None
    book.do(book.state.finished(running.attempts[0], DONE, answered=True))

    assert first.phase is RUNNING
    assert _past(book) == 1


def test_a_free_place_goes_to_the_first_in_line_wherever_there_is_a_slot():
    """The worker that ended one may be full by then; another one is not."""
    first, second = make_worker("worker-1", 1), make_worker("worker-2", 1, "encode")
    book = _book(first, second, limit=ONE)
    one, *others = _requests(2)
    urgent = make_conversation("urgent", priority=5)
    book.submit(one, *others, urgent)
    book.do(book.state.set_manual(first, 1))

    _end(book, one)

    assert book.running_on(urgent) == "worker-2"
    assert others[0].phase is WAITING


def _crashes(book, conversation):
    return book.do(book.state.crashed(conversation.attempts[-1], CRASH))


def _is_returned(book, conversation):
    return book.do(book.state.returned(conversation.attempts[-1], NORMAL))


def _dies_with_worker(book, conversation):
    return book.crash(conversation.attempts[-1].entry)


def _is_unregistered(book, conversation):
    return book.do(book.state.leave(conversation.attempts[-1].entry, NORMAL))


def _is_cancelled(book, conversation):
    book.do(book.state.cancel(conversation))
    return _end(book, conversation)


def _times_out(book, conversation):
    book.do(book.state.timed_out(conversation, "start_to_close", 1.0, 2.0))
    return _end(book, conversation)


def _fails(book, conversation):
    return book.do(book.state.finished(conversation.attempts[-1], Failed(ValueError("no")), answered=False))


@pytest.mark.parametrize(
    "end",
    [_end, _crashes, _is_returned, _dies_with_worker, _is_unregistered, _is_cancelled, _times_out, _fails],
    ids=lambda end: end.__name__.strip("_"),
)
def test_however_an_attempt_ends_its_place_is_free_once(end):
    """The next one starts, only one, and when all have ended nobody is past the gate."""
    book = _book(make_worker("worker-1", 2), make_worker("worker-2", 2), limit=ONE)
    requests = _requests(4)
    book.submit(*requests)
    started(requests[0].attempts[0])

    end(book, requests[0])

    assert _past(book) == 1
    assert len([each for each in requests if each.phase is RUNNING]) == 1
    for each in requests:
        if each.phase is RUNNING:
            _end(book, each)
    assert _past(book) == len([each for each in requests if each.phase is RUNNING])


def test_a_place_is_held_until_the_activity_has_ended_whatever_its_caller_was_told():
    """A thread cannot be stopped: what was cancelled still runs, and counts."""
    book = _book(limit=ONE)
    first, second = _requests(2)
    book.submit(first, second)

    book.do(book.state.cancel(first))
    assert (first.phase, second.phase) == (CLOSED, WAITING)

    _end(book, first)
    assert second.phase is RUNNING


def test_a_request_that_lost_its_worker_keeps_its_place_at_the_gate():
    """DP-08: it came before those that wait, and so goes before them, also where its end opened the gate."""
    first, second = make_worker("worker-1", 1), make_worker("worker-2", 4)
    book = _book(first, second, limit=ONE)
    lost, waits = _requests(2)
    book.submit(lost, waits)
    assert book.running_on(lost) == "worker-1"

    book.crash(first)

    assert book.running_on(lost) == "worker-2"
    assert waits.phase is WAITING


def test_what_waits_for_one_particular_worker_is_past_its_gate():
    """It was let through when that worker was chosen for it; so its place cannot be taken meanwhile."""
    book = _book(make_worker("worker-1", 1), make_worker("worker-2", 1), limit=Limit(max_concurrent=2))
    book.do(book.state.deploy(None))
    requests = _requests(3)
    book.submit(*requests)

    assert _past(book) == 1, "the one that the function is being asked about"
    book.do(book.state.routed(book.asks[-1], "worker-1"))
    book.do(book.state.routed(book.asks[-1], "worker-1"))

    assert [each.phase for each in requests] == [RUNNING, WAITING, WAITING]
    assert requests[1].waits_for is not None
    assert _past(book) == 2
    book.do(book.state.cancel(requests[1]))
    assert _past(book) == 2, "the next one is being asked about"
    assert len(book.asks) == 3


def test_a_choice_that_fails_gives_the_place_back():
    """Nobody chosen, a ghost, no answer."""
    book = _book(limit=ONE)
    book.do(book.state.deploy(None))
    requests = _requests(4)
    book.submit(*requests)

    book.do(book.state.routed(book.asks[-1], None))
    book.do(book.state.routed(book.asks[-1], "ghost"))
    book.do(book.state.routing_failed(book.asks[-1], RuntimeError("no answer")))
    book.do(book.state.routed(book.asks[-1], "worker-1"))

    assert [each.phase for each in requests] == [CLOSED, CLOSED, CLOSED, RUNNING]
    assert _past(book) == 1


def test_a_router_that_is_swapped_lets_those_wait_in_line_again_that_had_been_chosen_for():
    """They go back behind the gate, and their places are for whoever is first."""
    first, second = make_worker("worker-1", 1), make_worker("worker-2", 1)
    book = _book(first, second, limit=Limit(max_concurrent=2))
    function, least_loaded = None, book.state.router
    book.do(book.state.deploy(function))
    requests = _requests(3)
    book.submit(*requests)
    book.do(book.state.routed(book.asks[-1], "worker-1"))
    book.do(book.state.routed(book.asks[-1], "worker-1"))
    assert _past(book) == 2
    book.do(book.state.set_manual(second, 1))

    book.do(book.state.deploy(least_loaded))

    assert _past(book) == 1
    assert names(book.state.waiting.all()) == ["encode-1", "encode-2"]


def test_a_suspect_passes_its_gate_when_its_worker_is_chosen():
    """It has to run alone, and others do not take its place while its worker becomes empty."""
    first, second = make_worker("worker-1", 2), make_worker("worker-2", 2)
    book = _book(first, limit=ONE)
    (suspect,), (other,), waits = _requests(1), _requests(1, "resize"), make_conversation("waits")
    book.submit(suspect, other)
    started(suspect.attempts[0], other.attempts[0])
    book.join(second)
    (busy,) = _requests(1, "crop")
    book.submit(busy, waits)
    assert book.running_on(busy) == "worker-2"

    book.crash(first)
    book.join(make_worker("worker-3", 2, "encode"))

    assert suspect.waits_for is second
    assert waits.phase is WAITING
    assert _past(book) == 1
    _end(book, busy)
    assert book.running_on(suspect) == "worker-2"
    _end(book, suspect)
    assert waits.phase is RUNNING
    assert _past(book) == 1


def test_a_limit_counts_what_runs_already():
    """It is set while work is under way: nothing is stopped, and nothing starts until there is a place."""
    book = _book()
    requests = _requests(5, plain=True)
    book.submit(*requests)
    assert [each.phase for each in requests] == [RUNNING] * 4 + [WAITING]

    book.do(book.state.limit("encode", Limit(max_concurrent=2)))
    _end(book, requests[0])
    _end(book, requests[1])
    assert requests[4].phase is WAITING
    _end(book, requests[2])

    assert requests[4].phase is RUNNING
    assert _past(book) == 2


def test_a_limit_that_is_raised_or_lifted_lets_in_exactly_what_may_run():
    """In order, at once."""
    book = _book(make_worker("worker-1", 10), limit=ONE)
    requests = _requests(6)
    book.submit(*requests)

    book.do(book.state.limit("encode", Limit(max_concurrent=3)))
    assert [each.conversation.id for each in book.handed] == ["encode-0", "encode-1", "encode-2"]

    book.do(book.state.limit("encode", None))
    assert [each.conversation.id for each in book.handed[3:]] == ["encode-3", "encode-4", "encode-5"]
    assert not book.state.restrained
    assert book.state.swaps


def test_a_limit_outlives_the_actor():
    """CH-14: the next one counts anew."""
    book = _book(limit=ONE)
    requests = _requests(3)
    book.submit(*requests)
    book.state.gates["encode"].running = 77

    book.do(book.state.recover())

    assert _past(book) == 1
    _end(book, requests[0])
    assert requests[1].phase is RUNNING


# --- limits by rate ---------------------------------------------------------------------------------------------------


def test_starts_are_as_far_apart_as_the_rate_says():
    """One alarm for the next token, whoever waits; when it comes, exactly as many start as there are tokens."""
    book = _book(make_worker("worker-1", 100), limit=Limit(rate=2, burst=2))
    requests = _requests(6)

    book.submit(*requests)

    assert len(book.handed) == 2
    assert len(book.alarms) == 1
    gate = book.alarms.pop()
    assert gate.bucket is not None
    assert gate.bucket.opens_at_s == pytest.approx(0.5)
    book.state.now_s = 0.5
    book.do(book.state.token_due(gate))
    assert len(book.handed) == 3
    assert len(book.alarms) == 1
    book.state.now_s = 10.0
    book.do(book.state.token_due(gate))
    assert len(book.handed) == 5, "not more than the burst, however late"


def test_a_token_that_comes_while_nobody_waits_needs_no_alarm():
    """The next request finds the gate shut, and looks at the time itself."""
    book = _book(limit=Limit(rate=1, burst=1))
    first, second = _requests(2)
    book.submit(first)
    assert not book.alarms

    book.state.now_s = 1.0
    book.submit(second)

    assert second.phase is RUNNING
    assert not book.alarms


def test_nobody_overtakes_those_who_wait_for_a_token():
    """Though it may be there already, and only the alarm is late."""
    book = _book(make_worker("worker-1", 100), limit=Limit(rate=1, burst=1))
    first, second, late = _requests(3)
    book.submit(first, second)

    book.state.now_s = 1.5
    book.submit(late)
    assert (second.phase, late.phase) == (WAITING, WAITING)

    book.do(book.state.token_due(book.alarms.pop()))
    assert (second.phase, late.phase) == (RUNNING, WAITING)


def test_a_token_that_comes_while_all_slots_are_taken_is_kept():
    """The gate is open then, and the next slot is for whoever is first."""
    book = _book(make_worker("worker-1", 1), limit=Limit(rate=1, burst=1))
    first, second = _requests(2)
    book.submit(first, second)
    book.state.now_s = 1.0
    book.do(book.state.token_due(book.alarms.pop()))
    assert second.phase is WAITING

    _end(book, first)

    assert second.phase is RUNNING
    assert not book.alarms


def test_a_place_that_is_free_before_the_token_is_there_sets_the_alarm():
    """With both limits, whichever comes last decides."""
    book = _book(limit=Limit(max_concurrent=1, rate=1, burst=1))
    first, second = _requests(2)
    book.submit(first, second)
    assert not book.alarms, "only an end could help"

    _end(book, first)
    assert second.phase is WAITING
    book.state.now_s = 1.0
    book.do(book.state.token_due(book.alarms.pop()))

    assert second.phase is RUNNING


def test_the_alarm_of_a_limit_that_is_gone_changes_nothing():
    """Another is in force by then, with an alarm of its own."""
    book = _book(limit=Limit(rate=0.001, burst=1))
    first, second = _requests(2)
    book.submit(first, second)
    old = book.alarms.pop()

    book.do(book.state.limit("encode", Limit(rate=1, burst=1)))
    book.state.now_s = 0.5
    assert book.do(book.state.token_due(old)) == []
    book.state.now_s = 1.0
    book.do(book.state.token_due(book.alarms.pop()))

    assert second.phase is RUNNING


def test_every_try_takes_a_token():
    """A retry is a start like any other."""
    book = _book(limit=Limit(rate=1, burst=1))
    request = make_conversation(retry=Retry(max_attempts=2))
    book.submit(request)
    _fails(book, request)

    book.do(book.state.resume(request))
    assert request.phase is WAITING
    book.state.now_s = 1.0
    book.do(book.state.token_due(book.alarms.pop()))

    assert len(request.attempts) == 2


def test_ten_thousand_at_a_gate_are_not_gone_through(monkeypatch):
    """What a token costs does not depend on how many wait for one."""
    book = _book(make_worker("worker-1", 2), limit=Limit(rate=1, burst=1))
    requests = _requests(10_000)
    book.submit(*requests)
    looked = [0]

    def count(conversation):
        looked[0] += 1
        return (-conversation.priority, conversation.arrival)

    monkeypatch.setattr(Conversation, "rank", count)
    monkeypatch.setattr(Line, "all", lambda _: pytest.fail("it went through all"))

    for second in range(1, 11):
        _end(book, requests[second - 1])
        book.state.now_s = float(second)
        book.do(book.state.token_due(book.alarms.pop()))

    assert len(book.handed) == 11
    assert looked[0] < 100
