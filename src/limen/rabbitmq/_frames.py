"""What a process says most often, as the bytes of AMQP: a message, and that one has been taken.

As one piece, so that it leaves in one packet. The client library writes each frame. Knows no connection.
"""

from __future__ import annotations

from typing import Any

from pika import BasicProperties, frame, spec

from .parcels import Parcel

_Properties: Any = BasicProperties
_Publish: Any = spec.Basic.Publish
_Ack: Any = spec.Basic.Ack


def publication(channel: int, parcel: Parcel, most: int) -> bytes:
    """Write a parcel, its body in frames of at most so many bytes. Raises `ShortStringTooLong`, for a name."""
    properties = _Properties(
        content_type=parcel.content_type,
        headers=parcel.headers or None,
        delivery_mode=2 if parcel.persistent else 1,
        correlation_id=parcel.correlation_id,
        reply_to=parcel.reply_to,
        expiration=None if parcel.expires_ms is None else str(parcel.expires_ms),
        message_id=parcel.message_id,
        type=parcel.type,
        app_id="limen",
    )
    method = _Publish(exchange=parcel.exchange, routing_key=parcel.key, mandatory=parcel.mandatory)
    body = parcel.body
    frames = [
        frame.Method(channel, method),
        frame.Header(channel, len(body), properties),
        *(frame.Body(channel, body[start : start + most]) for start in range(0, len(body), most)),
    ]
    return b"".join(each.marshal() for each in frames)


def acknowledgement(channel: int, tag: int, *, multiple: bool) -> bytes:
    """Write that a message has been taken, or all up to it."""
    written: bytes = frame.Method(channel, _Ack(tag, multiple)).marshal()
    return written
