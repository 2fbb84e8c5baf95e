"""Dispatch from end to end: what a caller gets, what is on record, and in which order it happens."""

import threading
import time
import uuid
from typing import Any, cast
from unittest.mock import patch

import pytest
from contextkit import Stock, at_once
from dispatchkit import (
    CHANNEL,
    ENCODE,
    NS,
    QUEUE,
    FailingRecorder,
    add_worker,
    channel_of,
    context_with,
    crash,
    data_of,
    dispatch,
    echo,
    error_of,
    fetch,
    kinds,
    session_of,
    stuck,
    submit,
)
from linkkit import PATIENCE_S, ending
from pykka import Timeout
from statekit import make_conversation, make_request

from limen.actors import _orders as orders
from limen.actors import dispatch_activity, register_worker
from limen.actors.blueprint import Blueprint
from limen.actors.context import WorkerContext
from limen.actors.conversation import Conversation
from limen.actors.default import DispatchContext, reset_default_worker_context
from limen.actors.executors.thread import ThreadExecutor
from limen.actors.recorder import MemoryRecorder
from limen.actors.routers import LeastLoaded, RoundRobin
from limen.messages.activities import ActivityRequest, Completed, Failed, WorkerCapacity
from limen.messages.codec import decode_request
from limen.messages.dispatch import DispatchRequest, DispatchResponse
from limen.messages.dispatch_errors import (
    ActivityFailed,
    ActivityTimedOut,
    DispatchFailed,
    NoWorkersAvailable,
    RecorderFailed,
)
from limen.messages.errors import ChannelLifecycleError, ConfigError, InvalidChannelName, ShutDown, WorkerCrashed
from limen.messages.operations import ActivityState, OperationKind
from limen.messages.payloads import Payload
from limen.messages.pool import DispatchWorker

HELLO = ActivityRequest("encode", Payload(b"hello"))


def _raise(_):
    raise ValueError("no")


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_worker_to_dispatch_to_has_one_free_slot_by_default():
    """DP-01: the short form is a one-slot, tag-free view."""
    state = DispatchWorker("worker-1").consumer_state

    assert (state.consumer, state.current_in_flight, state.max_in_flight, state.buffer_depth) == ("worker-1", 0, 1, 0)
    assert state.affinity_tags == ()


def test_a_dispatch_context_has_defaults_that_work_and_shows_its_workflow_only():
    """DP-02: an empty workflow id reads as `aion-dispatch`; ids are UUID4."""
    context = DispatchContext(workflow_id="", worker_pool=WorkerContext())

    assert context.workflow_id == "aion-dispatch"
    assert uuid.UUID(context.ids()).version == 4
    assert repr(context) == "<DispatchContext aion-dispatch>"
    assert context.router is context.recorder is None


def test_every_part_of_a_dispatch_context_can_be_replaced():
    """DP-02: pool, router, conversations, recorder and ids, each by a fake."""
    log: list[tuple[Any, ...]] = []

    class Session:
        class routing_slot:  # noqa: N801 - it stands in for an attribute
            active = None

        def ask(self, order):
            log.append(("router", order.router))

    class Pool:
        def channel(self, namespace, task_queue):
            channel = type("Channel", (), {"session": Session()})()
            log.append(("channel", namespace, task_queue))
            return channel

        def submit(self, namespace, task_queue, conversation):
            log.append(("submit", namespace, task_queue, conversation.id))
            conversation.settle(Completed(Payload(b"fake")))

    class Recorder:
        def record(self, operation):
            raise AssertionError

        def outcome(self, conversation_id):
            log.append(("outcome", conversation_id))

    def make(*args, **kwargs):
        log.append(("conversation", args[0], kwargs["workflow_id"]))
        return Conversation(*args, **kwargs)

    router = LeastLoaded()
    pool: Any = Pool()
    context = DispatchContext("w-1", pool, router, make, Recorder(), lambda: "c-1")

    assert data_of(dispatch_activity(NS, QUEUE, ENCODE, context)) == b"fake"
    assert log == [
        ("outcome", "c-1"),
        ("conversation", "c-1", "w-1"),
        ("channel", NS, QUEUE),
        ("router", router),
        ("submit", NS, QUEUE, "c-1"),
    ]


def test_without_any_wiring_a_registered_worker_answers():
    """DP-03: the default context, a router that knows capacity, and a real conversation."""
    try:
        with register_worker(NS, QUEUE, WorkerCapacity(1), handlers={"encode": echo}):
            assert dispatch_activity(NS, QUEUE, HELLO, timeout=PATIENCE_S) == Completed(HELLO.input)
    finally:
        reset_default_worker_context()


def test_a_request_for_another_queue_is_refused_and_a_missing_one_is_filled_in():
    """TY-03: the queue of the call and the queue of the request must not differ."""
    seen = []

    def note(request):
        seen.append(request.task_queue)
        return Payload()

    with context_with({"handler": note}) as context:
        with pytest.raises(ConfigError, match=r"'other'.*'media'"):
            dispatch(context, ActivityRequest("encode", task_queue="other"))
        dispatch(context, ActivityRequest("encode"))
        dispatch(context, ActivityRequest("encode", task_queue=QUEUE))

    assert seen == [QUEUE, QUEUE]


@pytest.mark.parametrize("given", ["", None, 7])
def test_an_id_that_is_none_is_refused(given):
    """DP-02: answers and records are found by it."""
    with context_with() as context, pytest.raises(ConfigError, match="ids"):
        dispatch(context, ids=lambda: given)


def test_a_bad_name_is_refused_before_anything_happens():
    """CN-08, DP-13: not even the record is looked at."""
    untouchable: Any = object()
    with pytest.raises(InvalidChannelName):
        dispatch_activity("bad.ns", QUEUE, ENCODE, DispatchContext(worker_pool=WorkerContext(), recorder=untouchable))


# --- the record -------------------------------------------------------------------------------------------------------


def test_success_is_on_record_in_five_steps():
    """DP-04, DP-05: opened, selected, sent, received, closed; each names conversation, channel, state and worker."""
    recorder = MemoryRecorder()
    with context_with({}) as context:
        result = dispatch(context, HELLO, recorder=recorder, ids=lambda: "c-1")

    opened, selected, sent, received, closed = recorder.operations()
    assert [each.kind for each in (opened, selected, sent, received, closed)] == [
        OperationKind.CONVERSATION_OPENED,
        OperationKind.WORKER_SELECTED,
        OperationKind.MESSAGE_SENT,
        OperationKind.MESSAGE_RECEIVED,
        OperationKind.CONVERSATION_CLOSED,
    ]
    assert {(each.conversation_id, each.channel_name) for each in recorder.operations()} == {("c-1", CHANNEL)}
    assert [each.worker_id for each in recorder.operations()] == [None, "worker-1", "worker-1", "worker-1", None]
    assert [each.state for each in recorder.operations()] == [
        ActivityState.SCHEDULED,
        ActivityState.STARTED,
        None,
        ActivityState.COMPLETED,
        ActivityState.COMPLETED,
    ]
    assert (received.result, closed.result) == (result, result)


def test_the_worker_is_watched_before_anything_is_sent_to_it():
    """DP-06: linked, the pool read and routed, recorded as selected, sent, recorded as sent."""
    log = []

    class Recorder(MemoryRecorder):
        def record(self, operation):
            log.append(str(operation.kind))
            super().record(operation)

    def noting(name, method):
        def note(*args):
            log.append(name)
            return method(*args)

        return note

    with (
        patch.object(Blueprint, "arm", noting("link", Blueprint.arm)),
        patch.object(RoundRobin, "pick", noting("route", RoundRobin.pick)),
        patch.object(ThreadExecutor, "submit", noting("send", ThreadExecutor.submit)),
        context_with({}) as context,
    ):
        dispatch(context, recorder=Recorder(), router=RoundRobin())

    assert log[:6] == ["link", "route", "conversation_opened", "worker_selected", "send", "message_sent"]


def test_a_reported_failure_is_final_and_no_other_worker_is_tried():
    """DP-07: the error names worker and cause; closed once; the failure is recorded as not to be retried."""
    recorder = MemoryRecorder()
    expected = pytest.raises(ActivityFailed, match=r"worker-1: ValueError: no")
    with context_with({"handler": _raise}, {}) as context, expected as raised:
        dispatch(context, recorder=recorder)

    assert isinstance(raised.value.__cause__, ValueError)
    assert kinds(recorder).count("worker_selected") == kinds(recorder).count("conversation_closed") == 1
    received = recorder.operations()[3]
    assert (received.state, received.retryable, received.message) == (ActivityState.FAILED, False, "no")


def test_a_worker_that_exits_is_recorded_and_the_same_request_goes_to_the_next():
    """DP-08: exited, failed, retry-eligible; then selected and sent again, in the same conversation."""
    recorder = MemoryRecorder()
    with context_with() as context:
        first, second = add_worker(context, None), add_worker(context, None)
        conversation = submit(context, recorder=recorder, name="c-1")
        envelope = fetch(first)

        crash(first.participant)
        again = fetch(second)
        second.respond(again, Completed(Payload(b"done")))
        assert data_of(conversation.result(PATIENCE_S)) == b"done"

    assert decode_request(envelope.payload) == decode_request(again.payload)
    assert kinds(recorder) == [
        "conversation_opened",
        "worker_selected",
        "message_sent",
        "worker_exited",
        "worker_selected",
        "message_sent",
        "message_received",
        "conversation_closed",
    ]
    exited = recorder.operations()[3]
    assert (exited.worker_id, exited.state, exited.retryable) == ("worker-1", ActivityState.FAILED, True)
    assert conversation.excluded == (("worker-1", 1),)


def test_nobody_to_choose_from_is_opened_and_closed_on_record():
    """DP-10: nothing was tried, and the error says `NoWorkersAvailable`."""
    recorder = MemoryRecorder()
    with context_with() as context, pytest.raises(DispatchFailed, match="NoWorkersAvailable"):
        dispatch(context, recorder=recorder)

    assert kinds(recorder) == ["conversation_opened", "conversation_closed"]


def test_when_all_have_crashed_the_last_crash_is_the_cause():
    """DP-10, ER-02: the error says that nobody is left, and why."""
    with context_with() as context:
        workers = [add_worker(context, None), add_worker(context, None)]
        conversation = submit(context, max_crashes=10)
        for worker in workers:
            fetch(worker)
            crash(worker.participant)
        error = error_of(conversation)

    assert isinstance(error, NoWorkersAvailable)
    assert isinstance(error.__cause__, WorkerCrashed)
    assert error.__cause__.worker_id == "worker-2"


def test_a_recorded_outcome_is_the_answer_and_nothing_else_is_touched():
    """DP-13: no pool, router, conversation or recording activity; a result and an error alike."""
    calls = []

    def fail(*_args, **_kwargs):
        calls.append(1)
        raise AssertionError

    recorder = MemoryRecorder()
    with context_with({"handler": echo}) as context:
        dispatch(context, HELLO, recorder=recorder, ids=lambda: "good")
    with context_with({"handler": _raise}) as context, pytest.raises(ActivityFailed) as first:
        dispatch(context, recorder=recorder, ids=lambda: "bad")
    before = recorder.operations()
    untouched = {"worker_pool": type("Pool", (), {"submit": fail, "channel": fail})(), "router": fail}

    def replay(conversation_id):
        parts = DispatchContext(**untouched, conversations=fail, recorder=recorder, ids=lambda: conversation_id)
        return dispatch_activity(NS, QUEUE, HELLO, parts)

    with patch.object(recorder, "record", fail):
        assert replay("good") == Completed(HELLO.input)
        with pytest.raises(ActivityFailed) as second:
            replay("bad")

    assert second.value == first.value
    assert calls == []
    assert recorder.operations() == before


def test_every_outcome_replays_to_itself():
    """Invariant 3: also one that is no failure of the activity, such as a cancel or a time-out."""
    recorder = MemoryRecorder()
    with context_with({"handler": None}) as context:
        conversation = submit(context, name="c-1", recorder=recorder)
        session_of(context).notice(orders.Cancel(conversation))
        error = error_of(conversation)
        with pytest.raises(type(error)) as replayed:
            dispatch(context, recorder=recorder, ids=lambda: "c-1")

    assert replayed.value == error
    assert recorder.operations()[-1].state is ActivityState.CANCELLED


RECORDED = ["conversation_opened", "worker_selected", "message_sent", "message_received"]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(3)], ids=["exception", "exit"])
@pytest.mark.parametrize("kind", RECORDED)
def test_a_recorder_that_fails_ends_the_dispatch_with_its_error(kind, error):
    """DP-14, DP-17, GR-05: nothing unrecorded is returned; it says if the activity ran; closed exactly once."""
    ran = []

    def note(request):
        ran.append(1)
        return echo(request)

    recorder = FailingRecorder(OperationKind(kind), error)
    with context_with({"handler": note}) as context:
        with pytest.raises(RecorderFailed) as raised:
            dispatch(context, HELLO, recorder=recorder)
        assert dispatch(context, HELLO).output == HELLO.input
        assert context.pool(CHANNEL)[0].in_flight == 0

    assert raised.value.__cause__ is error
    assert (raised.value.operation, raised.value.ran) == (kind, kind in {"message_sent", "message_received"})
    assert recorder.tried.count(OperationKind.CONVERSATION_CLOSED) == 1
    if not raised.value.ran:
        assert ran == [1]  # by the second dispatch


def test_a_good_result_stands_though_its_end_could_not_be_recorded(caplog):
    """DP-14: a failure to close does not discard a result; it is logged."""
    recorder = FailingRecorder(OperationKind.CONVERSATION_CLOSED)
    with context_with({}) as context:
        assert dispatch(context, HELLO, recorder=recorder).output == HELLO.input

    assert recorder.tried.count(OperationKind.CONVERSATION_CLOSED) == 1
    assert "could not be recorded" in caplog.text


def test_an_error_stands_though_its_end_could_not_be_recorded():
    """DP-14: the first error is kept, the other is attached."""
    recorder = FailingRecorder(OperationKind.CONVERSATION_CLOSED)
    with context_with({"handler": _raise}) as context, pytest.raises(ActivityFailed) as raised:
        dispatch(context, recorder=recorder)

    assert raised.value.__notes__ == ["its end could not be recorded: OSError: disk full"]


def test_a_record_that_cannot_be_read_is_an_error_of_the_recorder():
    """DP-17: the activity has not begun."""
    with context_with({}) as context:
        recorder = MemoryRecorder()
        with patch.object(recorder, "outcome", _raise), pytest.raises(RecorderFailed) as raised:
            dispatch(context, recorder=recorder)

    assert (raised.value.operation, raised.value.ran) == ("outcome", False)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_only_the_worker_that_has_the_request_can_answer_it():
    """DP-15: a foreign or a stale response is ignored, and counted."""
    with context_with() as context:
        first, second = add_worker(context, None), add_worker(context, None)
        conversation = submit(context)
        envelope = fetch(first)

        assert not second.respond(envelope, Completed(Payload(b"foreign")))
        crash(first.participant)
        again = fetch(second)
        assert not first.respond(envelope, Completed(Payload(b"stale")))
        assert second.respond(again, Completed(Payload(b"right")))
        assert not second.respond(again, Completed(Payload(b"twice")))

        assert data_of(conversation.result(PATIENCE_S)) == b"right"
        assert session_of(context).state.late_results == 1


def test_what_is_no_result_is_refused():
    """DP-15: a worker that answers nonsense is told so, and may answer again."""
    with context_with() as context:
        worker = add_worker(context, None)
        conversation = submit(context)
        envelope = fetch(worker)
        with pytest.raises(TypeError, match="a Completed or a Failed"):
            worker.respond(envelope, cast("Any", b"done"))
        worker.respond(envelope, Failed(ValueError("no"), retryable=True))

        assert isinstance(error_of(conversation), ActivityFailed)


def test_what_was_cancelled_before_it_was_fetched_is_never_seen_by_its_worker():
    """DP-14: the slot is free at once, and the next request is the one that is fetched."""
    with context_with() as context:
        worker = add_worker(context, None)
        first, second = submit(context, name="c-1"), submit(context, name="c-2")
        session_of(context).notice(orders.Cancel(first))

        assert decode_request(fetch(worker).payload).conversation_id == "c-2"
        assert worker.try_next() is None
        assert first.reply.done()
        assert not second.reply.done()


def test_a_fetched_request_that_is_cancelled_keeps_its_slot_until_its_worker_answers():
    """DP-18: the worker is still at it; a second activity would be one too many."""
    with context_with() as context:
        worker = add_worker(context, None)
        first, second = submit(context, name="c-1"), submit(context, name="c-2")
        envelope = fetch(worker)
        session_of(context).notice(orders.Cancel(first))
        assert worker.current_in_flight == 1
        assert worker.try_next() is None

        assert not worker.respond(envelope, Completed())
        assert decode_request(fetch(worker).payload).conversation_id == "c-2"
        assert second.phase.value == "running"


def test_one_answer_brings_the_worker_its_next_request():
    """DP-18: a worker that fetches its own work gets what waits, one slot's worth at a time."""
    with context_with() as context:
        worker = add_worker(context, None)
        conversations = [submit(context, name=f"c-{number}", plain=True) for number in range(5)]
        for number in range(5):
            envelope = fetch(worker)
            assert decode_request(envelope.payload).conversation_id == f"c-{number}"
            assert worker.try_next() is None
            assert worker.respond(envelope, Completed())

        assert [each.result(PATIENCE_S) for each in conversations] == [Completed()] * 5
        assert worker.current_in_flight == 0


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["start_to_close", "schedule_to_close"])
@pytest.mark.parametrize("handler", ["fetches", "thread"])
def test_a_worker_that_never_answers_is_not_waited_for(handler, limit):
    """TY-04: the error comes within the limit, and names it."""
    with stuck() as activity, context_with({"handler": None if handler == "fetches" else activity}) as context:
        begun_s = time.monotonic()
        with pytest.raises(ActivityTimedOut) as raised:
            dispatch(context, make_request("encode", **{limit: 0.1}))
        took_s = time.monotonic() - begun_s

        assert (raised.value.limit, raised.value.retryable) == (limit, True)
        assert raised.value.worker_id == "worker-1"
        assert took_s < 1.0
        assert raised.value.elapsed_s == pytest.approx(0.1, abs=0.5)
        activity.go_on.set()


def test_a_start_that_does_not_come_in_time_is_an_error():
    """TY-04: nobody serves it, or all slots are taken."""
    with stuck() as activity, context_with() as context:
        with pytest.raises(ActivityTimedOut) as raised:
            dispatch(context, make_request(schedule_to_start=0.05))
        assert raised.value.worker_id is None
        worker = add_worker(context, activity)
        submit(context)
        activity.wait_begun()
        with pytest.raises(ActivityTimedOut):
            dispatch(context, make_request(schedule_to_start=0.05))
        activity.go_on.set()
        assert worker.is_active


def test_a_request_that_may_wait_is_served_by_a_worker_that_comes_later():
    """TY-04: with `schedule_to_start`, nobody there is no error yet."""
    with context_with() as context:
        conversation = submit(context, schedule_to_start=PATIENCE_S)
        worker = add_worker(context)

        assert conversation.result(PATIENCE_S) == Completed(Payload())
        assert conversation.timers == ()
        assert worker.is_active


def test_limits_that_were_met_leave_no_timer_behind():
    """TY-04: neither of the request nor of its attempt; the pause of a retry is dropped with its request, too."""
    with context_with({}) as context:
        conversation = submit(context, schedule_to_close=99.0, start_to_close=99.0, schedule_to_start=99.0)
        conversation.result(PATIENCE_S)
        context.pool(CHANNEL)  # which is answered after the result has been booked

        assert conversation.timers == ()
        assert conversation.try_timer is None


def test_waiting_for_a_result_is_bounded_and_the_work_goes_on():
    """Invariant 7: the caller's own limit ends the wait and nothing else."""
    with stuck() as activity, context_with({"handler": activity}) as context:
        with pytest.raises(Timeout):
            dispatch(context, timeout=0.05)
        activity.wait_begun()
        assert context.pool(CHANNEL)[0].in_flight == 1
        activity.go_on.set()


# --- capacity ---------------------------------------------------------------------------------------------------------


def test_never_more_run_than_a_worker_takes_and_all_complete():
    """DP-18: five tasks, two slots: the peak is exactly two."""
    with stuck() as activity, context_with({"handler": activity, "slots": 2}) as context:
        conversations = [submit(context, name=f"c-{number}") for number in range(5)]
        activity.wait_begun(2)
        assert context.pool(CHANNEL)[0].in_flight == 2
        activity.go_on.set()

        assert [data_of(each.result(PATIENCE_S)) for each in conversations] == [b"done"] * 5
        assert activity.peak == 2


def test_many_callers_at_once_all_get_their_own_answers():
    """DP-14, DP-18: eight callers, two workers with two slots; nobody gets another's result."""

    def call(number):
        data = [f"{number}-{each}".encode() for each in range(100)]
        given = [data_of(dispatch(context, ActivityRequest("encode", Payload(each)))) for each in data]
        return given == data

    with context_with({"slots": 2}, {"slots": 2}) as context:
        assert at_once(8, call) == [True] * 8
        assert [row.in_flight for row in context.pool(CHANNEL)] == [0, 0]


def test_the_ids_of_open_conversations_are_unique():
    """CV-18: the second is refused, and its caller told so."""
    with stuck() as activity, context_with({"handler": activity}) as context:
        first = submit(context, name="same")
        with pytest.raises(DispatchFailed, match="'same'"):
            dispatch(context, ids=lambda: "same")
        activity.go_on.set()
        assert data_of(first.result(PATIENCE_S)) == b"done"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_what_is_open_when_the_context_closes_is_told():
    """WC-30, DP-14: running or waiting: `ShutDown`, a `ChannelLifecycleError`, for each, at once."""
    with stuck() as activity, context_with({"handler": activity}) as context:
        conversations = [submit(context, name=f"c-{number}") for number in range(3)]
        activity.wait_begun()
        closing = threading.Thread(target=context.close)
        closing.start()
        errors = [error_of(each) for each in conversations]
        activity.go_on.set()
        closing.join(PATIENCE_S)

    assert [type(each) for each in errors] == [ShutDown] * 3
    assert all(isinstance(each, ChannelLifecycleError) for each in errors)
    assert {each.channel_name for each in errors} == {CHANNEL}


def test_a_request_to_a_closed_channel_is_a_lifecycle_error():
    """ER-06: whether the channel has just closed, or the whole context."""
    with context_with({}) as context:
        channel = channel_of(context)
        conversation = make_conversation()
        conversation.channel = channel
        channel.close()
        channel.session.submit(conversation)

        assert isinstance(error_of(conversation), ChannelLifecycleError)
    with pytest.raises(ChannelLifecycleError, match="has been closed"):
        dispatch(context)


# --- actors ask -------------------------------------------------------------------------------------------------------


def _ask(context, message) -> Any:
    """Have a stock Pykka actor ask the channel, and give its answer."""
    channel = context.channel(NS, QUEUE)
    with ending(asker := Stock.start()):
        return asker.ask(lambda: channel.ref().ask(message, timeout=PATIENCE_S), timeout=PATIENCE_S)


def test_a_stock_actor_can_ask_a_channel():
    """GR-03, CD-02: the answer to a request is a response that names the worker."""
    with context_with({}) as context:
        response = _ask(context, DispatchRequest(conversation_id="c-1", request=HELLO))

    assert response == DispatchResponse(worker_id="worker-1", result=Completed(HELLO.input))


def test_a_failure_is_a_response_and_a_dispatch_that_fails_is_an_error():
    """CD-07: an activity that raised has a result; a request that nobody takes has none."""
    with context_with({"handler": _raise}) as context:
        response = _ask(context, DispatchRequest(conversation_id="c-1", request=ENCODE))
        with pytest.raises(NoWorkersAvailable):
            _ask(context, DispatchRequest(conversation_id="c-2", request=make_request("other")))

    assert isinstance(response.result, Failed)
    assert isinstance(response.result.error, ValueError)


def test_what_is_told_to_a_channel_never_ends_it():
    """GR-03, TY-03: a request for another queue, one of an id that is open, and mere noise."""
    done = threading.Event()

    def note(request):
        done.set()
        return Payload()

    with context_with({"handler": note}) as context:
        ref = context.channel(NS, QUEUE).ref()
        wrong = DispatchRequest(conversation_id="c-1", request=ActivityRequest("encode", task_queue="other"))
        with pytest.raises(ConfigError):
            ref.ask(wrong, timeout=PATIENCE_S)
        for message in (wrong, "noise", ("some", "tuple"), None):
            ref.tell(message)
        ref.tell(DispatchRequest(conversation_id="c-1", request=ENCODE, priority=3))

        assert done.wait(PATIENCE_S)
        assert ref.is_alive()
