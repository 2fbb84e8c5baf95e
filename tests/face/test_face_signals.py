"""SIGTERM and Ctrl-C in programs that embed limen: the first drains and then ends the program, the second ends it."""

import logging
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from facekit import LONG_S, TIMEOUT_S, Work, in_the_background

from limen import ChannelLifecycleError, ConfigError, Limen, ShutDown
from limen._signals import ExitOnSignals, Signals


@pytest.fixture
def at():
    """Give gated work."""
    made = Work()
    yield made
    made.gate.set()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_drains_the_application_and_ends_the_program(at, number, status, caplog):
    """What has begun ends, what has not is named, in the log too, and the main thread leaves with the usual status."""
    before = signal.getsignal(number)
    handles: list[Any] = []
    endings: list[ExitOnSignals] = []

    def program() -> None:
        with Limen() as app, app.exit_on_signals(drain=LONG_S) as ending:
            endings.append(ending)
            app.worker("work", [at.work])
            handles.extend(app.dispatch(at.work, number) for number in (1, 2))
            at.wait_begun()
            assert not ending.wait(0.0)
            signal.raise_signal(number)
            assert isinstance(handles[1].exception(TIMEOUT_S), ShutDown)
            at.gate.set()
            ending.wait()

    with caplog.at_level(logging.INFO, "limen"), pytest.raises(SystemExit) as left:
        program()

    assert left.value.code == status
    assert handles[0].result(0) == 1
    report = endings[0].report
    assert report is not None
    assert [each.conversation_id for each in report.unfinished] == [handles[1].id]
    assert handles[1].id in caplog.text
    assert signal.getsignal(number) is before


def test_a_main_thread_that_goes_on_is_told_when_it_dispatches(at):
    """It gets `DispatcherDraining` or the like; whatever it does about that, the program ends with that status."""
    told: list[ChannelLifecycleError] = []

    def program() -> None:
        with Limen() as app, app.exit_on_signals(drain=LONG_S):
            app.worker("work", [at.work])
            at.gate.set()
            signal.raise_signal(signal.SIGTERM)
            while not told:
                try:
                    app.dispatch(at.work, 1).result(TIMEOUT_S)
                except ChannelLifecycleError as error:
                    told.append(error)
            raise ZeroDivisionError

    with pytest.raises(SystemExit) as left:
        program()

    assert left.value.code == 143


def test_without_a_signal_nothing_happens(at):
    """The block ends as it would, and signals act as before."""
    before = signal.getsignal(signal.SIGTERM)
    with Limen() as app:
        with app.exit_on_signals() as ending:
            app.worker("work", [at.work])
            at.gate.set()
            assert app.dispatch(at.work, 1).result(TIMEOUT_S) == 1
        assert ending.report is None
        assert signal.getsignal(signal.SIGTERM) is before
        assert app.dispatch(at.work, 2).result(TIMEOUT_S) == 2


def test_only_the_main_thread_may_listen():
    """Python runs signal handlers there and nowhere else."""

    def listen() -> type[Exception] | None:
        try:
            with Limen() as app, app.exit_on_signals():
                return None
        except ConfigError as error:
            return type(error)

    thread, results = in_the_background(listen)
    thread.join(TIMEOUT_S)

    assert results == [ConfigError]
    with pytest.raises(ConfigError):
        Limen().exit_on_signals(drain=-1.0)


def test_a_signal_that_came_early_is_told_late():
    """`stops` may be called after the signal: nothing is missed between the start of a program and its first work."""
    heard: list[str] = []
    with Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        signals.stops(heard.append)

    assert heard == ["SIGTERM"]


# --- real processes ---------------------------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import sys, time
    from limen import Limen, activity

    @activity(queue="work")
    def long(seconds: float) -> str:
        print("begun\\n", end="", flush=True)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
        return "done"

    if __name__ == "__main__":
        with Limen() as app, app.exit_on_signals(drain=60) as ending:
            app.worker("work", [long], executor=sys.argv[1], max_concurrent=2)
            handles = [app.dispatch(long, float(sys.argv[2])) for _ in range(6)]
            try:
                ending.wait()
            finally:
                for handle in handles:
                    print(handle.exception(0) or handle.result(0), flush=True)
    """
)


@pytest.fixture
def program(tmp_path):
    """Give a function that starts the program in a session of its own, and waits until its work has begun."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    started: list[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(script), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_one_signal_lets_running_work_finish(program, executor, number, status):
    """A real program: two activities end, four are told; the status is the signal's, and no process stays."""
    process = program(executor, "1.0")
    process.send_signal(number)
    output, errors = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == status, errors
    lines = output.splitlines()
    assert lines[:2] == ["done", "done"]
    assert all("was waiting, not begun" in line for line in lines[2:])
    assert len(lines) == 6
    assert "4 not finished (4 waiting)" in errors
    _wait_until_all_are_gone(process.pid)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_second_signal_ends_the_program_at_once(program, executor):
    """Gone within a second, with all of its children, though its work would take a minute."""
    process = program(executor, "60.0")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    began_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 143
    assert time.monotonic() - began_s < 1.0
    _wait_until_all_are_gone(process.pid)


def _wait_until_all_are_gone(session: int) -> None:
    """Wait for the end of the processes of a session, the fork server and the like included."""
    until_s = time.monotonic() + TIMEOUT_S
    while _members_of(session):
        assert time.monotonic() < until_s, _members_of(session)


def _members_of(session: int) -> list[int]:
    """Give the processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found
