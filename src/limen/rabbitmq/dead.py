"""Dead letters on the broker: a request that was given up, with its history, as a message and back.

What is no request at all is kept as it came, with what is wrong with it; and the broker adds what it gives up itself.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

import attrs

from ..messages.activities import ActivityRequest
from ..messages.dead_letters import DeadLetter
from ..messages.dispatch import DispatchRequest
from ..messages.errors import DecodeError, DispatchFailed, LimenError
from ..messages.payloads import Payload
from . import codec, errors_on_wire
from .codec import Treatment
from .parcels import Delivery

LETTER = "application/vnd.limen.letter+json"

_WORKFLOW = "aion-dispatch"


@attrs.frozen(kw_only=True)
class Letter:
    """A dead letter, and the request in it."""

    shown: DeadLetter
    body: bytes = attrs.field(repr=False)
    """The request's own body."""
    treatment: Treatment = attrs.field(factory=Treatment)
    key: str = ""
    """The routing key that it came under."""
    is_request: bool = True
    """Whether it can be tried again."""


def write_letter(letter: Letter) -> bytes:
    """Write it."""
    shown = letter.shown
    return codec.write_document(
        LETTER,
        id=shown.id,
        channel=shown.channel_name,
        activity_type=shown.activity_type,
        key=letter.key,
        is_request=letter.is_request,
        request=base64.b64encode(letter.body).decode("ascii"),
        options=codec.write_treatment(letter.treatment).get(codec.OPTIONS),
        attempts=[[each.host, *codec.write_attempt(each)] for each in shown.attempts],
        attempts_made=shown.attempts_made,
        crashes=shown.crashes,
        error=errors_on_wire.to_wire(shown.error),
        at=shown.at.isoformat(),
        requeues=shown.requeues,
    )


def read_letter(body: bytes) -> Letter:
    """Read one. Raises `DecodeError`."""
    try:
        return _read(codec.read_document(body, LETTER))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError("", "is no dead letter") from None


def _read(document: dict[str, Any]) -> Letter:
    body = base64.b64decode(document["request"], validate=True)
    options = document["options"]
    treatment = codec.read_treatment({} if options is None else {codec.OPTIONS: options})
    error = errors_on_wire.from_wire(document["error"])
    fields = {
        "id": _text(document["id"]),
        "channel_name": _text(document["channel"]),
        "attempts": tuple(codec.read_attempt(each[1:], _text(each[0])) for each in document["attempts"]),
        "attempts_made": int(document["attempts_made"]),
        "crashes": int(document["crashes"]),
        "error": error,
        "at": datetime.fromisoformat(document["at"]),
        "requeues": int(document["requeues"]),
    }
    is_request = document["is_request"] is True
    kind = _text(document["activity_type"])
    message = codec.read_request(body, {})[0] if is_request else None
    shown = _shown(message, kind, body, treatment, fields)
    return Letter(shown=shown, body=body, treatment=treatment, key=_text(document["key"]), is_request=is_request)


def letter_of(delivery: Delivery, channel: str) -> Letter:
    """Read whatever lies in a queue of dead letters: one of ours, or what the broker put there. Raises nothing."""
    try:
        if delivery.content_type == LETTER:
            return read_letter(delivery.body)
    except DecodeError as error:
        return spoilt(delivery, channel, error)
    return _given_up_by_broker(delivery, channel)


def spoilt(delivery: Delivery, channel: str, error: LimenError, key: str = "") -> Letter:
    """Make a letter of what is no request."""
    fields = {
        "id": delivery.message_id or f"{delivery.queue}-{delivery.tag}",
        "channel_name": channel,
        "attempts": (),
        "attempts_made": 0,
        "crashes": 0,
        "error": error,
        "at": datetime.now(UTC),
    }
    shown = _shown(None, delivery.type or "unknown", delivery.body, Treatment(), fields)
    return Letter(shown=shown, body=delivery.body, key=key, is_request=False)


def _given_up_by_broker(delivery: Delivery, channel: str) -> Letter:
    """Source: RabbitMQ, dead letter exchanges, the header `x-death`."""
    deaths = delivery.headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
    why = f"the broker gave it up: {death.get('reason', 'nobody says why')}"
    try:
        message, treatment = codec.read_request(delivery.body, delivery.headers)
    except DecodeError as error:
        return spoilt(delivery, channel, error)
    at = death.get("time")
    fields = {
        "id": message.conversation_id,
        "channel_name": channel,
        "attempts": (),
        "attempts_made": 0,
        "crashes": 0,
        "error": DispatchFailed(channel, _WORKFLOW, why),
        "at": at.replace(tzinfo=UTC) if isinstance(at, datetime) else datetime.now(UTC),
    }
    keys = death.get("routing-keys")
    key = keys[0] if isinstance(keys, list) and keys and isinstance(keys[0], str) else delivery.type or ""
    shown = _shown(message, message.request.activity_type, delivery.body, treatment, fields)
    return Letter(shown=shown, body=delivery.body, treatment=treatment, key=key)


def _shown(
    message: DispatchRequest | None, kind: str, body: bytes, treatment: Treatment, fields: dict[str, Any]
) -> DeadLetter:
    request = message.request if message is not None else ActivityRequest(kind, Payload(body))
    return DeadLetter(
        activity_type=request.activity_type,
        request=request,
        workflow_id=_WORKFLOW,
        priority=message.priority if message is not None else 0,
        key=treatment.key,
        route_by=treatment.route_by,
        retry=treatment.retry,
        max_crashes=treatment.max_crashes,
        **fields,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DecodeError("", "must hold a text")
    return value
