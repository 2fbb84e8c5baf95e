"""Killing one process of a worker half-way, for real."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence

import attrs

from ..actors.registration import WorkerRegistration

_LOOKS = 10
_LOOK_EVERY_S = 0.0005
"""A process that is found busy at so many looks in a row has begun what it holds, and is not about to end it."""
_FROZEN_S = 0.01
"""How long the last result of a frozen process takes at most to be read."""
_MAX_KILLS = 5


@attrs.frozen
class Kill:
    """One SIGKILL that was sent."""

    worker_id: str
    pid: int
    at_s: float


class Saboteur:
    """Kills processes that are at work.

    A process may be done just before it is killed, which would prove nothing. So it is frozen first, and let go if it
    turns out to hold no work.
    """

    def __init__(self) -> None:
        self.kills: list[Kill] = []

    def strike(self, workers: Sequence[WorkerRegistration]) -> Kill | None:
        """Kill a process that runs an activity, if there is one now."""
        if len(self.kills) >= _MAX_KILLS:
            return None
        for worker in workers:
            for pid in _busy(worker):
                with contextlib.suppress(ProcessLookupError):
                    if _freeze(worker, pid):
                        self.kills.append(_kill(worker, pid))
                        return self.kills[-1]
        return None


def _busy(worker: WorkerRegistration) -> set[int]:
    return {child.pid for child in worker.children() if child.state == "running"}


def _freeze(worker: WorkerRegistration, pid: int) -> bool:
    """Stop a process in its tracks if it is at work; say whether it is."""
    for _ in range(_LOOKS):
        time.sleep(_LOOK_EVERY_S)
        if pid not in _busy(worker):
            return False
    os.kill(pid, signal.SIGSTOP)
    time.sleep(_FROZEN_S)
    if pid in _busy(worker):
        return True
    os.kill(pid, signal.SIGCONT)
    return False


def _kill(worker: WorkerRegistration, pid: int) -> Kill:
    at_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return Kill(worker.worker_id, pid, at_s)
