"""How many children may die before their worker gives up.

Source: OTP, supervisor restart intensity.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from ...messages.errors import LimenError


class Intensity(Protocol):
    """What decides whether one more child is started in place of one that died."""

    def allows(self, now_s: float) -> bool:
        """Count a death at this moment, and say whether it may be followed by a start."""


class Refill:
    """At most `max_restarts` within any `within_s` seconds."""

    __slots__ = ("_deaths_s", "max_restarts", "within_s")

    def __init__(self, max_restarts: int = 50, within_s: float = 10.0) -> None:
        self.max_restarts = max_restarts
        self.within_s = within_s
        self._deaths_s: deque[float] = deque()

    def allows(self, now_s: float) -> bool:
        """Count a death at this moment, and say whether it may be followed by a start."""
        deaths_s = self._deaths_s
        deaths_s.append(now_s)
        while deaths_s[0] <= now_s - self.within_s:
            deaths_s.popleft()
        return len(deaths_s) <= self.max_restarts


class ChildrenKeepDying(LimenError):
    """The child processes of a worker died too often, or could not be started; the worker has given up."""

    worker: str
    reason: str
    """How the last one ended."""

    def __str__(self) -> str:
        return f"the child processes of {self.worker} keep dying; the last one: {self.reason}"
