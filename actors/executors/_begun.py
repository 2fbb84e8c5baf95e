"""Which activity each child runs, in memory that it shares with its parent.

A child writes the number of an activity before it begins it; that costs some nanoseconds. The parent reads it when it
has to know exactly: at the child's death, and before it cancels. The memory outlives the child, whatever ended it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from typing import Any

_STRIDE = 8
"""A child has a cache line of its own: eight numbers of eight bytes."""


class Begun:
    """One number for each of `count` positions. Travels to a child process that is being started."""

    def __init__(self, count: int) -> None:
        self._fd = _memory(count * _STRIDE * 8)
        try:
            self._attach()
        except BaseException:
            os.close(self._fd)
            raise

    def _attach(self) -> None:
        self._map = mmap.mmap(self._fd, 0)
        self._numbers = memoryview(self._map).cast("Q")

    def __getitem__(self, position: int) -> int:
        return self._numbers[position * _STRIDE]

    def __setitem__(self, position: int, number: int) -> None:
        self._numbers[position * _STRIDE] = number

    def close(self) -> None:
        """Give the memory back on this side. Idempotent."""
        if self._fd < 0:
            return
        self._numbers.release()
        self._map.close()
        os.close(self._fd)
        self._fd = -1

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing import reduction

        return _arrive, (reduction.DupFd(self._fd),)


def _arrive(handle: Any) -> Begun:
    begun = Begun.__new__(Begun)
    begun._fd = handle.detach()  # noqa: SLF001 - the other half of the constructor
    begun._attach()  # noqa: SLF001 - as above
    return begun


def _memory(size: int) -> int:
    """Open a file without a name. It is not inherited by programs that are started."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("limen-begun")
    else:
        fd, path = tempfile.mkstemp(prefix="limen-begun-")
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - a path as text is what mkstemp gives
    os.ftruncate(fd, size)
    return fd
