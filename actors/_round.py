"""One envelope's way to the subscribers that filter, and the count of who took it."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from ..messages.bus_errors import SubscriptionFailed
from ..messages.channel import Delivery
from ..messages.dispatch import AckStatus
from ..messages.envelope import Envelope
from ._filters import Verdict
from .runtime import Reply, offer, runtime
from .subscription import Inbox

Taken = AckStatus | None
"""What an inbox said; `None` where the envelope was not for it."""


def delivery(taken: Iterable[Taken]) -> Delivery:
    """Count what the inboxes said."""
    said = list(taken)
    return Delivery(
        accepted=said.count(AckStatus.ACCEPTED),
        deferred=said.count(AckStatus.DEFERRED),
        rejected=said.count(AckStatus.REJECTED),
    )


class Round:
    """Puts an envelope into the inboxes whose filters want it. It ends by itself, whatever becomes of the channel."""

    __slots__ = ("_envelope", "_expected", "_taken", "reply")

    def __init__(self, envelope: Envelope, taken: list[Taken], inboxes: list[Inbox]) -> None:
        self.reply: Reply[Delivery] = runtime().create_future()
        """Answered when every filter has answered, or had its time."""
        self._envelope = envelope
        self._taken = taken
        self._expected = len(taken) + len(inboxes)
        for inbox in inboxes:
            assert inbox.filter is not None
            inbox.filter.ask(envelope, functools.partial(self._answered, inbox))

    def so_far(self) -> Delivery:
        """Count what the inboxes have said by now."""
        return delivery(self._taken)

    def _answered(self, inbox: Inbox, verdict: Verdict) -> None:
        taken = None
        if isinstance(verdict, SubscriptionFailed):
            assert inbox.filter is not None
            inbox.filter.failed(verdict)
        elif verdict:
            taken = inbox.offer(self._envelope)
        self._taken.append(taken)
        if len(self._taken) == self._expected:
            offer(self.reply, delivery(self._taken))
