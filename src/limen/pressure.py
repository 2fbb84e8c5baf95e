"""What a queue does when its workers are full, for `Limen.policies`, and what its callers are told."""

from .messages.pressure import (
    Accept,
    Alert,
    Defer,
    Pressure,
    PressurePolicy,
    PressureSignal,
    Reject,
    ScaleConsumers,
    Severity,
    ShedLoad,
    SlowProducer,
)

__all__ = [
    "Accept",
    "Alert",
    "Defer",
    "Pressure",
    "PressurePolicy",
    "PressureSignal",
    "Reject",
    "ScaleConsumers",
    "Severity",
    "ShedLoad",
    "SlowProducer",
]
