"""Pausing a queue on all machines: said to all that are there, and kept at the broker for those that are yet to come.

What is kept is the latest word, in a queue that holds one message; it is looked at and never taken out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..messages.errors import BrokerError, DecodeError
from . import codec, topology
from ._session import Session
from .asking import ask_io
from .control import Control
from .io import BrokerIO
from .parcels import Delivery, Parcel

OnPause = Callable[[str, bool], object]
"""Is told of a channel, and whether it is paused. On the I/O thread; may be told the same again."""


class Pausing:
    """What one process does and hears about pauses."""

    def __init__(self, io: BrokerIO, control: Control, on_pause: OnPause) -> None:
        self._io = io
        self._control = control
        self._on_pause = on_pause
        control.on("pause", self._told)

    def set(self, channel: str, *, paused: bool) -> None:
        """Pause a channel, or let it go on. Blocks until the broker has kept that and told all. Any other thread.

        Raises `BrokerError`.
        """
        body = codec.write_document(codec.CONTROL, kind="pause", channel=channel, paused=paused)
        queue = topology.settings_queue(channel)
        problem = ask_io(self._io, functools.partial(self._keep, queue, body))
        if problem is None:
            problem = ask_io(self._io, lambda then: self._control.say("pause", then, channel=channel, paused=paused))
        if problem is not None:
            raise BrokerError(str(self._io.address), str(problem))

    def _keep(self, queue: topology.Queue, body: bytes, then: Callable[[Any], object]) -> None:
        def declared(problem: str | None) -> None:
            if problem is not None:
                then(problem)
                return
            self._io.publish(
                Parcel(
                    exchange="", key=queue.name, body=body, content_type=codec.CONTROL, message_id="pause", done=then
                )
            )

        self._io.with_session(lambda session: session.declare([], [queue], declared))

    def ask(self, channel: str) -> None:
        """Find out whether a channel is paused, before anything of it is served. Blocks. Any other thread.

        Raises `BrokerError`.
        """
        name = topology.settings_queue(channel).name
        delivery = ask_io(self._io, lambda then: self._io.with_session(lambda session: session.peek(name, then)))
        self._io.do(functools.partial(self._found, channel, delivery))

    def _told(self, said: dict[str, Any]) -> None:
        match said:
            case {"channel": str(channel), "paused": bool(paused)}:
                self._on_pause(channel, paused)

    def look(self, session: Session, channels: Iterable[str]) -> None:
        """Find out what was said of these channels while this process could not hear it."""
        for channel in channels:
            session.peek(topology.settings_queue(channel).name, functools.partial(self._found, channel))

    def _found(self, channel: str, delivery: Delivery | None) -> None:
        if delivery is None:
            return
        try:
            said = codec.read_document(delivery.body, codec.CONTROL)
        except DecodeError:
            return
        if said.get("channel") == channel:
            self._told(said)
