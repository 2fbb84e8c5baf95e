"""Requests that wait for a slot: higher priority first, then in order of arrival, by activity type."""

from __future__ import annotations

from collections import Counter, deque

from .conversation import CLOSED, RUNNING, WAITING, Conversation, Phase


class Line:
    """Those that wait for one activity type. Almost always they have one priority, and come in order of arrival."""

    __slots__ = ("_levels", "_order", "front", "top")

    def __init__(self) -> None:
        self.front: deque[Conversation] = deque()
        """The level of the highest priority."""
        self.top: int | None = None
        """That priority."""
        self._levels: dict[int, deque[Conversation]] = {}
        self._order: list[int] = []

    def add(self, conversation: Conversation) -> None:
        """Put it where its priority and its arrival say."""
        level = self._levels.get(conversation.priority)
        if level is None:
            level = self._open_level(conversation.priority)
        if level and level[-1].arrival > conversation.arrival:
            _insert(level, conversation)
        else:
            level.append(conversation)

    def drop(self, conversation: Conversation) -> None:
        """Take one out that may come back, so that it is never in line twice."""
        level = self._levels[conversation.priority]
        if level[0] is conversation:
            level.popleft()
        else:
            level.remove(conversation)

    def first(self) -> Conversation | None:
        """Give the first one that still waits; forget those before it that do not."""
        while True:
            front = self.front
            while front:
                if front[0].phase is WAITING:
                    return front[0]
                front.popleft()
            if not self._next_level():
                return None

    def all(self) -> list[Conversation]:
        """List those that wait, in order."""
        levels = [self._levels[priority] for priority in self._order]
        return [each for level in levels for each in level if each.phase is WAITING]

    def sweep(self) -> None:
        """Forget those that wait no more, wherever they are in line."""
        for level in self._levels.values():
            waiting = [each for each in level if each.phase is WAITING]
            level.clear()
            level.extend(waiting)

    def count(self) -> int:
        """Count those that wait."""
        return sum(each.phase is WAITING for level in self._levels.values() for each in level)

    def _open_level(self, priority: int) -> deque[Conversation]:
        level: deque[Conversation] = deque()
        self._levels[priority] = level
        self._order = sorted(self._levels, reverse=True)
        self.top = self._order[0]
        self.front = self._levels[self.top]
        return level

    def _next_level(self) -> bool:
        """Drop the empty front level; `False` if it was the last."""
        if len(self._order) < 2:  # noqa: PLR2004 - the last level is kept, empty or not
            return False
        del self._levels[self._order.pop(0)]
        self.top = self._order[0]
        self.front = self._levels[self.top]
        return True


class WaitingRoom:
    """Gives a worker with a free slot the next request that it serves."""

    def __init__(self) -> None:
        self.count = 0
        self._gone = 0
        """Those that have left from the middle and are still in line."""
        self.lines: dict[str, Line] = {}
        """Of those that may be served as soon as there is a slot."""
        self.barred: dict[str, Line] = {}
        """Of the types that nobody of may be served now; each has its line here, and is passed over."""

    def add(self, conversation: Conversation) -> None:
        """Let it wait. One that was here before keeps its place in the order."""
        conversation.phase = WAITING
        line = self.lines.get(conversation.activity_type)
        if line is None:
            line = self.barred.get(conversation.activity_type)
        if line is None:
            line = self.lines[conversation.activity_type] = Line()
        front = line.front
        if conversation.priority == line.top and (not front or front[-1].arrival < conversation.arrival):
            front.append(conversation)
        else:
            line.add(conversation)
        self.count += 1

    def leave(self, conversation: Conversation, phase: Phase) -> None:
        """Let it wait no more. One that is closed is passed over when its turn comes."""
        conversation.phase = phase
        self.count -= 1
        if phase is not CLOSED:
            line = self._line_of(conversation.activity_type)
            assert line is not None, "whoever waits is in line"
            line.drop(conversation)
            return
        self._gone += 1
        if self._gone > self.count + 1024:
            self._sweep()

    def take(self, conversation: Conversation, phase: Phase) -> None:
        """Let the one that `next_for` has just shown wait no more."""
        conversation.phase = phase
        self.count -= 1
        self.lines[conversation.activity_type].front.popleft()

    def take_for(self, types: tuple[str, ...]) -> Conversation | bool:
        """Take out the first request of these types, to be run. `True`: there is none. `False`: it needs more."""
        line = self.lines.get(types[0]) if len(types) == 1 else self._foremost(types)
        if line is None:
            return True
        first = line.front[0] if line.front else None
        if first is None or first.phase is not WAITING:
            first = line.first()
            if first is None:
                return True
        if not first.is_plain:
            return False
        line.front.popleft()
        self.count -= 1
        first.phase = RUNNING
        return first

    def _foremost(self, types: tuple[str, ...]) -> Line | None:
        """Give the line whose first is before those of all others."""
        foremost: Line | None = None
        before: Conversation | None = None
        for kind in types or tuple(self.lines):
            line = self.lines.get(kind)
            if line is None:
                continue
            first = line.first()
            if first is None:
                self.lines.pop(kind)
                continue
            if before is None or first.is_before(before):
                foremost, before = line, first
        return foremost

    def next_for(self, types: tuple[str, ...]) -> Conversation | None:
        """Show the first request of these types (of any, if there are none); it goes on waiting."""
        if len(types) == 1:
            line = self.lines.get(types[0])
            return line.first() if line is not None else None
        firsts = [each for kind in types or tuple(self.lines) if (each := self._first(kind)) is not None]
        return min(firsts, key=Conversation.rank, default=None)

    # --- types that may not be served now -----------------------------------------------------------------------

    def bar(self, activity_type: str) -> None:
        """Pass over a type until it is released. Who waits for it keeps his place. Costs the same for any number."""
        if activity_type in self.barred:
            return
        line = self.lines.pop(activity_type, None)
        self.barred[activity_type] = line if line is not None else Line()

    def release(self, activity_type: str) -> None:
        """Serve a type again."""
        line = self.barred.pop(activity_type, None)
        if line is not None and line.first() is not None:
            self.lines[activity_type] = line

    def has_any(self, activity_type: str) -> bool:
        """Whether somebody waits for a type, barred or not."""
        line = self._line_of(activity_type)
        return line is not None and line.first() is not None

    # --- looking ------------------------------------------------------------------------------------------------

    def served_types(self) -> list[str]:
        """Name the types for which somebody waits that may be served."""
        return [kind for kind, line in list(self.lines.items()) if line.first() is not None]

    def of_types(self) -> list[str]:
        """Name all types for which somebody waits."""
        return [*self.served_types(), *(kind for kind, line in self.barred.items() if line.first() is not None)]

    def of_type(self, activity_type: str) -> list[Conversation]:
        """List all that wait for one type, in the order in which they would be served."""
        line = self._line_of(activity_type)
        return line.all() if line is not None else []

    def counts(self) -> Counter[str]:
        """Count those that wait, by type; types of which nobody does may be there with 0."""
        lines = (*self.lines.items(), *self.barred.items())
        return Counter({kind: line.count() for kind, line in lines})

    def all(self) -> list[Conversation]:
        """List all that wait, in the order in which they would be served."""
        lines = (*self.lines.values(), *self.barred.values())
        return sorted((each for line in lines for each in line.all()), key=Conversation.rank)

    def _line_of(self, activity_type: str) -> Line | None:
        line = self.lines.get(activity_type)
        return line if line is not None else self.barred.get(activity_type)

    def _first(self, activity_type: str) -> Conversation | None:
        line = self.lines.get(activity_type)
        first = line.first() if line is not None else None
        if first is None:
            self.lines.pop(activity_type, None)
        return first

    def _sweep(self) -> None:
        """Forget those that have left from the middle."""
        self._gone = 0
        for line in (*self.lines.values(), *self.barred.values()):
            line.sweep()
        self.lines = {kind: line for kind, line in self.lines.items() if line.first() is not None}


def _insert(level: deque[Conversation], conversation: Conversation) -> None:
    """Put one that comes back where it was in the order."""
    at = next((i for i, each in enumerate(level) if each.arrival > conversation.arrival), len(level))
    level.insert(at, conversation)
