"""Payloads, requests, results, capacity, envelopes and operations as values."""

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest

from limen.messages import (
    AckStatus,
    ActivityRequest,
    ActivityState,
    Completed,
    DispatchAck,
    DispatchRequest,
    DispatchResponse,
    Envelope,
    Failed,
    HistoryEvent,
    InvalidCapacity,
    Local,
    NoWorkersAvailable,
    Operation,
    OperationKind,
    Payload,
    SignalPayload,
    WorkerCapacity,
)

NOW = datetime(2024, 5, 17, tzinfo=UTC)
REQUEST = ActivityRequest("resize", Payload(b"secret", "image/png"), "media", 60, timedelta(seconds=1.5), 5.0)
VALUES = [
    Payload(b"secret", "image/png"),
    Local({"a": [1]}),
    REQUEST,
    Completed(Payload(b"secret")),
    Failed(NoWorkersAvailable("c", "w", "resize"), retryable=True),
    WorkerCapacity(2, ("a", "b")),
    SignalPayload("go", Payload(b"secret")),
    HistoryEvent(0, "started", NOW, Payload(b"secret")),
    DispatchRequest(conversation_id="c-1", request=REQUEST, priority=3),
    DispatchResponse(worker_id="worker-1", result=Completed(Payload(b"secret"))),
    DispatchAck(conversation_id="c-1", status=AckStatus.DEFERRED),
    Envelope(message_id="m-1", payload=b"secret", schema_id="s-1", timestamp=NOW),
    Operation(kind=OperationKind.WORKER_SELECTED, conversation_id="c-1", channel_name="aion.dispatch.a.b"),
]
each_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@each_value
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copied_value_equals_the_first(value, twin):
    """TY-09: all public types have equality, and survive copying and pickling."""
    assert twin(value) == value


@each_value
def test_a_value_cannot_be_changed(value):
    """TY-01, TY-02: values are frozen and slotted."""
    field = attrs.fields(type(value))[0].name

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, field, None)
    assert not hasattr(value, "__dict__")


@each_value
def test_the_repr_shows_no_contents(value):
    """ER-10: a repr names the type and never shows what a payload holds."""
    assert type(value).__name__ in repr(value)
    assert "secret" not in repr(value)


def test_a_payload_is_empty_unless_it_is_given_something():
    """TY-01: the default is empty; bytes are neither decoded nor altered."""
    data = bytes(range(256))

    assert (Payload().data, Payload().content_type) == (b"", "")
    assert Payload(data, "x").data is data
    assert repr(Payload(data, "text/x")) == "Payload(data=<256 bytes>, content_type='text/x')"


@pytest.mark.parametrize("arguments", [("text",), (bytearray(b"x"),), (None,), (b"x", None), (b"x", b"y")])
def test_a_payload_takes_bytes_and_a_text(arguments):
    """TY-01: anything else is refused when it is made."""
    with pytest.raises(TypeError, match="must be"):
        Payload(*arguments)


def test_a_local_payload_keeps_the_very_object():
    """TY-01: what has not left the process is neither copied nor encoded."""
    value = object()

    assert Local(value).value is value
    assert Local(value).content_type == "application/x-limen-local"
    assert repr(Local({"secret": 1})) == "Local(value=<dict>)"


def test_a_request_has_its_fields_and_defaults():
    """TY-02, TY-04: limits come as durations or seconds, are kept as durations, and are optional."""
    assert REQUEST.activity_type == "resize"
    assert REQUEST.input == Payload(b"secret", "image/png")
    assert REQUEST.task_queue == "media"
    assert REQUEST.schedule_to_close_timeout == timedelta(minutes=1)
    assert REQUEST.start_to_close_timeout == timedelta(milliseconds=1500)
    assert REQUEST.schedule_to_start_timeout == timedelta(seconds=5)
    assert ActivityRequest("a") == ActivityRequest("a", Payload(), None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"activity_type": ""}, ValueError),
        ({"activity_type": None}, TypeError),
        ({"input": b"secret"}, TypeError),
        ({"task_queue": ""}, ValueError),
        ({"task_queue": 5}, TypeError),
        ({"start_to_close_timeout": -1}, ValueError),
        ({"start_to_close_timeout": timedelta(microseconds=-1)}, ValueError),
        ({"schedule_to_close_timeout": float("nan")}, ValueError),
        ({"schedule_to_close_timeout": float("inf")}, ValueError),
        ({"schedule_to_close_timeout": 1e300}, ValueError),
        ({"schedule_to_start_timeout": True}, TypeError),
        ({"schedule_to_start_timeout": "5"}, TypeError),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(changes, error):
    """TY-02, ER-10: the error names the type that was given, not the value."""
    with pytest.raises(error) as caught:
        ActivityRequest(**{"activity_type": "a", **changes})

    assert "secret" not in str(caught.value)


def test_a_result_is_matched_by_its_kind():
    """TY-05: completed, or failed for good or for now."""

    def told(result: Completed | Failed) -> str:
        match result:
            case Completed(output=Payload(data=data)):
                return data.decode()
            case Failed(error=error, retryable=True):
                return f"again: {error}"
            case Failed(error=error):
                return f"over: {error}"
        return "something else"

    assert told(Completed(Payload(b"done"))) == "done"
    assert told(Failed(ValueError("no"), retryable=True)) == "again: no"
    assert told(Failed(ValueError("no"))) == "over: no"


@pytest.mark.parametrize(("kind", "value"), [(Completed, b"secret"), (Failed, "secret"), (Failed, ValueError)])
def test_a_result_holds_a_payload_or_an_exception(kind, value):
    """TY-05: anything else is refused, without quoting it."""
    with pytest.raises(TypeError) as caught:
        kind(value)

    assert "secret" not in str(caught.value)


def test_capacity_keeps_the_order_and_duplicates_of_its_types():
    """TY-06: they are a tuple, so that nobody can change them later."""
    assert WorkerCapacity(1, ["b", "a", "b"]).activity_types == ("b", "a", "b")


def test_a_capacity_of_zero_is_allowed():
    """TY-07: such a worker is listed and never given anything."""
    assert WorkerCapacity(0).max_concurrent == 0


@pytest.mark.parametrize(
    "arguments",
    [(-1,), (True,), (1.5,), ("1",), (None,), (1, "ab"), (1, [""]), (1, [5]), (1, b"ab"), (1, 5)],
)
def test_a_capacity_that_makes_no_sense_is_refused(arguments):
    """TY-07: a bool is no count, a text is no sequence of names."""
    with pytest.raises(InvalidCapacity) as caught:
        WorkerCapacity(*arguments)

    assert caught.value.field in {"max_concurrent", "activity_types"}


def test_no_types_means_every_type():
    """TY-08: a worker that names no types serves any."""
    assert WorkerCapacity(1).serves("anything")
    assert WorkerCapacity(1, ("a",)).serves("a")
    assert not WorkerCapacity(1, ("a",)).serves("A")


@pytest.mark.parametrize(
    ("kind", "arguments", "error"),
    [
        (HistoryEvent, (-1, "e", NOW), ValueError),
        (HistoryEvent, (True, "e", NOW), TypeError),
        (HistoryEvent, (0, "", NOW), ValueError),
        (HistoryEvent, (0, "e", "now"), TypeError),
        (SignalPayload, ("", Payload()), ValueError),
        (SignalPayload, ("s", b"secret"), TypeError),
    ],
)
def test_signals_and_history_events_are_checked(kind, arguments, error):
    """TY-09: sequences count from 0; names are not empty."""
    with pytest.raises(error) as caught:
        kind(*arguments)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        (DispatchRequest, {"conversation_id": "", "request": REQUEST}, ValueError),
        (DispatchRequest, {"conversation_id": "c", "request": "secret"}, TypeError),
        (DispatchRequest, {"conversation_id": "c", "request": REQUEST, "priority": True}, TypeError),
        (DispatchRequest, {"conversation_id": "c", "request": REQUEST, "priority": 2**31}, ValueError),
        (DispatchResponse, {"worker_id": "", "result": Completed()}, ValueError),
        (DispatchResponse, {"worker_id": "w", "result": "secret"}, TypeError),
        (DispatchAck, {"conversation_id": "c", "status": "maybe"}, ValueError),
        (DispatchAck, {"conversation_id": "c"}, TypeError),
    ],
)
def test_dispatch_messages_are_checked_when_they_are_made(kind, fields, error):
    """CD-02: a message that exists is one that can be sent."""
    with pytest.raises(error) as caught:
        kind(**fields)

    assert "secret" not in str(caught.value)


def test_dispatch_messages_have_their_fields():
    """CD-02, CD-03: constructed, compared; an acknowledgement takes its status by name too."""
    request = DispatchRequest(conversation_id="c", request=REQUEST)

    assert (request.conversation_id, request.request, request.priority) == ("c", REQUEST, 0)
    assert DispatchResponse(worker_id="w", result=Completed()).result == Completed()
    assert DispatchAck(conversation_id="c", status="accepted").status is AckStatus.ACCEPTED
    assert [str(status) for status in AckStatus] == ["accepted", "deferred", "rejected"]


def test_an_envelope_says_what_the_channel_knows():
    """CH-05: an anonymous publisher unless named, UTC time, an optional causal context."""
    envelope = Envelope(message_id="m", payload=b"{}", schema_id="s", timestamp=NOW)

    assert envelope.publisher_id == "anonymous"
    assert envelope.causal_context is None
    assert envelope.timestamp.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"message_id": ""}, ValueError),
        ({"payload": "secret"}, TypeError),
        ({"schema_id": None}, TypeError),
        ({"publisher_id": ""}, ValueError),
        ({"timestamp": NOW.replace(tzinfo=None)}, ValueError),
        ({"timestamp": NOW.replace(tzinfo=timezone(timedelta(hours=1)))}, ValueError),
        ({"timestamp": 0}, TypeError),
    ],
)
def test_an_envelope_is_checked_when_it_is_made(changes, error):
    """CH-05: ids are not empty and the time is an aware UTC one."""
    with pytest.raises(error) as caught:
        Envelope(**{"message_id": "m", "payload": b"", "schema_id": "s", "timestamp": NOW, **changes})

    assert "secret" not in str(caught.value)


def test_an_operation_has_its_fields():
    """DP-05: kind, conversation and channel always; worker, attempt, state, result and more where they apply."""
    operation = Operation(
        kind=OperationKind.MESSAGE_RECEIVED,
        conversation_id="c",
        channel_name="aion.dispatch.a.b",
        worker_id="worker-1",
        incarnation=2,
        attempt=3,
        state=ActivityState.FAILED,
        result=Failed(ValueError("no")),
        message="no",
        retryable=False,
    )

    assert operation.kind is OperationKind.MESSAGE_RECEIVED
    assert (operation.worker_id, operation.state, operation.message) == ("worker-1", ActivityState.FAILED, "no")
    assert (operation.incarnation, operation.attempt, operation.retryable) == (2, 3, False)
    assert Operation(kind=OperationKind.MESSAGE_SENT, conversation_id="c", channel_name="x").state is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"kind": "message_sent"}, TypeError), ({"conversation_id": ""}, ValueError), ({"channel_name": ""}, ValueError)],
)
def test_an_operation_belongs_to_a_conversation_and_a_channel(changes, error):
    """DP-05: a record entry without them could not be found again."""
    fields = {"kind": OperationKind.MESSAGE_SENT, "conversation_id": "c", "channel_name": "x"}

    with pytest.raises(error):
        Operation(**(fields | changes))
