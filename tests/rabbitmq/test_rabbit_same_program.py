"""The same program over a broker: keys, progress, cancelling many, waiting for room; and what is refused there."""

import pytest
import rabbit_activities as acts
from drillkit import wait_until
from rabbithosts import Diary

from limen import (
    ActivityCancelled,
    NotOverBroker,
    ScheduleToCloseTimedOut,
    as_completed,
    cancel_all,
    routers,
)
from limen.pressure import ShedLoad

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 20


def test_work_under_a_key_is_done_once_for_all_in_a_process(host, asker, tmp_path):
    """As without a broker: one outcome, one start, and others go their own way."""
    diary = Diary(tmp_path / "diary")
    host.worker("work", [acts.hold], max_concurrent=2)
    keyed = acts.hold.options(key="17")
    handles = [asker.dispatch(keyed, str(diary.path)) for _ in range(5)]
    diary.wait_starts(1)
    handles[0].cancel()
    diary.let_go()

    assert isinstance(handles[0].exception(timeout=TIMEOUT_S), ActivityCancelled)
    assert len({handle.result(timeout=TIMEOUT_S) for handle in handles[1:]}) == 1
    assert asker.dispatch(keyed, str(diary.path)).result(timeout=TIMEOUT_S) > 0
    assert len(diary.starts()) == 1
    assert [handle.joined for handle in handles] == [None, *[handles[0].id] * 4]


def test_keyed_work_has_its_callers_limits(host, asker, tmp_path):
    """Each caller has his own; who has none gets the result."""
    diary = Diary(tmp_path / "diary")
    host.worker("work", [acts.hold])
    hurried = asker.dispatch(acts.hold.options(key="k", schedule_to_close=0.5), str(diary.path))
    patient = asker.dispatch(acts.hold.options(key="k"), str(diary.path))

    assert isinstance(hurried.exception(timeout=TIMEOUT_S), ScheduleToCloseTimedOut)
    diary.let_go()
    assert patient.result(timeout=TIMEOUT_S) > 0
    assert len(diary.starts()) == 1


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_progress_comes_from_another_machine(host, asker, tmp_path, executor):
    """While it runs; and the last word with the end, however soon that comes."""
    diary = Diary(tmp_path / "diary")
    host.worker("work", [acts.report, acts.report_and_hold], executor=executor)
    handle = asker.dispatch(acts.report_and_hold, str(diary.path))
    wait_until(lambda: handle.progress() == {"done": 1}, TIMEOUT_S)
    assert not handle.done()
    diary.let_go()
    handle.result(timeout=TIMEOUT_S)
    quick = asker.dispatch(acts.report, 5)
    quick.result(timeout=TIMEOUT_S)

    assert (handle.progress(), quick.progress()) == ({"done": 2}, 5)


def test_many_are_given_up_in_one_go(host, asker, tmp_path):
    """What waits in the broker never starts; what runs is called off."""
    diary = Diary(tmp_path / "diary")
    host.worker("work", [acts.hold])
    handles = [asker.dispatch(acts.hold, str(diary.path)) for _ in range(3_000)]
    diary.wait_starts(1)
    cancel_all(handles)
    for handle in as_completed(handles, timeout=TIMEOUT_S):
        assert isinstance(handle.exception(), ActivityCancelled)
    wait_until(lambda: asker.queue("work").waiting == 0, TIMEOUT_S)
    diary.let_go()

    assert len(diary.starts()) == 1


def test_nobody_waits_for_room_at_a_broker(host, asker, tmp_path):
    """A dispatch that would wait for it goes on at once."""
    diary = Diary(tmp_path / "diary")
    host.worker("work", [acts.hold])
    handles = [asker.dispatch(acts.hold.options(wait=TIMEOUT_S), str(diary.path)) for _ in range(3)]
    assert [handle.done() for handle in handles] == [False] * 3
    diary.let_go()
    assert all(handle.result(timeout=TIMEOUT_S) for handle in handles)


def test_what_takes_one_book_over_all_workers_is_refused(asker):
    """Nothing does silently less than it says; to lift what cannot be set is harmless."""
    for refused in (
        lambda: asker.limit("work", acts.double, max_concurrent=1),
        lambda: asker.limit("work", acts.double, rate=5),
        lambda: asker.bound("work", waiting=5),
        lambda: asker.policies("work", [ShedLoad(0.9, below_priority=1)]),
        lambda: asker.pressure("work"),
        lambda: asker.remember("work", dead_letters=5),
        lambda: asker.route("work", routers.RoundRobin()),
        lambda: asker.executor("work"),
    ):
        with pytest.raises(NotOverBroker):
            refused()

    asker.limit("work", acts.double)
    asker.bound("work", waiting=None)
    asker.policies("work", [])
    asker.remember("work", keys=5, ttl=60)


def test_a_router_chooses_among_the_workers_of_its_process(host, asker):
    """The broker chooses the process."""
    host.worker("work", [acts.double], max_concurrent=4)
    host.worker("work", [acts.double], max_concurrent=4)
    host.route("work", lambda _message, _views: "worker-2")
    handles = [asker.dispatch(acts.double, number) for number in range(10)]

    assert {handle.result(timeout=TIMEOUT_S) for handle in handles} == {2 * number for number in range(10)}
    assert {attempt.worker_id for handle in handles for attempt in handle.attempts} == {"worker-2"}
