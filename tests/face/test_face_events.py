"""`events`: one stream of what happens on every queue of an application."""

import asyncio
import sys
import threading
from typing import Any

import pytest

from limen import ConfigError, EventKind, Limen, activity

TIMEOUT_S = 10


@activity(queue="a")
def quick(number: int) -> int:
    """Give it back."""
    return number


@activity(queue="b")
def fail() -> None:
    """Raise."""
    raise ValueError("no luck")


def _kinds(events: Any, until: EventKind, count: int = 1) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while count:
        event = events.next(timeout=TIMEOUT_S)
        assert event is not None, f"no {until} among {found}"
        found.append((event.kind.value, event.channel_name.rpartition(".")[2]))
        count -= event.kind is until
    return found


def test_the_stream_tells_of_every_queue():
    """Queues that were there before and those that come later; workers and work."""
    with Limen() as app:
        app.worker("a", [quick])
        events = app.events()
        app.dispatch(quick, 1).result(timeout=TIMEOUT_S)
        assert _kinds(events, EventKind.FINISHED) == [("dispatched", "a"), ("finished", "a")]
        assert _kinds(events, EventKind.CONCLUDED) == [("concluded", "a")]

        registration = app.worker("b", [fail])
        app.dispatch(fail).exception(timeout=TIMEOUT_S)
        assert _kinds(events, EventKind.FAILED) == [("registered", "b"), ("dispatched", "b"), ("failed", "b")]

        registration.unregister()
        assert _kinds(events, EventKind.UNREGISTERED) == [("concluded", "b"), ("unregistered", "b")]


def test_an_event_says_who_and_what():
    """Worker, incarnation, conversation and activity; for a failure, why."""
    with Limen() as app, app.events() as events:
        app.worker("b", [fail])
        handle = app.dispatch(fail)
        handle.exception(timeout=TIMEOUT_S)
        event = next(each for each in events if each.kind is EventKind.FAILED)

        assert (event.worker_id, event.incarnation, event.conversation_id) == ("worker-1", 1, handle.id)
        assert (event.activity_type, event.detail) == ("fail", "no luck")


def test_what_is_called_off_is_told_apart_from_what_failed():
    """TY-04, DP-14: a limit that ran out, and a caller who changed his mind, each have a kind of their own."""

    @activity
    async def forever() -> None:
        await asyncio.Event().wait()

    @activity
    def nobody() -> None:
        """Have no worker."""

    with Limen() as app:
        app.worker("default", [forever])
        events = app.events()
        late = app.dispatch(forever.options(start_to_close=0.01))
        late.exception(timeout=TIMEOUT_S)
        unwanted = app.dispatch(forever)
        waiting = app.dispatch(nobody.options(schedule_to_start=TIMEOUT_S))
        for each in (unwanted, waiting):
            each.cancel()
            each.exception(timeout=TIMEOUT_S)
        told: list[Any] = [events.next(timeout=TIMEOUT_S) for _ in range(9)]

        assert [(each.kind.value, each.worker_id, each.conversation_id) for each in told] == [
            ("dispatched", "worker-1", late.id),
            ("timed_out", "worker-1", late.id),
            ("concluded", "worker-1", late.id),
            ("dispatched", "worker-1", unwanted.id),
            ("deferred", None, waiting.id),
            ("cancelled", "worker-1", unwanted.id),
            ("concluded", "worker-1", unwanted.id),
            ("cancelled", None, waiting.id),
            ("concluded", None, waiting.id),
        ]


def test_a_crash_and_what_comes_of_it_can_be_followed():
    """The worker leaves first, then its work moves."""
    tries = []

    @activity
    def crash_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            sys.exit("down")

    with Limen() as app:
        app.worker("default", [crash_once])
        events = app.events()
        app.dispatch(crash_once).result(timeout=TIMEOUT_S)

        assert [kind for kind, _ in _kinds(events, EventKind.FINISHED)] == [
            "dispatched",
            "crashed",
            "registered",
            "redispatched",
            "finished",
        ]


def test_streams_are_independent_and_end_with_the_application():
    """Each reader gets every event; a loop over a stream ends when the application is closed, after the last event."""
    app = Limen()
    first, second = app.events(), app.events()
    app.worker("a", [quick])
    second.close()
    app.dispatch(quick, 1).result(timeout=TIMEOUT_S)
    app.close()

    assert [event.kind.value for event in first] == [
        "registered",
        "dispatched",
        "finished",
        "concluded",
        "unregistered",
    ]
    assert [event.kind.value for event in second] == ["registered"]


def test_a_closed_stream_is_taken_off_its_channels():
    """Nobody is told of anything any more: the channel has no listener left."""
    with Limen() as app:
        app.worker("a", [quick])
        with app.events():
            pass
        app.pool("a")

        session: Any = app._ports["a"].session
        assert session.listeners == ()


def test_a_slow_reader_loses_the_oldest_and_knows_how_many():
    """The channel never waits for a reader."""
    with Limen() as app, app.events(size=3) as events:
        app.worker("a", [quick])
        list(app.map(quick, range(10)))
        app.pool("a")
        dropped = events.dropped

        assert dropped > 0
        assert events.next(timeout=0) is not None


def test_waiting_for_an_event_is_bounded_and_ends_with_the_stream():
    """`next` gives `None` when time is up, and wakes when the stream is closed on another thread."""
    with Limen() as app:
        events = app.events()
        assert events.next(timeout=0.01) is None
        got: Any = []
        reader = threading.Thread(target=lambda: got.append(events.next()))
        reader.start()
        events.close()
        reader.join(TIMEOUT_S)

        assert got == [None]
        with pytest.raises(ConfigError):
            app.events(size=0)
