"""Backpressure as values: how much a consumer may hold, what a producer is told, what follows from a channel's score.

Knows no channel and no clock: times are given by whoever makes these. Source: behaviours BP-01, BP-04, BP-09.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, ClassVar

import attrs

from ._checks import whole
from .dispatch import AckStatus
from .errors import ConfigError
from .pressure_errors import InvalidConsumerCapacity

__all__ = [
    "Accept",
    "Alert",
    "ConsumerCapacity",
    "Defer",
    "Pressure",
    "PressurePolicy",
    "PressureSignal",
    "Reject",
    "ScaleConsumers",
    "ScaleSignal",
    "Severity",
    "ShedLoad",
    "SlowProducer",
]


@attrs.frozen
class ConsumerCapacity:
    """How much a consumer takes: what it works on at once, and what it lets wait beyond that."""

    max_in_flight: int
    max_buffer_depth: int

    def __attrs_post_init__(self) -> None:
        """Refuse limits below 1. Raises `InvalidConsumerCapacity`, an `InvalidCapacity`."""
        for name, value in attrs.asdict(self).items():
            if not isinstance(value, int) or isinstance(value, bool):
                problem = f"must be an int, not {type(value).__name__}"
            elif value < 1:
                problem = f"must be 1 or more, not {value}"
            else:
                continue
            raise InvalidConsumerCapacity(name, problem, self.max_in_flight, self.max_buffer_depth)


# --- what a producer is told ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Accept:
    """It goes to a consumer at once. The counts are those before it."""

    status: ClassVar[AckStatus] = AckStatus.ACCEPTED

    current_in_flight: int
    max_in_flight: int


@attrs.frozen(kw_only=True)
class Defer:
    """It waits, and runs in its turn as capacity frees; slow down. The counts are those before it."""

    status: ClassVar[AckStatus] = AckStatus.DEFERRED

    current_in_flight: int
    max_in_flight: int
    buffer_depth: int
    max_buffer_depth: int


@attrs.frozen(kw_only=True)
class Reject:
    """It will never run: there is no room to wait in. The counts are those before it."""

    status: ClassVar[AckStatus] = AckStatus.REJECTED

    current_in_flight: int
    max_in_flight: int
    buffer_depth: int
    max_buffer_depth: int


PressureSignal = Accept | Defer | Reject
"""What a producer is told about one message. `status` is what an acknowledgement of it says."""


# --- what follows from a channel's score ----------------------------------------------------------------------------


class Severity(StrEnum):
    """How urgent an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def _share(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is not a number from 0 to 1; NaN is none."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigError(attribute.name, "must be a number from 0 to 1")


def _factor(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not _is_number(value) or not 1 <= value < math.inf:
        raise ConfigError(attribute.name, "must be a finite number, 1 or more")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@attrs.frozen
class SlowProducer:
    """From `threshold` on, let producers have no more than one message in as `factor` are finished.

    With a factor of 1 the backlog stays, with 2 it shrinks at half the speed at which messages are finished.
    """

    threshold: float = attrs.field(validator=_share)
    factor: float = attrs.field(default=2.0, validator=_factor)

    def delay_s(self, interval_s: float) -> float:
        """How far apart to let messages in, where one is finished every `interval_s` seconds."""
        return self.factor * max(0.0, interval_s)


@attrs.frozen
class ShedLoad:
    """From `threshold` on, reject what has a priority below `below_priority`."""

    threshold: float = attrs.field(validator=_share)
    below_priority: int = attrs.field(default=0, validator=whole)

    def sheds(self, priority: int) -> bool:
        """Say whether a message of this priority is rejected."""
        return priority < self.below_priority


@attrs.frozen
class ScaleConsumers:
    """From `threshold` on, say that more consumers are needed."""

    threshold: float = attrs.field(validator=_share)


@attrs.frozen
class Alert:
    """From `threshold` on, tell an operator."""

    threshold: float = attrs.field(validator=_share)
    severity: Severity = attrs.field(default=Severity.WARNING, converter=Severity)


PressurePolicy = SlowProducer | ShedLoad | ScaleConsumers | Alert
"""What to do about a channel whose score has reached a threshold from 0 to 1."""


@attrs.frozen
class Pressure:
    """How full a channel is now. A copy."""

    score: float
    """From 0, all its workers idle, to 1, all full: the mean of the shares of their slots that are taken."""
    active: tuple[PressurePolicy, ...] = ()
    """The policies that hold now, lowest threshold first."""


@attrs.frozen(kw_only=True)
class ScaleSignal:
    """A channel has too few consumers."""

    channel: str
    consumers: int
    """How many it has now."""
