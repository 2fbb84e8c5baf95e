"""Holds back signals while the main thread works for the system.

Python runs signal handlers on the main thread, between any two instructions; a Ctrl-C in the middle of a channel's
book-keeping would tear it. So while the main thread drains mailboxes, handlers wait; they run right after.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the plain module: no enums in the way
from collections.abc import Callable
from typing import Any

_DEFERRED = tuple(
    int(number)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK")
    if (number := getattr(_signal, name, None)) is not None
)


def shielded(work: Callable[..., None], *args: Any) -> None:
    """Run `work(*args)`; handlers of signals that come meanwhile run when it has ended. Main thread only."""
    caught: list[tuple[int, Any]] = []
    saved = [(number, handler) for number in _DEFERRED if callable(handler := _signal.getsignal(number))]
    if not saved:
        work(*args)
        return

    def note(number: int, frame: Any) -> None:
        caught.append((number, frame))

    try:
        for number, _ in saved:
            _signal.signal(number, note)
        work(*args)
    finally:
        try:
            _restore(saved)
        finally:
            _run_late(dict(saved), caught)


def _restore(saved: list[tuple[int, Any]]) -> None:
    """Put every handler back, even if one that is already back raises meanwhile."""
    if not saved:
        return
    try:
        _signal.signal(*saved[0])
    finally:
        _restore(saved[1:])


def _run_late(handlers: dict[int, Any], caught: list[tuple[int, Any]]) -> None:
    """Run the handlers of what came meanwhile, each of them, even if one before it raises."""
    if not caught:
        return
    number, frame = caught[0]
    try:
        handlers[number](number, frame)
    finally:
        _run_late(handlers, caught[1:])
