"""In place of child processes: tasks that can vanish as a process does, with no reply and no `finally`.

Arguments and results are copied by pickle, as between a parent and its children. The pipes are not simulated.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Mapping
from typing import Any

from ..actors._current import Place
from ..actors.attempt import Attempt, Handler, Report
from ..actors.executors._local_run import LocalRun
from ..actors.runtime import here, runtime
from ..messages.activities import ActivityRequest, Completed, Failed, with_input
from ..messages.grace import DEFAULT, Grace
from ..messages.lifecycle import ExitReason
from ..messages.payloads import Local
from ._errors import SimulationEnd
from ._scheduler import Scheduler
from ._task import Task
from ._waits import SimulatedQueue

KILLED = -9
"""The exit code of a child that is crashed: SIGKILL's."""
DEAF = 0.3
"""How often a child does not end by SIGTERM."""


class Child:
    """One simulated child process."""

    def __init__(self, work: SimulatedQueue) -> None:
        self.work = work
        self.attempt: Attempt | None = None
        self.task: Task
        self.cancelled = False


class Line:
    """What a child says of its progress, on its way to the parent."""

    def __init__(self, child: Child, news: SimulatedQueue) -> None:
        self._child = child
        self._news = news

    def progressed(self, attempt: Attempt, packed: bytes) -> None:
        """Send it."""
        self._news.put((self._child, attempt, packed))


class SimulatedProcesses:
    """Runs each attempt in a simulated child. What the children say is read by a task of the parent's."""

    name = "process"
    prefetch = 0

    def __init__(
        self, handlers: Mapping[str, Handler], slots: int, report: Report, name: str, *, grace: Grace = DEFAULT
    ) -> None:
        self._handlers = handlers
        self._slots = slots
        self._report = report
        self._name = name
        self._grace = grace
        simulated: Any = runtime()
        self._runtime = simulated
        self._scheduler: Scheduler = simulated.scheduler
        self._news = SimulatedQueue(self._scheduler)
        self._reader: Any = None
        self._waiting: deque[Attempt] = deque()
        self._children: list[Child] = []
        self._closed = False

    def submit(self, attempt: Attempt) -> None:
        """Run it in a child that is idle, or in another one."""
        if self._closed:
            return
        if self._reader is None:
            self._reader = self._runtime.start_thread(self._read, f"{self._name} reader")
        self._waiting.append(attempt)
        self._hand_out()

    def cancel(self, attempt: Attempt) -> None:
        """End the child that runs it: at once, or, as luck has it, after the grace. One that waits is given back."""
        if attempt in self._waiting:
            self._waiting.remove(attempt)
            self._report.returned(attempt, ExitReason.killed("cancelled"))
        child = next((each for each in self._children if each.attempt is attempt and not each.cancelled), None)
        if child is not None:
            child.cancelled = True
            is_deaf = self._runtime.chance() < DEAF
            self._runtime.call_later(self._grace.grace_s if is_deaf else 0.0, lambda: self._kill(child))
            self._hand_out()

    def _kill(self, child: Child) -> None:
        if not child.task.done:
            self._scheduler.vanish(child.task)

    def close(self) -> None:
        """Kill all children."""
        self._closed = True
        self._news.put(None)
        for child in list(self._children):
            if not child.task.done:
                self._scheduler.vanish(child.task)

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait until what they said has been read."""
        if self._reader is None:
            return True
        self._reader.join(timeout_s)
        return not self._reader.is_alive()

    def _hand_out(self) -> None:
        while self._waiting:
            serving = [each for each in self._children if not each.cancelled]
            child = next((each for each in serving if each.attempt is None), None)
            if child is None:
                if len(serving) >= self._slots:
                    return
                child = self._start_child()
            child.attempt = attempt = self._waiting.popleft()
            child.work.put(attempt)

    def _start_child(self) -> Child:
        child = Child(SimulatedQueue(self._scheduler))
        self._children.append(child)
        child.task = self._runtime.start_task(lambda: self._live(child), f"{self._name} child")
        child.task.on_vanish = lambda: self._buried(child)
        child.task.mortal = issubclass(Child, self._scheduler.knobs.crash)
        return child

    def _live(self, child: Child) -> None:
        """What happens in the child."""
        line: Any = Line(child, self._news)
        place = here.place = Place(lambda attempt: LocalRun(attempt, line))
        while True:
            attempt: Attempt = child.work.get()
            attempt.started_s = self._runtime.now()
            place.work = attempt
            try:
                result: Completed | Failed = Completed(self._perform(attempt.request))
            except SimulationEnd:
                raise
            except Exception as error:  # noqa: BLE001 - a failure of the activity, reported as such
                result = Failed(error)
            except BaseException:  # SystemExit and the like end this child, and no other
                self._scheduler.vanish(child.task)
                raise
            place.work = None
            self._news.put((child, attempt, result))

    def _perform(self, request: ActivityRequest) -> Any:
        given = request.input
        if isinstance(given, Local):
            request = with_input(request, Local(pickle.loads(pickle.dumps(given.value))))
        output = self._handlers[request.activity_type](request)
        return Local(pickle.loads(pickle.dumps(output.value))) if isinstance(output, Local) else output

    def _buried(self, child: Child) -> None:
        """Tell the reader that a child has gone. Called by whoever made it vanish; no scheduling point."""
        self._news.post((child, child.attempt, None))

    def _read(self) -> None:
        """What happens in the parent: news in the order in which it came."""
        while (news := self._news.get()) is not None:
            child, attempt, result = news
            if result is None:
                self._gone(child)
                continue
            if isinstance(result, bytes):
                self._report.progressed(attempt, result)
                continue
            child.attempt = None
            following = self._report.finished(attempt, result)
            if following is not None:
                self._waiting.appendleft(following)
            self._hand_out()

    def _gone(self, child: Child) -> None:
        self._children.remove(child)
        attempt = child.attempt
        if attempt is not None and not self._closed:
            reason = ExitReason.killed("cancelled") if child.cancelled else ExitReason.from_exit_code(KILLED)
            say = self._report.crashed if attempt.started_s is not None else self._report.returned
            say(attempt, reason)
        self._hand_out()
