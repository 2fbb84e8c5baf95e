"""Ctrl-C and SIGTERM as a wish to stop, from the first moment on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopper:
    """In its block, the first of the two signals asks for the end; a second one acts as ever. Main thread only."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._came: str | None = None
        self._stop: Callable[[str], object] | None = None

    def stops(self, stop: Callable[[str], object]) -> None:
        """Have `stop(name)` called when a signal comes, or now if one has come."""
        self._stop = stop
        if self._came is not None:
            stop(self._came)

    def _handle(self, number: int, _frame: object) -> None:
        signal.signal(number, self._before[number])
        self._came = signal.Signals(number).name
        if self._stop is not None:
            self._stop(self._came)

    def __enter__(self) -> Self:
        """Listen for signals."""
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Let them act as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
