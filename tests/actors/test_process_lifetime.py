"""Child processes end with their parent, and an executor leaves nothing behind."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from processkit import HANDLERS, WAIT_S, Events, Gate, Recorder, attempt, executor, has_ended

from limen.actors.executors.process import ProcessExecutor

PARENT = """
import sys
sys.path[:0] = {path!r}
from processkit import *
if __name__ == "__main__":
    process = ProcessExecutor(HANDLERS, 2, Recorder(), "parent")
    process.submit(attempt({activity!r}, {first!r}))
    process.submit(attempt("hold", {second!r}))
    sys.stdin.read()
"""


def _parent(tmp_path: Path, gate: Gate, activity: str = "hold") -> "subprocess.Popen[str]":
    """Start a process that has two children busy: one with `activity`, one holding at the gate."""
    script = tmp_path / "parent.py"
    first = gate.announced if activity == "hold_with_gil" else gate.value
    script.write_text(PARENT.format(path=sys.path, activity=activity, first=first, second=gate.value))
    return subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "activity",
    ["hold", pytest.param("hold_with_gil", marks=pytest.mark.skipif(sys.platform != "linux", reason="kernel"))],
)
@pytest.mark.slow
def test_children_die_with_a_parent_that_is_killed(tmp_path, activity):
    """SIGKILL of the parent ends every child, even one whose activity never lets another thread run."""
    gate = Gate(tmp_path)
    with _parent(tmp_path, gate, activity) as parent:
        children = [gate.arrival(), gate.arrival()]
        parent.kill()

        assert all(has_ended(pid) for pid in children)
    gate.close()


@pytest.mark.slow
def test_a_parent_that_just_ends_takes_its_children_along(tmp_path):
    """An executor that nobody closed does not hold its process, and its children go with it."""
    gate = Gate(tmp_path)
    with _parent(tmp_path, gate) as parent:
        children = [gate.arrival(), gate.arrival()]
        parent.communicate("", timeout=WAIT_S)

        assert parent.returncode == 0
        assert all(has_ended(pid) for pid in children)
    gate.close()


@pytest.mark.slow
def test_starting_workers_while_a_child_imports_the_main_module_says_what_to_do(tmp_path):
    """A script without the main guard gets a clear error in place of endless children."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        f"import sys\nsys.path[:0] = {sys.path!r}\n"
        "from processkit import *\n"
        "report = Recorder()\n"
        "process = ProcessExecutor(HANDLERS, 1, report, 'unguarded')\n"
        "print(report.next()[0])\n"
    )

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "fatal\n"
    assert 'if __name__ == "__main__":' in done.stderr


def test_closing_again_and_again_leaves_nothing():
    """After some cycles there are as many files and threads as after the first, and no child."""
    _cycle()
    files, threads = _open_files(), threading.active_count()
    for _ in range(10):
        _cycle()

    assert (_open_files(), threading.active_count()) == (files, threads)


@pytest.mark.slow
def test_a_hundred_cycles_leave_nothing():
    """Busy, idle or not even started: no file, no thread, no child stays."""
    _cycle()
    files, threads = _open_files(), threading.active_count()
    for number in range(100):
        _cycle(work=number % 3)

    assert (_open_files(), threading.active_count()) == (files, threads)


def _cycle(work: int = 2) -> None:
    with executor(slots=2) as (process, report):
        for _ in range(work):
            process.submit(attempt("own_pid"))
        children = [report.value() for _ in range(work)]
    assert all(has_ended(pid) for pid in children)


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_copy_of_the_parent_holds_no_children(tmp_path):
    """After a fork the copy has let go: the executor in it does nothing, and the original's children do not notice."""
    gate = Gate(tmp_path)
    with executor() as (process, report):
        process.submit(attempt("hold", gate.value))
        child = gate.arrival()
        copy = multiprocessing.get_context("fork").Process(target=_use_the_copy, args=(process,))
        copy.start()
        copy.join(WAIT_S)
        gate.open()

        assert copy.exitcode == 0
        assert report.value() == child
    gate.close()


def _use_the_copy(process: ProcessExecutor) -> None:
    process.submit(attempt("echo"))
    process.cancel(attempt("echo"))
    process.close()
    os._exit(0 if process.children() == () else 1)


def test_the_users_way_to_start_processes_is_left_alone():
    """The default start method and its settings stay what they were."""
    before = multiprocessing.get_start_method(allow_none=True)
    with executor() as (process, report):
        process.submit(attempt("echo", 1))
        report.value()

    assert multiprocessing.get_start_method(allow_none=True) == before


def test_children_are_not_listed_as_the_users_own():
    """`multiprocessing.active_children` would reap them before us and lose their exit codes."""
    with executor() as (process, report):
        process.submit(attempt("own_pid"))
        pid = report.value()

        assert pid not in {child.pid for child in multiprocessing.active_children()}


def test_closing_right_away_ends_what_is_only_being_started():
    """Nothing is left of an executor that never had the time to start."""
    process = ProcessExecutor(HANDLERS, 3, Recorder(), "test")
    process.close()
    process.close()

    assert process.wait_closed(WAIT_S)
    assert process.children() == ()


def test_an_external_sigterm_of_a_spare_is_made_good():
    """A spare that dies is replaced; work goes on."""
    events = Events()
    with executor(on_child_event=events) as (process, report):
        events.next()
        events.next()
        spare = next(row.pid for row in process.children() if row.state == "spare")
        os.kill(spare, signal.SIGTERM)
        exited, started = events.next(), events.next()
        process.submit(attempt("echo", 1))

        assert (exited.pid, exited.reason.signal, exited.activity_type) == (spare, "SIGTERM", None)
        assert started.pid != spare
        assert report.value() == 1


SLOW_IMPORT = """
import os, time
with open({announced!r}, "w") as pipe:
    pipe.write(f"{{os.getpid()}}\\n")
time.sleep(0.3)
"""

INTERRUPTED = """
import multiprocessing, sys
sys.path[:0] = {path!r}
if __name__ == "__mp_main__" and {when!r} == "while a child imports the main module":
    import slow_import
if {when!r} == "while the fork server loads modules":
    multiprocessing.set_forkserver_preload(["slow_import"])
from processkit import *
def wait_for_all(process):
    rows = process.children()
    while len(rows) < 3 or any(row.state == "starting" for row in rows):
        rows = process.children()
    return [row.pid for row in rows]
if __name__ == "__main__":
    with executor(slots=2) as (process, report):
        process.submit(attempt("own_pid"))
        try:
            report.value()
            sys.stdin.read()
        except KeyboardInterrupt:
            print("interrupted", *wait_for_all(process))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "when", ["while the fork server loads modules", "while a child imports the main module", "when all is up"]
)
def test_ctrl_c_while_processes_start_is_the_parents_affair(tmp_path, when):
    """Ctrl-C goes to all of a terminal's processes: none but the parent has anything to say about it, or ends of it."""
    announced, script = tmp_path / "announced", tmp_path / "interrupted.py"
    os.mkfifo(announced)
    (tmp_path / "slow_import.py").write_text(SLOW_IMPORT.format(announced=str(announced)))
    script.write_text(INTERRUPTED.format(path=[str(tmp_path), *sys.path], when=when))
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(script)]
    with (
        os.fdopen(os.open(announced, os.O_RDWR)) as said,  # for both, so that nobody waits for the other to open it
        subprocess.Popen(command, text=True, start_new_session=True, env=environment, **pipes) as parent,
    ):
        if when == "when all is up":
            _wait_for_processes(parent.pid, 6)
        else:
            assert select.select([said], [], [], WAIT_S)[0]
        os.killpg(parent.pid, signal.SIGINT)
        try:
            out, err = parent.communicate(timeout=WAIT_S)
        finally:
            parent.kill()
        os.set_blocking(said.fileno(), False)
        importers = set(said.read().split()) if "child" in when else set()

    assert (out[:11], err, parent.returncode) == ("interrupted", "", 0)
    assert importers <= set(out.split()), "a child died, and another had to be started"


def _wait_for_processes(session: int, count: int) -> None:
    """Wait until a session has so many processes: the parent, its two helpers, and children."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        found = [each for each in Path("/proc").iterdir() if each.name.isdigit() and _session_of(each) == session]
        if len(found) >= count:
            return
    raise AssertionError(f"there are not {count} processes")


def _session_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:  # it has ended meanwhile
        return 0
