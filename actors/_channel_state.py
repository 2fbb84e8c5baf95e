"""The book of one channel: its workers, who waits, who is being served. The core of `ChannelActor`.

It decides and counts; it knows no thread, clock, ref or Pykka. Every method gives back what is to be done, in order.
It is changed in place, so that a decision costs the same with ten workers or ten thousand, and `recover` makes it
whole again from its plain facts after a crash in the middle of a change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..messages.activities import Completed, Failed
from ..messages.dispatch_errors import (
    ActivityFailed,
    ActivityTimedOut,
    DispatchFailed,
    NoWorkersAvailable,
    PoisonActivity,
    QueueFull,
    UnknownWorkerSelected,
)
from ..messages.errors import ActivityCancelled, WorkerCrashed
from ..messages.lifecycle import ExitReason
from ..messages.operations import ActivityState, OperationKind
from ..messages.routing import RoutingMessage
from ._candidates import Candidates
from ._decisions import Ask, CallOff, Close, Decision, Note, Pause
from ._waiting import WaitingRoom
from .attempt import Attempt
from .conversation import CLOSED, NEW, PAUSED, ROUTING, RUNNING, WAITING, Conversation, Phase
from .entry import WorkerEntry
from .routers import LeastLoaded, Router

MAX_UNCHARGED = 100
"""How often a request may be lost before it began to run, before it fails."""
MAX_REROUTES = 100
"""How often a routing function may name a worker that is gone or full before its request fails."""


class ChannelState:
    """Decides which worker gets which request."""

    def __init__(self, name: str, *, queue_limit: int = 100_000) -> None:
        self.name = name
        self.queue_limit = queue_limit
        """Requests that may wait for a slot; more are refused."""
        self.router: Router | None = LeastLoaded()
        """The built-in router; `None` while a routing function is deployed."""
        self.candidates = Candidates()
        self.waiting = WaitingRoom()
        self.saturated: set[str] = set()
        """Activity types that are served here by workers none of which has a free slot now."""
        self.apart: dict[Conversation, None] = {}
        """Requests that are neither with a worker nor in line: between two tries, or being routed."""
        self.vacancies: dict[str, tuple[str, ...]] = {}
        """Workers whose next incarnation is on its way, and what they serve."""
        self.routing: Conversation | None = None
        """The one that the routing function is being asked about."""
        self.reroutes = 0
        self.late_results = 0
        """Results of attempts that had been decided without them."""
        self._arrivals = 0

    # --- requests -----------------------------------------------------------------------------------------------

    def submit(self, conversation: Conversation) -> Sequence[Decision]:
        """Take a new request: hand it over, let it wait, or refuse it."""
        self._arrivals += 1
        conversation.arrival = self._arrivals
        conversation.channel_name = self.name
        if not conversation.is_plain:
            return self._open(conversation)
        if conversation.activity_type in self.saturated and self.waiting.count < self.queue_limit:
            self.waiting.add(conversation)
            return ()
        return self._place(conversation)

    def _open(self, conversation: Conversation) -> list[Decision]:
        if conversation.recorder is None:
            return self._place(conversation)
        opened = self._note(conversation, OperationKind.CONVERSATION_OPENED, state=ActivityState.SCHEDULED)
        return [opened, *self._place(conversation)]

    def resume(self, conversation: Conversation) -> list[Decision]:
        """Try a request again after its pause."""
        return self._place(conversation) if conversation.phase is PAUSED else []

    def cancel(self, conversation: Conversation, error: BaseException | None = None) -> list[Decision]:
        """Give up a request: one that waits never starts, one that runs is called off. No-op when it has an outcome."""
        if conversation.phase is CLOSED:
            return []
        outcome = error or ActivityCancelled(conversation.activity_type)
        if conversation.phase is not RUNNING:
            return [self._close(conversation, outcome)]
        attempt = conversation.attempts[-1]
        if not attempt.claim():
            return []
        return [CallOff(attempt), self._close(conversation, outcome)]

    def timed_out(self, conversation: Conversation, limit: str, limit_s: float, now_s: float) -> list[Decision]:
        """Act on a limit that ran out: close the request, or fail its attempt and perhaps try again."""
        running = conversation.phase is RUNNING
        if conversation.phase is CLOSED or (limit == "schedule_to_start" and running):
            return []
        error = self._time_out(conversation, limit, limit_s, now_s)
        if limit != "start_to_close":
            return self.cancel(conversation, error)
        attempt = conversation.attempts[-1]
        if not running or not attempt.claim():
            return []
        noted = self._note(
            conversation,
            OperationKind.MESSAGE_RECEIVED,
            worker_id=attempt.worker_id,
            state=ActivityState.TIMED_OUT,
            message=str(error),
            retryable=True,
        )
        return [CallOff(attempt), noted, *self._retry_or_close(conversation, error)]

    # --- what workers say ---------------------------------------------------------------------------------------

    def finished(self, attempt: Attempt, result: Completed | Failed, *, answered: bool) -> list[Decision]:
        """Free the slot, and act on the result unless the caller has it already (`answered`)."""
        freed = self._free(attempt)
        if not freed:
            return []
        conversation = attempt.conversation
        decisions: list[Decision] = []
        if answered:
            self._forget(conversation)
        elif not attempt.claim():
            self.late_results += 1
        else:
            decisions = self._concluded(attempt, result)
        return decisions + self._fill(attempt.entry)

    def turn_over(self, attempt: Attempt) -> Attempt | bool | None:
        """End an attempt whose caller has its answer, and put what waits first into the same slot.

        `True` if nothing waits and the slot is free now. `None`, and nothing has changed, if more is to be decided.
        """
        entry = attempt.entry
        held = entry.attempts
        capacity = entry.capacity
        if attempt not in held or self.router is None or not entry.active or entry.exited is not None:
            return None
        waiting = self.waiting
        following = waiting.next_for(capacity.activity_types) if waiting.count else None
        if following is None:
            attempt.conversation.phase = CLOSED
            return self._free(attempt)
        if not following.is_plain or entry.manual + len(held) > capacity.max_concurrent:
            return None
        attempt.conversation.phase = CLOSED
        waiting.take(following, RUNNING)
        successor = Attempt(following, entry, len(following.attempts) + 1)
        following.attempts += (successor,)
        held.remove(attempt)
        held.add(successor)
        return successor

    def crashed(self, attempt: Attempt, reason: ExitReason) -> list[Decision]:
        """What ran this attempt died, its worker lives: free the slot and re-dispatch the request."""
        if not self._free(attempt):
            return []
        return self._lost(attempt, reason) + self._fill(attempt.entry)

    def returned(self, attempt: Attempt, reason: ExitReason) -> list[Decision]:
        """The attempt never ran: hand the request on and charge nobody."""
        if not self._free(attempt):
            return []
        if not attempt.claim():
            return self._fill(attempt.entry)
        conversation = attempt.conversation
        noted = self._exit_note(attempt, reason)
        return [noted, *self._place(conversation), *self._fill(attempt.entry)]

    # --- the pool -----------------------------------------------------------------------------------------------

    def join(self, entry: WorkerEntry) -> list[Decision]:
        """Let a worker be offered, unless it is dead or leaving already; give it what waits for it."""
        self.vacancies.pop(entry.worker_id, None)
        if not entry.active or entry.exited is not None:
            return self._hopeless()
        self.saturated.clear()
        self.candidates.add(entry)
        return self._fill(entry)

    def leave(self, entry: WorkerEntry, reason: ExitReason, *, vacancy: bool = False) -> list[Decision]:
        """Take a worker out first, then hand on what it held. `vacancy`: its next incarnation is on its way."""
        entry.active = False
        self.saturated.clear()
        self.candidates.remove(entry)
        if vacancy:
            self.vacancies[entry.worker_id] = entry.capacity.activity_types
        held = sorted(entry.attempts, key=lambda attempt: attempt.conversation.arrival)
        entry.attempts.clear()
        decisions: list[Decision] = []
        for attempt in held:
            decisions += self._lost(attempt, reason)
        return decisions + self._hopeless()

    def give_up_vacancy(self, worker_id: str) -> list[Decision]:
        """No further incarnation of this worker will come."""
        self.vacancies.pop(worker_id, None)
        return self._hopeless()

    def set_manual(self, entry: WorkerEntry, slots: int) -> list[Decision]:
        """Take note of slots that the worker's owner uses himself."""
        self.saturated.clear()
        entry.manual = slots
        self.candidates.changed(entry)
        return self._fill(entry)

    def serving(self, activity_type: str | None) -> list[WorkerEntry]:
        """List live workers in registration order: those that serve a type, or all."""
        if activity_type is None:
            return list(self.candidates)
        return list(self.candidates.members(activity_type))

    # --- routing functions --------------------------------------------------------------------------------------

    def deploy(self, router: Router | None) -> list[Decision]:
        """Let another router decide from the next request on; `None` for a routing function."""
        self.saturated.clear()
        self.router = router
        return self._fill_all()

    def routed(self, conversation: Conversation, choice: str | None, offered: tuple[str, ...]) -> list[Decision]:
        """Act on what the routing function answered."""
        self.routing = None
        if conversation.phase is not ROUTING:
            return self._fill_all()
        if choice is None:
            return [self._close(conversation, self._nobody(conversation, "the router chose nobody")), *self._fill_all()]
        if choice not in offered:
            error = UnknownWorkerSelected(self.name, conversation.workflow_id, choice, offered)
            return [self._close(conversation, error), *self._fill_all()]
        entry = self.candidates.entries.get(choice)
        if entry is not None and entry.has_room:
            return [*self._hand_over(conversation, entry), *self._fill_all()]
        return self._reroute(conversation)

    def routing_failed(self, conversation: Conversation, error: BaseException) -> list[Decision]:
        """The routing function gave no answer."""
        self.routing = None
        if conversation.phase is not ROUTING:
            return self._fill_all()
        return [self._close(conversation, error), *self._fill_all()]

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, error: BaseException) -> list[Decision]:
        """Close every open conversation with this error."""
        decisions: list[Decision] = []
        for conversation in self.open():
            decisions += self.cancel(conversation, error)
        return decisions

    def open(self) -> list[Conversation]:
        """List every conversation without an outcome, as far as the book knows."""
        running = [attempt.conversation for entry in self.candidates for attempt in entry.attempts]
        return [*running, *self.waiting.all(), *self.apart]

    def recover(self) -> list[Decision]:
        """Make all that is derived again from the facts, after the actor that kept this book has crashed."""
        self.saturated.clear()
        self.candidates.rebuild()
        self.routing = None
        waiting = [*self.waiting.all(), *(each for each in self.apart if each.phase is ROUTING)]
        self.apart = {each: None for each in self.apart if each.phase is PAUSED}
        self.waiting = WaitingRoom()
        for conversation in waiting:
            self.waiting.add(conversation)
        return self._fill_all()

    # --- how it decides -----------------------------------------------------------------------------------------

    def _place(self, conversation: Conversation) -> list[Decision]:
        """Find a slot for a request that has none."""
        if self.apart:
            self.apart.pop(conversation, None)
        activity_type = conversation.activity_type
        if self.router is not None:
            entry = self.router.pick(self.candidates, activity_type, conversation.key)
            if entry is not None:
                return self._hand_over(conversation, entry)
        elif self.routing is None and self.candidates.least_loaded(activity_type) is not None:
            return self._ask_router(conversation)
        if not self._may_be_served(conversation):
            return [self._close(conversation, self._nobody(conversation))]
        if self.waiting.count >= self.queue_limit:
            full = QueueFull(self.name, conversation.workflow_id, activity_type, self.waiting.count)
            return [self._close(conversation, full)]
        self.waiting.add(conversation)
        if self.router is not None and conversation.activity_type not in self.saturated:
            self._note_saturation(conversation.activity_type)
        return []

    def _note_saturation(self, activity_type: str) -> None:
        """Remember that requests of this type can do nothing but wait until a slot becomes free."""
        if self.candidates.serves(activity_type):
            self.saturated.add(activity_type)

    def _may_be_served(self, conversation: Conversation) -> bool:
        """Whether waiting makes sense: somebody serves it, will serve it, or the caller gave it time."""
        activity_type = conversation.activity_type
        return (
            self.candidates.serves(activity_type)
            or any(not types or activity_type in types for types in self.vacancies.values())
            or conversation.request.schedule_to_start_timeout is not None
        )

    def _hand_over(self, conversation: Conversation, entry: WorkerEntry) -> list[Decision]:
        attempt = Attempt(conversation, entry, len(conversation.attempts) + 1)
        conversation.attempts += (attempt,)
        conversation.phase = RUNNING
        if self.apart:
            self.apart.pop(conversation, None)
        entry.attempts.add(attempt)
        self.candidates.changed(entry)
        return [attempt]

    def _free(self, attempt: Attempt) -> bool:
        """Give back the slot; `False` if it was given back before, with its worker."""
        entry = attempt.entry
        if attempt not in entry.attempts:
            return False
        entry.attempts.remove(attempt)
        self.saturated.clear()
        self.candidates.changed(entry)
        return True

    def _fill(self, entry: WorkerEntry) -> list[Decision]:
        """Give a worker with room what waits for it."""
        decisions: list[Decision] = []
        while self.waiting.count and entry.has_room and self._is_offered(entry):
            conversation = self.waiting.next_for(entry.capacity.activity_types)
            if conversation is None:
                break
            if self.router is None:
                return decisions + self._fill_by_function(conversation)
            chosen = self.router.pick(self.candidates, conversation.activity_type, conversation.key)
            if chosen is None:
                break
            self.waiting.leave(conversation, NEW)
            decisions += self._hand_over(conversation, chosen)
        return decisions

    def _fill_all(self) -> list[Decision]:
        return [decision for entry in list(self.candidates) if self.waiting.count for decision in self._fill(entry)]

    def _fill_by_function(self, conversation: Conversation) -> list[Decision]:
        if self.routing is not None:
            return []
        self.waiting.leave(conversation, NEW)
        return self._ask_router(conversation)

    def _is_offered(self, entry: WorkerEntry) -> bool:
        return self.candidates.entries.get(entry.worker_id) is entry

    def _ask_router(self, conversation: Conversation) -> list[Decision]:
        request = conversation.request
        fields: dict[str, Any] = {
            "activity_type": request.activity_type,
            "task_queue": request.task_queue or "",
            "input_content_type": request.input.content_type,
        }
        if conversation.key is not None:
            fields["key"] = conversation.key
        self._set_apart(conversation, ROUTING)
        self.routing = conversation
        views = tuple(entry.view() for entry in self.candidates.members(request.activity_type))
        return [Ask(conversation, RoutingMessage(fields), views)]

    def _reroute(self, conversation: Conversation) -> list[Decision]:
        """The choice was on offer but is gone or full by now: wait for a slot, and ask again then."""
        self.reroutes += 1
        conversation.reroutes += 1
        self.apart.pop(conversation, None)
        if conversation.reroutes > MAX_REROUTES:
            error = self._nobody(conversation, "the router kept choosing workers without a free slot")
            return [self._close(conversation, error), *self._fill_all()]
        if not self._may_be_served(conversation):
            return [self._close(conversation, self._nobody(conversation)), *self._fill_all()]
        self.waiting.add(conversation)
        return []

    def _concluded(self, attempt: Attempt, result: Completed | Failed) -> list[Decision]:
        """A worker answered and the answer counts."""
        conversation = attempt.conversation
        failed = isinstance(result, Failed)
        decisions: list[Decision] = []
        if conversation.recorder is not None:
            decisions.append(
                self._note(
                    conversation,
                    OperationKind.MESSAGE_RECEIVED,
                    worker_id=attempt.worker_id,
                    state=ActivityState.FAILED if failed else ActivityState.COMPLETED,
                    result=result,
                    message=str(result.error) if isinstance(result, Failed) else None,
                    retryable=result.retryable if isinstance(result, Failed) else None,
                )
            )
        if isinstance(result, Failed):
            return decisions + self._retry_or_close(conversation, result.error)
        return [*decisions, self._close(conversation, result)]

    def _retry_or_close(self, conversation: Conversation, error: BaseException) -> list[Decision]:
        """A failure: pause and try again where the caller's policy says so."""
        conversation.errors += (error,)
        policy = conversation.retry
        pause_s = policy.pause_s(len(conversation.errors), error, conversation.chance()) if policy else None
        if pause_s is not None:
            self._set_apart(conversation, PAUSED)
            noted = self._note(conversation, OperationKind.ACTIVITY_RETRIED, message=str(error), retryable=True)
            return [noted, Pause(conversation, pause_s)]
        if isinstance(error, ActivityTimedOut):
            return [self._close(conversation, error)]
        attempt = conversation.attempts[-1]
        failed = ActivityFailed(
            self.name,
            conversation.workflow_id,
            conversation.activity_type,
            attempt.worker_id,
            type(error).__name__,
            str(error),
            len(conversation.errors),
        )
        failed.__cause__ = error
        return [self._close(conversation, failed)]

    def _lost(self, attempt: Attempt, reason: ExitReason) -> list[Decision]:
        """An attempt went down with its worker or its process: the request goes to another."""
        conversation = attempt.conversation
        if not attempt.claim():
            if conversation.phase is RUNNING and conversation.attempts[-1] is attempt:
                self._forget(conversation)  # its result reached the caller before the end
            return []
        crash = WorkerCrashed(self.name, conversation.workflow_id, attempt.worker_id, str(reason))
        crash.__cause__ = reason.error
        if attempt.started_s is not None:
            conversation.crashes += 1
        conversation.last_crash = crash
        conversation.excluded += ((attempt.worker_id, attempt.incarnation),)
        noted = self._exit_note(attempt, reason)
        if conversation.crashes >= conversation.max_crashes or len(conversation.attempts) >= MAX_UNCHARGED:
            poison = PoisonActivity(
                self.name,
                conversation.workflow_id,
                conversation.activity_type,
                conversation.crashes,
                attempt.worker_id,
            )
            poison.__cause__ = crash
            return [noted, self._close(conversation, poison)]
        return [noted, *self._place(conversation)]

    def _hopeless(self) -> list[Decision]:
        """Close what waits for workers that will not come."""
        lost = [each for each in self.waiting.all() if not self._may_be_served(each)] if self.waiting.count else []
        return [self._close(each, self._nobody(each)) for each in lost]

    def _close(self, conversation: Conversation, outcome: Completed | BaseException) -> Close:
        self._forget(conversation)
        return Close(conversation, outcome)

    def _set_apart(self, conversation: Conversation, phase: Phase) -> None:
        conversation.phase = phase
        self.apart[conversation] = None

    def _forget(self, conversation: Conversation) -> None:
        if conversation.phase is WAITING:
            self.waiting.leave(conversation, CLOSED)
        conversation.phase = CLOSED
        self.apart.pop(conversation, None)

    def _nobody(self, conversation: Conversation, why: str = "") -> DispatchFailed:
        error = NoWorkersAvailable(
            self.name,
            conversation.workflow_id,
            conversation.activity_type,
            self.candidates.served_types(),
            why or (f"the last one crashed: {conversation.last_crash}" if conversation.last_crash else ""),
        )
        error.__cause__ = conversation.last_crash
        return error

    def _time_out(self, conversation: Conversation, limit: str, limit_s: float, now_s: float) -> ActivityTimedOut:
        attempt = conversation.attempts[-1] if conversation.phase is RUNNING else None
        began_s = attempt.started_s if attempt is not None and limit == "start_to_close" else conversation.accepted_s
        return ActivityTimedOut(
            self.name,
            conversation.workflow_id,
            limit,
            conversation.activity_type,
            attempt.worker_id if attempt is not None else None,
            now_s - (began_s or conversation.accepted_s),
            limit_s,
        )

    def _exit_note(self, attempt: Attempt, reason: ExitReason) -> Note:
        return self._note(
            attempt.conversation,
            OperationKind.WORKER_EXITED,
            worker_id=attempt.worker_id,
            state=ActivityState.FAILED,
            message=str(reason),
            retryable=True,
        )

    def _note(self, conversation: Conversation, kind: OperationKind, **fields: Any) -> Note:
        return Note(conversation, conversation.operation(kind, **fields))
