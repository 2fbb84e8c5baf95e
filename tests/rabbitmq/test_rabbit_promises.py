"""What is promised without a broker holds between two applications too: drains, records, requeues, odd errors."""

import threading

import pytest
import rabbit_activities as acts
from drillkit import wait_until
from facekit import LONG_S, in_the_background

from limen import (
    ActivityCancelled,
    ActivityFailed,
    Limen,
    MemoryRecorder,
    RecorderFailed,
    Retry,
    ShutDown,
    activity,
)
from limen.messages.operations import Operation, OperationKind

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 30


# --- the end of an asker ----------------------------------------------------------------------------------------------


def test_a_drain_lets_what_has_just_begun_elsewhere_finish(host, asker, at):
    """Even if the news of it is still under way; what has not begun is told so, and called off."""
    host.worker("work", [at.work])
    running, waiting = asker.dispatch(at.work, 1), asker.dispatch(at.work, 2)
    at.wait_begun()
    thread, reports = in_the_background(lambda: asker.close(drain=LONG_S))

    assert isinstance(waiting.exception(TIMEOUT_S), ShutDown)
    assert not running.done()
    at.gate.set()
    thread.join(TIMEOUT_S)
    assert running.result(0) == 1
    assert [(each.conversation_id, each.stage) for each in reports[0].unfinished] == [(waiting.id, "waiting")]


def test_a_backlog_is_run_by_others_where_that_is_asked_for(host, asker):
    """`waiting="run"` waits for all that was sent."""
    host.worker("work", [acts.double])
    handles = [asker.dispatch(acts.double, number) for number in range(50)]

    assert asker.close(drain=LONG_S, waiting="run").is_complete
    assert [handle.result(0) for handle in handles] == [2 * number for number in range(50)]


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_a_requeue_that_is_given_up_loses_nothing_and_may_be_tried_again(host, asker, at):
    """It is a dead letter again, and the next requeue of the same id is not taken for the one that was given up."""
    host.worker("work", [acts.fail, at.work])
    letter = asker.dispatch(acts.fail.options(dead_letter=True), "no")
    letter.exception(TIMEOUT_S)
    asker.dispatch(at.work, 1)
    at.wait_begun()
    again = asker.requeue("work", letter.id)
    again.cancel()
    assert isinstance(again.exception(TIMEOUT_S), ActivityCancelled)
    at.gate.set()

    wait_until(lambda: asker.dead_letters("work"), TIMEOUT_S)
    assert [each.id for each in asker.dead_letters("work")] == [letter.id]
    assert isinstance(asker.requeue("work", letter.id).exception(TIMEOUT_S), ActivityFailed)


def test_a_letter_names_its_key(host, asker):
    """It was asked for under one, in the process that asked."""
    host.worker("work", [acts.fail])
    handle = asker.dispatch(acts.fail.options(key="k", dead_letter=True), "no")
    handle.exception(TIMEOUT_S)

    assert [each.key for each in asker.dead_letters("work")] == ["k"]


# --- records ----------------------------------------------------------------------------------------------------------


def test_the_asker_keeps_the_record(url, host):
    """Each attempt on the other machine is an operation, as it would be in one process."""
    tries: list[int] = []

    @activity(queue="work", retry=Retry(max_attempts=2, initial=0.0))
    def stumble() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("not yet")
        return "done"

    host.worker("work", [stumble])
    recorder = MemoryRecorder()
    with Limen(url, recorder=recorder) as asker:
        handle = asker.dispatch(stumble)
        assert handle.result(TIMEOUT_S) == "done"

    assert [(each.kind.value, each.attempt) for each in recorder.operations(handle.id)] == [
        ("conversation_opened", None),
        ("worker_selected", 1),
        ("message_sent", 1),
        ("message_received", 1),
        ("activity_retried", None),
        ("worker_selected", 2),
        ("message_sent", 2),
        ("message_received", 2),
        ("conversation_closed", None),
    ]


def test_what_cannot_be_recorded_is_not_sent(url, host):
    """DP-17: the caller is told, and nothing has run."""

    class Full(MemoryRecorder):
        def record(self, operation: Operation) -> None:
            if operation.kind is OperationKind.CONVERSATION_OPENED:
                raise OSError("disk full")
            super().record(operation)

    ran = threading.Event()

    @activity(queue="work")
    def work() -> None:
        ran.set()

    host.worker("work", [work])
    with Limen(url, recorder=Full()) as asker:
        for each in (work, work.options(key="k")):
            error = asker.dispatch(each).exception(TIMEOUT_S)
            assert isinstance(error, RecorderFailed)
            assert not error.ran
    assert not ran.is_set()


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_that_has_no_form_on_the_wire_arrives_by_its_text(host, asker):
    """Half a surrogate in an argument keeps nobody waiting, and the host goes on."""

    @activity(queue="work")
    def odd() -> None:
        raise ValueError("half \ud800")

    host.worker("work", [odd, acts.double])

    error = asker.dispatch(odd).exception(TIMEOUT_S)
    assert isinstance(error, ActivityFailed)
    assert "half \\ud800" in str(error.__cause__)
    assert asker.dispatch(acts.double, 1).result(TIMEOUT_S) == 2
