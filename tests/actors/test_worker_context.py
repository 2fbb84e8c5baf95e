"""Promises of a worker context: how workers come in, what a snapshot shows of them, and how it all ends."""

import copy
import gc
import re
import threading
import time
from typing import Any

import pytest
from channelkit import WAIT_S, crash, gate, later, wait_until
from contextkit import (
    JOINING,
    NAME,
    ONE,
    QUEUE,
    THREE,
    Step,
    at_once,
    body,
    channel_actors,
    failing,
    instead,
    linked_actor,
    listed,
    recorded,
    root_of,
)
from linkkit import Doer, ask, ending, raising
from pykka import ActorRef, ActorRegistry, Timeout

from limen.actors import (
    DispatchContext,
    QuietSupervisor,
    SupervisorActor,
    WorkerContext,
    WorkerPool,
    default_worker_context,
    dispatch_activity,
    register_worker,
    reset_default_worker_context,
)
from limen.actors import _core as core_module
from limen.actors import supervisor as supervisor_module
from limen.actors.context_actor import ChannelFor, ContextActor, TheSupervisor
from limen.actors.linking import kill
from limen.actors.worker import WorkerActor
from limen.messages.activities import ActivityRequest, Completed, WorkerCapacity
from limen.messages.channel import ChannelMode
from limen.messages.errors import ChannelLifecycleError, InvalidCapacity, InvalidChannelName, LimenError
from limen.messages.payloads import Payload
from limen.messages.supervision import StartLike
from limen.messages.wire import request_schema

INJECTED = "injected for this test"


@pytest.fixture
def context():
    """Give a context that is closed after the test."""
    with WorkerContext() as made:
        yield made


@pytest.fixture
def footprint_now(footprint):
    """Take a footprint and wait for whatever comes after it to be gone again, when called."""

    def take() -> Any:
        before = footprint()
        return lambda: before.left_behind(WAIT_S)

    return take


def _subscribers(context: WorkerContext, name: str = NAME) -> int:
    channel = context.find_channel(name)
    return 0 if channel is None else channel.subscriber_count


# --- making one -------------------------------------------------------------------------------------------------------


def test_making_a_context_starts_nothing():
    """WC-01: no thread and no actor, however many are made, and none by asking what is there."""
    before = (set(threading.enumerate()), ActorRegistry.get_all())
    contexts = [WorkerContext() for _ in range(100)]
    found = [each.workers_for_channel(NAME) for each in contexts]

    assert (set(threading.enumerate()), ActorRegistry.get_all()) == before
    assert found == [[]] * 100


def test_copies_share_one_pool_one_counter_and_one_supervisor(context):
    """WC-02: what is registered via one is seen via the other, and the ids go on."""
    twin = copy.copy(context)
    first = context.register_worker(*QUEUE, ONE)
    second = twin.register_worker(*QUEUE, ONE)

    assert listed(context) == listed(twin) == ["worker-1", "worker-2"]
    assert first._blueprint.supervisor is second._blueprint.supervisor
    assert first._blueprint.channel is second._blueprint.channel


def test_the_representation_shows_the_type_only():
    """WC-28: no channel, worker or supervisor, whatever the context holds."""
    with WorkerContext() as context:
        held = context.register_worker("secret-ns", "secret-queue", ONE)
        shown = repr(context)
        assert held.is_active

    assert re.fullmatch(r"<WorkerContext>", shown)


# --- registering ------------------------------------------------------------------------------------------------------


def test_a_registration_takes_its_steps_in_order(context):
    """WC-03, LM-02: name, id, participant, session, entry, watch, subscription, pool, registration."""
    with recorded(JOINING) as order:
        registration = context.register_worker(*QUEUE, ONE)

    assert registration.is_active
    assert order == list(JOINING)


def test_a_registration_of_a_given_participant_takes_neither_id_nor_child(context):
    """WC-03, WC-05: the same steps but for those two."""
    with linked_actor() as participant, recorded(JOINING) as order:
        registration = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)

    assert registration.worker_id == "mine"
    assert order == [name for name in JOINING if name not in {"id", "supervisor", "spawn"}]


IN_THE_CHANNEL = ("subscribe", "insert")

OWNED_FAILURES = [
    pytest.param(name, done, id=f"{'after' if done else 'before'}-{name}")
    for name in JOINING
    for done in (False, True)
    if name not in {"validate", "id"}  # before these nothing has been done, and counting cannot fail
    and name not in IN_THE_CHANNEL
    and (name, done) != ("spawn", True)  # a start that was done and failed is the next test's
]


@pytest.mark.parametrize(("name", "done"), OWNED_FAILURES)
def test_a_registration_that_fails_at_a_step_leaves_nothing(context, footprint_now, name, done):
    """WC-03, WC-16, ER-07: no actor, no thread, no subscriber, no row; the error names the channel and the cause."""
    survivor = context.register_worker(*QUEUE, ONE)
    left_behind = footprint_now()

    with (
        failing(JOINING[name], RuntimeError(INJECTED), done=done),
        pytest.raises(ChannelLifecycleError, match=INJECTED) as caught,
    ):
        context.register_worker(*QUEUE, ONE)

    assert caught.value.channel_name == NAME
    assert listed(context) == [survivor.worker_id]
    assert _subscribers(context) == 1
    assert left_behind() == []


@pytest.mark.parametrize("name", IN_THE_CHANNEL)
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_registration_at_which_the_channel_breaks_leaves_nothing(context, name, done):
    """WC-03, WC-16: the channel's next actor goes on without that worker, and with all others."""
    survivor = context.register_worker(*QUEUE, ONE)
    before = len(ActorRegistry.get_all())

    with (
        failing(JOINING[name], RuntimeError(INJECTED), done=done),
        pytest.raises(ChannelLifecycleError, match=INJECTED) as caught,
    ):
        context.register_worker(*QUEUE, ONE)

    assert caught.value.channel_name == NAME
    assert listed(context) == [survivor.worker_id]
    assert _subscribers(context) == 1
    assert len(ActorRegistry.get_all()) == before


@pytest.mark.parametrize("name", ["session", "entry", "arm", "join", "subscribe", "insert", "registration"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_failed_registration_leaves_a_given_participant_alone(context, footprint_now, name, done):
    """WC-06, WC-16: nothing of ours remains; what was given lives on, unwatched, and can be registered again."""
    with linked_actor() as participant:
        watchers = participant.it._actor_weakref()._life._watchers
        left_behind = footprint_now()
        survivor = context.register_worker(*QUEUE, ONE)
        with failing(JOINING[name], RuntimeError(INJECTED), done=done), pytest.raises(ChannelLifecycleError):
            context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)

        assert (listed(context), _subscribers(context)) == ([survivor.worker_id], 1)
        assert participant.is_alive()
        assert not watchers
        again = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        assert listed(context) == [survivor.worker_id, again.worker_id]
        context.close()
        assert left_behind() == []


def test_a_supervisor_that_does_not_say_that_it_has_started_the_worker_costs_nothing(context, footprint_now):
    """WC-03: a child that was started while the answer got lost is stopped again."""
    survivor = context.register_worker(*QUEUE, ONE)
    left_behind = footprint_now()
    unheard = Step(core_module, "ask", StartLike)

    with failing(unheard, Timeout(INJECTED), done=True), pytest.raises(ChannelLifecycleError, match=INJECTED):
        context.register_worker(*QUEUE, ONE)

    assert listed(context) == [survivor.worker_id]
    assert left_behind() == []


def test_an_executor_does_not_outlive_a_failed_registration(context, footprint_now):
    """WC-16: the event loop of a worker that never got into the pool is gone with it."""
    left_behind = footprint_now()

    with failing(JOINING["join"], RuntimeError(INJECTED)), pytest.raises(ChannelLifecycleError):
        context.register_worker(*QUEUE, ONE, handlers={"work": Completed}, executor="asyncio")
    context.close()

    assert left_behind() == []


def test_an_interrupt_while_registering_leaves_nothing_and_goes_on(context, footprint_now):
    """WC-03: Ctrl-C is nobody's to swallow, and no reason to leave half a worker behind."""
    survivor = context.register_worker(*QUEUE, ONE)
    left_behind = footprint_now()

    with failing(JOINING["arm"], KeyboardInterrupt(), done=True), pytest.raises(KeyboardInterrupt):
        context.register_worker(*QUEUE, ONE)

    assert (listed(context), _subscribers(context)) == ([survivor.worker_id], 1)
    assert left_behind() == []


def test_ids_count_up_over_all_channels_and_are_never_used_twice(context):
    """WC-04: two queues interleaved; the id of a failed attempt stays a gap."""
    kept = [context.register_worker("ns", queue, ONE) for queue in ("a", "b", "a")]
    with failing(JOINING["arm"], RuntimeError(INJECTED)), pytest.raises(ChannelLifecycleError):
        context.register_worker("ns", "b", ONE)
    kept.append(context.register_worker("ns", "b", ONE))

    assert [each.worker_id for each in kept] == ["worker-1", "worker-2", "worker-3", "worker-5"]
    assert listed(context, "aion.dispatch.ns.a") == ["worker-1", "worker-3"]
    assert listed(context, "aion.dispatch.ns.b") == ["worker-2", "worker-5"]


def test_a_given_id_and_participant_are_used_as_they_are(context):
    """WC-05: and the next generated id is the one it would have been."""
    with linked_actor() as participant:
        first = context.register_worker(*QUEUE, ONE)
        given = context.register_worker_with_participant(*QUEUE, "email worker/7", participant.it, ONE)
        second = context.register_worker(*QUEUE, ONE)

        assert [first.worker_id, given.worker_id, second.worker_id] == ["worker-1", "email worker/7", "worker-2"]
        assert given.participant is participant.it
        assert context.workers_for_channel(NAME)[1].participant is participant.it


def test_owned_participants_end_with_their_registration_and_given_ones_do_not(context):
    """WC-06: the one was started by us, the other only watched."""
    with linked_actor() as participant:
        owned = context.register_worker(*QUEUE, ONE)
        given = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        owned.unregister()
        given.unregister()

        assert not owned.participant.is_alive()
        assert participant.is_alive()


AFTER_VALIDATION = {name: step for name, step in JOINING.items() if name != "validate"}


@pytest.mark.parametrize(("namespace", "queue"), [("", "q"), ("bad.ns", "q"), ("a\nb", "q"), ("ns", ""), ("ns", "a.")])
def test_a_bad_name_is_refused_before_anything_happens(context, namespace, queue):
    """CN-08: no id is consumed, nothing is spawned, there is no session; not even a root."""
    before = set(ActorRegistry.get_all())
    with linked_actor() as participant:
        refused: list[Any] = [
            lambda: context.register_worker(namespace, queue, ONE),
            lambda: context.register_worker_with_participant(namespace, queue, "mine", participant.it, ONE),
            lambda: context.channel(namespace, queue),
        ]
        for use in refused:
            with recorded(AFTER_VALIDATION) as order, pytest.raises(InvalidChannelName):
                use()
            assert order == []
    after = set(ActorRegistry.get_all())
    first = context.register_worker(*QUEUE, ONE)

    assert after == before
    assert first.worker_id == "worker-1"


def test_a_bad_capacity_is_refused_before_anything_happens(context):
    """WC-03: what is not a capacity costs no id either."""
    with pytest.raises(InvalidCapacity):
        context.register_worker(*QUEUE, 3)

    assert context.register_worker(*QUEUE, ONE).worker_id == "worker-1"


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_workers_of_one_queue_share_one_channel(context):
    """WC-07: made on the first registration, reused afterwards; each worker is a subscriber."""
    before = len(channel_actors())
    kept = [context.register_worker(*QUEUE, ONE), context.register_worker(*QUEUE, ONE)]
    one_queue = len(channel_actors()) - before
    kept.append(context.register_worker("ns", "other", ONE))

    assert one_queue == 1
    assert len(channel_actors()) - before == 2
    assert (_subscribers(context), _subscribers(context, "aion.dispatch.ns.other")) == (2, 1)


def test_the_channel_is_configured_for_dispatch(context):
    """WC-08: it carries the name, the schema of dispatch requests and the ephemeral mode; nothing is kept."""
    channel = context.channel(*QUEUE)
    channel.publish(body(1))
    with context.register_worker(*QUEUE, ONE) as late:
        missed = late.try_next()

    assert str(channel.config.name) == channel.name == NAME
    assert channel.config.schema is channel.schema is request_schema()
    assert channel.config.mode is ChannelMode.EPHEMERAL
    assert missed is None


def test_racing_first_registrations_converge_on_one_channel(context):
    """WC-09: 32 threads, one channel actor, 32 subscribers, 32 ids; and not one actor more."""
    before, actors_before = len(channel_actors()), len(ActorRegistry.get_all())
    registrations = at_once(32, lambda _: context.register_worker(*QUEUE, ONE))

    assert len(channel_actors()) - before == 1
    assert len(ActorRegistry.get_all()) - actors_before == 32 + 3  # workers; root, supervisor, channel
    assert _subscribers(context) == 32
    assert {each.worker_id for each in registrations} == {f"worker-{number}" for number in range(1, 33)}
    assert sorted(listed(context)) == sorted(each.worker_id for each in registrations)
    assert len({id(each._blueprint.channel) for each in registrations}) == 1


# --- the supervisor ---------------------------------------------------------------------------------------------------


def test_one_supervisor_is_made_on_first_need_and_shared_by_all_queues():
    """WC-10: per context, not per channel; a worker that we do not own needs none."""
    made: list[ActorRef[Any]] = []

    def make() -> ActorRef[Any]:
        made.append(QuietSupervisor.start())
        return made[-1]

    with WorkerContext(make_supervisor=make) as context, linked_actor() as participant:
        given = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        before_need = len(made)
        one, two = context.register_worker("ns", "a", ONE), context.register_worker("ns", "b", ONE)

        assert given.is_active
        assert before_need == 0
        assert made == [one._blueprint.supervisor]
        assert one._blueprint.supervisor is two._blueprint.supervisor


def test_racing_first_uses_agree_on_one_supervisor():
    """WC-11: 16 threads, 16 queues, one supervisor made; no loser to be dropped, no stray thread."""
    made: list[ActorRef[Any]] = []

    def make() -> ActorRef[Any]:
        made.append(SupervisorActor.start())
        return made[-1]

    with WorkerContext(make_supervisor=make) as context:
        registrations = at_once(16, lambda number: context.register_worker("ns", f"q{number}", ONE))

        assert len(made) == 1
        assert {id(each._blueprint.supervisor) for each in registrations} == {id(made[0])}
        assert len(ActorRegistry.get_by_class(SupervisorActor)) == 1
    assert not made[0].is_alive()


@pytest.mark.parametrize("error", [RuntimeError(INJECTED), SystemExit(INJECTED)], ids=["error", "exit"])
def test_a_supervisor_that_cannot_be_made_is_an_error_that_is_not_remembered(error):
    """WC-12, ER-07: fails once, then succeeds; the cause is told, and not even `SystemExit` ends the root."""
    tries = iter([error, None])

    def make() -> ActorRef[Any]:
        failure = next(tries)
        if failure is not None:
            raise failure
        return QuietSupervisor.start()

    with WorkerContext(make_supervisor=make) as context:
        with pytest.raises(ChannelLifecycleError, match=INJECTED) as caught:
            context.register_worker(*QUEUE, ONE)
        registration = context.register_worker(*QUEUE, ONE)

        assert (caught.value.channel_name, caught.value.__cause__) == (NAME, error)
        assert listed(context) == [registration.worker_id] == ["worker-2"]


def test_an_injected_supervisor_is_used_and_never_stopped():
    """WC-13: the workers are its children; after the close it runs without them, and takes others."""
    supervisor = SupervisorActor.start()
    with ending(supervisor):
        with WorkerContext(supervisor=supervisor) as context:
            registration = context.register_worker(*QUEUE, ONE)
            supervised = registration._blueprint.supervisor
        with WorkerContext(supervisor=supervisor) as another:
            alive = another.register_worker(*QUEUE, ONE).is_active

        assert supervised is supervisor
        assert not registration.participant.is_alive()
        assert supervisor.is_alive()
        assert alive


def test_an_injected_supervisor_that_has_ended_is_an_error():
    """WC-13, ER-07: the context does not replace what it was given."""
    supervisor = SupervisorActor.start()
    supervisor.stop()

    with WorkerContext(supervisor=supervisor) as context, pytest.raises(ChannelLifecycleError, match="has ended"):
        context.register_worker(*QUEUE, ONE)


# --- arming -----------------------------------------------------------------------------------------------------------


def test_a_worker_is_seen_in_no_snapshot_before_its_watch_is_armed(context):
    """WC-14: while the arming is held up the pool is empty; once it is done the worker is there."""
    with gate() as arming, instead(JOINING["arm"], lambda carry_on, *_: arming() and carry_on()):
        registering = later(lambda: context.register_worker(*QUEUE, ONE))
        arming.wait_entered()
        before = listed(context)
        arming.opened.set()
        registration = registering.get(timeout=WAIT_S)

    assert before == []
    assert listed(context) == [registration.worker_id]


def test_a_worker_whose_watch_is_armed_is_not_yet_seen_but_its_death_would_be(context):
    """WC-14: between arming and insertion the snapshot is still empty, and the watch is in place."""
    with gate() as inserting, linked_actor() as participant:
        watchers = participant.it._actor_weakref()._life._watchers
        with instead(JOINING["join"], lambda carry_on, *_: inserting() and carry_on()):
            registering = later(lambda: context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE))
            inserting.wait_entered()
            seen, watched = listed(context), len(watchers)
            inserting.opened.set()
            registration = registering.get(timeout=WAIT_S)

        assert (seen, watched) == ([], 1)
        assert listed(context) == [registration.worker_id]


def _die(ref: ActorRef[Any]) -> None:
    kill(ref)
    assert ref.actor_stopped.wait(WAIT_S)


def _snapshots_while(context: WorkerContext, register: Any) -> tuple[Any, set[str]]:
    """Take snapshots all the time that a registration takes; give its outcome, and who was ever listed."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.update(listed(context))

    looking = later(look)
    try:
        outcome = register()
    except ChannelLifecycleError as error:
        outcome = error
    finally:
        done.set()
        looking.get(timeout=WAIT_S)
    return outcome, seen | set(listed(context))


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "given"])
def test_a_participant_that_dies_between_arming_and_insertion_is_never_offered(context, owned, footprint_now):
    """WC-15: killed right after the arming, it is in no snapshot; the registration says so, and nothing is left."""
    kept = context.register_worker("ns", "other", ONE)
    left_behind = footprint_now()

    def arm_and_kill(carry_on: Any, _blueprint: Any, entry: Any) -> None:
        carry_on()
        _die(entry.participant)
        wait_until(lambda: entry.exited is not None)

    with instead(JOINING["arm"], arm_and_kill):
        register = (
            (lambda: context.register_worker(*QUEUE, ONE))
            if owned
            else lambda: context.register_worker_with_participant(*QUEUE, "mine", Doer.start(), ONE)
        )
        outcome, seen = _snapshots_while(context, register)

    assert isinstance(outcome, ChannelLifecycleError)
    assert "is dead" in outcome.message
    assert seen == set()
    assert _subscribers(context) == 0
    assert kept.is_active
    del outcome
    gc.collect()
    assert left_behind() == []


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "given"])
def test_a_participant_that_dies_on_the_way_into_the_pool_is_never_offered(context, owned):
    """WC-15: killed at the very insertion, its entry goes in inactive and is pruned; the registration is over."""

    def kill_and_insert(carry_on: Any, _session: Any, order: Any, *_: Any) -> Any:
        _die(order.entry.participant)
        wait_until(lambda: order.entry.exited is not None)
        return carry_on()

    with instead(JOINING["join"], kill_and_insert):
        register = (
            (lambda: context.register_worker(*QUEUE, ONE))
            if owned
            else lambda: context.register_worker_with_participant(*QUEUE, "mine", Doer.start(), ONE)
        )
        registration, seen = _snapshots_while(context, register)

    assert seen == set()
    assert not registration.is_active
    assert registration.exit_reason.kind == "killed"
    assert (registration.try_next(), _subscribers(context)) == (None, 0)
    registration.unregister()


def test_a_supervised_worker_that_dies_on_the_way_in_is_offered_when_it_is_back(context):
    """WC-15: what died between arming and insertion is never offered; its next incarnation is."""
    first: list[Any] = []

    def arm_and_kill(carry_on: Any, _blueprint: Any, entry: Any) -> None:
        carry_on()
        if not first:
            first.append(entry)
            _die(entry.participant)
            wait_until(lambda: entry.exited is not None)

    with instead(JOINING["arm"], arm_and_kill):
        registration, seen = _snapshots_while(context, lambda: context.register_worker(*QUEUE, ONE, restart=True))
        wait_until(lambda: listed(context) == ["worker-1"])

    assert seen <= {"worker-1"}
    assert registration.is_active
    assert [row.incarnation for row in context.pool(NAME)] == [2]
    assert context.workers_for_channel(NAME)[0].participant is registration.participant is not first[0].participant
    assert _subscribers(context) == 1


def test_a_participant_that_is_dead_already_is_refused(context):
    """WC-17, LM-05: its death, known before the watch, is told at once; the pool is empty and nobody subscribes."""
    dead = Doer.start()
    dead.stop()

    with pytest.raises(ChannelLifecycleError, match="dead") as caught:
        context.register_worker_with_participant(*QUEUE, "mine", dead, ONE)

    assert caught.value.channel_name == NAME
    assert listed(context) == []
    assert _subscribers(context) == 0


@pytest.mark.parametrize("thing", [object(), "worker", 7, threading.Event()], ids=lambda thing: type(thing).__name__)
def test_what_cannot_be_watched_is_refused(context, thing):
    """WC-16, LM-14: an arming that fails is told, with what would have been right."""
    with pytest.raises(ChannelLifecycleError, match="cannot watch"):
        context.register_worker_with_participant(*QUEUE, "mine", thing, ONE)

    assert listed(context) == []


def test_a_session_that_has_vanished_is_said_to_be_missing(context, footprint_now):
    """WC-18: closed between the subscription and the insertion; all is undone, and the next one finds a new one."""
    kept = context.register_worker("ns", "other", ONE)
    left_behind = footprint_now()

    def close(carry_on: Any, *_: Any) -> Any:
        context.channel(*QUEUE).close()
        return carry_on()

    with instead(JOINING["join"], close), pytest.raises(ChannelLifecycleError, match="missing") as caught:
        context.register_worker(*QUEUE, ONE)

    assert caught.value.channel_name == NAME
    assert left_behind() == []
    assert kept.is_active
    assert context.register_worker(*QUEUE, ONE).is_active


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_registration_that_nobody_holds_takes_its_worker_with_it(context):
    """WC-19: the pool holds entries weakly: dropped, collected, gone; and so are subscription and participant."""
    kept = context.register_worker(*QUEUE, ONE)
    dropped = context.register_worker(*QUEUE, ONE)
    participant = dropped.participant
    both = listed(context)
    del dropped
    gc.collect()

    assert both == ["worker-1", "worker-2"]
    assert listed(context) == [kept.worker_id]
    assert participant.actor_stopped.wait(WAIT_S)
    wait_until(lambda: _subscribers(context) == 1)


def test_a_snapshot_lists_the_live_in_registration_order(context):
    """WC-20: in the order a, b, c; one that has died or left is pruned, and the others keep their places."""
    with linked_actor() as a, linked_actor() as b, linked_actor() as c:
        workers = [
            context.register_worker_with_participant(*QUEUE, name, each.it, ONE)
            for name, each in (("c", c), ("a", a), ("b", b))
        ]
        all_three = listed(context)
        _die(a.it)
        assert workers[1].wait_closed(WAIT_S)

        assert all_three == ["c", "a", "b"]
        assert listed(context) == ["c", "b"]


def test_a_snapshot_is_a_copy(context):
    """WC-20: the pool moves on without it, and neither changing one nor the other shows in the other."""
    registration = context.register_worker(*QUEUE, THREE)
    old = context.workers_for_channel(NAME)
    registration.set_in_flight(2)
    new = context.workers_for_channel(NAME)
    new.clear()

    assert old[0].consumer_state.current_in_flight == 0
    assert context.workers_for_channel(NAME)[0].consumer_state.current_in_flight == 2


def test_an_unknown_channel_is_empty_and_stays_unknown(context):
    """WC-21: nothing is created by asking; neither in a fresh context nor in one that has channels."""
    fresh = context.workers_for_channel(NAME)
    root_started = context._core._root is not None
    kept = context.register_worker("ns", "other", ONE)
    actors = set(ActorRegistry.get_all())

    assert (fresh, root_started) == ([], False)
    assert context.workers_for_channel(NAME) == context.pool(NAME) == []
    assert context.workers_for_channel("no such name at all") == []
    assert context.find_channel(NAME) is None
    assert set(ActorRegistry.get_all()) == actors
    assert kept.is_active


def test_it_is_a_pool_by_its_other_names_too(context):
    """WC-22: `workers_for` gives the same, and `WorkerPool` is the context."""
    kept = [context.register_worker(*QUEUE, ONE), context.register_worker(*QUEUE, THREE)]
    name = kept[0]._blueprint.channel.config.name

    assert WorkerPool is WorkerContext
    assert isinstance(context, WorkerPool)
    assert context.workers_for(name) == context.workers_for_channel(name) == context.workers_for(str(name))
    assert len(context.workers_for(name, ActivityRequest("work"))) == 2


def test_workers_of_other_types_are_listed_only_on_request(context):
    """WC-23: a request filters the snapshot; `any_type` is the opt-out; a worker without types serves all."""
    kept = [
        context.register_worker(*QUEUE, WorkerCapacity(1, ("mail",))),
        context.register_worker(*QUEUE, WorkerCapacity(1, ("print", "fold"))),
        context.register_worker(*QUEUE, WorkerCapacity(1)),
    ]
    request = ActivityRequest("print")

    assert listed(context) == [each.worker_id for each in kept]
    assert [each.worker_id for each in context.workers_for_channel(NAME, request)] == ["worker-2", "worker-3"]
    assert [each.worker_id for each in context.workers_for_channel(NAME, request, any_type=True)] == listed(context)


def test_only_workers_of_the_right_type_are_dispatched_to(context):
    """WC-23: of two workers with different types, only the match ever gets the request."""
    mail = context.register_worker(*QUEUE, WorkerCapacity(1, ("mail",)), handlers={"mail": _say("mail")})
    fold = context.register_worker(*QUEUE, WorkerCapacity(1, ("fold",)), handlers={"fold": _say("fold")})
    dispatched = DispatchContext(worker_pool=context)
    done = [
        dispatch_activity(*QUEUE, ActivityRequest(kind), dispatched, timeout=WAIT_S).output
        for kind in ("fold", "mail", "fold", "fold")
    ]

    assert [each.data for each in done if isinstance(each, Payload)] == [b"fold", b"mail", b"fold", b"fold"]
    assert mail.is_active
    assert fold.is_active


def _say(text: str) -> Any:
    return lambda _: Payload(text.encode())


def test_a_saturated_worker_is_listed_without_capacity(context):
    """WC-24: it is not hidden; and one that can take nothing at all is listed too."""
    full, never = context.register_worker(*QUEUE, THREE), context.register_worker(*QUEUE, WorkerCapacity(0))
    full.set_in_flight(3)
    states = [each.consumer_state for each in context.workers_for_channel(NAME)]

    assert listed(context) == [full.worker_id, never.worker_id]
    assert [each.has_capacity for each in states] == [False, False]
    assert [each.available_capacity for each in states] == [0, 0]


def test_a_view_shows_what_a_router_needs(context):
    """WC-25: id, slots taken, slots, unread messages and types, each as registered; and the participant."""
    registration = context.register_worker(*QUEUE, WorkerCapacity(3, ("print", "fold", "print")))
    registration.set_in_flight(2)
    (worker,) = context.workers_for_channel(NAME)
    state = worker.consumer_state

    assert (worker.worker_id, worker.participant) == (registration.worker_id, registration.participant)
    assert (state.consumer, state.current_in_flight, state.max_in_flight) == (registration.worker_id, 2, 3)
    assert (state.buffer_depth, state.affinity_tags) == (0, ("print", "fold", "print"))


def test_a_view_shows_how_many_messages_are_unread(context):
    """WC-25: the real depth of the worker's inbox, down again as it reads."""
    registration = context.register_worker(*QUEUE, ONE)
    for number in range(3):
        context.channel(*QUEUE).publish(body(number))
    full = context.workers_for_channel(NAME)[0].consumer_state.buffer_depth
    registration.try_next()

    assert full == 3
    assert context.workers_for_channel(NAME)[0].consumer_state.buffer_depth == 2


@pytest.mark.parametrize(
    ("slots", "shown"), [(2**32 - 2, 2**32 - 2), (2**32 - 1, 2**32 - 1), (2**32, 2**32 - 1), (2**64, 2**32 - 1)]
)
def test_a_view_clamps_the_capacity(context, slots, shown):
    """WC-25: to 2**32 - 1; the registration keeps what it was given."""
    registration = context.register_worker(*QUEUE, WorkerCapacity(slots))

    assert context.workers_for_channel(NAME)[0].consumer_state.max_in_flight == shown
    assert registration.capacity.max_concurrent == slots


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_a_live_duplicate_is_refused_on_its_channel_only(context):
    """WC-26: the second registration raises and leaves the first as it was; another channel may have the same id."""
    with linked_actor() as one, linked_actor() as two:
        first = context.register_worker_with_participant(*QUEUE, "mine", one.it, ONE)
        with pytest.raises(ChannelLifecycleError, match="'mine' is registered and alive"):
            context.register_worker_with_participant(*QUEUE, "mine", two.it, ONE)
        elsewhere = context.register_worker_with_participant("ns", "other", "mine", two.it, ONE)

        assert (listed(context), _subscribers(context)) == (["mine"], 1)
        assert context.workers_for_channel(NAME)[0].participant is one.it
        assert first.is_active
        assert elsewhere.is_active


@pytest.mark.parametrize("how", ["crash", "stop", "unregister"])
def test_an_id_may_be_used_again_after_its_worker_has_gone(context, how):
    """WC-26: at once, however it went, also when the channel has not heard of the end yet."""
    with linked_actor() as one, linked_actor() as two:
        first = context.register_worker_with_participant(*QUEUE, "mine", one.it, ONE)
        if how == "crash":
            one.it.tell(raising(RuntimeError(INJECTED)))
        elif how == "stop":
            one.it.stop()
        else:
            first.unregister()
        assert first.wait_closed(WAIT_S)
        second = context.register_worker_with_participant(*QUEUE, "mine", two.it, ONE)

        assert (first.is_active, second.is_active) == (False, True)
        assert (listed(context), _subscribers(context)) == (["mine"], 1)
        first.unregister()
        assert listed(context) == ["mine"]


def test_of_racing_duplicates_one_gets_in(context):
    """WC-26: 16 threads want the same id at the same time; fifteen are refused, and one subscribes."""
    with linked_actor() as participant:

        def register(_: int) -> Any:
            try:
                return context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
            except ChannelLifecycleError as error:
                return error

        outcomes = at_once(16, register)

        refused = [each for each in outcomes if isinstance(each, ChannelLifecycleError)]
        assert len(refused) == 15
        assert listed(context) == ["mine"]
        wait_until(lambda: _subscribers(context) == 1)


# --- when the pool is not usable --------------------------------------------------------------------------------------


def _uses(context: WorkerContext, participant: Any) -> list[Any]:
    return [
        lambda: context.register_worker(*QUEUE, ONE),
        lambda: context.register_worker_with_participant(*QUEUE, "mine", participant, ONE),
        lambda: context.workers_for_channel(NAME),
        lambda: context.pool(NAME),
        lambda: context.find_channel(NAME),
        lambda: context.channel(*QUEUE),
    ]


def test_a_killed_root_is_an_error_within_a_bound(footprint_now):
    """WC-27, GR-06: every use is a `ChannelLifecycleError` at once, and the close still leaves nothing."""
    left_behind = footprint_now()
    context = WorkerContext()
    registration = context.register_worker(*QUEUE, ONE)
    _die(root_of(context))
    with linked_actor() as participant:
        for use in _uses(context, participant.it):
            begun_s = time.monotonic()
            with pytest.raises(ChannelLifecycleError, match="not usable") as caught:
                use()
            assert caught.value.channel_name == NAME
            assert time.monotonic() - begun_s < 2
    context.close()

    assert not registration.is_active
    assert not registration.participant.is_alive()
    assert left_behind() == []


@pytest.mark.parametrize(
    "error", [RuntimeError(INJECTED), LimenError(INJECTED), SystemExit(INJECTED)], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("message", [TheSupervisor, ChannelFor], ids=lambda message: message.__name__)
def test_a_root_that_fails_is_no_raw_error(context, message, error):
    """WC-27, GR-05: whatever goes wrong in it, its user gets a `ChannelLifecycleError`, and other actors live on."""
    with linked_actor() as bystander:
        with (
            failing(Step(ContextActor, "on_receive", message), error),
            pytest.raises(ChannelLifecycleError) as caught,
        ):
            context.register_worker(*QUEUE, ONE)
        assert caught.value.channel_name == NAME
        assert bystander.is_alive()


def test_a_root_does_not_mind_what_it_does_not_know(context, caplog):
    """WC-27: a stray message is logged, and the pool goes on."""
    kept = context.register_worker(*QUEUE, ONE)
    root_of(context).tell("a stray message")

    assert listed(context) == [kept.worker_id]
    assert "does not know what to do with a str" in caplog.text


def test_a_root_that_cannot_be_started_is_no_raw_error(context, monkeypatch):
    """WC-27, ER-07: nor is it remembered."""
    with monkeypatch.context() as patched:
        patched.setattr(ContextActor, "start", raising(RuntimeError(INJECTED)))
        with pytest.raises(ChannelLifecycleError, match=INJECTED):
            context.register_worker(*QUEUE, ONE)

    assert context.register_worker(*QUEUE, ONE).is_active


def test_a_root_that_does_not_answer_is_an_error_when_the_time_is_up(context, monkeypatch):
    """WC-27, GR-06: never a hang."""
    kept = context.register_worker("ns", "other", ONE)
    monkeypatch.setattr(core_module, "COMMAND_TIMEOUT_S", 0.05)
    with gate() as answering:
        with instead(Step(ContextActor, "on_receive", ChannelFor), lambda carry_on, *_: answering() and carry_on()):
            stuck = later(lambda: context.channel("ns", "third"))
            answering.wait_entered()
            with pytest.raises(ChannelLifecycleError, match="not usable"):
                context.register_worker(*QUEUE, ONE)
            seen = listed(context, "aion.dispatch.ns.other"), listed(context)
        answering.opened.set()
        stuck.get(timeout=WAIT_S)

    assert kept.is_active
    assert seen == ([kept.worker_id], [])


def test_a_channel_that_crashes_costs_no_worker(context):
    """WC-27: the pool's book survives its actor: the same workers, in the same order, with the same slots."""
    kept = [context.register_worker(*QUEUE, THREE) for _ in range(3)]
    kept[1].set_in_flight(2)
    crash(context.channel(*QUEUE))

    assert listed(context) == [each.worker_id for each in kept]
    assert context.workers_for_channel(NAME)[1].consumer_state.current_in_flight == 2
    assert all(each.is_active for each in kept)


def test_a_channel_that_is_down_for_good_is_an_error(context):
    """WC-27: crashed more often than it may be restarted, it gives no rows and no hang but the typed error."""
    registration = context.register_worker(*QUEUE, ONE)
    channel = context.channel(*QUEUE)
    for _ in range(9):
        crash(channel)

    uses: list[Any] = [
        *_uses(context, registration.participant)[:4],
        lambda: registration.set_in_flight(1),
        registration.acquire,
        registration.unregister,
    ]
    for use in uses:
        begun_s = time.monotonic()
        with pytest.raises(ChannelLifecycleError, match="crashed more than") as caught:
            use()
        assert caught.value.channel_name == NAME
        assert time.monotonic() - begun_s < 2
    assert not registration.participant.is_alive()
    assert registration.try_next() is None


FAILING_PARTS = {
    "subscribe": JOINING["subscribe"],
    "start of the worker": Step(WorkerActor, "__init__"),
    "making of the child": Step(supervisor_module.SupervisorActor, "_start_by"),
    "watch": JOINING["arm"],
    "insertion": JOINING["join"],
}


@pytest.mark.parametrize("part", FAILING_PARTS)
@pytest.mark.parametrize(
    "error", [ValueError(INJECTED), OSError(5, INJECTED), LimenError(INJECTED)], ids=lambda error: type(error).__name__
)
def test_failures_below_are_told_with_the_channel_and_the_cause(context, part, error):
    """ER-07: whatever the lower level raises, one type of error comes out, with its text, chained."""
    with failing(FAILING_PARTS[part], error), pytest.raises(ChannelLifecycleError, match=INJECTED) as caught:
        context.register_worker(*QUEUE, ONE)

    assert caught.value.channel_name == NAME
    assert error in _causes(caught.value)


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None:
        chain.append(error)
        error = error.__cause__
    return chain


# --- the process-wide context -----------------------------------------------------------------------------------------


@pytest.fixture
def default_context():
    """Give the process-wide context, fresh, and put it away after the test."""
    reset_default_worker_context()
    yield default_worker_context()
    reset_default_worker_context()


def test_there_is_one_process_wide_context(default_context):
    """WC-29: the same from 16 threads, also when they are the first to ask."""
    reset_default_worker_context()
    contexts = at_once(16, lambda _: default_worker_context())

    assert len({id(each) for each in contexts}) == 1
    assert contexts[0] is not default_context
    assert contexts[0] is default_worker_context()


def test_the_module_level_function_registers_there(default_context):
    """WC-29: `register_worker` is the process-wide context's."""
    with register_worker(*QUEUE, THREE) as registration:
        assert listed(default_context) == [registration.worker_id] == ["worker-1"]


def test_the_process_wide_context_can_be_reset(default_context):
    """WC-29: the old one is closed, the next is another and counts anew."""
    old = register_worker(*QUEUE, ONE)
    reset_default_worker_context()
    new = register_worker(*QUEUE, ONE)

    assert (old.is_active, new.is_active) == (False, True)
    assert new.worker_id == old.worker_id == "worker-1"
    with pytest.raises(ChannelLifecycleError, match="closed"):
        default_context.register_worker(*QUEUE, ONE)


@pytest.mark.slow
def test_a_forked_child_has_a_context_of_its_own(run_python):
    """WC-29: it works there as if nothing had been; the parent's goes on."""
    done = run_python("-c", FORKED)

    assert done.stdout == "child worker-1 ['worker-1'] True\nparent worker-2 ['worker-1', 'worker-2'] True\n"
    assert done.returncode == 0


FORKED = """
import os, threading, warnings
from limen.actors import default_worker_context, register_worker
from limen.messages.activities import WorkerCapacity
warnings.simplefilter("ignore")

def use(who):
    registration = register_worker("ns", "q", WorkerCapacity(1))
    pool = [each.worker_id for each in default_worker_context().workers_for_channel("aion.dispatch.ns.q")]
    print(who, registration.worker_id, pool, registration.is_active, flush=True)
    registration.unregister()

first = register_worker("ns", "q", WorkerCapacity(1))
child = os.fork()
if child == 0:
    use("child")
    os._exit(0)
os.waitpid(child, 0)
use("parent")
"""


# --- the end ----------------------------------------------------------------------------------------------------------


def test_closing_takes_everything_back(footprint_now):
    """WC-30: workers, channels, supervisor and root; actors and threads are as many as before."""
    left_behind = footprint_now()
    threads = threading.active_count()
    context = WorkerContext()
    registrations = [context.register_worker("ns", f"q{number % 3}", ONE) for number in range(9)]
    context.channel("ns", "nobody's").publish(body(1))
    executing = context.register_worker("ns", "q3", ONE, handlers={"work": _say("done")})
    dispatch_activity("ns", "q3", ActivityRequest("work"), DispatchContext(worker_pool=context), timeout=WAIT_S)
    context.close()

    assert left_behind() == []
    assert threading.active_count() - threads <= 4  # of the shared pool
    for registration in (*registrations, executing):
        assert not registration.is_active
        assert registration.try_next() is None
        registration.unregister()


def test_closing_is_idempotent_and_refuses_what_comes_after(context):
    """WC-30: from any number of threads, and at the end of a `with` that was closed before."""
    registration = context.register_worker(*QUEUE, ONE)
    at_once(8, lambda _: context.close())
    context.close()

    assert not registration.is_active
    for use in _uses(context, registration.participant):
        with pytest.raises(ChannelLifecycleError, match="closed"):
            use()


def test_a_close_that_races_registrations_leaves_none_of_them(footprint_now):
    """WC-30: 10 times, eight threads register while one closes: each is registered and ended, or refused."""
    for _ in range(10):
        left_behind = footprint_now()
        context = WorkerContext()
        context.channel(*QUEUE)

        def act(number: int, context: WorkerContext = context) -> Any:
            if number == 0:
                context.close()
                return None
            try:
                return context.register_worker(*QUEUE, ONE)
            except ChannelLifecycleError:
                return None

        registrations = [each for each in at_once(9, act) if each is not None]
        assert [each.is_active for each in registrations] == [False] * len(registrations)
        assert left_behind() == []


def test_closing_on_an_actors_own_thread_only_says_so(context):
    """WC-30, GR-07: a participant may close the context that it is registered with, and all ends soon."""
    with linked_actor() as participant:
        given = context.register_worker_with_participant(*QUEUE, "mine", participant.it, ONE)
        owned = context.register_worker(*QUEUE, ONE)
        ask(participant.it, lambda _: context.close())

        assert given.wait_closed(WAIT_S)
        assert owned.wait_closed(WAIT_S)
        assert owned.participant.actor_stopped.wait(WAIT_S)
        assert root_of(context).actor_stopped.wait(WAIT_S)
        assert participant.is_alive()


def test_a_forgotten_context_ends_with_its_last_registration(footprint_now):
    """WC-30, GR-08: no close, no `with`: after a collection there is nothing left."""
    left_behind = footprint_now()
    context = WorkerContext()
    registration = context.register_worker(*QUEUE, ONE)
    del context, registration
    gc.collect()

    assert left_behind() == []


def test_idle_sessions_are_reaped(context):
    """WC-30: a queue without workers and without requests costs nothing; the next worker finds a fresh one."""
    before = len(channel_actors())
    for number in range(100):
        context.register_worker("ns", f"q{number}", ONE).unregister()
    gc.collect()
    wait_until(lambda: len(channel_actors()) == before)

    assert context.find_channel("aion.dispatch.ns.q0") is None
    again = context.register_worker("ns", "q0", ONE)
    assert listed(context, "aion.dispatch.ns.q0") == [again.worker_id] == ["worker-101"]


@pytest.mark.slow
def test_ten_thousand_queues_do_not_accumulate(context):
    """WC-30: neither their actors, nor rows in the root's map, nor threads."""
    before, threads = len(ActorRegistry.get_all()), threading.active_count()
    most = 0
    for number in range(10_000):
        context.register_worker("ns", f"q{number}", ONE).unregister()
        if number % 100 == 0:
            most = max(most, len(ActorRegistry.get_all()) - before)
    gc.collect()
    wait_until(lambda: len(ActorRegistry.get_all()) - before <= 2)  # the root and the supervisor
    root = root_of(context)._actor_weakref()

    assert isinstance(root, ContextActor)
    assert len(root._directory.channels) == 0
    assert root._directory.workers() == ()
    assert most < 5_000
    assert threading.active_count() - threads <= 4
