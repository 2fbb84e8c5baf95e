"""`current()` in child processes: who it is, its deadline, its progress, and what survives its death."""

import os

import pytest
from current_activities import (
    ALL,
    about_me,
    count_up,
    on_a_thread_of_its_own,
    report_nonsense,
    resume,
    tidy_up,
    time_left,
)

from limen import ActivityCancelled, ActivityFailed, EventKind, InvalidProgress, Limen, Retry

pytestmark = pytest.mark.slow

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def shared():
    """One worker with two children for all tests that do no harm."""
    with Limen() as app:
        app.worker("work", ALL, max_concurrent=2, executor="process")
        app.dispatch(count_up, 1).result(timeout=TIMEOUT_S)
        yield app


@pytest.fixture
def app():
    """An application of its own, closed at the end."""
    with Limen() as made:
        yield made


def test_an_activity_in_a_child_knows_itself(shared):
    """Issue: the same as on a thread, also among many that a child is given in advance."""
    handles = [shared.dispatch(about_me) for _ in range(200)]

    for handle in handles:
        pid, *me = handle.result(TIMEOUT_S)
        assert pid != os.getpid()
        assert me == [1, handle.id, "about_me", "work", "worker-1", False]


def test_the_deadline_counts_from_the_start_in_the_child(shared):
    """TY-04: on the clock that both processes share."""
    unlimited = shared.dispatch(time_left)
    one = shared.dispatch(time_left.options(start_to_close=50, schedule_to_close=5000))
    other = shared.dispatch(time_left.options(start_to_close=50, schedule_to_close=20))
    total = shared.dispatch(time_left.options(schedule_to_close=20))

    assert unlimited.result(TIMEOUT_S) == [None, None]
    assert one.result(TIMEOUT_S) == [pytest.approx(50, abs=2)] * 2
    assert other.result(TIMEOUT_S) == [pytest.approx(20, abs=2)] * 2
    assert total.result(TIMEOUT_S) == [pytest.approx(20, abs=2)] * 2


def test_a_thread_of_the_activitys_is_given_what_it_needs(shared):
    """Issue: there is none of its own; progress said there arrives."""
    handle = shared.dispatch(on_a_thread_of_its_own)

    assert handle.result(TIMEOUT_S) == ["NoCurrentActivity", "on_a_thread_of_its_own"]
    assert handle.progress() == "from a thread"


@pytest.mark.parametrize("how", ["fail", "exit", "os._exit", "kill", "segfault", "stuck"])
def test_progress_survives_whatever_ends_the_attempt(app, how):
    """Issue: a failure, every kind of death, and a limit: the next attempt finds the last word."""
    app.worker("work", ALL, max_concurrent=1, executor="process")
    patient = resume.options(retry=Retry(max_attempts=3, initial=0.01), start_to_close=0.5 if how == "stuck" else 60)
    handle = app.dispatch(patient, how)
    first = {"attempt": 1, "found": None, "last": True}
    second = {"attempt": 2, "found": first, "last": True}

    assert handle.result(TIMEOUT_S) == [3, second, second]
    assert handle.progress() == {"attempt": 3, "found": second, "last": True}
    assert [row.in_flight for row in app.pool("work")] == [0]


def test_many_reports_make_no_backlog(app):
    """Issue: the latest word counts; it is there by the time of the result, and few of those before it are sent."""
    events = app.events()
    app.worker("work", ALL, max_concurrent=1, executor="process")
    handle = app.dispatch(count_up, 50_000)
    handle.result(TIMEOUT_S)
    assert handle.progress() == 50_000
    app.close()
    told = [event.progress for event in events if event.kind is EventKind.PROGRESS]

    assert told == sorted(set(told))
    assert len(told) < 100


def test_what_cannot_be_kept_fails_where_it_is_said(shared):
    """Issue: a typed error, and one outcome."""
    handle = shared.dispatch(report_nonsense)
    error = handle.exception(TIMEOUT_S)

    assert isinstance(error, ActivityFailed)
    assert error.__cause__ == InvalidProgress("report_nonsense", "something of type function has no JSON form")
    assert handle.progress() == "before"


def test_a_cancelled_process_may_tidy_up_within_the_grace(app, tmp_path):
    """Issue: SIGTERM first; an activity that handles it sees that it is cancelled, and has the grace to end."""
    begun, marker = tmp_path / "begun", tmp_path / "marker"
    os.mkfifo(begun)
    app.worker("work", ALL, max_concurrent=1, executor="process")
    handle = app.dispatch(tidy_up, str(begun), str(marker))
    begun.read_text()
    handle.cancel()

    assert isinstance(handle.exception(TIMEOUT_S), ActivityCancelled)
    app.dispatch(count_up, 1).result(TIMEOUT_S)
    app.close()
    assert marker.read_text() == "True True"
