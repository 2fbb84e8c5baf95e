"""What an executor's reader waits for: what its children say, their ends, and other threads that want its attention.

Knows no work. All methods are for the reader's thread but `wake` and `await_room`.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
from collections import deque
from collections.abc import Iterator
from typing import Literal

from ._children import Child

Happening = Literal["said", "room", "ended"]


class Lines:
    """One selector over the lines and the sentinels of all children of an executor."""

    def __init__(self) -> None:
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._full: deque[Child] = deque()
        self._awake = False
        """Whether a wake is on its way to the reader."""
        self.attention = False
        """Whether something was left for the reader."""

    def wait(self, timeout_s: float | None) -> Iterator[tuple[Child, Happening]]:
        """Wait, at most so long, and say what happened to whom."""
        for key, events in self._selector.select(timeout_s):
            child = key.data
            if child is None:
                self._drain_wakes()
            elif key.fileobj is not child.data:
                yield child, "ended"
            else:
                if events & selectors.EVENT_WRITE:
                    yield child, "room"
                if events & selectors.EVENT_READ:
                    yield child, "said"

    def wake(self) -> None:
        """Have the reader attend to what this thread left for it."""
        self.attention = True
        if self._awake:
            return
        self._awake = True
        with contextlib.suppress(OSError):  # full: it is awake; closed: it is over
            self._waker.send(b"\0")

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(64)
        self._awake = False
        self.attention = True

    def add(self, child: Child) -> None:
        """Wait for what a child says, and for its end."""
        self._selector.register(child.data, selectors.EVENT_READ, child)
        if sys.platform != "win32":
            self._selector.register(child.sentinel, selectors.EVENT_READ, child)

    def await_room(self, child: Child) -> None:
        """Wait, from the reader's next turn on, for room to send the child what is left."""
        self._full.append(child)
        self.attention = True

    def await_rooms(self) -> None:
        """Begin to wait for all the room that was asked for."""
        while self._full:
            child = self._full.popleft()
            with contextlib.suppress(KeyError, ValueError):  # it has died meanwhile
                self._selector.modify(child.data, selectors.EVENT_READ | selectors.EVENT_WRITE, child)

    def room_made(self, child: Child) -> None:
        """Wait for room no more."""
        self._selector.modify(child.data, selectors.EVENT_READ, child)

    def line_lost(self, child: Child) -> None:
        """Wait for its end alone."""
        self._selector.unregister(child.data)

    def remove(self, child: Child) -> None:
        """Wait for nothing of a child any more."""
        for fileobj in (child.data, child.sentinel):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(fileobj)
        with contextlib.suppress(ValueError):
            self._full.remove(child)

    def close(self) -> None:
        """Give the files back."""
        self._selector.close()
        self._waker.close()
        self._woken.close()
