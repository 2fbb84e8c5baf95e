"""The built-in routers: which of the workers that could take an activity is to have it.

Each is a plain value without threads or clock, made for one channel. It sees a channel's workers through two protocols
and never goes through all of them, unless membership has changed. What they remember of membership is in `_rings`.
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Iterable
from typing import ClassVar, Protocol, TypeVar

from ._rings import Index, Latest, Ring

__all__ = ["OVERFLOW", "Affinity", "Candidates", "ConsistentHash", "Entry", "LeastLoaded", "RoundRobin", "Router"]

OVERFLOW = 1 << 40
"""A load from here on says: no free slot, but one more may queue there. Such a worker comes after all others."""

NEAR = 64
"""How many workers a router looks at before it settles for the least loaded one. Pools up to this size are exact."""


class Entry(Protocol):
    """A worker, as a router sees it.

    `order` counts registrations up. `has_room` says whether it would take one more activity now. `load` is what it
    holds, `OVERFLOW` or more when all its slots are taken.
    """

    @property
    def worker_id(self) -> str: ...

    @property
    def order(self) -> int: ...

    @property
    def has_room(self) -> bool: ...

    @property
    def load(self) -> int: ...


E = TypeVar("E", bound=Entry)
E_co = TypeVar("E_co", bound=Entry, covariant=True)


class Candidates(Protocol[E_co]):
    """The live workers of a channel.

    `least_loaded` gives the one with room that holds least, the one that registered first among equals. `members`
    gives all that serve the type, in registration order: the same tuple until membership changes.
    """

    def least_loaded(self, activity_type: str) -> E_co | None: ...

    def members(self, activity_type: str) -> tuple[E_co, ...]: ...


class Router(Protocol):
    """Chooses a worker: `pick` gives one of the members that have room, or None when nobody has.

    May keep a memory of its own; is used by one channel, one call at a time.
    """

    hash: ClassVar[str]
    """What names it where a routing function is named by its hash."""

    def pick(self, candidates: Candidates[E], activity_type: str, key: str | None) -> E | None: ...


class LeastLoaded:
    """The worker that holds least; among equals, the one that registered first."""

    hash: ClassVar[str] = "limen.least-loaded"

    def pick(self, candidates: Candidates[E], activity_type: str, key: str | None) -> E | None:
        """Ignore the key."""
        return candidates.least_loaded(activity_type)


class RoundRobin:
    """One after the other in registration order, for each activity type; those without a free slot are passed over.

    Where more than `NEAR` in a row are full, the least loaded one is next.
    """

    hash: ClassVar[str] = "limen.round-robin"

    def __init__(self) -> None:
        self._last: Latest[str, int] = Latest(1024)

    def pick(self, candidates: Candidates[E], activity_type: str, key: str | None) -> E | None:
        """Ignore the key."""
        least = candidates.least_loaded(activity_type)
        if least is None:
            return None
        members = candidates.members(activity_type)
        start = bisect.bisect_right(members, self._last.recall(activity_type, 0), key=operator.attrgetter("order"))
        count = len(members)
        ahead = (members[(start + step) % count] for step in range(min(NEAR, count)))
        chosen = _first_free(ahead, least)
        self._last.remember(activity_type, chosen.order)
        return chosen


class ConsistentHash:
    """Requests with one key go to one worker, and few keys move when a worker comes or goes.

    Bounded: a key whose worker has no free slot goes to the next worker on the ring. A request without a key goes to
    the least loaded. Source: multi-probe consistent hashing (Appleton, O'Reilly 2015); bounded loads (Mirrokni,
    Thorup, Zadimoghaddam 2016).
    """

    hash: ClassVar[str] = "limen.consistent-hash"

    def __init__(self) -> None:
        self._rings: Latest[str, Ring] = Latest(16)

    def pick(self, candidates: Candidates[E], activity_type: str, key: str | None) -> E | None:
        """Choose by the key alone, so that one key's activities of different types meet at one worker."""
        least = candidates.least_loaded(activity_type)
        if least is None or key is None:
            return least
        members = candidates.members(activity_type)
        ring = self._rings.recall_or_make(activity_type, Ring)
        ring.follow(members)
        return _first_free((members[place] for place in ring.walk(key, NEAR)), least)


class Affinity:
    """Requests with one key stay with the worker that had the last of them, while it lives and has a free slot.

    After that an earlier worker of the key, then the least loaded one, has it. Remembers the latest `max_keys` keys.
    A request without a key goes to the least loaded.
    """

    hash: ClassVar[str] = "limen.affinity"
    _WORKERS_PER_KEY = 4

    def __init__(self, max_keys: int = 10_000) -> None:
        if max_keys < 1:
            raise ValueError(f"max_keys must be 1 or more, not {max_keys}")
        self._workers: Latest[str, tuple[str, ...]] = Latest(max_keys)
        self._indexes: Latest[str, Index] = Latest(16)

    def pick(self, candidates: Candidates[E], activity_type: str, key: str | None) -> E | None:
        """Give the key's worker, and remember it."""
        least = candidates.least_loaded(activity_type)
        if least is None or key is None:
            return least
        members = candidates.members(activity_type)
        index = self._indexes.recall_or_make(activity_type, Index)
        index.follow(members)
        known = self._workers.recall(key, ())
        chosen = _first_free((members[index.places[each]] for each in known if each in index.places), least)
        others = tuple(each for each in known if each != chosen.worker_id)
        self._workers.remember(key, (chosen.worker_id, *others)[: self._WORKERS_PER_KEY])
        return chosen


def _first_free(entries: Iterable[E], least: E) -> E:
    """Give the first that has a free slot, or room in its queue when nobody has a free slot; else the least loaded."""
    slots_left = least.load < OVERFLOW
    for entry in entries:
        if entry.has_room and (entry.load < OVERFLOW or not slots_left):
            return entry
    return least
