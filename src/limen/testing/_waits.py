"""What a simulated task may wait for: answers, events, locks, conditions, queues, other threads.

Each behaves as its original does, but parks the task instead of the thread.
"""

from __future__ import annotations

from collections import deque
from queue import Empty
from typing import Any, TypeVar

from ..actors.runtime import Flag, Reply
from ..actors.runtime.watchdog import Watchdog
from ._errors import SimulationEnd, SimulationError
from ._scheduler import Scheduler
from ._task import Task
from ._trace import show

T = TypeVar("T")


class SimulatedReply(Reply[T]):
    """A future whose `get` lets others run. Each runtime has a class of its own, which knows the scheduler."""

    is_idle = False
    about: Any = None
    """The question."""
    _scheduler: Scheduler

    @property
    def name(self) -> str:
        """What a trace calls it."""
        return f"an answer to {show(self.about)}" if self.about is not None else "a result"

    def debtor(self) -> Task | None:
        """Give who owes the answer."""
        return getattr(self.owed_by, "task", None)

    def what(self) -> str:
        """Say what he owes."""
        return f"answer {show(self.about)}"

    def wait_on_main(self, watchdog: Watchdog) -> None:
        """Wait as any other does: signals are heard. After the end of the run this raises."""
        self.wait(None)

    def set(self, value: T | None = None) -> None:
        """Answer, and let the asker go first perhaps."""
        super().set(value)
        self._scheduler.point("next step after answering", self.about)

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an error; as `set`."""
        super().set_exception(exc_info)
        self._scheduler.point("next step after refusing", self.about)

    def wait(self, timeout: float | None) -> bool:
        """Let others run until there is an answer, or virtual time is up."""
        scheduler = self._scheduler
        me = _enter(scheduler, "wait for an answer")
        self._refuse_self_ask()
        until_s = None if timeout is None else scheduler.now_s + timeout
        in_time = timeout is None or timeout > 0

        def wake() -> None:
            scheduler.wake_if(me, self)

        box = self._watch(wake)
        try:
            while in_time and not self.done():
                in_time = scheduler.park(self, until_s)
        finally:
            self._unwatch(box)
        return self.done()


def _enter(scheduler: Scheduler, what: str) -> Task:
    """Begin to wait; the test itself is told plainly when the simulation is over."""
    try:
        return scheduler.enter(what)
    except SimulationEnd:
        if scheduler.current is scheduler.main and scheduler.has_ended:
            msg = "the simulation is over: nobody will answer"
            raise SimulationError(msg) from None
        raise


class Waiters:
    """The tasks that wait for one thing."""

    __slots__ = ("_scheduler", "tasks")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.tasks: deque[Task] = deque()

    def wait(self, thing: object, until_s: float | None, what: str) -> bool:
        """Park until woken; `False` when time is up."""
        me = _enter(self._scheduler, what)
        if until_s is not None and until_s <= self._scheduler.now_s:
            return False
        self.tasks.append(me)
        try:
            return self._scheduler.park(thing, until_s)
        finally:
            if me in self.tasks:
                self.tasks.remove(me)

    def wake(self, thing: object, count: int | None = None) -> None:
        """Wake so many, or all."""
        for _ in range(len(self.tasks) if count is None else min(count, len(self.tasks))):
            self._scheduler.wake_if(self.tasks.popleft(), thing)


class SimulatedEvent(Flag):
    """An event. Who waits for one counts as idle: the test may be about to set it."""

    is_idle = True
    name = "an event"

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._waiting: Waiters | None = None

    def set(self) -> None:
        """Set it and wake whoever waits."""
        self._flag = True
        if self._waiting is not None:
            self._waiting.wake(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait in virtual time."""
        scheduler = self._scheduler
        until_s = None if timeout is None else scheduler.now_s + timeout
        if self._waiting is None:
            self._waiting = Waiters(scheduler)
        while not self._flag and self._waiting.wait(self, until_s, "wait for an event"):
            pass
        return self._flag


class SimulatedLock:
    """A lock, reentrant or not."""

    is_idle = False
    name = "a lock"

    def __init__(self, scheduler: Scheduler, *, reentrant: bool = False) -> None:
        self._scheduler = scheduler
        self._reentrant = reentrant
        self._waiting = Waiters(scheduler)
        self._holder: Task | None = None
        self._depth = 0

    def debtor(self) -> Task | None:
        """Give who holds it."""
        return self._holder

    def what(self) -> str:
        """Say what he owes."""
        return "give a lock back"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as `threading`
        """Take it."""
        scheduler = self._scheduler
        if scheduler.closing:
            return True
        me = scheduler.whoever_calls("lock")
        if self._holder is me and self._reentrant:
            self._depth += 1
            return True
        scheduler.small_point("lock")
        until_s = None if timeout < 0 else scheduler.now_s + timeout
        while self._holder is not None:
            if not blocking or not self._waiting.wait(self, until_s, "wait for a lock"):
                return False
        self._holder, self._depth = me, 1
        return True

    def release(self) -> None:
        """Give it back."""
        if self._scheduler.closing:
            return
        self._depth -= 1
        if self._depth == 0:
            self._holder = None
            self._waiting.wake(self, 1)

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return self._holder is not None

    def __enter__(self) -> bool:
        """Take it."""
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self.release()


class SimulatedCondition:
    """A condition with a lock of its own."""

    is_idle = True
    name = "a condition"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = SimulatedLock(scheduler)
        self._waiting = Waiters(scheduler)

    def __enter__(self) -> bool:
        """Take the lock."""
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait, take it again."""
        until_s = None if timeout is None else self._scheduler.now_s + timeout
        self._lock.release()
        try:
            return self._waiting.wait(self, until_s, "wait for a condition")
        finally:
            self._lock.acquire()

    def notify(self, n: int = 1) -> None:
        """Wake some."""
        self._waiting.wake(self, n)

    def notify_all(self) -> None:
        """Wake all."""
        self._waiting.wake(self)


class SimulatedQueue:
    """An unbounded queue. Who waits at one is idle."""

    is_idle = True
    name = "work"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._items: deque[Any] = deque()
        self._waiting = Waiters(scheduler)

    def put(self, item: Any) -> None:
        """Put something in."""
        self._scheduler.small_point("put into a queue")
        self.post(item)

    def post(self, item: Any) -> None:
        """Put something in, without a scheduling point."""
        self._items.append(item)
        self._waiting.wake(self, 1)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as `queue`
        """Take the next, or wait for it in virtual time."""
        scheduler = self._scheduler
        until_s = None if timeout is None else scheduler.now_s + timeout
        _enter(scheduler, "get").message = None
        while not self._items:
            if not block or not self._waiting.wait(self, until_s, "wait for work"):
                raise Empty
        return self._items.popleft()

    def empty(self) -> bool:
        """Whether nothing is in it."""
        return not self._items


class SimulatedThread:
    """A thread that is a task."""

    def __init__(self, task: Task, scheduler: Scheduler) -> None:
        self._task = task
        self._scheduler = scheduler

    @property
    def ident(self) -> int:
        """The number of the thread that runs it."""
        return self._task.ident

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        scheduler, task = self._scheduler, self._task
        if scheduler.closing:
            return
        me = scheduler.enter("join")
        until_s = None if timeout is None else scheduler.now_s + timeout
        if me is task or (until_s is not None and until_s <= scheduler.now_s):
            return
        waits = Joined(task)
        task.joiners.append((me, waits))
        while not task.done and scheduler.park(waits, until_s):
            pass

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self._task.done


class Joined:
    """The end of a task, as something to wait for."""

    is_idle = False

    def __init__(self, task: Task) -> None:
        self._task = task
        self.name = f"the end of {task.name}"

    def debtor(self) -> Task:
        """Give who is to end."""
        return self._task

    def what(self) -> str:
        """Say what he owes."""
        return "end"
