"""How what is called off gets to its end: how long it has, and how much that does not end may be left running."""

from __future__ import annotations

import math

import attrs

from .errors import ConfigError

__all__ = ["DEFAULT", "Grace"]


def _seconds(_instance: object, _attribute: attrs.Attribute[float], value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ConfigError("grace", f"must be a timedelta or a number of seconds, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ConfigError("grace", f"must be 0 s or more, and finite, not {value:g} s")


def _count(_instance: object, _attribute: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError("max_abandoned", f"must be an int, not {type(value).__name__}")
    if value < 0:
        raise ConfigError("max_abandoned", f"must be 0 or more, not {value}")


@attrs.frozen(kw_only=True)
class Grace:
    """What a worker does about an activity that is cancelled, or out of time. Raises `ConfigError`.

    A process is told to end and killed after the grace. A thread or a coroutine is told too; one that still runs after
    the grace is abandoned, and another may take its slot.
    """

    grace_s: float = attrs.field(default=0.5, validator=_seconds)
    """How long it has to end by itself."""
    max_abandoned: int = attrs.field(default=10, validator=_count)
    """How many threads or coroutines of one worker may be left running so; one more keeps its slot until it ends."""


DEFAULT = Grace()
