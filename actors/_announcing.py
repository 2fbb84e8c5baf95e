"""What a channel tells those who follow its events.

Called on the channel's turn; for one that is down, by whoever answers its callers in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..messages.activities import Completed
from ..messages.bus_errors import ChannelClosed, DeliveryFailed
from ..messages.channel import Delivery
from ..messages.dispatch_errors import ActivityTimedOut, NoWorkersAvailable, PoisonActivity, QueueFull
from ..messages.errors import ActivityCancelled, ChannelLifecycleError
from ..messages.events import Event, EventKind, Outcome
from . import _orders as orders
from ._book import Book
from ._round import Round
from ._texts import text_of
from .attempt import Attempt
from .conversation import Conversation
from .entry import WorkerEntry
from .pressure import Enforcement

if TYPE_CHECKING:
    from ..messages.dead_letters import DeadLetter

logger = logging.getLogger("limen")

_COMPLETED = Completed()


class Announcer:
    """Calls every listener with every event, in order. What one of them raises is logged."""

    def __init__(self, book: Book, now: Callable[[], float]) -> None:
        self._book = book
        self._now = now

    def listen(self, message: orders.Listen) -> None:
        """Add a listener, or take one off."""
        self._book.listen(message.listener, message.kinds if message.on else frozenset())

    def watch(self, message: orders.Watch) -> None:
        """Add a watcher of the pool, or take one off."""
        others = tuple(each for each in self._book.watchers if each != message.watcher)
        self._book.watchers = (*others, message.watcher) if message.on else others
        self.show_pool()

    def show_pool(self) -> None:
        """Tell the watchers which workers there are."""
        if not self._book.watchers:
            return
        workers = self._book.state.takers()
        for watcher in self._book.watchers:
            try:
                watcher(workers)
            except BaseException:  # not even SystemExit may end the channel
                logger.exception("a watcher failed to take note of the pool")

    def tell_of(self, kind: EventKind, attempt: Attempt, detail: str = "") -> None:
        """Tell what became of an attempt."""
        if self._book.hearers[kind]:
            self._say(kind, attempt.entry, attempt.conversation, detail)

    def tell(self, kind: EventKind, entry: WorkerEntry, detail: str = "", *, since_s: float | None = None) -> None:
        """Tell what became of a worker, and how long ago that was when it counted here."""
        if self._book.hearers[kind]:
            self._say(kind, entry, detail=detail, took_s=self._since(since_s))
        if self._book.watchers:
            self.show_pool()

    def tell_progress(self, attempt: Attempt, details: object) -> None:
        """Tell how far an attempt has got."""
        if self._book.hearers[EventKind.PROGRESS]:
            self._say(EventKind.PROGRESS, attempt.entry, attempt.conversation, progress=details)

    def tell_of_start(self, attempt: Attempt) -> None:
        """Tell that an attempt is handed to its worker."""
        self.tell_of(EventKind.REDISPATCHED if attempt.number > 1 else EventKind.DISPATCHED, attempt)

    def tell_of_turn(self, attempt: Attempt, following: object) -> None:
        """Tell that a slot is done with an attempt, whose caller gets a result, and what it goes on with."""
        self.tell_of(EventKind.FINISHED, attempt)
        self.tell_of_end(attempt.conversation, _COMPLETED)
        if isinstance(following, Attempt):
            self.tell_of_start(following)

    def tell_about(self, kind: EventKind, conversation: Conversation | DeadLetter, detail: str = "") -> None:
        """Tell what became of a request that no worker has."""
        if self._book.hearers[kind]:
            self._say(kind, None, conversation, detail)

    def tell_all(self, kind: EventKind, detail: str = "") -> None:
        """Tell what became of the channel as a whole."""
        if self._book.hearers[kind]:
            self._say(kind, detail=detail)

    def tell_of_pressure(self, enforcement: Enforcement | None) -> None:
        """Tell which policies took effect, and which no longer do; of one that asks for workers, how many there are."""
        if enforcement is None or not self._book.hearers[EventKind.PRESSURE]:
            return
        for each in enforcement.events:
            self._say(EventKind.PRESSURE, detail=f"{each.policy} {each.kind} at {each.score:.2f}")
        for signal in enforcement.scale:
            self._say(EventKind.PRESSURE, detail=f"more workers are needed; there are {signal.consumers}")

    def tell_of_end(self, conversation: Conversation, outcome: Completed | BaseException) -> None:
        """Tell how a request ended; once."""
        if not self._book.hearers[EventKind.CONCLUDED] or conversation.is_told:
            return
        conversation.is_told = True
        attempts = conversation.work.attempts
        self._say(
            EventKind.CONCLUDED,
            attempts[-1].entry if attempts else None,
            conversation,
            text_of(outcome) if isinstance(outcome, BaseException) else "",
            outcome=outcome_of(outcome),
            took_s=self._since(conversation.accepted_s),
            attempts=len(attempts) if conversation.joined_id is None else 0,
        )

    def tell_of_queue(self, kind: EventKind, detail: str) -> None:
        """Tell what became of the queue as a whole."""
        if self._book.listeners:
            self._say(kind, detail=detail)

    def follow(self, message: orders.Publish, done: Delivery | Round | None) -> Delivery | Round | None:
        """Tell of a publish, if it was one, once it is in the last inbox; give back what was given."""
        if not self._book.hearers[EventKind.PUBLISHED] or done is None:
            return done
        if isinstance(done, Round):
            done.reply.add_done_callback(lambda: self._book.notice(self._published(message, done.so_far())))
        else:
            self.tell_of_publish(done, self._now() - message.began_s)
        return done

    def _published(self, message: orders.Publish, delivery: Delivery) -> orders.Published:
        return orders.Published(delivery, self._now() - message.began_s)

    def tell_of_publish(self, delivery: Delivery, took_s: float) -> None:
        """Tell that a message has been put into all inboxes that took it."""
        if self._book.hearers[EventKind.PUBLISHED]:
            self._say(EventKind.PUBLISHED, detail=f"to {delivery.count}", took_s=took_s)

    def _since(self, instant_s: float | None) -> float | None:
        return max(0.0, self._now() - instant_s) if instant_s is not None else None

    def _say(
        self,
        kind: EventKind,
        entry: WorkerEntry | None = None,
        conversation: Conversation | DeadLetter | None = None,
        detail: str = "",
        *,
        outcome: Outcome | None = None,
        took_s: float | None = None,
        progress: object = None,
        attempts: int = 0,
    ) -> None:
        event = Event(
            kind=kind,
            channel_name=self._book.name,
            at_s=self._now(),
            worker_id=entry.worker_id if entry is not None else None,
            incarnation=entry.incarnation if entry is not None else None,
            conversation_id=conversation.id if conversation is not None else None,
            activity_type=conversation.activity_type if conversation is not None else None,
            detail=detail,
            outcome=outcome,
            took_s=took_s,
            progress=progress,
            attempts=attempts,
        )
        for listener in self._book.hearers[kind]:
            try:
                listener(event)
            except BaseException:  # not even SystemExit may end the channel
                logger.exception("a listener failed to take an event")


def outcome_of(outcome: Completed | BaseException) -> Outcome:
    """Say in one word how a request ended."""
    match outcome:
        case Completed():
            return Outcome.COMPLETED
        case ActivityTimedOut():
            return Outcome.TIMED_OUT
        case ActivityCancelled():
            return Outcome.CANCELLED
        case QueueFull():
            return Outcome.REJECTED
        case NoWorkersAvailable():
            return Outcome.UNSERVED
        case PoisonActivity():
            return Outcome.POISON
        case ChannelLifecycleError() | ChannelClosed() | DeliveryFailed():
            return Outcome.CLOSED
        case _:
            return Outcome.FAILED
