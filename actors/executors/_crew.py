"""The children of one executor and the work that waits for them: who is idle, who spares, what goes to whom.

Decides, and does nothing: it knows no selector and no thread, and is guarded by its executor's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from ..attempt import Attempt
from ._children import Child, ChildRow
from ._pace import AHEAD, AHEAD_S, SHORT_S, WORTHWHILE_S, Pace
from ._packing import Item

Entry = tuple[Attempt, Item | None]
"""Work that waits; its item is `None` where packing it may take time or run code of the user's."""

_ALONE_FROM_BYTES = 1 << 16
"""An item of this size goes in a message of its own."""
_EXTRA = 16
"""How many children more than there are slots can be alive: the spare, and such as take their time to end."""


class Crew:
    """At most `slots` children serve; one more is kept warm, to step in when one of them dies."""

    def __init__(self, slots: int, numbers: Mapping[str, int]) -> None:
        self.slots = slots
        self.positions = slots + _EXTRA
        """How many children can be alive at once."""
        self.pace = Pace(len(numbers))
        self.waiting: deque[Entry] = deque()
        self.children: set[Child] = set()
        """All that are alive."""
        self.serving: list[Child] = []
        self.idle: list[Child] = []
        """Those of the serving that hold nothing; the last one worked last and is warmest."""
        self.spares: list[Child] = []
        self._numbers = numbers
        self._free = list(range(self.positions))

    # --- children come and go -----------------------------------------------------------------------------------------

    def take_position(self) -> int | None:
        """Give the position of one more child to start, if one is lacking. Call it when none is being started."""
        wanted = self.slots + 1 if self.slots else 0
        here = sum(not child.ending and child.hears for child in self.children)
        if here >= wanted or not self._free:
            return None
        return self._free.pop()

    def give_back(self, position: int) -> None:
        """Take back the position of a child that has ended or was never there."""
        self._free.append(position)

    def ready(self, child: Child) -> None:
        """Let a child serve, or keep it as a spare."""
        child.ready = True
        if child.ending or not child.hears:
            return
        self.spares.append(child)
        self._promote()

    def withdraw(self, child: Child) -> None:
        """Give it no more work; a spare steps in."""
        for group in (self.idle, self.serving, self.spares):
            if child in group:
                group.remove(child)
        child.serves = False
        self._promote()

    def _promote(self) -> None:
        while self.spares and len(self.serving) < self.slots:
            child = self.spares.pop()
            child.serves = True
            self.serving.append(child)
            self.idle.append(child)

    def bury(self, child: Child) -> Attempt | None:
        """Take a dead child out. Give what it died of; whatever else it held waits for another child.

        A child that was ended for the sake of one attempt takes no other one with it.
        """
        child.hears = False
        self.withdraw(child)
        self.children.discard(child)
        number = child.running()
        self.give_back(child.position)
        guilty = child.sent[number] if number is not None else None
        if child.ending:
            guilty = next((each for each in child.sent.values() if each is child.cancelled), None)
        self.put_back(each for each in child.sent.values() if each is not guilty)
        child.sent = {}
        return guilty

    # --- work ---------------------------------------------------------------------------------------------------------

    def put_back(self, attempts: Iterable[Attempt]) -> None:
        """Let attempts that have not begun wait, in front of the others."""
        back = list(attempts)
        for attempt in back:
            attempt.started_s = None
        self.waiting.extendleft((attempt, None) for attempt in reversed(back))

    def drop_decided(self) -> list[Attempt]:
        """Take out what is next but of no more use."""
        dropped = []
        while self.waiting and self.waiting[0][0].claimed:
            dropped.append(self.waiting.popleft()[0])
        return dropped

    def pick(self) -> tuple[Child, list[Entry]] | None:
        """Choose a child and what it gets next; `None` when nobody can take what waits.

        An idle child gets one, and more only behind short ones and if plenty wait. Until `hold` or `settle` the child
        is nobody else's.
        """
        if not self.waiting:
            return None
        child = self.idle.pop() if self.idle else self._with_room()
        if child is None:
            return None
        return child, self._load(child)

    def _load(self, child: Child) -> list[Entry]:
        """Take what the child gets: its share of what waits, and not so little that handing it over costs more."""
        waiting, numbers, estimates_s = self.waiting, self._numbers, self.pace.estimates_s
        most = AHEAD - len(child.sent)
        share = min(-(-len(waiting) // len(self.serving)), most)
        left_s = AHEAD_S - child.estimate_s
        entries: list[Entry] = []
        loaded_s = 0.0
        while waiting and (not entries or len(entries) < share or (loaded_s < WORTHWHILE_S and len(entries) < most)):
            attempt, item = waiting[0]
            estimate_s = estimates_s[numbers[attempt.activity_type]]
            is_alone = estimate_s >= SHORT_S or (item is not None and len(item[2]) >= _ALONE_FROM_BYTES)
            if (entries and (attempt.claimed or loaded_s + estimate_s > left_s)) or (
                is_alone and (entries or child.sent)
            ):
                break
            entries.append(waiting.popleft())
            loaded_s += estimate_s
            if is_alone:
                break
        return entries

    def _with_room(self) -> Child | None:
        """Give the busy child that holds least, if more may wait behind what it holds."""
        attempt, item = self.waiting[0]
        if not self.pace.is_short(self._numbers[attempt.activity_type]):
            return None
        if item is not None and len(item[2]) >= _ALONE_FROM_BYTES:
            return None
        roomy = [
            child
            for child in self.serving
            if child.takes_more and len(child.sent) < AHEAD // 2 and child.estimate_s < AHEAD_S / 2
        ]
        return min(roomy, key=lambda child: len(child.sent), default=None)

    def hold(self, child: Child, attempts: list[Attempt], now_s: float) -> None:
        """Note that a child is being sent these."""
        estimates_s, numbers = self.pace.estimates_s, self._numbers
        if not child.sent:
            attempts[0].started_s = now_s
            child.holds_long = not self.pace.is_short(numbers[attempts[0].activity_type])
        for attempt in attempts:
            child.estimate_s += estimates_s[numbers[attempt.activity_type]]
        child.hold(attempts)

    def settle(self, child: Child, results: list[Any], now_s: float) -> list[Attempt | None]:
        """Note what a child has done; results begin with (number, seconds). Give the attempts in the same order."""
        sent, numbers, note = child.sent, self._numbers, self.pace.note
        held = len(sent)
        settled = []
        for result in results:
            attempt = sent.pop(result[0], None)
            settled.append(attempt)
            if attempt is None:
                continue
            note(numbers[attempt.activity_type], result[1])
            if attempt.started_s is None:
                attempt.started_s = now_s - result[1]
        child.estimate_s *= len(sent) / held if held else 0.0
        self.free(child, now_s)
        return settled

    def free(self, child: Child, now_s: float) -> None:
        """Make a child that holds nothing idle; note that the next one has begun in a child that holds more."""
        first = child.first()
        if first is not None:
            if first.started_s is None:
                first.started_s = now_s
            return
        child.holds_long = child.recalled = False
        child.estimate_s = 0.0
        if child.serves and child.hears and not child.ending and child not in self.idle:
            self.idle.append(child)

    def take_back(self, child: Child, numbers: list[int], now_s: float) -> None:
        """Let what a child has given back wait for another."""
        self.put_back(child.sent.pop(number) for number in numbers if number in child.sent)
        child.recalled = False
        self.free(child, now_s)

    def holder(self, attempt: Attempt) -> Child | None:
        """Give the child that an attempt is with, if any."""
        return next((child for child in self.children if attempt in child.sent.values()), None)

    def remove_waiting(self, attempt: Attempt) -> bool:
        """Take an attempt out of those that wait; `False` when it is not among them."""
        for index, (each, _) in enumerate(self.waiting):
            if each is attempt:
                del self.waiting[index]
                return True
        return False

    def rows(self) -> tuple[ChildRow, ...]:
        """Describe the children, in the order of their pids."""
        return tuple(child.row(is_spare=not child.serves) for child in sorted(self.children, key=lambda each: each.pid))
