"""The shapes of what a thread may wait for: as much of the standard library's as limen uses."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol


class Thread(Protocol):
    """A thread that has been started."""

    @property
    def ident(self) -> int | None:
        """Its number, as `threading.get_ident` gives it on that thread."""
        ...

    def join(self, timeout: float | None = None) -> None:
        """Block until it has ended."""

    def is_alive(self) -> bool:
        """Whether it runs."""
        ...


class Lock(Protocol):
    """A lock, plain or reentrant."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002 - as `threading` has it
        """Take it."""
        ...

    def release(self) -> None:
        """Give it back."""

    def __enter__(self) -> Any:
        """Take it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> Any:
        """Give it back."""


class Condition(Protocol):
    """A condition; enter it before anything else."""

    def __enter__(self) -> Any:
        """Take its lock."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> Any:
        """Give it back."""

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, block until notified, take it again."""
        ...

    def notify(self, n: int = 1) -> None:
        """Wake some that wait."""

    def notify_all(self) -> None:
        """Wake all that wait."""


class Queue(Protocol):
    """An unbounded queue: `queue.SimpleQueue`."""

    def put(self, item: Any) -> None:
        """Put something in. Never blocks."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as `queue` has it
        """Take the next, or block for it. Raises `queue.Empty` when time is up."""
        ...
