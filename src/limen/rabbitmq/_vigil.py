"""Whether the broker still gives signs of life: the core of it. Knows no connection, clock or timer.

The broker says something at least every half heartbeat. The client library gives it five seconds more than the
heartbeat, twice, which is far too long where heartbeats are short: a host that is not heard holds its work for so long.
"""

from __future__ import annotations

import attrs

LOOKS = 2
"""How often to look in the time of a heartbeat."""

_MOST_SILENT = 2 * LOOKS
"""After so many looks without a sign it is gone."""


@attrs.define
class Vigil:
    """One connection's."""

    _received: int = 0
    _silent: int = 0

    def look(self, received: int) -> bool:
        """Take how many bytes have come so far; say whether the other side can still be taken for alive.

        Looks are counted, and not the time: a thread that was kept from looking was kept from reading too.
        """
        self._silent = self._silent + 1 if received == self._received else 0
        self._received = received
        return self._silent < _MOST_SILENT
