"""Queues under an operator's hand: paused, limited and looked at while they work, with workers of every kind."""

import asyncio
import threading
import time
from typing import Any

import face_activities
import pytest
from dispatchkit import crash

from limen import (
    Accept,
    ActivityCancelled,
    ChannelLifecycleError,
    ConfigError,
    Defer,
    EventKind,
    Limen,
    Limit,
    NoWorkersAvailable,
    QueueFull,
    Reject,
    activity,
    cancel_all,
)

TIMEOUT_S = 10


class Crowd:
    """An activity that holds until it is let go; knows how many hold at the same time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.peak = 0
        self.order: list[int] = []
        self._lock = threading.Lock()

    def hold(self, number: int) -> int:
        """Take part until the crowd is let go."""
        with self._lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
            self.order.append(number)
        self.begun.release()
        assert self.go_on.wait(TIMEOUT_S)
        with self._lock:
            self.running -= 1
        return number


@pytest.fixture
def crowd():
    """A crowd, which is let go at the end."""
    made = Crowd()
    yield made
    made.go_on.set()


@pytest.fixture
def app(crowd):
    """An application, closed at the end."""
    with Limen() as made:
        yield made
        crowd.go_on.set()


def _holding(crowd: Crowd) -> Any:
    @activity(queue="media")
    def hold(number: int) -> int:
        return crowd.hold(number)

    return hold


def _other(crowd: Crowd) -> Any:
    @activity(queue="media")
    def other(number: int) -> int:
        return crowd.hold(number)

    return other


@activity(queue="media")
def at_once(number: int) -> int:
    """Take no time."""
    return number


@activity(queue="media")
async def soon(number: int) -> int:
    """Take no time, on a loop."""
    return number


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_a_paused_queue_starts_nothing_and_forgets_nothing(app, crowd):
    """What ran goes on, what waits keeps its order, and what comes in meanwhile waits too."""
    hold = _holding(crowd)
    app.worker("media", [hold, at_once])
    running = app.dispatch(hold, 0)
    assert crowd.begun.acquire(timeout=TIMEOUT_S)
    before = [app.dispatch(at_once, n) for n in range(3)]

    app.pause("media")
    app.pause("media")
    after = [app.dispatch(at_once.options(priority=1), n) for n in range(3, 6)]
    crowd.go_on.set()

    assert running.result(timeout=TIMEOUT_S) == 0
    row = app.queue("media")
    assert (row.paused, row.waiting, row.running) == (True, 6, 0)
    assert not any(each.done() or each.attempts for each in (*before, *after))
    app.resume("media")
    app.resume("media")
    assert [each.result(timeout=TIMEOUT_S) for each in (*before, *after)] == list(range(6))
    assert not app.queue("media").paused


def test_limits_run_on_while_a_queue_is_paused(app):
    """A request that may only wait so long is told when it has."""
    app.worker("media", [at_once])
    app.pause("media")

    late = app.dispatch(at_once.options(schedule_to_start=0.02), 1)

    error = late.exception(timeout=TIMEOUT_S)
    assert getattr(error, "limit", "") == "schedule_to_start"


def test_a_request_that_waits_in_a_pause_can_be_given_up(app):
    """It never starts."""
    app.worker("media", [at_once])
    app.pause("media")
    handle = app.dispatch(at_once, 1)

    handle.cancel()

    assert handle.exception(timeout=TIMEOUT_S) is not None
    app.resume("media")
    assert app.queue("media").waiting == 0
    assert not handle.attempts


@pytest.mark.parametrize("kind", ["thread", "asyncio", pytest.param("process", marks=pytest.mark.slow)])
def test_every_kind_of_worker_is_paused(kind):
    """Nothing is handed over before the resume."""
    if kind == "process":
        task, queue = face_activities.double, "work"
    else:
        task, queue = (soon, "media") if kind == "asyncio" else (at_once, "media")
    with Limen() as app:
        app.worker(queue, [task], executor=kind, max_concurrent=2)
        app.pause(queue)
        handles = [app.dispatch(task, n) for n in range(4)]
        assert app.queue(queue).running == 0
        app.resume(queue)
        assert len([each.result(timeout=60) for each in handles]) == 4


def test_a_pause_outlives_the_channels_actor(app):
    """CH-14: another actor goes on with the same book; nothing starts until somebody says so."""
    app.worker("media", [at_once])
    app.pause("media")
    handle = app.dispatch(at_once, 7)
    session: Any = app._ports["media"].session
    first = session.ref()
    crash(first)

    row = app.queue("media")

    assert session.ref() is not first
    assert (row.paused, row.waiting) == (True, 1)
    app.resume("media")
    assert handle.result(timeout=TIMEOUT_S) == 7


def test_pause_and_resume_are_events(app):
    """Once each, however often they are said."""
    app.worker("media", [at_once])
    with app.events() as events:
        app.pause("media")
        app.pause("media")
        app.resume("media")
        app.resume("media")
        app.dispatch(at_once, 1).result(timeout=TIMEOUT_S)
        kinds = []
        while EventKind.FINISHED not in kinds:
            event = events.next(timeout=TIMEOUT_S)
            assert event is not None
            kinds.append(event.kind)

    assert [kind for kind in kinds if kind in {EventKind.PAUSED, EventKind.RESUMED}] == [
        EventKind.PAUSED,
        EventKind.RESUMED,
    ]


def test_a_paused_queue_can_be_closed(app):
    """Whoever waits is told."""
    app.worker("media", [at_once])
    app.pause("media")
    handle = app.dispatch(at_once, 1)

    app.close()

    assert isinstance(handle.exception(timeout=TIMEOUT_S), ChannelLifecycleError)
    with pytest.raises(ChannelLifecycleError):
        app.resume("media")


def test_a_request_that_nobody_serves_fails_in_a_pause_too(app):
    """DP-10: at once."""
    app.worker("media", [soon])
    app.pause("media")

    assert isinstance(app.dispatch(at_once, 1).exception(timeout=TIMEOUT_S), NoWorkersAvailable)


# --- limits by number -------------------------------------------------------------------------------------------------


def test_no_more_run_at_once_than_the_limit_over_all_workers(app, crowd):
    """Others pass by meanwhile, and a limit can be raised while work waits."""
    hold, other = _holding(crowd), _other(crowd)
    for _ in range(2):
        app.worker("media", [hold, other], max_concurrent=3)
    app.limit("media", hold, max_concurrent=2)
    handles = [app.dispatch(hold, n) for n in range(8)]
    others = [app.dispatch(other, n) for n in range(2)]
    for _ in range(4):
        assert crowd.begun.acquire(timeout=TIMEOUT_S)

    rows = {row.activity_type: row for row in app.queue("media").types}

    assert (rows["hold"].running, rows["hold"].waiting) == (2, 6)
    assert rows["hold"].limit == Limit(max_concurrent=2)
    assert (rows["other"].running, rows["other"].waiting) == (2, 0)
    app.limit("media", "hold", max_concurrent=3)
    assert crowd.begun.acquire(timeout=TIMEOUT_S)
    crowd.go_on.set()
    assert [each.result(timeout=TIMEOUT_S) for each in (*handles, *others)] == [*range(8), *range(2)]


@pytest.mark.parametrize("kind", ["thread", "asyncio"])
def test_a_limit_is_never_exceeded_whatever_comes_in(kind):
    """Hundreds of short ones, over several workers and slots."""
    running, peak, lock = [0], [0], threading.Lock()

    def count(by: int) -> None:
        with lock:
            running[0] += by
            peak[0] = max(peak[0], running[0])

    @activity(queue="media")
    def counted(number: int) -> int:
        count(1)
        count(-1)
        return number

    @activity(queue="media")
    async def counted_on_a_loop(number: int) -> int:
        count(1)
        await asyncio.sleep(0)
        count(-1)
        return number

    task: Any = counted if kind == "thread" else counted_on_a_loop
    with Limen() as app:
        for _ in range(2):
            app.worker("media", [task], max_concurrent=4)
        app.limit("media", task, max_concurrent=2)
        assert list(app.map(task, range(300))) == list(range(300))

        assert peak[0] <= 2


def test_a_limit_holds_in_child_processes():
    """A process worker holds no more in advance than may run."""
    with Limen() as app:
        app.worker("work", [face_activities.double], executor="process", max_concurrent=2)
        app.limit("work", face_activities.double, max_concurrent=1)
        handles = [app.dispatch(face_activities.double, n) for n in range(10)]
        (row,) = app.queue("work").types
        assert row.running <= 1
        assert [each.result(timeout=60) for each in handles] == list(range(0, 20, 2))


def test_a_limit_of_zero_holds_an_activity_back_and_lifting_it_lets_it_go(app, crowd):
    """Others go on."""
    hold, other = _holding(crowd), _other(crowd)
    app.worker("media", [hold, other], max_concurrent=2)
    crowd.go_on.set()
    app.limit("media", hold, max_concurrent=0)
    held = app.dispatch(hold, 1)
    assert app.dispatch(other, 2).result(timeout=TIMEOUT_S) == 2
    assert not held.done()

    app.limit("media", hold)

    assert held.result(timeout=TIMEOUT_S) == 1
    assert app.queue("media").types == ()


# --- limits by rate ---------------------------------------------------------------------------------------------------


def test_starts_are_spread_as_the_rate_says(app):
    """Three at once, and the others one by one, each with its token."""
    app.worker("media", [at_once], max_concurrent=4)
    app.limit("media", at_once, rate=200, burst=3)
    begin_s = time.monotonic()
    assert list(app.map(at_once, range(23))) == list(range(23))
    took_s = time.monotonic() - begin_s

    assert took_s >= 20 / 200 - 0.001
    assert took_s < TIMEOUT_S


@pytest.mark.parametrize(
    ("arguments", "options", "problem"),
    [
        (("media", len), {"rate": 1}, "activity"),
        (("media", ""), {"rate": 1}, "activity"),
        (("other", at_once), {"rate": 1}, "is for queue 'media'"),
        (("media", at_once), {"rate": 0}, "rate"),
        (("media", at_once), {"max_concurrent": -1}, "max_concurrent"),
        (("media", at_once), {"burst": 1}, "burst"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(app, arguments, options, problem):
    """With what is wrong; nothing is limited."""
    with pytest.raises(ConfigError, match=problem):
        app.limit(*arguments, **options)

    assert app.queue("media").types == ()


# --- a bound, signals, and waiting for room ---------------------------------------------------------------------------


def test_a_dispatch_is_accepted_deferred_or_rejected(app, crowd):
    """BP-05, BP-06: the caller has the answer with the handle; what is deferred runs in order, the rest never."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=2)
    handles = [app.dispatch(hold, n) for n in range(5)]

    assert [type(each.signal) for each in handles] == [Accept, Defer, Defer, Reject, Reject]
    assert handles[0].signal == Accept(current_in_flight=0, max_in_flight=1)
    assert handles[4].signal == Reject(current_in_flight=1, max_in_flight=1, buffer_depth=2, max_buffer_depth=2)
    assert app.queue("media").bound == 2
    crowd.go_on.set()
    assert [each.result(timeout=TIMEOUT_S) for each in handles[:3]] == [0, 1, 2]
    assert all(isinstance(each.exception(timeout=TIMEOUT_S), QueueFull) for each in handles[3:])
    assert crowd.order == [0, 1, 2]


def test_a_queue_without_a_bound_has_no_signals(app):
    """Also not any more after its bound was lifted."""
    app.worker("media", [at_once])
    assert app.dispatch(at_once, 1).signal is None
    app.bound("media", waiting=1)
    assert isinstance(app.dispatch(at_once, 1).signal, Accept)

    app.bound("media", waiting=None)

    assert app.dispatch(at_once, 1).signal is None
    assert app.queue("media").bound == 100_000


def test_dispatch_waits_for_room_as_long_as_it_may(app, crowd):
    """It comes back when there is room, and not before."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=1)
    first, second = app.dispatch(hold, 0), app.dispatch(hold, 1)
    came = threading.Event()
    handles: list[Any] = []

    def dispatch() -> None:
        handles.append(app.dispatch(hold.options(wait=TIMEOUT_S), 2))
        came.set()

    dispatching = threading.Thread(target=dispatch)
    dispatching.start()
    while not app.queue("media").outside:
        assert not came.is_set()
    crowd.go_on.set()
    assert came.wait(TIMEOUT_S)
    dispatching.join()

    assert [each.result(timeout=TIMEOUT_S) for each in (first, second, *handles)] == [0, 1, 2]


def test_dispatch_that_waits_in_vain_gives_a_handle_that_says_so(app, crowd):
    """As every other refusal is told."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=1)
    for number in range(2):
        app.dispatch(hold, number)

    handle = app.dispatch(hold.options(wait=0.02), 2)

    assert isinstance(handle.exception(timeout=0), QueueFull)
    assert isinstance(handle.signal, Reject)


def test_an_event_loop_goes_on_while_a_coroutine_waits_for_room(crowd):
    """`dispatch_async` is for them; it may be given up like any coroutine, and then the request never runs."""
    hold = _holding(crowd)

    async def main() -> None:
        async with Limen() as app:
            app.worker("media", [hold])
            app.bound("media", waiting=1)
            handles = [await app.dispatch_async(hold, number) for number in range(2)]
            patient = asyncio.create_task(app.dispatch_async(hold.options(wait=TIMEOUT_S), 2))
            fickle = asyncio.create_task(app.dispatch_async(hold.options(wait=TIMEOUT_S), 3))
            await asyncio.sleep(0)
            assert not patient.done()
            fickle.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fickle
            crowd.go_on.set()
            handles.append(await patient)
            assert [await each for each in handles] == [0, 1, 2]

    asyncio.run(main())
    assert crowd.order == [0, 1, 2]


def test_a_caller_that_waits_for_room_is_let_go_by_the_close(app, crowd):
    """Nobody waits for a queue that is gone."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=1)
    for number in range(2):
        app.dispatch(hold, number)
    handles: list[Any] = []
    waiting = threading.Thread(target=lambda: handles.append(app.dispatch(hold.options(wait=60), 2)))
    waiting.start()
    while not app.queue("media").outside:
        assert waiting.is_alive()

    crowd.go_on.set()
    app.close()
    waiting.join(TIMEOUT_S)

    (handle,) = handles
    assert handle.done()


@pytest.mark.parametrize("bound", [1, 3])
def test_map_waits_for_room_and_is_never_rejected(app, bound):
    """However small the bound."""
    app.worker("media", [at_once], max_concurrent=2)
    app.bound("media", waiting=bound)

    assert list(app.map(at_once, range(200))) == list(range(200))


def test_map_takes_no_more_items_than_there_is_room_for(app, crowd):
    """One may be outside."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=2)
    taken = []

    def items() -> Any:
        for number in range(10):
            taken.append(number)
            yield number

    results = app.map(hold, items())
    first = threading.Thread(target=lambda: next(results))
    first.start()
    assert crowd.begun.acquire(timeout=TIMEOUT_S)
    while not app.queue("media").outside:
        assert first.is_alive()

    assert len(taken) == 4
    crowd.go_on.set()
    first.join(TIMEOUT_S)
    assert list(results) == list(range(1, 10))


def test_keyed_work_waits_for_room_once_for_all_who_ask_for_it(app, crowd):
    """Whoever joins adds nothing to the queue, and so need not wait; what becomes of the work is the answer to all."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=1)
    for number in range(2):
        app.dispatch(hold, number)
    keyed = hold.options(key="k", wait=TIMEOUT_S)
    handles: list[Any] = []
    first = threading.Thread(target=lambda: handles.append(app.dispatch(keyed, 2)))
    first.start()
    while not app.queue("media").outside:
        assert first.is_alive()

    joined = app.dispatch(keyed, 2)
    assert first.is_alive()
    crowd.go_on.set()
    first.join(TIMEOUT_S)

    assert [each.result(timeout=TIMEOUT_S) for each in (*handles, joined)] == [2, 2]
    assert handles[0].signal == joined.signal
    assert isinstance(joined.signal, Defer)
    assert crowd.order == [0, 1, 2]


def test_a_rejection_is_an_event(app, crowd):
    """With the conversation that it is about."""
    hold = _holding(crowd)
    app.worker("media", [hold])
    app.bound("media", waiting=1)
    with app.events() as events:
        handles = [app.dispatch(hold, number) for number in range(3)]
        rejected = next(event for event in events if event.kind is EventKind.REJECTED)

    assert rejected.conversation_id == handles[2].id
    assert rejected.activity_type == "hold"


@pytest.mark.parametrize("waiting", [0, -1, 1.5, True, "2"])
def test_a_bound_that_cannot_be_meant_is_refused(app, waiting):
    """BP-01: at least one may wait."""
    with pytest.raises(ConfigError, match="waiting"):
        app.bound("media", waiting=waiting)


def test_a_time_to_wait_that_cannot_be_meant_is_refused():
    """As with every other limit."""
    for wait in (-1, "soon", float("nan")):
        with pytest.raises(ConfigError):
            at_once.options(wait=wait)  # type: ignore[arg-type]


# --- many at once -----------------------------------------------------------------------------------------------------


def test_many_are_cancelled_in_one_go(app, crowd):
    """On several queues, with some that are done, and one twice."""
    hold = _holding(crowd)

    @activity(queue="other")
    def elsewhere(number: int) -> int:
        crowd.hold(number)
        return number

    app.worker("media", [hold])
    app.worker("other", [elsewhere])
    running = [app.dispatch(hold, 0), app.dispatch(elsewhere, 0)]
    for _ in range(2):
        assert crowd.begun.acquire(timeout=TIMEOUT_S)
    waiting = [app.dispatch(each, number) for number in range(1, 50) for each in (hold, elsewhere)]
    kept = app.dispatch(hold, 100)

    cancel_all([*waiting, waiting[0]])

    errors = [each.exception(timeout=TIMEOUT_S) for each in waiting]
    assert all(isinstance(each, ActivityCancelled) for each in errors)
    crowd.go_on.set()
    assert [each.result(timeout=TIMEOUT_S) for each in (*running, kept)] == [0, 0, 100]
    cancel_all(waiting)
    assert sorted(crowd.order) == [0, 0, 100]
