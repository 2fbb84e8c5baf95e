"""A registry among those of `prometheus_client`, for whoever serves or pushes with that. Needs `limen[metrics]`.

There counters end in `_total`: that library writes them so.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric as Exposed
from prometheus_client.registry import Collector

from .registry import Registry
from .snapshot import Distribution, Kind, Sample
from .text import exposed, number


class RegistryCollector(Collector):
    """Gives `prometheus_client` what a registry holds, each time it asks; to be registered with one of its own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def describe(self) -> list[Exposed]:
        """Name nothing in advance: which series there are is known when they are asked for."""
        return []

    def collect(self) -> Iterator[Exposed]:
        """Take a snapshot, and give it metric by metric."""
        for metric in exposed(self._registry.snapshot()):
            given = Exposed(_base_name(metric.name, metric.kind), metric.help, metric.kind.value)
            for sample in metric.samples:
                _add(given, sample)
            yield given


def _base_name(name: str, kind: Kind) -> str:
    return name.removesuffix("_total") if kind is Kind.COUNTER else name


def _add(given: Exposed, sample: Sample) -> None:
    labels, value = dict(sample.labels), sample.value
    if not isinstance(value, Distribution):
        given.add_sample(given.name + ("_total" if given.type == "counter" else ""), labels, value)
        return
    bounds = (*map(number, value.bounds), "+Inf")
    for bound, count in zip(bounds, value.cumulative, strict=True):
        given.add_sample(f"{given.name}_bucket", {**labels, "le": bound}, count)
    given.add_sample(f"{given.name}_sum", labels, value.sum)
    given.add_sample(f"{given.name}_count", labels, value.count)
