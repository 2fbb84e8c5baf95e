"""Who gets which slot: the half of a channel's core that knows who waits and who is free.

Free slots never stand idle while somebody waits whom they could serve, but for three cases: a request waits for one
particular worker that the routing function chose, a worker is kept free for a request that has to run alone, and a
pause or a limit holds requests back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..messages.activities import Completed
from ..messages.pressure import Reject
from ..messages.routing import RoutingMessage
from ._admission import Admission
from ._decisions import Ask, AwaitRoom, Close, Decision
from ._verdicts import Verdicts
from .attempt import Attempt
from .conversation import CLOSED, NEW, ROUTING, RUNNING, WAITING, Conversation, Phase
from .entry import WorkerEntry
from .routers import LeastLoaded, Router


class Placement(Admission):
    """Workers, those who wait, and the router between them."""

    def __init__(self, name: str, queue_limit: int) -> None:
        super().__init__(queue_limit)
        self.name = name
        self.router: Router | None = LeastLoaded()
        """The built-in router; `None` while a routing function is deployed."""
        self.swaps = True
        """Whether a slot may go from one request to the next without the router, which has nothing to learn of it.

        Not of types that are limited: a request of such a type, waiting or not, is not plain.
        """
        self.admits = True
        """Whether a new request may go into a free slot without more ado."""
        self.policed = False
        """Whether policies go by how full the workers are, so that nothing may pass unseen."""
        self.saturated: set[str] = set()
        """Activity types that are served here, and of which a request can do nothing but wait until something changes.

        Their workers have no free slot, or the channel is paused.
        """
        self.named: dict[str, Conversation] = {}
        """Open conversations whose callers chose the id."""
        self.vacancies: dict[str, WorkerEntry] = {}
        """The latest incarnation of each worker whose next one is on its way."""
        self.routing: Ask | None = None
        """What the routing function is being asked."""
        self._verdicts = Verdicts(name)

    def use(self, router: Router | None) -> None:
        """Let this router decide."""
        self.router = router
        self._note_restraint()

    def _note_restraint(self) -> None:
        """Work out anew what a free slot is worth. Source: the router, pauses, limits, and those that wait outside."""
        self.saturated.clear()
        held_back = self.paused or bool(self.outside) or self.policed
        self.restrained = held_back or self.bounded or bool(self.gates)
        self.swaps = type(self.router) is LeastLoaded and not held_back
        self.admits = self.swaps and not self.bounded

    # --- finding a slot ------------------------------------------------------------------------------------

    def _place(self, conversation: Conversation) -> list[Decision]:
        """Find a slot for a request that has none."""
        if self.apart:
            self.apart.pop(conversation, None)
        if self.restrained:
            if self.bounded:
                self._note_acceptance(conversation)
            if self._is_held_back(conversation):
                return self._wait(conversation)
        activity_type = conversation.activity_type
        if self.router is not None:
            entry = self.router.pick(self.candidates, activity_type, conversation.route_by)
            if entry is not None:
                return self._give(conversation, entry) if conversation.suspect else self._hand_over(conversation, entry)
        elif self.routing is None and self.candidates.least_loaded(activity_type) is not None:
            return self._ask_router(conversation)
        return self._wait(conversation)

    def _wait(self, conversation: Conversation) -> list[Decision]:
        """Let a request wait, if that makes sense and there is room."""
        activity_type = conversation.activity_type
        if not self._may_be_served(conversation):
            conversation.signal = None
            return [self._close_for_lack(conversation)]
        decisions: list[Decision] = []
        if not conversation.attempts and self.buffered >= self.queue_limit:
            if not conversation.wait_s:
                return self._turn_away(conversation)
            decisions += self._keep_outside(conversation)
        elif self._deciding is conversation:
            self._note_deferral(conversation)
        if self.gates:
            self._wait_at_gate(conversation)
        self.waiting.add(conversation)
        if self.router is not None and activity_type not in self.saturated:
            self._note_saturation(activity_type)
        return decisions

    def _turn_away(self, conversation: Conversation) -> list[Decision]:
        """Refuse a request for which there is no room to wait in."""
        if self.bounded:
            self._note_deferral(conversation, Reject)
        error = self._verdicts.full(conversation, self.buffered)
        return [*self._verdicts.rejected(conversation, error), self._close(conversation, error)]

    def shed(self, conversation: Conversation, score: float) -> list[Decision]:
        """Refuse a new request that is not important enough under the present pressure."""
        conversation.channel_name = self.name
        self._note_deferral(conversation, Reject)
        error = self._verdicts.shed(conversation, self.buffered, score)
        return [*self._verdicts.rejected(conversation, error), self._close(conversation, error)]

    def police(self, *, on: bool) -> None:
        """Let every request and every end be looked at, or no longer: policies go by them."""
        self.policed = on
        self.candidates.note_moves(on=on)
        self._note_restraint()

    def _keep_outside(self, conversation: Conversation) -> list[Decision]:
        """Let a request wait for room; its caller has time."""
        conversation.signal = None
        self._wait_outside(conversation)
        self._note_restraint()
        return [AwaitRoom(conversation)]

    def _house(self, homeless: list[Conversation]) -> list[Decision]:
        """Find slots for those that have lost theirs, each in its turn."""
        homeless.sort(key=Conversation.rank)
        if not self.gates:
            return [decision for conversation in homeless for decision in self._place(conversation)]
        decisions: list[Decision] = []
        for conversation in homeless:  # gates may have opened: others could be before them
            self.apart.pop(conversation, None)
            if self._may_be_served(conversation):
                self._wait_at_gate(conversation)
                self.waiting.add(conversation)
            else:
                decisions.append(self._close_for_lack(conversation))
        return decisions + self._fill_all()

    def _note_saturation(self, activity_type: str) -> None:
        """Remember that requests of this type can do nothing but wait until something changes, if nobody need look."""
        looked_at = self.bounded or self.policed or self.held or activity_type in self.gates
        if not looked_at and self.candidates.serves(activity_type):
            self.saturated.add(activity_type)

    def _again(self, attempt: Attempt) -> list[Decision]:
        """Find a slot for a request that has just lost one: those that come before it have the first choice."""
        conversation = attempt.conversation
        if conversation.phase is not NEW:
            return self._fill(attempt.entry)
        nobody_waits = not self.waiting.count and not attempt.entry.held
        if nobody_waits or not self._may_be_served(conversation):
            return [*self._place(conversation), *self._fill(attempt.entry)]
        self.apart.pop(conversation, None)
        self.waiting.add(conversation)
        decisions = self._fill(attempt.entry)
        if conversation.in_line:
            self.waiting.leave(conversation, NEW)
            decisions += self._place(conversation)
        return decisions

    def _may_be_served(self, conversation: Conversation) -> bool:
        """Whether waiting makes sense: somebody serves it, will serve it, or the caller gave it time."""
        return self._is_served(conversation.activity_type) or conversation.is_patient

    def _is_served(self, activity_type: str) -> bool:
        return self.candidates.serves(activity_type) or any(
            gone.capacity.max_concurrent > 0 and gone.capacity.serves(activity_type) for gone in self.vacancies.values()
        )

    def _hand_over(self, conversation: Conversation, entry: WorkerEntry) -> list[Decision]:
        if self.restrained:
            return [*self._arrive(conversation), self._attempt(conversation, entry)]
        return [self._attempt(conversation, entry)]

    def _attempt(self, conversation: Conversation, entry: WorkerEntry) -> Attempt:
        """Put a request into a slot of a worker. Nothing may hold it back."""
        before = conversation.attempts
        attempt = Attempt(conversation, entry, len(before) + 1)
        conversation.attempts = (*before, attempt) if before else (attempt,)
        conversation.phase = RUNNING
        if self.apart:
            self.apart.pop(conversation, None)
        try:
            entry.attempts.add(attempt)
        except AttributeError:
            entry.begin_with(attempt)
        self.candidates.changed(entry)
        return attempt

    def _free(self, attempt: Attempt) -> bool:
        """Give back the slot; `False` if it was given back before, with its worker."""
        entry = attempt.entry
        if attempt not in entry.attempts:
            return False
        entry.attempts.remove(attempt)
        self.saturated.clear()
        if entry.reserved:
            entry.alone = False
            entry.reserve()
        self.candidates.changed(entry)
        if self.gates:
            self._depart(attempt.activity_type)
        return True

    def _fill(self, entry: WorkerEntry) -> list[Decision]:
        """Give a worker with room what waits for it."""
        if self.paused:
            return []
        decisions = self._fill_held(entry) if entry.held else []
        while self.waiting.count and entry.has_room and self._is_offered(entry):
            conversation = self.waiting.next_for(entry.capacity.activity_types)
            if conversation is None:
                break
            if self.router is None:
                return decisions + self._fill_by_function(conversation)
            chosen = self.router.pick(self.candidates, conversation.activity_type, conversation.route_by)
            if chosen is None:
                break
            self.waiting.leave(conversation, NEW)
            give = self._give if conversation.suspect else self._hand_over
            decisions += give(conversation, chosen)
        return decisions

    def _fill_all(self) -> list[Decision]:
        """Give all workers with room what waits, in the order of those that wait."""
        if self.paused:
            return []
        held = list(self.candidates) if self.held else []
        return [*(each for entry in held for each in self._fill_held(entry)), *self._fill_with(None)]

    def _fill_with(self, types: Iterable[str] | None) -> list[Decision]:
        """Give workers with room what waits of these types, or of all."""
        decisions: list[Decision] = []
        while (conversation := self._next(types)) is not None:
            if self.router is None:
                return decisions + self._fill_by_function(conversation)
            chosen = self.router.pick(self.candidates, conversation.activity_type, conversation.route_by)
            assert chosen is not None, "a router picks whoever has room"
            self.waiting.leave(conversation, NEW)
            give = self._give if conversation.suspect else self._hand_over
            decisions += give(conversation, chosen)
        return decisions

    def _next(self, types: Iterable[str] | None) -> Conversation | None:
        """Show the first of those that wait, are of these types, and could be served at once."""
        if not self.waiting.count:
            return None
        among = self.waiting.served_types() if types is None else types
        kinds = [kind for kind in among if self.candidates.least_loaded(kind) is not None]
        return self.waiting.next_for(tuple(kinds)) if kinds else None

    def settle(self) -> list[Decision]:
        """Do what has become possible on the way: for gates that have opened, and for those that wait for room.

        To be called after each change, and before anybody looks.
        """
        decisions: list[Decision] = []
        while self._touched:
            types = tuple(self._touched)
            self._touched.clear()
            if not self.paused:
                decisions += self._fill_with(types)
            for each in types:
                decisions += self._alarm(each)
        if self._outside_in_order:
            decisions += self._fill_room()
            if not self.outside:
                self._outside_in_order.clear()
                self._note_restraint()
        self.unsettled = False
        return decisions

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
            "task_queue": request.task_queue or self.name.rpartition(".")[2],
            "input_content_type": request.input.content_type,
        }
        if conversation.route_by is not None:
            fields["key"] = conversation.route_by
        members = self.candidates.members(request.activity_type)
        views = tuple(entry.view() for entry in members if entry.active and not entry.draining)
        entered = self._leave_line(conversation)
        if self.gates:
            self._admit(conversation)
        self._set_apart(conversation, ROUTING)
        self.routing = Ask(conversation, RoutingMessage(fields), views)
        return [*entered, self.routing]

    # --- requests that wait for one particular worker -----------------------------------------------------------

    def _give(self, conversation: Conversation, entry: WorkerEntry) -> list[Decision]:
        """Hand over to this worker and no other: now, or when it has a slot, or for a suspect when it is empty."""
        if entry.has_room and not conversation.suspect and not self.paused:
            return self._hand_over(conversation, entry)
        self.apart.pop(conversation, None)
        decisions: list[Decision] = [*self._leave_line(conversation)]
        if self.gates:
            self._admit(conversation)
        entry.hold(conversation)
        self.held += 1
        self._reserve(entry)
        return decisions + self._fill_held(entry)

    def _fill_held(self, entry: WorkerEntry) -> list[Decision]:
        decisions: list[Decision] = []
        if self.paused:
            return decisions
        while self._is_offered(entry) and (conversation := entry.next_held()) is not None:
            self._drop_held(conversation)
            entry.alone = conversation.suspect
            decisions += self._hand_over(conversation, entry)
            self._reserve(entry)
        return decisions

    def _drop_held(self, conversation: Conversation) -> None:
        entry: WorkerEntry = conversation.waits_for
        entry.held.remove(conversation)
        self.held -= 1
        conversation.waits_for = None
        self._reserve(entry)

    def _take_held(self, entry: WorkerEntry) -> list[Conversation]:
        """Let nobody wait for this worker in particular; give those that did, in search of a slot."""
        held = list(entry.held)
        for conversation in held:
            self._drop_held(conversation)
            self._set_apart(conversation, NEW)
        return held

    def _not_alone(self, entry: WorkerEntry) -> list[Decision]:
        """Offer a worker again whose suspect has been called off: what it does from now on proves nothing."""
        if not entry.alone:
            return []
        entry.alone = False
        self._reserve(entry)
        return self._fill(entry)

    def _reserve(self, entry: WorkerEntry) -> None:
        self.saturated.clear()
        entry.reserve()
        self.candidates.changed(entry)

    # --- nobody to wait for -------------------------------------------------------------------------------------

    def _hopeless(self, why: str = "") -> list[Close]:
        """Close what waits for workers that will not come."""
        if not self.waiting.count:
            return []
        unserved = [each for each in self.waiting.of_types() if not self._is_served(each)]
        lost = [conversation for each in unserved for conversation in self.waiting.of_type(each)]
        return [self._close_for_lack(conversation, why) for conversation in lost if not conversation.is_patient]

    def _unless_served(self, conversation: Conversation) -> list[Decision]:
        """Close a request that waits for a worker that will not come."""
        hopeless = conversation.in_line and not self._may_be_served(conversation)
        return [self._close_for_lack(conversation)] if hopeless else []

    def _close_for_lack(self, conversation: Conversation, why: str = "") -> Close:
        error = self._verdicts.nobody(conversation, self.candidates.served_types(), why)
        return self._close(conversation, error)

    def _close(self, conversation: Conversation, outcome: Completed | BaseException) -> Close:
        self.forget(conversation)
        return Close(conversation, outcome)

    def forget(self, conversation: Conversation) -> None:
        """Let it be over, wherever it stands; its slot, if it has one, is given back apart from that."""
        if conversation.phase is WAITING:
            if conversation.waits_for is None:
                self.waiting.leave(conversation, CLOSED)
            else:
                self._drop_held(conversation)
        conversation.phase = CLOSED
        if self.restrained:
            self._turn_back(conversation)
            self._drop_outside(conversation)
        if self.apart:
            self.apart.pop(conversation, None)
        if self.named and self.named.get(conversation.id) is conversation:
            del self.named[conversation.id]

    def _set_apart(self, conversation: Conversation, phase: Phase) -> None:
        conversation.phase = phase
        self.apart[conversation] = None
