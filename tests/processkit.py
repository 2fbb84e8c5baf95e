"""What the tests of process workers share: attempts, a report that can be waited for, a gate for activities."""

import fcntl
import os
import queue
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import activities_for_tests as activities

from limen.actors.attempt import Attempt, Boxed
from limen.actors.executors.process import ProcessExecutor
from limen.messages.activities import ActivityRequest, Completed, Failed
from limen.messages.lifecycle import ExitReason
from limen.messages.payloads import Local, Payload

WAIT_S = 20.0
"""How long a test waits for something that must happen. It never waits that long."""

HANDLERS = {
    name: getattr(activities, name)
    for name, member in vars(activities).items()
    if callable(member) and getattr(member, "__annotations__", {}).get("request") is ActivityRequest
}
"""Every activity of `activities_for_tests`, by its own name."""


def attempt(activity_type: str, value: Any = None, **limits: Any) -> Attempt:
    """Make an attempt at an activity with this argument; a `Payload` stays what it is."""
    given = value if isinstance(value, Payload) else Local(value)
    request = ActivityRequest(activity_type, given, **limits)
    conversation = SimpleNamespace(
        request=request, activity_type=activity_type, id="c-1", accepted_s=0.0, progress=None
    )
    return Attempt(conversation, SimpleNamespace(worker_id="worker-1", incarnation=1), 1)


class Recorder:
    """A report that keeps everything it is told, in order, until it is asked for."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self.following: list[Attempt] = []
        """What is given back for the slot that became free, one at a time."""

    def finished(self, attempt: Attempt, result: Completed | Failed | Boxed) -> Attempt | None:
        self._told.put(("finished", attempt, result))
        return self.following.pop(0) if self.following else None

    def look(self, entry: Any) -> Any:
        """Do nothing: there is no channel."""

    def progressed(self, attempt: Attempt, packed: bytes) -> None:
        self._told.put(("progressed", attempt, packed))

    def crashed(self, attempt: Attempt, reason: ExitReason) -> None:
        self._told.put(("crashed", attempt, reason))

    def returned(self, attempt: Attempt, reason: ExitReason) -> None:
        self._told.put(("returned", attempt, reason))

    def fatal(self, error: BaseException, culprit: Attempt | None = None) -> None:
        self._told.put(("fatal", None, error))

    def next(self) -> tuple[str, Any, Any]:
        """Wait for what is told next."""
        return self._told.get(timeout=WAIT_S)

    def value(self) -> Any:
        """Wait for the next thing told, which must be an object as result, and give it."""
        kind, _, result = self.next()
        assert kind == "finished", (kind, result)
        assert isinstance(result, Completed), result
        return result.output.value if isinstance(result.output, Local) else result.output

    def error(self) -> BaseException:
        """Wait for the next thing told, which must be a failure, and give its error."""
        kind, _, result = self.next()
        assert kind == "finished", (kind, result)
        assert isinstance(result, Failed), result
        return result.error

    def nothing_more(self) -> bool:
        """Whether nothing has been told that was not asked for."""
        return self._told.empty()


@contextmanager
def executor(slots: int = 1, **options: Any) -> Iterator[tuple[ProcessExecutor, Recorder]]:
    """Give an executor that serves all activities, and its report; see to it that it ends completely."""
    report = Recorder()
    made = ProcessExecutor(options.pop("handlers", HANDLERS), slots, report, "test", **options)
    try:
        yield made, report
    finally:
        made.close()
        assert made.wait_closed(WAIT_S)


class Events:
    """Keeps what it is called with, in order, until it is asked for."""

    def __init__(self) -> None:
        self._seen: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, event: Any) -> None:
        self._seen.put(event)

    def next(self) -> Any:
        """Wait for the next event."""
        return self._seen.get(timeout=WAIT_S)


class Gate:
    """Where activities announce themselves and wait: `gate.value` is the argument that `hold` takes."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        announced, locked = folder / f"{name}-announced", folder / f"{name}-locked"
        self.announced = str(announced)
        self.value = (str(announced), str(locked))
        os.mkfifo(announced)
        # Opened for both, so that neither side ever waits for the other to open.
        self._in = os.open(announced, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self._lock = locked.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def arrival(self) -> int:
        """Wait for one activity more, and give the process id of its child."""
        while b"\n" not in self._rest:
            assert select.select([self._in], [], [], WAIT_S)[0], "no activity has arrived"
            self._rest += os.read(self._in, 4096)
        line, _, self._rest = self._rest.partition(b"\n")
        return int(line)

    def open(self) -> None:
        """Let all go on, those that come later too."""
        self._lock.close()

    def close(self) -> None:
        """Let all go on and put the gate away."""
        self.open()
        os.close(self._in)


def has_ended(pid: int) -> bool:
    """Wait for the end of a process, which need not be a child of ours; `False` if it does not come."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], WAIT_S)[0])
    finally:
        os.close(pidfd)
