"""The supervisor as an actor: real children, real exits, nothing that blocks."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from linkkit import PATIENCE_S, Doer, Hold, PooledDoer, PooledTrapper, ask, ending, heard_of, raising, settle, soon
from pykka import ActorDeadError, ActorRef, ActorRegistry, ThreadingActor

from limen.actors.links import LinkedActor, kill
from limen.actors.supervisor import QuietSupervisor, SupervisorActor
from limen.messages.lifecycle import ExitKind
from limen.messages.supervision import (
    Backoff,
    ChildCounts,
    ChildSpec,
    ChildState,
    CountChildren,
    DeleteChild,
    RestartChild,
    RestartIntensity,
    RestartType,
    StartChild,
    StopChild,
    Strategy,
    WhichChildren,
)
from limen.messages.supervision_errors import (
    ChildExists,
    ChildStartFailed,
    NoSuchChild,
    SupervisorGaveUp,
    SupervisorStopping,
)

ENDLESS = RestartIntensity(10**9, 1.0)

KINDS = pytest.mark.parametrize("kind", [SupervisorActor, QuietSupervisor])
CHILDREN = pytest.mark.parametrize("child", [Doer, PooledDoer])


class Births:
    """Children that report each birth and death, to be awaited one by one."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.refs: queue.SimpleQueue[ActorRef[Any]] = queue.SimpleQueue()

    def start(self, child_id: str, child: type[Doer] = PooledDoer) -> ActorRef[Any]:
        ref = child.start(on_stop=lambda: self.events.put(("stopped", child_id)))
        self.events.put(("started", child_id))
        self.refs.put(ref)
        return ref

    def spec(self, child_id: str, child: type[Doer] = PooledDoer, **options: Any) -> ChildSpec:
        return ChildSpec(id=child_id, start=self.start, args=(child_id, child), **options)

    def next(self, count: int) -> list[tuple[str, str]]:
        return [soon(self.events) for _ in range(count)]


@pytest.fixture
def births() -> Births:
    """Give children that report."""
    return Births()


def rows(supervisor: ActorRef[Any]) -> dict[str, Any]:
    """Give what a supervisor says of its children, by id."""
    return {row.id: row for row in ask(supervisor, WhichChildren())}


def crash(ref: ActorRef[Any]) -> None:
    """Have an actor end with an error."""
    ref.tell(raising(ValueError("bad")))


# --- starting and restarting ------------------------------------------------------------------------------------------


@KINDS
@CHILDREN
def test_a_crashed_child_comes_back(kind, child):
    """The new incarnation is another actor, started the moment the old one is gone."""
    births = Births()
    supervisor = kind.start([births.spec("a", child)])
    with ending(supervisor):
        first = soon(births.refs)
        crash(first)
        second = soon(births.refs)
        settle(supervisor)
        assert (first.is_alive(), second.is_alive(), first != second) == (False, True, True)
        row = rows(supervisor)["a"]
        assert (row.ref, row.restarts, row.state) == (second, 1, ChildState.RUNNING)


@KINDS
def test_a_class_is_started_linked_with_its_arguments(kind):
    """A specification may name a class; there is no instant in which its child is not linked."""
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    spec = ChildSpec(id="a", start=Doer, args=(heard,), kwargs={"on_stop": lambda: heard.put("stopped")})
    supervisor = kind.start([spec])
    child = rows(supervisor)["a"].ref
    assert child.ask(lambda self: self._parent_urn) == supervisor.actor_urn
    supervisor.stop(timeout=PATIENCE_S)
    assert soon(heard) == "stopped"


@KINDS
def test_a_stock_pykka_actor_can_be_a_child(kind):
    """Any Pykka actor can be supervised."""
    started: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Stock(ThreadingActor):
        def on_start(self) -> None:
            started.put(self.actor_ref)

        def on_receive(self, message: Any) -> Any:
            return message(self)

    supervisor = kind.start([ChildSpec(id="a", start=Stock)])
    with ending(supervisor):
        crash(soon(started))
        second = soon(started)
        assert rows(supervisor)["a"].ref is second
        assert second.is_alive()


@KINDS
@pytest.mark.parametrize("end", [kill, lambda ref: ref.tell(raising(SystemExit())), lambda ref: ref.stop(block=False)])
def test_a_permanent_child_comes_back_from_every_end(kind, end):
    """Killed, crashed or stopped by somebody else."""
    births = Births()
    supervisor = kind.start([births.spec("a")], intensity=ENDLESS)
    with ending(supervisor):
        for _ in range(5):
            end(soon(births.refs))
        soon(births.refs)


@KINDS
def test_temporary_children_are_forgotten_and_transient_ones_rest(kind):
    """A normal end of a transient child leaves its specification; a temporary one leaves nothing."""
    births = Births()
    supervisor = kind.start([births.spec("a", restart="temporary"), births.spec("b", restart="transient")])
    with ending(supervisor):
        temporary, transient = soon(births.refs), soon(births.refs)
        crash(temporary)
        transient.stop()
        settle(supervisor)
        assert [(row.id, row.ref, row.state) for row in rows(supervisor).values()] == [("b", None, ChildState.DOWN)]
        assert supervisor.ask(CountChildren()) == ChildCounts(specs=1, active=0, abandoned=0)


@KINDS
def test_failed_starts_at_a_restart_count_as_crashes(kind):
    """A start that fails is tried again within the intensity, and the child comes back when it works."""
    births = Births()
    tries: list[int] = []

    def start() -> ActorRef[Any]:
        tries.append(1)
        if len(tries) in (2, 3):
            raise SystemExit("no")
        return births.start("a")

    supervisor = kind.start([ChildSpec(id="a", start=start)])
    with ending(supervisor):
        crash(soon(births.refs))
        assert soon(births.refs).is_alive()
        assert len(tries) == 4


@KINDS
def test_a_child_that_fails_in_on_start_escalates_within_bounds(kind):
    """A child that dies at once is restarted as often as the intensity bears, then the supervisor gives up."""
    started: list[int] = []

    class Stillborn(PooledDoer):
        def on_start(self) -> None:
            started.append(1)
            raise ValueError("bad")

    supervisor = kind.start([ChildSpec(id="a", start=Stillborn)], intensity=RestartIntensity(3, 60.0))
    heard = heard_of(supervisor)
    reason = soon(heard).reason
    assert reason.kind is ExitKind.NOPROC or reason.error_type == "SupervisorGaveUp"
    assert len(started) == 4


@KINDS
def test_a_first_child_that_cannot_start_ends_the_supervisor(kind):
    """Those started before are stopped, those after are never started, and the reason says which one."""
    births, hold = Births(), Hold()
    specs = [
        ChildSpec(id="gate", start=lambda: hold() and PooledDoer.start()),
        births.spec("a"),
        ChildSpec(id="b", start=raising(ValueError("bad"))),
        births.spec("c"),
    ]
    started: queue.SimpleQueue[Any] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: started.put(kind.start(specs)))
    thread.start()
    hold.wait()
    heard = heard_of(ActorRegistry.get_by_class(kind)[0])
    hold.let_go()
    thread.join(PATIENCE_S)
    reason = soon(heard).reason
    assert (reason.kind, reason.error_type) == (ExitKind.ERROR, "ChildStartFailed")
    assert "'b'" in reason.message
    assert births.next(2) == [("started", "a"), ("stopped", "a")]


# --- strategies -------------------------------------------------------------------------------------------------------


@KINDS
@CHILDREN
@pytest.mark.parametrize(
    ("strategy", "events"),
    [
        (Strategy.ONE_FOR_ONE, ["started b"]),
        (Strategy.ONE_FOR_ALL, ["stopped c", "stopped a", "started a", "started b", "started c"]),
        (Strategy.REST_FOR_ONE, ["stopped c", "started b", "started c"]),
    ],
)
def test_the_strategy_says_who_shares_the_fate(kind, child, strategy, events):
    """Stopped backwards, started forwards."""
    births = Births()
    supervisor = kind.start([births.spec(each, child) for each in "abc"], strategy=strategy)
    births.next(3)
    _, middle, _ = (soon(births.refs) for _ in range(3))
    crash(middle)
    assert [" ".join(event) for event in births.next(len(events))] == events
    supervisor.stop(timeout=PATIENCE_S)
    assert births.next(3) == [("stopped", "c"), ("stopped", "b"), ("stopped", "a")]


def test_requests_wait_while_a_group_is_restarted(births):
    """A child added in the middle of a group's restart is started after it, and its asker is answered."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Doer):
        def on_stop(self) -> None:
            begun.set()
            go_on.wait(PATIENCE_S)

    supervisor = SupervisorActor.start(
        [births.spec("a"), ChildSpec(id="slow", start=Slow)], strategy=Strategy.ONE_FOR_ALL
    )
    births.next(1)
    crash(soon(births.refs))
    assert begun.wait(PATIENCE_S)
    assert rows(supervisor)["slow"].state is ChildState.STOPPING
    asked = supervisor.ask(StartChild(births.spec("b")), block=False)
    stranger = supervisor.ask(StopChild("nobody"), block=False)
    settle_state(supervisor)
    go_on.set()
    assert births.next(2) == [("started", "a"), ("started", "b")]
    assert asked.get(timeout=PATIENCE_S).is_alive()
    with pytest.raises(NoSuchChild):
        stranger.get(timeout=PATIENCE_S)
    supervisor.stop(timeout=PATIENCE_S)


def settle_state(supervisor: ActorRef[Any]) -> None:
    """Wait until a supervisor has handled all that it has been sent up to now."""
    ask(supervisor, CountChildren())


# --- requests ---------------------------------------------------------------------------------------------------------


@KINDS
def test_children_come_and_go_on_request(kind):
    """Start, stop, restart, delete: each answered when it is done."""
    births = Births()
    supervisor = kind.start()
    with ending(supervisor):
        first = supervisor.ask(StartChild(births.spec("a")))
        assert rows(supervisor)["a"].ref is first
        assert supervisor.ask(StopChild("a"), timeout=PATIENCE_S) is None
        assert not first.is_alive()
        assert rows(supervisor)["a"].state is ChildState.DOWN
        second = supervisor.ask(RestartChild("a"), timeout=PATIENCE_S)
        third = supervisor.ask(RestartChild("a"), timeout=PATIENCE_S)
        assert [each.is_alive() for each in (second, third)] == [False, True]
        assert supervisor.ask(DeleteChild("a"), timeout=PATIENCE_S) is None
        assert not third.is_alive()
        assert supervisor.ask(WhichChildren()) == ()


@KINDS
@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (StartChild(ChildSpec(id="a", start=PooledDoer)), ChildExists("a")),
        (StartChild(ChildSpec(id="b", start=raising(ValueError("bad")))), ChildStartFailed("b", "ValueError: bad")),
        (StartChild(ChildSpec(id="b", start=raising(SystemExit("out")))), ChildStartFailed("b", "SystemExit: out")),
        (
            StartChild(ChildSpec(id="b", start=lambda: "no ref")),
            ChildStartFailed("b", "TypeError: the start of child 'b' must return an ActorRef, not str"),
        ),
        (StopChild("b"), NoSuchChild("b")),
        (RestartChild("b"), NoSuchChild("b")),
        (DeleteChild("b"), NoSuchChild("b")),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["ask", "tell"])
def test_a_request_that_cannot_be_met_is_refused_and_harms_nobody(kind, request_, error, how):
    """The asker gets a typed error; under `tell` it is logged; the supervisor and its children live on."""
    supervisor = kind.start([ChildSpec(id="a", start=PooledDoer)])
    with ending(supervisor):
        if how == "ask":
            with pytest.raises(type(error)) as caught:
                supervisor.ask(request_, timeout=PATIENCE_S)
            assert caught.value == error
        else:
            supervisor.tell(request_)
        assert [row.state for row in rows(supervisor).values()] == [ChildState.RUNNING]


def test_a_failed_start_says_its_cause():
    """The original exception is the cause of what the asker gets."""
    supervisor = QuietSupervisor.start()
    bad = ValueError("bad")
    with ending(supervisor), pytest.raises(ChildStartFailed) as caught:
        supervisor.ask(StartChild(ChildSpec(id="a", start=raising(bad))))
    assert caught.value.__cause__ is bad


def test_a_start_that_returns_anothers_child_is_refused():
    """One actor cannot be two children."""
    supervisor = QuietSupervisor.start([ChildSpec(id="a", start=PooledDoer)])
    ref = rows(supervisor)["a"].ref
    with ending(supervisor), pytest.raises(ChildStartFailed, match="ref of child 'a'"):
        supervisor.ask(StartChild(ChildSpec(id="b", start=lambda: ref)))


def test_a_requested_restart_that_fails_is_told():
    """The asker of a restart gets the error of the start; the child stays down and nothing escalates."""
    starts: list[int] = []

    def once() -> ActorRef[Any]:
        starts.append(1)
        if len(starts) > 1:
            raise ValueError("bad")
        return PooledDoer.start()

    supervisor = QuietSupervisor.start([ChildSpec(id="a", start=once)], intensity=RestartIntensity(0, 60.0))
    with ending(supervisor):
        with pytest.raises(ChildStartFailed, match="ValueError: bad"):
            supervisor.ask(RestartChild("a"), timeout=PATIENCE_S)
        assert rows(supervisor)["a"].state is ChildState.DOWN


def test_an_unknown_message_is_logged(caplog):
    """A stray `tell` does not kill a public actor."""
    supervisor = QuietSupervisor.start()
    with ending(supervisor):
        supervisor.tell("what?")
        assert ask(supervisor, CountChildren()).specs == 0
    assert "Unexpected message" in caplog.text


# --- stopping ---------------------------------------------------------------------------------------------------------


@KINDS
@CHILDREN
def test_a_stop_is_answered_when_all_children_are_gone(kind, child):
    """In reverse start order, one after the other; the registry is empty when `stop` returns."""
    births = Births()
    supervisor = kind.start([births.spec(each, child) for each in "abc"])
    births.next(3)
    refs = [soon(births.refs) for _ in range(3)]
    assert supervisor.stop(timeout=PATIENCE_S) is True
    assert [ref.is_alive() for ref in refs] == [False] * 3
    assert births.next(3) == [("stopped", "c"), ("stopped", "b"), ("stopped", "a")]
    assert ActorRegistry.get_by_class(kind) == []


class Stuck(Doer):
    """A child whose handler does not return before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def get_stuck(self) -> None:
        """Stay in a handler."""
        self.begun.set()
        self.go_on.wait(PATIENCE_S)


def stuck_child(supervisor: ActorRef[Any]) -> tuple[ActorRef[Any], threading.Event]:
    """Get the child stuck; give it, and the event that lets it go."""
    ref = rows(supervisor)["stuck"].ref
    begun, go_on = ask(ref, lambda self: (self.begun, self.go_on))
    ref.tell(Stuck.get_stuck)
    assert begun.wait(PATIENCE_S)
    return ref, go_on


def test_a_child_that_ignores_its_deadline_is_killed(births, monkeypatch):
    """After its time the child is killed: the rest of its backlog, and its stop, are not waited for."""
    killed = threading.Event()

    def kill_and_say(ref: ActorRef[Any], why: str) -> None:
        kill(ref, why)
        killed.set()

    monkeypatch.setattr("limen.actors.supervisor.kill", kill_and_say)
    spec = ChildSpec(id="stuck", start=Stuck, shutdown_timeout_s=0.01)
    supervisor = SupervisorActor.start([births.spec("a"), spec])
    births.next(1)
    child, go_on = stuck_child(supervisor)
    heard = heard_of(child)
    for _ in range(100):
        child.tell(lambda _: births.events.put(("handled", "backlog")))
    supervisor_gone = heard_of(supervisor)
    stop = supervisor.stop(block=False)
    assert killed.wait(PATIENCE_S)
    go_on.set()
    assert soon(heard).reason.kind is ExitKind.KILLED
    assert stop.get(timeout=PATIENCE_S) is True
    assert soon(supervisor_gone).reason.kind is ExitKind.NORMAL
    assert births.next(1) == [("stopped", "a")]
    assert births.events.empty()


def test_a_child_that_cannot_be_ended_is_abandoned_logged_and_counted(caplog):
    """A handler that never returns holds up neither the supervisor nor its stop; its late end is noticed."""
    spec = ChildSpec(id="stuck", start=Stuck, shutdown_timeout_s=0.01)
    supervisor = SupervisorActor.start([spec], abandon_after_s=0.01)
    child, go_on = stuck_child(supervisor)
    with ending(supervisor):
        assert supervisor.ask(StopChild("stuck"), timeout=PATIENCE_S) is None
        assert supervisor.ask(CountChildren()) == ChildCounts(specs=1, active=0, abandoned=1)
        assert "is abandoned" in caplog.text
        second = supervisor.ask(RestartChild("stuck"), timeout=PATIENCE_S)
        assert second != child
        gone = heard_of(child)
        go_on.set()
        soon(gone)
        settle_state(supervisor)
        assert supervisor.ask(CountChildren()) == ChildCounts(specs=1, active=1, abandoned=0)


def test_a_stop_waits_for_no_child_that_cannot_be_ended():
    """The whole shutdown is bounded, whatever the children do."""
    specs = [ChildSpec(id="stuck", start=Stuck, shutdown_timeout_s=0)]
    supervisor = SupervisorActor.start(specs, abandon_after_s=0.01)
    _, go_on = stuck_child(supervisor)
    assert supervisor.stop(timeout=PATIENCE_S) is True
    go_on.set()


def test_patience_without_end_waits_for_the_child():
    """With a timeout of `None` no clock runs: the child ends in its own time."""
    spec = ChildSpec(id="stuck", start=Stuck, shutdown_timeout_s=None)
    supervisor = SupervisorActor.start([spec], abandon_after_s=0.0)
    child, go_on = stuck_child(supervisor)
    heard = heard_of(child)
    stop = supervisor.stop(block=False)
    assert rows(supervisor)["stuck"].state is ChildState.STOPPING
    assert ask(supervisor, CountChildren()).active == 1
    go_on.set()
    assert stop.get(timeout=PATIENCE_S) is True
    assert soon(heard).reason.kind is ExitKind.NORMAL


@KINDS
def test_while_it_stops_nothing_is_started_and_requests_are_answered(kind):
    """New children are refused; those who ask for a child's end are answered when it is gone."""
    births = Births()
    supervisor = kind.start([births.spec("a"), ChildSpec(id="stuck", start=Stuck)])
    births.next(1)
    child, go_on = stuck_child(supervisor)
    stop = supervisor.stop(block=False)
    again = supervisor.stop(block=False)
    for request in (StartChild(births.spec("b")), RestartChild("a")):
        with pytest.raises(SupervisorStopping):
            supervisor.ask(request, timeout=PATIENCE_S)
    stopping_a = supervisor.ask(StopChild("a"), block=False)
    kill(soon(births.refs))
    assert stopping_a.get(timeout=PATIENCE_S) is None
    go_on.set()
    assert [each.get(timeout=PATIENCE_S) for each in (stop, again)] == [True, True]
    assert not child.is_alive()
    assert births.events.empty()


# --- shared fate ------------------------------------------------------------------------------------------------------


@KINDS
@CHILDREN
def test_children_die_with_their_supervisor(kind, child):
    """A killed supervisor takes its children with it, and theirs."""
    inner = ChildSpec(id="inner", start=kind, args=([ChildSpec(id="leaf", start=child)],))
    supervisor = kind.start([ChildSpec(id="a", start=child), inner])
    refs = [row.ref for row in rows(supervisor).values()]
    refs.append(rows(refs[1])["leaf"].ref)
    heard = [heard_of(ref) for ref in refs]
    kill(supervisor, "enough")
    assert [soon(each).reason.kind for each in heard] == [ExitKind.KILLED, ExitKind.KILLED, ExitKind.NORMAL]


@KINDS
def test_giving_up_is_an_error_that_the_next_supervisor_sees(kind):
    """Escalation: the inner supervisor stops its children, ends with `SupervisorGaveUp`, and is restarted whole."""
    births = Births()
    inner = ChildSpec(
        id="inner",
        start=kind,
        args=([births.spec("a"), births.spec("b")],),
        kwargs={"intensity": RestartIntensity(1, 60.0)},
    )
    outer = kind.start([inner])
    births.next(2)
    with ending(outer):
        heard = heard_of(rows(outer)["inner"].ref)
        crash(soon(births.refs))
        soon(births.refs)
        births.next(1)
        crash(soon(births.refs))
        reason = soon(heard).reason
        assert (reason.kind, reason.error_type) == (ExitKind.ERROR, "SupervisorGaveUp")
        assert reason.error == SupervisorGaveUp("a", "ValueError: bad", 1, 60.0)
        assert isinstance(reason.error.__cause__, ValueError)
        assert births.next(3) == [("stopped", "b"), ("started", "a"), ("started", "b")]
        assert rows(outer)["inner"].restarts == 1


@KINDS
def test_a_child_with_a_limit_of_its_own_is_given_up_alone(kind):
    """Past its own intensity it is not restarted, its owner is told once with the reason, the supervisor lives."""
    births = Births()
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def on_given_up(reason: Any) -> None:
        told.put(reason)
        raise SystemExit("a bad callback harms nobody")

    spec = births.spec("a", intensity=RestartIntensity(2, 60.0), on_given_up=on_given_up)
    supervisor = kind.start([spec, births.spec("b")], intensity=RestartIntensity(0, 60.0))
    with ending(supervisor):
        first, other = soon(births.refs), soon(births.refs)
        crash(first)
        crash(soon(births.refs))
        crash(soon(births.refs))
        assert soon(told).error_type == "ValueError"
        assert rows(supervisor)["a"].state is ChildState.DOWN
        assert other.ask("still there") == "still there"
        assert told.empty()
        assert supervisor.ask(RestartChild("a"), timeout=PATIENCE_S).is_alive()


def test_a_supervisor_ends_with_its_parent():
    """A supervisor started by an actor and linked to it never outlives it, and stops its children in order."""
    births = Births()
    for end in (kill, lambda ref: ref.stop(block=False)):
        parent = PooledTrapper.start()
        specs = [births.spec("a"), births.spec("b")]
        supervisor = ask(parent, lambda self, specs=specs: self.spawn_link(SupervisorActor, specs))
        births.next(2)
        heard = heard_of(supervisor)
        end(parent)
        assert births.next(2) == [("stopped", "b"), ("stopped", "a")]
        assert soon(heard).reason.kind is (ExitKind.KILLED if end is kill else ExitKind.NORMAL)


def test_a_stranger_that_links_itself_is_nothing_to_the_supervisor():
    """The end of an actor that is no child and no parent changes nothing."""
    supervisor = QuietSupervisor.start([ChildSpec(id="a", start=PooledDoer)])
    stranger = PooledDoer.start()
    with ending(supervisor):
        stranger.ask(lambda self: self.link(supervisor))
        kill(stranger)
        settle_state(supervisor)
        assert ask(supervisor, CountChildren()).active == 1


# --- backoff ----------------------------------------------------------------------------------------------------------


@KINDS
def test_a_restart_waits_for_its_backoff(kind):
    """The wait is a timer, not a sleep: meanwhile the supervisor answers, and the child counts as waiting."""
    births = Births()
    supervisor = kind.start([births.spec("a")], backoff=Backoff(0.05, jitter=0.0))
    with ending(supervisor):
        first = soon(births.refs)
        gone = heard_of(first)
        begun_s = time.monotonic()
        crash(first)
        soon(gone)
        settle_state(supervisor)
        if time.monotonic() - begun_s < 0.05:
            assert rows(supervisor)["a"].state in (ChildState.WAITING, ChildState.RUNNING)
        soon(births.refs)
        assert time.monotonic() - begun_s >= 0.05


def test_stopping_does_not_wait_for_a_backoff(births):
    """A child that waits an hour for its restart holds up no stop."""
    supervisor = SupervisorActor.start([births.spec("a")], backoff=Backoff(3600.0, max_s=3600.0))
    first = soon(births.refs)
    gone = heard_of(first)
    crash(first)
    soon(gone)
    assert supervisor.stop(timeout=PATIENCE_S) is True


# --- many -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@KINDS
def test_ten_thousand_children_start_crash_and_stop(kind):
    """Ten thousand children are started, all crash, all come back, all are stopped; none is lost."""
    supervisor = kind.start(intensity=ENDLESS)
    refs = [supervisor.ask(StartChild(ChildSpec(id=str(number), start=PooledDoer))) for number in range(10_000)]
    for ref in refs:
        kill(ref)
    deadline_s = time.monotonic() + 60
    while any(row.restarts != 1 for row in supervisor.ask(WhichChildren(), timeout=60)):
        assert time.monotonic() < deadline_s
    assert supervisor.ask(CountChildren()) == ChildCounts(specs=10_000, active=10_000, abandoned=0)
    assert supervisor.stop(timeout=60) is True


@pytest.mark.slow
def test_the_cost_of_a_child_does_not_grow_with_their_number():
    """Starting and losing a child among 10,000 costs about what it costs among 100: no list is searched."""

    class Temporary(LinkedActor):
        never_blocks: ClassVar[bool] = True

    def cost_s(supervisor: ActorRef[Any], tag: str) -> float:
        best_s = float("inf")
        for turn in range(5):
            begun_s = time.process_time()
            for number in range(100):
                spec = ChildSpec(id=f"{tag}-{turn}-{number}", start=Temporary, restart=RestartType.TEMPORARY)
                kill(ask(supervisor, StartChild(spec)))
            best_s = min(best_s, time.process_time() - begun_s)
        return best_s

    supervisor = QuietSupervisor.start()
    few_s = cost_s(supervisor, "few")
    for number in range(10_000):
        supervisor.ask(StartChild(ChildSpec(id=str(number), start=Temporary)))
    many_s = cost_s(supervisor, "many")
    supervisor.stop(timeout=60)
    assert many_s < 5 * few_s


@pytest.mark.slow
def test_a_supervisor_holds_up_no_process(run_python):
    """A script that forgets its supervisor still exits: the thread is a daemon."""
    done = run_python(
        "-c",
        "from limen.actors import SupervisorActor; SupervisorActor.start(); print('end of script')",
        timeout_s=20,
    )
    assert (done.returncode, done.stdout) == (0, "end of script\n")


def test_a_dead_supervisor_takes_no_children():
    """Asking one that is gone is an error of Pykka's."""
    supervisor = QuietSupervisor.start()
    supervisor.stop()
    with pytest.raises(ActorDeadError):
        supervisor.ask(StartChild(ChildSpec(id="a", start=PooledDoer)))


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("id", "", ValueError),
        ("id", 7, TypeError),
        ("shutdown_timeout_s", -1, ValueError),
        ("restart", "sometimes", ValueError),
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(field, value, error):
    """Refused when it is written, not when the child dies."""
    with pytest.raises(error):
        ChildSpec(**{"id": "a", "start": PooledDoer, field: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda: RestartIntensity(-1),
        lambda: RestartIntensity(3, 0),
        lambda: Backoff(-0.1),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(jitter=1.5),
    ],
)
def test_limits_that_make_no_sense_are_refused(make: Callable[[], object]):
    """The same for intensities and backoffs."""
    with pytest.raises(ValueError, match="must be"):
        make()
