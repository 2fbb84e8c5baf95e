"""The dispatch messages as bytes and back: `application/vnd.aion.dispatch.{request,response,ack}+json`.

`decode(encode(message)) == message`, but for three things: an object in a `Local` payload arrives as a JSON payload,
a limit arrives in whole milliseconds, and an error of a kind that is not this library's arrives as a `RemoteError`.
Decoders raise `DecodeError` and nothing else, with the path of the bad field and no part of the bytes.
"""

from typing import TYPE_CHECKING, Any, cast

from ._json import NotJsonError, dumps, loads
from .dispatch import DispatchAck, DispatchRequest, DispatchResponse
from .errors import DecodeError, EncodeError
from .wire import (
    ACK_SCHEMA,
    FORBIDDEN,
    REQUEST_SCHEMA,
    RESPONSE_SCHEMA,
    ack_schema,
    request_schema,
    response_schema,
)

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = [
    "ACK_SCHEMA",
    "REQUEST_SCHEMA",
    "RESPONSE_SCHEMA",
    "ack_schema",
    "decode_ack",
    "decode_request",
    "decode_response",
    "encode_ack",
    "encode_request",
    "encode_response",
    "request_schema",
    "response_from_document",
    "response_schema",
    "response_to_document",
]


def encode_request(request: DispatchRequest, *, converter: "Converter | None" = None) -> bytes:
    """Encode a request. `converter` unstructures a `Local` input; `EncodeError` says that it could not."""
    return _encode(request, converter)


def encode_response(response: DispatchResponse, *, converter: "Converter | None" = None) -> bytes:
    """Encode a response. `converter` unstructures a `Local` output; `EncodeError` says that it could not."""
    return _encode(response, converter)


def response_to_document(response: DispatchResponse) -> dict[str, Any]:
    """Describe a response in JSON values, for a message that holds several. Raises `EncodeError`."""
    return _document(response)


def response_from_document(document: dict[str, Any]) -> DispatchResponse:
    """Read such a description, or raise `DecodeError`."""
    _check_labels(document, DispatchResponse)
    return cast("DispatchResponse", _structure(document, DispatchResponse))


def encode_ack(ack: DispatchAck) -> bytes:
    """Encode an acknowledgement."""
    return _encode(ack)


def decode_request(body: bytes) -> DispatchRequest:
    """Decode a request, or raise `DecodeError`."""
    return cast("DispatchRequest", _decode(body, DispatchRequest))


def decode_response(body: bytes) -> DispatchResponse:
    """Decode a response, or raise `DecodeError`."""
    return cast("DispatchResponse", _decode(body, DispatchResponse))


def decode_ack(body: bytes) -> DispatchAck:
    """Decode an acknowledgement, or raise `DecodeError`."""
    return cast("DispatchAck", _decode(body, DispatchAck))


def _encode(message: DispatchRequest | DispatchResponse | DispatchAck, converter: "Converter | None" = None) -> bytes:
    document = _document(message, converter)
    try:
        return dumps(document)
    except (TypeError, ValueError) as error:
        raise EncodeError(type(message).__name__, "a text or number in it") from error


def _document(
    message: DispatchRequest | DispatchResponse | DispatchAck, converter: "Converter | None" = None
) -> dict[str, Any]:
    from ._converter import default_local_converter, wire_converter

    body = wire_converter(converter or default_local_converter()).unstructure(message)
    return {"content_type": message.CONTENT_TYPE, **body}


def _decode(body: bytes, message: type[DispatchRequest | DispatchResponse | DispatchAck]) -> Any:
    return _structure(_labelled(body, message), message)


def _structure(document: dict[str, Any], message: type[DispatchRequest | DispatchResponse | DispatchAck]) -> Any:
    from ._converter import default_local_converter, wire_converter

    try:
        return wire_converter(default_local_converter()).structure(document, message)
    except Exception as error:  # noqa: BLE001 - cattrs collects whatever the hooks raise
        field, problem = _first_problem(error)
    raise DecodeError(field, problem)


def _labelled(body: bytes, message: type[DispatchRequest | DispatchResponse | DispatchAck]) -> dict[str, Any]:
    """Return the body as an object that has the message's label and no key of another message."""
    try:
        document = loads(body)
    except NotJsonError as error:
        raise DecodeError("", str(error)) from None
    if not isinstance(document, dict):
        raise DecodeError("", f"must be an object, not {type(document).__name__}")
    _check_labels(document, message)
    return document


def _check_labels(document: dict[str, Any], message: type[DispatchRequest | DispatchResponse | DispatchAck]) -> None:
    if document.get("content_type") != message.CONTENT_TYPE:
        raise DecodeError("content_type", f"must be {message.CONTENT_TYPE}")
    for name in FORBIDDEN[message]:
        if name in document:
            raise DecodeError(name, f"must not be in a {message.__name__}")


def _first_problem(error: BaseException) -> tuple[str, str]:
    """Return the path and the problem of the first thing wrong, from what cattrs collected."""
    steps: list[str] = []
    while True:
        steps.extend(_steps_of(error))
        if not isinstance(error, BaseExceptionGroup):
            break
        error = error.exceptions[0]
    if isinstance(error, DecodeError):
        return ".".join([*steps, error.field] if error.field else steps), error.problem
    return ".".join(steps), "is missing" if isinstance(error, KeyError) else "is not valid"


def _steps_of(error: BaseException) -> list[str]:
    """Return the keys that cattrs noted on an error."""
    from cattrs import AttributeValidationNote

    from ._converter import WIRE_NAMES

    notes = [note.name for note in getattr(error, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
    return [WIRE_NAMES.get(name, name) for name in notes]
