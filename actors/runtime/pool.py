"""Many quiet actors on few threads: the mailbox that has a message finds a thread.

Usually the thread that put the message runs the actor itself, which saves two thread switches. It works for others
only within a budget; what is left goes to the pool's own threads. It never recurses: what an actor sends while it is
being served is served after it, by the same thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from queue import SimpleQueue
from typing import Any

from pykka._envelope import Envelope

from .here import here
from .mailbox import PooledMailbox
from .shield import shielded

logger = logging.getLogger("limen")

BORROWED_BUDGET = 64
"""Messages that a putter serves for others before the pool takes over."""
POOL_BUDGET = 256
"""Messages that a pool thread serves of one mailbox before the next one has its turn."""
MAX_THREADS = 4
"""Pool threads, not counting those that stand in for a blocked one."""


class Pool:
    """Serves pooled mailboxes: each by one thread at a time, in order, fairly."""

    def __init__(self) -> None:
        self._main = threading.main_thread().ident
        self._runnable: SimpleQueue[PooledMailbox] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._blocked = 0

    def deliver(self, mailbox: PooledMailbox, lane: deque[Envelope[Any]], envelope: Envelope[Any]) -> None:
        """Append to a lane of the mailbox and make sure that somebody serves it. Any thread."""
        if here.draining:
            lane.append(envelope)
            if not mailbox.is_served:
                here.owed.append(mailbox)
        elif threading.get_ident() == self._main:
            shielded(self._append_and_serve, mailbox, lane, envelope)
        else:
            lane.append(envelope)
            self._serve(mailbox, BORROWED_BUDGET)

    def serve_owed(self) -> None:
        """Serve what a borrowed turn has left behind: mailboxes that this thread has come to owe a turn."""
        self._serve(here.owed.popleft(), BORROWED_BUDGET)

    def submit(self, mailbox: PooledMailbox) -> None:
        """Let a pool thread serve this mailbox. Never blocks."""
        self._runnable.put(mailbox)
        if self._idle == 0:
            self._grow()

    def hand_over(self) -> None:
        """Let the pool serve what this thread has come to owe. For a thread that lends itself to no actor."""
        owed = here.owed
        while owed:
            self.submit(owed.popleft())

    def block(self) -> None:
        """Say that this thread, inside a drain, is about to wait: another may stand in for it."""
        self.hand_over()
        with self._lock:
            self._blocked += 1
        if not self._runnable.empty() and self._idle == 0:
            self._grow()

    def unblock(self) -> None:
        """Say that the wait is over."""
        with self._lock:
            self._blocked -= 1

    def _append_and_serve(self, mailbox: PooledMailbox, lane: deque[Envelope[Any]], envelope: Envelope[Any]) -> None:
        lane.append(envelope)
        self._serve(mailbox, BORROWED_BUDGET)

    def _serve(self, mailbox: PooledMailbox, budget: int) -> None:
        """Serve one mailbox and whatever its actor wakes, within a budget of messages."""
        owed = here.owed
        here.draining = True
        here.pool = self
        here.host = here.mailbox
        try:
            while True:
                budget = _take_turns(mailbox, budget)
                if budget <= 0:
                    self.submit(mailbox)
                    return
                if not owed:
                    return
                mailbox = owed.popleft()
        finally:
            here.draining = False
            here.host = None
            self.hand_over()

    def _grow(self) -> None:
        with self._lock:
            if self._threads >= MAX_THREADS + self._blocked:
                return
            self._threads += 1
            number = self._threads
        try:
            threading.Thread(target=self._work, name=f"limen-pool-{number}", daemon=True).start()
        except RuntimeError:  # no thread can be had, as when the interpreter ends: the next message tries again
            logger.warning("no thread for the pool", exc_info=True)
            with self._lock:
                self._threads -= 1

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._threads > MAX_THREADS + self._blocked:
                    self._threads -= 1
                    return
                self._idle += 1
            mailbox = self._runnable.get()
            with self._lock:
                self._idle -= 1
            self._serve(mailbox, POOL_BUDGET)


def _take_turns(mailbox: PooledMailbox, budget: int) -> int:
    """Run the actor until its mailbox is empty, somebody else runs it, or the budget is spent; give back the rest."""
    while budget > 0 and not mailbox.empty():
        if mailbox.closed:
            mailbox.refuse_rest()
            return budget
        if not mailbox.take_turn():
            return budget
        before = here.mailbox
        here.mailbox = mailbox
        try:
            if not mailbox.closed:
                budget = mailbox.owner.serve(budget)
        finally:
            here.mailbox = before
            mailbox.give_turn()
    return budget
