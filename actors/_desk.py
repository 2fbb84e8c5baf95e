"""The inbox of a worker that fetches its own work: requests handed to it lie here, among what is published."""

from __future__ import annotations

from ..messages.envelope import Envelope
from .attempt import Attempt
from .runtime import runtime
from .subscription import Inbox


class Desk(Inbox):
    """Knows which of its envelopes are attempts, which of those have been fetched, and takes back those that have not.

    `fetched` holds what waits for an answer, by message id; a worker's next incarnation goes on with the same.
    """

    __slots__ = ("_fetched", "_unread", "_withdrawn")

    def __init__(self, fetched: dict[str, Attempt]) -> None:
        super().__init__()
        self._fetched = fetched
        self._unread: dict[str, tuple[Attempt, Envelope]] = {}
        self._withdrawn: dict[str, None] = {}

    def hand_in(self, attempt: Attempt, envelope: Envelope) -> None:
        """Put an attempt's envelope in. A closed desk drops it: the worker is gone, and the channel knows."""
        self._unread[envelope.message_id] = (attempt, envelope)
        self.offer(envelope)

    def withdraw(self, message_id: str) -> bool:
        """Take an attempt back that has not been fetched; `False` if it has been."""
        self._withdrawn[message_id] = None  # first, for a reader that has its envelope in hand already
        waiting = self._unread.pop(message_id, None)
        if waiting is None:
            self._withdrawn.pop(message_id, None)
            return False
        try:
            self._envelopes.remove(waiting[1])
        except (ValueError, IndexError):  # a reader has it, or gets it later, and passes it over
            return True
        self._withdrawn.pop(message_id, None)
        return True

    def try_take(self) -> Envelope | None:
        """Take the next envelope that is of use; `None` if there is none. Never blocks."""
        while (envelope := super().try_take()) is not None:
            waiting = self._unread.pop(envelope.message_id, None)
            if waiting is not None:
                attempt = waiting[0]
                attempt.started_s = runtime().now()
                self._fetched[envelope.message_id] = attempt
                return envelope
            if envelope.message_id not in self._withdrawn:
                return envelope
            self._withdrawn.pop(envelope.message_id, None)
        return None

    def close(self) -> None:
        """Take nothing more and discard what is unread."""
        super().close()
        self._unread.clear()
        self._withdrawn.clear()
