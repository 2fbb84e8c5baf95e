"""What one channel has delivered and is yet to acknowledge: the core of saying it in few words. Knows no connection.

A broker takes acknowledgements in and tells nobody when it has. Those of a quorum queue it keeps for a while when more
than some thirty have come in a short time, and forgets what it keeps when the channel is closed: the requests are given
to others, though they were acknowledged. So what ends as a host leaves is acknowledged in few words, at the end.
Source: RabbitMQ 3.10, the client of a quorum queue in a channel has a soft limit of 32 commands under way.
"""

from __future__ import annotations


class Receipts:
    """Those of one channel, in the order of its deliveries."""

    def __init__(self) -> None:
        self.put_off_tags: set[int] = set()
        """Of what can be acknowledged and is not yet."""
        self._open: dict[int, None] = {}

    def delivered(self, tag: int) -> None:
        """Something has come."""
        self._open[tag] = None

    def given(self, tag: int) -> None:
        """It has been acknowledged."""
        self._open.pop(tag, None)

    def put_off(self, tag: int) -> None:
        """It is to be acknowledged with others."""
        if tag in self._open:
            self.put_off_tags.add(tag)

    def frames(self, singles: int) -> list[tuple[int, bool]]:
        """Say what to acknowledge, and whether all before it too: all that is possible in one, and so many more."""
        made: list[tuple[int, bool]] = []
        taken: list[int] = []
        is_first = True
        for tag in self._open:
            if tag not in self.put_off_tags:
                is_first = False
            elif is_first:
                made = [(tag, True)]
                taken.append(tag)
            elif len(made) <= singles:
                made.append((tag, False))
                taken.append(tag)
            else:
                break
        for tag in taken:
            del self._open[tag]
        self.put_off_tags.difference_update(taken)
        return made
