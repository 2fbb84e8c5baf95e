"""The serving side: takes from the broker what the local channels can start, and gives back what came of it.

The local channel is the book-keeper of this process's workers, as in an application without a broker; it retries,
blames and re-dispatches. The host sees to the rest: each request is acknowledged after its outcome has been confirmed,
and only then, so that the death of this process hands all that it held to others.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any

from .._engine import Port
from ..actors import _orders as orders
from ..actors.conversation import PAUSED
from ..actors.runtime import runtime
from ..messages.activities import Completed, WorkerCapacity
from ..messages.errors import (
    ActivityCancelled,
    BrokerError,
    BusError,
    ChannelLifecycleError,
    DecodeError,
    LimenError,
    NoWorkersAvailable,
)
from . import codec, topology
from ._credit import Worker
from ._intake import Intake
from ._ledger import Held, Ledger
from ._session import Session, Then
from .host_call import HostCall
from .io import BrokerIO
from .parcels import Delivery, Parcel, Unroutable
from .topology import Route

logger = logging.getLogger("limen")

_BATCH_BYTES = 1 << 18
_BATCH_COUNT = 500
"""How much is put into one message of outcomes at most."""

_FINAL = ("(402", "(403", "(404", "(405", "(406")
"""How that begins which the broker will say again. Source: AMQP 0-9-1, reply codes."""

START_S = 30.0
"""How long it may take until a worker can be given work."""

NOT_OURS = (NoWorkersAvailable, ChannelLifecycleError, BusError)
"""Ends that say something of this host and nothing of the request: another host may have it."""


class Host:
    """All that one process serves of one namespace. Its methods run on the I/O thread, unless they say otherwise."""

    def __init__(self, io: BrokerIO, namespace: str, process: str) -> None:
        self._io = io
        self._namespace = namespace
        self._process = process
        self._ledger = Ledger()
        self._intake = Intake(io, process, self._came, self._looked)
        self._ports: dict[str, Port] = {}
        """By channel."""
        self._outcomes: deque[tuple[Held, bytes]] = deque()
        self._is_flushing = False

    # --- what is served -----------------------------------------------------------------------------------------

    def serve(self, channel: str, port: Port) -> None:
        """Take from now on what the workers on a local channel can do. Blocks until it can come. Any other thread.

        Raises `BrokerError`.
        """
        if not self._ports:
            codec.warm_up()
        if channel not in self._ports:
            self._ports[channel] = port
            port.session.ask(orders.Watch(functools.partial(self._changed, channel)))
        deadline_s = runtime().now() + START_S
        while (problem := self._wait_ready(deadline_s - runtime().now())) is not None:
            if runtime().now() >= deadline_s or problem.startswith(_FINAL):
                raise BrokerError(str(self._io.address), problem)

    def _changed(self, channel: str, workers: dict[str, WorkerCapacity]) -> None:
        """Take note of the workers of a local channel. On its turn."""
        made = [
            Worker(channel, tuple(dict.fromkeys(each.activity_types)), each.max_concurrent) for each in workers.values()
        ]
        self._io.do(functools.partial(self._intake.serve, channel, made))

    def _wait_ready(self, timeout_s: float) -> str | None:
        self._io.wait_up(max(0.0, timeout_s))
        ready = runtime().create_queue()
        self._io.do(functools.partial(self._intake.when_ready, ready.put))
        try:
            problem: str | None = ready.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return f"its queues were not ready within {START_S:g} s"
        return problem

    def queues(self) -> list[topology.Queue]:
        """List the queues that are to be there."""
        return self._intake.queues()

    def up(self, session: Session, then: Then) -> None:
        """Begin to consume over a new connection. All queues are declared."""
        self._intake.up(session, then)

    def down(self) -> None:
        """The connection is gone, and with it the right to acknowledge."""
        self._intake.down()

    def add_lane(self, route: Route) -> None:
        """Somebody has made one more queue for a type."""
        self._intake.add_lane(route)

    def _looked(self) -> dict[Route, int]:
        """Tell what workers have been given, and count what pauses between two tries and so uses no slot."""
        parked: Counter[Route] = Counter()
        news: dict[str, list[list[Any]]] = defaultdict(list)
        for held in self._ledger.held.values():
            call = held.call
            if call is None or held.answered:
                continue
            if call.phase is PAUSED:
                parked[held.route] += 1
            if held.delivery.reply_to and (attempts := call.history()[held.told :]):
                news[held.delivery.reply_to] += [[call.id, *codec.write_attempt(each)] for each in attempts]
                held.told += len(attempts)
        for reply_to, begun in news.items():
            self._tell(reply_to, begun)
        return parked

    def _tell(self, reply_to: str, begun: list[list[Any]]) -> None:
        self._io.publish(
            Parcel(
                exchange="",
                key=reply_to,
                body=codec.write_document(codec.NEWS, host=self._process, begun=begun),
                content_type=codec.NEWS,
                message_id=f"news-{begun[0][0]}",
                persistent=False,
                mandatory=False,
            )
        )

    # --- requests -----------------------------------------------------------------------------------------------

    def _came(self, route: Route, delivery: Delivery) -> None:
        try:
            self._take(route, delivery)
        except (DecodeError, LimenError) as error:
            self._bury(route, delivery, str(error))
        except Exception as error:
            logger.exception("a request in %s could not be taken", route.key)
            self._bury(route, delivery, f"{type(error).__name__}")

    def _take(self, route: Route, delivery: Delivery) -> None:
        limit = self._io.address.max_size
        if len(delivery.body) > limit:
            raise DecodeError("", f"has {len(delivery.body)} bytes; {limit} are allowed")
        message, treatment = codec.read_request(delivery.body, delivery.headers)
        if message.request.activity_type != route.activity_type:
            raise DecodeError("request.activity_type", f"is not what queue {route.key} is for")
        name = f"{message.conversation_id}/{treatment.generation}"
        held = self._ledger.take(name, route, delivery)
        if held is None:
            if self._ledger.is_spare(name, delivery):
                self._intake.acknowledge(route, delivery)
            return
        if message.conversation_id in self._ledger.cancelled:
            self._ledger.settle(held)
            self._intake.acknowledge(route, delivery)
            return
        port = self._ports[route.channel]
        call = held.call = HostCall(message, treatment, port)
        call.reply.add_done_callback(functools.partial(self._answered, held))
        port.session.submit(call)

    def cancel_here(self, conversation_id: str) -> None:
        """Do as `cancel` does for what has come, if it has. Any thread; never blocks."""
        held = self._ledger.held.get(f"{conversation_id}/0")
        call = held.call if held is not None else None
        if call is not None:
            call.channel.session.notice(orders.Cancel(call))

    def cancel(self, ids: Iterable[str]) -> None:
        """Nobody waits for these any more: those that wait never start, those that run are called off."""
        wanted = set(ids)
        for each in wanted:
            self._ledger.cancelled.add(each)
        for held in list(self._ledger.held.values()):
            call = held.call
            if call is not None and call.id in wanted:
                call.channel.session.notice(orders.Cancel(call))

    def _bury(self, route: Route, delivery: Delivery, reason: str) -> None:
        """Put what cannot be a request among the dead letters, as it is."""
        logger.warning("a message in %s is not a request, and goes to the dead letters: %s", route.key, reason)
        self._io.publish(
            Parcel(
                exchange=topology.DEAD,
                key=topology.short(route.channel),
                body=delivery.body,
                content_type=delivery.content_type,
                message_id=delivery.message_id or f"{self._process}-{delivery.session}-{delivery.tag}",
                type=delivery.type,
                reply_to=delivery.reply_to,
                headers={"limen-reason": reason[:1000], "limen-queue": route.key},
                done=lambda problem: self._intake.acknowledge(route, delivery) if problem is None else None,
            )
        )

    # --- outcomes -----------------------------------------------------------------------------------------------

    def _answered(self, held: Held) -> None:
        """Take an outcome. On whatever thread brings it; never blocks."""
        call: HostCall = held.call
        result: Completed | BaseException
        try:
            result = call.reply.get(timeout=0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the outcome
            result = error
        if isinstance(result, ActivityCancelled):
            self._io.do(functools.partial(self._drop, held))
        elif isinstance(result, NOT_OURS):
            self._io.do(functools.partial(self._send_back, held, str(result)))
        else:
            self._outcomes.append((held, _written(call, result)))
            if not self._is_flushing:
                self._is_flushing = True
                self._io.do(self._flush)

    def _flush(self) -> None:
        """Send what has come together: one message for each asker, or a few."""
        self._is_flushing = False
        batches: dict[str, list[tuple[Held, bytes]]] = defaultdict(list)
        while self._outcomes:
            held, outcome = self._outcomes.popleft()
            held.answered = True
            batch = batches[held.delivery.reply_to or ""]
            batch.append((held, outcome))
            if len(batch) >= _BATCH_COUNT or sum(len(each) for _, each in batch) > _BATCH_BYTES:
                self._send(held.delivery.reply_to or "", batches.pop(held.delivery.reply_to or ""))
        for reply_to, batch in batches.items():
            self._send(reply_to, batch)

    def _send(self, reply_to: str, batch: list[tuple[Held, bytes]]) -> None:
        if not reply_to:
            self._keep(batch)
            return
        self._io.publish(
            Parcel(
                exchange="",
                key=reply_to,
                body=codec.join_outcomes(self._process, [outcome for _, outcome in batch]),
                content_type=codec.OUTCOMES,
                message_id=f"outcomes-{batch[0][0].name}",
                done=functools.partial(self._sent, batch),
            )
        )

    def _sent(self, batch: list[tuple[Held, bytes]], problem: LimenError | None) -> None:
        if problem is None:
            for held, _ in batch:
                self._drop(held)
        elif isinstance(problem, Unroutable):
            self._keep(batch)

    def _keep(self, batch: list[tuple[Held, bytes]]) -> None:
        """Put outcomes whose asker is gone where he may find them when he is back: each for itself."""
        for held, outcome in batch:
            self._io.publish(
                Parcel(
                    exchange=topology.RESULTS,
                    key=topology.short(self._namespace),
                    body=codec.join_outcomes(self._process, [outcome]),
                    content_type=codec.OUTCOMES,
                    message_id=f"result-{held.name}",
                    correlation_id=held.call.id,
                    type=held.call.activity_type,
                    done=functools.partial(self._kept, held),
                )
            )

    def _kept(self, held: Held, problem: LimenError | None) -> None:
        if problem is None or isinstance(problem, Unroutable):
            self._drop(held)

    def _drop(self, held: Held) -> None:
        """It is over: let the broker forget it."""
        self._ledger.settle(held)
        self._intake.acknowledge(held.route, held.delivery)

    def _send_back(self, held: Held, why: str) -> None:
        """Put a request that cannot be served here back into its queue, as a new message."""
        delivery = held.delivery
        self._io.publish(
            Parcel(
                exchange=topology.DISPATCH,
                key=delivery.queue,
                body=delivery.body,
                content_type=delivery.content_type,
                message_id=delivery.message_id or held.name,
                type=delivery.type,
                reply_to=delivery.reply_to,
                headers={name: value for name, value in delivery.headers.items() if not name.startswith("x-")},
                done=functools.partial(self._returned, held),
            )
        )
        logger.info("a request goes back to %s: %s", delivery.queue, why)

    def _returned(self, held: Held, problem: LimenError | None) -> None:
        if problem is not None:  # it stays ours, and unacknowledged: the end of this connection gives it to others
            return
        self._ledger.give_back(held)
        self._intake.acknowledge(held.route, held.delivery)

    # --- the end ------------------------------------------------------------------------------------------------

    def stop(self, timeout_s: float) -> None:
        """Take nothing more. Any thread but the I/O thread; blocks at most so long."""
        over = threading.Event()
        self._io.do(functools.partial(self._intake.stop, over.set))
        over.wait(timeout_s)


def _written(call: HostCall, result: Completed | BaseException) -> bytes:
    attempts = call.history()
    outcome = codec.Outcome(
        conversation_id=call.id,
        worker_id=attempts[-1].worker_id if attempts else "none",
        result=result,
        attempts=attempts,
        errors=call.errors,
        crashes=call.crashes,
    )
    return codec.write_outcome(outcome)
