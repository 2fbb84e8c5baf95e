"""The book of one channel: its workers, who waits, who is being served. The core of `ChannelActor`.

It decides and counts; it knows no thread, clock, ref or Pykka. Every method gives back what is to be done, in order.
It is changed in place, so that a decision costs the same with ten workers or ten thousand, and `rebuild` makes it
whole again from its plain facts after a crash in the middle of a change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from ..messages.activities import Completed, Failed, WorkerCapacity
from ..messages.drain import Fate
from ..messages.errors import ActivityCancelled
from ..messages.lifecycle import ExitReason
from ..messages.limits import Limit
from ..messages.operations import ActivityState, OperationKind
from ._decisions import Ask, CallOff, Close, Decision, Note, Pause, Remind
from ._gates import Gate
from ._unfinished import callers_of, unfinished
from ._waiting import WaitingRoom
from ._winding import WindingDown
from .attempt import HEARD, Attempt
from .conversation import CLOSED, JOINED, NEW, PAUSED, ROUTING, RUNNING, WAITING, Conversation
from .entry import WorkerEntry
from .routers import Router

MAX_UNCHARGED = 100
"""How often a request may lose its worker without being to blame, before it fails."""

_EMPTY: deque[Conversation] = deque(maxlen=0)


class ChannelState(WindingDown):
    """Decides what becomes of each request, and which worker gets it."""

    def __init__(self, name: str, *, queue_limit: int = 100_000) -> None:
        super().__init__(name, queue_limit)
        self.late_results = 0
        """Results of attempts that had been decided without them."""
        self.ranked = False
        """Whether some came with a priority of their own, so that the first of a tray need not be the next.

        Any thread may say so, before it puts such a one there.
        """
        self._arrivals = 0

    # --- requests -----------------------------------------------------------------------------------------------

    def submit(self, conversation: Conversation) -> Sequence[Decision]:
        """Take a new request: hand it over, let it wait, or refuse it."""
        self._arrivals += 1
        conversation.arrival = self._arrivals
        if self.is_ending:
            return [Close(conversation, self.turn_away(conversation))]
        conversation.channel_name = self.name
        if not conversation.is_plain:
            return self._open(conversation)
        if conversation.activity_type in self.saturated and self.waiting.count < self.queue_limit:
            self.waiting.add(conversation)
            return ()
        return self._place(conversation)

    def admit(self, conversation: Conversation, entry: WorkerEntry) -> Attempt | None:
        """Take a new request that is for this very worker: the same as `submit`. `None`, and no change, for others."""
        if not conversation.is_plain or not self.admits:
            return None
        if self.gates and conversation.activity_type in self.gates:
            return None
        if self.candidates.least_loaded(conversation.activity_type) is not entry:
            return None
        self._arrivals += 1
        conversation.arrival = self._arrivals
        conversation.channel_name = self.name
        return self._attempt(conversation, entry)

    def absorb(self, tray: deque[Conversation]) -> None:
        """Take those at the head of a tray that can do nothing but wait. The same as `submit`, for many at once."""
        saturated, waiting, limit = self.saturated, self.waiting, self.queue_limit
        while tray:
            try:
                conversation = tray.popleft()
            except IndexError:  # the channel is being closed, and somebody turns away what lies there
                return
            if conversation.activity_type not in saturated or not conversation.is_plain or waiting.count >= limit:
                tray.appendleft(conversation)
                return
            self._arrivals += 1
            conversation.arrival = self._arrivals
            conversation.channel_name = self.name
            waiting.add(conversation)

    def _open(self, conversation: Conversation) -> list[Decision]:
        if conversation.id in self.named:
            return self._refuse(conversation)
        if conversation.priority:
            self.ranked = True
        self.named[conversation.id] = conversation
        key = conversation.key
        decided = self._place(conversation) if key is None else self._claim(conversation, key)
        if conversation.recorder is None:
            return decided
        opened = conversation.operation(OperationKind.CONVERSATION_OPENED, state=ActivityState.SCHEDULED)
        return [Note(conversation, opened), *decided]

    def resume(self, conversation: Conversation) -> list[Decision]:
        """Try a request again after its pause."""
        return self._place(conversation) if conversation.phase is PAUSED else []

    def cancel(self, conversation: Conversation, error: BaseException | None = None) -> list[Decision]:
        """Give up a request: one that waits never starts, one that runs is called off. No-op when it has an outcome."""
        if conversation.phase is CLOSED:
            return []
        outcome = error or ActivityCancelled(conversation.activity_type)
        if conversation.phase is JOINED:
            return self._leave_work(conversation, outcome)
        if conversation.phase is not RUNNING:
            held_by = conversation.waits_for
            closed = self._close(conversation, outcome)
            return [closed] if held_by is None else [closed, *self._fill(held_by)]
        attempt = conversation.attempts[-1]
        if not attempt.claim():
            return []
        attempt.error = outcome
        return [CallOff(attempt, outcome), self._close(conversation, outcome), *self._not_alone(attempt.entry)]

    def withdraw(self, conversation: Conversation) -> list[Decision]:
        """Give up a request that no worker has. No-op for one that a worker has, or that has an outcome."""
        if conversation.phase is RUNNING:
            return []
        return self.cancel(conversation)

    def timed_out(
        self, conversation: Conversation, limit: str, limit_s: float, now_s: float, attempt: Attempt | None = None
    ) -> list[Decision]:
        """Act on a limit that ran out: close the request, or fail its attempt (this one) and perhaps try again."""
        if conversation.phase is CLOSED:
            return []
        if limit == "schedule_to_start":
            conversation.patience_over = True
            if any(each.has_begun for each in conversation.attempts):
                return self._unless_served(conversation)  # it was met; no worker may come that it would wait for
        if limit != "start_to_close":
            return self.cancel(conversation, self._verdicts.timed_out(conversation, limit, limit_s, now_s))
        current = conversation.attempts[-1] if conversation.phase is RUNNING else None
        if current is None or (attempt is not None and attempt is not current):
            return []
        left_s = current.left_s(limit_s, now_s)
        if left_s > 0:
            return [Remind(current, limit_s, left_s)]
        error = self._verdicts.timed_out(conversation, limit, limit_s, now_s)
        if not current.claim():
            return []
        current.error = error
        return [
            CallOff(current, error),
            *self._verdicts.overdue(current, error),
            *self._retry_or_close(conversation, error),
            *self._not_alone(current.entry),
        ]

    # --- what workers say ---------------------------------------------------------------------------------------

    def finished(self, attempt: Attempt, result: Completed | Failed, *, answered: bool) -> list[Decision]:
        """Free the slot, and act on the result unless the caller has it already (`answered`)."""
        if not self._free(attempt):
            if not answered and attempt.outcome is not HEARD:
                self.late_results += 1
            return []
        decisions: list[Decision] = []
        if answered:
            self.forget(attempt.conversation)
        elif not attempt.claim():
            self.late_results += 1
        else:
            decisions = self._concluded(attempt, result)
        return decisions + self._fill(attempt.entry)

    def turn_over(self, attempt: Attempt, tray: deque[Conversation] = _EMPTY) -> Attempt | bool | None:
        """End an attempt whose caller has its answer, and put what comes next into the same slot.

        That is the first of those that wait; where nobody does, the first of the tray. `True` if nothing waits and the
        slot is free now. `None` if more is to be decided, and then the attempt is as it was.
        """
        entry: WorkerEntry = attempt.entry
        ended: Conversation = attempt.conversation
        held = entry.attempts
        if attempt not in held or not self.swaps or not entry.active or not entry.settled:
            return None
        if self.gates and ended.activity_type in self.gates:  # others wait for its end, too
            return None
        following = self._take_next(entry, tray) if tray or self.waiting.count else True
        if following is False:
            return None
        ended.phase = CLOSED
        if self.named and self.named.get(ended.id) is ended:
            del self.named[ended.id]
        held.remove(attempt)
        if following is True:
            self.saturated.clear()
            self.candidates.changed(entry)
            return True
        before = following.attempts
        successor = Attempt(following, entry, len(before) + 1)
        following.attempts = (*before, successor) if before else (successor,)
        held.add(successor)
        return successor

    def _take_next(self, entry: WorkerEntry, tray: deque[Conversation]) -> Conversation | bool:
        """Take out what comes next for a slot of this worker, to be run. `True`: nothing. `False`: others decide."""
        waiting, types = self.waiting, entry.capacity.activity_types
        beyond = entry.manual + len(entry.attempts) - entry.capacity.max_concurrent
        if beyond > 0 and not entry.has_prefetch(beyond - 1):
            return False
        if tray and self.ranked:
            self.absorb(tray)
            if tray:
                return False
        following = waiting.take_for(types) if waiting.count else True
        if following is not True or not tray:
            return following
        first = self._take_new(tray, types)
        if first is not None:
            return first
        self.absorb(tray)
        return False if tray else waiting.take_for(types)

    def _take_new(self, tray: deque[Conversation], types: tuple[str, ...]) -> Conversation | None:
        """Take out the first in the tray, where it could do nothing but wait, and would wait for such a slot."""
        if self.ranked or not self.admits:
            return None
        try:
            first = tray.popleft()
        except IndexError:  # as in `absorb`
            return None
        kind = first.activity_type
        if kind not in self.saturated or not first.is_plain or (types and kind not in types):
            tray.appendleft(first)
            return None
        self._arrivals += 1
        first.arrival = self._arrivals
        first.channel_name = self.name
        first.phase = RUNNING
        return first

    def crashed(self, attempt: Attempt, reason: ExitReason) -> list[Decision]:
        """What ran this attempt died, its worker lives: free the slot and re-dispatch the request."""
        if not self._free(attempt):
            return []
        charge = attempt.started_s is not None
        return self._lost(attempt, reason, died=True, charge=charge) + self._again(attempt)

    def returned(self, attempt: Attempt, reason: ExitReason) -> list[Decision]:
        """The attempt never ran: hand the request on and charge nobody."""
        if not self._free(attempt):
            return []
        return self._lost(attempt, reason) + self._again(attempt)

    # --- the pool -----------------------------------------------------------------------------------------------

    def join(self, entry: WorkerEntry) -> list[Decision]:
        """Let a worker be offered, unless it is dead or leaving already; give it what waits for it."""
        if self.vacancies:
            self._drop_vacancy(entry)
        origin = entry.origin
        if origin.retired or origin.draining or not entry.active or entry.exited is not None:
            entry.active = False
            if entry.comes_back:
                self.vacancies[entry.worker_id] = entry
            return [*self._hopeless_without(entry)]
        self.saturated.clear()
        self.candidates.add(entry)
        return self._fill(entry) if self.waiting.count else []

    def leave(self, entry: WorkerEntry, reason: ExitReason, *, vacancy: bool = False) -> list[Decision]:
        """Take a worker out first, then hand on what it held. `vacancy`: its next incarnation is on its way."""
        entry.active = False
        self.saturated.clear()
        self.candidates.remove(entry)
        self._drop_vacancy(entry)
        if vacancy:
            self.vacancies[entry.worker_id] = entry
        guilty, suspects = _blamed(entry, reason)
        attempts = entry.in_order()
        open_now = [each for each in attempts if not each.claimed and each.outcome is None]
        if attempts:
            entry.attempts.clear()
        if self.gates:
            for attempt in attempts:
                self._depart(attempt.activity_type)
        decisions: list[Decision] = []
        homeless = self._take_held(entry)
        for attempt in attempts:
            conversation = attempt.conversation
            if attempt in suspects:
                conversation.suspect, conversation.is_plain = True, False
            decisions += self._lost(attempt, reason, died=True, charge=attempt in guilty)
            if conversation.phase is NEW:  # and so this was its latest attempt
                conversation.excluded += ((attempt.worker_id, attempt.incarnation),)
                homeless.append(conversation)
        decisions += self._house(homeless)
        if entry.origin.draining:
            entry.origin.unfinished += tuple(
                unfinished(caller, RUNNING, _fate(each.conversation), each)
                for each in open_now
                for caller in callers_of(each.conversation)
            )
        return decisions + self._hopeless_without(entry)

    def _hopeless_without(self, entry: WorkerEntry) -> list[Close]:
        """Close what waits for workers that will not come, now that this one has left; note what its drain costs."""
        if not entry.origin.draining:
            return self._hopeless()
        closed = self._hopeless("the last one was drained")
        entry.origin.unfinished += tuple(
            unfinished(caller, WAITING, Fate.FAILED) for each in closed for caller in callers_of(each.conversation)
        )
        return closed

    def present(self, entry: WorkerEntry) -> WorkerEntry:
        """Give the incarnation of this worker that is listed now; the one that is asked for if there is none."""
        listed = self.candidates.entries.get(entry.worker_id)
        return listed if listed is not None and listed.origin is entry.origin else entry

    def give_up(self, entry: WorkerEntry) -> list[Decision]:
        """No further incarnation of this worker will come."""
        self._drop_vacancy(entry)
        return [*self._hopeless_without(entry)]

    def drain(self, entry: WorkerEntry) -> list[Decision]:
        """Give a worker nothing new; what waited for it in particular goes elsewhere. One that is away stays away."""
        entry.draining = True
        if not self._is_offered(entry):
            entry.origin.retired = True
            return self.give_up(entry)
        homeless = self._take_held(entry)
        self._reserve(entry)
        return [decision for conversation in homeless for decision in self._place(conversation)]

    def set_manual(self, entry: WorkerEntry, slots: int) -> list[Decision]:
        """Take note of slots that the worker's owner uses himself."""
        self.saturated.clear()
        entry.manual = slots
        self.candidates.changed(entry)
        return self._fill(entry)

    def serving(self, activity_type: str | None) -> list[WorkerEntry]:
        """List live workers in registration order: those that serve a type, or all."""
        return [entry for entry in self.listed(activity_type) if entry.active]

    def listed(self, activity_type: str | None) -> Iterable[WorkerEntry]:
        """Give the same, with those that have ended just now."""
        return self.candidates if activity_type is None else self.candidates.members(activity_type)

    # --- pauses and limits --------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Let nothing start. What runs goes on, what waits keeps its place."""
        self.paused = True
        self._note_restraint()

    def unpause(self) -> list[Decision]:
        """Go on, in the order of those that wait."""
        self.paused = False
        self._note_restraint()
        return self._fill_all()

    def limit(self, activity_type: str, limit: Limit | None) -> list[Decision]:
        """Put a limit on a type in force, in place of the one before; with `None` there is none any more."""
        self._set_gate(activity_type, limit)
        self._note_restraint()
        self._touch(activity_type)
        return self.settle()

    def bound(self, waiting: int, *, is_set: bool = True) -> list[Decision]:
        """Let so many wait from now on. Those that wait already stay. `is_set`: on purpose, so callers are told."""
        self.queue_limit, self.bounded = waiting, is_set
        if is_set:
            self.candidates.count()
        self._note_restraint()
        return self.settle()

    def no_room(self, conversation: Conversation) -> list[Decision]:
        """Refuse a request whose caller has waited for room as long as he would."""
        return self._turn_away(conversation) if conversation.is_outside else []

    def token_due(self, gate: Gate) -> list[Decision]:
        """Act on a token that has come. No-op for a gate that is not there any more."""
        if self.gates.get(gate.activity_type) is not gate:
            return []
        gate.alarmed = False
        self._perhaps_open(gate)
        return self.settle()

    # --- the pool at a glance -----------------------------------------------------------------------------------

    def takers(self) -> dict[str, WorkerCapacity]:
        """Give what the workers can do that take requests now, or will when they have been restarted; by id."""
        present = [entry for entry in self.candidates if entry.active and not entry.origin.draining]
        returning = [entry for entry in self.vacancies.values() if not entry.origin.retired]
        return {entry.worker_id: entry.capacity for entry in (*present, *returning)}

    # --- routing functions --------------------------------------------------------------------------------------

    def deploy(self, router: Router | None) -> list[Decision]:
        """Let another router decide from the next request on; `None` for a routing function."""
        self.use(router)
        for entry in self.candidates:
            for conversation in self._take_held(entry):
                del self.apart[conversation]
                self._turn_back(conversation)
                self.waiting.add(conversation)
        return self._fill_all()

    def routed(self, ask: Ask, choice: str | None) -> list[Decision]:
        """Act on what the routing function answered. A choice without a free slot is waited for."""
        if self.routing is not ask:
            return []
        self.routing = None
        conversation = ask.conversation
        if conversation.phase is not ROUTING:
            return self._fill_all()
        if choice is None:
            return [self._close_for_lack(conversation, "the router chose nobody"), *self._fill_all()]
        if choice not in ask.offered:
            error = self._verdicts.unknown(conversation, choice, ask.offered)
            return [self._close(conversation, error), *self._fill_all()]
        entry = self.candidates.entries.get(choice)
        if entry is None or entry.draining or not entry.capacity.serves(conversation.activity_type):
            self._set_apart(conversation, NEW)  # it has left since: ask afresh
            return [*self._place(conversation), *self._fill_all()]
        if entry.capacity.max_concurrent == 0:
            why = f"the router chose {choice}, which has no slots at all"
            return [self._close_for_lack(conversation, why), *self._fill_all()]
        if self.router is not None and (self.paused or not entry.has_room):
            self._set_apart(conversation, NEW)  # that function has been replaced since; nobody waits on its word
            return [*self._place(conversation), *self._fill_all()]
        return [*self._give(conversation, entry), *self._fill_all()]

    def routing_failed(self, ask: Ask, error: BaseException) -> list[Decision]:
        """The routing function gave no answer."""
        if self.routing is not ask:
            return []
        self.routing = None
        if ask.conversation.phase is not ROUTING:
            return self._fill_all()
        return [self._close(ask.conversation, error), *self._fill_all()]

    # --- after a crash of the actor -----------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make all that is derived again from the facts, after the actor that kept this book has crashed."""
        homeless = [each for each in self.open() if each.phase not in {RUNNING, PAUSED, JOINED, CLOSED}]
        self.saturated.clear()
        self.candidates.rebuild()
        self.routing = None
        self.apart = {each: None for each in self.apart if each.phase is PAUSED}
        self.waiting, self.held = WaitingRoom(), 0
        for entry in self.candidates:
            entry.held.clear()
            entry.alone = any(each.conversation.suspect and not each.claimed for each in entry.attempts)
            self._reserve(entry)
        for conversation in sorted(homeless, key=Conversation.rank):
            conversation.waits_for, conversation.admitted = None, False
            self.waiting.add(conversation)
        self._rebuild_outside()
        self._note_restraint()
        for gate in self.gates.values():
            self._recount(gate)

    def recover(self) -> list[Decision]:
        """Rebuild, and go on."""
        self.rebuild()
        decisions = [*self._stranded(), *self._hopeless(), *self._fill_all()]
        for kind in self.gates:
            self._touch(kind)
        return decisions + self.settle()

    # --- how attempts end ---------------------------------------------------------------------------------------

    def _concluded(self, attempt: Attempt, result: Completed | Failed) -> list[Decision]:
        """A worker answered and the answer counts."""
        conversation = attempt.conversation
        conversation.suspect = False
        decisions: list[Decision] = [*self._verdicts.received(attempt, result)]
        if isinstance(result, Failed):
            attempt.error = result.error
            return decisions + self._retry_or_close(conversation, result.error, retryable=result.retryable)
        return [*decisions, self._close(conversation, result)]

    def _retry_or_close(
        self, conversation: Conversation, error: BaseException, *, retryable: bool = False
    ) -> list[Decision]:
        """A failure: pause and try again where the caller's policy says so. `retryable`: its worker does."""
        conversation.errors += (error,)
        policy, chance = conversation.retry, conversation.chance()
        pause_s = policy.pause_s(len(conversation.errors), error, chance, retryable=retryable) if policy else None
        if pause_s is None:
            return [self._close(conversation, self._verdicts.failed(conversation, error))]
        self._set_apart(conversation, PAUSED)
        return [*self._verdicts.retried(conversation, error), Pause(conversation, pause_s)]

    def _lost(
        self, attempt: Attempt, reason: ExitReason, *, died: bool = False, charge: bool = False
    ) -> list[Decision]:
        """An attempt came to nothing. Where the request goes on, it is left in phase `NEW`, in search of a slot."""
        conversation: Conversation = attempt.conversation
        outcome = attempt.outcome
        if not attempt.claim():
            if conversation.phase is RUNNING and conversation.attempts[-1] is attempt:
                self.forget(conversation)  # its result reached the caller before the end
            return []
        if outcome is not None:  # its result is on the way here
            attempt.outcome = HEARD
            return self._concluded(attempt, outcome[0])
        if died and not reason.is_normal:
            attempt.error = conversation.last_crash = self._verdicts.crash(attempt, reason)
        attempt.charged = charge
        conversation.crashes += charge
        noted = self._verdicts.exited(attempt, reason)
        if charge and conversation.crashes >= conversation.max_crashes:
            return [*noted, self._close(conversation, self._verdicts.poison(conversation, attempt))]
        if conversation.uncharged >= MAX_UNCHARGED:
            why = f"{MAX_UNCHARGED} workers in a row were lost with it"
            return [*noted, self._close_for_lack(conversation, why)]
        self._set_apart(conversation, NEW)
        return [*noted]

    def _refuse(self, conversation: Conversation) -> list[Decision]:
        """Turn away a request with the id of another, whose record it must not touch."""
        conversation.phase = CLOSED
        conversation.recorder = None
        return [Close(conversation, self._verdicts.taken(conversation))]

    def _drop_vacancy(self, entry: WorkerEntry) -> None:
        gone = self.vacancies.get(entry.worker_id)
        if gone is not None and gone.origin is entry.origin:
            del self.vacancies[entry.worker_id]


def _fate(conversation: Conversation) -> Fate:
    return Fate.FAILED if conversation.phase is CLOSED else Fate.HANDED_ON


def _blamed(entry: WorkerEntry, reason: ExitReason) -> tuple[set[Attempt], set[Attempt]]:
    """Tell whom to charge with a worker's death, and whom to suspect. Source: the design's rule of blame.

    Of several that ran, only one is guilty. Where the executor does not know which, each is run again alone before any
    is charged. One that was called off may have gone on running, and so be the guilty one.
    """
    if reason.is_normal:
        return set(), set()
    if entry.culprit is not None:
        return {entry.culprit}, set()
    running = {each for each in entry.attempts if each.started_s is not None and each.outcome is None}
    suspects = {each for each in running if not each.claimed}
    return (suspects, set()) if len(running) == 1 else (set(), suspects)
