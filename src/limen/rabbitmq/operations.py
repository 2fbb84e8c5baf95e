"""What an operator asks about a queue over all machines: its pool, its figures, its pauses, its dead letters.

Every method blocks within a bound, may be called on any thread but the I/O thread, and raises `ChannelLifecycleError`
where the broker does not do what was asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .._engine import Line, Port
from ..actors import _orders as orders
from ..actors.recorder import Recorder
from ..messages.errors import BrokerError, ChannelLifecycleError
from ..messages.events import EventKind
from ..messages.pool import PoolRow, QueueRow
from . import topology
from ._session import Session
from .asking import ask_io
from .census import Census
from .io import BrokerIO
from .letters import AskedAgain, LetterDesk
from .pausing import Pausing
from .reports import merged, rows_of
from .requester import Requester
from .topology import Route


class Operations:
    """All of it, for one process."""

    def __init__(
        self,
        io: BrokerIO,
        namespace: str,
        *,
        census: Census,
        pausing: Pausing,
        requester: Requester,
        recorder: Recorder | None,
    ) -> None:
        self._namespace = namespace
        self._io = io
        self._census = census
        self._pausing = pausing
        self._requester = requester
        self._letters = LetterDesk(io, recorder)

    def pool(self, channel: str) -> list[PoolRow]:
        """List the workers of all hosts, in the order in which they came."""
        with _told_of(channel):
            return rows_of(self._census.reports(channel))

    def channels(self) -> list[str]:
        """Name the channels that somebody serves, or that have queues. Raises `ChannelLifecycleError`."""
        with _told_of("*"):
            noted = self._letters.notes(topology.channels_queue(self._namespace))
            return sorted({*self._census.channels(), *noted})

    def declare(self, channel: str, kinds: Iterable[str]) -> list[str]:
        """Make the queues of these activity types, and that of their dead letters; name them."""
        queues = [*(Route(channel, kind).queue for kind in kinds), topology.dead_queue(channel)]
        with _told_of(channel):
            problem = ask_io(
                self._io,
                lambda then: self._io.with_session(lambda session: session.declare([], queues, then)),
            )
        if problem is not None:
            raise ChannelLifecycleError(channel, problem)
        return [each.name for each in queues]

    def letters(self, channel: str, order: object, again: Port, local: Line) -> Any:
        """Do something about dead letters. `local`: where those are told who follow the events of this process."""
        match order:
            case orders.ListLetters():
                return self._letters.all(channel)
            case orders.Discard(letter_id):
                letter = self._letters.discard(channel, letter_id)
                local.ask(orders.Tell(EventKind.DISCARDED, letter))
                return letter
            case orders.Requeue(letter_id, _, kind):

                def ask(call: AskedAgain) -> str:
                    local.ask(orders.Tell(EventKind.REQUEUED, call))
                    return self._requester.ask_again(call, channel)

                call = self._letters.requeue(channel, letter_id, kind, order.activity, ask)
                call.channel = again
                return call
            case _:
                raise AssertionError(order)

    def pause(self, channel: str, *, paused: bool) -> None:
        """Let nothing of a channel start on any machine, or let it go on. When this returns, all hosts have heard it.

        Raises `ChannelLifecycleError`.
        """
        with _told_of(channel):
            self._pausing.set(channel, paused=paused)
            self._census.reports(channel)

    def queue_row(self, channel: str) -> QueueRow:
        """Show a queue over all machines: what hosts hold, and what still lies in the broker.

        Raises `ChannelLifecycleError`.
        """
        with _told_of(channel):
            reports = self._census.reports(channel)
            rows = [queue for (_, queue), _ in reports.values()]
            noted = self._letters.notes(topology.types_queue(channel))
            kinds = {kind for (workers, _), _ in reports.values() for each in workers for kind in each.activity_types}
            kinds |= {each.activity_type for row in rows for each in row.types}
            kinds |= noted
            lying = ask_io(self._io, functools.partial(self._count, channel, sorted(kinds)))
        return merged(channel, rows, lying)

    def _count(self, channel: str, kinds: list[str], then: Callable[[dict[str, int]], object]) -> None:
        """Count the messages that wait in the broker, by type."""
        lying = dict.fromkeys(kinds, 0)
        routes = [each for kind in kinds for each in (Route(channel, kind), *Route(channel, kind).others)]
        left = len(routes)

        def counted(kind: str, _: int | None, messages: int) -> None:
            nonlocal left
            left -= 1
            lying[kind] += messages
            if not left:
                then(lying)

        if not routes:
            then(lying)

        def look(session: Session) -> None:
            for each in routes:
                session.look(each.key, functools.partial(counted, each.activity_type))

        self._io.with_session(look)


@contextmanager
def _told_of(channel: str) -> Iterator[None]:
    """Say which channel it was for which the broker did not do what was asked."""
    try:
        yield
    except BrokerError as error:
        raise ChannelLifecycleError(channel, str(error)) from error
