"""Promises of a registration to whoever holds it: what it shows, how it is fed, and how it ends, once, on any path."""

import asyncio
import gc
import re
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from channelkit import WAIT_S, Gate, gate, later, let_channels_be_told_functions, wait_until
from contextkit import (
    LEAVING,
    NAME,
    ONE,
    QUEUE,
    THREE,
    Step,
    at_once,
    body,
    events_of,
    failing,
    instead,
    linked_actor,
    listed,
    number_in,
    recorded,
    root_of,
    stock_actor,
)
from linkkit import raising
from pykka import ActorDeadError

from limen.actors import DispatchContext, WorkerContext, dispatch_activity
from limen.actors.linking import kill
from limen.actors.subscription import Inbox
from limen.actors.worker import WorkerActor
from limen.messages.activities import ActivityRequest, Completed, Failed, WorkerCapacity
from limen.messages.bus_errors import DeliveryFailed
from limen.messages.errors import ChannelLifecycleError, InvalidCapacity
from limen.messages.events import EventKind
from limen.messages.payloads import Payload

INJECTED = "injected for this test"
AT_ONCE_S = 1.0
"""Far more than something that waits for nobody takes, also on a busy machine; far less than a lost reply."""


@pytest.fixture
def context():
    """Give a context that is closed after the test."""
    with WorkerContext() as made:
        yield made


@pytest.fixture
def registration(context):
    """Give a registered worker with three slots that fetches its own work."""
    return context.register_worker(*QUEUE, THREE)


def _publish(context: WorkerContext, *numbers: int) -> None:
    for number in numbers:
        context.channel(*QUEUE).publish(body(number))


def _state(context: WorkerContext, at: int = 0) -> Any:
    return context.workers_for_channel(NAME)[at].consumer_state


def _crash(registration: Any) -> None:
    kill(registration.participant)
    assert registration.wait_closed(WAIT_S)


# --- what it shows ----------------------------------------------------------------------------------------------------


def test_it_shows_what_it_was_made_of_and_lets_none_of_it_be_changed(context):
    """WR-01: id, channel, participant and capacity as given; an assignment fails."""
    with linked_actor() as participant:
        given = context.register_worker_with_participant(*QUEUE, "mine", participant.it, THREE)

        assert (given.worker_id, given.channel_name) == ("mine", NAME)
        assert given.participant is participant.it
        assert given.capacity is THREE
        for name in ("worker_id", "channel_name", "participant", "capacity", "is_active", "anything else"):
            with pytest.raises(AttributeError):
                setattr(given, name, "changed")


def test_the_representation_shows_id_channel_and_activity_only(registration):
    """WR-14: before and after the end; nothing of capacity, participant or inbox."""
    before = repr(registration)
    registration.unregister()

    assert re.fullmatch(r"<WorkerRegistration worker-1 on aion\.dispatch\.ns\.q active=True>", before)
    assert re.fullmatch(r"<WorkerRegistration worker-1 on aion\.dispatch\.ns\.q active=False>", repr(registration))


# --- slots ------------------------------------------------------------------------------------------------------------


def test_slots_set_by_hand_are_seen_in_the_next_snapshot(context, registration):
    """WR-02: 0 at first, then 3 of 3; 5 of 3 are kept, with nothing free; -1 is refused and changes nothing."""
    shown = [(registration.current_in_flight, _state(context).available_capacity)]
    for slots in (3, 5):
        registration.set_in_flight(slots)
        shown.append((_state(context).current_in_flight, _state(context).available_capacity))
    with pytest.raises(InvalidCapacity):
        registration.set_in_flight(-1)

    assert shown == [(0, 3), (3, 0), (5, 0)]
    assert registration.current_in_flight == _state(context).current_in_flight == 5


@pytest.mark.parametrize("slots", [-1, 1.5, "2", None, True])
def test_what_is_no_number_of_slots_is_refused(registration, slots):
    """WR-02: only whole numbers from 0 up."""
    with pytest.raises(InvalidCapacity):
        registration.set_in_flight(slots)

    assert registration.current_in_flight == 0


@pytest.mark.parametrize("slots", [8, 5])
def test_concurrent_changes_of_slots_are_not_lost(context, slots):
    """WR-03: eight threads take and give back a slot 1,000 times each: 0 at the end, never above the maximum.

    With a slot for each of them, everyone gets one each time: what was given back is free at once.
    """
    registration = context.register_worker(*QUEUE, WorkerCapacity(slots))
    seen: list[set[int]] = [set() for _ in range(8)]

    def take_and_give(number: int) -> int:
        taken = 0
        for _ in range(1_000):
            if registration.acquire():
                taken += 1
                seen[number].add(registration.current_in_flight)
                registration.release()
        return taken

    taken = at_once(8, take_and_give)

    assert registration.current_in_flight == _state(context).current_in_flight == 0
    assert max(set().union(*seen)) <= slots
    assert slots < 8 or taken == [1_000] * 8


def test_as_many_slots_as_there_are_can_be_taken(context, registration):
    """WR-03: of eight threads that want one and keep it, three get one; so does a fourth once one is back."""
    taken = at_once(8, lambda _: registration.acquire())
    full = (registration.current_in_flight, registration.acquire())
    registration.release()

    assert sorted(taken) == [False] * 5 + [True] * 3
    assert full == (3, False)
    assert registration.acquire()
    assert _state(context).available_capacity == 0


def test_a_slot_is_held_for_the_length_of_a_block(context, registration):
    """WR-03: also if the block fails; where none is free the block is told so and gives none back."""
    registration.set_in_flight(2)
    with registration.slot() as taken, registration.slot() as another:
        inside = (taken, another, registration.current_in_flight)
    with pytest.raises(RuntimeError, match=INJECTED), registration.slot():
        raise RuntimeError(INJECTED)

    assert inside == (True, False, 3)
    assert registration.current_in_flight == _state(context).current_in_flight == 2


def test_a_dispatch_holds_a_slot_while_it_runs(context):
    """WR-03: reserved before the activity begins, released when it has ended, well or not."""
    with gate() as running:

        def work(request: ActivityRequest) -> Payload:
            running()
            if request.input == Payload(b"fail"):
                raise ValueError(INJECTED)
            return Payload(b"done")

        registration = context.register_worker(*QUEUE, THREE, handlers={"work": work})
        outcomes = [_dispatching(context, given) for given in (b"", b"fail")]
        for _ in outcomes:
            running.wait_entered()
        during = (registration.current_in_flight, _state(context).available_capacity)
        running.opened.set()
        succeeded, failed = (each.get(timeout=WAIT_S) for each in outcomes)

    assert during == (2, 1)
    assert succeeded.output == Payload(b"done")
    assert isinstance(failed, Exception)
    wait_until(lambda: registration.current_in_flight == 0)


def _dispatching(context: WorkerContext, given: bytes = b"") -> Any:
    """Dispatch on a thread of its own; give the future of the result, or of the error."""

    def dispatch() -> Any:
        try:
            return dispatch_activity(
                *QUEUE, ActivityRequest("work", Payload(given)), DispatchContext(worker_pool=context), timeout=WAIT_S
            )
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    return later(dispatch)


# --- what it receives -------------------------------------------------------------------------------------------------


def test_messages_are_taken_in_publish_order_and_none_is_no_message(context, registration):
    """WR-04: `try_next` gives the next, or `None`."""
    empty = registration.try_next()
    _publish(context, *range(100))

    assert empty is None
    assert [number_in(registration.try_next()) for _ in range(100)] == list(range(100))
    assert registration.try_next() is None


def test_taking_the_next_never_waits_for_the_channel(context, registration, monkeypatch):
    """WR-04: within 100 ms, with messages or without, also while the channel is busy with something else."""
    let_channels_be_told_functions(monkeypatch)
    _publish(context, 1)
    with gate() as busy:
        held = later(lambda: context.channel(*QUEUE).session.ask(busy))
        busy.wait_entered()
        begun_s = time.monotonic()
        taken = [number_in(registration.try_next()), registration.try_next()]
        took_s = time.monotonic() - begun_s
        busy.opened.set()
        held.get(timeout=WAIT_S)

    assert taken == [1, None]
    assert took_s < 0.1


def test_waiting_for_the_next_is_bounded_and_ends_with_the_message(context, registration):
    """WR-04: `next(timeout)` gives `None` when the time is up, and what is published meanwhile when it is not."""
    begun_s = time.monotonic()
    in_vain = registration.next(timeout=0.02)
    took_s = time.monotonic() - begun_s
    waiting = later(lambda: registration.next(timeout=WAIT_S))
    wait_until(lambda: bool(registration._inbox._readers))
    _publish(context, 7)

    assert in_vain is None
    assert 0.02 <= took_s < WAIT_S
    assert number_in(waiting.get(timeout=WAIT_S)) == 7


def test_an_event_loop_can_wait_for_the_next(context, registration):
    """WR-04: `anext` blocks no loop: the message is published by a coroutine of the same one."""

    async def publish() -> None:
        _publish(context, 3)

    async def both() -> Any:
        envelope, _ = await asyncio.gather(registration.anext(), publish())
        return envelope

    assert number_in(asyncio.run(asyncio.wait_for(both(), WAIT_S))) == 3


@pytest.mark.parametrize("how", ["try_next", "next", "anext"])
def test_an_inbox_that_fails_is_a_lifecycle_error(registration, how):
    """WR-04, ER-07: with the channel's name and the text of the cause, chained."""
    error = OSError(5, INJECTED)
    inbox_fails = failing(Step(Inbox, "try_take"), error)

    def take() -> Any:
        return asyncio.run(registration.anext()) if how == "anext" else getattr(registration, how)()

    with inbox_fails, pytest.raises(ChannelLifecycleError, match=INJECTED) as caught:
        take()

    assert (caught.value.channel_name, caught.value.__cause__) == (NAME, error)


ENDS: dict[str, Any] = {
    "killed": _crash,
    "stopped": lambda registration: registration.participant.stop(),
    "unregistered": lambda registration: registration.unregister(),
}


@pytest.mark.parametrize("how", ENDS)
def test_after_the_end_there_is_nothing_to_take_and_one_can_tell_why(context, registration, how):
    """WR-05: `None`, not an error; `is_active`, `closed` and `exit_reason` tell empty from gone."""
    _publish(context, 1, 2)
    before = (registration.is_active, registration.closed.is_set(), registration.exit_reason)
    ENDS[how](registration)
    assert registration.closed.wait(WAIT_S)

    wait_until(lambda: registration._inbox.closed)
    assert before == (True, False, None)
    assert registration.is_active is False
    assert registration.exit_reason.kind == ("killed" if how == "killed" else "normal")
    assert registration.try_next() is None
    assert registration.next(timeout=WAIT_S) is None
    assert asyncio.run(registration.anext()) is None


@pytest.mark.parametrize("how", ENDS)
def test_whoever_waits_for_the_next_is_woken_by_the_end(registration, how):
    """WR-05: a thread in `next()` without a limit gets `None` at once."""
    waiting = later(registration.next)
    wait_until(lambda: bool(registration._inbox._readers))
    ENDS[how](registration)

    assert waiting.get(timeout=WAIT_S) is None


def test_a_publish_reaches_all_and_a_dispatch_reaches_one(context, registration):
    """WR-06: broadcast and hand-over are different verbs."""
    other = context.register_worker(*QUEUE, THREE)
    _publish(context, 1)
    published = [number_in(each.try_next()) for each in (registration, other)]
    outcome = _dispatching(context, b"2")
    wait_until(lambda: registration._inbox.depth + other._inbox.depth > 0)
    envelopes = [each.try_next() for each in (registration, other)]
    (chosen,) = [each for each, envelope in zip((registration, other), envelopes, strict=True) if envelope is not None]
    (envelope,) = [each for each in envelopes if each is not None]
    taken = chosen.respond(envelope, Completed(Payload(b"answer")))

    assert published == [1, 1]
    assert number_in(envelope) == 2
    assert taken
    assert outcome.get(timeout=WAIT_S) == Completed(Payload(b"answer"))


def test_only_what_was_dispatched_can_be_answered(context, registration):
    """WR-06: an envelope that was published to all is nobody's to answer, nor is one that was answered already."""
    _publish(context, 1)
    published = registration.try_next()
    outcome = _dispatching(context)
    dispatched = registration.next(timeout=WAIT_S)
    answers = [
        registration.respond(published, Completed()),
        registration.respond(dispatched, Failed(ValueError(INJECTED))),
        registration.respond(dispatched, Completed()),
    ]

    assert answers == [False, True, False]
    assert isinstance(outcome.get(timeout=WAIT_S), Exception)


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_leaving_takes_its_steps_in_order(registration):
    """WR-07: inactive, out of the pool, out of the fan-out, unwatched; the participant last."""
    with recorded(LEAVING) as order:
        registration.unregister()

    assert order == list(LEAVING)


def test_a_worker_is_inactive_before_anything_else_is_undone(context, registration):
    """WR-07: while the pruning is held up no snapshot lists it any more, and its participant is alive."""
    with gate() as pruning:
        with instead(LEAVING["prune"], lambda carry_on, *_: pruning() and carry_on()):
            leaving = later(registration.unregister)
            pruning.wait_entered()
            meanwhile = (listed(context), registration.participant.is_alive())
        pruning.opened.set()
        leaving.get(timeout=WAIT_S)

    assert meanwhile == ([], True)


def test_when_it_returns_the_worker_is_gone_and_the_others_are_untouched(context):
    """WR-08: of three the middle one leaves: not listed, not subscribed, unwatched, stopped; [0, 2] stay."""
    workers = [context.register_worker(*QUEUE, ONE) for _ in range(3)]
    channel = context.channel(*QUEUE)
    workers[1].unregister()

    assert listed(context) == ["worker-1", "worker-3"]
    assert channel.subscriber_count == 2
    assert workers[1]._blueprint.entry.watch.cancelled
    assert not workers[1].participant.is_alive()
    assert [each.is_active for each in workers] == [True, False, True]
    assert workers[1].closed.is_set()


def test_a_given_participant_is_watched_no_more_when_its_worker_has_left(context):
    """WR-08: the watch is gone from the participant, and its later end is nothing to us."""
    with linked_actor() as participant:
        watchers = participant.it._actor_weakref()._life._watchers
        given = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        during = len(watchers)
        given.unregister()
        after = len(watchers)
        participant.it.stop()

        assert (during, after) == (1, 0)
        assert given.exit_reason.is_normal


@pytest.mark.parametrize("error", [DeliveryFailed(INJECTED), RuntimeError(INJECTED)], ids=["typed", "raw"])
def test_if_the_pool_cannot_be_pruned_the_rest_is_done_all_the_same(context, registration, error):
    """WR-09: the error is raised, typed; unsubscribed, unwatched and stopped it is nevertheless."""
    with failing(LEAVING["prune"], error), pytest.raises(ChannelLifecycleError, match=INJECTED) as caught:
        registration.unregister()

    assert caught.value.channel_name == NAME
    assert not registration.participant.is_alive()
    assert not registration.is_active
    assert registration._blueprint.entry.watch.cancelled
    assert listed(context) == []
    assert context.channel(*QUEUE).subscriber_count == 0


def test_a_supervisor_that_fails_does_not_spoil_the_leaving(registration, monkeypatch):
    """WR-09: no raw error comes out, and the worker is gone for good."""
    supervisor = registration._blueprint.supervisor._actor_weakref()
    with monkeypatch.context() as patched:
        patched.setattr(supervisor, "on_receive", raising(RuntimeError(INJECTED)))
        registration.unregister()

    assert registration.closed.is_set()


def test_leaving_again_does_nothing(context, registration):
    """WR-10: nor after a crash, nor after the context was closed, nor from many threads at the same time."""
    crashed, closed = context.register_worker(*QUEUE, ONE), context.register_worker(*QUEUE, ONE)
    _crash(crashed)
    crashed.unregister()
    at_once(8, lambda _: registration.unregister())
    registration.unregister()
    context.close()
    closed.unregister()
    closed.unregister()

    assert crashed.exit_reason.kind == "killed"
    assert registration.exit_reason.is_normal


def _all_at_once(*sides: Callable[[], object]) -> None:
    at_once(len(sides), lambda number: sides[number]())


RACING_ENDS: dict[str, Any] = {
    "kill": kill,
    "stop": lambda ref: ref.stop(block=False),
    "crash": lambda ref: ref.tell(raising(SystemExit())),
}


def _end_if_alive(end: Any, ref: Any) -> None:
    with suppress(ActorDeadError):  # it was quicker
        end(ref)


@pytest.mark.parametrize("end", ["kill", *(pytest.param(each, marks=pytest.mark.slow) for each in ("stop", "crash"))])
@pytest.mark.parametrize("owned", [True, False], ids=["owned", "given"])
def test_leaving_may_race_a_crash(context, owned, end):
    """WR-10: 200 races: no exception, one end, nothing listed, nobody subscribed."""
    watcher = context.channel(*QUEUE)
    for _ in range(200):
        with linked_actor() as participant:
            registration = (
                context.register_worker(*QUEUE, ONE)
                if owned
                else context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
            )
            _all_at_once(registration.unregister, partial(_end_if_alive, RACING_ENDS[end], registration.participant))

            assert registration.closed.is_set()
            assert registration.exit_reason is not None
            assert listed(context) == []
    wait_until(lambda: watcher.subscriber_count == 0)


def test_leaving_may_race_the_end_of_the_context():
    """WR-10: 50 races of a close and four that leave: no exception, and all are gone."""
    for _ in range(50):
        context = WorkerContext()
        registrations = [context.register_worker(*QUEUE, ONE) for _ in range(4)]
        _all_at_once(context.close, *(each.unregister for each in registrations))

        assert [each.closed.is_set() for each in registrations] == [True] * 4
        assert not any(each.participant.is_alive() for each in registrations)


def test_leaving_a_block_unregisters_and_logs_what_goes_wrong(context, caplog):
    """WR-11: errors of the leaving are logged, not raised; the block's own error passes."""
    with context.register_worker(*QUEUE, ONE) as quiet:
        assert listed(context) == [quiet.worker_id]
    with failing(LEAVING["prune"], DeliveryFailed(INJECTED)):
        with context.register_worker(*QUEUE, ONE) as loud:
            assert listed(context) == [loud.worker_id]
        with pytest.raises(KeyError), context.register_worker(*QUEUE, ONE):
            raise KeyError

    assert listed(context) == []
    assert not quiet.is_active
    assert caplog.text.count("could not be unregistered in good order") == 2
    assert INJECTED in caplog.text


def test_what_goes_wrong_in_a_finaliser_is_swallowed(context):
    """WR-11: a registration is dropped while the pool is not usable: nothing is raised, not even as a warning."""
    registration = context.register_worker(*QUEUE, ONE)
    ended, participant = registration.closed, registration.participant
    kill(root_of(context))
    assert root_of(context).actor_stopped.wait(WAIT_S)
    del registration
    gc.collect()
    context.close()

    assert ended.is_set()
    assert not participant.is_alive()


@pytest.mark.parametrize("how", ["unregister", "del"])
@pytest.mark.parametrize("kind", ["owned", "linked", "stock"])
def test_a_participant_may_give_up_its_own_registration(context, monkeypatch, kind, how):
    """WR-11, GR-07: `unregister` and `del` inside the participant's own handler return at once, and all ends."""
    monkeypatch.setattr(WorkerActor, "on_receive", lambda _, message: message())
    participants = {"linked": linked_actor, "stock": stock_actor, "owned": linked_actor}
    with participants[kind]() as participant:
        held = [
            context.register_worker(*QUEUE, ONE)
            if kind == "owned"
            else context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        ]
        ref, closed = held[0].participant, held[0].closed
        took_s: list[float] = []

        def give_up(*_: Any) -> None:
            begun_s = time.monotonic()
            if how == "unregister":
                held[0].unregister()
            held.clear()
            gc.collect()
            took_s.append(time.monotonic() - begun_s)

        ref.tell(give_up)
        assert closed.wait(WAIT_S)
        wait_until(lambda: bool(took_s))

        assert took_s[0] < AT_ONCE_S
        assert listed(context) == []
        assert participant.is_alive()
        assert kind != "owned" or ref.actor_stopped.wait(WAIT_S)
    wait_until(lambda: context.channel(*QUEUE).subscriber_count == 0)


def test_an_activity_may_unregister_the_worker_that_runs_it(context):
    """WR-11, GR-07: it returns while the activity still runs; what else it does is of no more use."""
    held: list[Any] = []
    took_s: list[float] = []

    def work(_: ActivityRequest) -> Payload:
        begun_s = time.monotonic()
        held[0].unregister()
        took_s.append(time.monotonic() - begun_s)
        return Payload()

    held.append(context.register_worker(*QUEUE, ONE, handlers={"work": work}))
    outcome = _dispatching(context)

    assert held[0].wait_closed(WAIT_S)
    assert isinstance(outcome.get(timeout=WAIT_S), Exception | Completed)
    wait_until(lambda: bool(took_s))
    assert took_s[0] < AT_ONCE_S


def test_a_finaliser_waits_for_nobody(context, monkeypatch):
    """WR-11: dropped while its channel is busy, a registration is gone at once, and out of the pool as well."""
    let_channels_be_told_functions(monkeypatch)
    registration = context.register_worker(*QUEUE, ONE)
    entry = registration._blueprint.entry
    with gate() as busy:
        held = later(lambda: context.channel(*QUEUE).session.ask(busy))
        busy.wait_entered()
        begun_s = time.monotonic()
        del registration
        gc.collect()
        took_s = time.monotonic() - begun_s
        active = entry.active
        busy.opened.set()
        held.get(timeout=WAIT_S)

    assert took_s < AT_ONCE_S
    assert not active
    assert listed(context) == []


def test_unread_messages_are_discarded_and_later_ones_are_not_received(context, registration):
    """WR-12: of three published one is read; the other two are gone with the subscription."""
    _publish(context, 1, 2, 3)
    read = number_in(registration.try_next())
    registration.unregister()
    delivered = context.channel(*QUEUE).publish_with_delivery(body(4))

    assert read == 1
    assert registration.try_next() is None
    assert int(delivered) == 0


def test_a_worker_may_finish_what_it_has_before_it_leaves(context):
    """WR-12: with `drain` it is given nothing new, what it runs is waited for, and counts."""
    with gate() as running:

        def work(request: ActivityRequest) -> Payload:
            running()
            return Payload(request.input.data if isinstance(request.input, Payload) else b"")

        registration = context.register_worker(*QUEUE, ONE, handlers={"work": work})
        outcome = _dispatching(context, b"mine")
        running.wait_entered()
        leaving = later(lambda: registration.unregister(drain=WAIT_S))
        entry = registration._blueprint.entry
        wait_until(lambda: entry.draining)
        meanwhile = (registration.is_active, registration.participant.is_alive())
        running.opened.set()
        leaving.get(timeout=WAIT_S)

    assert meanwhile == (True, True)
    assert outcome.get(timeout=WAIT_S) == Completed(Payload(b"mine"))
    assert not registration.is_active


def test_a_drain_is_bounded(context):
    """WR-12: what has not ended when the time is up is given up, and the worker leaves."""
    with gate() as running:
        registration = context.register_worker(*QUEUE, ONE, handlers={"work": _held_by(running)})
        outcome = _dispatching(context)
        running.wait_entered()
        registration.unregister(drain=0.05)
        gone = not registration.is_active
        running.opened.set()

    assert gone
    assert isinstance(outcome.get(timeout=WAIT_S), Exception)


def _held_by(running: Gate) -> Any:
    def work(_: ActivityRequest) -> Payload:
        running()
        return Payload()

    return work


@pytest.mark.slow
def test_a_script_that_forgets_to_unregister_ends(run_python):
    """WR-11, GR-08: registrations of every kind, held to the end: no hang, no word on stderr."""
    done = run_python("-c", FORGETFUL, timeout_s=30)

    assert done.stdout == "4\n"
    assert done.returncode == 0


FORGETFUL = """
from limen.actors import WorkerContext, register_worker
from limen.messages.activities import Completed, WorkerCapacity
context, one, work = WorkerContext(), WorkerCapacity(1), {"work": lambda _: Completed()}
held = [
    register_worker("ns", "q", one),
    context.register_worker("ns", "q", one),
    context.register_worker("ns", "q", one, handlers=work),
    context.register_worker("ns", "q", one, handlers=work, executor="asyncio", restart=True),
]
print(len(held))
"""


# --- who keeps whom ---------------------------------------------------------------------------------------------------


def test_a_registration_keeps_its_context_alive():
    """WR-13: the context's handle is gone, and the worker works on; only with the registration all ends."""
    context = WorkerContext()
    registration = context.register_worker(*QUEUE, THREE)
    root, channel = root_of(context), context.channel(*QUEUE)
    del context
    gc.collect()
    channel.publish(body(1))
    registration.set_in_flight(2)
    alive = (registration.is_active, root.is_alive(), registration.current_in_flight)
    read = number_in(registration.try_next())
    core: Any = registration._registrar
    through_it = WorkerContext(_core=core)
    another = through_it.register_worker(*QUEUE, ONE)
    rows = listed(through_it)
    del registration, another, through_it, core, channel
    gc.collect()

    assert alive == (True, True, 2)
    assert read == 1
    assert rows == ["worker-1", "worker-2"]
    assert root.actor_stopped.wait(WAIT_S)


def test_nothing_keeps_a_registration_alive(context):
    """WR-13, LM-10: not the context, the channel, the watch or the supervisor; no collection is needed."""
    with linked_actor() as participant:
        held = [
            context.register_worker(*QUEUE, ONE),
            context.register_worker(*QUEUE, ONE, restart=True),
            context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE),
            context.register_worker(*QUEUE, ONE, handlers={"work": _held_by(Gate())}),
        ]
        _publish(context, 1)
        all_listed = len(listed(context))
        refs = [weakref.ref(each) for each in held]
        held.clear()

        assert all_listed == 4
        assert [each() for each in refs] == [None] * 4
        assert listed(context) == []
        assert participant.is_alive()


def test_nothing_of_a_dropped_registration_stays_in_memory(context):
    """WR-13: with the registration go its blueprint, its entry and its inbox, though the participant lives."""
    with linked_actor() as participant:
        kept = context.register_worker(*QUEUE, ONE)
        dropped = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        refs = [weakref.ref(each) for each in (dropped._blueprint, dropped._blueprint.entry, dropped._inbox)]
        del dropped

        def are_gone() -> bool:
            gc.collect()
            return [each() for each in refs] == [None] * 3

        wait_until(are_gone)
        assert kept.is_active


def test_the_end_is_told_once(context):
    """WR-08, WR-10: one event for a leaving, one for a crash, whatever is said afterwards."""
    leaver, crasher = context.register_worker(*QUEUE, ONE), context.register_worker(*QUEUE, ONE)
    events = events_of(context)
    leaver.unregister()
    _crash(crasher)
    crasher.unregister()
    leaver.unregister()
    listed(context)

    assert [(each.kind, each.worker_id) for each in events] == [
        (EventKind.UNREGISTERED, "worker-1"),
        (EventKind.CRASHED, "worker-2"),
    ]
