"""What one activity type's limits let through now: how many run, and how many tokens there are.

Pure: it counts, and is given the time. Who waits, and who is woken, is known elsewhere.
"""

from __future__ import annotations

from typing import Any

from ..messages.limits import Limit

GRAIN_S = 1e-9
"""Instants closer than this are one: the sum of many intervals is not exact."""


class Bucket:
    """A token bucket, kept as the one instant at which it will be full. Source: the generic cell rate algorithm."""

    __slots__ = ("burst", "full_at_s", "interval_s")

    def __init__(self, interval_s: float, burst: int, *, full_at_s: float = 0.0) -> None:
        self.interval_s = interval_s
        self.burst = burst
        self.full_at_s = full_at_s

    @property
    def opens_at_s(self) -> float:
        """From when on there is a token."""
        return self.full_at_s - (self.burst - 1) * self.interval_s

    def missing(self, now_s: float) -> float:
        """How many tokens it is short of being full."""
        return max(0.0, self.full_at_s - now_s) / self.interval_s

    def has_token(self, now_s: float) -> bool:
        """Whether one may be taken."""
        return now_s >= self.opens_at_s - GRAIN_S

    def take(self, now_s: float) -> None:
        """Take a token; what is not there is owed."""
        self.full_at_s = max(self.full_at_s, now_s) + self.interval_s

    def give_back(self) -> None:
        """Put back a token that was not used."""
        self.full_at_s -= self.interval_s


class Gate:
    """The limits of one activity type, and how far they are used up.

    It is shut or open, and that changes only when somebody says so: a gate that would let one through again stays shut
    until those who wait at it have had their turn.
    """

    __slots__ = ("activity_type", "alarmed", "bucket", "limit", "running", "shut", "timer")

    def __init__(self, activity_type: str, limit: Limit) -> None:
        self.activity_type = activity_type
        self.limit = limit
        self.bucket = Bucket(limit.interval_s, limit.at_once) if limit.rate is not None else None
        self.running = 0
        """Those that are past the gate and have not ended."""
        self.shut = False
        self.alarmed = False
        """Whether somebody will look again when there is a token."""
        self.timer: Any = None
        """What makes him look."""

    def __repr__(self) -> str:
        """Show how far it is used up."""
        return f"<Gate {self.activity_type} {'shut' if self.shut else 'open'}, {self.running} past it, {self.limit}>"

    def drop_timer(self) -> None:
        """Let nobody look any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def take_over(self, other: Gate, now_s: float) -> None:
        """Go on from another one's use: a new limit is no reason for a new burst."""
        if self.bucket is not None and other.bucket is not None:
            missing = min(other.bucket.missing(now_s), float(self.bucket.burst))
            self.bucket.full_at_s = now_s + missing * self.bucket.interval_s

    @property
    def has_place(self) -> bool:
        """Whether fewer run than may."""
        most = self.limit.max_concurrent
        return most is None or self.running < most

    def lets_in(self, now_s: float) -> bool:
        """Whether one more may go through."""
        return self.has_place and (self.bucket is None or self.bucket.has_token(now_s))

    def enter(self, now_s: float) -> None:
        """Count one that goes through."""
        self.running += 1
        if self.bucket is not None:
            self.bucket.take(now_s)

    def leave(self) -> None:
        """Count one off that has ended."""
        self.running -= 1

    def turn_back(self) -> None:
        """Count one off that has not begun, and waits again."""
        self.running -= 1
        if self.bucket is not None:
            self.bucket.give_back()

    def waits_for_time(self, now_s: float) -> bool:
        """Whether only a token is missing, which comes by itself."""
        return self.has_place and self.bucket is not None and not self.bucket.has_token(now_s)
