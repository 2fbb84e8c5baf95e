"""The cattrs converter between the dispatch messages and plain JSON values.

Strict where cattrs is lenient: nothing is coerced. Imported when the first message is encoded or decoded, for cattrs
takes its time.
"""

import base64
import binascii
import functools
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import make_converter

from ._wire_errors import error_from_wire, error_to_wire
from .activities import ActivityRequest, Completed, Failed
from .dispatch import MAX_PRIORITY, AckStatus, DispatchAck, DispatchRequest, DispatchResponse
from .errors import DecodeError, EncodeError
from .payloads import Local, Payload
from .wire import MAX_LIMIT_MS

__all__ = ["WIRE_NAMES", "default_local_converter", "wire_converter"]

WIRE_NAMES = {
    limit: f"{limit}_ms"
    for limit in ("schedule_to_close_timeout", "start_to_close_timeout", "schedule_to_start_timeout")
}
"""The attributes whose keys on the wire have another name."""

_MILLISECOND = timedelta(milliseconds=1)
_BYTE = range(256)

default_local_converter = functools.cache(make_converter)
"""The converter for objects that have not left this process, unless the caller brings one."""


@functools.lru_cache(maxsize=8)
def wire_converter(local: Converter) -> Converter:
    """Make the converter for the messages; `local` unstructures the objects in their `Local` payloads."""
    converter = Converter()
    _register_payloads(converter, local)
    _register_results(converter)
    _register_messages(converter)
    return converter


def _register_payloads(converter: Converter, local: Converter) -> None:
    converter.register_unstructure_hook(Payload, _payload_to_wire)
    converter.register_unstructure_hook(Local, lambda payload: _payload_to_wire(_encoded(payload, local)))
    converter.register_structure_hook(Payload, _payload_from_wire)
    converter.register_structure_hook(Payload | Local, _payload_from_wire)


def _register_results(converter: Converter) -> None:
    converter.register_unstructure_hook(
        Completed, lambda result: {"status": "completed", "output": converter.unstructure(result.output)}
    )
    converter.register_unstructure_hook(
        Failed,
        lambda result: {"status": "failed", "error": error_to_wire(result.error), "retryable": result.retryable},
    )
    converter.register_structure_hook(Completed | Failed, _result_from_wire)


def _register_messages(converter: Converter) -> None:
    name, priority = override(struct_hook=_name), override(omit_if_default=True, struct_hook=_priority)
    limits = {field: override(rename=wire, struct_hook=_limit) for field, wire in WIRE_NAMES.items()}
    limits["schedule_to_start_timeout"] = override(
        rename=WIRE_NAMES["schedule_to_start_timeout"], omit_if_default=True, struct_hook=_limit
    )
    converter.register_unstructure_hook(timedelta, lambda limit: limit // _MILLISECOND)
    queue = override(struct_hook=_optional_name)
    _register(converter, ActivityRequest, "activity_type", "input", activity_type=name, task_queue=queue, **limits)
    _register(converter, DispatchRequest, conversation_id=name, priority=priority)
    _register(converter, DispatchResponse, worker_id=name)
    _register(converter, DispatchAck, conversation_id=name, status=override(struct_hook=_status))


def _register(converter: Converter, message: type, *needed: str, **overrides: Any) -> None:
    """Have cattrs write both directions for a message.

    What is no object is refused before cattrs looks for keys; `needed` are keys that it would find a default for.
    """
    build: Callable[[Any, Any], Any] = make_dict_structure_fn(message, converter, **overrides)
    converter.register_unstructure_hook(message, make_dict_unstructure_fn(message, converter, **overrides))
    converter.register_structure_hook(message, lambda value, kind: build(_object(value, *needed), kind))


def _encoded(payload: Local, local: Converter) -> Payload:
    """Encode an object that leaves the process after all."""
    try:
        text = json.dumps(local.unstructure(payload.value), ensure_ascii=False, allow_nan=False).encode()
    except Exception as error:
        raise EncodeError("payload", f"a value of type {type(payload.value).__name__}") from error
    return Payload(text, "application/json")


def _payload_to_wire(payload: Payload) -> dict[str, str]:
    return {
        "content_type": payload.content_type,
        "encoding": "base64",
        "data": base64.b64encode(payload.data).decode("ascii"),
    }


def _payload_from_wire(value: Any, _kind: Any) -> Payload:
    content_type = _at(_object(value), "content_type")
    if not isinstance(content_type, str):
        raise DecodeError("content_type", f"must be a text, not {type(content_type).__name__}")
    data, encoding = _at(value, "data"), value.get("encoding")
    if "encoding" not in value:
        return Payload(_of_numbers(data), content_type)
    if encoding != "base64":
        raise DecodeError("encoding", "must be 'base64', or left out where data is an array of numbers")
    return Payload(_of_base64(data), content_type)


def _of_numbers(data: Any) -> bytes:
    if not isinstance(data, list):
        raise DecodeError("data", "must be an array of numbers, or a text with an encoding beside it")
    if not all(_is_whole(each) and each in _BYTE for each in data):
        raise DecodeError("data", "must hold whole numbers from 0 to 255")
    return bytes(map(int, data))


def _of_base64(data: Any) -> bytes:
    if not isinstance(data, str):
        raise DecodeError("data", f"must be a text, not {type(data).__name__}")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError("data", "is not base64") from None


def _result_from_wire(value: Any, _kind: Any) -> Completed | Failed:
    status = _at(_object(value), "status")
    if status == "completed":
        return Completed(_under("output", _payload_from_wire, _at(value, "output"), Payload))
    if status != "failed":
        raise DecodeError("status", "must be 'completed' or 'failed'")
    retryable = value.get("retryable", False)
    if not isinstance(retryable, bool):
        raise DecodeError("retryable", f"must be true or false, not {type(retryable).__name__}")
    return Failed(_under("error", error_from_wire, _at(value, "error")), retryable=retryable)


def _under(name: str, decode: Callable[..., Any], *args: Any) -> Any:
    """Decode what is at a key, and put the key in front of the path of what is wrong there."""
    try:
        return decode(*args)
    except DecodeError as error:
        path = f"{name}.{error.field}" if error.field else name
        raise DecodeError(path, error.problem) from None


def _object(value: Any, *needed: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError("", f"must be an object, not {type(value).__name__}")
    for name in needed:
        _at(value, name)
    return value


def _at(value: dict[str, Any], name: str) -> Any:
    if name not in value:
        raise DecodeError(name, "is missing")
    return value[name]


def _name(value: Any, _kind: Any = None) -> str:
    if not isinstance(value, str):
        raise DecodeError("", f"must be a text, not {type(value).__name__}")
    if not value:
        raise DecodeError("", "must not be empty")
    return value


def _optional_name(value: Any, _kind: Any) -> str | None:
    return None if value is None else _name(value)


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(value: Any) -> int:
    """Take 3 and 3.0, which JSON does not tell apart."""
    if not _is_whole(value):
        raise DecodeError("", f"must be a whole number, not {type(value).__name__}")
    return int(value)


def _priority(value: Any, _kind: Any) -> int:
    if abs(priority := _whole(value)) > MAX_PRIORITY:
        raise DecodeError("", f"must be from {-MAX_PRIORITY} to {MAX_PRIORITY}")
    return priority


def _limit(value: Any, _kind: Any) -> timedelta | None:
    if value is None:
        return None
    if not 0 <= _whole(value) <= MAX_LIMIT_MS:
        raise DecodeError("", f"must be from 0 to {MAX_LIMIT_MS} milliseconds")
    return timedelta(milliseconds=_whole(value))


def _status(value: Any, _kind: Any) -> AckStatus:
    if value not in list(AckStatus):
        raise DecodeError("", f"must be one of {', '.join(AckStatus)}")
    return AckStatus(value)
