"""How a channel ends: the part of its core that knows what may still go on, and names what is left undone.

A request has begun once it has been given to a worker. What has begun is carried to its end, through crashes and
retries, as long as there is time; what has not is given up at once, or runs too, as whoever ends the channel says.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from ..messages.drain import Fate, Unfinished
from ..messages.lifecycle_errors import ShutDown
from ._decisions import CallOff, Close, Decision
from ._sharing import SharedWork
from ._unfinished import callers_of, shut_down, unfinished
from .attempt import Attempt
from .conversation import CLOSED, JOINED, NEW, PAUSED, RUNNING, WAITING, Conversation
from .entry import WorkerEntry
from .runtime import Reply, offer


class Ending:
    """The wish that a channel should end, and what came of it. A fact: it survives a crash of the channel's actor."""

    def __init__(self) -> None:
        self.is_asked = False
        self.until_s = math.inf
        """When it is over, on the runtime's clock."""
        self.runs_waiting = True
        """Whether what has not begun may still begin."""
        self.unfinished: list[Unfinished] = []
        self._replies: deque[Reply[Any]] = deque()

    def ask(self, until_s: float, *, runs_waiting: bool, reply: Reply[Any]) -> None:
        """Wish for it; of several wishes the most urgent counts. `reply` is answered when nothing is left to do."""
        self.until_s = min(self.until_s, until_s)
        self.runs_waiting = self.runs_waiting and runs_waiting
        self._replies.append(reply)
        self.is_asked = True

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._replies)

    def say_quiet(self) -> None:
        """Answer whoever waits. Any thread."""
        while self._replies:
            try:
                offer(self._replies.popleft(), None)
            except IndexError:  # another thread was quicker
                return


class WindingDown(SharedWork):
    """Knows which requests have no outcome, and what becomes of them when the channel is to end."""

    def __init__(self, name: str, queue_limit: int) -> None:
        super().__init__(name, queue_limit)
        self.ending = Ending()
        self.is_ending = False
        """Whether nothing new is taken."""
        self._busy: WorkerEntry | None = None
        """A worker that had something to do at the last look."""

    # --- before the end -----------------------------------------------------------------------------------------

    def wind_down(self) -> list[Decision]:
        """Take nothing new, and give up what may not go on."""
        self.is_ending = True
        self._note_restraint()
        given_up = sorted((each for each in self.open() if not self._may_go_on(each)), key=Conversation.rank)
        closed = [closed for each in given_up for closed in self._shut_out(each)]
        return [*closed, *self._fill_all()]

    def _note_restraint(self) -> None:
        """Work out anew what a free slot is worth; while the channel ends, none goes on to the next request unseen."""
        super()._note_restraint()
        if self.is_ending:
            self.swaps = self.admits = False

    def _note_saturation(self, activity_type: str) -> None:
        if not self.is_ending:  # else what comes in is turned away, and may not lie in the tray until then
            super()._note_saturation(activity_type)

    def _may_go_on(self, conversation: Conversation) -> bool:
        if conversation.phase in {RUNNING, JOINED, CLOSED}:  # those who have joined stay as long as their work
            return True
        if conversation.phase is PAUSED and conversation.resumes_s > self.ending.until_s:
            return False
        return self.ending.runs_waiting or bool(conversation.attempts)

    def give_up_if_late(self, conversation: Conversation) -> list[Decision]:
        """Give up a request that has just been paused, if its pause is longer than the channel lasts."""
        return [] if not self.is_ending or self._may_go_on(conversation) else [*self._shut_out(conversation)]

    def turn_away(self, conversation: Conversation) -> ShutDown:
        """Name a request that came too late, and give what it fails with. Its record is left alone. Any thread."""
        conversation.channel_name = self.name
        conversation.phase = CLOSED
        conversation.recorder = None
        self.ending.unfinished.append(unfinished(conversation, WAITING, Fate.FAILED))
        return shut_down(conversation, WAITING, self.name)

    @property
    def is_quiet(self) -> bool:
        """Whether every request has its outcome."""
        if self.waiting.count or self.held or self.apart:
            return False
        if self._busy is None or not self._is_offered(self._busy) or self._busy.is_drained:
            self._busy = next((each for each in self.candidates if not each.is_drained), None)
        return self._busy is None

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, error: BaseException | None = None) -> list[Decision]:
        """Close every open conversation, with this error or with `ShutDown`; nothing is handed over meanwhile."""
        decisions: list[Decision] = []
        for conversation in sorted(
            self.open(), key=lambda each: each.phase is JOINED
        ):  # work first: it takes them along
            if conversation.phase is CLOSED:
                continue
            attempt = conversation.attempts[-1] if conversation.phase is RUNNING else None
            if attempt is not None and not attempt.claim():
                continue
            closed = self._shut_out(conversation, error)
            if attempt is not None:
                decisions.append(_called_off(attempt, closed[-1].outcome))
            decisions += closed
        for entry in self.candidates:
            entry.alone = False
            self._reserve(entry)
        return decisions

    def _shut_out(self, conversation: Conversation, error: BaseException | None = None) -> list[Close]:
        """Close a request without a result, and name it if that is for no other reason than the end.

        Of work that goes under a key, its callers are closed and named, and then the work is closed.
        """
        phase = conversation.work.phase
        stage = WAITING if phase in {NEW, CLOSED} else phase
        if conversation.claim is None:
            if error is None:
                self.ending.unfinished.append(unfinished(conversation, stage, Fate.FAILED))
            callers = []
        else:
            callers = [closed for each in callers_of(conversation) for closed in self._shut_out(each, error)]
        error = error or shut_down(conversation, stage, self.name)
        self.forget(conversation)
        return [*callers, Close(conversation, error)]

    def open(self) -> list[Conversation]:
        """List every conversation without an outcome, as far as the book knows; of a key, the work and all callers."""
        entries = list(self.candidates)
        running = [each.conversation for entry in entries for each in entry.in_order()]
        held = [each for entry in entries for each in entry.held]
        keyed = self.keys.conversations()
        return list(dict.fromkeys([*running, *held, *self.waiting.all(), *self.apart, *keyed]))

    def open_count(self) -> int:
        """Count the requests without an outcome, which is quicker than to list them."""
        running = sum(each.is_current for entry in self.candidates for each in entry.attempts)
        keyed = self.keys.callers_count - len(self.keys.live)  # the work of each key is among the others
        return running + self.waiting.count + self.held + len(self.apart) + keyed


def _called_off(attempt: Attempt, outcome: object) -> CallOff:
    assert isinstance(outcome, BaseException), "nobody is shut out with a result"
    attempt.error = outcome
    return CallOff(attempt, outcome)
