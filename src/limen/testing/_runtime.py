"""`SimulatedRuntime`: the third runtime behind the seam. The same actors, one at a time, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..actors.runtime import Reply, Timer
from ..actors.runtime.watchdog import Watchdog
from ._inbox import SimulatedInbox
from ._routes import Routes
from ._scheduler import Scheduler
from ._task import Task
from ._waits import (
    SimulatedCondition,
    SimulatedEvent,
    SimulatedLock,
    SimulatedQueue,
    SimulatedReply,
    SimulatedThread,
)

if TYPE_CHECKING:
    import asyncio

EPOCH_S = 946_684_800.0
"""What the calendar says at the beginning of every run: the first instant of the year 2000."""


class SimulatedRuntime:
    """What actors are given in a simulation. Everything that may block parks a task."""

    misses_signals = False
    watchdog: Watchdog | None = None

    def __init__(self, scheduler: Scheduler, seed: int) -> None:
        self.scheduler = scheduler
        self.routes = Routes(scheduler)
        self.shared: dict[Any, Any] = {}
        self.reply_class: type[Reply[Any]] = type("SimulatedReply", (SimulatedReply,), {"_scheduler": scheduler})
        self._random = random.Random(f"runtime {seed}")
        self._names: dict[str, int] = {}
        self._urns = 0

    def numbered(self, name: str) -> str:
        """Give a name that no task has, such as `WorkerActor#2`."""
        number = self._names[name] = self._names.get(name, 0) + 1
        return f"{name}#{number}"

    def _named(self, name: str) -> str:
        """Give a thread's name, numbered from the second of that name on."""
        return self.numbered(name) if name in self._names else self.numbered(name).removesuffix("#1")

    # --- actors -------------------------------------------------------------------------------------------------

    def create_inbox(self, actor: Any) -> SimulatedInbox:
        """Give an inbox that the actor's task empties, whether or not the actor has a thread in everyday life."""
        return SimulatedInbox(actor, self.scheduler, self.routes)

    def create_future(self) -> Reply[Any]:
        """Give a future that parks who waits for it."""
        return self.reply_class()

    def new_urn(self) -> str:
        """Give the next of a row of URNs, the same in every run."""
        self._urns += 1
        return f"urn:uuid:00000000-0000-4000-8000-{self._urns:012x}"

    def start(self, actor: Any, loop: Callable[[], None]) -> None:
        """Make the actor's loop a task. Others may run before the starter goes on."""
        scheduler = self.scheduler
        if scheduler.closing:
            return
        scheduler.enter("start")
        task = scheduler.spawn(self.numbered(type(actor).__name__), loop, actor)
        task.draining = actor.never_blocks
        task.inbox = actor.actor_inbox
        task.inbox.task = task
        scheduler.trace.note("", scheduler.current, "starts", task)
        scheduler.point("next step after starting", task)

    # --- time and luck ------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Virtual seconds since the beginning of the run."""
        return self.scheduler.now_s

    def wall_time(self) -> float:
        """Virtual seconds since 1970."""
        return EPOCH_S + self.scheduler.now_s

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.scheduler.sleep(seconds)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Have something called by the clock, which is a task like others."""
        scheduler = self.scheduler
        return scheduler.at(scheduler.now_s + max(0.0, delay_s), callback, inline=False)

    def chance(self) -> float:
        """Give a number that depends on the seed alone."""
        return self._random.random()

    def new_id(self) -> str:
        """Give a UUID that depends on the seed alone."""
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    # --- threads and what they wait for -------------------------------------------------------------------------

    def start_thread(self, target: Callable[[], object], name: str) -> SimulatedThread:
        """Make a function a task."""
        return SimulatedThread(self.start_task(target, name.removeprefix("limen-")), self.scheduler)

    def start_task(self, target: Callable[[], object], name: str) -> Task:
        """Do the same, for who needs the task itself."""
        scheduler = self.scheduler
        scheduler.whoever_calls("start of a thread")
        task = scheduler.spawn(self._named(name), target)
        scheduler.trace.note("", scheduler.current, "starts", task)
        return task

    def create_event(self) -> SimulatedEvent:
        """Give an event."""
        return SimulatedEvent(self.scheduler)

    def create_lock(self) -> SimulatedLock:
        """Give a lock."""
        return SimulatedLock(self.scheduler)

    def create_rlock(self) -> SimulatedLock:
        """Give a lock that its holder may take again."""
        return SimulatedLock(self.scheduler, reentrant=True)

    def create_condition(self) -> SimulatedCondition:
        """Give a condition."""
        return SimulatedCondition(self.scheduler)

    def create_queue(self) -> SimulatedQueue:
        """Give a queue."""
        return SimulatedQueue(self.scheduler)

    def create_event_loop(self) -> asyncio.AbstractEventLoop:
        """Give an asyncio loop whose time is virtual."""
        from ._loop import SimulatedLoop

        return SimulatedLoop(self.scheduler, self.start_thread)

    def executor_for(self, kind: str) -> Callable[..., Any] | None:
        """Give the stand-in for child processes; threads and loops go through this runtime by themselves."""
        if kind != "process":
            return None
        from ._processes import SimulatedProcesses

        return SimulatedProcesses
