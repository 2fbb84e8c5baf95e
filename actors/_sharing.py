"""Work that goes under a key: done once for all who ask for it. The part of a core between keys and placement.

Whoever dispatches with a key is a *caller*: he waits, and is never placed. What runs is the *work*, made for the first
caller of a key. Callers come and go; the work ends when it has ended, or when nobody wants it any more.
"""

from __future__ import annotations

from abc import abstractmethod

from ..messages.activities import Completed
from ..messages.errors import ChannelLifecycleError
from ..messages.operations import OperationKind
from ._decisions import Decision, Note
from ._keys import Claim, Keys, Scribe
from ._placement import Placement
from .conversation import CLOSED, JOINED, Conversation


class SharedWork(Placement):
    """Joins callers of one key to one piece of work."""

    def __init__(self, name: str, queue_limit: int) -> None:
        super().__init__(name, queue_limit)
        self.keys = Keys()

    @abstractmethod
    def cancel(self, conversation: Conversation, error: BaseException | None = None) -> list[Decision]:
        """Give up a request."""

    def _claim(self, caller: Conversation, key: str) -> list[Decision]:
        """Let a new caller have what goes under his key: the end, or a part in the work; or else begin with it."""
        name = (caller.activity_type, key)
        claim = self.keys.find(name, caller.accepted_s or 0.0)
        if claim is None:
            return self._begin(name, caller)
        if not claim.agrees_with(caller):
            return [self._close(caller, self._verdicts.conflict(caller, key))]
        return [*self._note_joined(caller, claim), *self._join(caller, claim)]

    def _begin(self, name: tuple[str, str], caller: Conversation) -> list[Decision]:
        scribe = Scribe()
        work = caller.work_for(scribe)
        scribe.claim = work.claim = self.keys.open(name, caller, work)
        self._follow(caller, work)
        return self._place(work)

    def _join(self, caller: Conversation, claim: Claim) -> list[Decision]:
        caller.joined_id = claim.first_id
        if claim.work is not None:
            claim.callers[caller] = None
            self._follow(caller, claim.work)
            return []
        assert claim.outcome is not None, "it has ended"
        caller.past = claim.history
        return [self._close(caller, claim.outcome)]

    def _follow(self, caller: Conversation, work: Conversation) -> None:
        caller.follows = work
        caller.phase = JOINED

    def _note_joined(self, caller: Conversation, claim: Claim) -> list[Decision]:
        if caller.recorder is None:
            return []
        return [Note(caller, caller.operation(OperationKind.CONVERSATION_JOINED, message=claim.first_id))]

    def _leave_work(self, caller: Conversation, outcome: BaseException) -> list[Decision]:
        """Give up one caller; with the last of them the work, whose end is his. A result that is on its way counts."""
        work = caller.work
        claim: Claim = work.claim
        if list(claim.callers) == [caller] and work.phase is not CLOSED:
            return self.cancel(work, outcome)
        claim.callers.pop(caller, None)
        return [self._close(caller, outcome)]

    def share(
        self, work: Conversation, outcome: Completed | BaseException, now_s: float, *, keep: bool
    ) -> list[Decision]:
        """Give all callers the end of their work. `keep`: whoever comes later with its key gets it too."""
        claim: Claim = work.claim
        callers = self.keys.end(claim, outcome, now_s, keep=keep)
        return [self._close(each, outcome) for each in callers if each.phase is not CLOSED]

    def _stranded(self) -> list[Decision]:
        """Close those whose work was lost in a crash between two steps."""
        error = ChannelLifecycleError(self.name, "the channel crashed before it had said how the work ended")
        ended = [claim for claim in self.keys.live.values() if claim.work is None or claim.work.phase is CLOSED]
        return [
            closed
            for claim in ended
            if claim.work is not None
            for closed in self.share(claim.work, error, 0.0, keep=False)
        ]
