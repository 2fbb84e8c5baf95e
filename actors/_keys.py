"""Which work goes under which key: who waits for it, how it ended, and how long that is remembered.

Decides and counts; it knows no clock, thread or channel. Part of the channel's book, so it survives its actor.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..messages.activities import Completed, Failed
from ..messages.attempts import AttemptView
from ..messages.operations import Operation, OperationKind
from .conversation import Conversation

LIMIT = 10_000
"""How many ends are remembered, unless it is told otherwise."""

TTL_S = 3600.0
"""And for how long."""

Name = tuple[str, str]
"""An activity type and a key."""


class Claim:
    """What goes under one key: work that is being done for some callers, or its end."""

    __slots__ = ("callers", "digest", "ended_s", "first_id", "history", "letter_id", "name", "outcome", "work")

    def __init__(self, name: Name, first: Conversation, work: Conversation) -> None:
        self.name = name
        self.digest = first.digest
        """Of the arguments."""
        self.first_id = first.id
        self.work: Conversation | None = work
        """What runs; `None` when it has ended."""
        self.callers: dict[Conversation, None] = {first: None}
        """Who wants it, in the order of arrival."""
        self.outcome: Completed | BaseException | None = None
        self.history: tuple[AttemptView, ...] = ()
        self.ended_s = 0.0
        self.letter_id: str | None = None
        """The dead letter that it became."""

    def agrees_with(self, conversation: Conversation) -> bool:
        """Whether a request of this key is the same request."""
        return None in {self.digest, conversation.digest} or self.digest == conversation.digest

    @property
    def scribe(self) -> Conversation | None:
        """Give the first caller who has a record: it is there that the work is recorded."""
        return next((each for each in self.callers if each.recorder is not None), None)


class Scribe:
    """The recorder of work that is done for several: it writes into the record of the first who still wants it.

    The opening and the close are left out, which are each caller's own.
    """

    def __init__(self) -> None:
        self.claim: Claim | None = None

    def record(self, operation: Operation) -> None:
        """Pass it on under the caller's id. Raises what his recorder raises."""
        caller = self.claim.scribe if self.claim is not None else None
        if caller is None or operation.kind in _CALLERS_OWN:
            return
        assert caller.recorder is not None, "it is one who records"
        caller.recorder.record(operation.of(caller.id))

    def outcome(self, conversation_id: str) -> Completed | Failed | None:
        """Know nothing."""
        return None


_CALLERS_OWN = {OperationKind.CONVERSATION_OPENED, OperationKind.CONVERSATION_CLOSED}


class Keys:
    """The claims of one channel. Those that live stay; those that have ended are bounded in number and time."""

    def __init__(self, limit: int = LIMIT, ttl_s: float = TTL_S) -> None:
        self.limit = limit
        self.ttl_s = ttl_s
        self.dropped = 0
        """Ends that were forgotten before their time, because there was no more room."""
        self.live: dict[Name, Claim] = {}
        self.ended: dict[Name, Claim] = {}
        """In the order of their ends."""

    def find(self, name: Name, now_s: float) -> Claim | None:
        """Show what goes under a key now."""
        self.sweep(now_s)
        return self.live.get(name) or self.ended.get(name)

    def conversations(self) -> Iterator[Conversation]:
        """Go through all work that goes under a key, and those who wait for it."""
        for claim in self.live.values():
            if claim.work is not None:
                yield claim.work
            yield from claim.callers

    @property
    def callers_count(self) -> int:
        """How many wait for work under a key."""
        return sum(len(claim.callers) for claim in self.live.values())

    def open(self, name: Name, caller: Conversation, work: Conversation) -> Claim:
        """Put work under a key that is free."""
        assert name not in self.live, "one at a time"
        claim = self.live[name] = Claim(name, caller, work)
        return claim

    def end(self, claim: Claim, outcome: Completed | BaseException, now_s: float, *, keep: bool) -> list[Conversation]:
        """Take note of the end of the work; gives those who wait for it. `keep`: whoever comes later gets it too."""
        self.sweep(now_s)
        if self.live.get(claim.name) is not claim:
            return []
        del self.live[claim.name]
        callers, claim.callers = list(claim.callers), {}
        if keep and claim.work is not None:
            claim.outcome, claim.ended_s, claim.history = outcome, now_s, claim.work.history()
            self.ended[claim.name] = claim
            self._make_room()
        claim.work = None
        return callers

    def release(self, letter_id: str) -> None:
        """Free the key that is kept by a dead letter."""
        for claim in [each for each in self.ended.values() if each.letter_id == letter_id]:
            del self.ended[claim.name]

    def resize(self, limit: int | None, ttl_s: float | None) -> None:
        """Remember so many ends, for so long, from now on."""
        self.limit = self.limit if limit is None else limit
        self.ttl_s = self.ttl_s if ttl_s is None else ttl_s
        self._make_room()

    def sweep(self, now_s: float) -> None:
        """Forget what has been remembered long enough. Each keyed request does, and each end; no timer does."""
        while self.ended:
            oldest = next(iter(self.ended.values()))
            if oldest.ended_s + self.ttl_s > now_s:
                return
            del self.ended[oldest.name]

    def _make_room(self) -> None:
        while len(self.ended) > self.limit:
            del self.ended[next(iter(self.ended))]
            self.dropped += 1
