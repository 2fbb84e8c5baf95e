"""What a supervisor decides, without an actor: tables for the rules, Hypothesis for what must always hold."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.actors._supervision import RestartWindow, Supervision, delay_s
from limen.actors._supervision_orders import Abandon, Finish, GiveUp, Kill, Order, Start, Stop, Unwait, Wait
from limen.messages.lifecycle import ExitKind, ExitReason
from limen.messages.supervision import (
    Backoff,
    ChildSpec,
    ChildState,
    RestartIntensity,
    RestartType,
    Strategy,
)
from limen.messages.supervision_errors import ChildExists, NoSuchChild, SupervisorGaveUp

NORMAL = ExitReason.normal()
CRASH = ExitReason(ExitKind.ERROR, "ValueError", "bad")
KILLED = ExitReason.killed()

ENDLESS = RestartIntensity(10**9, 1.0)


class Shell:
    """Carries orders out the way the actor does, on paper: starts succeed unless told otherwise, the rest is kept."""

    def __init__(
        self,
        *ids: str,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: RestartIntensity = ENDLESS,
        backoff: Backoff | None = None,
        **spec: Any,
    ) -> None:
        self.core = Supervision(strategy, intensity, backoff, lambda: 0.0)
        self.now_s = 0.0
        self.broken: dict[str, int] = {}
        self.log: list[Order] = []
        for child_id in ids:
            self.add(child_id, **spec)
        self.log.clear()

    def add(self, child_id: str, **spec: Any) -> None:
        self.obey(self.core.add(ChildSpec(id=child_id, start=print, **spec)))

    def obey(self, orders: Iterable[Order]) -> list[Order]:
        """Carry orders out; give back all that were given in this turn."""
        queue, given = list(orders), []
        while queue:
            order = queue.pop(0)
            given.append(order)
            self.note(order)
            if isinstance(order, Start):
                queue += self._start(order.child_id)
            if not queue:
                queue += self.core.resume(self.now_s)
        return given

    def note(self, order: Order) -> None:
        self.log.append(order)

    def _start(self, child_id: str) -> Iterable[Order]:
        if self.broken.get(child_id, 0) > 0:
            self.broken[child_id] -= 1
            return self.core.not_started(child_id, CRASH, self.now_s)
        return self.core.started(child_id, self.now_s)

    def exit(self, child_id: str, reason: ExitReason = CRASH) -> list[Order]:
        return self.obey(self.core.exited(child_id, reason, self.now_s))

    def waited(self, child_id: str) -> list[Order]:
        return self.obey(self.core.waited(child_id, self.incarnation(child_id)))

    def overdue(self, child_id: str) -> list[Order]:
        return self.obey(self.core.overdue(child_id, self.incarnation(child_id)))

    def incarnation(self, child_id: str) -> int:
        return self.core.children[child_id].incarnation

    def states(self) -> dict[str, ChildState]:
        return {child_id: child.state for child_id, child in self.core.children.items()}


def told(orders: Iterable[Order]) -> list[str]:
    """Write orders shortly."""
    return [
        "finish" if isinstance(order, Finish) else f"{type(order).__name__.lower()} {order.child_id}"
        for order in orders
    ]


# --- one for one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "reason", "comes_back", "is_kept"),
    [
        (RestartType.PERMANENT, NORMAL, True, True),
        (RestartType.PERMANENT, CRASH, True, True),
        (RestartType.PERMANENT, KILLED, True, True),
        (RestartType.TRANSIENT, NORMAL, False, True),
        (RestartType.TRANSIENT, CRASH, True, True),
        (RestartType.TRANSIENT, KILLED, True, True),
        (RestartType.TRANSIENT, ExitReason.noproc(), True, True),
        (RestartType.TEMPORARY, NORMAL, False, False),
        (RestartType.TEMPORARY, CRASH, False, False),
        (RestartType.TEMPORARY, KILLED, False, False),
    ],
)
def test_the_restart_type_says_who_comes_back(restart, reason, comes_back, is_kept):
    """OTP's table of restart types and exit reasons."""
    shell = Shell("a", "b", restart=restart)
    assert told(shell.exit("a", reason)) == (["start a"] if comes_back else [])
    assert ("a" in shell.core.children) is is_kept
    assert shell.states()["b"] is ChildState.RUNNING


def test_a_new_child_is_started_and_an_id_is_taken_once():
    """The same id twice is refused, also when the first is down."""
    shell = Shell("a", restart="transient")
    shell.exit("a", NORMAL)
    with pytest.raises(ChildExists):
        shell.add("a")


def test_a_new_child_that_fails_to_start_is_forgotten_and_no_crash():
    """Source: OTP, start_child returns the error and keeps nothing."""
    shell = Shell(intensity=RestartIntensity(0, 5.0))
    shell.broken["a"] = 1
    shell.add("a")
    assert shell.core.children == {}
    shell.add("a")
    assert shell.states() == {"a": ChildState.RUNNING}


@pytest.mark.parametrize("what", ["stop", "delete", "restart"])
def test_requests_for_a_stranger_are_refused(what):
    """An id that is not known is an error."""
    with pytest.raises(NoSuchChild):
        getattr(Shell("a").core, what)("b")


def test_a_stopped_child_stays_down_until_it_is_restarted():
    """A stop on request is no crash."""
    shell = Shell("a")
    assert told(shell.obey(shell.core.stop("a"))) == ["stop a"]
    assert shell.exit("a", KILLED) == []
    assert shell.states() == {"a": ChildState.DOWN}
    assert told(shell.obey(shell.core.restart("a"))) == ["start a"]
    assert shell.states() == {"a": ChildState.RUNNING}


def test_a_temporary_child_that_is_stopped_is_forgotten():
    """Nothing is kept of a temporary child that is gone."""
    shell = Shell("a", restart="temporary")
    shell.obey(shell.core.stop("a"))
    shell.exit("a", NORMAL)
    assert shell.core.children == {}


def test_restarting_a_running_child_stops_it_first():
    """One after the other: never two incarnations at once."""
    shell = Shell("a")
    assert told(shell.obey(shell.core.restart("a"))) == ["stop a"]
    assert told(shell.exit("a", NORMAL)) == ["start a"]
    assert shell.core.children["a"].restarts == 1


def test_a_requested_restart_that_fails_is_no_crash():
    """The asker gets the error; the child stays down. Source: OTP, restart_child."""
    shell = Shell("a", intensity=RestartIntensity(0, 5.0))
    shell.obey(shell.core.stop("a"))
    shell.exit("a", NORMAL)
    shell.broken["a"] = 1
    assert told(shell.obey(shell.core.restart("a"))) == ["start a"]
    assert shell.states() == {"a": ChildState.DOWN}


def test_deleting_stops_first_and_forgets():
    """A child that runs is stopped, one that is down is gone at once."""
    shell = Shell("a", "b")
    assert told(shell.obey(shell.core.delete("a"))) == ["stop a"]
    shell.exit("a", NORMAL)
    shell.obey(shell.core.stop("b"))
    shell.exit("b", NORMAL)
    assert shell.obey(shell.core.delete("b")) == []
    assert shell.core.children == {}


@pytest.mark.parametrize(
    ("requests", "state_after"),
    [
        (["stop", "restart"], ChildState.RUNNING),
        (["restart", "stop"], ChildState.DOWN),
        (["delete", "restart"], ChildState.RUNNING),
        (["restart", "delete"], None),
        (["stop", "delete"], None),
    ],
)
def test_the_last_request_before_a_child_is_gone_counts(requests, state_after):
    """Several requests while it stops: it is stopped once, and the last wish is done."""
    shell = Shell("a")
    for request in requests:
        shell.obey(getattr(shell.core, request)("a"))
    assert told(shell.log) == ["stop a"]
    shell.exit("a", NORMAL)
    assert shell.states().get("a") is state_after


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_the_deadline_kills_and_a_second_one_abandons():
    """Stop, then kill, then care no more."""
    shell = Shell("a")
    shell.obey(shell.core.stop("a"))
    assert told(shell.overdue("a")) == ["kill a"]
    assert told(shell.overdue("a")) == ["abandon a"]
    assert (shell.core.abandoned, shell.core.active) == (1, 0)
    assert shell.states() == {"a": ChildState.DOWN}


@pytest.mark.parametrize(
    ("timeout_s", "order"),
    [(5.0, Stop("a", 1, 5.0)), (None, Stop("a", 1, None)), (0, Kill("a", 1)), (0.0, Kill("a", 1))],
)
def test_the_timeout_says_how_to_stop(timeout_s, order):
    """A time, for ever, or at once. Source: OTP, shutdown."""
    shell = Shell("a", shutdown_timeout_s=timeout_s)
    assert shell.obey(shell.core.stop("a")) == [order]


def test_a_brutal_kill_that_does_not_help_abandons():
    """A child killed at once has one bound only."""
    shell = Shell("a", shutdown_timeout_s=0)
    shell.obey(shell.core.stop("a"))
    assert told(shell.overdue("a")) == ["abandon a"]


def test_what_speaks_of_an_earlier_incarnation_comes_too_late():
    """Timers of a child that has ended since do nothing."""
    shell = Shell("a")
    shell.obey(shell.core.restart("a"))
    shell.exit("a", NORMAL)
    shell.obey(shell.core.stop("a"))
    assert shell.obey(shell.core.overdue("a", 1)) == []
    assert shell.obey(shell.core.waited("a", 1)) == []
    assert shell.obey(shell.core.overdue("stranger", 1)) == []


def test_shutdown_goes_in_reverse_start_order_one_by_one():
    """The next is told to stop when the one before is gone; then the supervisor finishes."""
    shell = Shell("a", "b", "c")
    assert told(shell.obey(shell.core.shut_down())) == ["stop c"]
    assert told(shell.exit("c", NORMAL)) == ["stop b"]
    assert told(shell.overdue("b")) == ["kill b"]
    assert told(shell.exit("b", KILLED)) == ["stop a"]
    assert shell.exit("a", NORMAL) == [Finish(None)]


def test_nothing_is_restarted_while_stopping():
    """Crashes on the way out only shorten it."""
    shell = Shell("a", "b", "c", intensity=RestartIntensity(0, 5.0))
    shell.obey(shell.core.shut_down())
    assert shell.exit("a") == []
    assert shell.exit("b") == []
    assert shell.exit("c") == [Finish(None)]


def test_shutdown_is_asked_once_and_without_children_it_is_done():
    """A second wish changes nothing; an empty supervisor has nothing to wait for."""
    shell = Shell("a")
    shell.obey(shell.core.shut_down())
    assert shell.obey(shell.core.shut_down()) == []
    assert Shell().obey(Shell().core.shut_down()) == [Finish(None)]


def test_shutdown_waits_for_no_restart():
    """A child that waits for its restart is let go."""
    shell = Shell("a", "b", backoff=Backoff(1.0))
    shell.exit("b")
    assert told(shell.obey(shell.core.shut_down())) == ["unwait b", "stop a"]
    assert shell.waited("b") == []


# --- intensity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "instants_s", "passed"),
    [
        (RestartIntensity(3, 5.0), [0, 0, 0], False),
        (RestartIntensity(3, 5.0), [0, 0, 0, 0], True),
        (RestartIntensity(3, 5.0), [0, 1, 2, 5.0], True),
        (RestartIntensity(3, 5.0), [0, 1, 2, 5.1], False),
        (RestartIntensity(3, 5.0), [0, 1, 2, 5.1, 5.9], True),
        (RestartIntensity(0, 5.0), [0], True),
        (RestartIntensity(1, 0.5), [0, 1, 2, 3, 4], False),
    ],
)
def test_the_window_slides(limit, instants_s, passed):
    """`max_restarts` within the time are borne, one more is not; old ones fall out."""
    window = RestartWindow(limit)
    assert [window.passed_by(instant_s) for instant_s in instants_s][-1] is passed


def test_one_crash_too_many_stops_all_and_finishes_with_the_reason():
    """Escalation: the others are stopped in order, then the supervisor ends with `SupervisorGaveUp`."""
    shell = Shell("a", "b", intensity=RestartIntensity(1, 5.0))
    assert told(shell.exit("b")) == ["start b"]
    assert told(shell.exit("b")) == ["stop a"]
    (finish,) = shell.exit("a", NORMAL)
    assert isinstance(finish, Finish)
    assert finish.error == SupervisorGaveUp("b", "ValueError: bad", 1, 5.0)


def test_a_start_that_fails_at_a_restart_counts_as_a_crash():
    """Each failed start is one more restart: it escalates, rather than trying for ever."""
    shell = Shell("a", intensity=RestartIntensity(3, 5.0))
    shell.broken["a"] = 100
    orders = shell.exit("a")
    assert told(orders) == ["start a"] * 3 + ["finish"]


def test_a_limit_of_its_own_gives_up_that_child_alone():
    """Akka's limit per child: it is not restarted, the siblings and the supervisor live, and their window is spared."""
    shell = Shell("b", intensity=RestartIntensity(1, 5.0))
    shell.add("a", intensity=RestartIntensity(2, 5.0))
    assert told(shell.exit("a")) == ["start a"]
    assert told(shell.exit("a")) == ["start a"]
    assert shell.exit("a") == [GiveUp("a", CRASH)]
    assert shell.states() == {"b": ChildState.RUNNING, "a": ChildState.DOWN}
    assert told(shell.exit("b")) == ["start b"]
    assert told(shell.obey(shell.core.restart("a"))) == ["start a"]
    assert told(shell.exit("a")) == ["start a"]


# --- backoff ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "tries", "chance", "expected_s"),
    [
        (None, 7, 0.5, 0.0),
        (Backoff(0.1, 2.0, 10.0, 0.0), 0, 0.9, 0.1),
        (Backoff(0.1, 2.0, 10.0, 0.0), 3, 0.9, 0.8),
        (Backoff(0.1, 2.0, 10.0, 0.0), 30, 0.9, 10.0),
        (Backoff(0.1, 2.0, 10.0, 0.0), 100_000, 0.9, 10.0),
        (Backoff(0.1, 1.0, 10.0, 0.0), 5, 0.9, 0.1),
        (Backoff(1.0, 2.0, 10.0, 0.5), 0, 0.5, 0.75),
        (Backoff(1.0, 2.0, 10.0, 1.0), 0, 0.0, 1.0),
    ],
)
def test_the_delay_grows_to_its_bound(backoff, tries, chance, expected_s):
    """Exponential, capped, shortened by chance."""
    assert delay_s(backoff, tries, chance) == pytest.approx(expected_s)


def test_a_crash_waits_longer_each_time_until_a_child_lasts():
    """The delay doubles from crash to crash, and starts anew after a life that was long enough."""
    shell = Shell("a", backoff=Backoff(1.0, 2.0, 60.0, 0.0, reset_after_s=10.0))
    for expected_s in (1.0, 2.0, 4.0):
        (wait,) = shell.exit("a")
        assert wait == Wait("a", shell.incarnation("a"), expected_s)
        assert shell.states() == {"a": ChildState.WAITING}
        assert told(shell.waited("a")) == ["start a"]
    shell.now_s = 10.0
    assert shell.exit("a") == [Wait("a", shell.incarnation("a"), 1.0)]


def test_a_failed_start_waits_too():
    """A start that fails after the delay is a crash with the next delay."""
    shell = Shell("a", backoff=Backoff(1.0, 2.0, 60.0, 0.0))
    shell.exit("a")
    shell.broken["a"] = 1
    assert told(shell.waited("a")) == ["start a", "wait a"]
    assert isinstance(shell.log[-1], Wait)
    assert shell.log[-1].delay_s == 2.0


@pytest.mark.parametrize(
    ("request_", "orders", "state"),
    [
        ("stop", ["unwait a"], ChildState.DOWN),
        ("restart", ["unwait a", "start a"], ChildState.RUNNING),
        ("delete", ["unwait a"], None),
    ],
)
def test_requests_end_the_wait(request_, orders, state):
    """A child that waits for its restart need not be waited for."""
    shell = Shell("a", backoff=Backoff(1.0))
    shell.exit("a")
    assert told(shell.obey(getattr(shell.core, request_)("a"))) == orders
    assert shell.states().get("a") is state
    if state is not None:
        assert shell.waited("a") == []


def test_the_backoff_of_a_child_goes_before_the_supervisors():
    """A specification may say its own."""
    shell = Shell(backoff=Backoff(1.0, jitter=0.0))
    shell.add("a", backoff=Backoff(7.0, jitter=0.0))
    assert shell.exit("a") == [Wait("a", 1, 7.0)]


# --- groups -----------------------------------------------------------------------------------------------------------


def stop_all(shell: Shell, *order: str) -> list[str]:
    """Let those that are told to stop end, in this order; give back all orders."""
    return [line for child_id in order for line in told(shell.exit(child_id, NORMAL))]


def test_one_for_all_stops_the_rest_backwards_and_starts_all_forwards():
    """One crash restarts everybody, in start order."""
    shell = Shell("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)
    assert told(shell.exit("b")) == ["stop c"]
    assert stop_all(shell, "c", "a") == ["stop a", "start a", "start b", "start c"]
    assert set(shell.states().values()) == {ChildState.RUNNING}


def test_rest_for_one_leaves_those_before_alone():
    """Only those started after the one that crashed share its fate."""
    shell = Shell("a", "b", "c", "d", strategy=Strategy.REST_FOR_ONE)
    assert told(shell.exit("b")) == ["stop d"]
    assert stop_all(shell, "d", "c") == ["stop c", "start b", "start c", "start d"]
    assert told(shell.exit("d")) == ["start d"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_those_stopped_on_purpose_stay_down_and_the_temporary_are_forgotten(strategy):
    """A group's restart brings back whom it took down, with those that had finished; nobody else."""
    shell = Shell("a", strategy=strategy)
    shell.add("stopped")
    shell.add("temporary", restart="temporary")
    shell.add("finished", restart="transient")
    shell.obey(shell.core.stop("stopped"))
    shell.exit("stopped", NORMAL)
    shell.exit("finished", NORMAL)
    assert told(shell.exit("a")) == ["stop temporary"]
    assert stop_all(shell, "temporary") == ["start a", "start finished"]
    assert shell.states() == {
        "a": ChildState.RUNNING,
        "stopped": ChildState.DOWN,
        "finished": ChildState.RUNNING,
    }


def test_a_member_that_crashes_while_the_group_stops_is_no_second_crash():
    """It was on its way out anyway."""
    shell = Shell("a", "b", "c", strategy=Strategy.ONE_FOR_ALL, intensity=RestartIntensity(1, 5.0))
    shell.exit("c")
    assert shell.exit("a") == []
    assert told(shell.exit("b", NORMAL)) == ["start a", "start b", "start c"]


def test_one_outside_the_group_that_ends_meanwhile_is_looked_after_then():
    """With rest-for-one, an earlier child's crash waits until the later ones are done."""
    shell = Shell("a", "b", "c", strategy=Strategy.REST_FOR_ONE)
    assert told(shell.exit("b")) == ["stop c"]
    assert shell.exit("a") == []
    assert told(shell.exit("c", NORMAL)) == ["start b", "start c", "stop c"]
    assert stop_all(shell, "c", "b") == ["stop b", "start a", "start b", "start c"]


def test_a_failed_start_in_a_group_is_a_crash_of_the_one_that_failed():
    """One-for-all: those that had been started are stopped, and all begin again."""
    shell = Shell("a", "b", strategy=Strategy.ONE_FOR_ALL, intensity=RestartIntensity(2, 5.0))
    shell.broken["b"] = 1
    assert told(shell.exit("b")) == ["stop a"]
    assert told(shell.exit("a", NORMAL)) == ["start a", "start b", "stop a"]
    assert told(shell.exit("a", NORMAL)) == ["start a", "start b"]


def test_a_group_waits_before_it_starts_again():
    """With a backoff everybody is stopped first, then the wait, then the starts."""
    shell = Shell("a", "b", strategy=Strategy.ONE_FOR_ALL, backoff=Backoff(1.0, jitter=0.0))
    assert told(shell.exit("a")) == ["stop b"]
    assert told(shell.exit("b", NORMAL)) == ["wait a"]
    assert shell.core.busy
    assert told(shell.waited("a")) == ["start a", "start b"]
    assert not shell.core.busy


def test_a_child_given_up_leaves_its_group_running():
    """A limit of its own holds in a group, too: the others come back without it."""
    shell = Shell("a", strategy=Strategy.ONE_FOR_ALL)
    shell.add("b", intensity=RestartIntensity(1, 5.0))
    shell.broken["b"] = 1
    shell.exit("b")
    assert told(shell.exit("a", NORMAL)) == ["start a", "start b", "giveup b"]
    assert shell.states() == {"a": ChildState.RUNNING, "b": ChildState.DOWN}
    assert not shell.core.busy


def test_shutdown_overtakes_a_group_restart():
    """Nothing more is started once the supervisor is asked to stop."""
    shell = Shell("a", "b", "c", strategy=Strategy.ONE_FOR_ALL)
    shell.exit("b")
    assert shell.obey(shell.core.shut_down()) == []
    assert stop_all(shell, "c", "a") == ["stop a", "finish"]


# --- always -----------------------------------------------------------------------------------------------------------

IDS = "abcde"
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "stop", "delete", "restart", "exit", "crash", "break", "overdue", "waited", "tick"]),
        st.sampled_from(IDS),
    ),
    max_size=60,
)


class Model(Shell):
    """A shell that keeps its own book of who is there, and checks every order against it."""

    def __init__(self, **options: Any) -> None:
        self.there: set[str] = set()
        self.told_to_stop: set[str] = set()
        self.waiting: set[str] = set()
        self.finished = False
        super().__init__(**options)

    def obey(self, orders: Iterable[Order]) -> list[Order]:
        given = super().obey(orders)
        self.check()
        return given

    def _start(self, child_id: str) -> Iterable[Order]:
        assert not self.core.stopping, "nothing is started while stopping"
        assert child_id not in self.there, "never two incarnations at once"
        self.waiting.discard(child_id)
        if self.broken.get(child_id, 0) == 0:
            self.there.add(child_id)
        return super()._start(child_id)

    def note(self, order: Order) -> None:
        """Enter an order in the book."""
        match order:
            case Stop(child_id) | Kill(child_id):
                assert child_id in self.there, "only one that is there can be told to end"
                self.told_to_stop.add(child_id)
            case Abandon(child_id):
                self.gone(child_id)
            case Wait(child_id):
                self.waiting.add(child_id)
            case Unwait(child_id):
                assert child_id in self.waiting, "only one that waits can be let go"
                self.waiting.discard(child_id)
            case Finish():
                assert not self.there, "the supervisor finishes last"
                self.finished = True

    def gone(self, child_id: str) -> None:
        self.there.discard(child_id)
        self.told_to_stop.discard(child_id)

    def check(self) -> None:
        """Compare the two books."""
        states = self.states()
        active = {each for each, state in states.items() if state in (ChildState.RUNNING, ChildState.STOPPING)}
        assert active == self.there
        assert self.core.active == len(active)
        assert {each for each, state in states.items() if state is ChildState.STOPPING} == self.told_to_stop
        assert {each for each, state in states.items() if state is ChildState.WAITING} == self.waiting
        assert ChildState.STARTING not in states.values()

    def step(self, what: str, child_id: str) -> None:
        core, known = self.core, child_id in self.core.children
        match what:
            case "tick":
                self.now_s += 1.0
            case "break":
                self.broken[child_id] = 1
            case "exit" | "crash" if child_id in self.there:
                self.gone(child_id)
                self.exit(child_id, NORMAL if what == "exit" else CRASH)
            case "overdue" if child_id in self.told_to_stop:
                self.overdue(child_id)
            case "waited" if child_id in self.waiting:
                self.waiting.discard(child_id)
                self.waited(child_id)
            case "add" if not known and not core.busy and not core.stopping:
                restart = list(RestartType)[IDS.index(child_id) % 3]
                limit = RestartIntensity(2, 3.0) if child_id == "e" else None
                self.add(child_id, restart=restart, intensity=limit, shutdown_timeout_s=0 if child_id == "b" else 5.0)
            case "stop" | "delete" | "restart" if known and not core.busy and not core.stopping:
                self.obey(getattr(core, what)(child_id))


@settings(max_examples=100, deadline=None)
@given(
    steps=STEPS,
    strategy=st.sampled_from(Strategy),
    backoff=st.sampled_from([None, Backoff(1.0, jitter=0.0)]),
    intensity=st.sampled_from([RestartIntensity(2, 3.0), ENDLESS]),
)
def test_the_two_books_agree_and_every_supervisor_can_be_stopped(steps, strategy, backoff, intensity):
    """Whatever happens in whatever order: nobody runs twice, nobody is lost, and a shutdown comes to its end."""
    model = Model(strategy=strategy, backoff=backoff, intensity=intensity)
    for what, child_id in steps:
        model.step(what, child_id)
    model.obey(model.core.shut_down())
    for child_id in list(model.there) * 2:
        if child_id in model.there:
            model.gone(child_id)
            model.exit(child_id, NORMAL)
    assert model.finished
    assert not model.there


@settings(max_examples=100, deadline=None)
@given(instants_s=st.lists(st.floats(0, 100), min_size=1).map(sorted), most=st.integers(0, 5))
def test_the_window_passes_exactly_when_more_lie_in_it(instants_s, most):
    """The sliding window agrees with counting by hand."""
    window = RestartWindow(RestartIntensity(most, 10.0))
    for number, now_s in enumerate(instants_s):
        in_it = sum(now_s - 10.0 <= instant_s for instant_s in instants_s[: number + 1])
        assert window.passed_by(now_s) is (in_it > most)


@settings(max_examples=100, deadline=None)
@given(
    backoff=st.builds(Backoff, st.floats(0, 10), st.floats(1, 100), st.floats(0, 100), st.floats(0, 1), st.none()),
    tries=st.integers(0, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_the_delay_is_never_out_of_bounds(backoff, tries, chance):
    """Between nothing and `max_s`, whatever chance says."""
    assert 0.0 <= delay_s(backoff, tries, chance) <= backoff.max_s
