"""Who may start, and who may wait: the part of a channel's core that knows pauses, limits by type, and the bound.

A type whose gate is shut keeps its line, which is passed over as a whole: so it costs the same whether one request
waits there or a hundred thousand. What is past its gate is whatever a worker holds, what waits for one particular
worker, and what the routing function is being asked about.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from ..messages.limits import Limit
from ..messages.pressure import Accept, Defer, Reject
from ._candidates import Candidates
from ._decisions import Alarm, Enter
from ._gates import Gate
from ._waiting import WaitingRoom
from .conversation import ROUTING, Conversation


class Admission:
    """Workers, those who wait, and what holds these back."""

    def __init__(self, queue_limit: int) -> None:
        self.queue_limit = queue_limit
        """Requests that may wait for a slot; more are refused, or wait outside."""
        self.bounded = False
        """Whether that was set on purpose, so that callers want to be told what became of each request."""
        self.outside: dict[Conversation, None] = {}
        """Requests that are in line, and do not count yet among those that may wait: their callers wait for room."""
        self._outside_in_order: list[tuple[tuple[int, int], Conversation]] = []
        """The same as a heap, the first one first, with some that have left."""
        self.candidates = Candidates()
        self.waiting = WaitingRoom()
        self.held = 0
        """Requests that wait for one particular worker; the others are in `waiting`."""
        self.apart: dict[Conversation, None] = {}
        """Requests that are neither with a worker nor in line: between two tries, being routed, or on their way."""
        self.paused = False
        """Whether nothing may start."""
        self.gates: dict[str, Gate] = {}
        """The limits, by activity type."""
        self.restrained = False
        """Whether there is a pause, a limit or a bound, so that a free slot is not all that counts."""
        self.now_s = 0.0
        """The time, by which limits go. Given by the shell before it asks for anything, where there are limits."""
        self.unsettled = False
        """Whether there is something left to be done by `settle`."""
        self._touched: dict[str, None] = {}
        """Types whose gates have opened, or need an alarm."""
        self._deciding: Conversation | None = None
        """The new request that is being decided on, where its caller wants to be told."""

    def _touch(self, activity_type: str) -> None:
        self._touched[activity_type] = None
        self.unsettled = True

    # --- past the gate and back ---------------------------------------------------------------------------------

    def _is_held_back(self, conversation: Conversation) -> bool:
        """Whether it has to wait, whoever is free."""
        if self.paused:
            return True
        gate = self.gates.get(conversation.activity_type)
        if gate is None or conversation.admitted:
            return False
        if gate.shut and not gate.alarmed:  # nobody waited, so nobody looked
            self._perhaps_open(gate)
        return gate.shut or self.waiting.has_any(conversation.activity_type)

    def _wait_at_gate(self, conversation: Conversation) -> None:
        """Take note that one of a limited type is to wait."""
        gate = self.gates.get(conversation.activity_type)
        if gate is None:
            return
        self._turn_back(conversation)
        conversation.is_plain = False
        if not gate.shut or (not gate.alarmed and gate.waits_for_time(self.now_s)):
            self._touch(gate.activity_type)

    def _admit(self, conversation: Conversation) -> None:
        """Let it past its gate, on its way to a worker; no-op if it is past."""
        gate = self.gates.get(conversation.activity_type)
        if gate is None or conversation.admitted:
            return
        conversation.admitted = True
        conversation.is_plain = False
        gate.enter(self.now_s)
        if not gate.lets_in(self.now_s):
            self._shut(gate)

    def _arrive(self, conversation: Conversation) -> list[Enter]:
        """Let it past its gate and to a worker: from now on its attempt stands for it."""
        decisions = self._leave_line(conversation)
        if self.gates:
            self._admit(conversation)
            conversation.admitted = False
        return decisions

    def _leave_line(self, conversation: Conversation) -> list[Enter]:
        """Take note that one waits in line no more, which may make room."""
        if not self.outside:
            return []
        self.unsettled = True
        return self._come_in(conversation) if conversation.is_outside else []

    def _turn_back(self, conversation: Conversation) -> None:
        """Take back one that got past its gate and to no worker."""
        if not conversation.admitted:
            return
        conversation.admitted = False
        gate = self.gates.get(conversation.activity_type)
        if gate is not None:
            gate.turn_back()
            self._perhaps_open(gate)

    def _depart(self, activity_type: str) -> None:
        """Count an attempt off that has ended."""
        gate = self.gates.get(activity_type)
        if gate is not None:
            gate.leave()
            self._perhaps_open(gate)

    # --- shut and open ------------------------------------------------------------------------------------------

    def _shut(self, gate: Gate) -> None:
        gate.shut = True
        self.waiting.bar(gate.activity_type)
        self._touch(gate.activity_type)

    def _perhaps_open(self, gate: Gate) -> None:
        """Open a gate that would let one in. Those who wait there have the next choice of any slot."""
        if not gate.shut:
            return
        if gate.lets_in(self.now_s):
            gate.shut = False
            self.waiting.release(gate.activity_type)
        if self.waiting.has_any(gate.activity_type):
            self._touch(gate.activity_type)

    def _alarm(self, activity_type: str) -> list[Alarm]:
        """Have somebody look again when there is a token, if that is what those who wait there lack."""
        gate = self.gates.get(activity_type)
        if gate is None or not gate.shut or gate.alarmed or not gate.waits_for_time(self.now_s):
            return []
        if not self.waiting.has_any(activity_type):
            return []
        gate.alarmed = True
        return [Alarm(gate)]

    # --- limits that change -------------------------------------------------------------------------------------

    def _set_gate(self, activity_type: str, limit: Limit | None) -> None:
        """Put a limit in force, or lift it."""
        before = self.gates.pop(activity_type, None)
        self.waiting.release(activity_type)
        for each in self._on_their_way(activity_type):
            each.admitted = False
        if limit is None or limit.is_none:
            return
        gate = self.gates[activity_type] = Gate(activity_type, limit)
        if before is not None:
            gate.take_over(before, self.now_s)
        for waiting in self.waiting.of_type(activity_type):
            waiting.is_plain = False
        self._recount(gate)

    def _recount(self, gate: Gate) -> None:
        """Count anew who is past a gate, and shut it if that is enough."""
        kind = gate.activity_type
        on_their_way = self._on_their_way(kind)
        for each in on_their_way:
            each.admitted = True
            each.is_plain = False
        running = [each for entry in self.candidates for each in entry.attempts if each.activity_type == kind]
        for attempt in running:
            attempt.conversation.is_plain = False
        gate.running = len(running) + len(on_their_way)
        gate.shut = gate.alarmed = False
        if not gate.lets_in(self.now_s):
            self._shut(gate)

    def _on_their_way(self, activity_type: str) -> list[Conversation]:
        """List what a worker was chosen for, or is being chosen for, and what is with none yet."""
        return [each for each in self._without_attempt() if each.activity_type == activity_type]

    def _without_attempt(self) -> Iterator[Conversation]:
        for entry in self.candidates:
            yield from entry.held
        for each in self.apart:
            if each.phase is ROUTING:
                yield each

    # --- room to wait in ----------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """How many wait and count."""
        return self.waiting.count + self.held - len(self.outside)

    def _wait_outside(self, conversation: Conversation) -> None:
        """Let its caller wait until there is room. In line it has its place all the same."""
        self.outside[conversation] = None
        conversation.is_outside = True
        heapq.heappush(self._outside_in_order, (conversation.rank(), conversation))

    def _come_in(self, conversation: Conversation) -> list[Enter]:
        """Let it count, or be served: its caller need not wait any longer."""
        conversation.is_outside = False
        del self.outside[conversation]
        if self.bounded and conversation.signal is None:
            self._note_acceptance(conversation)
        return [Enter(conversation)]

    def _drop_outside(self, conversation: Conversation) -> None:
        """Forget one that is over; whoever waits for it is told by its outcome."""
        self.unsettled = self.unsettled or bool(self.outside)
        if conversation.is_outside:
            conversation.is_outside = False
            del self.outside[conversation]

    def _fill_room(self) -> list[Enter]:
        """Let in as many as there is room for, in their order."""
        decisions: list[Enter] = []
        in_order = self._outside_in_order
        while self.outside and self.buffered < self.queue_limit:
            _, conversation = heapq.heappop(in_order)
            if conversation in self.outside:
                self._note_deferral(conversation)
                decisions += self._come_in(conversation)
        return decisions

    def _rebuild_outside(self) -> None:
        waiting = [each for each in self.outside if each.in_line]
        self.outside = dict.fromkeys(waiting)
        self._outside_in_order = sorted((each.rank(), each) for each in waiting)

    # --- what callers are told ----------------------------------------------------------------------------------

    def _note_acceptance(self, conversation: Conversation) -> None:
        """Take note of how full the workers are that could have it: it will do if nothing else becomes of it."""
        self._deciding = None
        if conversation.signal is None and not conversation.attempts:
            self._deciding = conversation
            in_flight, slots = self.candidates.load_of(conversation.activity_type)
            conversation.signal = Accept(current_in_flight=in_flight, max_in_flight=slots)

    def _note_deferral(self, conversation: Conversation, kind: type[Defer | Reject] = Defer) -> None:
        """Take note that it waits, or may not even do that, and of how many do before it."""
        in_flight, slots = self.candidates.load_of(conversation.activity_type)
        conversation.signal = kind(
            current_in_flight=in_flight,
            max_in_flight=slots,
            buffer_depth=self.buffered,
            max_buffer_depth=self.queue_limit,
        )
