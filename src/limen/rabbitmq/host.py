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
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import attrs

from .._engine import Port
from .._workers import ExecutorKind
from ..actors import _orders as orders
from ..actors._dead_letters import belongs, letter_for
from ..actors._texts import text_of
from ..actors.conversation import PAUSED
from ..actors.runtime import runtime
from ..messages.activities import Completed, WorkerCapacity
from ..messages.dead_letters import DeadLetter
from ..messages.errors import (
    ActivityCancelled,
    BrokerError,
    DecodeError,
    LimenError,
    MessageTooLarge,
    PoisonActivity,
)
from ..messages.events import EventKind
from . import codec, topology
from ._credit import Worker
from ._intake import Intake
from ._ledger import Held, Ledger, name_of
from ._session import Session, Then
from .census import Census
from .codec import Treatment
from .dead import LETTER, Letter, read_letter, spoilt
from .host_call import HostCall, is_not_ours, write_end
from .io import BrokerIO
from .news import news_of
from .outgoing import Outgoing
from .parcels import Delivery
from .suspects import Suspects
from .topology import Route
from .trials import Trials

logger = logging.getLogger("limen")

_FINAL = ("(402", "(403", "(404", "(405", "(406")
"""How that begins which the broker will say again. Source: AMQP 0-9-1, reply codes."""

START_S = 30.0
"""How long it may take until a worker can be given work."""

LETTER_ROOM = 1 << 20
"""How much of a history a request has that was a dead letter, in bytes."""


class Host:
    """All that one process serves of one namespace. Its methods run on the I/O thread, unless they say otherwise."""

    def __init__(
        self,
        io: BrokerIO,
        namespace: str,
        process: str,
        *,
        announce_lane: Callable[[Route], object],
        census: Census,
        learn: Callable[[str], object],
    ) -> None:
        self._io = io
        self._ledger = Ledger()
        self._intake = Intake(io, process, self._came, self._looked)
        self._ports: dict[str, Port] = {}
        """By channel."""
        self._workers: dict[str, dict[str, WorkerCapacity]] = {}
        """By channel and id."""
        self._kinds: dict[tuple[str, str], ExecutorKind] = {}
        """By channel and id too, of all that ever were."""
        self._outgoing = Outgoing(io, namespace, process, self._drop)
        self._suspects = Suspects(self, io, self._intake, Trials(io, lambda: self._intake.session), announce_lane)
        self._census = census
        self._learn = learn
        """Finds out what is known of a channel that this process begins to serve."""
        self._over: Callable[[], object] | None = None
        """While it goes: who is to be told that what was begun is over."""

    # --- what is served -----------------------------------------------------------------------------------------

    def serve(self, channel: str, port: Port, worker_id: str, kind: ExecutorKind) -> None:
        """Take from now on what the workers on a local channel can do. Blocks until it can come. Any other thread.

        Raises `BrokerError`.
        """
        if not self._ports:
            codec.warm_up()
        self._kinds[channel, worker_id] = kind
        if channel not in self._ports:
            self._ports[channel] = port
            self._learn(channel)
            port.session.ask(orders.Watch(functools.partial(self._changed, channel)))
        deadline_s = runtime().now() + START_S
        while (problem := self._wait_ready(deadline_s - runtime().now())) is not None:
            if runtime().now() >= deadline_s or problem.startswith(_FINAL):
                raise BrokerError(str(self._io.address), problem)

    def _changed(self, channel: str, workers: dict[str, WorkerCapacity]) -> None:
        """Take note of the workers of a local channel. On its turn."""
        self._workers[channel] = workers
        made = [
            Worker(channel, tuple(dict.fromkeys(each.activity_types)), each.max_concurrent) for each in workers.values()
        ]
        self._io.do(functools.partial(self._intake.serve, channel, made))
        self._io.do(self._say_what_is_served)

    def _say_what_is_served(self) -> None:
        self._census.serve(
            {
                channel: {kind for each in workers.values() for kind in each.activity_types}
                for channel, workers in list(self._workers.items())
                if workers
            }
        )

    def _wait_ready(self, timeout_s: float) -> str | None:
        self._io.wait_up(max(0.0, timeout_s))
        ready = runtime().create_queue()

        def served(problem: str | None) -> None:
            if problem is None:
                self._census.say(lambda problem: ready.put(None if problem is None else str(problem)))
            else:
                ready.put(problem)

        self._io.do(functools.partial(self._intake.when_ready, served))
        try:
            problem: str | None = ready.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return f"its queues were not ready within {START_S:g} s"
        return problem

    def port(self, channel: str) -> Port | None:
        """Give the local channel of that name, if it is served."""
        return self._ports.get(channel)

    def queues(self) -> list[topology.Queue]:
        """List the queues that are to be there."""
        return self._intake.queues()

    def up(self, session: Session, then: Then) -> None:
        """Begin to consume over a new connection. All queues are declared."""
        self._intake.up(session, then)

    def down(self) -> None:
        """The connection is gone, and with it the right to acknowledge."""
        self._intake.down()
        self._see_if_over()

    def pause(self, channel: str, *, paused: bool) -> None:
        """Let nothing of a channel start here, or let it go on."""
        port = self._ports.get(channel)
        if port is not None:
            port.session.notice(orders.SetPaused(paused=paused))
            self._intake.pause(channel, on=paused)

    def served(self) -> list[str]:
        """Name the channels of which something is served."""
        return [name for name, workers in list(self._workers.items()) if workers]

    def add_lane(self, route: Route) -> None:
        """Somebody has made one more queue for a type."""
        self._intake.add_lane(route)

    def _looked(self) -> dict[Route, int]:
        """Tell how far requests have got, and count what pauses between two tries and so uses no slot."""
        self.tell_news()
        self._suspects.look()
        return Counter(
            held.route
            for held in self._ledger.held.values()
            if held.call is not None and held.call.phase is PAUSED and not held.answered
        )

    def tell_news(self) -> None:
        """Tell those who asked what is new about their requests since they were told last."""
        for news in news_of(self._ledger.held.values()):
            self._outgoing.tell(news)

    # --- requests -----------------------------------------------------------------------------------------------

    def _came(self, route: Route, delivery: Delivery) -> None:
        try:
            self._take(route, delivery)
        except LimenError as error:
            self._bury_spoilt(route, delivery, error)
        except Exception as error:
            logger.exception("a request in %s could not be taken", route.key)
            self._bury_spoilt(route, delivery, DecodeError("", f"cannot be taken: {type(error).__name__}"))

    def _take(self, route: Route, delivery: Delivery) -> None:
        body, treatment, before = self._open(delivery)
        message, _ = codec.read_request(body, {})
        if message.request.activity_type != route.activity_type:
            raise DecodeError("request.activity_type", f"is not what queue {route.key} is for")
        name = name_of(message.conversation_id, treatment.generation)
        held = self._ledger.take(name, route, delivery)
        if held is None:
            if self._ledger.is_spare(name, delivery):
                self._intake.acknowledge(route, delivery)
            return
        held.body, held.treatment = body, treatment
        call = held.call = HostCall(message, treatment, self._ports[route.channel], before)
        call.channel_name = route.channel
        if name in self._ledger.cancelled:
            self._give_up(held)
            return
        self._suspects.take(held, is_isolated=self._is_isolated(route))

    def _open(self, delivery: Delivery) -> tuple[bytes, Treatment, DeadLetter | None]:
        """Give the request in a message, how it is to be treated, and the dead letter that it was."""
        limit = self._io.address.max_size
        if delivery.content_type == LETTER:
            limit = 2 * limit + LETTER_ROOM
        if len(delivery.body) > limit:
            raise MessageTooLarge(f"a message in {delivery.queue}", len(delivery.body), limit)
        treatment = codec.read_treatment(delivery.headers)
        if delivery.content_type != LETTER:
            return delivery.body, treatment, None
        letter = read_letter(delivery.body)
        return letter.body, treatment, letter.shown

    def begin(self, held: Held) -> None:
        """Hand a request to its local channel, unless nobody waits for it any more."""
        if held.name in self._ledger.cancelled:
            self._give_up(held)
            return
        call: HostCall = held.call
        held.is_local = True
        call.reply.add_done_callback(functools.partial(self._answered, held))
        call.channel.session.submit(call)
        if held.name in self._ledger.cancelled:  # by another thread, just now
            self._call_off(held)

    def _is_isolated(self, route: Route) -> bool:
        """Whether all that serves this type here does so in processes of its own."""
        kinds = [
            self._kinds.get((route.channel, worker_id))
            for worker_id, capacity in self._workers.get(route.channel, {}).items()
            if capacity.serves(route.activity_type)
        ]
        return bool(kinds) and all(kind == "process" for kind in kinds)

    def condemn(self, held: Held, deaths: int) -> None:
        """Give it up: it has killed the host that ran it alone, after others."""
        call: HostCall = held.call
        call.count_deaths(deaths)
        poison = PoisonActivity(held.route.channel, call.workflow_id, call.activity_type, deaths)
        poison.__cause__ = call.last_crash
        self._conclude(held, poison)

    def _bury_spoilt(self, route: Route, delivery: Delivery, error: LimenError) -> None:
        """Put what cannot be a request among the dead letters, as it is."""
        logger.warning("a message in %s is no request, and goes to the dead letters: %s", route.key, error)
        named = attrs.evolve(delivery, message_id=delivery.message_id or runtime().new_id())
        letter = spoilt(named, route.channel, error, route.key)
        self._outgoing.bury(letter, functools.partial(self._intake.acknowledge, route, delivery))

    def find(self, name: str) -> HostCall | None:
        """Give a request as the local channel has it, if it is here. Any thread."""
        held = self._ledger.held.get(name)
        return held.call if held is not None and held.is_local else None

    # --- giving up ----------------------------------------------------------------------------------------------

    def cancel(self, names: Iterable[str]) -> None:
        """Nobody waits for these any more: what waits, or is yet to come, never starts; what runs is called off.

        Any thread; never blocks.
        """
        for name in names:
            self._ledger.cancelled.add(name)
            held = self._ledger.held.get(name)
            if held is not None:
                self._call_off(held)

    @staticmethod
    def _call_off(held: Held) -> None:
        """Tell the local channel, which knows nothing of what it was not given."""
        if held.is_local:
            held.call.channel.session.notice(orders.Cancel(held.call))

    def _give_up(self, held: Held) -> None:
        """End what was cancelled before it began. What was a dead letter becomes one again."""
        cancelled = ActivityCancelled(held.call.activity_type)
        if belongs(held.call, cancelled):
            self._conclude(held, cancelled)
        else:
            self._drop(held)

    # --- letting others have it ---------------------------------------------------------------------------------

    def hand_back_but(self, held: Held) -> None:
        """Send back what has not begun, but for this one."""
        for each in list(self._ledger.held.values()):
            if each is not held:
                self._hand_back(each)

    def count(self) -> int:
        """Count what is held."""
        return len(self._ledger)

    def forget(self, held: Held) -> None:
        """Know nothing of it any more: its connection is gone, and the broker has it back."""
        self._ledger.give_back(held)
        self._ledger.left(held)
        self._suspects.ended(held)

    def pass_on(self, held: Held, route: Route, treatment: Treatment | None = None) -> None:
        """Put it at the end of a queue, perhaps to be treated in another way."""
        self._ledger.give_back(held)
        self._outgoing.pass_on(held.delivery, route, functools.partial(self._gone, held), treatment)

    def _send_away(self, held: Held) -> None:
        self.pass_on(held, held.route)

    def _hand_back(self, held: Held) -> None:
        """Let another host have it, unless it runs, or is on another way already."""
        if held.is_local and not held.answered:
            held.is_returning = True
            held.call.channel.session.notice(orders.Withdraw(held.call))

    # --- outcomes -----------------------------------------------------------------------------------------------

    def _answered(self, held: Held) -> None:
        """Take an outcome. On whatever thread brings it; never blocks."""
        call: HostCall = held.call
        try:
            result: Completed | BaseException = call.reply.get(timeout=0)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the outcome
            result = error
        if isinstance(result, ActivityCancelled):
            self._io.do(functools.partial(self._send_away if held.is_returning else self._give_up, held))
        elif is_not_ours(call, result):
            self._io.do(functools.partial(self._send_away, held))
        else:
            self._conclude(held, result)

    def _conclude(self, held: Held, result: Completed | BaseException) -> None:
        """Send an outcome, after its dead letter if there is to be one. Any thread."""
        call: HostCall = held.call
        outcome = write_end(call, result)
        if isinstance(result, BaseException) and belongs(call, result):
            at = datetime.fromtimestamp(runtime().wall_time(), UTC)
            letter = Letter(
                shown=attrs.evolve(letter_for(call.id, call, result, at), key=held.treatment.key),
                body=held.body,
                treatment=held.treatment,
                key=held.route.normal.key,
            )
            told = orders.Tell(EventKind.DEAD_LETTERED, call, text_of(result))

            def buried() -> None:
                call.channel.session.notice(told)
                self._outgoing.answer(held, outcome)

            self._outgoing.bury(letter, buried)
        else:
            self._outgoing.answer(held, outcome)

    def _drop(self, held: Held) -> None:
        """It is over: let the broker forget it."""
        self._ledger.settle(held)
        self._suspects.acquit(held)
        self._leave(held)

    def _gone(self, held: Held) -> None:
        """It is somebody else's now: let the broker forget this copy."""
        self._ledger.left(held)
        self._leave(held)

    def _leave(self, held: Held) -> None:
        self._intake.acknowledge(held.route, held.delivery)
        self._suspects.ended(held)
        self._see_if_over()

    # --- the end ------------------------------------------------------------------------------------------------

    def stop(self, timeout_s: float) -> None:
        """Take nothing more. Any thread but the I/O thread; blocks at most so long."""
        over = threading.Event()
        self._io.do(functools.partial(self._intake.stop, over.set))
        over.wait(timeout_s)

    def leave(self, timeout_s: float) -> None:
        """Go when what was begun here has been acknowledged, and leave the rest to others.

        The local channels are closed. Any thread but the I/O thread; blocks at most so long.
        """
        over = threading.Event()
        self._io.do(functools.partial(self._go, over.set))
        over.wait(timeout_s)
        self._io.do(self._suspects.leave)

    def _go(self, over: Callable[[], object]) -> None:
        self._over = over
        self._see_if_over()

    def _see_if_over(self) -> None:
        """Say so once nothing that was begun here is left, or nothing can be acknowledged any more."""
        over = self._over
        if over is not None and (self._intake.session is None or self._ledger.is_over):
            self._over = None
            self._intake.finish(over)
