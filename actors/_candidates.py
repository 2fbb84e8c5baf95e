"""Who could take an activity now: the channel's workers, ordered by load, found without a scan.

Workers that serve the same types form a group with one heap. A change of load pushes a new item; old ones are
recognised by their version when they come up, and swept when they are most of the heap.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Iterator

from .entry import WorkerEntry


class Group:
    """Workers that serve exactly the same activity types."""

    __slots__ = ("able", "gone", "heap", "members", "sole", "types")

    def __init__(self, types: tuple[str, ...]) -> None:
        self.types = types
        self.members: dict[WorkerEntry, None] = {}
        self.sole: WorkerEntry | None = None
        """The only member, while there is one, where its load needs no note."""
        self.able = 0
        """Members that have slots at all."""
        self.heap: list[tuple[int, int, int, WorkerEntry]] = []
        self.gone = 0
        """Members that have left since the heap was swept."""

    def enter(self, entry: WorkerEntry) -> None:
        """Take in a new member."""
        members = self.members
        members[entry] = None
        self.able += entry.capacity.max_concurrent > 0
        if self.sole is not None:  # it had no order so far
            self.push(self.sole)
        self.sole = entry if len(members) == 1 else None
        if self.sole is None:
            self.push(entry)

    def push(self, entry: WorkerEntry) -> None:
        """File the entry under its load as it is now."""
        entry.version = version = entry.version + 1
        if not entry.has_room:
            return
        heapq.heappush(self.heap, (entry.load, entry.order, version, entry))
        if len(self.heap) > 4 * len(self.members) + 64:
            self._sweep()

    def drop(self, entry: WorkerEntry) -> None:
        """Forget an entry whose version has passed; soon, or with the next ones, also what the heap has of it."""
        del self.members[entry]
        self.sole = next(iter(self.members)) if len(self.members) == 1 else None
        self.able -= entry.capacity.max_concurrent > 0
        self.gone += 1
        if self.gone > len(self.members) // 16:
            self._sweep()

    def _sweep(self) -> None:
        self.gone = 0
        self.heap = [item for item in self.heap if item[2] == item[3].version]
        heapq.heapify(self.heap)

    def top(self) -> tuple[int, int, int, WorkerEntry] | None:
        """Give the least loaded entry with room."""
        sole = self.sole
        if sole is not None:
            return (sole.load, sole.order, sole.version, sole) if sole.has_room else None
        heap = self.heap
        while heap:
            first = heap[0]
            if first[2] == first[3].version and first[3].has_room:
                return first
            heapq.heappop(heap)
        return None


class CountedGroup(Group):
    """A group that also knows how many slots its members have, and how many of them are taken, and tells of changes."""

    __slots__ = ("_note", "in_flight", "slots")

    def __init__(self, types: tuple[str, ...], note: Callable[[WorkerEntry], None]) -> None:
        super().__init__(types)
        self.in_flight = self.slots = 0
        self._note = note

    def enter(self, entry: WorkerEntry) -> None:
        """Take in a new member; also the only one is counted each time."""
        super().enter(entry)
        if self.sole is not None:
            self.sole = None
            self.push(entry)

    def push(self, entry: WorkerEntry) -> None:
        """Count, too."""
        self._note(entry)
        if entry.counted is None:
            entry.counted = 0
            self.slots += entry.capacity.max_concurrent
        self.in_flight += entry.in_flight - entry.counted
        entry.counted = entry.in_flight
        super().push(entry)

    def drop(self, entry: WorkerEntry) -> None:
        """Count it off, too."""
        self._note(entry)
        if entry.counted is not None:
            self.in_flight -= entry.counted
            self.slots -= entry.capacity.max_concurrent
            entry.counted = None
        super().drop(entry)
        self.sole = None


class Candidates:
    """The live workers of one channel."""

    def __init__(self) -> None:
        self._make_group: Callable[[tuple[str, ...]], Group] = Group
        self.entries: dict[str, WorkerEntry] = {}
        """By worker id, in registration order."""
        self._moved: dict[str, None] | None = None
        """The ids of those whose load may have changed since they were taken last; `None` where nobody takes them."""
        self._orders = 0
        self._groups: dict[tuple[str, ...], Group] = {}
        self._groups_for: dict[str, tuple[Group, ...]] = {}
        self._members: dict[str, tuple[WorkerEntry, ...]] = {}

    def __iter__(self) -> Iterator[WorkerEntry]:
        """Go through the entries in registration order."""
        return iter(self.entries.values())

    def add(self, entry: WorkerEntry) -> None:
        """Let an entry be offered from now on."""
        self._orders += 1
        entry.order = self._orders
        self._file(entry)

    def _file(self, entry: WorkerEntry) -> None:
        types = entry.capacity.activity_types
        group = self._groups.get(types) or self._group_of(types)
        entry.group = group
        self.entries[entry.worker_id] = entry
        self._groups_for.clear()
        self._members.clear()
        group.enter(entry)

    def _group_of(self, types: tuple[str, ...]) -> Group:
        """Find the group of those that name the same types in the same order, whatever they name twice."""
        types = tuple(dict.fromkeys(types))
        group = self._groups.get(types)
        if group is None:
            group = self._groups[types] = self._make_group(types)
        return group

    def remove(self, entry: WorkerEntry) -> None:
        """Offer an entry no more."""
        if self.entries.get(entry.worker_id) is not entry:
            return
        del self.entries[entry.worker_id]
        entry.version += 1
        group, entry.group = entry.group, None
        group.drop(entry)
        if not group.members:
            del self._groups[group.types]
        self._membership_changed()

    def changed(self, entry: WorkerEntry) -> None:
        """Take note of an entry's new load."""
        group = entry.group
        if group is not None and group.sole is None:  # it is one of several
            group.push(entry)

    def least_loaded(self, activity_type: str) -> WorkerEntry | None:
        """Give the entry with room that holds least, the one that came first among equals."""
        groups = self._groups_for.get(activity_type) or self._serving(activity_type)
        if len(groups) == 1:
            sole = groups[0].sole
            if sole is not None:
                return sole if sole.has_room else None
            first = groups[0].top()
            return first[3] if first is not None else None
        tops = [first for group in groups if (first := group.top()) is not None]
        return min(tops)[3] if tops else None

    def members(self, activity_type: str) -> tuple[WorkerEntry, ...]:
        """Give all that serve a type, in registration order: the same tuple until membership changes."""
        members = self._members.get(activity_type)
        if members is None:
            members = tuple(entry for entry in self if entry.capacity.serves(activity_type))
            self._members[activity_type] = members
        return members

    def serves(self, activity_type: str) -> bool:
        """Whether anybody here could ever take such an activity."""
        return any(group.able for group in self._serving(activity_type))

    def served_types(self) -> tuple[str, ...]:
        """Name all that is served here."""
        return tuple(dict.fromkeys(name for types in self._groups for name in types))

    def count(self) -> None:
        """Keep count from now on of slots and of those that are taken; `load_of` needs it."""
        self._make_group = functools.partial(CountedGroup, note=self._note)
        self.rebuild()

    def note_moves(self, *, on: bool) -> None:
        """Keep in mind from now on whose load changes, or no longer; `take_moves` needs it."""
        if on:
            self.count()
        self._moved = {} if on else None

    def _note(self, entry: WorkerEntry) -> None:
        if self._moved is not None:
            self._moved[entry.worker_id] = None

    def take_moves(self) -> dict[str, WorkerEntry | None]:
        """Give those whose load may have changed since this was last called, by id; `None` for one that has left."""
        if not self._moved:
            return {}
        moved, self._moved = self._moved, {}
        return {worker_id: self.entries.get(worker_id) for worker_id in moved}

    def load_of(self, activity_type: str) -> tuple[int, int]:
        """Tell how many slots are taken of the workers that serve a type, and how many there are."""
        groups = [group for group in self._serving(activity_type) if isinstance(group, CountedGroup)]
        return sum(group.in_flight for group in groups), sum(group.slots for group in groups)

    def rebuild(self) -> None:
        """Make the index again from the entries, after a crash in the middle of a change."""
        for entry in self:
            entry.counted = None
        entries = sorted(self.entries.values(), key=lambda entry: entry.order)
        self.entries, self._groups = {}, {}
        self._membership_changed()
        for entry in entries:
            self._file(entry)

    def _serving(self, activity_type: str) -> tuple[Group, ...]:
        groups = self._groups_for.get(activity_type)
        if groups is None:
            groups = tuple(group for types, group in self._groups.items() if not types or activity_type in types)
            if groups:
                self._groups_for[activity_type] = groups
        return groups

    def _membership_changed(self) -> None:
        self._groups_for.clear()
        self._members.clear()
