"""Holds back signals while the main thread works for the system.

Python runs signal handlers on the main thread, between any two instructions; a Ctrl-C in the middle of a channel's
book-keeping would tear it. So while the main thread drains mailboxes, handlers wait; they run right after.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the plain module: no enums in the way
from collections.abc import Callable
from typing import Any, Self

from .here import here

_DEFERRED = tuple(
    int(number)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGBREAK")
    if (number := getattr(_signal, name, None)) is not None
)
"""The signals whose handlers are known to raise: Ctrl-C, an orderly end, a time limit."""

_get, _set = _signal.getsignal, _signal.signal


def shielded(work: Callable[..., Any], *args: Any) -> Any:
    """Give `work(*args)`; handlers of signals that come meanwhile run when it has ended. Main thread only."""
    saved = _handlers()
    if not saved:
        return work(*args)
    try:
        for number, _ in saved:
            _set(number, _note)
        result = work(*args)
    finally:
        try:
            _restore(saved)
        finally:
            if _caught:
                _run_late(dict(saved))
    return result


class Shield:
    """Does the same for all that a block does, until it waits for a reply. On other threads it does nothing.

    For several short steps in a row: each of them alone would be shielded by itself.
    """

    _saved: list[tuple[int, Any]] | None = None

    def __enter__(self) -> Self:
        """Hold the handlers back."""
        at = here
        if at.is_main:
            saved = _handlers()
            try:
                for number, _ in saved:
                    _set(number, _note)
                self._saved = saved
                at.is_main, at.shield = False, self
            except BaseException:  # of a handler that was not replaced yet
                if saved:
                    _restore(saved)
                self._saved = None
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let them run."""
        if self._saved is not None:
            self.lift()

    def lift(self) -> None:
        """Let them run, and hold nothing back any more. Raises what they raise."""
        saved, self._saved = self._saved, None
        if saved is None:
            return
        here.is_main, here.shield = True, None
        try:
            if saved:
                _restore(saved)
        finally:
            if _caught:
                _run_late(dict(saved))


_caught: list[tuple[int, Any]] = []


def _handlers() -> list[tuple[int, Any]]:
    """List the handlers that may raise, by signal; not those that are held back already."""
    handlers = []
    for number in _DEFERRED:
        handler = _get(number)
        if handler.__class__ not in _PASSIVE and handler is not _note:
            handlers.append((number, handler))
    return handlers


def _note(number: int, frame: Any) -> None:
    _caught.append((number, frame))


_PASSIVE = (int, type(None))
"""What stands for the system's own handling, for none, and for one that Python did not set."""


def _restore(saved: list[tuple[int, Any]]) -> None:
    """Put every handler back, even if one that is already back raises meanwhile."""
    try:
        _set(*saved[0])
    finally:
        if len(saved) > 1:
            _restore(saved[1:])


def _run_late(handlers: dict[int, Any]) -> None:
    """Run the handlers of what came meanwhile, each of them, even if one before it raises."""
    number, frame = _caught.pop(0)
    try:
        handler = handlers.get(number)
        if handler is not None:
            handler(number, frame)
        else:  # one that ran just now has given this signal back to the system
            _signal.raise_signal(number)
    finally:
        if _caught:
            _run_late(handlers)
