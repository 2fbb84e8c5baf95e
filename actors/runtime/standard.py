"""The runtime of everyday use: a thread for each actor that may block, the shared pool for those that never do."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
import uuid
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from .flag import Flag
from .mailbox import PooledMailbox, ThreadMailbox
from .pool import Pool
from .quiet import QuietMailbox
from .reply import Reply
from .timers import Timer, Timers
from .watchdog import Watchdog

if TYPE_CHECKING:
    import asyncio

_numbers = itertools.count()

_URN_DIGITS = 12
"""Digits at the end of a URN by which the actors of one process differ."""

_FIXED = uuid.UUID(int=0, version=4).int
_NOT_FIXED = ~uuid.UUID(int=0, version=4).int & uuid.UUID(int=2**128 - 1, version=4).int
"""The bits of a random UUID that say what it is, and those that are left to chance. Source: RFC 9562."""


class StandardRuntime:
    """Real threads, real time."""

    misses_signals = True
    """Of real locks: see `limen._patience`."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Start afresh: at the beginning, and in a forked child, which has none of its parent's threads."""
        self._pool = Pool()
        self._random = random.Random(os.urandom(32))
        self._urns = self.new_id()[:-_URN_DIGITS]
        self._urn_numbers = itertools.count(self._random.getrandbits(32))
        self._timers = Timers(after_fire=self._pool.hand_over)
        self.watchdog: Watchdog | None = Watchdog(self.call_later)
        self.shared: dict[Any, Any] = {}

    def create_inbox(self, actor: Any) -> ThreadMailbox | PooledMailbox:
        """Give the inbox that fits how the actor is run."""
        if not actor.never_blocks:
            return ThreadMailbox(actor)
        return QuietMailbox(actor, self._pool) if actor.seldom_told else PooledMailbox(actor, self._pool)

    reply_class = Reply

    def create_future(self) -> Reply[Any]:
        """Give the future for an ask."""
        return Reply()

    def new_urn(self) -> str:
        """Give a URN in the form that Pykka's have: random for each process, and counted within."""
        return f"urn:uuid:{self._urns}{next(self._urn_numbers):012x}"

    def start(self, actor: Any, loop: Callable[[], None]) -> None:
        """Give the actor its thread, or its first turn. Raises `RuntimeError` when no thread can be had."""
        if actor.never_blocks:
            actor.begin_pooled()
            return
        thread = threading.Thread(
            target=loop,
            name=f"{type(actor).__name__}-{next(_numbers)}",
            daemon=actor.use_daemon_thread,
        )
        thread.start()

    now = staticmethod(time.monotonic)
    """Seconds on the monotonic clock."""

    sleep = staticmethod(time.sleep)
    """Let this thread wait."""

    wall_time = staticmethod(time.time)
    """Seconds since 1970."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Have `callback()` called on the timer thread. Never blocks."""
        return self._timers.call_later(delay_s, callback)

    chance = staticmethod(random.random)
    """Give a number from 0 to 1."""

    def new_id(self) -> str:
        """Give the text of a random UUID, without a system call for each."""
        bits = self._random.getrandbits(128) & _NOT_FIXED | _FIXED
        digits = f"{bits:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def start_thread(self, target: Callable[[], object], name: str) -> threading.Thread:
        """Run a function on a daemon thread. Raises `RuntimeError` when none can be had."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    create_event = Flag
    create_lock = staticmethod(threading.Lock)
    create_rlock = staticmethod(threading.RLock)
    create_queue = SimpleQueue

    def create_condition(self) -> threading.Condition:
        """Give a condition with a plain lock."""
        return threading.Condition(threading.Lock())

    def create_event_loop(self) -> asyncio.AbstractEventLoop:
        """Give an asyncio loop; whoever asks has asyncio loaded already."""
        import asyncio

        return asyncio.new_event_loop()

    def executor_for(self, kind: str) -> None:
        """Give none: here the usual executors do."""
