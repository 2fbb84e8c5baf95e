"""One thread that waits for many file descriptors, each of them once.

Started with the first watch, gone with the last. Uses no CPU while nothing happens.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("limen")

OnReady = Callable[[], object]


class FdWatcher:
    """Calls back once for each descriptor it is given, on its thread, and closes the descriptor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._new: deque[tuple[int, OnReady]] = deque()
        self._unwanted: deque[int] = deque()
        self._waker: socket.socket | None = None
        self._pending: dict[int, OnReady] = {}

    def watch(self, fd: int, on_ready: OnReady) -> Callable[[], None]:
        """Have `on_ready()` called when `fd` is readable. The descriptor is the watcher's from now on.

        Returns the function that calls it off, from any thread. Does not block.
        """
        try:
            with self._lock:
                self._new.append((fd, on_ready))
                self._start_or_wake()
        except BaseException:
            with contextlib.suppress(ValueError):
                self._new.remove((fd, on_ready))
            os.close(fd)
            raise
        return lambda: self._call_off(fd, on_ready)

    def _call_off(self, fd: int, on_ready: OnReady) -> None:
        with self._lock:
            if (fd, on_ready) in self._new:
                self._new.remove((fd, on_ready))
                os.close(fd)
            elif self._pending.get(fd) is on_ready:
                del self._pending[fd]
                self._unwanted.append(fd)
                self._start_or_wake()

    def _start_or_wake(self) -> None:
        if self._waker is not None:
            with contextlib.suppress(BlockingIOError):  # full: it is awake
                self._waker.send(b"\0")
            return
        self._waker, woken = socket.socketpair()
        self._waker.setblocking(False)
        woken.setblocking(False)
        self._thread = threading.Thread(target=self._run, args=(self._waker, woken), name="limen-watch", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._waker.close()
            woken.close()
            self._waker = None
            raise

    def _run(self, waker: socket.socket, woken: socket.socket) -> None:
        with waker, woken, selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            while self._take_over(selector):
                ready = [key.fd for key, _ in selector.select()]
                for fd in ready:
                    if fd == woken.fileno():
                        woken.recv(4096)
                    else:
                        self._ready(fd, selector)

    def _take_over(self, selector: selectors.BaseSelector) -> bool:
        """Take in what is new and let go of what is unwanted; `False` when nothing is left to wait for."""
        with self._lock:
            while self._unwanted:
                fd = self._unwanted.popleft()
                selector.unregister(fd)
                os.close(fd)
            while self._new:
                fd, on_ready = self._new.popleft()
                selector.register(fd, selectors.EVENT_READ)
                self._pending[fd] = on_ready
            if not self._pending:
                self._waker = None
            return bool(self._pending)

    def _ready(self, fd: int, selector: selectors.BaseSelector) -> None:
        with self._lock:
            on_ready = self._pending.pop(fd, None)
            if on_ready is None:  # called off just now; the descriptor is closed with the unwanted ones
                return
            selector.unregister(fd)
        os.close(fd)
        try:
            on_ready()
        except Exception:
            logger.exception("what waited for a file descriptor failed")


_watcher = FdWatcher()


def _renew() -> None:
    """Begin anew in a forked copy, which has no such thread: what was watched is the original's."""
    global _watcher  # noqa: PLW0603 - the one of this process
    _watcher = FdWatcher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def fd_watcher() -> FdWatcher:
    """Give the one of this process."""
    return _watcher
