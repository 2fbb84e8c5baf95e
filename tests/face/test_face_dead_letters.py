"""Dead letters end to end: what is kept, listed, tried again and thrown away, and what of it is recorded and told."""

import asyncio
import threading
from typing import Any

import face_activities
import pytest
from linkkit import PATIENCE_S

from limen import (
    ActivityCancelled,
    ActivityFailed,
    ChannelLifecycleError,
    ConfigError,
    DispatchFailed,
    Limen,
    MemoryRecorder,
    NoWorkersAvailable,
    PoisonActivity,
    RecorderFailed,
    Retry,
    UnknownDeadLetter,
    WorkerCrashed,
    activity,
)
from limen.messages import Operation, OperationKind


class Mood:
    """An activity that kills its worker, fails, or works, as the test has it."""

    def __init__(self) -> None:
        self.kills = self.fails = False
        self.begun: list[int] = []

        @activity(retry=Retry(max_attempts=1))
        def moody(number: int) -> int:
            self.begun.append(number)
            if self.kills:
                raise SystemExit(3)
            if self.fails:
                raise ValueError("not today")
            return 2 * number

        self.activity = moody


@pytest.fixture
def mood():
    """A killer, to begin with."""
    made = Mood()
    made.kills = True
    return made


@pytest.fixture
def app():
    """An application, closed at the end."""
    with Limen() as made:
        yield made


def die_of(app: Limen, mood: Mood, number: int = 21) -> Any:
    """Dispatch it until it is poison; give the handle."""
    handle = app.dispatch(mood.activity.options(max_crashes=2, priority=7), number)
    assert isinstance(handle.exception(timeout=PATIENCE_S), PoisonActivity)
    return handle


def test_poison_is_found_among_the_dead_letters(app, mood):
    """The caller gets `PoisonActivity` as ever; by then the letter is there, with the history of the request."""
    app.worker("default", [mood.activity])
    handle = die_of(app, mood)

    (letter,) = app.dead_letters("default")
    assert (letter.id, letter.activity_type, letter.priority, letter.max_crashes) == (handle.id, "moody", 7, 2)
    assert letter.request.input.value == ((21,), {})
    assert letter.error == handle.exception()
    assert letter.attempts == handle.attempts
    assert [(each.worker_id, each.incarnation, type(each.error)) for each in letter.attempts] == [
        ("worker-1", 1, WorkerCrashed),
        ("worker-1", 2, WorkerCrashed),
    ]


def test_a_requeue_is_a_new_handle_of_the_same_request(app, mood):
    """It runs with the same arguments under the same id, counts crashes afresh, and leaves the first handle alone."""
    app.worker("default", [mood.activity])
    first = die_of(app, mood)
    mood.kills = False

    again = app.requeue(mood.activity, first.id)

    assert again.result(timeout=PATIENCE_S) == 42
    assert (again.id, again.crashes, len(again.attempts)) == (first.id, 0, 1)
    assert isinstance(first.exception(), PoisonActivity)
    assert app.dead_letters("default") == ()


def test_a_requeue_can_be_awaited(app, mood):
    """The async face has the same handle."""
    app.worker("default", [mood.activity])
    first = die_of(app, mood)
    mood.kills = False

    async def again() -> Any:
        return await app.requeue("default", first.id)

    assert asyncio.run(again()) == 42


def test_a_requeue_without_a_result_comes_back_with_a_longer_history(app, mood):
    """Poison again, or a failure that was not to be kept: it loses nothing, and keeps its id."""
    app.worker("default", [mood.activity])
    first = die_of(app, mood)

    assert isinstance(app.requeue("default", first.id).exception(timeout=PATIENCE_S), PoisonActivity)
    mood.kills, mood.fails = False, True
    assert isinstance(app.requeue("default", first.id).exception(timeout=PATIENCE_S), ActivityFailed)

    (letter,) = app.dead_letters("default")
    assert (letter.id, letter.requeues, letter.attempts_made, letter.crashes) == (first.id, 2, 5, 4)
    assert [type(each) for each in letter.errors] == [WorkerCrashed] * 4 + [ValueError]
    assert isinstance(letter.error, ActivityFailed)


def test_a_requeue_that_nobody_serves_comes_back(app, mood):
    """The refusal is on the handle, and the letter where it was."""
    with app.worker("default", [mood.activity]):
        first = die_of(app, mood)

    assert isinstance(app.requeue("default", first.id).exception(timeout=PATIENCE_S), NoWorkersAvailable)

    (letter,) = app.dead_letters("default")
    assert (letter.id, letter.requeues, letter.attempts_made) == (first.id, 1, 2)


def test_a_requeue_that_is_cancelled_comes_back(app, mood):
    """To give a requeue up is not to throw the request away."""
    begun, go_on = threading.Event(), threading.Event()

    @activity
    def hold() -> None:
        begun.set()
        go_on.wait(PATIENCE_S)

    app.worker("default", [mood.activity, hold])
    first = die_of(app, mood)
    app.dispatch(hold)
    assert begun.wait(PATIENCE_S)
    handle = app.requeue("default", first.id)
    assert app.dead_letters("default") == ()

    handle.cancel()

    assert isinstance(handle.exception(timeout=PATIENCE_S), ActivityCancelled)
    assert [letter.id for letter in app.dead_letters("default")] == [first.id]
    go_on.set()


def test_failures_are_kept_where_it_was_asked_for(app, mood):
    """`dead_letter=True`: what failed for the last time is kept too; by default it is not."""
    mood.kills, mood.fails = False, True
    app.worker("default", [mood.activity])
    lost = app.dispatch(mood.activity, 1)
    kept = app.dispatch(mood.activity.options(dead_letter=True), 2)
    for handle in (lost, kept):
        assert isinstance(handle.exception(timeout=PATIENCE_S), ActivityFailed)

    assert [letter.id for letter in app.dead_letters("default")] == [kept.id]


@pytest.mark.slow
def test_poison_of_a_process_is_found_and_tried_again(app, tmp_path):
    """A child that is killed leaves its request; it can be requeued, and its arguments still travel."""
    app.worker("work", [face_activities.die_once], executor="process", max_concurrent=1)
    handle = app.dispatch(face_activities.die_once.options(max_crashes=1), str(tmp_path / "marker"))
    assert isinstance(handle.exception(timeout=PATIENCE_S), PoisonActivity)

    assert app.requeue(face_activities.die_once, handle.id).result(timeout=PATIENCE_S) > 0


# --- ids that are not there -------------------------------------------------------------------------------------------


def test_a_letter_is_discarded_once(app, mood):
    """What is thrown away is given, for the last time; a second order finds nothing."""
    app.worker("default", [mood.activity])
    first = die_of(app, mood)

    assert app.discard("default", first.id).id == first.id
    with pytest.raises(UnknownDeadLetter, match=first.id):
        app.discard("default", first.id)
    with pytest.raises(UnknownDeadLetter):
        app.requeue("default", first.id)
    assert app.dead_letters("default") == ()


def test_a_queue_that_was_never_used_has_no_letters(app):
    """The list is empty, and every id unknown."""
    assert app.dead_letters("elsewhere") == ()
    for verb in (app.requeue, app.discard):
        with pytest.raises(UnknownDeadLetter, match="'x'"):
            verb("elsewhere", "x")


def test_a_letter_of_another_activity_is_not_requeued_as_this_one(app, mood):
    """The type of the handle would be wrong; the letter stays."""
    app.worker("default", [mood.activity])
    first = die_of(app, mood)

    @activity
    def other() -> str:
        return ""

    with pytest.raises(ConfigError, match="for 'moody', not for 'other'"):
        app.requeue(other, first.id)
    assert len(app.dead_letters("default")) == 1


def test_letters_of_a_closed_application_are_gone(mood):
    """They are in memory, and every verb says why there is nothing."""
    app = Limen()
    app.worker("default", [mood.activity])
    first = die_of(app, mood)
    app.close()

    for verb in (app.requeue, app.discard):
        with pytest.raises(ChannelLifecycleError, match="has been closed"):
            verb("default", first.id)
    with pytest.raises(ChannelLifecycleError):
        app.dead_letters("default")


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_queue_keeps_so_many_letters(app, mood):
    """The oldest go, are counted, and are told as discarded."""
    app.worker("default", [mood.activity])
    app.remember("default", dead_letters=2)
    with app.events() as events:
        handles = [die_of(app, mood, number) for number in range(3)]
        letters = app.dead_letters("default")
        events.close()
        told = [(str(each.kind), each.conversation_id) for each in events]

    assert [letter.id for letter in letters] == [handle.id for handle in handles[1:]]
    assert letters.dropped == 1
    assert ("discarded", handles[0].id) in told
    app.remember("default", dead_letters=0)
    assert app.dead_letters("default") == ()
    with pytest.raises(ConfigError, match="dead_letters"):
        app.remember("default", dead_letters=-1)


# --- races ------------------------------------------------------------------------------------------------------------


def test_of_many_who_requeue_one_letter_one_does(app, mood):
    """Thirty-two threads: one gets a handle, the request runs once, the others are told that it is not there."""
    app.worker("default", [mood.activity])
    first = die_of(app, mood)
    mood.kills = False
    mood.begun.clear()
    start, got = threading.Barrier(32), []

    def requeue() -> None:
        start.wait(PATIENCE_S)
        try:
            got.append(app.requeue("default", first.id))
        except (UnknownDeadLetter, DispatchFailed) as error:
            got.append(error)

    threads = [threading.Thread(target=requeue) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    handles = [each for each in got if not isinstance(each, Exception)]
    assert [handle.result(timeout=PATIENCE_S) for handle in handles] == [42]
    assert (mood.begun, len(got)) == ([21], 32)


# --- what is recorded and told ----------------------------------------------------------------------------------------


def test_the_life_of_a_letter_is_on_record_and_told(mood):
    """Given up before the close; requeued, and opened once more; discarded: each an operation and an event."""
    recorder = MemoryRecorder()
    with Limen(recorder=recorder) as app:
        app.worker("default", [mood.activity])
        with app.events() as events:
            first = die_of(app, mood)
            mood.kills = False
            app.requeue("default", first.id).result(timeout=PATIENCE_S)
            mood.kills = True
            second = die_of(app, mood)
            app.discard("default", second.id)
            events.close()
            told = [(str(each.kind), each.conversation_id) for each in events]

    def kinds(handle: Any) -> list[str]:
        shown = {"conversation_opened", "conversation_closed", "dead_lettered", "requeued", "discarded"}
        return [str(each.kind) for each in recorder.operations(handle.id) if str(each.kind) in shown]

    opened, closed = "conversation_opened", "conversation_closed"
    assert kinds(first) == [opened, "dead_lettered", closed, "requeued", opened, closed]
    assert kinds(second) == [opened, "dead_lettered", closed, "discarded"]
    assert [each for each in told if each[0] in {"dead_lettered", "requeued", "discarded"}] == [
        ("dead_lettered", first.id),
        ("requeued", first.id),
        ("dead_lettered", second.id),
        ("discarded", second.id),
    ]
    outcome = recorder.outcome(first.id)
    assert outcome is not None
    assert not isinstance(getattr(outcome, "error", None), PoisonActivity), "the record answers with the requeue's end"


class Forgetful(MemoryRecorder):
    """Fails to keep one kind of operation."""

    def __init__(self, kind: OperationKind) -> None:
        super().__init__()
        self._kind = kind

    def record(self, operation: Operation) -> None:
        """Keep it, or fail."""
        if operation.kind is self._kind:
            raise OSError("disk full")
        super().record(operation)


@pytest.mark.parametrize("kind", [OperationKind.REQUEUED, OperationKind.DISCARDED])
def test_what_cannot_be_recorded_is_not_done_to_a_letter(mood, kind):
    """DP-17: the letter stays where it is."""
    with Limen(recorder=Forgetful(kind)) as app:
        app.worker("default", [mood.activity])
        first = die_of(app, mood)
        verb = app.requeue if kind is OperationKind.REQUEUED else app.discard

        with pytest.raises(RecorderFailed, match=str(kind)) as raised:
            verb("default", first.id)

        assert not raised.value.ran
        assert [letter.id for letter in app.dead_letters("default")] == [first.id]


def test_a_letter_that_cannot_be_recorded_is_kept_all_the_same(mood):
    """The record may fail; the request must not be lost over it."""
    with Limen(recorder=Forgetful(OperationKind.DEAD_LETTERED)) as app:
        app.worker("default", [mood.activity])
        first = die_of(app, mood)

        assert [letter.id for letter in app.dead_letters("default")] == [first.id]
