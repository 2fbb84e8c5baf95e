"""What is said over a broker, as bytes and back: requests, outcomes, news of attempts, and what is said to all.

A request's body is the dispatch request of `limen.messages.codec`; how it is to be treated stands in a header, so that
a request can be sent on without its body being touched. Outcomes travel in batches, each with the dispatch response of
the same codec. Decoders raise `DecodeError` and nothing else, whatever they are given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import attrs

from .._structure import structure
from ..messages._json import NotJsonError, dumps, loads
from ..messages.activities import ActivityRequest, Completed, Failed
from ..messages.attempts import AttemptView
from ..messages.codec import decode_request, encode_request, response_from_document, response_to_document
from ..messages.dispatch import DispatchRequest, DispatchResponse
from ..messages.errors import DecodeError
from ..messages.payloads import Payload
from ..messages.retry import Retry
from . import errors_on_wire

REQUEST = DispatchRequest.CONTENT_TYPE
OUTCOMES = "application/vnd.limen.outcomes+json"
NEWS = "application/vnd.limen.news+json"
CONTROL = "application/vnd.limen.control+json"

OPTIONS = "limen-options"
"""The header that says how a request is to be treated."""


@attrs.frozen(kw_only=True)
class Treatment:
    """How a request is to be treated, apart from what the request itself says."""

    retry: Retry | None = None
    max_crashes: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    route_by: str | None = None
    host_deaths: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    """How many hosts died with it before it was set apart as a suspect."""
    generation: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    """How often it was taken out of the dead letters and sent again."""
    dead_letter: bool = False
    """Whether it is kept among the dead letters when it has failed for the last time, not only as poison."""
    key: str | None = None
    """What its result can be found by when its asker has gone."""


PLAIN = Treatment()


def warm_up() -> None:
    """Have all that reads and writes imported and compiled now, not with the first request of a host."""
    body = write_request("warm-up", ActivityRequest("none", Payload(b"[]", "application/json")), 0)
    read_request(body, write_treatment(Treatment(retry=Retry())))
    error = write_outcome(Outcome(conversation_id="warm-up", worker_id="none", result=ValueError()))
    done = write_outcome(Outcome(conversation_id="warm-up", worker_id="none", result=Completed()))
    read_outcomes(join_outcomes("none", [error, done]))


# --- requests ---------------------------------------------------------------------------------------------------------


def write_request(conversation_id: str, request: ActivityRequest, priority: int) -> bytes:
    """Write a request's body. Its input is bytes already."""
    return encode_request(DispatchRequest(conversation_id=conversation_id, request=request, priority=priority))


def read_request(body: bytes, headers: dict[str, Any]) -> tuple[DispatchRequest, Treatment]:
    """Read a request and how it is to be treated. Raises `DecodeError`."""
    return decode_request(body), read_treatment(headers)


def write_treatment(treatment: Treatment) -> dict[str, Any]:
    """Write the header; none for what is treated as any other."""
    if treatment == PLAIN:
        return {}
    fields = attrs.asdict(treatment, recurse=False, filter=lambda field, value: value != field.default)
    if treatment.retry is not None:
        fields["retry"] = _retry_to_plain(treatment.retry)
    return {OPTIONS: dumps(fields).decode()}


def read_treatment(headers: dict[str, Any]) -> Treatment:
    """Read the header. Raises `DecodeError`."""
    text = headers.get(OPTIONS)
    if text is None:
        return PLAIN
    fields = _object(_loads(text.encode(errors="replace") if isinstance(text, str) else b"", OPTIONS), OPTIONS)
    known = {field.name: fields[field.name] for field in attrs.fields(Treatment) if field.name in fields}
    try:
        if known.get("retry") is not None:
            known["retry"] = _retry_from_plain(known["retry"])
        return structure(known, Treatment)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001 - cattrs collects whatever the fields' validators raise
        raise DecodeError(f"headers.{OPTIONS}", "does not say how to treat a request") from None


def _retry_to_plain(retry: Retry) -> dict[str, Any]:
    fields = attrs.asdict(retry, recurse=False)
    for name in ("non_retryable", "retry_on"):
        fields[name] = [_name_of(kind) for kind in fields[name]]
    return fields


def _retry_from_plain(value: Any) -> Retry:
    fields = _object(value, "retry")
    known = {field.name: fields[field.name] for field in attrs.fields(Retry) if field.name in fields}
    for name in ("max_attempts", "initial", "backoff", "max_interval", "jitter"):
        if name in known and (isinstance(known[name], bool) or not isinstance(known[name], int | float)):
            raise DecodeError(name, "must be a number")
    for name in ("non_retryable", "retry_on"):
        if name in known:
            known[name] = tuple(_class_named(each) for each in known[name])
    return Retry(**known)


def _name_of(kind: type[BaseException]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_named(name: Any) -> type[BaseException]:
    """Find an exception class among what this process has imported already.

    Nothing is imported for a name that came over a wire. What is not there cannot be raised here either.
    """
    if not isinstance(name, str):
        raise DecodeError("retry", "must name classes")
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, BaseException):
        return found
    return _NotHere


class _NotHere(Exception):
    """An exception class that this process does not have."""


# --- outcomes ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Work:
    """What work is known by to those who did not ask for it."""

    channel: str
    activity_type: str
    key: str


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one request on one host."""

    conversation_id: str
    worker_id: str
    result: Completed | BaseException
    attempts: tuple[AttemptView, ...] = ()
    errors: tuple[BaseException, ...] = ()
    crashes: int = 0
    progress: tuple[int, bytes] | None = None
    """The latest report, and the number of the attempt that made it."""
    work: Work | None = None
    """What it is found by when its asker has gone; `None` if it has no key."""


def write_outcome(outcome: Outcome) -> bytes:
    """Write one outcome, to be put into a batch."""
    result = outcome.result
    made: dict[str, Any] = {
        "conversation_id": outcome.conversation_id,
        "response": response_to_document(
            DispatchResponse(
                worker_id=outcome.worker_id,
                result=result if isinstance(result, Completed) else Failed(result),
            )
        ),
        "attempts": [write_attempt(each) for each in outcome.attempts],
    }
    if isinstance(result, BaseException):
        made["error"] = errors_on_wire.to_wire(result)
    if outcome.errors:
        made["errors"] = [errors_on_wire.to_wire(each) for each in outcome.errors]
    if outcome.crashes:
        made["crashes"] = outcome.crashes
    if outcome.progress is not None:
        number, packed = outcome.progress
        made["progress"] = [number, packed.decode()]
    if outcome.work is not None:
        made["work"] = attrs.astuple(outcome.work)
    return dumps(made)


def join_outcomes(host: str, outcomes: Iterable[bytes]) -> bytes:
    """Make the body of a batch."""
    return b'{"content_type":%b,"host":%b,"outcomes":[%b]}' % (dumps(OUTCOMES), dumps(host), b",".join(outcomes))


def read_outcomes(body: bytes) -> list[Outcome]:
    """Read a batch. Raises `DecodeError`."""
    document = _document(body, OUTCOMES)
    host, outcomes = _text(document, "host"), document.get("outcomes")
    if not isinstance(outcomes, list):
        raise DecodeError("outcomes", "must be a list")
    return [_outcome(each, host) for each in outcomes]


def may_hold_errors(body: bytes) -> bool:
    """Whether to read a batch is to make errors, which is done by their classes; if in doubt, so."""
    return b'"error' in body


def _outcome(value: Any, host: str) -> Outcome:
    fields = _object(value, "outcomes")
    response = response_from_document(_object(fields.get("response"), "response"))
    attempts, errors, crashes = fields.get("attempts", []), fields.get("errors", []), fields.get("crashes", 0)
    if not isinstance(attempts, list) or not isinstance(errors, list):
        raise DecodeError("outcomes", "attempts and errors must be lists")
    if isinstance(crashes, bool) or not isinstance(crashes, int):
        raise DecodeError("crashes", "must be a whole number")
    result: Completed | BaseException
    if isinstance(response.result, Completed):
        result = response.result
    else:
        result = errors_on_wire.from_wire(fields["error"]) if "error" in fields else response.result.error
    return Outcome(
        conversation_id=_text(fields, "conversation_id"),
        worker_id=response.worker_id,
        result=result,
        attempts=tuple(read_attempt(each, host) for each in attempts),
        errors=tuple(errors_on_wire.from_wire(each) for each in errors),
        crashes=crashes,
        progress=read_progress(fields["progress"]) if "progress" in fields else None,
        work=_work(fields["work"]) if "work" in fields else None,
    )


def _work(value: Any) -> Work:
    match value:
        case [str(channel), str(kind), str(key)]:
            return Work(channel, kind, key)
        case _:
            raise DecodeError("work", "must name channel, type and key")


def read_progress(value: Any) -> tuple[int, bytes]:
    """Read the number of an attempt, and what it reported last, as JSON. Raises `DecodeError`."""
    match value:
        case [int(number), str(text)] if not isinstance(number, bool):
            packed = text.encode(errors="replace")
            _loads(packed, "progress")
            return number, packed
        case _:
            raise DecodeError("progress", "must hold the number of an attempt, and what it reported")


def write_attempt(attempt: AttemptView) -> list[Any]:
    """Say of an attempt what others may know."""
    plain = [attempt.number, attempt.worker_id, attempt.incarnation, attempt.started]
    if attempt.error is None and not attempt.charged:
        return plain
    return [*plain, attempt.charged, None if attempt.error is None else errors_on_wire.to_wire(attempt.error)]


def read_attempt(value: Any, host: str) -> AttemptView:
    """Read what was told of an attempt on that host. Raises `DecodeError`."""
    if not isinstance(value, list) or len(value) not in {4, 6}:
        raise DecodeError("attempts", "must hold lists of four or six")
    number, worker_id, incarnation, started, *more = value
    charged, error = more or (False, None)
    numbers = all(isinstance(each, int) and not isinstance(each, bool) for each in (number, incarnation))
    if not (numbers and isinstance(worker_id, str) and isinstance(started, bool) and isinstance(charged, bool)):
        raise DecodeError("attempts", "must say number, worker, incarnation and whether it began")
    return AttemptView(
        number,
        worker_id,
        incarnation,
        started,
        None if error is None else errors_on_wire.from_wire(error),
        charged,
        host,
    )


# --- news and control -------------------------------------------------------------------------------------------------


def write_document(content_type: str, **fields: Any) -> bytes:
    """Write a message of plain values."""
    return dumps({"content_type": content_type, **fields})


def read_document(body: bytes, content_type: str) -> dict[str, Any]:
    """Read one. Raises `DecodeError`."""
    return _document(body, content_type)


def _document(body: bytes, content_type: str) -> dict[str, Any]:
    document = _object(_loads(body, ""), "")
    if document.get("content_type") != content_type:
        raise DecodeError("content_type", f"must be {content_type}")
    return document


def _loads(text: bytes, field: str) -> Any:
    try:
        return loads(text)
    except NotJsonError as error:
        raise DecodeError(field, str(error)) from None


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError(field, f"must be an object, not {type(value).__name__}")
    return value


def _text(fields: dict[str, Any], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not text:
        raise DecodeError(name, "must be a text, and not empty")
    return text
