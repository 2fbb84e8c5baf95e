"""Counters, gauges and histograms: what is counted into. Any thread may; nothing here blocks for long or raises.

Their locks are plain ones, in a simulation too: they are held for a few instructions, and nothing is waited for
meanwhile. Source: behaviour MX-04.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, TypeAlias

from .errors import InvalidMetric
from .snapshot import Distribution, LabelPairs

MAX_COUNT = 2**64 - 1
"""Where a counter stays when it gets there."""

MAX_BUCKETS = 64

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Buckets for durations in seconds, from a quick function to an hour's work."""

MILLISECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0)
"""Buckets for latencies in milliseconds."""

Labels: TypeAlias = Mapping[str, object] | Iterable[tuple[str, object]]
"""Names and values; of a name that is given twice, the last value counts."""


class Counter:
    """Goes up, and never beyond 2**64 - 1."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = Lock()
        self._value = 0

    def add(self, count: int = 1) -> None:
        """Count up. Raises `ValueError` for a negative number."""
        if count < 0:
            raise ValueError(f"a counter only goes up: {count}")
        with self._lock:
            self._value = min(MAX_COUNT, self._value + count)

    @property
    def value(self) -> int:
        """How much was counted."""
        return self._value


class Gauge:
    """Goes up and down. What is not finite is ignored."""

    __slots__ = ("_lock", "_value")

    def __init__(self) -> None:
        self._lock = Lock()
        self._value = 0.0

    def set(self, value: float) -> None:
        """Put it there."""
        if math.isfinite(value):
            with self._lock:
                self._value = value

    def add(self, change: float = 1.0) -> None:
        """Move it; a negative change moves it down. One that would take it beyond all numbers is ignored."""
        with self._lock:
            moved = self._value + change
            if math.isfinite(moved):
                self._value = moved

    @property
    def value(self) -> float:
        """Where it is."""
        return self._value


class Histogram:
    """Sorts observations into buckets. What is not finite is ignored."""

    __slots__ = ("_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._lock = Lock()
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count an observation into the first bucket whose bound it does not exceed, or the one above them all."""
        if not math.isfinite(value):
            return
        place = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[place] += 1
            total = self._sum + value
            self._sum = total if math.isfinite(total) else math.copysign(sys.float_info.max, total)

    @property
    def value(self) -> Distribution:
        """All that was observed, in figures that agree with each other."""
        with self._lock:
            return Distribution(bounds=self._bounds, counts=tuple(self._counts), sum=self._sum)


class NoCounter(Counter):
    """Counts nothing."""

    __slots__ = ()

    def add(self, count: int = 1) -> None:
        """Ignore it."""


class NoGauge(Gauge):
    """Stays where it is."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Ignore it."""

    def add(self, change: float = 1.0) -> None:
        """Ignore it."""


class NoHistogram(Histogram):
    """Observes nothing."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Ignore it."""


def to_labels(name: str, labels: Labels) -> LabelPairs:
    """Bring labels into their one form: sorted by name, each name once. Raises `InvalidMetric`."""
    pairs: Iterable[Any] = labels.items() if isinstance(labels, Mapping) else labels
    try:
        given: dict[Any, Any] = dict(pairs)
    except (TypeError, ValueError):
        raise InvalidMetric(name, "labels are a mapping, or pairs of a name and a value") from None
    if not all(isinstance(each, str) for each in given):
        raise InvalidMetric(name, "the name of a label is a text")
    return tuple(sorted((each, str(value)) for each, value in given.items()))


def to_bounds(name: str, buckets: Iterable[float]) -> tuple[float, ...]:
    """Bring the bounds of buckets into their one form: sorted, each once, the finite ones. Raises `InvalidMetric`."""
    try:
        given = {float(each) for each in buckets}
    except (TypeError, ValueError):
        raise InvalidMetric(name, "the bounds of buckets are numbers") from None
    bounds = tuple(sorted(each for each in given if math.isfinite(each)))
    if len(bounds) > MAX_BUCKETS:
        raise InvalidMetric(name, f"{len(bounds)} buckets are more than {MAX_BUCKETS}, which is the most")
    return bounds
