"""`current()`: what an activity knows of itself, and how its progress gets about. On threads and event loops."""

import asyncio
import logging
import sys
import threading
import time
from datetime import timedelta

import attrs
import pytest

import limen
from limen import (
    ActivityCancelled,
    ActivityContext,
    ActivityFailed,
    EventKind,
    InvalidProgress,
    Limen,
    NoCurrentActivity,
    Retry,
    ScheduleToStartTimedOut,
    activity,
    current,
)

TIMEOUT_S = 10


@pytest.fixture
def app():
    """An application, closed at the end."""
    with Limen() as made:
        yield made


def about(context: ActivityContext) -> tuple[object, ...]:
    """Give what does not change from moment to moment."""
    return (
        context.attempt,
        context.conversation_id,
        context.activity_type,
        context.queue,
        context.worker_id,
        context.cancelled,
        context.last_progress,
    )


@activity(queue="threads")
def on_a_thread() -> tuple[object, ...]:
    """Say who it is."""
    return about(current())


@activity(queue="loop")
async def on_a_loop() -> list[tuple[object, ...]]:
    """Say who it is, before and after an await, in a task and on a thread that it hands a function to."""

    async def inside() -> tuple[object, ...]:
        return about(current())

    first = about(current())
    await asyncio.sleep(0)
    task = asyncio.create_task(inside())
    return [first, about(current()), await task, await asyncio.to_thread(lambda: about(current()))]


def test_an_activity_on_a_thread_knows_itself(app):
    """Issue: attempt, ids, queue and worker; each of several that run at once sees its own."""
    app.worker("threads", [on_a_thread], max_concurrent=3)
    handles = [app.dispatch(on_a_thread) for _ in range(50)]

    for handle in handles:
        assert handle.result(TIMEOUT_S) == (1, handle.id, "on_a_thread", "threads", "worker-1", False, None)


def test_a_coroutine_knows_itself_and_so_does_what_it_starts(app):
    """Issue: many share one thread, and none sees another's."""
    app.worker("loop", [on_a_loop])
    handles = [app.dispatch(on_a_loop) for _ in range(20)]

    for handle in handles:
        assert handle.result(TIMEOUT_S) == [(1, handle.id, "on_a_loop", "loop", "worker-1", False, None)] * 4


def test_outside_an_activity_there_is_none(app):
    """Issue: a typed error; also on a thread that an activity starts, and in a callback that takes a result."""
    seen: list[str] = []

    def note() -> None:
        try:
            seen.append(repr(current()))
        except NoCurrentActivity as error:
            seen.append(str(error))

    @activity
    def start_a_thread() -> None:
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()

    with pytest.raises(NoCurrentActivity):
        current()
    app.worker("default", [start_a_thread])
    handle = app.dispatch(start_a_thread)
    called = threading.Event()

    def take(_: object) -> None:
        note()
        called.set()

    handle.add_done_callback(take)
    handle.result(TIMEOUT_S)
    assert called.wait(TIMEOUT_S)

    assert len(seen) == 2
    assert all("no activity runs here" in each for each in seen)


def test_a_context_may_be_given_to_another_thread(app):
    """Issue: what `current()` gives works wherever it is taken."""
    seen = []

    @activity
    def give_it_away() -> int:
        context = current()

        def use_it() -> None:
            seen.append(context.attempt)
            context.progress("from there")

        thread = threading.Thread(target=use_it)
        thread.start()
        thread.join()
        return context.attempt

    app.worker("default", [give_it_away])
    handle = app.dispatch(give_it_away)

    assert (handle.result(TIMEOUT_S), seen, handle.progress()) == (1, [1], "from there")


def test_the_deadline_is_the_nearer_of_two():
    """TY-04: `start_to_close` of this attempt, or `schedule_to_close` of all; none where there is no limit."""

    @activity
    def time_left() -> tuple[float | None, float | None]:
        context = current()
        now_s = time.monotonic()
        deadline_s = context.deadline_s
        return None if deadline_s is None else deadline_s - now_s, context.remaining_s

    with Limen() as app:
        app.worker("default", [time_left])
        unlimited = app.dispatch(time_left).result(TIMEOUT_S)
        short = app.dispatch(time_left.options(start_to_close=50, schedule_to_close=5000)).result(TIMEOUT_S)
        shorter = app.dispatch(time_left.options(start_to_close=50, schedule_to_close=timedelta(seconds=5)))
        only_start = app.dispatch(time_left.options(schedule_to_start=1)).result(TIMEOUT_S)

        assert unlimited == only_start == (None, None)
        assert list(short) == [pytest.approx(50, abs=1)] * 2
        assert list(shorter.result(TIMEOUT_S)) == [pytest.approx(5, abs=1)] * 2


def test_the_logger_says_whose_words_they_are(app, caplog):
    """Issue: a stdlib logger with the ids as `extra`; what a call adds is kept."""

    @activity
    def tell() -> None:
        current().logger.warning("half of %s", "it", extra={"more": 1, "attempt": "not this"})

    app.worker("default", [tell])
    handle = app.dispatch(tell)
    with caplog.at_level(logging.WARNING, logger="limen.activity"):
        handle.result(TIMEOUT_S)

    (record,) = [each for each in caplog.records if each.name == "limen.activity"]
    told = (record.getMessage(), *(getattr(record, name) for name in ("activity_type", "attempt", "worker_id", "more")))
    assert told == ("half of it", "tell", 1, "worker-1", 1)
    assert (record.conversation_id, record.queue) == (handle.id, "default")


# --- cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "time", "unregister", "close"])
def test_a_thread_is_told_that_nobody_waits_any_more(how):
    """Issue: a function that looks, or waits to be told, can end early; whatever the reason."""
    begun, ended = threading.Event(), threading.Event()
    seen = []

    @activity
    def patient() -> None:
        context = current()
        seen.append(context.cancelled)
        begun.set()
        seen.append(context.wait_cancelled(TIMEOUT_S))
        seen.append(context.cancelled)
        ended.set()

    with Limen() as app:
        worker = app.worker("default", [patient])
        handle = app.dispatch(patient.options(start_to_close=0.01) if how == "time" else patient)
        assert begun.wait(TIMEOUT_S)
        if how == "cancel":
            handle.cancel()
        elif how == "unregister":
            worker.unregister()
        elif how == "close":
            app.close()

        assert ended.wait(TIMEOUT_S)
        assert seen == [False, True, True]


def test_waiting_to_be_cancelled_is_bounded(app):
    """Issue: it says whether it was."""

    @activity
    def impatient() -> tuple[bool, bool]:
        return current().wait_cancelled(0.01), current().wait_cancelled(0)

    app.worker("default", [impatient])

    assert app.dispatch(impatient).result(TIMEOUT_S) == (False, False)


def test_a_thread_of_a_coroutines_is_told_too(app):
    """Issue: what `asyncio.to_thread` runs cannot be cancelled by asyncio, and hears of it here."""
    begun, told = threading.Event(), []

    @activity
    async def delegate() -> None:
        def wait():
            begun.set()
            told.append(current().wait_cancelled(TIMEOUT_S))

        await asyncio.to_thread(wait)

    app.worker("default", [delegate])
    handle = app.dispatch(delegate)
    assert begun.wait(TIMEOUT_S)
    handle.cancel()

    assert isinstance(handle.exception(TIMEOUT_S), ActivityCancelled)
    app.close()
    assert told == [True]


def test_an_attempt_that_is_over_reports_nothing_any_more(app):
    """Issue: a context that outlives its attempt keeps its fields; its progress changes nothing."""
    kept = []

    @activity
    def leak() -> None:
        kept.append(current())
        current().progress("last word")

    app.worker("default", [leak])
    handle = app.dispatch(leak)
    handle.result(TIMEOUT_S)
    (context,) = kept
    context.progress("too late")

    assert handle.progress() == "last word"
    assert (context.conversation_id, context.attempt, context.cancelled) == (handle.id, 1, True)


def test_a_thread_that_does_not_end_costs_the_worker_no_slot(app):
    """Issue: abandoned and replaced, as the pool shows; beyond the limit the slot stays taken until one ends."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    @activity
    def deaf() -> None:
        begun.release()
        assert go_on.wait(TIMEOUT_S)

    @activity
    def well() -> str:
        return "well"

    app.worker("default", [deaf, well], grace=0.01, max_abandoned=2)
    for count in (1, 2):
        handle = app.dispatch(deaf)
        assert begun.acquire(timeout=TIMEOUT_S)
        handle.cancel()
        assert isinstance(handle.exception(TIMEOUT_S), ActivityCancelled)
        assert app.dispatch(well).result(TIMEOUT_S) == "well"
        assert [(row.in_flight, row.free, row.abandoned) for row in app.pool("default")] == [(0, 1, count)]
    third = app.dispatch(deaf)
    assert begun.acquire(timeout=TIMEOUT_S)
    third.cancel()
    third.exception(TIMEOUT_S)
    waiting = app.dispatch(well.options(schedule_to_start=0.1))
    assert isinstance(waiting.exception(TIMEOUT_S), ScheduleToStartTimedOut)
    assert [(row.in_flight, row.abandoned) for row in app.pool("default")] == [(1, 2)]

    last = app.dispatch(well)
    go_on.set()
    assert last.result(TIMEOUT_S) == "well"


# --- progress ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Step:
    """A value of a user's own."""

    name: str
    of: tuple[int, ...] = ()


def test_progress_reaches_the_handle_as_plain_data(app):
    """Issue: the latest word, a copy: what the activity does to its object later changes nothing."""

    @activity
    def report() -> None:
        state: dict[str, object] = {"done": 1, "steps": [Step("first", (1, 2))]}
        current().progress("forgotten")
        current().progress(state)
        state["done"] = 2

    handle = app.dispatch(report.options(schedule_to_start=TIMEOUT_S))
    assert handle.progress() is None
    app.worker("default", [report])
    handle.result(TIMEOUT_S)

    assert handle.progress() == {"done": 1, "steps": [{"name": "first", "of": [1, 2]}]}


@pytest.mark.parametrize("details", [object(), float("nan"), b"bytes\xff" * 20_000, "x" * 70_000, "\ud800"])
def test_what_cannot_be_kept_is_refused_where_it_is_said(app, details):
    """Issue: a typed error in the activity; the earlier word stands, and no part of the details is in the text."""

    @activity
    def report() -> None:
        current().progress("before")
        current().progress(details)

    app.worker("default", [report])
    handle = app.dispatch(report)
    error = handle.exception(TIMEOUT_S)

    assert isinstance(error, ActivityFailed)
    assert isinstance(error.__cause__, InvalidProgress)
    assert "xxx" not in str(error.__cause__)
    assert handle.progress() == "before"


@pytest.mark.parametrize("how", ["failure", "crash", "time"])
def test_the_next_attempt_goes_on_from_the_last_word(app, how):
    """Issue: progress survives a failure, the death of the worker, and a limit; a second new start sees the latest."""
    begun = threading.Event()

    @activity(retry=Retry(max_attempts=3, initial=0.001), start_to_close=0.05 if how == "time" else None)
    def resume() -> list[object]:
        context = current()
        seen = [context.last_progress, context.attempt]
        context.progress({"attempt": context.attempt, "before": context.last_progress})
        seen.append(context.last_progress)
        if context.attempt < 3:
            if how == "failure":
                raise ValueError("no")
            if how == "crash":
                sys.exit(1)
            context.wait_cancelled(TIMEOUT_S)
        begun.set()
        return seen

    app.worker("default", [resume])
    handle = app.dispatch(resume)
    first = {"attempt": 1, "before": None}
    second = {"attempt": 2, "before": first}

    assert handle.result(TIMEOUT_S) == [second, 3, second]
    assert handle.progress() == {"attempt": 3, "before": second}


def test_progress_is_an_event_told_now_and_then(app):
    """Issue: the latest word of many, never one event each; who says it is in the event."""
    events = app.events()

    @activity
    def count() -> None:
        for number in range(10_000):
            current().progress(number)
        assert shown.wait(TIMEOUT_S)

    shown = threading.Event()
    app.worker("default", [count])
    handle = app.dispatch(count)
    told = []
    for event in events:
        if event.kind is EventKind.PROGRESS:
            told.append(event.progress)
            assert (event.conversation_id, event.activity_type, event.worker_id) == (handle.id, "count", "worker-1")
            if event.progress == 9_999:
                break
    shown.set()
    handle.result(TIMEOUT_S)

    assert told == sorted(set(told))
    assert len(told) < 1_000


def test_the_names_are_exported():
    """Issue: `limen.current` and the type of what it gives."""
    assert {"ActivityContext", "current", "InvalidProgress", "NoCurrentActivity"} <= set(limen.__all__)
