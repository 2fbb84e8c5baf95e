"""A named set of consumers, in the order of their ids.

Knows who belongs to it and how each was last described; knows nothing of dispatch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from ..messages.pool import DispatchWorker

__all__ = ["ConsumerGroup"]


class ConsumerGroup:
    """Consumers keyed by id. Any thread; a snapshot does not change afterwards. Source: behaviour RT-15."""

    def __init__(self, consumers: Iterable[DispatchWorker] = ()) -> None:
        self._changing = threading.Lock()
        self._consumers: tuple[DispatchWorker, ...] = ()
        for consumer in consumers:
            self.add(consumer)

    def add(self, consumer: DispatchWorker) -> bool:
        """Take a consumer in; `False` when it takes the place of one with the same id."""
        with self._changing:
            others = self._without(consumer.worker_id)
            is_new = len(others) == len(self._consumers)
            self._consumers = tuple(sorted((*others, consumer), key=lambda each: each.worker_id))
        return is_new

    def remove(self, consumer_id: str) -> bool:
        """Take a consumer out; `False` if it was not there."""
        with self._changing:
            others = self._without(consumer_id)
            was_there = len(others) < len(self._consumers)
            self._consumers = others
        return was_there

    def get(self, consumer_id: str) -> DispatchWorker | None:
        """Give the consumer with this id."""
        return next((each for each in self._consumers if each.worker_id == consumer_id), None)

    def snapshot(self) -> tuple[DispatchWorker, ...]:
        """Give all consumers as they are now, ordered by id."""
        return self._consumers

    def __len__(self) -> int:
        return len(self._consumers)

    def __iter__(self) -> Iterator[DispatchWorker]:
        return iter(self._consumers)

    def __contains__(self, consumer_id: object) -> bool:
        return any(each.worker_id == consumer_id for each in self._consumers)

    def _without(self, consumer_id: str) -> tuple[DispatchWorker, ...]:
        return tuple(each for each in self._consumers if each.worker_id != consumer_id)
