"""What a subscriber receives: the payload, and what the channel knows about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from ._checks import instance_of, named

__all__ = ["ANONYMOUS", "Envelope"]

ANONYMOUS = "anonymous"
"""The publisher of a message that names none."""


def _utc(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, datetime):
        raise TypeError(f"{attribute.name} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is not UTC and value.utcoffset() != timedelta(0):
        raise ValueError(f"{attribute.name} must be in UTC, such as datetime.now(UTC)")


@attrs.frozen(kw_only=True)
class Envelope:
    """One published message. All subscribers of the channel get the same one."""

    message_id: str = attrs.field(validator=named)
    payload: bytes = attrs.field(repr=lambda payload: f"<{len(payload)} bytes>", validator=instance_of(bytes))
    """As the schema normalised it."""
    schema_id: str = attrs.field(validator=named)
    """The schema in force when it was published."""
    publisher_id: str = attrs.field(default=ANONYMOUS, validator=named)
    timestamp: datetime = attrs.field(validator=_utc)
    """When it was published, in UTC."""
    causal_context: object | None = attrs.field(default=None, repr=False)
