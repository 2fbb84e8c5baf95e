"""What routers remember: a bounded memory, an index of members, a ring of hashes.

Knows worker ids and keys, and nothing of load.
"""

from __future__ import annotations

import bisect
import itertools
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

__all__ = ["Index", "Latest", "Ring"]

K = TypeVar("K")
V = TypeVar("V")

_SPACE = 1 << 64
_FEW = 64
"""Up to so many changes are worked into a ring one by one; more make a new ring."""
_EIGHT = struct.Struct(">8Q")


class Named(Protocol):
    """Something that has a worker's id."""

    @property
    def worker_id(self) -> str: ...


class Latest(OrderedDict[K, V]):
    """A dict that keeps the entries used last, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def recall(self, key: K, otherwise: V) -> V:
        """Give what is remembered, and remember it longer."""
        if key not in self:
            return otherwise
        self.move_to_end(key)
        return self[key]

    def recall_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Give what is remembered, or what is made now and remembered from now on."""
        if key not in self:
            self.remember(key, make())
        self.move_to_end(key)
        return self[key]

    def remember(self, key: K, value: V) -> None:
        """Keep a value, and forget the one that was not used for longest when there are too many."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._limit:
            self.popitem(last=False)


class Index:
    """Where in a tuple of members each of them is; made anew when it is given another tuple."""

    def __init__(self) -> None:
        self._members: Sequence[Named] = ()
        self.places: dict[str, int] = {}

    def follow(self, members: Sequence[Named]) -> bool:
        """Bring the index up to date; `True` if anything has changed."""
        if members is self._members:
            return False
        self.places = {member.worker_id: place for place, member in enumerate(members)}
        self._members = members
        return True


class Ring:
    """A hash ring with eight points a member; a key tries eight places and takes the one with the nearest point.

    That balances like a ring with 64 points a member, and a change of membership costs an eighth. Only the points of
    those who came or went are touched.
    """

    def __init__(self) -> None:
        self._index = Index()
        self._points: list[int] = []
        self._owners: dict[int, str] = {}

    def follow(self, members: Sequence[Named]) -> None:
        """Bring the ring up to date with these members."""
        before = self._index.places.keys()
        if not self._index.follow(members):
            return
        now = self._index.places.keys()
        gone, come = before - now, now - before
        if len(gone) + len(come) > _FEW:
            self._owners = {point: each for each in now for point in _eight_hashes(each)}
            self._points = sorted(self._owners)
            return
        for worker_id in gone:
            self._leave(worker_id)
        for worker_id in come:
            self._join(worker_id)

    def _join(self, worker_id: str) -> None:
        for point in _eight_hashes(worker_id):
            if point not in self._owners:
                self._owners[point] = worker_id
                bisect.insort(self._points, point)

    def _leave(self, worker_id: str) -> None:
        for point in _eight_hashes(worker_id):
            if self._owners.get(point) == worker_id:
                del self._owners[point]
                del self._points[bisect.bisect_left(self._points, point)]

    def walk(self, key: str, steps: int) -> Iterator[int]:
        """Yield the places of the key's members in the tuple, its owner first, at most `steps` of the ring's points."""
        points, count = self._points, len(self._points)
        if not count:
            return
        start = self._nearest(key)
        seen: set[str] = set()
        for step in itertools.islice(range(count), steps):
            owner = self._owners[points[(start + step) % count]]
            if owner not in seen:
                seen.add(owner)
                yield self._index.places[owner]

    def _nearest(self, key: str) -> int:
        """Find the point that comes soonest after one of the key's eight places."""
        points, count = self._points, len(self._points)
        found = []
        for place in _eight_hashes(key):
            index = bisect.bisect_left(points, place) % count
            found.append(((points[index] - place) % _SPACE, index))
        return min(found)[1]


def _eight_hashes(text: str) -> tuple[int, ...]:
    """Give eight numbers of 64 bits that are the same in every process."""
    import hashlib

    return _EIGHT.unpack(hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest())
