"""The dispatch codec: bodies as they stand on the wire, both directions."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from limen.messages import (
    AckStatus,
    ActivityRequest,
    Completed,
    DecodeError,
    DispatchAck,
    DispatchFailed,
    DispatchRequest,
    DispatchResponse,
    EncodeError,
    Failed,
    Local,
    NoWorkersAvailable,
    Payload,
    QueueFull,
    RemoteError,
    RetryableError,
    RouterTimedOut,
    SchemaMismatch,
    decode_ack,
    decode_request,
    decode_response,
    encode_ack,
    encode_request,
    encode_response,
)
from limen.messages.codec import ack_schema, request_schema, response_schema
from limen.messages.dispatch import MAX_PRIORITY
from limen.messages.wire import MAX_LIMIT_MS

BASE = "application/vnd.aion.dispatch"
ENCODED_INPUT = {"content_type": "text/plain", "encoding": "base64", "data": "aGk="}
GOOD_REQUEST: dict[str, Any] = {
    "content_type": f"{BASE}.request+json",
    "conversation_id": "c-1",
    "request": {
        "activity_type": "resize",
        "input": ENCODED_INPUT,
        "task_queue": "media",
        "schedule_to_close_timeout_ms": 1500,
        "start_to_close_timeout_ms": None,
    },
}
GOOD_RESPONSE: dict[str, Any] = {
    "content_type": f"{BASE}.response+json",
    "worker_id": "worker-1",
    "result": {"status": "completed", "output": ENCODED_INPUT},
}
GOOD_ACK: dict[str, Any] = {"content_type": f"{BASE}.ack+json", "conversation_id": "c-1", "status": "accepted"}

REQUEST = DispatchRequest(
    conversation_id="c-1", request=ActivityRequest("resize", Payload(b"hi", "text/plain"), "media", 1.5)
)
RESPONSE = DispatchResponse(worker_id="worker-1", result=Completed(Payload(b"hi", "text/plain")))
ACK = DispatchAck(conversation_id="c-1", status=AckStatus.ACCEPTED)

CASES: list[tuple[dict[str, Any], Any, Any, Any, Any]] = [
    (GOOD_REQUEST, REQUEST, encode_request, decode_request, request_schema),
    (GOOD_RESPONSE, RESPONSE, encode_response, decode_response, response_schema),
    (GOOD_ACK, ACK, encode_ack, decode_ack, ack_schema),
]
each_body = pytest.mark.parametrize(
    ("body", "message", "encode", "decode", "schema"), CASES, ids=["request", "response", "ack"]
)


def dumped(body: object) -> bytes:
    """Write a body as it is, right or wrong."""
    return json.dumps(body).encode()


def request_with(**changes) -> bytes:
    """Encode a good request whose inner object has these keys instead."""
    return dumped({**GOOD_REQUEST, "request": {**GOOD_REQUEST["request"], **changes}})


def response_with(**result) -> bytes:
    """Encode a good response with this result."""
    return dumped({**GOOD_RESPONSE, "result": result})


def refused(decode, schema, body: bytes) -> DecodeError:
    """Check that schema and decoder both refuse a body, and return the decoder's error."""
    with pytest.raises(SchemaMismatch):
        schema().normalise(body)
    with pytest.raises(DecodeError) as caught:
        decode(body)
    return caught.value


def test_each_message_has_its_own_content_type():
    """CD-01: constants of the three classes."""
    assert DispatchRequest.CONTENT_TYPE == "application/vnd.aion.dispatch.request+json"
    assert DispatchResponse.CONTENT_TYPE == "application/vnd.aion.dispatch.response+json"
    assert DispatchAck.CONTENT_TYPE == "application/vnd.aion.dispatch.ack+json"


@each_body
def test_a_message_has_exactly_these_keys_on_the_wire(body, message, encode, decode, schema):
    """CD-04, CD-06, CD-07, CD-14: no key more and none less, and the way back gives an equal message."""
    encoded = encode(message)

    assert json.loads(encoded) == body
    assert decode(encoded) == message
    assert schema().normalise(encoded) is encoded


def test_the_two_newer_fields_appear_only_when_they_are_set():
    """CD-04: a priority and a schedule-to-start limit are keys of their own; without them the body is as it was."""
    request = DispatchRequest(
        conversation_id="c-1", request=ActivityRequest("resize", schedule_to_start_timeout=2), priority=-7
    )
    body = json.loads(encode_request(request))

    assert (body["priority"], body["request"]["schedule_to_start_timeout_ms"]) == (-7, 2000)
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize(
    ("limit", "milliseconds"),
    [(1.5, 1500), (0.0004, 0), (0.0019, 1), (0, 0), (None, None), (timedelta.max, MAX_LIMIT_MS)],
)
def test_limits_are_whole_milliseconds(limit, milliseconds):
    """CD-05: truncated; an absent one is null."""
    request = ActivityRequest("a", schedule_to_close_timeout=limit, start_to_close_timeout=limit)
    body = json.loads(encode_request(DispatchRequest(conversation_id="c", request=request)))

    assert body["request"]["schedule_to_close_timeout_ms"] == milliseconds
    assert body["request"]["start_to_close_timeout_ms"] == milliseconds


def test_bytes_travel_as_base64():
    """CD-06: all 256 values, at about four thirds of the size, with the encoding named."""
    data = bytes(range(256)) * 40
    request = DispatchRequest(conversation_id="c", request=ActivityRequest("a", Payload(data)))
    encoded = encode_request(request)

    assert json.loads(encoded)["request"]["input"]["encoding"] == "base64"
    assert len(encoded) < len(data) * 1.4
    assert decode_request(encoded) == request


def test_bytes_are_also_read_from_an_array_of_numbers():
    """CD-06: as the reference writes them."""
    body = request_with(input={"content_type": "x", "data": list(range(256))})

    assert request_schema().normalise(body) is body
    assert decode_request(body).request.input == Payload(bytes(range(256)), "x")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"content_type": "x", "data": [256]}, "data"),
        ({"content_type": "x", "data": [-1]}, "data"),
        ({"content_type": "x", "data": [1.5]}, "data"),
        ({"content_type": "x", "data": ["1"]}, "data"),
        ({"content_type": "x", "data": [True]}, "data"),
        ({"content_type": "x", "data": "aGk="}, "data"),
        ({"content_type": "x", "encoding": "base64", "data": [1]}, "data"),
        ({"content_type": "x", "encoding": "base64", "data": "a b"}, "data"),
        ({"content_type": "x", "encoding": "hex", "data": "00"}, "encoding"),
        ({"content_type": "x", "encoding": None, "data": []}, "encoding"),
        ({"content_type": "x", "encoding": "base64"}, "data"),
        ({"content_type": None, "data": []}, "content_type"),
        ({"data": []}, "content_type"),
        ({}, "content_type"),
    ],
)
def test_a_bad_payload_is_refused_in_either_direction(payload, field):
    """CD-12, CD-14: the inner objects are checked too, by schema and by decoder."""
    assert refused(decode_request, request_schema, request_with(input=payload)).field == f"request.input.{field}"
    body = response_with(status="completed", output=payload)
    assert refused(decode_response, response_schema, body).field == f"result.output.{field}"


@pytest.mark.parametrize("data", ["a", "ab=c", "====", "aGk"])
def test_what_only_looks_like_base64_is_refused_by_the_decoder(data):
    """CD-14: the schema sees the alphabet, the decoder the bytes."""
    with pytest.raises(DecodeError, match=r"^request\.input\.data: is not base64$"):
        decode_request(request_with(input={"content_type": "", "encoding": "base64", "data": data}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"activity_type": ""}, "activity_type"),
        ({"activity_type": 5}, "activity_type"),
        ({"task_queue": ""}, "task_queue"),
        ({"task_queue": 5}, "task_queue"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"schedule_to_close_timeout_ms": -1}, "schedule_to_close_timeout_ms"),
        ({"schedule_to_close_timeout_ms": 1.5}, "schedule_to_close_timeout_ms"),
        ({"start_to_close_timeout_ms": True}, "start_to_close_timeout_ms"),
        ({"start_to_close_timeout_ms": "5"}, "start_to_close_timeout_ms"),
        ({"schedule_to_start_timeout_ms": MAX_LIMIT_MS + 1}, "schedule_to_start_timeout_ms"),
    ],
)
def test_a_bad_inner_field_is_named_by_its_path(changes, field):
    """CD-12, CD-14: with the name it has on the wire."""
    assert refused(decode_request, request_schema, request_with(**changes)).field == f"request.{field}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**GOOD_REQUEST, "request": {}}, "request.activity_type"),
        ({**GOOD_REQUEST, "request": {"activity_type": "a"}}, "request.input"),
        ({**GOOD_REQUEST, "request": None}, "request"),
        ({**GOOD_REQUEST, "request": "text"}, "request"),
        ({**GOOD_REQUEST, "conversation_id": ""}, "conversation_id"),
        ({**GOOD_REQUEST, "conversation_id": 5}, "conversation_id"),
        ({**GOOD_REQUEST, "priority": "high"}, "priority"),
        ({**GOOD_REQUEST, "priority": MAX_PRIORITY + 1}, "priority"),
        ({**GOOD_REQUEST, "priority": -1e300}, "priority"),
        ({**GOOD_REQUEST, "content_type": f"{BASE}.ack+json"}, "content_type"),
        ({**GOOD_REQUEST, "worker_id": None}, "worker_id"),
        ({**GOOD_REQUEST, "result": None}, "result"),
        ({**GOOD_REQUEST, "status": None}, "status"),
        ({key: GOOD_REQUEST[key] for key in ("content_type", "request")}, "conversation_id"),
        ({key: GOOD_REQUEST[key] for key in ("content_type", "conversation_id")}, "request"),
        ({key: GOOD_REQUEST[key] for key in ("conversation_id", "request")}, "content_type"),
    ],
)
def test_the_request_body_is_checked(body, field):
    """CD-08, CD-12: required, forbidden with any value, and labelled."""
    assert refused(decode_request, request_schema, dumped(body)).field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**GOOD_RESPONSE, "worker_id": ""}, "worker_id"),
        ({**GOOD_RESPONSE, "worker_id": None}, "worker_id"),
        ({**GOOD_RESPONSE, "result": "completed"}, "result"),
        ({**GOOD_RESPONSE, "result": {}}, "result.status"),
        ({**GOOD_RESPONSE, "result": {"status": "lost"}}, "result.status"),
        ({**GOOD_RESPONSE, "result": {"status": "completed"}}, "result.output"),
        ({**GOOD_RESPONSE, "result": {"status": "failed"}}, "result.error"),
        ({**GOOD_RESPONSE, "result": {"status": "failed", "error": 5}}, "result.error"),
        ({**GOOD_RESPONSE, "result": {"status": "failed", "error": {"kind": "x"}}}, "result.error.message"),
        ({**GOOD_RESPONSE, "result": {"status": "failed", "error": {"message": "x"}}}, "result.error.kind"),
        ({**GOOD_RESPONSE, "result": {"status": "failed", "error": {"kind": "", "message": ""}}}, "result.error.kind"),
        ({**GOOD_RESPONSE, "result": {"status": "failed", "error": "x", "retryable": 1}}, "result.retryable"),
        ({**GOOD_RESPONSE, "conversation_id": None}, "conversation_id"),
        ({**GOOD_RESPONSE, "request": None}, "request"),
        ({**GOOD_RESPONSE, "status": None}, "status"),
    ],
)
def test_the_response_body_is_checked(body, field):
    """CD-09: required, forbidden with any value, and the result inside."""
    assert refused(decode_response, response_schema, dumped(body)).field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**GOOD_ACK, "conversation_id": ""}, "conversation_id"),
        ({**GOOD_ACK, "status": "Accepted"}, "status"),
        ({**GOOD_ACK, "status": None}, "status"),
        ({**GOOD_ACK, "status": ["accepted"]}, "status"),
        ({**GOOD_ACK, "request": None}, "request"),
        ({**GOOD_ACK, "worker_id": None}, "worker_id"),
        ({**GOOD_ACK, "result": None}, "result"),
    ],
)
def test_the_ack_body_is_checked(body, field):
    """CD-03, CD-10: one of three statuses, and no key of another body."""
    assert refused(decode_ack, ack_schema, dumped(body)).field == field


@pytest.mark.parametrize("status", ["accepted", "deferred", "rejected"])
def test_each_status_travels(status):
    """CD-03: exactly these three strings."""
    ack = DispatchAck(conversation_id="c", status=AckStatus(status))

    assert json.loads(encode_ack(ack))["status"] == status
    assert decode_ack(encode_ack(ack)) == ack


@each_body
def test_a_wrong_label_does_not_help(body, message, encode, decode, schema):
    """CD-11: a body that is relabelled as another message fails by its shape."""
    for other, _, _, decode_other, other_schema in CASES:
        if other is not body:
            refused(decode_other, other_schema, dumped({**body, "content_type": other["content_type"]}))


@each_body
def test_unknown_keys_pass(body, message, encode, decode, schema):
    """CD-12: a newer peer may say more, at the top and inside."""
    more = {**body, "new": {"a": 1}}
    if "request" in more:
        more["request"] = {**more["request"], "new": 1}

    assert schema().normalise(dumped(more))
    assert decode(dumped(more)) == message


@each_body
def test_what_is_no_json_object_is_refused(body, message, encode, decode, schema):
    """CD-13, CD-14: one typed error, whatever the bytes."""
    for no_body in [b"", b"{", b"\xff\xfe", b"[]", b"null", b"5", b'"text"', b"{}", b"[" * 100_000]:
        refused(decode, schema, no_body)


def test_no_error_quotes_the_body():
    """ER-10: wherever the secret stands, it is not in the text."""
    secret = "marker-7f3a"  # noqa: S105 - a marker to look for, and no secret at all
    bodies = [
        secret.encode(),
        dumped([secret]),
        dumped({**GOOD_REQUEST, "content_type": secret}),
        dumped({**GOOD_REQUEST, "status": secret}),
        dumped({**GOOD_REQUEST, "request": secret}),
        dumped({**GOOD_REQUEST, "conversation_id": [secret]}),
        dumped({**GOOD_REQUEST, "priority": secret}),
        request_with(input={"content_type": secret, "encoding": "base64", "data": f"{secret}!"}),
        request_with(input={"content_type": secret, "encoding": secret, "data": ""}),
        request_with(start_to_close_timeout_ms=secret),
    ]

    for body in bodies:
        error = refused(decode_request, request_schema, body)
        assert secret not in str(error)
        assert error.__cause__ is None


@pytest.mark.parametrize(
    "error",
    [
        NoWorkersAvailable("c", "w", "resize", ("crop", "blur")),
        DispatchFailed("c", "w", "é\n"),
        RetryableError(),
        RemoteError("ValueError", "no"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("retryable", [True, False])
def test_an_error_of_ours_arrives_equal(error, retryable):
    """CD-07, TY-05, ER-08: kind, fields, and whether to try again."""
    response = DispatchResponse(worker_id="w", result=Failed(error, retryable=retryable))
    encoded = encode_response(response)

    assert response_schema().normalise(encoded) is encoded
    assert decode_response(encoded) == response


TOO_FULL = QueueFull("c", "w", "a", waiting=2**70)
TOO_LATE = RouterTimedOut("c", "w", "hash", limit_s=float("inf"))


class Unprintable(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Flaky(RetryableError):
    """An error of a user's own."""


@pytest.mark.parametrize(
    ("error", "arrived"),
    [
        (ValueError("no"), RemoteError("ValueError", "no")),
        (Flaky("later"), RemoteError(f"{__name__}.Flaky", "later")),
        (Unprintable(), RemoteError(f"{__name__}.Unprintable", "<Unprintable without a text>")),
        (ValueError("\ud800"), RemoteError("ValueError", "\\ud800")),
        (TOO_FULL, RemoteError("QueueFull", str(TOO_FULL))),
        (TOO_LATE, RemoteError("RouterTimedOut", str(TOO_LATE))),
    ],
    ids=repr,
)
def test_any_other_error_arrives_as_its_kind_and_text(error, arrived):
    """CD-07: what the other side does not have, or JSON cannot hold, is not lost but told."""
    response = DispatchResponse(worker_id="w", result=Failed(error))

    assert decode_response(encode_response(response)).result == Failed(arrived)


def test_an_error_that_is_a_bare_text_is_read():
    """CD-07: as the reference writes it."""
    body = response_with(status="failed", error="disk full")

    assert response_schema().normalise(body) is body
    assert decode_response(body).result == Failed(RemoteError("error", "disk full"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"channel_name": "c", "workflow_id": "w"}, "activity_type"),
        ({"channel_name": "c", "workflow_id": "w", "activity_type": 5}, "activity_type"),
        ({"channel_name": "c", "workflow_id": "w", "activity_type": "a", "served": "abc"}, "served"),
        ({"channel_name": "c", "workflow_id": "w", "activity_type": "a", "served": [1]}, "served"),
    ],
)
def test_an_error_with_bad_fields_is_refused(fields, field):
    """CD-14: an error that is built always has a text, so its fields are checked."""
    body = response_with(status="failed", error={"kind": "NoWorkersAvailable", "message": "", "fields": fields})

    with pytest.raises(DecodeError) as caught:
        decode_response(body)

    assert caught.value.field == f"result.error.fields.{field}"


def test_an_object_that_leaves_the_process_is_encoded():
    """TY-01: it arrives as a payload of JSON, unstructured by cattrs."""
    request = DispatchRequest(conversation_id="c", request=ActivityRequest("a", Local({"size": (1, 2)})))

    assert decode_request(encode_request(request)).request.input == Payload(b'{"size": [1, 2]}', "application/json")


def test_a_converter_of_ones_own_may_be_given():
    """TY-01: for objects that cattrs does not know."""
    import cattrs

    converter = cattrs.Converter()
    converter.register_unstructure_hook(complex, lambda number: [number.real, number.imag])
    response = DispatchResponse(worker_id="w", result=Completed(Local(1 + 2j)))

    arrived = decode_response(encode_response(response, converter=converter)).result

    assert arrived == Completed(Payload(b"[1.0, 2.0]", "application/json"))


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": {1, object()}}, "\ud800"])
def test_an_object_without_a_json_form_is_refused(value):
    """ER-10: a typed error that names its type."""
    with pytest.raises(EncodeError) as caught:
        encode_request(DispatchRequest(conversation_id="c", request=ActivityRequest("a", Local(value))))

    assert type(value).__name__ in str(caught.value)


@pytest.mark.parametrize("fast", [True, False], ids=["orjson", "plain"])
def test_a_text_without_a_json_form_is_refused(fast, monkeypatch):
    """CD-14: at encoding, with a typed error, rather than at the reader's."""
    from limen.messages import _json

    if not fast:
        monkeypatch.setattr(_json, "_fastest", lambda: (_json._plain_loads, _json._plain_dumps))
    with pytest.raises(EncodeError):
        encode_request(DispatchRequest(conversation_id="\ud800", request=ActivityRequest("a")))


def test_the_encoded_bytes_are_compact_base64_of_the_data():
    """CD-06: padding included."""
    encoded = json.loads(encode_response(RESPONSE))["result"]["output"]["data"]

    assert base64.b64decode(encoded) == b"hi"
