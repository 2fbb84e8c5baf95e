"""`RabbitEngine`: work carried between machines by RabbitMQ."""

from __future__ import annotations

import functools
import logging
import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from .._call import Call
from .._engine import EmbeddedEngine, Port
from .._workers import ExecutorKind
from ..activity import Activity
from ..actors import _orders as orders
from ..actors._views import rows_of
from ..actors.attempt import Handler
from ..actors.context import WorkerContext
from ..actors.conversation import Conversation
from ..actors.recorder import Recorder
from ..actors.registration import WorkerRegistration
from ..actors.runtime import runtime
from ..messages.activities import WorkerCapacity
from ..messages.drain import DrainReport, Fate, Unfinished, Waiting
from ..messages.errors import BrokerError, ChannelLifecycleError
from ..messages.grace import Grace
from ..messages.pool import PoolRow
from . import topology
from ._session import Session
from .census import Census
from .collecting import Collected, Collecting
from .control import Control
from .desk import Desk
from .handlers import handlers_for
from .host import Host
from .io import BrokerIO
from .operations import Operations
from .pausing import Pausing
from .port import RabbitPort
from .reports import Report
from .requester import Asked, Requester, name_of_call
from .sharing import Sharing
from .topology import Lane, Route
from .url import Address

logger = logging.getLogger("limen")

_EXCHANGES = [(each, "direct") for each in (topology.DISPATCH, topology.DEAD, topology.RESULTS, topology.CONTROL)]


_STOP_S = 2.0
"""How long it may take until the broker has heard that this process takes no more."""

_HURRIED_S = 1.0


class RabbitEngine:
    """One process of many that share a broker: asks, serves, or both. Connects with the first use."""

    def __init__(
        self,
        address: Address,
        namespace: str,
        context: WorkerContext | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._namespace = namespace
        self._local = EmbeddedEngine(namespace, context)
        self._process = _name_of_process()
        self._io = BrokerIO(address, self._process, self._up, self._down)
        self._desk = Desk(self._process)
        self._control = Control(self._io, namespace, self._process)
        self._control.on("cancel", self._told_of_cancel)
        self._control.on("lane", self._told_of_lane)
        self._control.on("news", lambda _: self._host.tell_news())
        self._pausing = Pausing(self._io, self._control, self._told_of_pause)
        self._census = Census(self._io, self._control, self._process, topology.hosts_queue(namespace), self._look)
        self._requester = Requester(
            self._io, self._control, self._census, self._desk, topology.reply_queue(namespace, self._process)
        )
        self._sharing = Sharing(self._requester.submit, self._requester.give_up, self._requester.limits.arm)
        self._collecting = Collecting(self._io, self._desk, self._requester, namespace)
        self._host = Host(
            self._io,
            namespace,
            self._process,
            announce_lane=self._requester.ways.announce,
            census=self._census,
            learn=self._pausing.ask,
        )
        self._operations = Operations(
            self._io,
            namespace,
            census=self._census,
            pausing=self._pausing,
            requester=self._requester,
            recorder=recorder,
        )
        self._lock = runtime().create_lock()
        self._is_closing = False
        self._local_closes = runtime().create_event()
        """Set when it has come to the end of the workers here, so that others may hurry that."""
        self._over = runtime().create_event()
        self._report = DrainReport(is_over=False)

    def __repr__(self) -> str:
        """Say where the broker is, without credentials."""
        return f"<RabbitEngine {self._io.address}>"

    # --- the face's side ----------------------------------------------------------------------------------------

    def handlers(self, activities: Sequence[Activity[..., Any]], kind: ExecutorKind) -> dict[str, Handler]:
        """Make handlers that read and write JSON where the activity runs."""
        return handlers_for(activities, kind, self._io.address.max_size)

    def register(
        self, queue: str, capacity: WorkerCapacity, handlers: dict[str, Handler], kind: ExecutorKind, grace: Grace
    ) -> WorkerRegistration:
        """Start a worker here and have the broker send it work. Raises `ChannelLifecycleError` if it cannot."""
        channel = topology.channel_of(self._namespace, queue)
        registration = self._local.register(queue, capacity, handlers, kind, grace)
        try:
            self._host.serve(channel, self._local.port(queue), registration.worker_id, kind)
        except BrokerError as error:
            registration.unregister()
            raise ChannelLifecycleError(channel, str(error)) from error
        return registration

    def pool(self, queue: str) -> list[PoolRow]:
        """List the workers of all hosts. Blocks for a moment. Raises `ChannelLifecycleError`."""
        return self._operations.pool(topology.channel_of(self._namespace, queue))

    def queues(self) -> list[str]:
        """Name the queues that somebody serves, or that requests may lie in. Blocks for a moment.

        Raises `ChannelLifecycleError`.
        """
        return [channel.rpartition(".")[2] for channel in self._operations.channels()]

    def leave(self, call: Asked, timeout_s: float) -> bool:
        """Wait until the broker has a request, and no longer; `False` if it has an outcome already.

        Whoever is to have its result must collect it. Raises `BrokerError` when the time is up.
        """
        return self._requester.leave(call, timeout_s)

    def port(self, queue: str) -> Port:
        """Give the way to the broker for one queue."""
        return RabbitPort(self, self._operations, topology.channel_of(self._namespace, queue), self._local.port(queue))

    def collect(self, queue: str, activity: Activity[..., Any], key: str, timeout_s: float) -> Conversation:
        """Look for the result of work that was asked for before, perhaps by a process that is gone."""
        channel = topology.channel_of(self._namespace, queue)
        call = Collected(activity, channel, key, timeout_s)
        call.channel = self.port(queue)
        self._collecting.collect(call, channel)
        return call

    def close(self, timeout: float, *, drain: float, waiting: Waiting) -> DrainReport:
        """Take no more, carry to its end what there is time for, hand the rest back to the broker, and leave."""
        with self._lock:
            is_first, self._is_closing = not self._is_closing, True
        if is_first:
            try:
                self._report = self._end(timeout, drain, waiting)
            finally:
                self._over.set()
        else:
            self._requester.hurry(runtime().now() + drain)
            self._local_closes.wait(drain + timeout)
            self._local.close(timeout, drain=drain, waiting=waiting)
            self._over.wait(drain + timeout)
        return self._report

    def _end(self, timeout_s: float, drain_s: float, waiting: Waiting) -> DrainReport:
        now, began_s = runtime().now, runtime().now()
        left: tuple[Unfinished, ...] = ()
        try:
            self._requester.learn(self._host.find, self._process)
            if drain_s > 0:
                left = self._requester.wind_down(run_waiting=waiting == "run")
            if waiting == "run":  # perhaps here: nobody else may be there
                self._requester.wait_quiet(began_s + drain_s)
            self._host.stop(min(timeout_s, _STOP_S))
            self._local_closes.set()
            report = self._local.close(timeout_s, drain=max(0.0, began_s + drain_s - now()), waiting=waiting)
            self._requester.wait_quiet(began_s + drain_s)
        except BaseException:
            timeout_s = min(timeout_s, _HURRIED_S)
            raise
        finally:
            left += self._requester.close()
            ends_s = now() + timeout_s
            self._host.leave(timeout_s)
            self._io.close(max(0.0, ends_s - now()))
            self._desk.close(timeout_s)
        ours = {each.conversation_id for each in left}
        held = [attrs.evolve(each, fate=Fate.HANDED_ON) for each in report.unfinished]
        return DrainReport(
            unfinished=(*left, *(each for each in held if each.conversation_id not in ours)), took_s=now() - began_s
        )

    # --- the broker's side: on the I/O thread -------------------------------------------------------------------

    def _up(self, session: Session) -> None:
        """Set all up on a new connection: declare, consume what others send us, and then begin."""
        queues = [
            self._requester.replies,
            topology.results_queue(self._namespace),
            topology.hosts_queue(self._namespace),
            self._control.queue(session),
            *self._host.queues(),
        ]
        broken = functools.partial(self._io.broken, session)

        def declared() -> None:
            self._control.up(session, go_on(asks))

        def asks() -> None:
            self._requester.up(session, go_on(serves))

        def serves() -> None:
            self._host.up(session, go_on(is_up))

        def is_up() -> None:
            self._io.opened(session)
            self._collecting.up(session)
            self._census.up()
            self._pausing.look(session, self._host.served())

        def go_on(step: Any) -> Any:
            return lambda problem: step() if problem is None else broken(problem)

        session.declare(_EXCHANGES, queues, go_on(declared))

    def _down(self) -> None:
        self._requester.down()
        self._collecting.down()
        self._host.down()

    def _told_of_cancel(self, said: dict[str, Any]) -> None:
        match said:
            case {"names": [*names]}:
                self._host.cancel(each for each in names if isinstance(each, str))

    def _told_of_pause(self, channel: str, paused: bool) -> None:  # noqa: FBT001 - told by name and value
        self._host.pause(channel, paused=paused)

    def _told_of_lane(self, said: dict[str, Any]) -> None:
        match said:
            case {"channel": str(channel), "activity_type": str(kind), "lane": str(lane)} if lane in set(Lane):
                self._host.add_lane(Route(channel, kind, Lane(lane)))

    def _look(self, channel: str, then: Callable[[Report], object]) -> None:
        """Look at a local channel without waiting for it."""
        local = self._host.port(channel)
        if local is None:
            return
        ref = local.session.ref()  # type: ignore[attr-defined]  # a local port is a channel
        rows = ref.ask(orders.Snapshot(rows_of), block=False)
        queue = ref.ask(orders.ShowQueue(), block=False)
        queue.add_done_callback(lambda: then((rows.get(timeout=0), queue.get(timeout=0))))

    # --- for the ports ------------------------------------------------------------------------------------------

    def submit(self, call: Call, channel: str) -> None:
        """Send a request to the broker, or join it to one of the same key."""
        (self._requester.submit if call.key is None else self._sharing.submit)(call, channel)

    def cancel(self, calls: Sequence[Asked]) -> None:
        """Give calls up; those that are in this process, with no way in between."""
        alone = [each for each in calls if each.follows is None]
        self._host.cancel(map(name_of_call, alone))
        for each in calls:
            if each.follows is not None:
                self._sharing.cancel(each)
        self._requester.cancel_all(alone)

    def remember(self, channel: str, keys: int | None, ttl_s: float | None) -> None:
        """Remember so many ends of keyed work, for so long."""
        self._sharing.remember(channel, keys, ttl_s)


def _name_of_process() -> str:
    """Give a name that tells people where it is, and is like no other's."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])[:40]
    return f"{host}-{os.getpid()}-{runtime().new_id()[:8]}"
