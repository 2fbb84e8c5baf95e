"""One request alone on a host: what waits goes back to others, what runs comes to its end, and then it begins.

Runs on the I/O thread. While it lasts the host takes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from ._ledger import Held

PATIENCE_S = 10.0
"""How long a suspect waits for what runs beside it; then another host may have it."""


class Surroundings(Protocol):
    """What a host can do for the solitude of a request."""

    def close_doors(self, but_for: Held, then: Callable[[], object]) -> None:
        """Take nothing more, send back what has not begun, and say when nothing can come any more."""

    def open_doors(self) -> None:
        """Take requests again."""

    def others(self, held: Held) -> int:
        """Count what is held besides this one."""
        ...

    def begin(self, held: Held) -> None:
        """Let it begin."""

    def send_away(self, held: Held) -> None:
        """Let another host have it."""


@attrs.define
class Solitude:
    """What is alone on one host, or is to be."""

    _around: Surroundings
    _now: Callable[[], float]
    _alone: Held | None = None
    _is_closed: bool = False
    _is_decided: bool = False
    """Whether it has begun, or is on its way to another host."""
    _since_s: float = 0.0

    @property
    def alone(self) -> Held | None:
        """What runs alone, or is to."""
        return self._alone

    @property
    def is_wanted(self) -> bool:
        """Whether the host is to take nothing."""
        return self._alone is not None

    def want(self, held: Held) -> None:
        """Have it run alone; one that comes while there is another goes elsewhere, for it might be blamed for that."""
        if self._alone is not None:
            self._around.send_away(held)
            return
        self._alone, self._is_closed, self._is_decided, self._since_s = held, False, False, self._now()

        def closed() -> None:
            if self._alone is held:
                self._is_closed = True
                self.look()

        self._around.close_doors(held, closed)

    def look(self) -> None:
        """See whether the time has come. Called whenever something has ended, and now and then."""
        alone = self._alone
        if alone is None or self._is_decided:
            return
        if self._is_closed and not self._around.others(alone):
            self._is_decided = True
            self._around.begin(alone)
        elif self._now() - self._since_s > PATIENCE_S:
            self._is_decided = True
            self._around.send_away(alone)

    def ended(self, held: Held) -> None:
        """It is over, or has gone elsewhere; it, or another."""
        if held is self._alone:
            self._alone = None
            self._around.open_doors()
        self.look()
