"""What is handed to a broker and taken from it, as plain values. Knows no client library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..messages.errors import LimenError

Done = Callable[["LimenError | None"], object]
"""Called once: with nothing when the broker has the parcel, else with why it does not."""


class Unroutable(LimenError):
    """No queue is there to take the parcel; the broker gave it back."""

    exchange: str
    key: str

    def __str__(self) -> str:
        return f"nothing is bound to {self.exchange or 'the default exchange'} under {self.key!r}"


class NotConfirmed(LimenError):
    """The broker did not say in time that it has the parcel."""

    reason: str
    in_doubt: bool
    """Whether it was sent, so that the broker may have it."""

    def __str__(self) -> str:
        return self.reason


@attrs.define(eq=False, kw_only=True)
class Parcel:
    """A message on its way to the broker."""

    exchange: str
    key: str
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    content_type: str
    message_id: str
    type: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    headers: dict[str, Any] = attrs.field(factory=dict, repr=False)
    expires_ms: int | None = None
    persistent: bool = True
    mandatory: bool = True
    """Whether it is a failure if no queue takes it."""
    done: Done | None = attrs.field(default=None, repr=False)
    """Called on the I/O thread. A parcel without one is not waited for, and is lost with its connection."""
    deadline_s: float = float("inf")
    """On the runtime's clock: when to give up."""
    returned: bool = False
    """Whether the broker has given it back, and is yet to confirm that."""
    sent: int = 0
    """How often it has been sent."""


@attrs.frozen(kw_only=True, eq=False)
class Delivery:
    """A message from the broker, not acknowledged yet."""

    queue: str
    consumer: str
    """The consumer's tag."""
    tag: int
    session: int
    """Number of the connection that it came over; the tag has no meaning on another."""
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    content_type: str = ""
    message_id: str | None = None
    type: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    headers: dict[str, Any] = attrs.field(factory=dict, repr=False)
    redelivered: bool = False

    @property
    def lost_before(self) -> int:
        """How often it was with a host that did not acknowledge it. Source: RabbitMQ, quorum queues, delivery count."""
        count = self.headers.get("x-delivery-count", 1 if self.redelivered else 0)
        return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0
