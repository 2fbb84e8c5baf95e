"""What every test gets: proof that nothing was left behind, and a bounded way to run a Python process.

Unhandled exceptions in threads and in finalisers fail the test too: pytest turns them into warnings, and warnings are
errors here.
"""

import contextlib
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import attrs
import pytest
from pykka import Actor, ActorRef, ActorRegistry

pytest_plugins = ("brokerfixtures", "homekit")

LONG_LIVED_THREADS = ("limen-pool", "limen-timer", "limen-watch")
"""Name prefixes of the infrastructure threads that outlive the actors they serve."""

GRACE_S = 5.0
"""How long a test's actors, threads and processes together have to finish after the test returned."""


@attrs.frozen(kw_only=True)
class Footprint:
    """The actors, threads and child processes alive at one moment."""

    actors: frozenset[str]
    threads: frozenset[int]
    children: frozenset[int]

    @classmethod
    def take(cls) -> "Footprint":
        """Look at this process now."""
        return cls(
            actors=frozenset(ref.actor_urn for ref in ActorRegistry.get_all()),
            threads=frozenset(id(thread) for thread in threading.enumerate()),
            children=frozenset(_children()),
        )

    def left_behind(self, grace_s: float = GRACE_S) -> list[str]:
        """Name what is alive now and was not then, after waiting up to `grace_s` for all of it to end."""
        deadline_s = time.monotonic() + grace_s
        for actor in self._new_actors():
            actor.actor_stopped.wait(_left(deadline_s))
        for thread in self._new_threads():
            thread.join(_left(deadline_s))
        for pid in self._new_children():
            _wait_for_exit(pid, _left(deadline_s))
        return [
            *(f"actor {actor}" for actor in self._new_actors()),
            *(f"thread {thread.name!r}" for thread in self._new_threads()),
            *(f"process {pid}: {_command(pid)}" for pid in self._new_children()),
        ]

    def _new_actors(self) -> list[ActorRef[Actor]]:
        return [ref for ref in ActorRegistry.get_all() if ref.actor_urn not in self.actors]

    def _new_threads(self) -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if id(thread) not in self.threads
            and not thread.name.startswith(LONG_LIVED_THREADS)
            and not isinstance(thread, threading._DummyThread)
        ]

    def _new_children(self) -> list[int]:
        return [pid for pid in _children() if pid not in self.children]


def _left(deadline_s: float) -> float:
    return max(0.0, deadline_s - time.monotonic())


def _children() -> list[int]:
    """Pids of live children, ours and the fork server's, without multiprocessing's own two helpers."""
    multiprocessing.active_children()  # reaps those that have ended
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    parents = {os.getpid(), server}
    return sorted(pid for pid, parent in _live_processes() if parent in parents and pid not in {server, tracker})


def _live_processes() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent's pid) of every process that is not a zombie."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it ended while we looked
            state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if state not in "ZX":
                yield int(entry.name), int(parent)


def _wait_for_exit(pid: int, timeout_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            select.select([pidfd], [], [], timeout_s)
        finally:
            os.close(pidfd)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return "ended just now"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves an actor, a thread or a child process running."""
    before = Footprint.take()
    yield
    left = before.left_behind()
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def footprint() -> Callable[[], Footprint]:
    """Take a footprint; for the tests of the check itself."""
    return Footprint.take


PythonRunner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_python(tmp_path: Path) -> PythonRunner:
    """Run a Python process in an empty folder: `run_python(*args, timeout_s=60)`.

    It has no stdin and a process group of its own, which is killed as a whole when the time is up. Output is text, with
    stderr folded into stdout.
    """

    def run(
        *args: str | Path,
        timeout_s: float = 60,
        python: str | Path = sys.executable,
        cwd: Path = tmp_path,
    ) -> subprocess.CompletedProcess[str]:
        return _run_in_group([str(python), *map(str, args)], cwd=cwd, timeout_s=timeout_s)

    return run


def _run_in_group(command: Sequence[str], *, cwd: Path, timeout_s: float) -> subprocess.CompletedProcess[str]:
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"{' '.join(command)}: not done after {timeout_s} s; it said:\n{output}", pytrace=False)
    return subprocess.CompletedProcess(command, process.returncode, output)
