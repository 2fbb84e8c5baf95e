"""What a channel does about its dead letters: keep them, list them, try them again, throw them away, and tell of it.

Called on the channel's turn.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..messages.dispatch_errors import DispatchFailed, RecorderFailed
from ..messages.errors import ConfigError
from ..messages.events import EventKind
from ..messages.operations import OperationKind
from . import _orders as orders
from ._announcing import Announcer
from ._book import Book
from ._recording import keep
from ._texts import text_of
from .conversation import Conversation
from .runtime import runtime

if TYPE_CHECKING:
    from ..messages.dead_letters import DeadLetter

logger = logging.getLogger("limen")


class Letterbox:
    """Works on the dead letters in a channel's book."""

    def __init__(self, book: Book, announcer: Announcer) -> None:
        self._book = book
        self._letters = book.letters
        self._announcer = announcer

    def bury(self, conversation: Conversation, outcome: BaseException) -> None:
        """Keep a request that is given up, before its caller hears of it."""
        at = datetime.fromtimestamp(runtime().wall_time(), UTC)
        letter, dropped = self._letters.add(conversation, outcome, at)
        self._book.anchor = conversation.channel or self._book.anchor
        if conversation.claim is not None:
            conversation.claim.letter_id = letter.id
        self._announcer.tell_about(EventKind.DEAD_LETTERED, conversation, text_of(outcome))
        error = _note(conversation, OperationKind.DEAD_LETTERED, text_of(outcome))
        if error is not None:
            logger.error("the dead letter %s could not be recorded", letter.id, exc_info=error)
        self._tell_dropped(dropped)

    def take(self, order: orders.Requeue, open_ids: Any) -> Conversation:
        """Take a letter out to be tried again, with a reply of its own.

        Raises `UnknownDeadLetter`; `DispatchFailed`, and then the letter stays.
        """
        letter, request = self._letters.find(order.letter_id)
        if order.activity_type not in {None, letter.activity_type}:
            wrong = f"dead letter {letter.id!r} is for {letter.activity_type!r}, not for {order.activity_type!r}"
            raise ConfigError("activity", wrong)
        if request.id in open_ids:
            taken = f"a conversation {request.id!r} is open on this channel; requeue it when that one has ended"
            raise DispatchFailed(self._book.name, request.workflow_id, taken)
        self._record(request, OperationKind.REQUEUED)
        conversation = self._take(letter.id)
        conversation.open_reply()
        conversation.channel = order.channel
        self._announcer.tell_about(EventKind.REQUEUED, conversation)
        self._book.let_handle_go()
        return conversation

    def discard(self, letter_id: str) -> DeadLetter:
        """Throw a letter away. Raises `UnknownDeadLetter`; `RecorderFailed`, and then it stays."""
        letter, request = self._letters.find(letter_id)
        self._record(request, OperationKind.DISCARDED)
        self._take(letter_id)
        self._announcer.tell_about(EventKind.DISCARDED, request)
        self._book.let_handle_go()
        return letter

    def resize(self, limit: int) -> None:
        """Keep so many from now on."""
        self._tell_dropped(self._letters.resize(limit))
        self._book.let_handle_go()

    def _tell_dropped(self, dropped: list[tuple[DeadLetter, Conversation]]) -> None:
        for letter, request in dropped:
            self._book.state.keys.release(letter.id)
            logger.warning("dead letter %s was dropped: no more are kept on %s", letter.id, self._book.name)
            self._announcer.tell_about(EventKind.DISCARDED, request, "no more dead letters are kept")
            _note(request, OperationKind.DISCARDED, "no more dead letters are kept")

    def _record(self, request: Conversation, kind: OperationKind) -> None:
        error = _note(request, kind)
        if error is not None:
            raise RecorderFailed(self._book.name, request.workflow_id, str(kind), ran=False) from error

    def _take(self, letter_id: str) -> Conversation:
        """Take a letter out, and free the key that it kept."""
        _, request = self._letters.take(letter_id)
        self._book.state.keys.release(letter_id)
        return request


def _note(conversation: Conversation, kind: OperationKind, message: str | None = None) -> BaseException | None:
    if conversation.recorder is None:
        return None
    return keep(conversation, conversation.operation(kind, message=message))
