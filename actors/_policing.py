"""What one channel's pressure policies make of its figures: whom to turn away, whom to slow down, what to tell.

Pure but for one lock, for producers ask from any thread. The time is given.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from ..messages.pressure import PressurePolicy
from .entry import WorkerEntry
from .pressure import Enforcement, PressureEnforcer

LONGEST_WAIT_S = 1.0
"""The longest that a producer is held up by one request."""
_WEIGHT = 0.2
"""What the latest interval between two ends counts for in their mean."""


class Policing:
    """The figures and policies of one channel. They outlive its actor."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._enforcer = PressureEnforcer()
        self._monitor = self._enforcer.monitor
        self._seen: dict[str, tuple[int, int]] = {}
        self._interval_s = 0.0
        self._ended_s: float | None = None
        self._next_s = 0.0
        self._lock = threading.Lock()

    @property
    def score(self) -> float:
        """How full the workers are, from 0 to 1."""
        return self._monitor.score(self._channel)

    @property
    def active(self) -> tuple[PressurePolicy, ...]:
        """The policies that hold now, lowest threshold first."""
        return self._enforcer.active(self._channel)

    def replace(self, policies: Iterable[PressurePolicy], now_s: float) -> Enforcement:
        """Put other policies in force. Those that go on holding are not begun again."""
        return self._enforcer.set_policies(self._channel, policies, now_s=now_s)

    def look(self, entries: Iterable[WorkerEntry], now_s: float) -> Enforcement | None:
        """Take the figures of all workers that there are, and say what follows, if anything does."""
        present = {each.worker_id: each for each in entries}
        gone = [worker_id for worker_id in self._seen if worker_id not in present]
        return self.follow({**dict.fromkeys(gone), **present}, now_s)

    def follow(self, moved: Mapping[str, WorkerEntry | None], now_s: float) -> Enforcement | None:
        """Do so where only these may have other figures than before; `None` is one that has left."""
        changes = [self._take(worker_id, entry) for worker_id, entry in moved.items()]
        return self._enforcer.evaluate(self._channel, now_s=now_s) if any(changes) else None

    def _take(self, worker_id: str, entry: WorkerEntry | None) -> bool:
        """Take a worker's figures; say whether they are others than before."""
        if entry is None:
            return self._seen.pop(worker_id, None) is not None and self._monitor.remove(self._channel, worker_id)
        figures = in_flight, most = entry.in_flight, entry.capacity.max_concurrent
        if self._seen.get(worker_id) == figures:
            return False
        self._seen[worker_id] = figures
        self._monitor.update(self._channel, worker_id, current_in_flight=in_flight, max_in_flight=most)
        return True

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
