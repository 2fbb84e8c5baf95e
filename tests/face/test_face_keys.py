"""Idempotency keys end to end: racing callers, joined handles, remembered results, conflicts, letters, records."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import face_activities
import pytest
from linkkit import PATIENCE_S

from limen import (
    ActivityCancelled,
    ActivityFailed,
    ActivityTimedOut,
    ChannelLifecycleError,
    ConfigError,
    KeyConflict,
    Limen,
    MemoryRecorder,
    PoisonActivity,
    Retry,
    WorkerCrashed,
    activity,
    current,
)
from limen.actors import DispatchContext, WorkerContext, dispatch_activity
from limen.messages import ActivityRequest, Payload, WorkerCapacity


class Till:
    """An activity that counts how often it is run, and holds until it is let go."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.error: BaseException | None = None

        @activity
        def charge(amount: int, currency: str = "EUR") -> str:
            self.runs.append(amount)
            current().progress("charging")
            self.begun.release()
            assert self.go_on.wait(PATIENCE_S)
            if self.error is not None:
                raise self.error
            return f"{amount} {currency}"

        self.activity = charge

    def wait_begun(self) -> None:
        """Wait until one more has begun."""
        assert self.begun.acquire(timeout=PATIENCE_S)


@pytest.fixture
def till():
    """Open at the end, so that no thread stays behind."""
    made = Till()
    yield made
    made.go_on.set()


@pytest.fixture
def app(till):
    """An application with a worker, closed at the end."""
    with Limen() as made:
        made.worker("default", [till.activity], max_concurrent=2)
        yield made


def test_a_second_dispatch_joins_the_first(app, till):
    """One run, one result for both; the second handle has an id of its own and shows the attempts of the first."""
    once = till.activity.options(key="order 17")
    first = app.dispatch(once, 5)
    till.wait_begun()
    second = app.dispatch(once, 5)
    assert second.wait(0.01) is False
    assert (first.state, second.state) == ("running", "running")
    till.go_on.set()

    assert first.result(timeout=PATIENCE_S) == second.result(timeout=PATIENCE_S) == "5 EUR"
    assert till.runs == [5]
    assert (first.joined, second.joined) == (None, first.id)
    assert second.id != first.id
    assert second.progress() == first.progress() == "charging"
    assert second.attempts == first.attempts


def test_a_finished_key_gives_its_result(app, till):
    """Nothing is run again, also where the call is written in another way."""
    till.go_on.set()
    first = app.dispatch(till.activity.options(key="k"), 5)
    assert first.result(timeout=PATIENCE_S) == "5 EUR"

    later = app.dispatch(till.activity.options(key="k"), currency="EUR", amount=5)

    assert later.result(timeout=PATIENCE_S) == "5 EUR"
    assert (later.joined, later.attempts, till.runs) == (first.id, first.attempts, [5])


def test_a_key_can_be_awaited(till):
    """The async face has the same handles."""
    till.go_on.set()

    @activity
    async def fetch(number: int) -> int:
        till.runs.append(number)
        return number

    async def main() -> list[int]:
        async with Limen() as app:
            app.worker("default", [fetch])
            return list(await asyncio.gather(*(_awaited(app.dispatch(fetch.options(key="k"), 1)) for _ in range(5))))

    assert asyncio.run(main()) == [1] * 5
    assert till.runs == [1]


async def _awaited(handle: Any) -> Any:
    return await handle


def test_of_racing_callers_one_is_served_and_all_have_the_result(app, till):
    """DU-13: thirty-two threads with one key: executed once."""
    till.go_on.set()
    start = threading.Barrier(32)
    results: list[str] = []

    def call() -> None:
        start.wait(PATIENCE_S)
        results.append(app.dispatch(till.activity.options(key="k"), 5).result(timeout=PATIENCE_S))

    threads = [threading.Thread(target=call) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert results == ["5 EUR"] * 32
    assert till.runs == [5]


@pytest.mark.slow
def test_racing_callers_of_a_process_worker_start_one_activity(tmp_path):
    """The same where children run it; a child that dies in the middle changes nothing."""
    marker = str(tmp_path / "marker")
    with Limen() as app:
        app.worker("work", [face_activities.die_once], executor="process", max_concurrent=2)
        handles = [app.dispatch(face_activities.die_once.options(key="k"), marker) for _ in range(8)]

        assert len({handle.result(timeout=PATIENCE_S) for handle in handles}) == 1
        assert {len(handle.attempts) for handle in handles} == {2}
        assert {handle.crashes for handle in handles} == {1}


def test_other_arguments_are_a_conflict(app, till):
    """`KeyConflict` names key and activity; nothing was run for it, and the first is not touched."""
    till.go_on.set()
    first = app.dispatch(till.activity.options(key="k"), 5)
    conflict = app.dispatch(till.activity.options(key="k"), 6)

    with pytest.raises(KeyConflict, match="'k' of activity 'charge'"):
        conflict.result(timeout=PATIENCE_S)
    assert first.result(timeout=PATIENCE_S) == "5 EUR"
    assert (conflict.attempts, till.runs) == ((), [5])


# --- giving up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaver", [0, 1])
def test_cancelling_gives_up_one_caller(app, till, leaver):
    """The other, be he first or second, gets the result of the one run."""
    handles = [app.dispatch(till.activity.options(key="k"), 5) for _ in range(2)]
    till.wait_begun()
    handles[leaver].cancel()

    assert isinstance(handles[leaver].exception(timeout=PATIENCE_S), ActivityCancelled)
    assert not handles[1 - leaver].done()
    till.go_on.set()
    assert handles[1 - leaver].result(timeout=PATIENCE_S) == "5 EUR"
    assert till.runs == [5]


def test_the_work_is_cancelled_when_nobody_wants_it():
    """A coroutine is stopped, once all callers have given it up; the key is free again."""
    begun, stopped = threading.Event(), threading.Event()

    @activity
    async def wait() -> str:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return "never"

    with Limen() as app:
        app.worker("default", [wait])
        handles = [app.dispatch(wait.options(key="k")) for _ in range(2)]
        assert begun.wait(PATIENCE_S)
        for handle in handles:
            assert not stopped.is_set()
            handle.cancel()
            assert isinstance(handle.exception(timeout=PATIENCE_S), ActivityCancelled)
        assert stopped.wait(PATIENCE_S)
        assert app.dispatch(wait.options(key="k")).joined is None


def test_each_caller_waits_as_long_as_he_likes(app, till):
    """`schedule_to_close` of one ends his wait, and not the work of the others."""
    patient = app.dispatch(till.activity.options(key="k"), 5)
    till.wait_begun()
    hasty = app.dispatch(till.activity.options(key="k", schedule_to_close=0.01), 5)

    error = hasty.exception(timeout=PATIENCE_S)
    assert isinstance(error, ActivityTimedOut)
    assert error.limit == "schedule_to_close"
    till.go_on.set()
    assert patient.result(timeout=PATIENCE_S) == "5 EUR"


def test_the_close_tells_every_caller(till):
    """Joined or not, nobody is forgotten."""
    app = Limen()
    app.worker("default", [till.activity])
    handles = [app.dispatch(till.activity.options(key="k"), 5) for _ in range(3)]
    till.wait_begun()
    till.go_on.set()
    app.close()

    for handle in handles:
        assert handle.done()
        assert handle.exception() is None or isinstance(handle.exception(), ChannelLifecycleError)


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_failure_is_for_those_who_waited_and_the_next_one_tries_again(app, till):
    """DU-17: a key stands for a result; without one it is free."""
    till.error = ValueError("card declined")
    handles = [app.dispatch(till.activity.options(key="k"), 5) for _ in range(2)]
    till.go_on.set()
    assert [type(handle.exception(timeout=PATIENCE_S)) for handle in handles] == [ActivityFailed] * 2
    till.error = None

    again = app.dispatch(till.activity.options(key="k"), 5)

    assert again.result(timeout=PATIENCE_S) == "5 EUR"
    assert (again.joined, len(till.runs)) == (None, 2)


def test_retries_happen_once_for_all_callers(app, till):
    """The policy is that of the first; both handles show the failed attempt."""
    tries = []

    @activity(retry=Retry(max_attempts=2, initial=0.0))
    def stumble() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("not yet")
        return "done"

    app.worker("default", [stumble])
    handles = [app.dispatch(stumble.options(key="k")) for _ in range(2)]

    assert [handle.result(timeout=PATIENCE_S) for handle in handles] == ["done"] * 2
    assert len(tries) == 2
    assert {tuple(type(each) for each in handle.errors) for handle in handles} == {(LookupError,)}
    late = app.dispatch(stumble.options(key="k"))
    assert late.result(timeout=PATIENCE_S) == "done"
    assert [type(each) for each in late.errors] == [LookupError]


def test_poison_keeps_its_key_while_its_letter_lies_there():
    """Whoever dispatches it again gets the error, and no worker dies for it; a requeue or a discard frees the key."""
    kills = True
    begun = []

    @activity
    def deadly() -> str:
        begun.append(1)
        if kills:
            raise SystemExit(3)
        return "fine"

    with Limen() as app:
        app.worker("default", [deadly])
        once = deadly.options(key="k", max_crashes=2)
        first, second = app.dispatch(once), app.dispatch(once)
        assert {type(each.exception(timeout=PATIENCE_S)) for each in (first, second)} == {PoisonActivity}
        (letter,) = app.dead_letters("default")
        assert (letter.id, letter.key, letter.crashes) == (first.id, "k", 2)

        third = app.dispatch(once)
        assert isinstance(third.exception(timeout=PATIENCE_S), PoisonActivity)
        assert (third.crashes, [type(each.error) for each in third.attempts]) == (2, [WorkerCrashed] * 2)
        assert len(begun) == 2
        assert len(app.dead_letters("default")) == 1

        kills = False
        again = app.requeue(deadly, letter.id)
        joined = app.dispatch(once)
        assert again.result(timeout=PATIENCE_S) == joined.result(timeout=PATIENCE_S) == "fine"
        assert (len(begun), app.dead_letters("default")) == (3, ())

        kills = True
        other = app.dispatch(once.options(key="other"))
        assert isinstance(other.exception(timeout=PATIENCE_S), PoisonActivity)
        app.discard("default", other.id)
        kills = False
        assert app.dispatch(once.options(key="other")).result(timeout=PATIENCE_S) == "fine"


def test_a_requeue_whose_key_is_taken_joins_and_loses_nothing(app, till):
    """The key was free when its time was up; what runs under it now is joined."""
    kills = True

    @activity
    def moody(number: int) -> int:
        if kills:
            raise SystemExit(3)
        till.begun.release()
        assert till.go_on.wait(PATIENCE_S)
        return number

    app.worker("default", [moody])
    app.remember("default", keys=0)
    once = moody.options(key="k", max_crashes=1)
    dead = app.dispatch(once, 1)
    assert isinstance(dead.exception(timeout=PATIENCE_S), PoisonActivity)
    kills = False
    running = app.dispatch(once, 1)
    till.wait_begun()
    requeued = app.requeue(moody, dead.id)
    assert requeued.joined == running.id

    requeued.cancel()
    assert isinstance(requeued.exception(timeout=PATIENCE_S), ActivityCancelled)
    assert [letter.id for letter in app.dead_letters("default")] == [dead.id]
    again = app.requeue(moody, dead.id)
    till.go_on.set()
    assert running.result(timeout=PATIENCE_S) == again.result(timeout=PATIENCE_S) == 1
    assert app.dead_letters("default") == ()


# --- how long ---------------------------------------------------------------------------------------------------------


def test_a_key_is_free_again_when_its_time_is_up(app, till):
    """`remember(ttl=…)` bounds the time, `keys=…` the number; with none of either nothing is remembered."""
    till.go_on.set()

    def run(key: str) -> None:
        app.dispatch(till.activity.options(key=key), 1).result(timeout=PATIENCE_S)

    app.remember("default", ttl=timedelta(hours=2), keys=1)
    run("a")
    run("b")
    run("b")
    assert len(till.runs) == 2
    run("a")
    assert len(till.runs) == 3
    app.remember("default", ttl=0)
    run("a")
    run("a")
    assert len(till.runs) == 5
    for wrong in ({"keys": -1}, {"ttl": -0.1}, {"dead_letters": True}):
        with pytest.raises(ConfigError):
            app.remember("default", **wrong)


# --- records and events -----------------------------------------------------------------------------------------------


def test_a_joined_dispatch_is_on_record_and_told(till):
    """It is opened, joined and closed; the attempts are in the record of the first. Each request is concluded once."""
    recorder = MemoryRecorder()
    with Limen(recorder=recorder) as app:
        app.worker("default", [till.activity])
        with app.events() as events:
            first = app.dispatch(till.activity.options(key="k"), 5)
            till.wait_begun()
            second = app.dispatch(till.activity.options(key="k"), 5)
            till.go_on.set()
            for handle in (first, second):
                handle.result(timeout=PATIENCE_S)
            late = app.dispatch(till.activity.options(key="k"), 5)
            late.result(timeout=PATIENCE_S)
            events.close()
            told = [(str(each.kind), each.conversation_id) for each in events]

    def kinds(handle: Any) -> list[str]:
        return [str(each.kind) for each in recorder.operations(handle.id)]

    assert kinds(first) == [
        "conversation_opened",
        "worker_selected",
        "message_sent",
        "message_received",
        "conversation_closed",
    ]
    for handle in (second, late):
        assert kinds(handle) == ["conversation_opened", "conversation_joined", "conversation_closed"]
        assert recorder.operations(handle.id)[1].message == first.id
        assert recorder.outcome(handle.id) == recorder.outcome(first.id)
    assert [each for each in told if each[0] == "joined"] == [("joined", second.id), ("joined", late.id)]
    assert sorted(each for each in told if each[0] == "concluded") == sorted(
        ("concluded", handle.id) for handle in (first, second, late)
    )


def test_the_lower_layer_has_keys_too():
    """`dispatch_activity(key=…)`: payloads are compared by their bytes and type."""
    calls = []

    def echo(request: ActivityRequest) -> Payload:
        calls.append(request)
        assert isinstance(request.input, Payload)
        return request.input

    with WorkerContext() as context:
        worker = context.register_worker("ns", "q", WorkerCapacity(1, ("echo",)), handlers={"echo": echo})
        here = DispatchContext(worker_pool=context)
        request = ActivityRequest("echo", Payload(b"1"))
        results = [dispatch_activity("ns", "q", request, here, timeout=PATIENCE_S, key="k") for _ in range(2)]
        with pytest.raises(KeyConflict):
            dispatch_activity("ns", "q", ActivityRequest("echo", Payload(b"2")), here, timeout=PATIENCE_S, key="k")
        context.remember("ns", "q", keys=0, ttl=1.0)
        dispatch_activity("ns", "q", request, here, timeout=PATIENCE_S, key="k")

        assert worker.is_active
    assert results == [results[0]] * 2
    assert len(calls) == 2
