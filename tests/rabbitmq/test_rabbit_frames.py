"""What a process says most often, read as the client library reads it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from pika.exceptions import ShortStringTooLong

from limen.rabbitmq._frames import acknowledgement, publication
from limen.rabbitmq.parcels import Parcel

names = st.text(max_size=60)
perhaps = st.none() | names
parcels = st.builds(
    Parcel,
    exchange=names,
    key=names,
    body=st.binary(max_size=40),
    content_type=names,
    message_id=names,
    type=perhaps,
    reply_to=perhaps,
    correlation_id=perhaps,
    headers=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=20) | st.integers(0, 1000), max_size=3),
    expires_ms=st.none() | st.integers(0, 10**6),
    persistent=st.booleans(),
    mandatory=st.booleans(),
)


def read(written: bytes) -> list[Any]:
    """Read all frames."""
    frames = []
    while written:
        size, made = frame.decode_frame(written)
        frames.append(made)
        written = written[size:]
    return frames


@given(parcels, st.integers(1, 50))
def test_a_message_is_read_as_it_was_written(parcel, most):
    """Where it goes, its properties and its body, in frames of the size that was agreed on."""
    method, header, *bodies = read(publication(3, parcel, most))

    publish = method.method
    assert isinstance(publish, spec.Basic.Publish)
    assert (publish.exchange, publish.routing_key) == (parcel.exchange, parcel.key)
    assert (publish.mandatory, publish.immediate) == (parcel.mandatory, False)
    told = header.properties
    assert header.body_size == len(parcel.body)
    assert (told.content_type, told.message_id, told.app_id) == (parcel.content_type, parcel.message_id, "limen")
    assert (told.type, told.reply_to, told.correlation_id) == (parcel.type, parcel.reply_to, parcel.correlation_id)
    assert (told.headers or {}) == parcel.headers
    assert told.delivery_mode == (2 if parcel.persistent else 1)
    assert told.expiration == (None if parcel.expires_ms is None else str(parcel.expires_ms))
    assert b"".join(each.fragment for each in bodies) == parcel.body
    assert all(len(each.fragment) <= most for each in bodies)
    assert {each.channel_number for each in (method, header, *bodies)} == {3}


@pytest.mark.parametrize("multiple", [True, False])
def test_an_acknowledgement_is_read_as_it_was_written(multiple):
    """With its tag, and whether it means all up to that."""
    (method,) = read(acknowledgement(7, 2**40, multiple=multiple))

    assert isinstance(method.method, spec.Basic.Ack)
    assert (method.channel_number, method.method.delivery_tag) == (7, 2**40)
    assert method.method.multiple is multiple


def test_a_name_that_does_not_fit_is_refused():
    """As by the client library, and not cut."""
    parcel = Parcel(exchange="", key="x" * 256, body=b"", content_type="", message_id="")
    with pytest.raises(ShortStringTooLong):
        publication(1, parcel, 100)
