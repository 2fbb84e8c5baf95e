"""`ChannelActor`: the one book-keeper of a dispatch channel.

The shell round `ChannelState`: it turns messages into questions to the book, and the book's decisions into hand-overs,
replies, timers and events. It never blocks and runs no code of the user's.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from ..messages.activities import Completed, Failed
from ..messages.dispatch import DispatchRequest, DispatchResponse
from ..messages.dispatch_errors import RecorderFailed
from ..messages.errors import ChannelLifecycleError
from ..messages.events import Event, EventKind
from ..messages.lifecycle import ExitReason
from ..messages.operations import ActivityState, OperationKind
from . import _decisions as decisions
from . import _orders as orders
from ._book import Book
from ._router_runner import Chosen, router_runner
from .attempt import Attempt
from .conversation import CLOSED, Conversation
from .entry import WorkerEntry
from .links import LinkedActor
from .router_loader import LoadedRouter

logger = logging.getLogger("limen")


class ChannelActor(LinkedActor):
    """Serves one channel. What it knows lives in its book, which survives a restart of the actor."""

    never_blocks = True

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book
        self._state = book.state
        self._fanout = book.fanout
        self._slot = book.routing_slot
        self._tray = book.tray

    def on_start(self) -> None:
        """Begin with what the last actor of this channel left."""
        if self._book.incarnation > 1:
            self._recover()

    def on_receive(self, message: object) -> object:
        """Handle one order, after what came in before it."""
        self.take_in(self._tray)
        answer = self._handle_order(message)
        if self._tray:
            self.take_in(self._tray)
        return answer

    def _handle_order(self, message: object) -> object:  # noqa: C901, PLR0911, PLR0912 - a clause per message
        match message:
            case orders.Noticed():
                return self._noticed()
            case orders.Arrived():
                return None
            case orders.Finished():
                return self._finished(message)
            case orders.WorkerDown():
                return self._worker_down(message)
            case orders.Crashed(attempt, reason):
                self._emit(EventKind.CRASHED, attempt, str(reason))
                return self._carry_out(self._state.crashed(attempt, reason))
            case orders.Returned(attempt, reason):
                return self._carry_out(self._state.returned(attempt, reason))
            case orders.Snapshot():
                return [message.show(entry) for entry in self._state.serving(message.activity_type)]
            case orders.SetManual(entry, slots):
                return self._carry_out(self._state.set_manual(entry, slots))
            case orders.TakeSlot(entry):
                return self._take_slot(entry)
            case orders.GiveSlot(entry):
                return self._carry_out(self._state.set_manual(entry, max(0, entry.manual - 1)))
            case orders.Join(entry):
                return self._join(entry)
            case orders.Leave(entry):
                return self._leave(entry)
            case orders.GiveUp(worker_id):
                return self._carry_out(self._state.give_up_vacancy(worker_id))
            case orders.Cancel(conversation):
                return self._carry_out(self._state.cancel(conversation))
            case orders.TimedOut():
                return self._timed_out(message)
            case orders.Resume(conversation):
                return self._carry_out(self._state.resume(conversation))
            case orders.Routed():
                return self._routed(message)
            case orders.Deploy(router):
                return self._deploy(router)
            case orders.Publish() | orders.Subscribe() | orders.Unsubscribe() | orders.Evolve():
                return self._fanout.handle(message, self)
            case orders.Listen():
                return self._listen(message)
            case DispatchRequest():
                return self._dispatch(message)
            case orders.Close():
                return self._close()
            case _:
                logger.warning("channel %s does not know what to do with a %s", self._book.name, type(message).__name__)
                return None

    # --- requests -----------------------------------------------------------------------------------------------

    def take_in(self, tray: deque[Conversation]) -> bool:
        """Enter into the book what has come in. Called on the channel's turn."""
        self._book.waker = None
        submit = self._state.submit
        while tray:
            conversation = tray.popleft()
            try:
                if not conversation.is_plain:
                    self._submit(conversation)
                elif decided := submit(conversation):
                    self._carry_out(decided)
            except BaseException as error:  # it is not known to be in the book, so the next actor may miss it
                failure = ChannelLifecycleError(self._state.name, "the channel crashed as it took in the request")
                failure.__cause__ = error
                conversation.fail(failure)
                raise
        return True

    def turn_over(self, attempt: Attempt) -> Attempt | bool | None:
        """End an answered attempt and give its slot what waits for it. Called by the slot, on the channel's turn.

        A slot that becomes idle is the one to be woken for the next request. The tray is looked at once more after
        that has been said, for whoever put something in it while it was not.
        """
        book = self._book
        tray = book.tray
        if tray:
            self.take_in(tray)
        if book.listeners or attempt.conversation.timers:
            return None
        following = self._state.turn_over(attempt)
        if following is True:
            book.waker = attempt.entry.nudge
            if tray:
                self.take_in(tray)
        return following

    def _submit(self, conversation: Conversation) -> None:
        request = conversation.request
        conversation.accepted_s = self._runtime.now()
        decided = self._state.submit(conversation)
        if request.schedule_to_start_timeout is not None:
            self._limit(conversation, "schedule_to_start", request.schedule_to_start_timeout.total_seconds())
        if request.schedule_to_close_timeout is not None:
            self._limit(conversation, "schedule_to_close", request.schedule_to_close_timeout.total_seconds())
        self._carry_out(decided)

    def _dispatch(self, message: DispatchRequest) -> None:
        """Serve a request that was asked or told by an actor: the answer is a `DispatchResponse`."""
        asker = self.reply_later()
        reply: Any = self._runtime.create_future()
        conversation = Conversation(
            message.conversation_id, message.request, reply, channel_name=self._state.name, priority=message.priority
        )

        def respond() -> None:
            try:
                result: Completed = reply.get(timeout=0)
            except Exception as error:  # noqa: BLE001 - it is the asker's
                asker.set_exception((type(error), error, error.__traceback__))
            else:
                asker.set(DispatchResponse(worker_id=conversation.attempts[-1].worker_id, result=result))

        reply.add_done_callback(respond)
        self._submit(conversation)

    def _limit(self, conversation: Conversation, limit: str, limit_s: float, attempt: Attempt | None = None) -> None:
        if conversation.phase is CLOSED:
            return
        message = orders.TimedOut(conversation, limit, limit_s, attempt)
        timer = self._runtime.call_later(limit_s, lambda: self._book.notice(message))
        conversation.timers += (timer,)

    def _timed_out(self, message: orders.TimedOut) -> None:
        conversation = message.conversation
        if message.attempt is not None and conversation.attempts[-1] is not message.attempt:
            return
        self._carry_out(
            self._state.timed_out(conversation, message.limit, message.limit_s, self._runtime.now())
        )

    # --- what workers say ---------------------------------------------------------------------------------------

    def _finished(self, message: orders.Finished) -> None:
        attempt = message.attempt
        decided = self._state.finished(attempt, message.result, answered=message.answered)
        if message.answered:
            self._drop_timers(attempt.conversation)
        if self._book.listeners and (message.answered or attempt.claimed):
            failed = isinstance(message.result, Failed)
            detail = str(message.result.error) if isinstance(message.result, Failed) else ""
            self._emit(EventKind.FAILED if failed else EventKind.FINISHED, attempt, detail)
        if decided:
            self._carry_out(decided)

    def _worker_down(self, message: orders.WorkerDown) -> None:
        entry, reason = message.entry, message.down.reason
        if not self._is_listed(entry):
            entry.active = False
            return
        decided = self._state.leave(entry, reason, vacancy=entry.supervised and not reason.is_normal)
        self._close_inbox(entry)
        kind = EventKind.UNREGISTERED if reason.is_normal else EventKind.CRASHED
        self._emit_for(kind, entry, str(reason))
        self._carry_out(decided)

    # --- the pool -----------------------------------------------------------------------------------------------

    def _join(self, entry: WorkerEntry) -> None:
        """Insert a worker whose watch is armed. Raises `ChannelLifecycleError` for a live duplicate id."""
        twin = self._state.candidates.entries.get(entry.worker_id)
        if twin is not None and twin is not entry and twin.exited is None:
            raise ChannelLifecycleError(self._state.name, f"a worker {entry.worker_id!r} is registered and alive")
        if twin is not None and twin.exited is not None:
            self._worker_down(orders.WorkerDown(twin, twin.exited))
        entry.since_s = self._runtime.now()
        decided = self._state.join(entry)
        if self._is_listed(entry):
            self._emit_for(EventKind.REGISTERED, entry)
        self._carry_out(decided)

    def _leave(self, entry: WorkerEntry) -> None:
        listed = self._is_listed(entry)
        decided = self._state.leave(entry, ExitReason.normal())
        self._close_inbox(entry)
        if listed:
            self._emit_for(EventKind.UNREGISTERED, entry)
        self._carry_out(decided)

    def _take_slot(self, entry: WorkerEntry) -> bool:
        if not entry.active or entry.in_flight >= entry.capacity.max_concurrent:
            return False
        self._carry_out(self._state.set_manual(entry, entry.manual + 1))
        return True

    def _is_listed(self, entry: WorkerEntry) -> bool:
        return self._state.candidates.entries.get(entry.worker_id) is entry

    def _close_inbox(self, entry: WorkerEntry) -> None:
        if entry.inbox is not None:
            self._fanout.remove(entry.inbox)

    # --- routing functions --------------------------------------------------------------------------------------

    def _deploy(self, router: Any) -> None:
        self._slot.deploy(router)
        self._carry_out(self._state.deploy(None if isinstance(router, LoadedRouter) else router))

    def _ask_router(self, message: decisions.Ask) -> None:
        conversation, offered = message.conversation, tuple(str(view.consumer) for view in message.views)
        loaded = self._slot.active
        router_runner().evaluate(
            loaded,
            message.message,
            message.views,
            loaded.limit_s,
            lambda answer: self._book.notice(orders.Routed(conversation, answer, offered)),
        )

    def _routed(self, message: orders.Routed) -> None:
        answer = message.answer
        if isinstance(answer, Chosen):
            self._carry_out(self._state.routed(message.conversation, answer.worker_id, message.offered))
            return
        self._carry_out(self._state.routing_failed(message.conversation, answer.error))

    # --- carrying out -------------------------------------------------------------------------------------------

    def _carry_out(self, decided: Iterable[decisions.Decision]) -> None:
        for each in decided:
            match each:
                case Attempt():
                    self._hand_over(each)
                case decisions.Note(conversation, operation):
                    if conversation.recorder is not None and not conversation.reply.done():
                        self._record(conversation, operation)
                case decisions.Close(conversation, outcome):
                    self._conclude(conversation, outcome)
                case decisions.CallOff(attempt):
                    if attempt.entry.executor is not None:
                        attempt.entry.executor.cancel(attempt)
                case decisions.Pause(conversation, pause_s):
                    self._pause(conversation, pause_s)
                case decisions.Ask():
                    self._ask_router(each)

    def _hand_over(self, attempt: Attempt) -> None:
        conversation = attempt.conversation
        if conversation.recorder is not None:
            selected = conversation.operation(
                OperationKind.WORKER_SELECTED, worker_id=attempt.worker_id, state=ActivityState.STARTED
            )
            if not self._record(conversation, selected):
                self._carry_out(self._state.returned(attempt, ExitReason.normal()))
                return
        if not conversation.is_plain:
            limit = conversation.request.start_to_close_timeout
            if limit is not None:
                self._limit(conversation, "start_to_close", limit.total_seconds(), attempt)
        if self._book.listeners:
            again = attempt.number > 1
            self._emit(EventKind.REDISPATCHED if again else EventKind.DISPATCHED, attempt)
        attempt.entry.deliver(attempt)
        if conversation.recorder is not None:
            sent = conversation.operation(OperationKind.MESSAGE_SENT, worker_id=attempt.worker_id)
            self._record(conversation, sent)

    def _pause(self, conversation: Conversation, pause_s: float) -> None:
        message = orders.Resume(conversation)
        self._runtime.call_later(pause_s, lambda: self._book.notice(message))

    def _conclude(self, conversation: Conversation, outcome: Completed | BaseException) -> None:
        self._drop_timers(conversation)
        if conversation.reply.done():
            return
        if conversation.recorder is not None:
            self._record_closed(conversation, outcome)
        if isinstance(outcome, BaseException):
            conversation.fail(outcome)
        else:
            conversation.settle(outcome)

    def _drop_timers(self, conversation: Conversation) -> None:
        for timer in conversation.timers:
            timer.cancel()
        conversation.timers = ()

    # --- the record ---------------------------------------------------------------------------------------------

    def _record(self, conversation: Conversation, operation: Any) -> bool:
        """Keep an operation; a recorder that fails ends the conversation."""
        error = _try_record(conversation, operation)
        if error is None:
            return True
        ran = any(attempt.started_s is not None for attempt in conversation.attempts)
        failure = RecorderFailed(self._state.name, conversation.workflow_id, str(operation.kind), ran)
        failure.__cause__ = error
        if conversation.phase is CLOSED:
            self._conclude(conversation, failure)
        self._carry_out(self._state.cancel(conversation, failure))
        return False

    def _record_closed(self, conversation: Conversation, outcome: Completed | BaseException) -> None:
        """Record the end, once. If only this fails, a good result stands and an earlier error keeps its place."""
        failed = isinstance(outcome, BaseException)
        closed = conversation.operation(
            OperationKind.CONVERSATION_CLOSED,
            state=ActivityState.FAILED if failed else ActivityState.COMPLETED,
            result=Failed(outcome) if isinstance(outcome, BaseException) else outcome,
            message=str(outcome) if failed else None,
        )
        error = _try_record(conversation, closed)
        if error is not None:
            logger.error("the end of conversation %s could not be recorded", conversation.id, exc_info=error)
            if isinstance(outcome, BaseException):
                outcome.add_note(f"its end could not be recorded: {error!r}")

    # --- events -------------------------------------------------------------------------------------------------

    def _listen(self, message: orders.Listen) -> None:
        others = tuple(each for each in self._book.listeners if each is not message.listener)
        self._book.listeners = (*others, message.listener) if message.on else others

    def _emit(self, kind: EventKind, attempt: Attempt, detail: str = "") -> None:
        if self._book.listeners:
            self._emit_for(kind, attempt.entry, detail, attempt)

    def _emit_for(self, kind: EventKind, entry: WorkerEntry, detail: str = "", attempt: Attempt | None = None) -> None:
        if not self._book.listeners:
            return
        event = Event(
            kind=kind,
            channel_name=self._state.name,
            at_s=self._runtime.now(),
            worker_id=entry.worker_id,
            incarnation=entry.incarnation,
            conversation_id=attempt.conversation.id if attempt is not None else None,
            activity_type=attempt.request.activity_type if attempt is not None else None,
            detail=detail,
        )
        for listener in self._book.listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed to take an event")

    # --- the end ------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Catch up on what was said to the actor that crashed and never handled."""
        for entry in list(self._state.candidates):
            for attempt in list(entry.attempts):
                if attempt.outcome is not None:
                    result, answered = attempt.outcome
                    self._finished(orders.Finished(attempt, result, answered))
            if entry.exited is not None:
                self._worker_down(orders.WorkerDown(entry, entry.exited))
        self._carry_out(self._state.recover())
        while self._book.notices:
            self._noticed()

    def _noticed(self) -> object:
        """Handle the oldest notice; none is left if an actor that came after a crash has handled them all."""
        return self.on_receive(self._book.notices.popleft()) if self._book.notices else None

    def _close(self) -> None:
        error = ChannelLifecycleError(self._state.name, "the channel has been closed")
        self._carry_out(self._state.close(error))
        for entry in list(self._state.candidates):
            self._leave(entry)
        self._fanout.close()
        self.stop()


def _try_record(conversation: Conversation, operation: Any) -> BaseException | None:
    assert conversation.recorder is not None
    try:
        conversation.recorder.record(operation)
    except BaseException as error:  # noqa: BLE001 - a recorder is the user's code and may raise anything
        return error
    return None
