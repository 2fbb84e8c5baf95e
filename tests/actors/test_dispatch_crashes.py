"""Workers that die under their work, for real: incarnations, vacancies, poison, blame, late answers, and routers."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from channelkit import wait_until
from contextkit import events_of
from dispatchkit import (
    CHANNEL,
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
    session_of,
    stuck,
    submit,
)
from linkkit import PATIENCE_S
from statekit import make_request

from limen.actors import _channel_state
from limen.actors import _orders as orders
from limen.actors._router_runner import router_runner
from limen.actors.channel import ChannelActor
from limen.actors.conversation import Conversation
from limen.actors.executors.thread import ThreadExecutor
from limen.actors.linking import kill
from limen.actors.recorder import MemoryRecorder
from limen.actors.router_loader import load_router
from limen.actors.routers import Affinity, ConsistentHash, RoundRobin
from limen.actors.runtime import runtime
from limen.messages.activities import ActivityRequest, Completed, Failed, WorkerCapacity
from limen.messages.dispatch_errors import (
    DispatchFailed,
    NoWorkersAvailable,
    PoisonActivity,
    RouterCrashed,
    RouterTimedOut,
    UnknownWorkerSelected,
)
from limen.messages.errors import ChannelLifecycleError, ConfigError, WorkerCrashed
from limen.messages.lifecycle import ExitReason
from limen.messages.operations import OperationKind
from limen.messages.payloads import Payload
from limen.messages.retry import Retry


@pytest.fixture(autouse=True)
def impatient_router_threads(monkeypatch):
    """Let the threads of routing functions end soon after they have nothing to do."""
    monkeypatch.setattr(router_runner(), "_idle_s", 0.01)


class Deadly:
    """An activity that ends its worker, the first so many times."""

    def __init__(self, times=1_000):
        self.calls = 0
        self._times = times

    def __call__(self, request):
        self.calls += 1
        if self.calls <= self._times:
            raise SystemExit(3)
        return echo(request)


def _deploy(context, router):
    context.channel(NS, QUEUE).session.ask(orders.Deploy(router))


# --- incarnations -----------------------------------------------------------------------------------------------------


def test_a_supervised_worker_comes_back_as_the_next_incarnation_and_does_the_work():
    """Design, links: each start is an incarnation with its own id; the request waits for it (DP-08)."""
    activity = Deadly(times=1)
    with context_with({"handler": activity, "restart": True}) as context:
        conversation = submit(context)

        assert conversation.result(PATIENCE_S) == Completed(Payload())
        assert [(each.worker_id, each.incarnation) for each in conversation.attempts] == [
            ("worker-1", 1),
            ("worker-1", 2),
        ]
        assert context.pool(CHANNEL)[0].incarnation == 2
        assert conversation.crashes == 1


def test_a_worker_that_is_not_supervised_does_not_come_back():
    """WC-30: its pool is empty, and the request has nobody to wait for."""
    with context_with({"handler": Deadly()}) as context:
        error = error_of(submit(context))

        assert isinstance(error, NoWorkersAvailable)
        assert isinstance(error.__cause__, WorkerCrashed)
        assert context.pool(CHANNEL) == []


def test_requests_wait_while_the_supervisor_is_at_it_and_end_when_it_gives_up():
    """DP-10: a worker that crashes too often is given up; what waited for it is told so, and its owner too."""
    with context_with() as context:
        worker = add_worker(context, Deadly(), restart=True)
        conversations = [submit(context, name=f"c-{number}", max_crashes=1_000) for number in range(3)]

        errors = [error_of(each) for each in conversations]
        assert {type(each) for each in errors} == {NoWorkersAvailable}
        assert worker.wait_closed(PATIENCE_S)
        assert worker.exit_reason == ExitReason.from_error(SystemExit(3))
        assert not worker.is_active
        assert isinstance(error_of(submit(context, name="late")), NoWorkersAvailable)


def test_a_request_that_kills_every_worker_is_poison():
    """DP-16, ER-02: after `max_crashes` it is given to no other; the last crash is chained under the error."""
    activity = Deadly()
    with context_with({"handler": activity, "restart": True}, {"handler": activity, "restart": True}) as context:
        error = error_of(submit(context, max_crashes=3))

        assert isinstance(error, PoisonActivity)
        assert error.crashes == activity.calls == 3
        assert isinstance(error.__cause__, WorkerCrashed)
        assert isinstance(error.__cause__.__cause__, SystemExit)


def test_the_others_on_a_worker_that_dies_are_not_to_blame():
    """Design, blame: the thread that raised is known, so one is charged, and the other merely moves."""
    with stuck() as activity, context_with() as context:

        def work(request):
            return Deadly()(request) if request.input == Payload(b"deadly") else activity(request)

        capacity = WorkerCapacity(2, ("encode",))
        worker = context.register_worker(NS, QUEUE, capacity, handlers={"encode": work}, restart=True)
        innocent = submit(context, name="innocent", max_crashes=1)
        activity.wait_begun()
        deadly = submit(context, _deadly())
        assert isinstance(error_of(deadly), PoisonActivity)
        activity.go_on.set()

        assert data_of(innocent.result(PATIENCE_S)) == b"done"
        assert innocent.crashes == 0
        assert not innocent.suspect
        assert worker.is_active


def _deadly():

    request = ActivityRequest("encode", Payload(b"deadly"))
    return Conversation("deadly", request, runtime().create_future(), max_crashes=1)


def test_suspects_are_run_again_one_by_one():
    """Design, blame: a worker that fetches its own work dies with two; neither is charged, and each runs alone."""
    with context_with() as context:
        first, second = add_worker(context, None, slots=2), add_worker(context, None, slots=2)
        conversations = [submit(context, name=f"c-{number}", max_crashes=1) for number in range(4)]
        assert [conversations[number].attempts[0].worker_id for number in range(4)] == ["worker-1", "worker-2"] * 2
        for worker in (first, second):
            fetch(worker)
            fetch(worker)

        crash(first.participant)
        suspects = [conversations[0], conversations[2]]
        assert [(each.crashes, each.suspect) for each in suspects] == [(0, True), (0, True)]
        assert second.try_next() is None
        for conversation in (conversations[1], conversations[3]):
            second.respond(_envelope(conversation), Completed())
        for conversation in suspects:
            envelope = fetch(second)
            assert envelope.message_id == f"{conversation.id}#2"
            assert second.current_in_flight == 1
            assert second.try_next() is None
            second.respond(envelope, Completed())

        assert [each.result(PATIENCE_S) for each in conversations] == [Completed()] * 4


def _envelope(conversation) -> Any:
    """Find the envelope again in which a request was fetched."""
    return SimpleNamespace(message_id=f"{conversation.id}#1")


def test_an_activity_that_outlives_its_worker_is_fenced_off():
    """DP-15: its worker was taken away, another one answers; what comes later is counted and goes nowhere."""
    with stuck() as activity, context_with() as context:
        first = add_worker(context, activity)
        conversation = submit(context)
        activity.wait_begun()
        second = add_worker(context)

        first.unregister()
        assert conversation.result(PATIENCE_S) == Completed(Payload())
        activity.go_on.set()
        state = session_of(context).state
        wait_until(lambda: state.late_results == 1)

        assert conversation.result(0) == Completed(Payload())
        assert conversation.crashes == 0
        assert second.is_active


def test_an_unregistered_worker_does_not_come_back():
    """WR-08: not even when its supervisor is restarting it at that moment; nobody waits for it."""
    with context_with() as context:
        for _ in range(20):
            worker = add_worker(context, restart=True)
            kill(worker.participant)
            worker.unregister()
            assert context.pool(CHANNEL) == []
        assert isinstance(error_of(submit(context)), NoWorkersAvailable)


def test_an_inbox_worker_that_is_restarted_can_be_read_again():
    """WR-05: its next incarnation has an inbox of its own, and the same registration reads it."""
    with context_with() as context:
        worker = add_worker(context, None, restart=True)
        conversation = submit(context)
        before = fetch(worker)
        crash(worker.participant)

        again = worker.next(PATIENCE_S) or fetch(worker)  # the old inbox may say first that it is over
        assert (before.message_id, again.message_id) == ("c-1#1", "c-1#2")
        assert worker.respond(again, Completed())
        assert conversation.result(PATIENCE_S) == Completed()


# --- the channel crashes ----------------------------------------------------------------------------------------------


def test_a_channel_that_crashes_loses_no_request():
    """CH-14: running, waiting and pausing alike; nobody is served twice, and slots are counted as before."""
    with stuck() as activity, context_with({"handler": activity}) as context:
        channel = channel_of(context)
        conversations = [submit(context, name=f"c-{number}") for number in range(3)]
        activity.wait_begun()
        for _ in range(3):
            kill(ref := channel.ref())
            assert ref.actor_stopped.wait(PATIENCE_S)
            assert [row.in_flight for row in context.pool(CHANNEL)] == [1]
        activity.go_on.set()

        assert [data_of(each.result(PATIENCE_S)) for each in conversations] == [b"done"] * 3
        assert [len(each.attempts) for each in conversations] == [1, 1, 1]


def test_a_channel_that_breaks_in_the_middle_of_a_decision_is_made_whole_again(monkeypatch):
    """CH-14: what had been decided and not been done is done by the next actor."""
    carry_out = ChannelActor._carry_out_one
    broken: list[object] = []

    def break_once(actor, decision):
        if not broken:
            broken.append(decision)
            raise MemoryError
        carry_out(actor, decision)

    with context_with() as context:
        first = add_worker(context, None, slots=3)
        conversations = [submit(context, name=f"c-{number}") for number in range(3)]
        second = add_worker(context, slots=3)
        monkeypatch.setattr(ChannelActor, "_carry_out_one", break_once)

        with pytest.raises(ChannelLifecycleError, match="could not be pruned"):
            first.unregister()  # it has decided on three hand-overs when it breaks

        assert [each.result(PATIENCE_S) for each in conversations] == [Completed(Payload())] * 3
        assert [len(each.attempts) for each in conversations] == [2, 2, 2]
        assert [row.worker_id for row in context.pool(CHANNEL)] == ["worker-2"]
        assert second.is_active


def test_a_channel_that_is_down_for_good_calls_off_what_it_had_handed_over():
    """CH-15, TY-04: its callers are told, their limits are dropped, and a worker does not fetch what nobody wants."""
    with context_with() as context:
        worker = add_worker(context, None)
        session = session_of(context)
        conversation = submit(context, start_to_close=99.0, schedule_to_close=99.0)
        while session.is_reachable:
            kill(ref := session.ref())
            assert ref.actor_stopped.wait(PATIENCE_S)

        assert isinstance(error_of(conversation), ChannelLifecycleError)
        assert (conversation.timers, conversation.try_timer) == ((), None)
        assert worker.try_next() is None


# --- what the shell does in passing -----------------------------------------------------------------------------------


def test_an_executor_that_fails_to_take_an_attempt_costs_that_attempt_only(monkeypatch):
    """DP-16: it is handed on, and after a number of times given up; the channel lives."""

    def fail(*_):
        raise OSError("no room")

    with context_with() as context:
        monkeypatch.setattr(_channel_state, "MAX_UNCHARGED", 5)
        with monkeypatch.context() as patches:
            patches.setattr(ThreadExecutor, "submit", fail)
            broken = add_worker(context)
            ref = session_of(context).ref()
            error = error_of(submit(context))
            broken.unregister()
        worker = add_worker(context)

        assert isinstance(error, DispatchFailed)
        assert "5 workers" in str(error)
        assert ref.is_alive()
        assert dispatch(context) == Completed(Payload())
        assert worker.is_active


def test_events_tell_the_story_in_order():
    """Design, one event stream: registered, dispatched, crashed, re-dispatched, finished; failed and unregistered."""
    with context_with() as context:
        first = add_worker(context, None)
        events = events_of(context, CHANNEL)
        second = add_worker(context, None)
        submit(context, name="c-1")
        fetch(first)
        crash(first.participant)
        second.respond(fetch(second), Completed())
        error = submit(context, name="c-2", retry=Retry(max_attempts=1))
        second.respond(fetch(second), _failed())
        error_of(error)
        cancelled = submit(context, name="c-3")
        session_of(context).notice(orders.Cancel(cancelled))
        error_of(cancelled)
        second.unregister()

    told = [(str(each.kind), each.worker_id, each.conversation_id) for each in events]
    assert told == [
        ("registered", "worker-2", None),
        ("dispatched", "worker-1", "c-1"),
        ("crashed", "worker-1", None),
        ("redispatched", "worker-2", "c-1"),
        ("finished", "worker-2", "c-1"),
        ("concluded", "worker-2", "c-1"),
        ("dispatched", "worker-2", "c-2"),
        ("failed", "worker-2", "c-2"),
        ("concluded", "worker-2", "c-2"),
        ("dispatched", "worker-2", "c-3"),
        ("cancelled", "worker-2", "c-3"),
        ("concluded", "worker-2", "c-3"),
        ("unregistered", "worker-2", None),
    ]


def _failed():

    return Failed(ValueError("no"))


def test_a_late_result_is_no_event():
    """Design, one event stream: what does not count is not told as finished."""
    with context_with() as context:
        worker = add_worker(context, None)
        events = events_of(context, CHANNEL)
        conversation = submit(context)
        envelope = fetch(worker)
        session_of(context).notice(orders.Cancel(conversation))
        error_of(conversation)
        worker.respond(envelope, Completed())
        context.pool(CHANNEL)

        assert [str(each.kind) for each in events] == ["dispatched", "cancelled", "concluded"]


def test_a_listener_that_raises_harms_nobody():
    """GR-05: not even `SystemExit` gets any further."""

    def fail(_):
        raise SystemExit

    with context_with({}) as context:
        session = session_of(context)
        session.ask(orders.Listen(fail))
        assert dispatch(context) == Completed(Payload())
        session.ask(orders.Listen(fail, on=False))
        assert session.listeners == ()


def test_priorities_and_retries_meet_real_slots():
    """TY-05, DP-18: a retry pauses and takes its place in line again; the urgent go first."""
    order, fails = [], [1]
    hold, begun = threading.Event(), threading.Event()

    def work(request):
        order.append(request.input.data)
        begun.set()
        hold.wait(PATIENCE_S)
        if request.input.data == b"fails" and fails:
            fails.clear()
            raise ValueError
        return echo(request)

    with context_with({"handler": work}) as context:
        conversations = [submit(context, _named(name, number)) for name, number in _LINE]
        assert begun.wait(PATIENCE_S)
        hold.set()
        for each in conversations:
            each.result(PATIENCE_S)

    assert order[0] == b"fails"
    assert order[1:4] == [b"urgent", b"first", b"second"]
    assert order.count(b"fails") == 2


_LINE = [("fails", 0), ("first", 0), ("second", 0), ("urgent", 5)]


def _named(name, priority):

    request = ActivityRequest("encode", Payload(name.encode()))
    retry = Retry(initial=0.001) if name == "fails" else None
    return Conversation(name, request, runtime().create_future(), priority=priority, retry=retry)


def test_a_recorder_that_fails_at_a_crash_ends_the_dispatch():
    """DP-14: the next worker gets nothing; its slot is free again."""
    recorder = FailingRecorder(OperationKind.WORKER_EXITED)
    with context_with() as context:
        first, second = add_worker(context, None), add_worker(context, None)
        conversation = submit(context, recorder=recorder)
        fetch(first)
        crash(first.participant)

        assert "worker_exited" in str(error_of(conversation))
        assert second.try_next() is None
        assert second.current_in_flight == 0
        assert recorder.tried.count(OperationKind.CONVERSATION_CLOSED) == 1


# --- routers ----------------------------------------------------------------------------------------------------------


def test_the_function_sees_three_fields_and_copies_of_the_views():
    """DP-11, RT-04: changing what it is given changes nothing."""
    seen = []

    def choose(message, views):
        seen.append((dict(message.items()), [str(view.consumer) for view in views]))
        return views[-1].consumer

    with context_with({}, {}) as context:
        _deploy(context, load_router(choose))
        conversation = submit(context)
        conversation.result(PATIENCE_S)

        assert conversation.attempts[0].worker_id == "worker-2"
    fields = {"activity_type": "encode", "task_queue": QUEUE, "input_content_type": ""}
    assert seen == [(fields, ["worker-1", "worker-2"])]


def test_the_function_is_asked_for_every_attempt_and_not_when_workers_come_and_go():
    """DP-08, DP-09: the crashed one is not on offer again; one that came meanwhile is."""
    seen = []

    def choose(_, views):
        seen.append([str(view.consumer) for view in views])
        return views[0].consumer

    with context_with() as context:
        first = add_worker(context, None)
        _deploy(context, load_router(choose))
        conversation = submit(context)
        fetch(first)
        second = add_worker(context, None)
        add_worker(context, None).unregister()
        assert seen == [["worker-1"]]
        crash(first.participant)
        second.respond(fetch(second), Completed())
        conversation.result(PATIENCE_S)

    assert seen == [["worker-1"], ["worker-2"]]


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        (lambda *_: 1 / 0, RouterCrashed, "ZeroDivisionError"),
        (lambda *_: "ghost", UnknownWorkerSelected, "'ghost'"),
        (lambda *_: None, NoWorkersAvailable, "chose nobody"),
    ],
)
def test_a_function_that_gives_no_worker_fails_its_request_only(function, kind, text):
    """DP-10, DP-11, DP-12: raised, an unknown id, or nobody."""
    with context_with({}) as context:
        _deploy(context, load_router(function))
        error = error_of(submit(context))
        _deploy(context, RoundRobin())

        assert isinstance(error, kind)
        assert text in str(error)
        assert error.channel_name == CHANNEL
        assert dispatch(context) == Completed(Payload())


def test_a_function_that_stalls_is_timed_out():
    """DP-11, RT-05: the request fails with the function's time-out; another channel is served meanwhile."""
    go_on = threading.Event()

    def stall(*_):
        go_on.wait(PATIENCE_S)

    with context_with({}) as context:
        other = context.register_worker(NS, "other", WorkerCapacity(1), handlers={"encode": echo})
        _deploy(context, load_router(stall, limit_s=0.1))
        conversation = submit(context)
        assert context.channel(NS, "other").session.routing_slot.active_hash == "limen.least-loaded"
        error = error_of(conversation)
        go_on.set()
        wait_until(lambda: router_runner().counts().stuck == 0)

        assert isinstance(error, RouterTimedOut)
        assert other.is_active


def test_deploying_while_a_call_is_blocked_lets_it_finish():
    """RT-08: the running call finishes on the old function, the next request uses the new router."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_, views):
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return views[-1].consumer

    with context_with({}, {}) as context:
        _deploy(context, load_router(slow))
        old = submit(context, name="old")
        assert begun.wait(PATIENCE_S)
        _deploy(context, RoundRobin())
        new = submit(context, name="new")
        new.result(PATIENCE_S)
        go_on.set()
        old.result(PATIENCE_S)

        assert [old.attempts[0].worker_id, new.attempts[0].worker_id] == ["worker-2", "worker-1"]


def test_a_router_that_ignores_exclusions_does_not_go_on_for_ever():
    """DP-16: a bad router and a worker that crashes each time: poison, in the end."""
    with context_with({"handler": Deadly(), "restart": True}) as context:
        _deploy(context, load_router(lambda *_: "worker-1"))

        assert isinstance(error_of(submit(context)), PoisonActivity)


@pytest.mark.parametrize("router", [RoundRobin, ConsistentHash, Affinity])
def test_the_shipped_routers_work_end_to_end(router):
    """RT-08, design: requests with one key meet at one worker; the others are spread."""
    with context_with({"slots": 50}, {"slots": 50}, {"slots": 50}) as context:
        _deploy(context, router())
        keyed = [submit(context, name=f"k-{number}", route_by="k") for number in range(6)]
        free = [submit(context, name=f"f-{number}") for number in range(6)]
        for each in (*keyed, *free):
            each.result(PATIENCE_S)

        homes = {each.attempts[0].worker_id for each in keyed}
        assert len(homes) == (3 if router is RoundRobin else 1)


def test_what_is_no_router_is_refused():
    """RT-07: anything that merely looks like one would run on the channel's own turn."""
    with context_with({}) as context:
        for wrong in (object(), lambda *_: None, type("Mine", (), {"pick": lambda *_: None, "hash": "mine"})()):
            with pytest.raises(ConfigError, match="router"):
                _deploy(context, wrong)
        assert dispatch(context) == Completed(Payload())


def test_a_router_for_one_dispatch_is_deployed_once():
    """DP-02: the router of a dispatch context stays on the channel, and keeps what it knows."""
    router = RoundRobin()
    with context_with({}, {}) as context:
        recorder = MemoryRecorder()
        for _ in range(3):
            dispatch(context, make_request("encode"), router=router, recorder=recorder)

        assert session_of(context).routing_slot.active is router
    chosen = [each.worker_id for each in recorder.operations() if each.kind is OperationKind.WORKER_SELECTED]
    assert chosen == ["worker-1", "worker-2", "worker-1"]
