"""The flag that says that an actor has stopped: an `Event` that costs next to nothing until somebody waits for it."""

from __future__ import annotations

import threading


class Flag(threading.Event):
    """Like `threading.Event`, with its condition made by the first waiter. Most actors have none."""

    _making = threading.Lock()

    def __init__(self) -> None:
        # Event's own __init__ would make the condition.
        self._flag = False
        self._waiters: threading.Condition | None = None

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._flag

    def set(self) -> None:
        """Set it and wake whoever waits."""
        self._flag = True
        waiters = self._waiters
        if waiters is not None:
            with waiters:
                waiters.notify_all()

    def clear(self) -> None:
        """Take it back."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, at most `timeout` seconds; say whether it is."""
        if self._flag:
            return True
        if self._waiters is None:
            made = threading.Condition()
            with self._making:
                if self._waiters is None:
                    self._waiters = made
        with self._waiters:
            if not self._flag:
                self._waiters.wait_for(lambda: self._flag, timeout)
            return self._flag

    def __repr__(self) -> str:
        return f"<Flag: {'set' if self._flag else 'unset'}>"
