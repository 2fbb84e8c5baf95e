"""Who is there: the hosts of a namespace, what each serves, and what its workers are doing now.

Each host says that it is there when it connects and when what it serves changes, and answers whoever asks. The broker
counts them: each consumes from one queue, in which nothing ever lies. A host that has died has no queue any more in
which it could be asked: the broker says so at once, so no time-out has to. A host that hangs is shown as it was when it
last answered.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from pykka import Timeout

from .._structure import structure
from ..actors.runtime import offer, runtime
from ..messages.errors import BrokerError, LimenError
from ._session import Session
from .control import Control
from .io import BrokerIO
from .parcels import Done, Unroutable
from .reports import Report, report_from_plain, report_to_plain
from .topology import Queue

logger = logging.getLogger("limen")

WHO_S = 1.0
"""How long hosts have to say that they are there, when the broker counts more than have."""

ANSWER_S = 1.0
"""How long a host has to answer that is known to be there."""

REMIND_S = 0.02
"""After so long who has not answered is asked again, and then after twice as long, and so on."""

Look = Callable[[str, Callable[[Report], object]], object]
"""Looks at a channel of this process, and gives what it sees to a function, on any thread."""


@attrs.define(eq=False)
class _Host:
    name: str
    address: str
    serves: dict[str, tuple[str, ...]]
    """Activity types by channel."""
    last: dict[str, Report] = attrs.field(factory=dict)
    """What it answered last, by channel."""
    is_news: bool = True
    """Whether it has said that on this connection."""


@attrs.define(eq=False)
class _Inquiry:
    channel: str
    reply: Any
    gives_up_s: float
    """When to do without those who have not said that they are there."""
    waiting: set[str] = attrs.field(factory=set)
    """Who has not answered yet."""
    answers: dict[str, Report] = attrs.field(factory=dict)


class Census:
    """What one process knows of the hosts, itself among them. Runs on the I/O thread, but for `reports`."""

    def __init__(self, io: BrokerIO, control: Control, process: str, presence: Queue, look: Look) -> None:
        self._io = io
        self._control = control
        self._process = process
        self._presence = presence
        """Where each host has a consumer, so that the broker counts them."""
        self._consumer: str | None = None
        """The tag of this process's."""
        self._is_there = False
        """Whether the broker has said that it has it."""
        self._appearing: list[Callable[[], object]] = []
        self._consumers = 0
        self._look = look
        self._serves: dict[str, list[str]] = {}
        self._hosts: dict[str, _Host] = {}
        self._inquiries: dict[int, _Inquiry] = {}
        self._number = 0
        control.on("who", self._asked_who)
        control.on("host", self._heard_of)
        control.on("ask", self._ask)
        control.on("look", self._asked_to_look)
        control.on("seen", self._answered)

    # --- being there --------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Say that this process is there, on a new connection, and ask who else is. What others said was not heard."""
        for host in self._hosts.values():
            host.is_news = False
        self._consumer, self._is_there = None, False
        self._control.say("who", to=self._control.address)
        self._appear(self._say_so)

    def _say_so(self) -> None:
        if self._serves:
            self._control.say("host", **self._self())

    def _appear(self, then: Callable[[], object]) -> None:
        """Be counted, or be counted no more; `then` is called when that is so."""
        self._appearing.append(then)
        if not self._serves:
            self._vanish()
        elif self._consumer is None:
            self._io.with_session(self._consume)
        elif self._is_there:
            self._appeared(None)

    def _consume(self, session: Session) -> None:
        self._consumers += 1
        self._consumer = f"{self._process}.{session.number}.{self._consumers}"
        lost = functools.partial(self._io.broken, session, "the queue of hosts was deleted")
        session.consume(
            self._presence.name,
            self._consumer,
            1,
            lambda delivery: session.acknowledge(delivery.tag),
            on_lost=lost,
            then=self._appeared,
        )

    def _vanish(self) -> None:
        tag, self._consumer, self._is_there = self._consumer, None, False
        if tag is not None:
            self._io.with_session(lambda session: session.cancel(tag, _ignore))
        self._told_all()

    def _appeared(self, _: object) -> None:
        self._is_there = self._consumer is not None
        self._told_all()

    def _told_all(self) -> None:
        waiting, self._appearing = self._appearing, []
        for then in waiting:
            then()

    def serve(self, kinds: Mapping[str, Iterable[str]]) -> None:
        """Say what this process serves from now on: activity types by channel."""
        serves = {channel: sorted(types) for channel, types in kinds.items()}
        if serves != self._serves:
            self._serves = serves
            if self._control.address:
                self._appear(functools.partial(self._control.say, "host", **self._self()))

    def say(self, then: Done) -> None:
        """Say once more what this process serves; `then` is called when all who ask from then on will know."""
        self._appear(lambda: self._control.say("host", then, **self._self()))

    def _self(self) -> dict[str, Any]:
        return {"host": self._process, "at": self._control.address, "serves": self._serves}

    def _asked_who(self, said: dict[str, Any]) -> None:
        if self._serves:
            self._control.tell(str(said.get("to")), "host", _ignore, **self._self())

    def _asked_to_look(self, said: dict[str, Any]) -> None:
        to, channel, number = str(said.get("to")), str(said.get("channel")), said.get("number")

        def answer(report: Report) -> None:
            fields = {"host": self._process, "number": number} | report_to_plain(report)
            self._io.do(functools.partial(self._control.tell, to, "seen", _ignore, **fields))

        if channel in self._serves:
            self._look(channel, answer)

    # --- knowing others -----------------------------------------------------------------------------------------

    def _heard_of(self, said: dict[str, Any]) -> None:
        match said:
            case {"host": str(name), "at": str(address), "serves": dict(serves)}:
                known = self._hosts.get(name)
                last = known.last if known is not None else {}
                self._hosts[name] = _Host(name, address, structure(serves, dict[str, tuple[str, ...]]), last)

    def kinds(self, channel: str) -> tuple[str, ...]:
        """Name the activity types that are served on a channel, as far as it is known. Any thread."""
        kinds = {kind for host in list(self._hosts.values()) for kind in host.serves.get(channel, ())}
        return tuple(sorted(kinds))

    def channels(self) -> list[str]:
        """Name the channels of all hosts. Blocks for a moment. Raises `BrokerError`.

        On any thread but the I/O thread.
        """
        self._ask_all("")
        return sorted({channel for host in list(self._hosts.values()) for channel in host.serves})

    def reports(self, channel: str) -> dict[str, tuple[Report, bool]]:
        """Ask all hosts of a channel; give what each says, and whether it said so now. Blocks for a moment.

        On any thread but the I/O thread. Raises `BrokerError`.
        """
        return self._ask_all(channel)

    def _ask_all(self, channel: str) -> dict[str, tuple[Report, bool]]:
        self._io.wait_up(ANSWER_S)
        reply = runtime().create_future()
        self._io.do(functools.partial(self._begin, _Inquiry(channel, reply, runtime().now() + WHO_S)))
        try:
            found: dict[str, tuple[Report, bool]] = reply.get(timeout=2 * ANSWER_S + WHO_S)
        except Timeout:
            raise BrokerError(str(self._io.address), "it did not carry the question who is there") from None
        return found

    def _begin(self, inquiry: _Inquiry) -> None:
        self._number += 1
        number = self._number
        self._inquiries[number] = inquiry
        self._io.later(WHO_S + ANSWER_S, functools.partial(self._end, number))
        self._count(number)

    def _count(self, number: int) -> None:
        """Have the broker count the hosts."""
        counted = functools.partial(self._counted, number)
        self._io.with_session(lambda session: session.look(self._presence.name, counted))

    def _counted(self, number: int, consumers: int | None, _: int) -> None:
        inquiry = self._inquiries.get(number)
        if inquiry is None:
            return
        missing = (consumers or 0) - sum(host.is_news and bool(host.serves) for host in self._hosts.values())
        if missing <= 0:
            self._catch_up(number)
        elif runtime().now() < inquiry.gives_up_s:
            self._io.later(REMIND_S, functools.partial(self._count, number))
        else:
            logger.warning("%d hosts have not said what they serve: they hang, or are cut off", missing)
            self._catch_up(number)

    def _catch_up(self, number: int) -> None:
        """Hear first what was said before the question: it comes before what this process says to itself now."""
        self._control.tell(self._control.address, "ask", _ignore, number=number)

    def _ask(self, said: dict[str, Any]) -> None:
        number = said.get("number")
        inquiry = self._inquiries.get(number) if isinstance(number, int) else None
        if inquiry is None or not isinstance(number, int):
            return
        hosts = [host for host in self._hosts.values() if inquiry.channel in host.serves]
        inquiry.waiting = {host.name for host in hosts}
        self._remind(number, REMIND_S)
        self._perhaps_end(number)

    def _remind(self, number: int, pause_s: float) -> None:
        """Ask those who have not answered: again and again, for one may have died with the question in hand."""
        inquiry = self._inquiries.get(number)
        if inquiry is None or not inquiry.waiting:
            return
        for host in [self._hosts[name] for name in inquiry.waiting if name in self._hosts]:
            there = functools.partial(self._reached, number, host)
            fields = {"channel": inquiry.channel, "number": number, "to": self._control.address}
            self._control.tell(host.address, "look", there, **fields)
        self._io.later(pause_s, functools.partial(self._remind, number, 2 * pause_s))

    def _reached(self, number: int, host: _Host, problem: LimenError | None) -> None:
        if not isinstance(problem, Unroutable):
            return
        if self._hosts.get(host.name) is host:
            del self._hosts[host.name]
        if number in self._inquiries and host.name not in self._hosts:
            self._inquiries[number].waiting.discard(host.name)
            self._perhaps_end(number)

    def _answered(self, said: dict[str, Any]) -> None:
        number, name = said.get("number"), said.get("host")
        inquiry = self._inquiries.get(number) if isinstance(number, int) else None
        if inquiry is None or not isinstance(name, str) or name not in self._hosts:
            return
        report = self._hosts[name].last[inquiry.channel] = report_from_plain(said)
        inquiry.answers[name] = report
        inquiry.waiting.discard(name)
        self._perhaps_end(number)  # type: ignore[arg-type]  # it found an inquiry

    def _perhaps_end(self, number: int) -> None:
        if not self._inquiries[number].waiting:
            self._end(number)

    def _end(self, number: int) -> None:
        inquiry = self._inquiries.pop(number, None)
        if inquiry is None:
            return
        found = {name: (report, True) for name, report in inquiry.answers.items()}
        for name in inquiry.waiting:
            host = self._hosts.get(name)
            if host is not None and inquiry.channel in host.last:
                found[name] = (host.last[inquiry.channel], False)
        offer(inquiry.reply, found)


def _ignore(_: object) -> None:
    """Be a callback."""
