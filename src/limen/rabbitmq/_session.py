"""One connection's time: two channels, what is declared, consumed and acknowledged on them.

Everything here runs on the I/O thread, and never blocks. What fails on a channel of its own fails alone; what fails on
the two that live as long as the connection ends the connection, and the next one begins afresh.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pika import BasicProperties
from pika.channel import Channel
from pika.spec import Basic

from ._frames import acknowledgement, publication
from ._receipts import Receipts
from .codec import CONTROL, write_document
from .parcels import Delivery, Parcel
from .topology import Queue, channels_queue, namespace_of, types_queue

logger = logging.getLogger("limen")

_Properties: Any = BasicProperties
"""Its constructor has no types."""

OnDelivery = Callable[[Delivery], object]
Then = Callable[[str | None], object]
"""Called with nothing when all went well, else with what the broker said."""

_QUIET_S = 0.05
"""After so long without another message, all that were counted being there, a look is over."""

_PATIENT_S = 0.5
"""After so long it is over even if more were counted."""

CUT_OFF = "the connection was lost"


class Session:
    """What may be done while one connection lasts."""

    def __init__(
        self, number: int, connection: Any, on_confirm: Callable[[Any], None], fail: Callable[[str], object]
    ) -> None:
        self.number = number
        self.alive = True
        self.blocked: str | None = None
        """Why the broker reads nothing from us now."""
        self._connection = connection
        self._on_confirm = on_confirm
        self._fail = fail
        self._out: Any = None
        self._work: Any = None
        self._cancelling: dict[str, Then] = {}
        self._asides = itertools.count(1)
        self._pending: dict[int, Then] = {}
        self._consumers: dict[str, Callable[[], object]] = {}
        self._most = 0
        """How many bytes of a body one frame may have."""
        self._written: list[bytes] = []
        """What is to leave together."""
        self._receipts = Receipts()

    # --- opening ------------------------------------------------------------------------------------------------

    def open(self, on_return: Callable[[str | None, str, str], None], then: Callable[[], object]) -> None:
        """Open the two channels."""

        def out_is_open(channel: Channel) -> None:
            self._out = channel
            # There is no public way, here and below, and a test watches over each.
            self._most = self._connection._get_body_frame_max_length()  # noqa: SLF001 - as said
            channel.add_on_close_callback(self._closed)
            channel.add_on_return_callback(came_back)
            channel.confirm_delivery(
                self._on_confirm, callback=lambda _: self._connection.channel(on_open_callback=work)
            )

        def came_back(_: Channel, method: Any, properties: BasicProperties, __: bytes) -> None:
            on_return(properties.message_id, method.exchange, method.routing_key)

        def work(channel: Channel) -> None:
            self._work = channel
            channel.add_on_close_callback(self._closed)
            channel.add_on_cancel_callback(self._cancelled_by_broker)
            channel.add_callback(self._cancel_done, [Basic.CancelOk], one_shot=False)
            then()

        self._connection.channel(on_open_callback=out_is_open)

    def _closed(self, channel: Channel, reason: Exception) -> None:
        if self.alive:
            self._fail(f"channel {channel.channel_number} was closed: {reason}")

    def ended(self) -> None:
        """Take note that the connection is gone."""
        self.alive = False
        for then in [*self._pending.values(), *self._cancelling.values()]:
            then(CUT_OFF)
        self._pending.clear()
        self._cancelling.clear()

    # --- declaring ----------------------------------------------------------------------------------------------

    def declare(self, exchanges: Sequence[tuple[str, str]], queues: Sequence[Queue], then: Then) -> None:
        """Make sure that exchanges (name, type) and queues are there, and each queue bound.

        Those that are to be noted are, before they are made: one that is noted and not there does no harm.
        """
        noted = [each for each in queues if each.noted is not None]
        self._missing(noted, lambda missing: self._make(exchanges, queues, missing, then))

    def _missing(self, queues: Sequence[Queue], then: Callable[[list[Queue]], object]) -> None:
        """Find out which are not there yet."""
        missing: list[Queue] = []
        left = len(queues)

        def looked(queue: Queue, consumers: int | None, _: int) -> None:
            nonlocal left
            left -= 1
            if consumers is None:
                missing.append(queue)
            if not left:
                then(missing)

        for each in queues:
            self.look(each.name, functools.partial(looked, each))
        if not queues:
            then(missing)

    def _make(
        self, exchanges: Sequence[tuple[str, str]], queues: Sequence[Queue], missing: Sequence[Queue], then: Then
    ) -> None:
        if not self.alive:
            then(CUT_OFF)
            return

        def steps(channel: Channel, done: Callable[[Any], object]) -> None:
            calls: list[Callable[[Any], object]] = [
                *(_exchange(channel, name, kind) for name, kind in exchanges),
                *(step for queue in missing for step in _note(channel, queue)),
                *(each for queue in queues for each in _queue(channel, queue)),
            ]
            for call in calls[:-1]:
                call(None)
            calls[-1](done)

        self._aside(steps, then)

    def delete(self, name: str) -> None:
        """Delete a queue, if it is there."""

        def steps(channel: Channel, done: Callable[[Any], object]) -> None:
            def deleted(_: Any) -> None:
                done(None)

            channel.queue_delete(name, callback=deleted)

        self._aside(steps, _nothing)

    def look(self, name: str, then: Callable[[int | None, int], object]) -> None:
        """Ask for a queue's consumers and messages; `then(None, 0)` if there is no such queue."""
        seen: list[tuple[int, int]] = []

        def steps(channel: Channel, done: Callable[[Any], object]) -> None:
            def looked(frame: Any) -> None:
                seen.append((frame.method.consumer_count, frame.method.message_count))
                done(frame)

            channel.queue_declare(name, passive=True, callback=looked)

        self._aside(steps, lambda _: then(*(seen[0] if seen else (None, 0))))

    def peek(self, name: str, then: Callable[[Delivery | None], object]) -> None:
        """Look at the first message of a queue, and leave it there; `then(None)` if there is none, or no such queue."""
        seen: list[Delivery] = []

        def steps(channel: Channel, done: Callable[[Any], object]) -> None:
            def got(_: Channel, method: Any, properties: Any, body: bytes) -> None:
                method.consumer_tag = ""
                seen.append(_delivery(name, self.number, method, properties, body))
                done(None)

            channel.add_callback(done, [Basic.GetEmpty])
            channel.queue_declare(name, passive=True, callback=lambda _: channel.basic_get(name, got))

        self._aside(steps, lambda _: then(seen[0] if seen else None))

    def _aside(self, steps: Callable[[Channel, Callable[[Any], object]], object], then: Then) -> None:
        """Do something on a channel of its own, so that what is refused there harms nothing else."""
        if not self._connection.is_open:
            then(CUT_OFF)
            return
        number = next(self._asides)
        self._pending[number] = then

        def settle(problem: str | None) -> None:
            waiting = self._pending.pop(number, None)
            if waiting is None:
                return
            try:
                waiting(problem)
            except Exception:  # the client would not come to tell that the connection is gone
                if self._connection.is_open:
                    raise
                logger.debug("a step came too late: the connection is gone", exc_info=True)

        def done(_: Any) -> None:
            settle(None)
            if channel.is_open:
                channel.close()

        def opened(_: Channel) -> None:
            steps(channel, done)

        channel = self._connection.channel(on_open_callback=opened)
        channel.add_on_close_callback(lambda _, reason: settle(str(reason)))

    def browse(self, queue: Queue, then: Callable[[Browse | str], object]) -> None:
        """Hold all that lies in a queue, so that nobody else gets it meanwhile; or say why that cannot be."""
        if not self._connection.is_open:
            then(CUT_OFF)
            return
        later = self._connection.ioloop.call_later
        self._connection.channel(on_open_callback=lambda channel: Browse(self.number, channel, queue, then, later))

    # --- publishing ---------------------------------------------------------------------------------------------

    def publish(self, parcel: Parcel) -> None:
        """Write a parcel; `flush` has it leave."""
        self._written.append(publication(self._out.channel_number, parcel, self._most))

    def flush(self) -> None:
        """Have what is written leave now, in one go, and not when the loop has come round to it.

        The client has no public way. Where it has another transport, or none of that name, its own way is good enough.
        """
        if not self._written:
            return
        frames = b"".join(self._written)
        self._written.clear()
        if self.alive:
            left = frames[self._send(frames) :]
            if left:
                self._connection._output_marshaled_frames([left])  # noqa: SLF001 - as above

    def _send(self, frames: bytes) -> int:
        """Send what the system takes at once, if nothing is before it; give how much that was."""
        transport: Any = getattr(self._connection, "_transport", None)
        if type(transport).__name__ != "_AsyncPlaintextTransport" or transport.get_write_buffer_size():
            return 0
        try:
            sent: int = transport._sock.send(frames)  # noqa: SLF001 - as above
        except OSError:  # it takes nothing now, or the connection is broken: the client will find out
            return 0
        self._connection.bytes_sent += sent
        return sent

    def _flush_soon(self) -> None:
        if not self._written:
            self._connection.ioloop.call_later(0, self.flush)

    # --- consuming ----------------------------------------------------------------------------------------------

    def consume(
        self,
        queue: str,
        tag: str,
        prefetch: int,
        on_delivery: OnDelivery,
        *,
        on_lost: Callable[[], object],
        then: Then,
    ) -> None:
        """Have a queue's messages delivered, at most `prefetch` unacknowledged; 0 for no limit.

        `on_lost` is called when the broker ends that by itself: the queue was deleted, or has no leader.
        """
        number = self.number

        def deliver(_: Channel, method: Any, properties: Any, body: bytes) -> None:
            self._receipts.delivered(method.delivery_tag)
            try:
                on_delivery(_delivery(queue, number, method, properties, body))
            except Exception:  # the connection outlives whatever a message does to whoever takes it
                logger.exception("a message in %s could not be taken", queue)

        self._consumers[tag] = on_lost
        self._work.basic_qos(prefetch_count=prefetch)
        self._work.basic_consume(queue, deliver, consumer_tag=tag, callback=lambda _: then(None))

    def cancel(self, tag: str, then: Then) -> None:
        """Have no more delivered to this consumer. What it has is still to be acknowledged."""
        self._consumers.pop(tag, None)
        if tag not in self._work.consumer_tags:
            then(None)
            return
        self._cancelling[tag] = then
        self._work.basic_cancel(tag, callback=_nothing)
        # The client would send back what comes until the broker has heard of it, and each time that counts as a
        # delivery that was lost with its host. We take it instead.
        self._work._cancelled.discard(tag)  # noqa: SLF001 - there is no public way, and a test watches over this one

    def _cancel_done(self, frame: Any) -> None:
        then = self._cancelling.pop(frame.method.consumer_tag, None)
        if then is not None:
            then(None)

    def _cancelled_by_broker(self, frame: Any) -> None:
        on_lost = self._consumers.pop(frame.method.consumer_tag, None)
        if on_lost is not None:
            on_lost()

    def acknowledge(self, tag: int) -> None:
        """Let the broker forget a message. Of no effect once the connection is gone."""
        if self.alive and self._work.is_open:
            self._receipts.given(tag)
            self._acknowledge(tag, multiple=False)

    def acknowledge_later(self, tag: int) -> None:
        """Let the broker forget a message with the next `acknowledge_all`."""
        self._receipts.put_off(tag)

    def acknowledge_all(self, singles: int, then: Callable[[bool], object]) -> None:
        """Give the receipts that were put off: all that one word can say, and so many more.

        `then` is called when the broker has read that, or with the end of the connection; with whether it was all.
        """
        if not self.alive or not self._work.is_open:
            then(True)
            return
        number = next(self._asides)
        frames = self._receipts.frames(singles)
        is_all = not self._receipts.put_off_tags
        self._pending[number] = lambda _: then(is_all)
        for tag, multiple in frames:
            self._acknowledge(tag, multiple=multiple)

        def read(_: Any) -> None:
            waiting = self._pending.pop(number, None)
            if waiting is not None:
                waiting(None)

        self.flush()  # first: what follows is not written here
        self._work.basic_qos(prefetch_count=1, callback=read)  # of no effect but that it is answered

    def _acknowledge(self, tag: int, *, multiple: bool) -> None:
        self._flush_soon()
        self._written.append(acknowledgement(self._work.channel_number, tag, multiple=multiple))


class Browse:
    """All that lies in one queue, on a channel of its own. It goes back when that is closed."""

    def __init__(
        self,
        session: int,
        channel: Channel,
        queue: Queue,
        then: Callable[[Browse | str], object],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self.found: list[Delivery] = []
        self._session = session
        self._channel = channel
        self._queue = queue
        self._then: Callable[[Browse | str], object] | None = then
        self._later = later
        self._wanted = 0
        channel.add_on_close_callback(lambda _, reason: self._tell(str(reason)))
        for each in _queue(channel, queue):
            each(None)
        channel.queue_declare(queue.name, passive=True, callback=self._counted)

    def _counted(self, frame: Any) -> None:
        self._wanted = frame.method.message_count
        self._channel.basic_qos(prefetch_count=0)
        self._channel.basic_consume(self._queue.name, self._came, exclusive=True, callback=lambda _: self._wait())

    def _came(self, _: Channel, method: Any, properties: Any, body: bytes) -> None:
        self.found.append(_delivery(self._queue.name, self._session, method, properties, body))

    def _wait(self) -> None:
        """Let it be all when nothing more comes: what somebody else has just given back is not counted at once."""
        seen, enough = len(self.found), len(self.found) >= self._wanted

        def look() -> None:
            if len(self.found) == seen:
                self._tell(self)
            else:
                self._wait()

        self._later(_QUIET_S if enough else _PATIENT_S, look)

    def _tell(self, what: Browse | str) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(what)

    def remove(self, delivery: Delivery, then: Callable[[None], object]) -> None:
        """Take one out. `then` is called when the broker has been told; it answers no acknowledgement."""
        if self._channel.is_open:
            self._channel.basic_ack(delivery.tag)
        then(None)

    def close(self) -> None:
        """Let everything else go back."""
        if self._channel.is_open:
            self._channel.close()


def _delivery(queue: str, session: int, method: Any, properties: Any, body: bytes) -> Delivery:
    return Delivery(
        queue=queue,
        consumer=method.consumer_tag,
        tag=method.delivery_tag,
        session=session,
        body=body,
        content_type=properties.content_type or "",
        message_id=properties.message_id,
        type=properties.type,
        reply_to=properties.reply_to,
        correlation_id=properties.correlation_id,
        headers=properties.headers or {},
        redelivered=method.redelivered,
    )


def _nothing(_: Any) -> None:
    """Be a callback."""


def _note(channel: Channel, queue: Queue) -> list[Callable[[Any], object]]:
    """Write down that there is to be a queue. It has been sent when the next step on this channel is answered."""
    assert queue.noted is not None, "chosen for it"
    of, kind = queue.noted
    properties = _Properties(content_type=CONTROL, delivery_mode=2, app_id="limen")

    def write(notes: Queue, said: str) -> Callable[[Any], object]:
        (declare,) = _queue(channel, notes)
        body = write_document(CONTROL, kind="note", note=said)
        # The client sends what is published at once, but what is declared only when what came before is answered.
        return lambda _: declare(lambda _: channel.basic_publish("", notes.name, body, properties))

    return [write(channels_queue(namespace_of(of)), of), write(types_queue(of), kind)]


def _exchange(channel: Channel, name: str, kind: str) -> Callable[[Any], object]:
    return lambda done: channel.exchange_declare(name, kind, durable=True, callback=done or _nothing)


def _queue(channel: Channel, queue: Queue) -> list[Callable[[Any], object]]:
    def declare(done: Any) -> None:
        channel.queue_declare(
            queue.name,
            durable=not queue.passing,
            exclusive=queue.passing,
            auto_delete=queue.passing,
            arguments=queue.arguments,
            callback=done or _nothing,
        )

    def bind(done: Any) -> None:
        channel.queue_bind(queue.name, queue.exchange, queue.key, callback=done or _nothing)

    return [declare, bind] if queue.exchange else [declare]
