"""However a process ends, or does not want to: one outcome, the slot back, a full crew, and all of it in time."""

import os
import select
import time
from pathlib import Path

import pytest
from ending_activities import ALL, end, well

from limen import (
    ActivityCancelled,
    ActivityFailed,
    InvalidProgress,
    Limen,
    PoisonActivity,
    StartToCloseTimedOut,
)

pytestmark = pytest.mark.slow

TIMEOUT_S = 30
SOON_S = 5.0
"""Much less than any of these activities would take, on a busy machine too."""

SLOTS = 2


@pytest.fixture
def app():
    """An application with one worker of two children, both up."""
    with Limen() as made:
        made.worker("work", ALL, max_concurrent=SLOTS, executor="process")
        made.dispatch(well).result(TIMEOUT_S)
        yield made


@pytest.fixture
def pipe(tmp_path):
    """The pipe through which an activity says who runs it."""
    path = tmp_path / "pid"
    os.mkfifo(path)
    return path


def started(pipe: Path) -> int | None:
    """Wait until an activity has begun, and hold its process by a file descriptor; `None` if it has ended already."""
    try:
        return os.pidfd_open(int(pipe.read_text()))
    except ProcessLookupError:
        return None


def running(pipe: Path) -> int:
    """The same of one that cannot have ended yet."""
    pidfd = started(pipe)
    assert pidfd is not None, "it has ended already"
    return pidfd


def assert_ended(pidfd: int | None, within_s: float) -> None:
    """The process ends in time."""
    if pidfd is None:
        return
    ended, _, _ = select.select([pidfd], [], [], within_s)
    os.close(pidfd)
    assert ended, "the process lives on"


def assert_as_before(app: Limen, told: list[object]) -> None:
    """One outcome was told; the worker has all its slots, and as many children as ever."""
    assert len(told) == 1
    handles = [app.dispatch(well) for _ in range(4 * SLOTS)]
    assert all(handle.result(TIMEOUT_S) for handle in handles)
    deadline_s = time.monotonic() + TIMEOUT_S
    rows = app.pool("work")
    while any(row.in_flight or row.queued for row in rows) and time.monotonic() < deadline_s:
        rows = app.pool("work")
    assert [(row.worker_id, row.incarnation, row.in_flight, row.queued, row.abandoned) for row in rows] == [
        ("worker-1", 1, 0, 0, 0)
    ]


@pytest.mark.parametrize("how", ["kill -9", "segfault", "os._exit", "abort"])
def test_a_process_that_dies_costs_its_request_and_nothing_else(app, pipe, how):
    """Issue: charged with one crash and no other; the worker goes on with another child."""
    told: list[object] = []
    handle = app.dispatch(end.options(max_crashes=1), how, str(pipe))
    handle.add_done_callback(told.append)
    assert_ended(started(pipe), SOON_S)

    assert isinstance(handle.exception(SOON_S), PoisonActivity)
    assert (handle.crashes, len(handle.attempts)) == (1, 1)
    assert_as_before(app, told)


@pytest.mark.parametrize("how", ["stop", "ignore SIGTERM", "block signals", "hold the GIL"])
@pytest.mark.parametrize("why", ["time", "cancel"])
def test_a_process_that_does_not_want_to_end_is_killed_and_replaced(app, pipe, how, why):
    """Issue: stopped, deaf to SIGTERM, or stuck in C: gone within a second and the grace, and nobody is charged."""
    told: list[object] = []
    handle = app.dispatch(end.options(start_to_close=0.2) if why == "time" else end, how, str(pipe))
    handle.add_done_callback(told.append)
    pidfd = running(pipe)
    begun_s = time.monotonic()
    if why == "cancel":
        handle.cancel()

    error = handle.exception(SOON_S)
    assert isinstance(error, StartToCloseTimedOut if why == "time" else ActivityCancelled)
    assert_ended(pidfd, SOON_S)
    assert time.monotonic() - begun_s < SOON_S
    assert handle.crashes == 0
    assert_as_before(app, told)


def test_a_process_that_runs_out_of_memory_fails_its_request_alone(app, pipe):
    """Issue: under a small limit of its own the activity fails, or its process dies; others are served all the same."""
    told: list[object] = []
    handle = app.dispatch(end.options(max_crashes=1), "memory", str(pipe))
    handle.add_done_callback(told.append)
    pipe.read_text()  # it has begun
    error = handle.exception(TIMEOUT_S)

    assert isinstance(error, ActivityFailed | PoisonActivity)
    if isinstance(error, ActivityFailed):
        assert isinstance(error.__cause__, MemoryError)
    assert_as_before(app, told)


def test_progress_that_cannot_be_kept_fails_its_request_alone(app, pipe):
    """Issue: raised where it was said, with a type; its process goes on."""
    told: list[object] = []
    handle = app.dispatch(end, "report nonsense", str(pipe))
    handle.add_done_callback(told.append)
    pipe.read_text()  # it has begun

    error = handle.exception(TIMEOUT_S)
    assert isinstance(error, ActivityFailed)
    assert isinstance(error.__cause__, InvalidProgress)
    assert handle.progress() is None
    assert_as_before(app, told)
