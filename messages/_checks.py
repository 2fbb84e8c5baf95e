"""Validators and converters that the messages share. Each says what was expected and names the type it got."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs

__all__ = ["instance_of", "named", "to_limit", "whole"]


def instance_of(*kinds: type) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    """Refuse what is of none of these types. Unlike the validator of attrs, this one does not quote the value."""
    expected = " or ".join(kind.__name__ for kind in kinds)

    def check(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, kinds):
            raise TypeError(f"{attribute.name} must be a {expected}, not {type(value).__name__}")

    return check


def named(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is not a non-empty text."""
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{attribute.name} must not be empty")


def whole(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is not an integer; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be an int, not {type(value).__name__}")


def to_limit(value: timedelta | float | None) -> timedelta | None:
    """Take a time limit as a `timedelta` or in seconds."""
    if value is None:
        return None
    limit = value if isinstance(value, timedelta) else _of_seconds(value)
    if limit.days < 0:
        raise ValueError(f"a time limit must not be negative: {limit.total_seconds()} s")
    return limit


def _of_seconds(seconds: object) -> timedelta:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"a time limit must be a timedelta, seconds or None, not {type(seconds).__name__}")
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise ValueError(
            f"a time limit must be finite and below {timedelta.max.days} days; for none, give None"
        ) from None
