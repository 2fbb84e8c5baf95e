"""Work that goes under a key: done once for all in this process who ask for it, wherever it is done.

The promise is the same as without a broker, where all who ask are in one process too. Between processes there is none.
Whoever dispatches with a key is a *caller*, and waits; what is sent is the *work*, made for the first of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .._call import Call
from ..actors._keys import Claim, Keys, Scribe
from ..actors._recording import keep_end
from ..actors.conversation import CLOSED, JOINED, Conversation
from ..actors.runtime import offer_error, runtime
from ..messages.activities import Completed
from ..messages.errors import ActivityCancelled, KeyConflict
from .records import join_record, open_record

Limit = Callable[[Call, Callable[[Any, BaseException], object]], object]
"""Arms the limits of a call; what it gives is called when one has run out."""


class Sharing:
    """The keys of one process. Any thread may ask; whoever brings an end gives it to all who wait for it."""

    def __init__(
        self, submit: Callable[[Call, str], object], give_up: Callable[[Any, BaseException], object], limit: Limit
    ) -> None:
        self._submit = submit
        self._give_up_work = give_up
        self._limit = limit
        self._now = runtime().now
        self._lock = runtime().create_lock()
        self._keys: dict[str, Keys] = {}
        """By channel."""

    def submit(self, caller: Call, channel: str) -> None:
        """Join a caller to what goes under his key, or begin with it. Raises what sending a request raises."""
        caller.channel_name, caller.accepted_s, caller.arrival = channel, self._now(), 0
        if (failure := open_record(caller)) is not None:
            offer_error(caller.reply, failure)
            return
        with self._lock:
            work, outcome = self._join(caller, channel)
        if caller.joined_id is not None and (failure := join_record(caller, caller.joined_id)) is not None:
            self._leave(caller, failure)
            return
        if outcome is not None:
            _conclude(caller, outcome)
            return
        if caller.has_limits:
            self._limit(caller, self.give_up)
        if work is not None:
            self._send(work, channel)

    def _join(self, caller: Call, channel: str) -> tuple[Call | None, Completed | BaseException | None]:
        """Give work that is yet to be sent, or an outcome that is there already; or neither."""
        assert caller.key is not None, "others are not sent here"
        keys = self._of(channel)
        name = (caller.activity_type, caller.key)
        claim = keys.find(name, self._now())
        if claim is None:
            return self._begin(keys, name, caller), None
        if not claim.agrees_with(caller):
            return None, KeyConflict(channel, caller.workflow_id, caller.activity_type, caller.key)
        caller.joined_id = claim.first_id
        if claim.work is None:
            caller.past = claim.history
            return None, claim.outcome
        claim.callers[caller] = None
        caller.follows, caller.phase = claim.work, JOINED
        return None, None

    @staticmethod
    def _begin(keys: Keys, name: tuple[str, str], caller: Call) -> Call:
        scribe = Scribe()
        work: Any = caller.work_for(scribe)
        work.claim = scribe.claim = keys.open(name, caller, work)
        caller.follows, caller.phase = work, JOINED
        return work  # type: ignore[no-any-return]  # of the caller's own kind

    def _send(self, work: Call, channel: str) -> None:
        work.reply.add_done_callback(functools.partial(self._ended, channel, work))
        try:
            self._submit(work, channel)
        except BaseException as error:
            offer_error(work.reply, error)
            raise

    def _ended(self, channel: str, work: Call) -> None:
        """Give all callers the end of their work. Whoever comes later gets a result too; after a failure he tries."""
        outcome: Completed | BaseException
        try:
            outcome = work.reply.get(timeout=0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the outcome
            outcome = error
        with self._lock:
            callers = self._of(channel).end(work.claim, outcome, self._now(), keep=isinstance(outcome, Completed))
        for each in callers:
            _conclude(each, outcome)

    def cancel(self, caller: Conversation) -> None:
        """Give up one caller; with the last of them the work. Never blocks."""
        self.give_up(caller, ActivityCancelled(caller.activity_type))

    def give_up(self, caller: Any, error: BaseException) -> None:
        """Do so with this as the caller's outcome. No-op for one who has an outcome."""
        claim: Claim = caller.work.claim
        with self._lock:
            if caller not in claim.callers:
                return
            is_last = len(claim.callers) == 1
            if is_last:
                self._of(caller.channel_name).end(claim, error, self._now(), keep=False)
            else:
                del claim.callers[caller]
        _conclude(caller, error)
        if is_last:
            self._give_up_work(caller.work, error)

    def _leave(self, caller: Call, error: BaseException) -> None:
        """End a caller who has just joined."""
        if caller.follows is None:
            _conclude(caller, error)
        else:
            self.give_up(caller, error)

    def remember(self, channel: str, keys: int | None, ttl_s: float | None) -> None:
        """Remember so many ends, for so long, from now on."""
        with self._lock:
            self._of(channel).resize(keys, ttl_s)
            self._of(channel).sweep(self._now())

    def _of(self, channel: str) -> Keys:
        return self._keys.setdefault(channel, Keys())


def _conclude(caller: Conversation, outcome: Completed | BaseException) -> None:
    caller.drop_timers()
    if caller.recorder is not None:
        keep_end(caller, outcome)
    caller.phase = CLOSED
    if isinstance(outcome, BaseException):
        caller.fail(outcome)
    else:
        caller.settle(outcome)
