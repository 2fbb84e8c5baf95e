"""SIGTERM and Ctrl-C as a wish to end in good order, and the second of them as an end at once.

A signal handler runs between any two steps of the main thread, which may hold any lock just then. So a handler here
only takes note, and what has to wait is done on another thread.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, Self

from .actors._patience import wait_patiently
from .messages.drain import DrainReport, Waiting, check_drain
from .messages.errors import ConfigError, LimenError

logger = logging.getLogger("limen")

ENDING = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a program to end."""

_SIGNALLED = 128
"""Added to a signal's number for the exit status, as shells do."""

_AGAIN_S = 0.5
"""How often the main thread is told to leave, until it does."""

_SHOW_CURSOR = b"\x1b[?25h"


def status_of(name: str) -> int:
    """Give the exit status of a program that was ended by this signal: 143 for SIGTERM, 130 for Ctrl-C."""
    return _SIGNALLED + signal.Signals[name]


class Signals:
    """In its block, the first of these signals asks for the end; a second one, of either kind, is the end, at once.

    Child processes of limen end with their parent. Main thread only: raises `ConfigError` on any other.
    """

    def __init__(self) -> None:
        self.came: str | None = None
        """The name of the first."""
        self._before: dict[int, Any] = {}
        self._stop: Callable[[str], object] | None = None

    def stops(self, stop: Callable[[str], object]) -> None:
        """Have `stop(name)` called when a signal comes, or now if one has come. It must take no lock, and not wait."""
        self._stop = stop
        if self.came is not None:
            stop(self.came)

    def _handle(self, number: int, _frame: object) -> None:
        if self.came is not None:
            self._again(number)
            return
        self.came = signal.Signals(number).name
        if self._stop is not None:
            self._stop(self.came)

    def _again(self, number: int) -> None:
        leave_at_once(_SIGNALLED + number)

    def __enter__(self) -> Self:
        """Listen for signals."""
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError("signals", "can be listened for on the main thread only")
        for number in ENDING:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Let them act as before."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def leave_at_once(status: int) -> None:
    """End this process, now, whatever it is doing. Leaves a terminal usable."""
    with contextlib.suppress(OSError, ValueError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)
    os._exit(status)


class Drainable(Protocol):
    """What is to be drained: an application."""

    def close(self, *, drain: float, waiting: Waiting) -> DrainReport:
        """End in good order."""
        ...


class ExitOnSignals(Signals):
    """Drains an application when the first signal comes, and then has the main thread leave with `SystemExit`."""

    def __init__(self, app: Drainable, *, drain: float, waiting: Waiting) -> None:
        super().__init__()
        check_drain(drain, waiting)
        self.report: DrainReport | None = None
        """What the drain left undone, once it is over."""
        self._app = app
        self._drain_s = drain
        self._waiting: Waiting = waiting
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        """For the thread that drains: true for a signal, false for the end of the block. A handler may put into it."""
        self._begun = threading.Event()
        self._gone = _thread.allocate_lock()
        """Free once the main thread is on its way out. A handler may release it."""
        self._is_over = False
        self._told_s: float | None = None
        self._main = threading.main_thread().ident
        self._thread = threading.Thread(target=self._see_to_it, name="limen-signals", daemon=True)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until a signal has come, and then until the application is drained, which ends in `SystemExit`.

        For a main thread that has nothing else to do. `False` when no signal has come in `timeout` seconds.
        """
        if not wait_patiently(self._begun.wait, timeout):
            return False
        while True:
            time.sleep(_AGAIN_S)

    # --- in a signal handler ----------------------------------------------------------------------------------------

    def _again(self, number: int) -> None:
        """Leave in good order if the drain is over, and at once if it is not, or if that has been said before."""
        if not self._is_over:
            super()._again(number)
        now_s = time.monotonic()
        if self._told_s is None:
            self._told_s = now_s
            self._gone.release()
            assert self.came is not None, "nobody leaves unasked"
            raise SystemExit(status_of(self.came))
        if now_s - self._told_s > _AGAIN_S:  # else it is our own, sent once too often
            super()._again(number)

    # --- on a thread of its own -------------------------------------------------------------------------------------

    def _see_to_it(self) -> None:
        """Wait for a signal, drain, and send the main thread away: it may be anywhere, so it is told until it hears."""
        if not self._wakes.get():
            return
        self._begun.set()
        try:
            self.report = self._app.close(drain=self._drain_s, waiting=self._waiting)
        except LimenError:
            logger.exception("the application could not be closed in good order")
        else:
            logger.log(logging.INFO if self.report.is_complete else logging.WARNING, "%s", self.report)
        self._is_over = True
        assert self.came is not None, "a signal has come"
        while True:
            _interrupt(self._main, signal.Signals[self.came])
            if self._gone.acquire(timeout=_AGAIN_S):
                return

    # --- the block --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Listen for signals."""
        super().__enter__()
        self._gone.acquire()
        self._thread.start()
        self.stops(lambda _: self._wakes.put(True))
        return self

    def __exit__(self, *_: object) -> None:
        """Let signals act as before. Where one has come, wait for the end of the drain, and leave with it."""
        self._wakes.put(False)
        try:
            wait_patiently(self._has_ended, None)
        finally:
            super().__exit__()
            if self.came is not None and not self._begun.is_set():  # just now, and too late for this block
                signal.raise_signal(signal.Signals[self.came])

    def _has_ended(self, timeout_s: float | None) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def _interrupt(ident: int | None, number: int) -> None:
    """Interrupt whatever the main thread does or waits for."""
    if hasattr(signal, "pthread_kill") and ident is not None:
        signal.pthread_kill(ident, number)
    else:
        _thread.interrupt_main(signal.Signals(number))
