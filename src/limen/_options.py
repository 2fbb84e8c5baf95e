"""How a dispatch is treated: checked where it is set, so that nothing is left to be refused at the dispatch."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from .messages._checks import to_limit
from .messages.dispatch import MAX_PRIORITY
from .messages.errors import ConfigError
from .messages.retry import Retry

Seconds = float | timedelta
"""A length of time: a number of seconds, or a `timedelta`."""


def _limit(given: Seconds | None) -> timedelta | None:
    try:
        return to_limit(given)
    except (TypeError, ValueError) as error:
        raise ConfigError("limit", str(error)) from None


def _whole(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(attribute.name, f"must be an int, not {type(value).__name__}")


def _in_range(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if abs(value) > MAX_PRIORITY:
        raise ConfigError(attribute.name, f"must be from {-MAX_PRIORITY} to {MAX_PRIORITY}")


def _one_or_more(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if value < 1:
        raise ConfigError(attribute.name, f"must be 1 or more, not {value}")


def _one_of(*kinds: type) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not isinstance(value, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigError(attribute.name, f"must be a {expected}, not {type(value).__name__}")

    return check


@attrs.frozen(kw_only=True)
class Options:
    """How a dispatch is treated; set on the activity, or for some calls with `activity.options(…)`.

    Limits are given in seconds or as a `timedelta`, and kept as a `timedelta`. Raises `ConfigError`.
    """

    priority: int = attrs.field(default=0, validator=[_whole, _in_range])
    """Higher goes first; equal priorities keep arrival order."""
    key: str | None = attrs.field(default=None, validator=_one_of(str))
    """What names the work: whoever dispatches the same activity with the same key shares it, or has its result."""
    route_by: str | None = attrs.field(default=None, validator=_one_of(str))
    """What a consistent-hash or affinity router goes by; without it, the key."""
    retry: Retry | None = attrs.field(default=None, validator=_one_of(Retry))
    start_to_close: timedelta | None = attrs.field(default=None, converter=_limit)
    """The limit of one attempt."""
    schedule_to_start: timedelta | None = attrs.field(default=None, converter=_limit)
    """The limit of waiting for a worker. With it, a request waits for workers that are yet to come."""
    schedule_to_close: timedelta | None = attrs.field(default=None, converter=_limit)
    """The limit of everything together."""
    wait: timedelta | None = attrs.field(default=None, converter=_limit)
    """How long `dispatch` waits for room where no more may wait; without it the request is rejected at once."""
    max_crashes: int = attrs.field(default=3, validator=[_whole, _one_or_more])
    """How many workers may die of a request before it is given up as poison."""
    dead_letter: bool = attrs.field(default=False, validator=_one_of(bool))
    """Whether it is kept among the dead letters when it has failed for the last time, too, and not only as poison."""
