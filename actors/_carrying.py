"""What the book decides, carried out: hand-overs, outcomes, timers, the record. Part of a channel's shell."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ..messages.activities import Completed
from ..messages.dispatch_errors import ActivityTimedOut, QueueFull, RecorderFailed
from ..messages.errors import ActivityCancelled
from ..messages.events import EventKind
from ..messages.lifecycle import ExitReason
from ..messages.operations import ActivityState, Operation, OperationKind
from . import _decisions as decisions
from . import _orders as orders
from ._announcing import Announcer
from ._book import Book
from ._dead_letters import belongs
from ._letterbox import Letterbox
from ._recording import keep, keep_end
from ._router_runner import router_runner
from ._settings import Settings
from ._texts import text_of
from .attempt import Attempt
from .conversation import CLOSED, PAUSED, Conversation
from .entry import WorkerEntry
from .links import LinkedActor
from .router_loader import LoadedRouter
from .runtime import offer

logger = logging.getLogger("limen")


class Carrier(LinkedActor):
    """Does what the book of a channel decides, in order. What is left undone by a crash, the next actor does."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book
        self._state = book.state
        self._fanout = book.fanout
        self._slot = book.routing_slot
        self._announcer = Announcer(book, self._runtime.now)
        self._letterbox = Letterbox(book, self._announcer)
        self._settings = Settings(book, self._announcer, self._notice_later)
        self._closing = False

    def _carry_out(self, decided: Iterable[decisions.Decision]) -> None:
        steps = iter(decided)
        for each in steps:
            try:
                self._carry_out_one(each)
            except BaseException:
                self._book.unfinished.extend((each, *steps))  # the next actor goes on from here
                raise

    def _carry_out_one(self, each: decisions.Decision) -> None:
        match each:
            case Attempt():
                self._hand_over(each)
            case decisions.Note(conversation, operation):
                if conversation.recorder is not None and not conversation.reply.done():
                    self._record(conversation, operation)
            case decisions.Close(conversation, outcome):
                self._conclude(conversation, outcome)
            case decisions.CallOff(attempt, why):
                self._call_off(attempt, why)
            case decisions.Pause(conversation, pause_s):
                if conversation.phase is PAUSED:
                    self._announcer.tell_of(
                        EventKind.RETRIED, conversation.attempts[-1], text_of(conversation.errors[-1])
                    )
                    self._pause(conversation, pause_s)
            case decisions.Remind(attempt, limit_s, delay_s):
                self._remind(attempt, limit_s, delay_s)
            case decisions.Ask():
                self._ask_router(each)
            case decisions.Alarm(gate):
                self._settings.set_alarm(gate)
            case decisions.AwaitRoom(conversation):
                self._await_room(conversation)
            case decisions.Enter(conversation):
                self._let_in(conversation)

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _hand_over(self, attempt: Attempt) -> None:
        try:
            if attempt.conversation.recorder is not None:
                self._hand_over_on_record(attempt)
            else:
                self._deliver(attempt)
        except Exception as error:
            logger.exception("an attempt could not be handed to worker %s", attempt.worker_id)
            self._carry_out(self._state.crashed(attempt, ExitReason.from_error(error)))

    def _hand_over_on_record(self, attempt: Attempt) -> None:
        conversation: Conversation = attempt.conversation
        selected = conversation.operation(OperationKind.WORKER_SELECTED, attempt, state=ActivityState.STARTED)
        if attempt.claimed or not self._record(conversation, selected):
            self._carry_out(self._state.returned(attempt, ExitReason.normal()))
            return
        self._deliver(attempt)
        self._record(conversation, conversation.operation(OperationKind.MESSAGE_SENT, attempt))

    def _deliver(self, attempt: Attempt) -> None:
        conversation: Conversation = attempt.conversation
        if not conversation.is_plain and conversation.has_limits:
            self._limit_try(attempt, conversation.request.start_to_close_timeout)
        if self._book.listeners:
            self._announcer.tell_of_start(attempt)
        attempt.entry.runner.submit(attempt)

    def _call_off(self, attempt: Attempt, why: BaseException) -> None:
        self._announcer.tell_of(_kind_of(why), attempt, text_of(why))
        if attempt.entry.draining:
            self._say_drained(attempt.entry)
        try:
            attempt.entry.runner.cancel(attempt)
        except Exception:
            logger.exception("worker %s could not be told that an attempt is of no more use", attempt.worker_id)

    def _ask_router(self, ask: decisions.Ask) -> None:
        loaded = self._slot.active
        assert isinstance(loaded, LoadedRouter), "only a routing function is asked"
        router_runner().evaluate(
            loaded,
            ask.message,
            ask.views,
            loaded.limit_s,
            lambda answer: self._book.notice(orders.Routed(ask, answer)),
            channel_name=self._state.name,
            workflow_id=ask.conversation.workflow_id,
        )

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def _conclude(self, conversation: Conversation, outcome: Completed | BaseException) -> None:
        conversation.drop_timers()
        if not conversation.reply.done():
            self._conclude_open(conversation, outcome)
        if conversation.claim is not None:
            self._share(conversation, outcome)

    def _conclude_open(self, conversation: Conversation, outcome: Completed | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._give_up(conversation, outcome)
        self._announcer.tell_of_end(conversation, outcome)
        if conversation.recorder is not None:
            keep_end(conversation, outcome)
        if isinstance(outcome, BaseException):
            conversation.fail(outcome)
        else:
            conversation.settle(outcome)

    def _give_up(self, conversation: Conversation, outcome: BaseException) -> None:
        """Tell of what nobody was told of yet, and keep what belongs to the dead letters."""
        is_news = conversation.claim is None and not conversation.was_called_off_for(outcome)
        if is_news and isinstance(outcome, (ActivityTimedOut, ActivityCancelled)):
            self._announcer.tell_about(_kind_of(outcome), conversation, text_of(outcome))
        if isinstance(outcome, QueueFull) and conversation.claim is None:
            self._announcer.tell_about(EventKind.REJECTED, conversation, text_of(outcome))
        if not self._closing and conversation.keeps_letter and belongs(conversation, outcome):
            self._letterbox.bury(conversation, outcome)

    def _share(self, work: Conversation, outcome: Completed | BaseException) -> None:
        """Give all callers of a key the end of their work, and remember it for those to come."""
        keep = not self._closing and (isinstance(outcome, Completed) or work.claim.letter_id is not None)
        self._carry_out(self._state.share(work, outcome, self._runtime.now(), keep=keep))

    def _record(self, conversation: Conversation, operation: Operation) -> bool:
        """Keep an operation; a recorder that fails ends the conversation."""
        error = keep(conversation, operation)
        if error is None:
            return True
        ran = operation.kind is OperationKind.MESSAGE_SENT or any(
            attempt.started_s is not None for attempt in conversation.attempts
        )
        failure = RecorderFailed(self._state.name, conversation.workflow_id, str(operation.kind), ran)
        failure.__cause__ = error
        if conversation.phase is CLOSED:
            self._conclude(conversation, failure)
        else:
            self._carry_out(self._state.cancel(conversation, failure))
        return False

    # --- time ---------------------------------------------------------------------------------------------------------

    def _pause(self, conversation: Conversation, pause_s: float) -> None:
        conversation.drop_try_timer()
        conversation.resumes_s = self._runtime.now() + pause_s
        conversation.try_timer = self._notice_later(pause_s, orders.Resume(conversation))
        self._carry_out(self._state.give_up_if_late(conversation))

    def _await_room(self, conversation: Conversation) -> None:
        wait_s = conversation.wait_s
        if wait_s is not None and wait_s < math.inf:
            conversation.room_timer = self._notice_later(wait_s, orders.NoRoom(conversation))

    def _let_in(self, conversation: Conversation) -> None:
        """Let whoever dispatched it go on."""
        conversation.drop_room_timer()
        if conversation.entered is not None:
            offer(conversation.entered, None)

    def _limit_all(self, conversation: Conversation, work: Conversation | None) -> None:
        """Limit the time until the work starts, if it begins with this request, and how long its caller waits."""
        request = conversation.request
        if request.schedule_to_start_timeout is not None and work is not None:
            self._limit(work, "schedule_to_start", request.schedule_to_start_timeout.total_seconds())
        if request.schedule_to_close_timeout is not None:
            self._limit(conversation, "schedule_to_close", request.schedule_to_close_timeout.total_seconds())

    def _limit(self, conversation: Conversation, limit: str, limit_s: float) -> None:
        if conversation.phase is not CLOSED:
            timer = self._notice_later(limit_s, orders.TimedOut(conversation, limit, limit_s))
            conversation.timers += (timer,)

    def _limit_try(self, attempt: Attempt, limit: timedelta | None) -> None:
        attempt.conversation.drop_try_timer()
        if limit is not None:
            self._remind(attempt, limit.total_seconds(), limit.total_seconds())

    def _remind(self, attempt: Attempt, limit_s: float, delay_s: float) -> None:
        message = orders.TimedOut(attempt.conversation, "start_to_close", limit_s, attempt)
        attempt.conversation.try_timer = self._notice_later(delay_s, message)

    def _notice_later(self, delay_s: float, message: object) -> Any:
        return self._runtime.call_later(delay_s, lambda: self._book.notice(message))

    def _say_drained(self, entry: WorkerEntry) -> None:
        if entry.draining and entry.is_drained:
            entry.origin.say_drained()


def _kind_of(why: BaseException) -> EventKind:
    """Say what to call it that an attempt was called off."""
    if isinstance(why, ActivityTimedOut):
        return EventKind.TIMED_OUT
    return EventKind.CANCELLED if isinstance(why, ActivityCancelled) else EventKind.FAILED
