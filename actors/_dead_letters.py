"""The dead letters of one channel: which requests are kept, with what history, and how many.

Decides and keeps; it knows no clock, no channel and no caller. Part of the channel's book, so it survives its actor.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ..messages.dispatch_errors import ActivityFailed, ActivityTimedOut, PoisonActivity, UnknownDeadLetter
from .conversation import Conversation

if TYPE_CHECKING:
    from ..messages.dead_letters import DeadLetter, DeadLetters

LIMIT = 1000
"""How many a channel keeps, unless it is told otherwise."""

ATTEMPTS_KEPT = 100
"""How many attempts a letter tells of."""


def belongs(conversation: Conversation, outcome: BaseException) -> bool:
    """Whether a request with this end is kept.

    Poison is; what failed or ran out of time, where it was asked for; and whatever was requeued and has no result, so
    that a requeue can lose nothing. Under a key it is the work that is kept, once, and not each caller.
    """
    if conversation.letter is not None:
        return conversation.follows is None or conversation.follows.letter is None
    if conversation.follows is not None or conversation.past is not None:
        return False
    return isinstance(outcome, PoisonActivity) or (
        conversation.dead_letter and isinstance(outcome, (ActivityFailed, ActivityTimedOut))
    )


Kept = tuple["DeadLetter", Conversation]
"""A letter, and the request to make again: one without reply and channel."""


class LetterStore:
    """Keeps letters in the order in which they came; where there is no more room, the oldest goes."""

    def __init__(self, name: str, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._name = name
        self._limit = limit
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, conversation: Conversation, outcome: BaseException, at: datetime) -> tuple[DeadLetter, list[Kept]]:
        """Keep a request that is given up. Gives its letter, and what had to make room."""
        letter = letter_for(self._free_id(conversation.id), conversation, outcome, at)
        self._kept[letter.id] = letter, conversation.again()
        return letter, self._make_room()

    def all(self) -> DeadLetters:
        """List them, the oldest first."""
        from ..messages.dead_letters import DeadLetters

        letters = DeadLetters(letter for letter, _ in self._kept.values())
        letters.dropped = self.dropped
        return letters

    def find(self, letter_id: str) -> Kept:
        """Show one. Raises `UnknownDeadLetter`."""
        try:
            return self._kept[letter_id]
        except KeyError:
            raise UnknownDeadLetter(self._name, letter_id) from None

    def take(self, letter_id: str) -> Kept:
        """Take one out, to be tried again or thrown away. Raises `UnknownDeadLetter`."""
        letter, request = self.find(letter_id)
        del self._kept[letter_id]
        request.letter = letter
        return letter, request

    def resize(self, limit: int) -> list[Kept]:
        """Keep so many from now on. Gives what had to go."""
        self._limit = limit
        return self._make_room()

    def _make_room(self) -> list[Kept]:
        gone = [self.take(each) for each in list(self._kept)[: max(0, len(self._kept) - self._limit)]]
        self.dropped += len(gone)
        return gone

    def _free_id(self, wanted: str) -> str:
        """Tell apart two requests whose callers gave them the same id."""
        free, number = wanted, 1
        while free in self._kept:
            number += 1
            free = f"{wanted}#{number}"
        return free


def letter_for(letter_id: str, conversation: Conversation, outcome: BaseException, at: datetime) -> DeadLetter:
    """Write down what became of a request that is given up."""
    from ..messages.dead_letters import DeadLetter

    before = conversation.letter
    latest = conversation.history()
    attempts = (*before.attempts, *latest) if before is not None else latest
    return DeadLetter(
        id=letter_id,
        channel_name=conversation.channel_name,
        activity_type=conversation.activity_type,
        request=conversation.request,
        workflow_id=conversation.workflow_id,
        priority=conversation.priority,
        key=conversation.key,
        route_by=conversation.route_by,
        retry=conversation.retry,
        max_crashes=conversation.max_crashes,
        attempts=attempts[-ATTEMPTS_KEPT:],
        attempts_made=len(latest) + (before.attempts_made if before is not None else 0),
        crashes=conversation.crashes + (before.crashes if before is not None else 0),
        error=outcome,
        at=at,
        requeues=before.requeues + 1 if before is not None else 0,
    )
