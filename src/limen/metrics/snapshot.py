"""What a registry held at one instant: values, which stay as they are."""

from __future__ import annotations

from enum import StrEnum
from itertools import accumulate
from typing import TypeAlias

import attrs

LabelPairs: TypeAlias = tuple[tuple[str, str], ...]
"""Labels in their one form: sorted by name, each name once."""


class Kind(StrEnum):
    """What a metric measures, and how."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@attrs.frozen(kw_only=True)
class Distribution:
    """What a histogram has observed."""

    bounds: tuple[float, ...]
    """The upper bounds of its buckets, ascending; above the last one there is one more."""
    counts: tuple[int, ...]
    """How many observations fell into each bucket, that last one included."""
    sum: float

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    @property
    def cumulative(self) -> tuple[int, ...]:
        """How many observations were within each bound; the last figure is the count."""
        return tuple(accumulate(self.counts))


@attrs.frozen(kw_only=True)
class Sample:
    """One series: a metric with certain labels."""

    labels: LabelPairs
    value: int | float | Distribution


@attrs.frozen(kw_only=True)
class Metric:
    """All series of one name."""

    name: str
    kind: Kind
    help: str = ""
    samples: tuple[Sample, ...] = ()
    """Sorted by labels."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """All that a registry held."""

    metrics: tuple[Metric, ...] = ()
    """Sorted by name."""

    def metric(self, name: str) -> Metric | None:
        """Give all series of a name."""
        return next((each for each in self.metrics if each.name == name), None)

    def value(self, name: str, /, **labels: object) -> int | float | Distribution | None:
        """Give the value of the series with exactly these labels; `None` if there is none."""
        wanted = tuple(sorted((each, str(value)) for each, value in labels.items()))
        metric = self.metric(name)
        samples = metric.samples if metric is not None else ()
        return next((each.value for each in samples if each.labels == wanted), None)
