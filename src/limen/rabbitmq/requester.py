"""The asking side: sends requests, and gives each caller the one answer that counts.

Whoever takes a call out of `_pending` decides it: an outcome, a limit that ran out, a cancellation, or the news that
the broker has nobody for it. What comes later, or twice, finds nothing there and is dropped.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from queue import Full
from typing import Any

import attrs

from .._call import Call
from ..actors._patience import wait_patiently
from ..actors.conversation import CLOSED, RUNNING, WAITING, Conversation
from ..actors.runtime import offer, offer_error, runtime
from ..messages.activities import Completed, with_input
from ..messages.drain import Fate, Unfinished
from ..messages.errors import (
    ActivityCancelled,
    BrokerError,
    BrokerUnavailable,
    ChannelLifecycleError,
    DecodeError,
    LimenError,
    MessageTooLarge,
    NoWorkersAvailable,
    ShutDown,
)
from . import codec, topology
from ._ledger import name_of
from ._session import Session
from .asking import ask_io
from .census import Census
from .control import Control
from .desk import Desk
from .handlers import write_arguments
from .io import BrokerIO
from .letters import AskedAgain
from .limits import Limits
from .parcels import Delivery, NotConfirmed, Parcel, Unroutable
from .received import Received, seen
from .records import Record, open_record
from .topology import Route
from .ways import Ways

logger = logging.getLogger("limen")

Asked = Call | AskedAgain
"""What is asked of others, as its caller holds it."""

_PREFETCH = 2_000
"""How many outcomes may be unacknowledged."""

_WORKFLOW = "aion-dispatch"

_CALLED_OFF_AT_ONCE = 1_000
"""How many ids are put into one message."""

_ACKNOWLEDGE_S = 0.01
"""How long an answer that has been read may be unacknowledged."""

_SHORT = 1 << 14
"""How many bytes of outcomes are read between two looks at the connection."""

_LOOK_S = 0.005

_HEAR_S = 0.15
"""How long hosts have to say what has begun, where somebody waits for that."""


class Requester:
    """All calls of one process that are under way over one broker."""

    def __init__(self, io: BrokerIO, control: Control, census: Census, desk: Desk, replies: topology.Queue) -> None:
        self._io = io
        self._control = control
        self._census = census
        self._desk = desk
        self.replies = replies
        self.limits = Limits(desk)
        self.ways = Ways(io, control, lambda: self._session)
        self._pending: dict[str, Asked] = {}
        self._records: dict[str, Record] = {}
        """Of those among them that have a recorder."""
        self._session: Session | None = None
        self._now = runtime().now
        self._closed = False
        self._read: deque[Delivery] = deque()
        """Answers that are to be acknowledged."""
        self._unread = 0
        """How many have come over this connection and are not acknowledged."""
        self._is_to_acknowledge = False
        self._quiet = runtime().create_event()
        """Set when nothing is under way any more, and when it is to be looked again."""
        self._quiet_by_s = math.inf
        self._all_begun = runtime().create_event()
        """Set when all that is under way at the end is known to have begun."""
        self.duplicates = 0
        """Outcomes that came for nobody: twice, or too late."""

    # --- asking: any thread -------------------------------------------------------------------------------------

    def submit(self, call: Call, channel: str) -> None:
        """Send a request. Raises `EncodeError`, `MessageTooLarge`, before anything is sent."""
        if self._closed:
            raise ChannelLifecycleError(channel, "the application has been closed")
        parcel = self._parcel(call, channel)
        if call.entered is not None:
            offer(call.entered, None)  # the broker makes nobody wait for room
        if self._expect(call, channel):
            self._io.publish_here(parcel)

    def _expect(self, call: Asked, channel: str) -> bool:
        """Take note of a request that is about to be sent; `False` if it must not be, and its caller has been told."""
        call.channel_name, call.phase, call.accepted_s = channel, WAITING, self._now()
        if call.recorder is not None:
            if (failure := open_record(call)) is not None:
                call.phase = CLOSED
                offer_error(call.reply, failure)
                return False
            self._records[call.id] = Record(call)
        self._pending[call.id] = call
        if call.has_limits and call.claim is None:  # else those who wait for it have limits of their own
            self.limits.arm(call, self.give_up)
        return True

    def _parcel(self, call: Call, channel: str) -> Parcel:
        request = with_input(call.request, write_arguments(call.activity, call.args, call.kwargs))
        body = codec.write_request(call.id, request, call.priority)
        limit = self._io.address.max_size
        if len(body) > limit:
            raise MessageTooLarge(f"the arguments of activity {call.activity_type!r}", len(body), limit)
        route = Route(channel, call.activity_type, topology.lane_for(call.priority))
        parcel = Parcel(
            exchange=topology.DISPATCH,
            key=route.key,
            body=body,
            content_type=codec.REQUEST,
            message_id=call.id,
            type=call.activity_type,
            reply_to=self.replies.name,
            headers=self._treatment(call),
            deadline_s=self._now() + self._io.address.publish_timeout,
        )
        parcel.done = functools.partial(self._published, call, route, parcel)
        return parcel

    @staticmethod
    def _treatment(call: Call) -> dict[str, Any]:
        if call.activity.is_plain:
            return {}
        return codec.write_treatment(
            codec.Treatment(
                retry=call.retry,
                max_crashes=call.max_crashes,
                route_by=call.route_by,
                dead_letter=call.dead_letter,
                key=call.key,
            )
        )

    @property
    def is_waiting(self) -> bool:
        """Whether anything is under way."""
        return bool(self._pending)

    def ask_again(self, call: Any, channel: str) -> str:
        """Expect the outcome of what is sent elsewhere, or was sent long ago; give the queue for it.

        Raises `RecorderFailed`.
        """
        if not self._expect(call, channel):
            call.reply.get(timeout=0)
        return self.replies.name

    def cancel_all(self, calls: Iterable[Asked]) -> None:
        """Give up many in one go. Never blocks."""
        given_up = [each for each in calls if each.id in self._pending]
        self.call_off(*map(name_of_call, given_up))
        for each in given_up:
            self._decide(each, ActivityCancelled(each.activity_type))

    def give_up(self, call: Asked, error: BaseException) -> None:
        """Give a call this for its outcome, unless it has one; and have it called off."""
        if self._decide(call, error):
            self.call_off(name_of_call(call))

    def call_off(self, *names: str) -> None:
        """Tell all hosts that nobody waits for these any more; of the last ones first, for the first ones may run."""
        for first in reversed(range(0, len(names), _CALLED_OFF_AT_ONCE)):
            self._control.say("cancel", names=names[first : first + _CALLED_OFF_AT_ONCE])

    def leave(self, call: Asked, timeout_s: float) -> bool:
        """Wait until the broker has a request, and then forget it; `False` if it has an outcome already.

        Blocks. Raises `BrokerError` when the time is up. Any thread but the I/O thread.
        """
        ask_io(self._io, functools.partial(self._when_sent, call), timeout_s)
        call.drop_timers()
        return self._pending.pop(call.id, None) is not None

    def _when_sent(self, call: Asked, then: Callable[[None], object]) -> None:
        if call.id in self._pending and (self.ways.seeks(call.id) or self._io.holds(call.id)):
            self._io.later(_LOOK_S, functools.partial(self._when_sent, call, then))
        else:
            then(None)

    # --- what the broker says: on the I/O thread ----------------------------------------------------------------

    def up(self, session: Session, then: Callable[[str | None], object]) -> None:
        """Take the answers that come over this connection."""
        self._session, self._unread = session, 0
        lost = functools.partial(self._io.broken, session, "the reply queue was deleted")
        tag = f"{self.replies.name}.{session.number}"
        session.consume(self.replies.name, tag, _PREFETCH, self._came, on_lost=lost, then=then)

    def down(self) -> None:
        """The connection is gone."""
        self._session = None

    def _published(self, call: Call, route: Route, parcel: Parcel, problem: LimenError | None) -> None:
        if problem is None:
            return
        if isinstance(problem, Unroutable):
            self.ways.find(call, route, parcel, functools.partial(self._nobody, call))
        elif isinstance(problem, NotConfirmed):
            error = BrokerUnavailable(
                call.channel_name, _WORKFLOW, call.activity_type, problem.reason, problem.in_doubt
            )
            error.__cause__ = problem
            self._desk.put(functools.partial(self.give_up, call, error))

    def _nobody(self, call: Call) -> None:
        served = self._census.kinds(call.channel_name)
        error = NoWorkersAvailable(call.channel_name, _WORKFLOW, call.activity_type, served)
        self._desk.put(functools.partial(self._decide, call, error))

    def _came(self, delivery: Delivery) -> None:
        self._unread += 1
        if not self._answered_at_once(delivery):
            self._desk.put(functools.partial(self._take, delivery))
        self._acknowledge_later()

    def _answered_at_once(self, delivery: Delivery) -> bool:
        """Let callers go without the desk, which saves a switch: if it has nothing to do, and no code but ours runs."""
        body = delivery.body
        if len(body) > _SHORT or delivery.content_type != codec.OUTCOMES or not self._desk.is_idle or self._records:
            return False
        if codec.may_hold_errors(body):
            return False
        try:
            outcomes = codec.read_outcomes(body)
        except DecodeError:
            return False
        calls = (self._pending.get(each.conversation_id) for each in outcomes)
        if any(call is not None and call.reply.has_callbacks for call in calls):
            return False
        self._answer(outcomes)
        self._read.append(delivery)
        return True

    def _acknowledge_later(self) -> None:
        """Acknowledge what has been read by then: to be told of each at once would take longer than to read it."""
        if not self._is_to_acknowledge and self._unread > 0:
            self._is_to_acknowledge = True
            self._io.later(_ACKNOWLEDGE_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._is_to_acknowledge = False
        session = self._session
        while self._read:
            delivery = self._read.popleft()
            if session is not None and session.number == delivery.session:
                session.acknowledge(delivery.tag)
                self._unread -= 1
        if session is not None:
            self._acknowledge_later()

    # --- answering: on the desk ---------------------------------------------------------------------------------

    def _take(self, delivery: Delivery) -> None:
        try:
            if delivery.content_type == codec.NEWS:
                self._hear(codec.read_document(delivery.body, codec.NEWS))
            else:
                self._answer(codec.read_outcomes(delivery.body))
        except DecodeError as error:
            logger.warning("a message in %s cannot be read: %s", self.replies.name, error)
        finally:
            self._read.append(delivery)

    def _answer(self, outcomes: Iterable[codec.Outcome]) -> None:
        for outcome in outcomes:
            if not self.take(outcome.conversation_id, outcome):
                self.duplicates += 1

    def take(self, call_id: str, outcome: codec.Outcome) -> bool:
        """Give a call this outcome; `False` if it has one. On the desk."""
        call = self._pending.pop(call_id, None)
        if call is None:
            return False
        call.attempts = tuple(map(seen, outcome.attempts))
        call.errors, call.crashes = outcome.errors, outcome.crashes
        if outcome.progress is not None:
            call.note_progress(*outcome.progress)
        self._conclude(call, outcome.result)
        return True

    def _hear(self, news: dict[str, Any]) -> None:
        """Take note of attempts that have begun, and of how far they have got."""
        host = str(news.get("host", ""))
        for each in news.get("begun", ()):
            name, *attempt = each
            call = self._pending.get(name.rpartition("/")[0])
            if call is None:
                self.call_off(name)
                continue
            view = codec.read_attempt(attempt, host)
            if not any((seen.number, seen.host) == (view.number, host) for seen in call.history()):
                call.attempts = (*call.attempts, seen(view))
            call.phase = RUNNING
            record = self._records.get(call.id)
            if record is not None and (failure := record.follow(call.history())) is not None:
                self.give_up(call, failure)
        if self._closed and not self._not_begun():
            self._all_begun.set()
        for name, *report in news.get("progress", ()):
            call = self._pending.get(name.rpartition("/")[0])
            if call is not None:
                call.note_progress(*codec.read_progress(report))

    def _decide(self, call: Asked, result: Completed | BaseException) -> bool:
        """Give a call its outcome; `False` if it has one."""
        if self._pending.pop(call.id, None) is None:
            return False
        self._conclude(call, result)
        return True

    def _conclude(self, call: Asked, result: Completed | BaseException) -> None:
        call.drop_timers()
        if isinstance(result, Completed):
            result = Received.of(result, call.activity)
        if call.recorder is not None and (record := self._records.pop(call.id, None)) is not None:
            record.close(call.history(), result)
        call.phase = CLOSED
        if not self._pending:
            self._quiet.set()
        if isinstance(result, BaseException):
            offer_error(call.reply, result)
        else:
            self._settle(call, result)

    def _settle(self, call: Asked, result: Completed) -> None:
        """Give a call its result. A callback that has come just now is called on the desk, for it is not ours."""
        with contextlib.suppress(Full):
            call.reply.set_apart(result, self._desk.run)

    # --- the end ------------------------------------------------------------------------------------------------

    def wind_down(self, *, run_waiting: bool) -> tuple[Unfinished, ...]:
        """Take nothing new. Unless those are to be run too, end what has not begun; give it.

        Blocks for a moment: what has begun on a host just now is yet to be told.
        """
        self._closed = True
        if run_waiting:
            return ()
        if self._not_begun():
            self._hear_all()
        return self._end(self._not_begun())

    def learn(self, find: Callable[[str], Conversation | None], host: str) -> None:
        """Take note of what has begun in this process, of which no news has come yet. Any thread."""
        for call in self._open():
            local = find(name_of_call(call))
            if local is not None and (attempts := local.history()):
                call.attempts = tuple(seen(attrs.evolve(each, host=host)) for each in attempts)
                call.phase = RUNNING if local.phase is CLOSED else local.phase  # its outcome is still under way

    def _not_begun(self) -> list[Asked]:
        return [call for call in self._open() if not call.attempts]

    def _hear_all(self) -> None:
        """Have all hosts say now what has begun, and give them the time to do so."""
        with contextlib.suppress(BrokerError):
            ask_io(self._io, lambda then: self._control.say("news", then), _HEAR_S)
            self._all_begun.clear()
            if self._not_begun():
                wait_patiently(self._all_begun.wait, _HEAR_S)

    def wait_quiet(self, until_s: float) -> None:
        """Block until nothing is under way any more, or that time has come, or an earlier one that `hurry` tells."""
        self.hurry(until_s)
        while self._pending:
            self._quiet.clear()
            left_s = self._quiet_by_s - self._now()
            if left_s <= 0 or not self._pending:
                return
            wait_patiently(self._quiet.wait, left_s)

    def hurry(self, until_s: float) -> None:
        """Have nobody wait beyond that time. Any thread."""
        self._quiet_by_s = min(self._quiet_by_s, until_s)
        self._quiet.set()

    def close(self) -> tuple[Unfinished, ...]:
        """End what is under way with `ShutDown`, and have it called off; give it."""
        self._closed = True
        if self._unread:
            self._io.do(self._acknowledge)
        return self._end(self._open())

    def _open(self) -> list[Asked]:
        return list(self._pending.values())

    def _end(self, calls: list[Asked]) -> tuple[Unfinished, ...]:
        ended = [(call, _unfinished(call)) for call in calls if self._pending.pop(call.id, None) is not None]
        self.call_off(*(name_of_call(call) for call, _ in ended))
        for call, left in ended:
            error = ShutDown(
                call.channel_name, _WORKFLOW, call.activity_type, left.stage, left.attempts, left.worker_id
            )
            self._conclude(call, error)
        return tuple(left for _, left in ended)


def name_of_call(call: Asked) -> str:
    """Name a call's request as hosts do."""
    return name_of(call.id, call.generation if isinstance(call, AskedAgain) else 0)


def _unfinished(call: Asked) -> Unfinished:
    attempts = call.history()
    return Unfinished(
        conversation_id=call.id,
        activity_type=call.activity_type,
        queue=call.queue,
        stage=call.phase.value,
        attempts=len(attempts),
        worker_id=attempts[-1].worker_id if attempts else None,
        fate=Fate.FAILED,
    )
