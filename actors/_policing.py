"""What one channel's pressure policies make of its figures: whom to turn away, whom to slow down, what to tell.

Pure but for one lock, for producers ask from any thread. The time is given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ..messages.pressure import PressurePolicy
from .entry import WorkerEntry
from .pressure import Enforcement, PressureEnforcer, PressureSnapshot

LONGEST_WAIT_S = 1.0
"""The longest that a producer is held up by one request."""
_WEIGHT = 0.2
"""What the latest interval between two ends counts for in their mean."""


class Policing:
    """The figures and policies of one channel. They outlive its actor."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._enforcer = PressureEnforcer()
        self._seen: dict[str, tuple[int, int]] = {}
        self._interval_s = 0.0
        self._ended_s: float | None = None
        self._next_s = 0.0
        self._lock = threading.Lock()

    @property
    def snapshot(self) -> PressureSnapshot:
        """The figures now: a copy."""
        return self._enforcer.monitor.snapshot(self._channel)

    @property
    def active(self) -> tuple[PressurePolicy, ...]:
        """The policies that hold now, lowest threshold first."""
        return self._enforcer.active(self._channel)

    def replace(self, policies: Iterable[PressurePolicy], now_s: float) -> Enforcement:
        """Put other policies in force. Those that go on holding are not begun again."""
        return self._enforcer.set_policies(self._channel, policies, now_s=now_s)

    def look(self, entries: Iterable[WorkerEntry], now_s: float) -> list[Enforcement]:
        """Take the figures of the workers that there are, and say what follows from each that has changed."""
        present: dict[str, tuple[int, int]] = {
            each.worker_id: (each.in_flight, each.capacity.max_concurrent) for each in entries
        }
        found = [self._enforcer.remove(self._channel, each, now_s=now_s) for each in self._seen if each not in present]
        for worker_id, (in_flight, most) in present.items():
            if self._seen.get(worker_id) != (in_flight, most):
                found.append(
                    self._enforcer.update(
                        self._channel, worker_id, current_in_flight=in_flight, max_in_flight=most, now_s=now_s
                    )
                )
        self._seen = present
        return found

    def note_end(self, now_s: float) -> None:
        """Take note that an attempt has ended: how often that happens sets the pace of slowed producers."""
        if self._ended_s is not None:
            latest_s = now_s - self._ended_s
            self._interval_s += _WEIGHT * (latest_s - self._interval_s) if self._interval_s else latest_s
        self._ended_s = now_s

    def sheds(self, priority: int) -> bool:
        """Whether a request of this priority is to be turned away now."""
        return self._enforcer.sheds(self._channel, priority)

    def hold_up_s(self, now_s: float) -> float:
        """How long a producer who has just handed something in is to wait before he goes on. Any thread."""
        if not self._enforcer.active(self._channel):
            return 0.0
        apart_s = self._enforcer.delay_s(self._channel, self._interval_s)
        with self._lock:
            self._next_s = max(self._next_s, now_s) + apart_s
            return min(self._next_s - now_s, LONGEST_WAIT_S)
