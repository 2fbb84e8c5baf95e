"""The client's event loop, so far as it has to be held on to: to cut what it watches, and to let go of it in a fork."""

from __future__ import annotations

import functools
import os
import select
import socket
from collections.abc import Callable
from threading import Lock
from typing import Any

from pika.adapters.select_connection import EPollPoller, IOLoop


class Loop(IOLoop):
    """The client's event loop, which knows what files it watches.

    Whoever runs it holds `turn`. While it only waits somebody else may take that, and do with the connection what only
    one thread at a time may. What he sets a timer for is not heard of before the loop wakes; files that he begins to
    watch are. Where the system has no `epoll` that would not be so, and nobody gets the turn.
    """

    def __init__(self, turn: Lock) -> None:
        self.files: set[int] = set()
        super().__init__()
        poller: Any = getattr(self, "_poller", None)
        if isinstance(poller, EPollPoller):
            # There is no public way, and a test watches over this one.
            poller._create_poller = functools.partial(_Poll, turn)  # type: ignore[method-assign]  # noqa: SLF001

    def add_handler(self, fd: int, handler: Any, events: int) -> None:
        """Watch a file."""
        self.files.add(fd)
        super().add_handler(fd, handler, events)

    def remove_handler(self, fd: int) -> None:
        """Watch it no more."""
        self.files.discard(fd)
        super().remove_handler(fd)

    def cut(self) -> None:
        """Shut every connection down, at once and without a word."""
        for each in list(self.files):
            try:
                with socket.socket(fileno=os.dup(each)) as end:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def wind_up(self, deadline_s: float, now: Callable[[], float]) -> None:
        """Let the client close what has been cut, which it does when it hears of it."""
        self.cut()
        self.activate_poller()
        while self.files and now() < deadline_s:
            self.poll()
            self.process_timeouts()
        self.deactivate_poller()

    def let_go(self) -> None:
        """Put something harmless in the place of every connection: this process's copy of it is gone then.

        The numbers stay taken, for the objects that hold them will close them one day.
        """
        harmless = os.open(os.devnull, os.O_RDWR)
        for each in list(self.files):
            os.dup2(harmless, each, inheritable=False)
        os.close(harmless)


class _Poll:
    """An `epoll` that lets go of the turn while it waits."""

    def __init__(self, turn: Lock) -> None:
        self._turn = turn
        self._epoll = select.epoll()
        self.register, self.modify = self._epoll.register, self._epoll.modify
        self.unregister, self.close = self._epoll.unregister, self._epoll.close

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Wait for what happens."""
        self._turn.release()
        try:
            return self._epoll.poll(timeout_s)
        finally:
            self._turn.acquire()
