"""Promises of the watch on a worker's life: every end takes the worker out, once, at once, and says why."""

import gc
import os
import signal
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from channelkit import WAIT_S, crash, gate, later, let_channels_be_told_functions, wait_until
from contextkit import (
    JOINING,
    LEAVING,
    NAME,
    ONE,
    PARTICIPANTS,
    QUEUE,
    THREE,
    Step,
    Stock,
    at_once,
    body,
    events_of,
    instead,
    linked_actor,
    listed,
    process,
    recorded,
    stock_actor,
    task,
)
from linkkit import PATIENCE_S, Doer, PooledDoer, ending, raising
from pykka import ActorRegistry

from limen.actors import QuietSupervisor, SupervisorActor, WorkerContext, order_exit
from limen.actors._fanout import Fanout
from limen.actors.conversation import Conversation
from limen.actors.linking import kill
from limen.actors.runtime import runtime
from limen.actors.worker import WorkerActor
from limen.messages.activities import ActivityRequest, Completed
from limen.messages.errors import ChannelLifecycleError
from limen.messages.events import EventKind
from limen.messages.lifecycle import ExitReason
from limen.messages.supervision import DeleteChild

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # fork, which a user may use

INJECTED = "injected for this test"


@pytest.fixture
def context():
    """Give a context that is closed after the test."""
    with WorkerContext() as made:
        yield made


def _register(context: WorkerContext, participant: Any, worker_id: str = "mine") -> Any:
    return context.register_worker_with_participant(*QUEUE, worker_id, participant, ONE)


def _watchers(ref: Any) -> dict[int, Any]:
    watchers: dict[int, Any] = ref._actor_weakref()._life._watchers
    return watchers


def _subscribers(context: WorkerContext) -> int:
    return context.channel(*QUEUE).subscriber_count


# --- the participant --------------------------------------------------------------------------------------------------


def test_an_owned_participant_ignores_what_it_is_sent_and_stops_when_told(context):
    """LM-01: it is an idle actor: arbitrary messages, told or asked, neither kill it nor mean anything to it."""
    registration = context.register_worker(*QUEUE, ONE)
    participant = registration.participant
    messages: list[Any] = ["hello", 7, None, ("a", "tuple"), {"command": "pykka_stop"}, raising(ValueError()), object()]
    for message in messages:
        participant.tell(message)
    answers = [participant.ask(message, timeout=PATIENCE_S) for message in messages[::4]]
    alive = (participant.is_alive(), registration.is_active, listed(context))
    participant.stop()

    assert participant.actor_class is WorkerActor
    assert answers == [None, None]
    assert alive == (True, True, ["worker-1"])
    assert not participant.is_alive()
    assert registration.wait_closed(WAIT_S)


def test_a_registration_is_one_watch_on_exactly_its_participant(context):
    """LM-02, GR-09: no actor and no thread of its own; armed before the channel knows of the worker."""
    with linked_actor() as participant:
        kept = context.register_worker(*QUEUE, ONE)
        actors, threads = len(ActorRegistry.get_all()), threading.active_count()
        with recorded({name: JOINING[name] for name in ("arm", "subscribe", "insert")}) as order:
            registration = _register(context, participant.it)

        assert order == ["arm", "subscribe", "insert"]
        assert len(_watchers(participant.it)) == 1
        assert (len(ActorRegistry.get_all()), threading.active_count()) == (actors, threads)
        assert registration.is_active
        assert kept.is_active


def test_an_owned_worker_costs_one_actor_and_no_thread(context):
    """GR-09, LM-02: of a hundred workers that fetch their own work none has a thread."""
    first = context.register_worker(*QUEUE, ONE)
    actors, threads = len(ActorRegistry.get_all()), threading.active_count()
    kept = [context.register_worker(*QUEUE, ONE) for _ in range(100)]

    assert len(ActorRegistry.get_all()) - actors == 100
    assert threading.active_count() - threads <= 0
    assert len({first.worker_id, *(each.worker_id for each in kept)}) == 101


# --- the exit path ----------------------------------------------------------------------------------------------------


def test_an_exit_takes_the_worker_out_once(context):
    """LM-03: not in a snapshot, not subscribed, nothing to take; one event says so, however often it is looked at."""
    with linked_actor() as participant:
        registration = _register(context, participant.it)
        context.channel(*QUEUE).publish(body(1))
        events = events_of(context)
        kill(participant.it)
        assert registration.wait_closed(WAIT_S)

        assert listed(context) == listed(context) == []
        assert registration.try_next() is None
        assert _subscribers(context) == 0
        assert [(each.kind, each.worker_id) for each in events] == [(EventKind.CRASHED, "mine")]


def test_a_dead_worker_is_inactive_before_its_subscription_is_dropped(context):
    """LM-03: no snapshot can list a deaf worker."""
    seen: list[tuple[bool, bool]] = []
    with linked_actor() as participant:
        registration = _register(context, participant.it)
        entry = registration._blueprint.entry

        def note(carry_on: Any, _fanout: Any, inbox: Any) -> Any:
            seen.append((entry.active, inbox.closed))
            return carry_on()

        with instead(Step(Fanout, "remove"), note):
            participant.it.stop()
            assert registration.wait_closed(WAIT_S)
            wait_until(lambda: bool(seen))

    assert seen == [(False, False)]


def test_a_death_is_seen_though_the_channel_is_busy(context, monkeypatch):
    """LM-03: the worker is inactive from the moment of its death, and out with the channel's next turn."""
    let_channels_be_told_functions(monkeypatch)
    with linked_actor() as participant, gate() as busy:
        registration = _register(context, participant.it)
        held = later(lambda: context.channel(*QUEUE).session.ask(busy))
        busy.wait_entered()
        waiting = [later(lambda: listed(context)) for _ in range(3)]
        kill(participant.it)
        gone = registration.wait_closed(WAIT_S) and not registration._blueprint.entry.active
        busy.opened.set()
        held.get(timeout=WAIT_S)

        assert gone
        assert [each.get(timeout=WAIT_S) for each in waiting] == [[], [], []]


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "given"])
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda ref: ref.stop(), ("normal", None)),
        (kill, ("killed", None)),
        (lambda ref: order_exit(ref, ExitReason.from_error(ValueError(INJECTED))), ("error", "ValueError")),
        (lambda ref: order_exit(ref, ExitReason.from_error(SystemExit(INJECTED))), ("error", "SystemExit")),
    ],
    ids=["stop", "kill", "error", "exit"],
)
def test_every_end_of_an_actor_counts_and_is_told(context, owned, end, reason):
    """LM-04, LM-13: a normal stop as much as a crash; the reason is kept and shown."""
    with linked_actor() as participant:
        registration = context.register_worker(*QUEUE, ONE) if owned else _register(context, participant.it)
        end(registration.participant)
        assert registration.wait_closed(WAIT_S)

        assert (registration.exit_reason.kind, registration.exit_reason.error_type) == reason
        assert reason[0] != "error" or INJECTED in str(registration.exit_reason)
        assert listed(context) == []
        assert not registration.is_active


@pytest.mark.parametrize("error", [RuntimeError(INJECTED), SystemExit(INJECTED)], ids=lambda each: type(each).__name__)
def test_a_handler_that_raises_takes_its_worker_out(context, error):
    """LM-04, LM-13: the exception itself is at hand, told or asked."""
    with linked_actor() as participant:
        registration = _register(context, participant.it)
        participant.it.tell(raising(error))
        assert registration.wait_closed(WAIT_S)

        assert registration.exit_reason.error is error
        assert str(registration.exit_reason) == f"{type(error).__name__}: {INJECTED}"
        assert listed(context) == []


@pytest.mark.parametrize("kind", PARTICIPANTS)
def test_the_end_of_any_participant_takes_its_worker_out(context, kind):
    """LM-04, LM-13: actor, stock actor, process, command or task: when it has done what it had to do, `normal`."""
    with PARTICIPANTS[kind]() as participant:
        registration = _register(context, participant.it)
        before = listed(context)
        participant.end()
        assert registration.wait_closed(WAIT_S)

        assert before == ["mine"]
        assert registration.exit_reason.is_normal
        assert (listed(context), _subscribers(context)) == ([], 0)


def test_a_process_that_is_killed_is_told_with_the_signal(context):
    """LM-13: the reason of a process is its exit code or its signal."""
    with process() as participant:
        registration = _register(context, participant.it)
        os.kill(participant.it.pid, signal.SIGKILL)
        assert registration.wait_closed(WAIT_S)

        assert registration.exit_reason.signal == "SIGKILL"
        assert listed(context) == []


def test_a_task_that_is_cancelled_is_told_as_killed(context):
    """LM-13: the reason of a task is its exception, or that it was cancelled."""
    with task() as participant:
        registration = _register(context, participant.it)
        participant.it.get_loop().call_soon_threadsafe(participant.it.cancel)
        assert registration.wait_closed(WAIT_S)

        assert registration.exit_reason == ExitReason.killed("cancelled")
        assert listed(context) == []


def test_a_reason_once_known_stays(context):
    """LM-13: unregistering, closing and dropping do not put another in its place."""
    with linked_actor() as participant:
        registration = _register(context, participant.it)
        kill(participant.it, "for a reason")
        assert registration.wait_closed(WAIT_S)
        registration.unregister()
        context.close()

        assert registration.exit_reason == ExitReason.killed("for a reason")


@pytest.mark.parametrize("kind", PARTICIPANTS)
def test_a_death_before_the_watch_is_told_at_once(context, kind):
    """LM-05: registered after its end, the worker is never offered; the error says that it is dead."""
    with PARTICIPANTS[kind]() as participant:
        participant.end()
        wait_until(lambda: not participant.is_alive())
        with recorded({"insert": JOINING["join"]}) as order, pytest.raises(ChannelLifecycleError, match="dead"):
            _register(context, participant.it)

        assert order == []
        assert listed(context) == []


@pytest.mark.parametrize("kind", PARTICIPANTS)
def test_a_death_in_the_middle_of_a_registration_is_never_missed(context, kind):
    """LM-05: it ends just before the watch is armed: refused, or registered and over; never offered for good."""
    with PARTICIPANTS[kind]() as participant:

        def end_and_arm(carry_on: Any, *_: Any) -> Any:
            participant.end()
            return carry_on()

        with instead(JOINING["arm"], end_and_arm), suppress(ChannelLifecycleError):
            registration = _register(context, participant.it)
            assert registration.wait_closed(WAIT_S)

        wait_until(lambda: listed(context) == [])
        wait_until(lambda: _subscribers(context) == 0)


def test_a_crash_leaves_the_other_workers_and_their_order_untouched(context):
    """LM-06: `["crashed", "survivor"]` becomes `["survivor"]`; those around one that dies keep their places."""
    with ExitStack() as running:
        names = ["a", "crashed", "b", "survivor", "c"]
        participants = {name: running.enter_context(linked_actor()) for name in names}
        kept = {name: _register(context, participants[name].it, name) for name in names}
        before = listed(context)
        participants["crashed"].it.tell(raising(RuntimeError(INJECTED)))
        assert kept["crashed"].wait_closed(WAIT_S)
        context.channel(*QUEUE).publish(body(1))

        assert before == names
        assert listed(context) == ["a", "b", "survivor", "c"]
        assert [kept[name].is_active for name in names] == [True, False, True, True, True]
        assert [kept[name].try_next() is not None for name in names] == [True, False, True, True, True]


# --- the stop path ----------------------------------------------------------------------------------------------------


def test_the_owned_participant_is_ended_last_and_in_good_order(context, monkeypatch):
    """LM-07: after the watch is gone, with reason `normal`; no crash is reported on a clean unregister."""
    registration = context.register_worker(*QUEUE, ONE)
    events = events_of(context)
    ends: list[ExitReason] = []
    with recorded(LEAVING) as order:

        def note(_: Any, reason: ExitReason) -> None:
            order.append("end")
            ends.append(reason)

        monkeypatch.setattr(WorkerActor, "on_exit", note)
        registration.unregister()
    listed(context)

    assert order == [*LEAVING, "end"]
    assert ends == [ExitReason.normal()]
    assert [each.kind for each in events] == [EventKind.UNREGISTERED]
    assert registration.exit_reason.is_normal


@pytest.mark.parametrize("kind", PARTICIPANTS)
def test_what_is_not_ours_is_never_ended(kind):
    """WC-06, LM-07: not by unregistering, by dropping, by closing, or by a registration that fails."""
    with PARTICIPANTS[kind]() as participant:
        with WorkerContext() as context:
            _register(context, participant.it).unregister()
            after_leaving = participant.is_alive()
            dropped = _register(context, participant.it, "dropped")
            ended = dropped.closed
            del dropped
            gc.collect()
            assert ended.wait(WAIT_S)
            with instead(JOINING["join"], raising(RuntimeError(INJECTED))), pytest.raises(ChannelLifecycleError):
                _register(context, participant.it, "failed")
            after_failing = participant.is_alive()
            kept = _register(context, participant.it, "kept")
        after_closing = participant.is_alive()

        assert (after_leaving, after_failing, after_closing) == (True, True, True)
        assert not kept.is_active


@pytest.mark.parametrize("kind", PARTICIPANTS)
def test_leaving_does_not_wait_for_an_exit_that_never_comes(context, kind):
    """LM-08: a participant that lives on costs less than a second."""
    with PARTICIPANTS[kind]() as participant:
        registration = _register(context, participant.it)
        begun_s = time.monotonic()
        registration.unregister()

        assert time.monotonic() - begun_s < 1


def test_leaving_does_not_wait_for_an_activity_that_never_ends(context):
    """LM-08: nor does one whose handler hangs; its thread ends when the handler does."""
    with gate() as running:

        def work(_: Any) -> Completed:
            running()
            return Completed()

        registration = context.register_worker(*QUEUE, ONE, handlers={"work": work})
        channel = context.channel(*QUEUE)
        channel.session.submit(_conversation(channel))
        running.wait_entered()
        begun_s = time.monotonic()
        registration.unregister()
        took_s = time.monotonic() - begun_s
        running.opened.set()

    assert took_s < 1
    assert not registration.participant.is_alive()


def _conversation(channel: Any) -> Conversation:
    made = Conversation("c-1", ActivityRequest("work"), runtime().create_future(), channel_name=NAME)
    made.channel = channel
    return made


def test_a_watch_is_ended_as_often_as_one_likes(context):
    """LM-09: by unregistering, by dropping, by closing; the participant's later end is heard by nobody."""
    with linked_actor() as participant:
        registration = _register(context, participant.it)
        for _ in range(2):
            registration._blueprint.let_go()
        registration.unregister()
        registration.unregister()
        dropped = _register(context, participant.it, "dropped")
        watched = len(_watchers(participant.it))
        del dropped
        gc.collect()
        wait_until(lambda: not _watchers(participant.it))
        participant.it.stop()

        assert watched == 1
        assert registration.exit_reason.is_normal


def test_a_channel_that_dies_does_not_take_the_watch_along(context):
    """LM-09: the worker's death is heard by the next actor, also if it came while there was none."""
    with linked_actor() as one, linked_actor() as two:
        first, second = _register(context, one.it, "one"), _register(context, two.it, "two")
        crash(context.channel(*QUEUE))
        kill(one.it)
        assert first.wait_closed(WAIT_S)

        assert listed(context) == ["two"]
        assert (first.is_active, second.is_active) == (False, True)


def test_a_watch_whose_channel_is_closed_has_nobody_to_tell(context):
    """LM-09: the participant's end is noted, harmless, and starts nothing anew."""
    with linked_actor() as participant:
        registration = _register(context, participant.it)
        context.channel(*QUEUE).close()
        actors = len(ActorRegistry.get_all())
        kill(participant.it)
        assert registration.wait_closed(WAIT_S)
        registration.unregister()

        assert len(ActorRegistry.get_all()) == actors - 1


def test_a_supervisor_that_dies_takes_its_workers_out(context):
    """LM-09: their participants are linked to it; those that are not ours stay."""
    with linked_actor() as participant:
        owned, given = context.register_worker(*QUEUE, ONE), _register(context, participant.it)
        kill(owned._blueprint.supervisor)
        assert owned.wait_closed(WAIT_S)
        again = context.register_worker(*QUEUE, ONE)

        assert listed(context) == ["mine", again.worker_id]
        assert given.is_active
        owned.unregister()


def test_a_registration_can_be_collected_while_it_is_monitored(context):
    """LM-10: the watch on a participant that lives holds neither the registration nor, later, its entry."""
    with linked_actor() as participant, stock_actor() as stock:
        held = [_register(context, participant.it), _register(context, stock.it, "stock")]
        refs = [weakref.ref(each) for each in held]
        entries = [weakref.ref(each._blueprint.entry) for each in held]
        held.clear()
        collected = [each() for each in refs]

        def forgotten() -> bool:
            gc.collect()
            return [each() for each in entries] == [None, None]

        wait_until(forgotten)
        assert collected == [None, None]
        assert participant.is_alive()
        assert stock.is_alive()


# --- cost and speed ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Stock, PooledDoer], ids=["stock", "linked"])
def test_a_thousand_workers_of_others_cost_no_threads(context, kind):
    """LM-11, GR-09: at most two threads more than their participants have; all are told of, when they all end."""
    refs = [kind.start() for _ in range(1_000)]
    with ending(*refs):
        first = context.register_worker(*QUEUE, ONE)
        threads, actors = threading.active_count(), len(ActorRegistry.get_all())
        kept = [_register(context, ref, f"w{number}") for number, ref in enumerate(refs)]
        extra = (threading.active_count() - threads, len(ActorRegistry.get_all()) - actors)
        rows = len(listed(context))
        for ref in refs:
            ref.stop(block=False)
        ended = [each.wait_closed(WAIT_S) for each in kept]

        assert extra[0] <= 2
        assert extra[1] == 0
        assert rows == 1_001
        assert all(ended)
        assert listed(context) == [first.worker_id]


@pytest.mark.slow
def test_watching_a_thousand_workers_costs_no_time(context):
    """LM-11: nothing wakes up to look; while nothing happens, the process computes next to nothing."""
    refs = [PooledDoer.start() for _ in range(1_000)]
    over = threading.Event()
    with ending(*refs):
        kept = [_register(context, ref, f"w{number}") for number, ref in enumerate(refs)]
        gc.collect()
        computed_s, begun_s = time.process_time(), time.monotonic()
        runtime().call_later(1.0, over.set)
        assert over.wait(WAIT_S)
        computed_s, took_s = time.process_time() - computed_s, time.monotonic() - begun_s

        assert computed_s / took_s < 0.05
        assert all(each.is_active for each in kept)


def test_a_death_is_known_at_once(context):
    """LM-11: from the crash to a pool without the worker: 20 ms at most in the median, a second at the worst."""
    took_s: list[float] = []
    for _ in range(100):
        with linked_actor() as participant:
            registration = _register(context, participant.it)
            begun_s = time.monotonic()
            participant.it.tell(raising(RuntimeError(INJECTED)))
            assert registration.wait_closed(WAIT_S)
            rows = listed(context)
            took_s.append(time.monotonic() - begun_s)
            assert rows == []

    assert sorted(took_s)[50] < 0.02
    assert max(took_s) < 1


# --- when it dies at the wrong moment ---------------------------------------------------------------------------------


def test_leaving_is_bounded_though_the_channel_dies_meanwhile(context, monkeypatch):
    """LM-12: killed while it is asked to prune: less than 2 s, a typed error at most, and the worker is gone."""
    let_channels_be_told_functions(monkeypatch)
    registration = context.register_worker(*QUEUE, ONE)
    channel = context.channel(*QUEUE)
    with gate() as busy:
        held = later(lambda: channel.session.ask(busy))
        busy.wait_entered()
        with recorded({"prune": LEAVING["prune"]}) as order:
            leaving = later(lambda: _seconds_of(registration.unregister))
            wait_until(lambda: bool(order) and not channel.ref().actor_inbox.empty())
            kill(channel.ref())
        busy.opened.set()
        took_s = leaving.get(timeout=WAIT_S)
        held.get(timeout=WAIT_S)

    assert took_s < 2
    assert not registration.is_active
    assert not registration.participant.is_alive()
    assert listed(context) == []


def _seconds_of(leave: Any) -> float:
    begun_s = time.monotonic()
    with suppress(ChannelLifecycleError):
        leave()
    return time.monotonic() - begun_s


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_leaving_is_bounded_though_the_supervisor_dies(context, when):
    """LM-12: killed before it is asked to stop the participant, or by that very order: less than 2 s, no error."""
    registration = context.register_worker(*QUEUE, ONE)
    supervisor = registration._blueprint.supervisor

    def die_first(carry_on: Any, *_: Any) -> Any:
        kill(supervisor)
        assert supervisor.actor_stopped.wait(WAIT_S)
        return carry_on()

    step = LEAVING["terminate"] if when == "before" else Step(QuietSupervisor, "on_receive", DeleteChild)
    with instead(step, die_first if when == "before" else raising(SystemExit(INJECTED))):
        begun_s = time.monotonic()
        registration.unregister()
        took_s = time.monotonic() - begun_s

    assert took_s < 2
    assert registration.closed.is_set()
    assert registration.participant.actor_stopped.wait(WAIT_S)


def test_leaving_is_bounded_though_the_participant_dies_meanwhile(context):
    """LM-12: at each step of the leaving; no error, one end."""
    for step in LEAVING.values():
        registration = context.register_worker(*QUEUE, ONE)

        def die_first(carry_on: Any, *_: Any, ref: Any = registration.participant) -> Any:
            kill(ref)
            return carry_on()

        with instead(step, die_first):
            begun_s = time.monotonic()
            registration.unregister()

        assert time.monotonic() - begun_s < 2
        assert registration.closed.is_set()
        assert listed(context) == []


# --- foreign participants ---------------------------------------------------------------------------------------------


def test_a_child_of_another_supervisor_is_watched_as_itself(context):
    """LM-14, GR-01: two contexts with supervisors of their own; only the end of the very one that was given counts."""
    with WorkerContext() as theirs:
        foreign, sibling = theirs.register_worker(*QUEUE, ONE), theirs.register_worker(*QUEUE, ONE)
        own = context.register_worker(*QUEUE, ONE)
        guest = _register(context, foreign.participant)
        kill(sibling.participant)
        assert sibling.wait_closed(WAIT_S)
        after_sibling = listed(context)
        kill(foreign.participant)
        assert guest.wait_closed(WAIT_S)
        assert foreign.wait_closed(WAIT_S)

        assert own._blueprint.supervisor is not foreign._blueprint.supervisor
        assert after_sibling == ["worker-1", "mine"]
        assert listed(context) == ["worker-1"]
        assert listed(theirs) == []


def test_the_end_of_an_actor_is_not_taken_for_that_of_another(context):
    """LM-14: refs are told apart by an identity of the whole process, never by a number that may come again."""
    supervisors = [SupervisorActor.start() for _ in range(2)]
    with ending(*supervisors), ExitStack() as running:
        contexts = [running.enter_context(WorkerContext(supervisor=each)) for each in supervisors]
        pairs = [[each.register_worker(*QUEUE, ONE) for each in contexts] for _ in range(5)]
        refs = [registration.participant for pair in pairs for registration in pair]
        guests = [_register(context, ref, f"guest-{number}") for number, ref in enumerate(refs)]
        kill(refs[3])
        assert guests[3].wait_closed(WAIT_S)

        assert len(set(refs)) == 10
        assert [each.is_active for each in guests] == [number != 3 for number in range(10)]
        assert listed(context) == [f"guest-{number}" for number in range(10) if number != 3]


def test_one_participant_may_stand_for_several_workers(context):
    """LM-14: each is told of its end, and leaving as one of them does not end the watch of the others."""
    with linked_actor() as participant:
        workers = [_register(context, participant.it, name) for name in "abc"]
        elsewhere = context.register_worker_with_participant("ns", "other", "a", participant.it, THREE)
        workers[1].unregister()
        before = listed(context)
        participant.it.stop()

        assert before == ["a", "c"]
        assert all(each.wait_closed(WAIT_S) for each in (*workers, elsewhere))
        assert listed(context) == listed(context, "aion.dispatch.ns.other") == []


def test_what_is_no_participant_is_a_typed_error(context):
    """LM-14: a proxy, a future, a class: refused with what would be right, never watched as something else."""
    with linked_actor() as participant:
        refused: list[Any] = [participant.it.proxy(), runtime().create_future(), Doer, lambda: None, os.getpid()]
        for thing in refused:
            with pytest.raises(ChannelLifecycleError, match="cannot watch"):
                _register(context, thing)

    assert listed(context) == []


def _kill_all(refs: list[Any]) -> None:
    for ref in refs:
        kill(ref)


def test_many_deaths_at_the_same_moment_are_all_told(context):
    """LM-03, LM-11: 64 workers, killed from eight threads: all gone, none left, the survivor first and last."""
    survivor = context.register_worker(*QUEUE, ONE)
    refs = [PooledDoer.start() for _ in range(64)]
    with ending(*refs):
        kept = [_register(context, ref, f"w{number}") for number, ref in enumerate(refs)]
        at_once(8, lambda number: _kill_all(refs[number::8]))

        assert all(each.wait_closed(WAIT_S) for each in kept)
        assert listed(context) == [survivor.worker_id]
        assert {each.exit_reason.kind for each in kept} == {"killed"}
    wait_until(lambda: _subscribers(context) == 1)
