"""Metrics: what limen counts and measures, in a registry that can be read or shown to Prometheus.

Give an application its registry, `Limen(metrics=registry)`, or the process one for every channel, `install(registry)`.
Without either nothing is counted, and nothing is spent.
"""

from ._process import install, installed
from .errors import AlreadyInstalled, InvalidMetric, MetricConflict
from .feed import follow
from .names import MEASURES, Measure
from .registry import Family, Reading, Registry, Source
from .series import Counter, Gauge, Histogram
from .snapshot import Distribution, Kind, Metric, Sample, Snapshot
from .text import CONTENT_TYPE, render

__all__ = [
    "CONTENT_TYPE",
    "MEASURES",
    "AlreadyInstalled",
    "Counter",
    "Distribution",
    "Family",
    "Gauge",
    "Histogram",
    "InvalidMetric",
    "Kind",
    "Measure",
    "Metric",
    "MetricConflict",
    "Reading",
    "Registry",
    "Sample",
    "Snapshot",
    "Source",
    "follow",
    "install",
    "installed",
    "render",
]
