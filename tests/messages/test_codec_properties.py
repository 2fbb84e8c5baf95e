"""The codec under generated messages and fuzzed bytes."""

import contextlib
import json
import typing
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.messages import (
    AckStatus,
    ActivityRequest,
    Completed,
    DecodeError,
    DispatchAck,
    DispatchRequest,
    DispatchResponse,
    Failed,
    Payload,
    SchemaMismatch,
    decode_ack,
    decode_request,
    decode_response,
    encode_ack,
    encode_request,
    encode_response,
    errors,
)
from limen.messages.codec import ack_schema, request_schema, response_schema
from limen.messages.dispatch import MAX_PRIORITY
from limen.messages.wire import MAX_LIMIT_MS

KINDS = [kind for name in errors.__all__ if (kind := getattr(errors, name)).__match_args__]
FIELDS = {
    str: st.text(),
    object: st.text() | st.integers(-5, 5) | st.none(),
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str | None: st.text() | st.none(),
    tuple[str, ...]: st.lists(st.text()).map(tuple),
}

texts = st.text()
names = st.text(min_size=1)
payloads = st.builds(Payload, st.binary(), texts)
limits = st.none() | st.integers(0, MAX_LIMIT_MS).map(lambda ms: timedelta(milliseconds=ms))
requests = st.builds(
    DispatchRequest,
    conversation_id=names,
    request=st.builds(ActivityRequest, names, payloads, st.none() | names, limits, limits, limits),
    priority=st.integers(-MAX_PRIORITY, MAX_PRIORITY),
)


@st.composite
def limen_errors(draw):
    """Draw any error of the tree, with any fields that fit it."""
    kind = draw(st.sampled_from(KINDS))
    hints = typing.get_type_hints(kind)
    return kind(**{name: draw(FIELDS[hints[name]]) for name in kind.__match_args__})


results = st.builds(Completed, payloads) | st.builds(Failed, limen_errors(), retryable=st.booleans())
responses = st.builds(DispatchResponse, worker_id=names, result=results)
acks = st.builds(DispatchAck, conversation_id=names, status=st.sampled_from(AckStatus))

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-300, 300)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["base64"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)

CODECS = [
    (requests, encode_request, decode_request, request_schema),
    (responses, encode_response, decode_response, response_schema),
    (acks, encode_ack, decode_ack, ack_schema),
]
each_codec = pytest.mark.parametrize(
    ("messages", "encode", "decode", "schema"), CODECS, ids=["request", "response", "ack"]
)


@each_codec
@given(data=st.data())
def test_decoding_gives_back_what_was_encoded(messages, encode, decode, schema, data):
    """CD-14: decode ∘ encode is the identity, and the body passes its schema as it stands."""
    message = data.draw(messages)

    encoded = encode(message)

    assert decode(encoded) == message
    assert schema().normalise(encoded) is encoded


@each_codec
@given(
    body=st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | json_values.map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_decode_or_raise_the_one_error(messages, encode, decode, schema, body):
    """CD-14: fuzzed bytes never raise anything else."""
    with contextlib.suppress(DecodeError):
        decode(body)


@each_codec
@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_body_decodes_or_raises_the_one_error(messages, encode, decode, schema, data):
    """CD-14: nearly right is the hard case: one value somewhere in a good body is replaced, or dropped."""
    body = json.loads(encode(data.draw(messages)))
    _damage(body, data)
    damaged = json.dumps(body).encode()

    decoded = _outcome(decode, damaged)
    accepted = _outcome(schema().normalise, damaged)

    assert not isinstance(accepted, SchemaMismatch) or isinstance(decoded, DecodeError), "the decoder is the laxer one"
    if not isinstance(decoded, DecodeError):
        assert _outcome(decode, encode(decoded)) == decoded


def _damage(value, data) -> None:
    """Walk to a random place in a JSON value and change what is there."""
    while True:
        key = data.draw(st.sampled_from(list(value)))
        if isinstance(value[key], dict) and value[key] and data.draw(st.booleans()):
            value = value[key]
        elif data.draw(st.booleans()):
            del value[key]
            return
        else:
            value[key] = data.draw(json_values)
            return


def _outcome(function, body):
    try:
        return function(body)
    except (DecodeError, SchemaMismatch) as error:
        return error


@each_codec
@given(data=st.data())
def test_a_truncated_body_raises_the_one_error(messages, encode, decode, schema, data):
    """CD-14: half a message is none."""
    encoded = encode(data.draw(messages))

    with pytest.raises(DecodeError):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
