"""Measures two ways of doing the same thing in alternation, so that both meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Literal

import attrs

ROUNDS = 7
Work = Callable[[int], object]


@attrs.frozen
class Row:
    """One comparison. `ratio` is ours over theirs, in `unit`; what `better` says decides whether the target is met."""

    name: str
    ours: float
    theirs: float
    unit: str
    target: float
    better: Literal["lower", "higher"] = "lower"
    against: str = ""

    @property
    def ratio(self) -> float:
        """Ours over theirs; for throughput (`higher`), theirs over ours in time."""
        if not self.theirs or not self.ours:
            return 0.0
        return self.ours / self.theirs if self.better == "lower" else self.theirs / self.ours

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio <= self.target if self.better == "lower" else self.ratio >= self.target


@attrs.frozen
class Bound:
    """One figure against a fixed bound, in `unit`."""

    name: str
    ours: float
    unit: str
    bound: float

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.ours <= self.bound


def per_call_us(work: Work, calls: int) -> float:
    """Microseconds for each of `calls` calls."""
    begin_s = time.perf_counter()
    work(calls)
    return (time.perf_counter() - begin_s) / calls * 1e6


def alternate(ours: Work, theirs: Work, calls: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """Give the medians of both, in microseconds a call."""
    ours(max(1, calls // 10))
    theirs(max(1, calls // 10))
    pairs = [(per_call_us(ours, calls), per_call_us(theirs, calls)) for _ in range(rounds)]
    return statistics.median(each[0] for each in pairs), statistics.median(each[1] for each in pairs)


def percentile(values: Iterable[float], share: float) -> float:
    """Give the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
