"""Activities in child processes, through the face: values, errors, crashes, cancelling."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from face_activities import (
    Job,
    OddError,
    die,
    die_once,
    double,
    fail,
    fail_stubbornly,
    give_lock,
    grow,
    reverse,
    wait_for_line,
    whoami,
    wrongly_annotated,
)

from limen import (
    Activity,
    ActivityCancelled,
    ActivityFailed,
    EventKind,
    InvalidResult,
    Limen,
    Payload,
    PoisonActivity,
    UnpicklableError,
)

pytestmark = pytest.mark.slow

TIMEOUT_S = 30

ALL: list[Activity[..., Any]] = [
    double,
    grow,
    fail,
    fail_stubbornly,
    give_lock,
    reverse,
    wrongly_annotated,
    whoami,
    wait_for_line,
    die,
    die_once,
]


@pytest.fixture(scope="module")
def shared():
    """One worker with two children for all tests that do no harm."""
    with Limen() as app:
        app.worker("work", ALL, max_concurrent=2, executor="process")
        app.dispatch(double, 1).result(timeout=TIMEOUT_S)
        yield app


@pytest.fixture
def app():
    """An application of its own, closed at the end."""
    with Limen() as made:
        yield made


def test_values_travel_there_and_back(shared):
    """Builtins, classes of the user's, bytes with a type; checked on this side and made on that."""
    assert shared.dispatch(double, 21).result(timeout=TIMEOUT_S) == 42
    assert shared.dispatch(grow, Job("a")).result(timeout=TIMEOUT_S) == Job("a", 1)
    assert shared.dispatch(reverse, Payload(b"ab", "x/y")).result(timeout=TIMEOUT_S) == Payload(b"ba", "x/y")
    assert list(shared.map(double, range(100), timeout=TIMEOUT_S)) == [2 * number for number in range(100)]


def test_it_really_is_another_process(shared):
    """A child that `children` lists."""
    (registration,) = shared._engine._registrations
    pid = shared.dispatch(whoami).result(timeout=TIMEOUT_S)

    assert pid != os.getpid()
    assert pid in {child.pid for child in registration.children()}


def test_errors_arrive_as_they_were_raised(shared):
    """With their fields, as the cause, and with the traceback of the other side."""
    with pytest.raises(ActivityFailed) as raised:
        shared.dispatch(fail, 7).result(timeout=TIMEOUT_S)

    cause = raised.value.__cause__
    assert isinstance(cause, OddError)
    assert (cause.code, str(cause.__cause__).count("in fail")) == (7, 1)


@pytest.mark.parametrize(
    ("activity", "what"), [(fail_stubbornly, "exception"), (give_lock, "result")], ids=["exception", "result"]
)
def test_what_cannot_travel_is_a_typed_error(shared, activity, what):
    """Not a hang, and not a crash of the worker."""
    error = shared.dispatch(activity).exception(timeout=TIMEOUT_S)

    assert isinstance(error, ActivityFailed)
    assert isinstance(error.__cause__, UnpicklableError)
    assert error.__cause__.what == what


def test_results_are_checked_there(shared):
    """One that does not fit is a failure."""
    error = shared.dispatch(wrongly_annotated).exception(timeout=TIMEOUT_S)

    assert error.__cause__ == InvalidResult("wrongly_annotated", "int", "str")


def test_a_killed_child_costs_nothing_but_time(app, tmp_path):
    """SIGKILL in the middle: the request is run again by another child, and the events tell it in order."""
    events = app.events()
    app.worker("work", ALL, executor="process", max_concurrent=1)
    handle = app.dispatch(die_once, str(tmp_path / "marker"))

    assert isinstance(handle.result(timeout=TIMEOUT_S), int)
    assert (handle.crashes, len(handle.attempts)) == (1, 2)
    app.close()
    seen = [(event.kind, event.detail) for event in events]
    assert seen == [
        (EventKind.REGISTERED, ""),
        (EventKind.DISPATCHED, ""),
        (EventKind.CRASHED, "ended by SIGKILL"),
        (EventKind.REDISPATCHED, ""),
        (EventKind.FINISHED, ""),
        (EventKind.CONCLUDED, ""),
        (EventKind.UNREGISTERED, ""),
    ]


def test_a_child_killed_from_outside_is_replaced(app, tmp_path):
    """By its pid, as an operator would; the worker stays, with another child in its place."""
    path = tmp_path / "line"
    for end in (".in", ".out"):
        os.mkfifo(f"{path}{end}")
    registration = app.worker("work", ALL, executor="process", max_concurrent=1)
    handle = app.dispatch(wait_for_line, str(path))
    pid = int(Path(f"{path}.out").read_text())
    assert [child.pid for child in registration.children() if child.state == "running"] == [pid]

    os.kill(pid, signal.SIGKILL)
    other = int(Path(f"{path}.out").read_text())
    Path(f"{path}.in").write_text("answer")

    assert handle.result(timeout=TIMEOUT_S) == "answer"
    assert other != pid
    assert pid not in {child.pid for child in registration.children()}
    assert [row.worker_id for row in app.pool("work")] == [registration.worker_id]


def test_what_kills_every_child_is_poison(app):
    """It is given up after `max_crashes`, and others are served all the same."""
    app.worker("work", ALL, executor="process", max_concurrent=1)
    poison = app.dispatch(die.options(max_crashes=2))
    others = [app.dispatch(double, number) for number in range(20)]

    assert isinstance(poison.exception(timeout=TIMEOUT_S), PoisonActivity)
    assert [handle.result(timeout=TIMEOUT_S) for handle in others] == [2 * number for number in range(20)]


def test_what_runs_in_a_process_and_is_cancelled_is_ended(app, tmp_path):
    """Its child is stopped, and nobody is charged with a crash."""
    path = tmp_path / "line"
    for end in (".in", ".out"):
        os.mkfifo(f"{path}{end}")
    app.worker("work", ALL, executor="process", max_concurrent=1)
    handle = app.dispatch(wait_for_line, str(path))
    pid = int(Path(f"{path}.out").read_text())
    pidfd = os.pidfd_open(pid)
    handle.cancel()

    assert isinstance(handle.exception(timeout=TIMEOUT_S), ActivityCancelled)
    assert handle.crashes == 0
    assert app.dispatch(double, 2).result(timeout=TIMEOUT_S) == 4
    os.close(pidfd)
