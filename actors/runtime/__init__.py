"""The one seam between actors and the machine: inboxes, futures, threads of control, time and timers.

An actor asks the installed runtime and knows nothing else. `install` swaps it, for a test kit or a simulator.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .flag import Flag
from .here import here
from .reply import PENDING, Reply, offer, offer_error
from .shield import Shield
from .standard import StandardRuntime
from .timers import Timer
from .waits import Condition, Lock, Queue, Thread
from .watchdog import Watchdog

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "PENDING",
    "Condition",
    "Flag",
    "Lock",
    "Queue",
    "Reply",
    "Runtime",
    "Shield",
    "Thread",
    "Timer",
    "here",
    "install",
    "offer",
    "offer_error",
    "runtime",
]


class Runtime(Protocol):
    """What an actor needs of the machine."""

    watchdog: Watchdog | None
    """Wakes the main thread while it waits for a reply, where it might miss a signal otherwise."""

    misses_signals: bool
    """Whether a signal may come just as the main thread blocks, and not wake it."""

    def create_inbox(self, actor: Any) -> Any:
        """Give an actor its inbox."""
        ...

    reply_class: type[Reply[Any]]
    """What `create_future` makes."""

    def create_future(self) -> Reply[Any]:
        """Give the future for one ask."""
        ...

    def new_urn(self) -> str:
        """Give an actor its name, unique everywhere."""
        ...

    def start(self, actor: Any, loop: Callable[[], None]) -> None:
        """Begin to run an actor."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Let this thread wait."""

    def wall_time(self) -> float:
        """Seconds since 1970, for what people read."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Have a short callback called later, on a thread of the runtime's."""
        ...

    def chance(self) -> float:
        """Give a number from 0 to 1, for jitter."""
        ...

    def new_id(self) -> str:
        """Give the text of a UUID."""
        ...

    # Threads that are no actors', and what they wait for. Whatever may block, blocks on one of these.

    def start_thread(self, target: Callable[[], object], name: str) -> Thread:
        """Run a function on a daemon thread. Raises `RuntimeError` when none can be had."""
        ...

    def create_event(self) -> threading.Event:
        """Give an event."""
        ...

    def create_lock(self) -> Lock:
        """Give a lock under which somebody may wait or send."""
        ...

    def create_rlock(self) -> Lock:
        """Give one that its holder may take again."""
        ...

    def create_condition(self) -> Condition:
        """Give a condition with a lock of its own."""
        ...

    def create_queue(self) -> Queue:
        """Give an unbounded queue."""
        ...

    def create_event_loop(self) -> asyncio.AbstractEventLoop:
        """Give an asyncio loop, to be run by the caller."""
        ...

    def executor_for(self, kind: str) -> Callable[..., Any] | None:
        """Give what makes executors of this kind here; `None` for the usual ones."""
        ...

    @property
    def shared(self) -> dict[Any, Any]:
        """What there is one of for each runtime, by whoever made it. A forked child starts with none."""
        ...


_installed: Runtime = StandardRuntime()


def runtime() -> Runtime:
    """Give the installed runtime."""
    return _installed


def install(new: Runtime) -> Runtime:
    """Put another runtime in place and give back the old one. Actors that run already keep theirs."""
    global _installed
    old, _installed = _installed, new
    return old
