"""How much of one activity a channel lets run: at once, and in a time. Values only; a channel enforces them."""

from __future__ import annotations

import math
from typing import Any

import attrs

from .errors import ConfigError

__all__ = ["Limit"]

_CATCH_UP_S = 0.05
"""What may start at once by default where many start in a second: as many as come in this time.

A timer is always a little late. Without this, every bit of lateness would be lost.
"""


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    _number(attribute.name, value)
    if not 0 < value < math.inf:
        raise ConfigError(attribute.name, f"must be above 0 and finite, not {value}")


def _count(least: int) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(attribute.name, f"must be an int, not {type(value).__name__}")
        if value < least:
            raise ConfigError(attribute.name, f"must be {least} or more, not {value}")

    return attrs.validators.optional(check)


def _number(name: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ConfigError(name, f"must be a number, not {type(value).__name__}")


@attrs.frozen(kw_only=True)
class Limit:
    """At most `max_concurrent` at once; at most `rate` starts in `per_s` seconds, after `burst` at once.

    Every try counts as a start. In any `T` seconds no more than `burst + rate * T / per_s` start. Raises `ConfigError`.
    """

    max_concurrent: int | None = attrs.field(default=None, validator=_count(0))
    """With 0 none starts, until there is another limit."""
    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    per_s: float = attrs.field(default=1.0, validator=_positive)
    burst: int | None = attrs.field(default=None, validator=_count(1))
    """After a quiet time. By default 1, or what comes in a twentieth of a second if that is more."""

    def __attrs_post_init__(self) -> None:
        if self.burst is not None and self.rate is None:
            raise ConfigError("burst", "is a part of a rate: give rate too")

    @property
    def is_none(self) -> bool:
        """Whether it limits nothing."""
        return self.max_concurrent is None and self.rate is None

    @property
    def interval_s(self) -> float:
        """How far apart starts are, in the long run; 0 without a rate."""
        return self.per_s / self.rate if self.rate is not None else 0.0

    @property
    def at_once(self) -> int:
        """How many may start at once after a quiet time, where there is a rate."""
        if self.burst is not None or self.rate is None:
            return self.burst or 1
        return max(1, int(_CATCH_UP_S / self.interval_s))
