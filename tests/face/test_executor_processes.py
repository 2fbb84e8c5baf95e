"""`app.executor(queue, executor="process")`: calls in child processes, and what the death of one costs."""

import itertools
import os
import pickle
import select
import signal
from concurrent import futures
from pathlib import Path

import pytest
from executor_calls import Unreadable, divide, give_unpicklable, hold, kill_self, leave, leave_at_once

from limen import Limen, UnpicklableError
from limen.actors import kill
from limen.executor import CallLost

pytestmark = pytest.mark.slow

TIMEOUT_S = 30


@pytest.fixture
def app():
    """Close the application in the end."""
    with Limen() as made:
        yield made


def _wait_for_pid(folder: Path, name: str) -> int:
    """Wait until `hold` has begun, and give its process."""
    poll = select.poll()
    for _ in range(TIMEOUT_S * 200):
        if (folder / name).exists():
            return int((folder / name).read_text())
        poll.poll(5)
    raise AssertionError(f"{name} did not begin")


def test_the_death_of_a_process_costs_its_call_alone(app, tmp_path):
    """SIGKILL of one child: its call fails with a `BrokenExecutor`, others have results, and new calls are taken."""
    with app.executor("calls", executor="process", max_workers=2) as executor:
        victim, other = executor.submit(hold, str(tmp_path), "victim"), executor.submit(hold, str(tmp_path), "other")
        waiting = [executor.submit(pow, 2, number) for number in range(20)]
        _wait_for_pid(tmp_path, "other")
        os.kill(_wait_for_pid(tmp_path, "victim"), signal.SIGKILL)

        error = victim.exception(TIMEOUT_S)
        assert isinstance(error, CallLost)
        assert isinstance(error, futures.BrokenExecutor)
        assert error.crashes == 1
        assert "SIGKILL" in str(error)
        assert error.__cause__ is not None
        assert [future.result(TIMEOUT_S) for future in waiting] == [2**number for number in range(20)]
        (tmp_path / "go").touch()
        assert other.result(TIMEOUT_S) == 1
        assert executor.submit(abs, -1).result(TIMEOUT_S) == 1
        assert (tmp_path / "victim.tries").read_text() == "x"


def test_many_deaths_cost_a_call_each(app):
    """Of 60 calls between which 12 kill their process, those 12 are lost, and the others have their results."""
    with app.executor("calls", executor="process", max_workers=3) as executor:
        submitted = [executor.submit(kill_self) if n % 5 == 2 else executor.submit(abs, -n) for n in range(60)]
        futures.wait(submitted, timeout=TIMEOUT_S)

    for number, future in enumerate(submitted):
        if number % 5 == 2:
            assert isinstance(future.exception(0), CallLost)
        else:
            assert future.result(0) == number


@pytest.mark.parametrize("rerun", [False, True])
def test_the_death_of_the_worker_with_all_its_processes(app, tmp_path, rerun):
    """What had begun is lost, or run again; what waited just runs, and no call is begun twice unless it may be."""
    with app.executor("calls", executor="process", max_workers=1, rerun=rerun) as executor:
        begun = executor.submit(hold, str(tmp_path), "begun")
        waiting = [executor.submit(abs, -number) for number in range(5)]
        _wait_for_pid(tmp_path, "begun")
        kill(executor._desk._registration.participant)
        if not rerun:
            assert isinstance(begun.exception(TIMEOUT_S), CallLost)
        (tmp_path / "go").touch()

        assert [future.result(TIMEOUT_S) for future in waiting] == list(range(5))
        if rerun:
            assert begun.result(TIMEOUT_S) >= 1
        else:
            assert (tmp_path / "begun.tries").read_text() == "x"


def test_a_call_may_be_run_again(app, tmp_path):
    """With `rerun` the call whose process was killed has a result in the end."""
    with app.executor("calls", executor="process", max_workers=2, rerun=True) as executor:
        call = executor.submit(hold, str(tmp_path), "victim")
        pid = _wait_for_pid(tmp_path, "victim")
        (tmp_path / "victim").unlink()
        os.kill(pid, signal.SIGKILL)
        assert _wait_for_pid(tmp_path, "victim") != pid
        (tmp_path / "go").touch()

        assert call.result(TIMEOUT_S) == 2


def test_a_call_that_kills_every_process_is_lost(app):
    """With `rerun`, after three; what goes on beside it is not disturbed."""
    with app.executor("calls", executor="process", max_workers=2, rerun=True) as executor:
        deadly = executor.submit(kill_self)
        assert [*executor.map(abs, range(50))] == [*range(50)]
        error = deadly.exception(TIMEOUT_S)

    assert isinstance(error, CallLost)
    assert error.crashes == 3


@pytest.mark.parametrize(("how", "lost"), [((leave_at_once, 3), CallLost), ((leave, 3), SystemExit)])
def test_a_call_may_leave(app, how, lost):
    """`os._exit` is a death; `SystemExit` is an exception as any other."""
    with app.executor("calls", executor="process", max_workers=1) as executor:
        assert isinstance(executor.submit(*how).exception(TIMEOUT_S), lost)
        assert executor.submit(abs, -1).result(TIMEOUT_S) == 1


def test_an_exception_has_the_childs_traceback_as_its_cause(app):
    """Its own type, and as the cause the text of the traceback, with the line that raised it."""
    with app.executor("calls", executor="process", max_workers=1) as executor:
        error = executor.submit(divide, 0).exception(TIMEOUT_S)

    assert type(error) is ZeroDivisionError
    assert "return 1 / by  # some comment" in str(error.__cause__)


def test_what_does_not_travel_fails_its_call_alone(app):
    """The error of an argument is what pickle raises, in the parent or in the child; that of a result is ours."""
    with app.executor("calls", executor="process", max_workers=1) as executor:
        unpicklable = executor.submit(map, lambda: None, [])
        unreadable = executor.submit(id, Unreadable())
        result = executor.submit(give_unpicklable)

        assert isinstance(unpicklable.exception(TIMEOUT_S), AttributeError | pickle.PicklingError)
        assert isinstance(unreadable.exception(TIMEOUT_S), ZeroDivisionError)
        assert isinstance(result.exception(TIMEOUT_S), UnpicklableError)
        assert executor.submit(abs, -1).result(TIMEOUT_S) == 1


def test_what_waits_is_cancelled_and_what_runs_is_not(app, tmp_path):
    """A running call goes on through `cancel`; a cancelled one never reaches a process."""
    with app.executor("calls", executor="process", max_workers=1) as executor:
        running = executor.submit(hold, str(tmp_path), "running")
        waiting = executor.submit(hold, str(tmp_path), "waiting")
        _wait_for_pid(tmp_path, "running")
        assert running.running()
        assert not running.cancel()
        assert waiting.cancel()
        (tmp_path / "go").touch()
        assert running.result(TIMEOUT_S) == 1
        executor.submit(abs, 1).result(TIMEOUT_S)

    assert not (tmp_path / "waiting.tries").exists()


@pytest.mark.parametrize("chunksize", [1, 7, 100])
def test_map_in_chunks(app, chunksize):
    """Results in order, whatever the size of the chunks; an error comes where its chunk does."""
    with app.executor("calls", executor="process", max_workers=2) as executor:
        assert list(executor.map(pow, range(30), itertools.repeat(2), chunksize=chunksize)) == [
            n * n for n in range(30)
        ]
        with pytest.raises(ZeroDivisionError):
            list(executor.map(divide, range(5), chunksize=chunksize))


def test_the_processes_are_gone_after_shutdown(app, tmp_path):
    """`shutdown` returns when the worker has left, and closing the application proves that no process stays."""
    executor = app.executor("calls", executor="process", max_workers=2)
    submitted = [executor.submit(pow, 2, number) for number in range(10)]
    executor.shutdown()

    assert [future.result(0) for future in submitted] == [2**number for number in range(10)]
    assert app.pool("calls") == []


EXIT = """
import sys, time
from limen import Limen

if __name__ == "__main__":
    app = Limen()
    executor = app.executor("calls", executor=sys.argv[1], max_workers=1)
    executor.submit(abs, -1).result(timeout=30)
    executor.submit(time.sleep, 600)
    executor.submit(time.sleep, 600)
    print("leaving", flush=True)
"""


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_the_interpreters_exit_does_not_hang(run_python, tmp_path, kind):
    """A program that ends without closing anything, with a call running and one waiting, is gone at once."""
    script = tmp_path / "leaves.py"
    script.write_text(EXIT)

    done = run_python(script, kind, timeout_s=TIMEOUT_S)

    assert (done.returncode, done.stdout) == (0, "leaving\n")
