"""Virtual time's list of what is still to come."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from ..actors.runtime import Timer


class Alarms:
    """Timers in order of time, and of setting for those of one time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer, bool]] = []
        self._order = itertools.count()

    def set(self, at_s: float, callback: Callable[[], object], *, inline: bool) -> Timer:
        """Add one. `inline`: called in between steps, not by the clock as a task like others."""
        timer = Timer(at_s, callback)
        heapq.heappush(self._heap, (at_s, next(self._order), timer, inline))
        return timer

    def next_s(self) -> float | None:
        """Say when the next one is due; `None` if there is none. What was cancelled is forgotten."""
        heap = self._heap
        while heap and heap[0][2].cancelled:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self) -> tuple[Timer, bool]:
        """Take the next one, which `next_s` has just found, and say whether it is called inline."""
        _, _, timer, inline = heapq.heappop(self._heap)
        return timer, inline

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
