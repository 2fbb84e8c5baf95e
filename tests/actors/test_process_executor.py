"""Activities in child processes: who runs them, what a death costs, how one is cancelled. With real processes."""

import os
import queue
import signal
from typing import Any

import pytest
from processkit import HANDLERS, WAIT_S, Events, Gate, Recorder, attempt, executor, has_ended

from limen.actors.attempt import Attempt
from limen.actors.executors.process import ChildExited, ChildStarted, ProcessExecutor
from limen.messages.activities import ActivityRequest
from limen.messages.errors import UnpicklableError
from limen.messages.grace import Grace
from limen.messages.lifecycle import ExitKind
from limen.messages.payloads import Local, Payload
from limen.messages.supervision import RestartIntensity
from limen.messages.supervision_errors import SupervisorGaveUp


@pytest.fixture
def gate(tmp_path):
    """Where activities of this test announce themselves and wait."""
    made = Gate(tmp_path)
    yield made
    made.close()


def test_an_activity_runs_in_another_process():
    """A process worker's activities do not run in this process."""
    with executor() as (process, report):
        process.submit(attempt("own_pid"))

        assert report.value() not in {None, os.getpid()}


def test_bytes_and_objects_arrive_as_they_were():
    """A payload keeps its bytes and its type, an object its value, both ways."""
    with executor() as (process, report):
        process.submit(attempt("echo", Payload(b"\0\xff", "application/x-some")))
        process.submit(attempt("echo", {"a": [1, (2.5, None)], "b": {"c": b"d"}}))

        assert report.value() == Payload(b"\0\xff", "application/x-some")
        assert report.value() == {"a": [1, (2.5, None)], "b": {"c": b"d"}}


def test_the_activity_sees_the_request_it_was_asked_with():
    """Limits and task queue reach the activity."""
    asked = attempt("whole_request", 5, task_queue="media", start_to_close_timeout=1.5, schedule_to_close_timeout=60)
    with executor() as (process, report):
        process.submit(asked)

        assert report.value() == asked.request


def test_an_unknown_activity_fails_and_harms_nobody():
    """A type that no handler serves is a failure of that attempt."""
    with executor() as (process, report):
        process.submit(attempt("no_such"))
        error = report.error()
        process.submit(attempt("echo", 1))

        assert isinstance(error, KeyError)
        assert report.value() == 1


def test_more_than_the_slots_wait_and_are_run(gate):
    """Never more than `slots` run at once; the others follow, each once."""
    with executor(slots=2) as (process, report):
        for _ in range(5):
            process.submit(attempt("hold", gate.value))
        first_two = {gate.arrival(), gate.arrival()}
        running = [row.pid for row in process.children() if row.state == "running"]
        gate.open()
        ran = [report.value() for _ in range(5)]

    assert set(running) == first_two
    assert len(first_two) == 2
    assert set(ran) == first_two
    assert report.nothing_more()


def test_what_the_report_gives_back_runs_next():
    """With a result the channel may hand over the next attempt for the same slot: it is run like a submitted one."""
    with executor() as (process, report):
        report.following = [attempt("echo", 2), attempt("echo", lambda: None), attempt("echo", 3)]
        process.submit(attempt("echo", 1))
        before = [report.value(), report.value()]
        error = report.error()

        assert before == [1, 2]
        assert isinstance(error, UnpicklableError)
        assert report.value() == 3


def test_an_attempt_knows_when_it_began(gate):
    """`started_s` is empty while an attempt waits, and set when it runs."""
    first, second = attempt("hold", gate.value), attempt("hold", gate.value)
    with executor() as (process, report):
        process.submit(first)
        process.submit(second)
        gate.arrival()
        second_waited = second.started_s is None
        gate.open()
        report.value()
        report.value()

    assert second_waited
    assert first.started_s is not None
    assert second.started_s is not None
    assert first.started_s <= second.started_s


@pytest.mark.parametrize(
    ("activity_type", "value", "kind", "text"),
    [
        ("die_by_signal", signal.SIGKILL, ExitKind.ERROR, "SIGKILL"),
        ("die_by_signal", signal.SIGTERM, ExitKind.ERROR, "SIGTERM"),
        ("segfault", None, ExitKind.ERROR, "SIGSEGV"),
        ("exit_at_once", 3, ExitKind.ERROR, "exit code 3"),
        ("exit_at_once", 0, ExitKind.ERROR, "exit code 0"),
        ("exit_by_exception", 4, ExitKind.ERROR, "SystemExit: 4"),
        ("interrupt", None, ExitKind.ERROR, "KeyboardInterrupt"),
    ],
)
def test_a_death_costs_the_activity_that_ran_and_says_why(activity_type, value, kind, text, capfd):
    """Every way to die takes the same path: one crash with its reason, and the next activity finds a child."""
    with executor() as (process, report):
        doomed = attempt(activity_type, value)
        process.submit(doomed)
        told, whose, reason = report.next()
        process.submit(attempt("echo", "alive"))

        assert (told, whose) == ("crashed", doomed)
        assert reason.kind is kind
        assert text in str(reason)
        assert report.value() == "alive"


def test_exit_code_and_signal_are_fields_of_the_reason():
    """A reason can be told apart without reading its text."""
    with executor() as (process, report):
        process.submit(attempt("exit_by_exception", 4))
        _, _, by_exception = report.next()
        process.submit(attempt("die_by_signal", signal.SIGKILL))
        _, _, by_signal = report.next()

    assert (by_exception.error_type, by_exception.exit_code) == ("SystemExit", 4)
    assert by_signal.signal == "SIGKILL"


def test_a_child_that_loses_its_line_is_ended():
    """An activity that closes the files of its process costs that child, and no more."""
    with executor() as (process, report):
        process.submit(attempt("hang_up"))
        told, _, _ = report.next()
        process.submit(attempt("echo", 1))

        assert told == "crashed"
        assert report.value() == 1


def test_a_child_killed_from_outside_leaves_the_others_alone(gate):
    """SIGKILL of one child: its activity is reported, its neighbour's goes on."""
    with executor(slots=2) as (process, report):
        attempts = [attempt("hold", gate.value), attempt("hold", gate.value)]
        for each in attempts:
            process.submit(each)
        victim, other = gate.arrival(), gate.arrival()
        os.kill(victim, signal.SIGKILL)
        told, whose, reason = report.next()
        gate.open()

        assert (told, reason.signal) == ("crashed", "SIGKILL")
        assert whose in attempts
        assert report.value() == other


def test_an_idle_child_that_dies_is_replaced_and_nobody_is_told():
    """No attempt pays for a death between two activities."""
    with executor() as (process, report):
        process.submit(attempt("own_pid"))
        pid = report.value()
        os.kill(pid, signal.SIGKILL)
        assert has_ended(pid)
        process.submit(attempt("own_pid"))

        assert report.value() != pid
        assert report.nothing_more()


def test_what_waits_in_a_child_that_dies_is_not_charged(gate):
    """Only the activity that ran is reported as crashed; those handed over with it run elsewhere, once each."""
    with executor() as (process, report):
        _make_short(process, report, "die_if_told")
        process.submit(attempt("hold", gate.value))
        victim = gate.arrival()
        batch = [attempt("die_if_told", number == 10) for number in range(30)]
        for each in batch:
            process.submit(each)
        gate.open()
        report.value()
        told = [report.next() for _ in batch]

    crashed = [(whose, reason.exit_code) for kind, whose, reason in told if kind == "crashed"]
    others = {whose: result.output.value for kind, whose, result in told if kind == "finished"}
    assert crashed == [(batch[10], 9)]
    assert others.keys() == {*batch[:10], *batch[11:]}
    assert len({others[each] for each in batch[11:]} - {victim}) == 1


def test_short_activities_are_taken_back_from_behind_one_that_turns_out_long(tmp_path):
    """An activity that holds its child does not hold those that were handed over with it: another child runs them."""
    first, second = Gate(tmp_path, "first"), Gate(tmp_path, "second")
    with executor(slots=2) as (process, report):
        _make_short(process, report, "long_once")
        held = [attempt("hold", first.value), attempt("hold", first.value)]
        batch = [attempt("long_once", second.value), *(attempt("long_once") for _ in range(30))]
        for each in held:
            process.submit(each)
        first.arrival()
        first.arrival()
        for each in batch:
            process.submit(each)
        first.open()
        busy = second.arrival()
        done = [report.next() for _ in range(32)]
        others = {result.output.value for _, whose, result in done if whose in batch}
        second.open()

        assert {whose for _, whose, _ in done} == {*held, *batch[1:]}
        assert report.value() == busy
        assert others - {busy}
    first.close()
    second.close()


def _make_short(process: ProcessExecutor, report: Recorder, activity_type: str) -> None:
    """Run an activity until it is known to be short."""
    for _ in range(40):
        process.submit(attempt(activity_type))
        report.value()


def test_more_attempts_are_welcome_only_while_all_are_short():
    """`prefetch` is 0 at first, rises with a row of short runs, and falls with the first long one."""
    with executor() as (process, report):
        at_first = process.prefetch
        _make_short(process, report, "echo")
        after_short = process.prefetch
        process.submit(attempt("take_a_while", 0.005))
        report.value()

        assert (at_first, after_short > 0, process.prefetch) == (0, True, 0)


def test_a_cancelled_activity_loses_its_child(gate):
    """Cancelling what runs ends its child, frees the slot, and costs nothing of the restart intensity."""
    with executor(refill=RestartIntensity(max_restarts=0)) as (process, report):
        unwanted = attempt("hold", gate.value)
        process.submit(unwanted)
        pid = gate.arrival()
        unwanted.claim()
        process.cancel(unwanted)
        told, whose, reason = report.next()
        process.submit(attempt("echo", 1))

        assert (told, whose, reason.kind) == ("crashed", unwanted, ExitKind.KILLED)
        assert report.value() == 1
        assert has_ended(pid)


def test_a_cancelled_attempt_that_waits_is_dropped(gate):
    """It is given back at once and never runs."""
    with executor() as (process, report):
        process.submit(attempt("hold", gate.value))
        pid = gate.arrival()
        waiting = attempt("echo")
        process.submit(waiting)
        waiting.claim()
        process.cancel(waiting)
        told = report.next()[:2]
        gate.open()

        assert told == ("returned", waiting)
        assert report.value() == pid


def test_a_cancelled_attempt_that_waits_inside_a_child_never_runs(gate, tmp_path, monkeypatch):
    """DP-14: it is asked back from behind what the child runs; what lay beside it runs all the same, once."""
    marker, before = tmp_path / "ran", Gate(tmp_path, "before")
    with executor() as (process, report):
        sent = _watch_sending(process, monkeypatch)
        _make_short(process, report, "touch")
        _make_short(process, report, "long_once")
        process.submit(attempt("hold", before.value))
        before.arrival()
        unwanted = attempt("touch", str(marker))
        for each in (attempt("long_once", gate.value), unwanted, attempt("touch")):
            process.submit(each)
        before.open()
        report.value()
        while sent.get(timeout=WAIT_S) is not unwanted:
            pass
        gate.arrival()
        unwanted.claim()
        process.cancel(unwanted)
        told = report.next()[:2]
        gate.open()
        report.value()
        report.value()

        assert told == ("returned", unwanted)
        assert not marker.exists()
    before.close()


def _watch_sending(process: ProcessExecutor, monkeypatch: Any) -> "queue.SimpleQueue[Attempt]":
    """Give what is sent to children as it is sent; nothing is asked back from there but by a cancellation."""
    sent: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
    send = process._send

    def note(child: Any, attempts: list[Attempt], pieces: list[bytes]) -> bool:
        all_gone = send(child, attempts, pieces)
        for each in attempts:
            sent.put(each)
        return all_gone

    monkeypatch.setattr(process, "_send", note)
    monkeypatch.setattr(process, "_take_back_stuck", lambda: None)
    return sent


def test_a_stopped_child_that_is_cancelled_is_killed_and_replaced(gate):
    """Issue: SIGTERM does not reach a process that is stopped; SIGKILL, after the grace, does."""
    with executor(grace=Grace(grace_s=0.05)) as (process, report):
        unwanted = attempt("hold", gate.value)
        process.submit(unwanted)
        pid = gate.arrival()
        os.kill(pid, signal.SIGSTOP)
        unwanted.claim()
        process.cancel(unwanted)
        other = attempt("own_pid")
        process.submit(other)
        told = {whose: (kind, result) for kind, whose, result in (report.next(), report.next())}

        assert told[unwanted][0] == "crashed"
        assert told[other][1].output.value != pid
        assert has_ended(pid)


def test_an_attempt_that_was_decided_elsewhere_does_not_run(gate):
    """What is claimed while it waits is handed back, not run."""
    with executor() as (process, report):
        process.submit(attempt("hold", gate.value))
        gate.arrival()
        decided, other = attempt("exit_at_once", 1), attempt("echo", 2)
        process.submit(decided)
        process.submit(other)
        decided.claim()
        gate.open()

        told = [report.next() for _ in range(3)]
        assert [kind for kind, whose, _ in told if whose is decided] == ["returned"]
        assert [kind for kind, whose, _ in told if whose is other] == ["finished"]


def test_fifty_kills_lose_nothing():
    """Each activity that is killed is reported, each other one has its result."""
    with executor(slots=2, refill=RestartIntensity(max_restarts=50)) as (process, report):
        doomed = {attempt("die_by_signal", signal.SIGKILL) for _ in range(50)}
        fine = {attempt("echo", number) for number in range(50)}
        for one, other in zip(doomed, fine, strict=True):
            process.submit(one)
            process.submit(other)
        told = [report.next() for _ in range(100)]

    assert {whose for kind, whose, _ in told if kind == "crashed"} == doomed
    assert {whose for kind, whose, _ in told if kind == "finished"} == fine
    assert report.nothing_more()


def test_too_many_deaths_end_the_worker():
    """Beyond the restart intensity the worker fails as a whole, once, and says how the last child ended."""
    with executor(refill=RestartIntensity(max_restarts=1)) as (process, report):
        process.submit(attempt("exit_at_once", 3))
        assert report.next()[0] == "crashed"
        process.submit(attempt("exit_at_once", 3))
        assert report.next()[0] == "crashed"
        told, _, error = report.next()

        assert told == "fatal"
        assert isinstance(error, SupervisorGaveUp)
        assert "exit code 3" in str(error)
        assert report.nothing_more()


def test_a_handler_that_does_not_pickle_is_refused_at_once():
    """A lambda or a function within a function cannot be found by a child; nothing is started."""
    for handler in (lambda request: request.input, _function_within_a_function()):
        with pytest.raises(UnpicklableError) as caught:
            ProcessExecutor({"inner": handler}, 1, Recorder(), "test")

        assert caught.value == UnpicklableError("activity", "function", "inner")


def _function_within_a_function():
    def handler(request: ActivityRequest) -> Local:
        return Local(None)

    return handler


def test_a_handler_that_children_cannot_load_ends_the_worker():
    """No number of children would help: the worker fails at once, with the activity's name and the reason."""
    from activities_for_tests import Unloadable

    with executor(handlers={"odd": Unloadable()}) as (_, report):
        told, _, error = report.next()

    assert told == "fatal"
    assert error == UnpicklableError("activity", "Unloadable", "odd")
    assert "it does not arrive" in str(error.__cause__)


def test_children_are_described(gate):
    """The rows show who runs what, and the spare that is kept warm."""
    events = Events()
    with executor(on_child_event=events) as (process, report):
        process.submit(attempt("hold", gate.value))
        running = gate.arrival()
        started = [events.next(), events.next()]
        rows = {row.state: row for row in process.children()}
        gate.open()
        report.value()

    assert {type(event) for event in started} == {ChildStarted}
    assert (rows["running"].pid, rows["running"].activity_type) == (running, "hold")
    assert rows["spare"].pid != running
    assert {event.pid for event in started} == {rows["running"].pid, rows["spare"].pid}


def test_the_end_of_a_child_is_an_event():
    """Whoever wants to know is told which child ended, how, and what it ran."""
    events = Events()
    with executor(on_child_event=events) as (process, report):
        process.submit(attempt("die_by_signal", signal.SIGKILL))
        report.next()
        event = events.next()
        while not isinstance(event, ChildExited):
            event = events.next()

    assert (event.reason.signal, event.activity_type) == ("SIGKILL", "die_by_signal")


def test_a_worker_without_slots_has_no_children():
    """Capacity 0 is allowed; such a worker is listed and never given anything."""
    with executor(slots=0) as (process, _):
        assert process.children() == ()


def test_ctrl_c_in_the_terminal_is_the_parents_affair(gate):
    """SIGINT does not end a child: its parent decides what becomes of the activity."""
    with executor() as (process, report):
        process.submit(attempt("hold", gate.value))
        pid = gate.arrival()
        os.kill(pid, signal.SIGINT)
        gate.open()

        assert report.value() == pid


def test_closing_ends_a_busy_child(gate):
    """`close` returns at once, and the child that runs an activity is gone soon after."""
    with executor() as (process, report):
        process.submit(attempt("hold", gate.value))
        pid = gate.arrival()
        process.close()
        process.submit(attempt("echo"))

        assert process.wait_closed(WAIT_S)
        assert has_ended(pid)
        assert process.children() == ()
        assert report.nothing_more()


def test_every_activity_of_the_kit_is_served():
    """The tests above do run what they name."""
    assert {"echo", "hold", "segfault"} <= HANDLERS.keys()
