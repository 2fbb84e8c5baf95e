"""What lies in queues to be looked at: dead letters, listed, tried again, thrown away; and notes.

Each look holds the whole queue meanwhile, so that no two get into each other's way. What is looked at is not taken
out: it goes back when the look is over, or when this process ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from ..actors.conversation import Conversation
from ..actors.recorder import Recorder
from ..actors.runtime import runtime
from ..messages.dead_letters import DeadLetter, DeadLetters
from ..messages.dispatch import DispatchRequest
from ..messages.errors import BrokerError, ConfigError, DecodeError, LimenError, UnknownDeadLetter
from ..messages.operations import OperationKind
from . import codec, topology
from ._session import Browse
from .asking import WAIT_S, ask_io
from .codec import Treatment
from .dead import LETTER, Letter, letter_of, write_letter
from .io import BrokerIO
from .parcels import Delivery, Parcel
from .records import record_letter
from .topology import Queue, Route

_HELD = "(403"
"""How it begins that somebody else looks at the queue. Source: RabbitMQ, exclusive consumers."""

_PAUSE_S = 0.05


class AskedAgain(Conversation):
    """A dead letter that is tried again, as its new asker sees it."""

    def __init__(self, message: DispatchRequest, treatment: Treatment, activity: Any) -> None:
        super().__init__(
            message.conversation_id,
            message.request,
            runtime().create_future(),
            priority=message.priority,
            route_by=treatment.route_by,
            retry=treatment.retry,
            max_crashes=treatment.max_crashes,
            dead_letter=treatment.dead_letter,
        )
        self.generation = treatment.generation
        """How often it was taken out of the dead letters."""
        self.activity = activity
        """What reads the result; without one it is plain data."""


class LetterDesk:
    """Works on the dead letters of any channel.

    Each method blocks, within a bound, and may be called on any thread but the I/O thread.
    """

    def __init__(self, io: BrokerIO, recorder: Recorder | None = None) -> None:
        self._io = io
        self._recorder = recorder

    def all(self, channel: str) -> DeadLetters:
        """List them, the oldest first. Raises `BrokerError`."""
        with self._open(channel) as (_, letters):
            return DeadLetters(letter.shown for letter, _ in letters)

    def notes(self, queue: Queue) -> set[str]:
        """Give all that was noted in a queue. Raises `BrokerError`."""
        with self._look(queue) as browse:
            return {note for each in browse.found if (note := _note_in(each))}

    def discard(self, channel: str, letter_id: str) -> DeadLetter:
        """Throw one away, and give it. Raises `UnknownDeadLetter`, `RecorderFailed`, `BrokerError`."""
        with self._open(channel) as (browse, letters):
            letter, delivery = _find(letters, channel, letter_id)
            record_letter(self._recorder, letter.shown, OperationKind.DISCARDED)
            self._remove(browse, delivery)
        return letter.shown

    def requeue(
        self, channel: str, letter_id: str, kind: str | None, activity: Any, ask: Callable[[AskedAgain], str]
    ) -> AskedAgain:
        """Try one again. `ask` is told of the call before it is sent, and gives the queue for its answer.

        Raises `UnknownDeadLetter`; `ConfigError` if it is of another activity, or no request at all; `RecorderFailed`;
        `BrokerError`.
        """
        with self._open(channel) as (browse, letters):
            letter, delivery = _find(letters, channel, letter_id)
            _refuse_unfit(letter, kind)
            shown = letter.shown
            treatment = attrs.evolve(letter.treatment, generation=shown.requeues + 1, host_deaths=0)
            message, _ = codec.read_request(letter.body, {})
            record_letter(self._recorder, shown, OperationKind.REQUEUED)
            call = AskedAgain(message, treatment, activity)
            call.letter, call.recorder = shown, self._recorder
            self._send(letter, treatment, ask(call))
            self._remove(browse, delivery)
        return call

    def _send(self, letter: Letter, treatment: Treatment, reply_to: str) -> None:
        shown = letter.shown
        route = Route(shown.channel_name, shown.activity_type, topology.lane_for(shown.priority))
        parcel = Parcel(
            exchange=topology.DISPATCH,
            key=route.key,
            body=write_letter(letter),
            content_type=LETTER,
            message_id=shown.id,
            type=topology.short(shown.activity_type),
            reply_to=reply_to,
            headers=codec.write_treatment(treatment),
            deadline_s=runtime().now() + WAIT_S,
        )
        problem = ask_io(self._io, functools.partial(self._publish, parcel))
        if problem is not None:
            raise BrokerError(str(self._io.address), str(problem)) from problem

    def _publish(self, parcel: Parcel, then: Callable[[LimenError | None], object]) -> None:
        parcel.done = then
        self._io.publish(parcel)

    def _remove(self, browse: Browse, delivery: Delivery) -> None:
        ask_io(self._io, functools.partial(browse.remove, delivery))

    @contextmanager
    def _open(self, channel: str) -> Iterator[tuple[Browse, list[tuple[Letter, Delivery]]]]:
        """Hold all letters of a channel for the length of a block."""
        with self._look(topology.dead_queue(channel)) as browse:
            yield browse, _letters(browse.found, channel)

    @contextmanager
    def _look(self, queue: Queue) -> Iterator[Browse]:
        """Hold all that lies in a queue for the length of a block."""
        browse = self._hold(queue, runtime().now() + WAIT_S)
        try:
            yield browse
        finally:
            self._io.do(browse.close)

    def _hold(self, queue: Queue, deadline_s: float) -> Browse:
        while True:
            given = ask_io(self._io, lambda then: self._io.with_session(lambda session: session.browse(queue, then)))
            if isinstance(given, Browse):
                return given
            if not given.startswith(_HELD) or runtime().now() > deadline_s:
                raise BrokerError(str(self._io.address), given)
            runtime().sleep(_PAUSE_S)


def _note_in(delivery: Delivery) -> str | None:
    try:
        note = codec.read_document(delivery.body, codec.CONTROL).get("note")
    except DecodeError:
        return None
    return note if isinstance(note, str) else None


def _letters(found: list[Delivery], channel: str) -> list[tuple[Letter, Delivery]]:
    """Read them, each once: a host that died as it put one there may have put it there twice."""
    letters: dict[tuple[str, int], tuple[Letter, Delivery]] = {}
    for delivery in found:
        letter = letter_of(delivery, channel)
        letters.setdefault((letter.shown.id, letter.shown.requeues), (letter, delivery))
    return sorted(letters.values(), key=lambda pair: pair[0].shown.at)


def _find(letters: list[tuple[Letter, Delivery]], channel: str, letter_id: str) -> tuple[Letter, Delivery]:
    for pair in letters:
        if pair[0].shown.id == letter_id:
            return pair
    raise UnknownDeadLetter(channel, letter_id)


def _refuse_unfit(letter: Letter, kind: str | None) -> None:
    shown = letter.shown
    if not letter.is_request:
        raise ConfigError("letter", f"dead letter {shown.id!r} is no request: {shown.error}; it can only be discarded")
    if kind not in {None, shown.activity_type}:
        raise ConfigError("activity", f"dead letter {shown.id!r} is for {shown.activity_type!r}, not for {kind!r}")
