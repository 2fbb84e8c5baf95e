"""How long activities take, and from that whether others may wait behind one in the same child.

Pessimistic: one long run counts at once, and it takes a number of short ones to unlearn it. Knows no child, no clock.
"""

from __future__ import annotations

SHORT_S = 0.001
"""What takes less is short."""
AHEAD = 512
"""How many activities a child holds at most, the one it runs included."""
AHEAD_S = 0.004
"""How much work a child holds at most, as far as the past tells."""
WORTHWHILE_S = 0.0002
"""So much work is given to one child rather than shared out: about what it takes to hand it over."""
_UNKNOWN_S = 1.0
_WEIGHT = 0.2
"""Of the latest run in an estimate that falls."""
_STEADY = 16
"""So many short runs in a row show a worker of short activities."""


class Pace:
    """An estimate for each kind of activity, by the number of its handler."""

    __slots__ = ("_unmeasured", "estimates_s", "short_runs")

    def __init__(self, kinds: int) -> None:
        self.estimates_s = [_UNKNOWN_S] * kinds
        """Seconds, for each kind."""
        self.short_runs = 0
        """How many short runs there have been since the last long one."""
        self._unmeasured = set(range(kinds))

    def note(self, kind: int, took_s: float) -> None:
        """Learn from a run."""
        self.short_runs = self.short_runs + 1 if took_s < SHORT_S else 0
        estimate_s = self.estimates_s[kind]
        if took_s > estimate_s:
            self.estimates_s[kind] = took_s
        elif kind in self._unmeasured:
            self._unmeasured.discard(kind)
            self.estimates_s[kind] = took_s
        else:
            self.estimates_s[kind] = estimate_s + (took_s - estimate_s) * _WEIGHT

    @property
    def is_steady(self) -> bool:
        """Whether everything that ran lately was short."""
        return self.short_runs >= _STEADY

    def is_short(self, kind: int) -> bool:
        """Whether others may wait behind it."""
        return self.estimates_s[kind] < SHORT_S
