"""What a host holds: the core of its book-keeping. Every request once, however often it is delivered.

A request is with the local channel, or its outcome is on its way to the broker; then it is acknowledged and forgotten,
but for its id. Knows no connection, channel, clock or thread.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import attrs

from .codec import PLAIN, Treatment
from .parcels import Delivery
from .topology import Route

REMEMBERED = 50_000
"""How many names are remembered of what is done, and of what was cancelled before it came."""


def name_of(conversation_id: str, generation: int) -> str:
    """Name a request: a dead letter that is tried again is another one than it was."""
    return f"{conversation_id}/{generation}"


@attrs.define(eq=False)
class Held:
    """One request that this host has not acknowledged yet."""

    name: str
    """What it is known by, see `name_of`."""
    route: Route
    delivery: Delivery
    """The latest delivery of it: the one to be acknowledged."""
    call: Any = None
    """The conversation on the local channel."""
    body: bytes = attrs.field(default=b"", repr=False)
    """The request's own body."""
    treatment: Treatment = PLAIN
    is_local: bool = False
    """Whether the local channel has it."""
    is_returning: bool = False
    """Whether it goes back to the broker if it has not begun."""
    answered: bool = False
    """Whether its outcome is known, and on its way."""
    told: int = 0
    """Of how many of its attempts the asker has been told."""
    reported: tuple[int, bytes] | None = attrs.field(default=None, repr=False)
    """Of which progress."""


class Remembered:
    """Names, the latest of them."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._names: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """Remember it, and forget the oldest if there are too many. Any thread."""
        self._names[name] = None
        self._names.move_to_end(name)
        if len(self._names) > self._size:
            self._names.popitem(last=False)

    def discard(self, name: str) -> None:
        """Forget it."""
        self._names.pop(name, None)


class Ledger:
    """All that one host holds. Only the I/O thread changes it."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self.held: dict[str, Held] = {}
        self.cancelled = Remembered(remembered)
        """Of requests that nobody waits for any more, perhaps before they came. Any thread may add to it."""
        self._done = Remembered(remembered)
        self._leaving: set[Held] = set()

    def __len__(self) -> int:
        """Count what is not acknowledged yet."""
        return len(self.held) + len(self._leaving)

    @property
    def is_over(self) -> bool:
        """Whether all that the local channel was given is acknowledged, and all that was sent on."""
        return not self._leaving and not any(held.is_local for held in self.held.values())

    def take(self, name: str, route: Route, delivery: Delivery) -> Held | None:
        """Take a request in; `None` if it is known.

        A known one that came over an earlier connection is held under the new delivery from now on. Of two copies on
        the same connection the first stays, and `is_spare` says of the second that it can be acknowledged.
        """
        known = self.held.get(name)
        if known is not None:
            if known.delivery.session != delivery.session:
                known.delivery = delivery
            return None
        if name in self._done:
            return None
        made = self.held[name] = Held(name, route, delivery)
        return made

    def is_spare(self, name: str, delivery: Delivery) -> bool:
        """Whether this delivery is one too many: its request is done, or held under another one."""
        known = self.held.get(name)
        return known is None or known.delivery is not delivery

    def settle(self, held: Held) -> None:
        """It is done, and about to be acknowledged."""
        if self.held.pop(held.name, None) is not None:
            self._done.add(held.name)

    def give_back(self, held: Held) -> None:
        """It is being sent on, and this copy is yet to be acknowledged. The copy that is sent may come back here."""
        if self.held.pop(held.name, None) is not None:
            self._leaving.add(held)

    def left(self, held: Held) -> None:
        """It is somebody else's, and about to be acknowledged here."""
        self._leaving.discard(held)
