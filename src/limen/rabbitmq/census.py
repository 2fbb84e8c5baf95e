"""Who is there: the hosts of a namespace, what each serves, and what its workers are doing now.

Each host says that it is there when it connects and when what it serves changes, and answers whoever asks. A host that
has died has no queue any more in which it could be asked: the broker says so at once, so no time-out has to. A host
that hangs is shown as it was when it last answered.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from pykka import Timeout

from .._structure import structure
from ..actors.runtime import offer, runtime
from ..messages.errors import BrokerError, LimenError
from ..messages.pool import HostedRow, PoolRow, QueueRow, TypeRow
from .control import Control
from .io import BrokerIO
from .parcels import Done, Unroutable

LISTEN_S = 0.15
"""How long hosts have to answer when it is not known yet which there are."""

ANSWER_S = 1.0
"""How long a host has to answer that is known to be there."""

REMIND_S = 0.02
"""After so long who has not answered is asked again, and then after twice as long, and so on."""

UNBOUND = 2**63 - 1

Report = tuple[list[PoolRow], QueueRow]
"""The workers of one host on one channel, and the channel as a queue."""

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


@attrs.define(eq=False)
class _Inquiry:
    channel: str
    reply: Any
    waiting: set[str] = attrs.field(factory=set)
    """Who has not answered yet."""
    answers: dict[str, Report] = attrs.field(factory=dict)


class Census:
    """What one process knows of the hosts, itself among them. Runs on the I/O thread, but for `reports`."""

    def __init__(self, io: BrokerIO, control: Control, process: str, look: Look) -> None:
        self._io = io
        self._control = control
        self._process = process
        self._look = look
        self._serves: dict[str, list[str]] = {}
        self._hosts: dict[str, _Host] = {}
        self._is_complete = False
        """Whether all hosts have had the time to say that they are there."""
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
        self._is_complete = False
        self._control.say("who", to=self._control.address)
        self._io.later(LISTEN_S, self._has_listened)
        if self._serves:
            self._control.say("host", **self._self())

    def _has_listened(self) -> None:
        self._is_complete = True

    def serve(self, kinds: Mapping[str, Iterable[str]]) -> None:
        """Say what this process serves from now on: activity types by channel."""
        serves = {channel: sorted(types) for channel, types in kinds.items()}
        if serves != self._serves:
            self._serves = serves
            if self._control.address:
                self._control.say("host", **self._self())

    def say(self, then: Done) -> None:
        """Say once more what this process serves; `then` is called when all who ask from then on will know."""
        self._control.say("host", then, **self._self())

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
        self._io.do(functools.partial(self._begin, _Inquiry(channel, reply)))
        try:
            found: dict[str, tuple[Report, bool]] = reply.get(timeout=2 * ANSWER_S + LISTEN_S)
        except Timeout:
            raise BrokerError(str(self._io.address), "it did not carry the question who is there") from None
        return found

    def _begin(self, inquiry: _Inquiry) -> None:
        self._number += 1
        number = self._number
        self._inquiries[number] = inquiry
        self._io.later(LISTEN_S + ANSWER_S, functools.partial(self._end, number))
        if self._is_complete:
            self._catch_up(number)
        else:
            self._io.later(LISTEN_S, functools.partial(self._catch_up, number))

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


def rows_of(reports: dict[str, tuple[Report, bool]]) -> list[PoolRow]:
    """Give the workers of all hosts in the order in which they came."""
    rows = [
        HostedRow(**attrs.asdict(row, recurse=False), host=name, is_stale=not is_now)
        for name, ((rows, _), is_now) in reports.items()
        for row in rows
    ]
    return sorted(rows, key=lambda row: row.since_s)


def merged(channel: str, rows: Iterable[QueueRow], lying: dict[str, int]) -> QueueRow:
    """Show the queues of all hosts, and what lies in the broker, as one. The broker bounds nothing by itself."""
    waiting: Counter[str] = Counter(lying)
    running: Counter[str] = Counter()
    limits: dict[str, Any] = {}
    paused = False
    for row in rows:
        paused = paused or row.paused
        for each in row.types:
            waiting[each.activity_type] += each.waiting
            running[each.activity_type] += each.running
            limits.setdefault(each.activity_type, each.limit)
    kinds = sorted({*+waiting, *+running, *(kind for kind, limit in limits.items() if limit is not None)})
    return QueueRow(
        channel_name=channel,
        paused=paused,
        waiting=waiting.total(),
        running=running.total(),
        bound=UNBOUND,
        types=tuple(
            TypeRow(activity_type=kind, waiting=waiting[kind], running=running[kind], limit=limits.get(kind))
            for kind in kinds
        ),
    )


def report_to_plain(report: Report) -> dict[str, Any]:
    """Write it. Instants become ages: no two machines' clocks agree."""
    rows, queue = report
    now_s = runtime().now()
    plain = [attrs.asdict(row, recurse=False) for row in rows]
    for each in plain:
        each["since_s"] = now_s - each["since_s"]
    return {"rows": plain, "queue": attrs.asdict(queue)}


def report_from_plain(said: dict[str, Any]) -> Report:
    """Ages become instants of this machine's clock. Raises what comes of reading something else."""
    now_s = runtime().now()
    rows = [structure(_known(PoolRow, each), PoolRow) for each in said["rows"]]
    queue = structure(_known(QueueRow, said["queue"]), QueueRow)
    return [attrs.evolve(row, since_s=now_s - row.since_s) for row in rows], queue


def _known(kind: Any, value: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a later version says."""
    return {field.name: value[field.name] for field in attrs.fields(kind) if field.name in value}


def _ignore(_: object) -> None:
    """Be a callback."""
