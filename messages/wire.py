"""The JSON Schemas of the three dispatch bodies.

Each names its own content type, asks for its own keys and forbids those of the other two, with any value, so that a
body with a wrong label fails by its shape too. Unknown further keys pass.
"""

import functools
from typing import Any

from .dispatch import MAX_PRIORITY, AckStatus, DispatchAck, DispatchRequest, DispatchResponse
from .schema import Schema

__all__ = [
    "ACK_SCHEMA",
    "FORBIDDEN",
    "MAX_LIMIT_MS",
    "REQUEST_SCHEMA",
    "RESPONSE_SCHEMA",
    "ack_schema",
    "request_schema",
    "response_schema",
]

MAX_LIMIT_MS = 86_399_999_999_999_999
"""The longest time limit, in milliseconds: what a `timedelta` can hold."""

FORBIDDEN: dict[type, tuple[str, ...]] = {
    DispatchRequest: ("worker_id", "result", "status"),
    DispatchResponse: ("conversation_id", "request", "status"),
    DispatchAck: ("request", "worker_id", "result"),
}
"""The top-level keys that a body must not have."""

_NAME: dict[str, Any] = {"type": "string", "minLength": 1}
_LIMIT_MS: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_LIMIT_MS}
_BYTES_AS_TEXT: dict[str, Any] = {"type": "string", "pattern": r"^[A-Za-z0-9+/]*={0,2}$"}
_BYTES_AS_NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}}

_PAYLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["content_type", "data"],
    "properties": {"content_type": {"type": "string"}, "encoding": {"const": "base64"}},
    "if": {"required": ["encoding"]},
    "then": {"properties": {"data": _BYTES_AS_TEXT}},
    "else": {"properties": {"data": _BYTES_AS_NUMBERS}},
}

_ACTIVITY: dict[str, Any] = {
    "type": "object",
    "required": ["activity_type", "input"],
    "properties": {
        "activity_type": _NAME,
        "input": _PAYLOAD,
        "task_queue": {"type": ["string", "null"], "minLength": 1},
        "schedule_to_close_timeout_ms": _LIMIT_MS,
        "start_to_close_timeout_ms": _LIMIT_MS,
        "schedule_to_start_timeout_ms": _LIMIT_MS,
    },
}

_ERROR: dict[str, Any] = {
    "type": ["object", "string"],
    "required": ["kind", "message"],
    "properties": {"kind": _NAME, "message": {"type": "string"}, "fields": {"type": "object"}},
}

_RESULT: dict[str, Any] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["completed", "failed"]}},
    "if": {"properties": {"status": {"const": "completed"}}},
    "then": {"required": ["output"], "properties": {"output": _PAYLOAD}},
    "else": {"required": ["error"], "properties": {"error": _ERROR, "retryable": {"type": "boolean"}}},
}


def _body(message: type[DispatchRequest | DispatchResponse | DispatchAck], **properties: Any) -> dict[str, Any]:
    """Describe a body that has these properties, its own label and no key of another body."""
    forbidden: dict[str, Any] = {name: {"not": {}} for name in FORBIDDEN[message]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["content_type", *properties],
        "properties": {"content_type": {"const": message.CONTENT_TYPE}, **properties, **forbidden},
    }


REQUEST_SCHEMA = _body(DispatchRequest, conversation_id=_NAME, request=_ACTIVITY)
REQUEST_SCHEMA["properties"]["priority"] = {"type": "integer", "minimum": -MAX_PRIORITY, "maximum": MAX_PRIORITY}
RESPONSE_SCHEMA = _body(DispatchResponse, worker_id=_NAME, result=_RESULT)
ACK_SCHEMA = _body(DispatchAck, conversation_id=_NAME, status={"enum": [str(status) for status in AckStatus]})


@functools.cache
def request_schema() -> Schema:
    """Return the schema of a dispatch channel: what may be published there."""
    return Schema.compile(REQUEST_SCHEMA)


@functools.cache
def response_schema() -> Schema:
    """Return the schema of a worker's response."""
    return Schema.compile(RESPONSE_SCHEMA)


@functools.cache
def ack_schema() -> Schema:
    """Return the schema of an acknowledgement."""
    return Schema.compile(ACK_SCHEMA)
