"""Backpressure: how full consumers are, what a producer is told, and what follows when a channel is too full.

Pure: values and counts, no thread and no clock.
"""

from .enforcement import Enforcement, PressureEnforcer, PressureEvent, PressureEventKind
from .monitor import ConsumerMetrics, PressureMonitor, PressureSnapshot, Scorer, mean_utilisation
from .policies import Hysteresis
from .tracker import PressureTracker, decide

__all__ = [
    "ConsumerMetrics",
    "Enforcement",
    "Hysteresis",
    "PressureEnforcer",
    "PressureEvent",
    "PressureEventKind",
    "PressureMonitor",
    "PressureSnapshot",
    "PressureTracker",
    "Scorer",
    "decide",
    "mean_utilisation",
]
