"""Requests that wait for a slot: higher priority first, then in order of arrival, by activity type."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from .conversation import Conversation, Phase

_Item = tuple[int, int, Conversation]


class WaitingRoom:
    """Gives a worker with a free slot the next request that it serves."""

    def __init__(self) -> None:
        self.count = 0
        self._items = 0
        self._by_type: dict[str, list[_Item]] = {}

    def add(self, conversation: Conversation) -> None:
        """Let it wait. One that was here before keeps its place in the order."""
        conversation.phase = Phase.WAITING
        heap = self._by_type.setdefault(conversation.request.activity_type, [])
        heapq.heappush(heap, (-conversation.priority, conversation.arrival, conversation))
        self.count += 1
        self._items += 1

    def leave(self, conversation: Conversation, phase: Phase) -> None:
        """Let it wait no more. Its item is passed over when it comes up."""
        conversation.phase = phase
        self.count -= 1
        if self._items > 2 * self.count + 64:
            self._sweep()

    def next_for(self, types: tuple[str, ...]) -> Conversation | None:
        """Show the first request of these types (of any, if there are none); it goes on waiting."""
        if not self.count:
            return None
        best: _Item | None = None
        for activity_type in types or tuple(self._by_type):
            first = self._first(activity_type)
            if first is not None and (best is None or first < best):
                best = first
        return best[2] if best is not None else None

    def of_types(self) -> Iterable[str]:
        """Name the types for which somebody waits."""
        return [activity_type for activity_type in tuple(self._by_type) if self._first(activity_type) is not None]

    def all(self) -> list[Conversation]:
        """List all that wait, in the order in which they would be served."""
        items = [item for heap in self._by_type.values() for item in heap if item[2].phase is Phase.WAITING]
        return [conversation for _, _, conversation in sorted(items)]

    def _first(self, activity_type: str) -> _Item | None:
        heap = self._by_type.get(activity_type)
        while heap:
            if heap[0][2].phase is Phase.WAITING:
                return heap[0]
            heapq.heappop(heap)
            self._items -= 1
        self._by_type.pop(activity_type, None)
        return None

    def _sweep(self) -> None:
        waiting = self.all()
        self._by_type, self._items, self.count = {}, 0, 0
        for conversation in waiting:
            self.add(conversation)
