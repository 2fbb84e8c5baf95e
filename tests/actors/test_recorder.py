"""The record that is kept in memory."""

from contextkit import at_once

from limen.actors.recorder import MemoryRecorder
from limen.messages.activities import Completed, Failed
from limen.messages.operations import Operation, OperationKind
from limen.messages.payloads import Payload

DONE = Completed(Payload(b"done"))


def _operation(kind, conversation_id="c-1", **fields):
    return Operation(kind=kind, conversation_id=conversation_id, channel_name="aion.dispatch.shop.media", **fields)


def test_operations_are_kept_in_the_order_in_which_they_came():
    """DP-04: all of them, or those of one conversation, as a list of one's own."""
    recorder = MemoryRecorder()
    first = _operation(OperationKind.CONVERSATION_OPENED)
    second = _operation(OperationKind.CONVERSATION_OPENED, "c-2")
    third = _operation(OperationKind.MESSAGE_SENT, worker_id="worker-1")
    for each in (first, second, third):
        recorder.record(each)

    recorder.operations().clear()

    assert recorder.operations() == [first, second, third]
    assert recorder.operations("c-1") == [first, third]
    assert recorder.operations("c-3") == []


def test_only_a_closed_conversation_has_an_outcome():
    """DP-13: a result that was received does not close it; a result or an error at the end does."""
    recorder = MemoryRecorder()
    recorder.record(_operation(OperationKind.MESSAGE_RECEIVED, result=DONE))
    assert recorder.outcome("c-1") is None

    recorder.record(_operation(OperationKind.CONVERSATION_CLOSED, result=DONE))
    failed = Failed(ValueError("no"))
    recorder.record(_operation(OperationKind.CONVERSATION_CLOSED, "c-2", result=failed))

    assert recorder.outcome("c-1") is DONE
    assert recorder.outcome("c-2") is failed
    assert recorder.outcome("c-3") is None


def test_channels_may_share_a_record():
    """DP-02: it is written by whoever has the turn of any of them."""
    recorder = MemoryRecorder()

    def write(number):
        for _ in range(200):
            recorder.record(_operation(OperationKind.MESSAGE_SENT, f"c-{number}"))

    at_once(8, write)

    assert len(recorder.operations()) == 1_600
    assert all(len(recorder.operations(f"c-{number}")) == 200 for number in range(8))
