"""Requests and outcomes as plain tuples, for the way between a parent and its child.

Payload bytes travel as they are. An object is pickled on its own, so that two activities never share a part of it.
Whatever does not pickle, on either side and in either direction, becomes an `UnpicklableError`.
"""

from __future__ import annotations

import functools
import pickle
import traceback
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from ...messages.activities import ActivityRequest, Completed, Failed, completed_with, with_input
from ...messages.errors import UnpicklableError
from ...messages.payloads import Local, Payload
from ..attempt import Attempt, Handler

PAYLOAD, OBJECT, ERROR, UNPICKLABLE = range(4)
"""What the first field of an item or an outcome says of the others."""

Item = tuple[int, int, bytes, str, Any, Any]
"""A request: kind, number of its handler, data, content type, limits, and what the activity may know of itself."""

Stay = tuple[str, int, float | None, bytes | None]
"""That, in full: the request's id, the number of the attempt, when time is up for good, the last progress."""

Outcome = tuple[int, Any, Any]
"""What came of it: kind, and two fields whose meaning depends on the kind."""

_SMALL_BYTES = 1 << 16
_SMALL_COUNT = 16
_NO_LIMITS = (None, None, None)
_ATOMS = frozenset({type(None), bool, int, float})
_TEXTS = frozenset({str, bytes})


class RemoteTraceback(Exception):
    """The traceback of an error that was raised in a child process, as text. Found as the error's `__cause__`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


# --- handlers, packed by the parent -----------------------------------------------------------------------------------


def pickle_handlers(handlers: Mapping[str, Handler]) -> dict[str, bytes]:
    """Pickle what will run in the children. Raises `UnpicklableError` for what they could not find by its name."""
    pickled = {}
    for activity_type, handler in handlers.items():
        try:
            pickled[activity_type] = pickle.dumps(handler, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            raise UnpicklableError("activity", type(handler).__name__, activity_type) from error
    return pickled


# --- requests, packed by the parent -----------------------------------------------------------------------------------


def pack_attempt(attempt: Attempt, request: ActivityRequest, handler_number: int) -> Item:
    """Pack an attempt at a request. May run code of the user's. Raises `UnpicklableError`."""
    limits = _pack_limits(request)
    stay = _pack_stay(attempt, limits)
    given = request.input
    if isinstance(given, Payload):
        return PAYLOAD, handler_number, bytes(given.data), str(given.content_type), limits, stay
    try:
        return OBJECT, handler_number, pickle.dumps(given.value, pickle.HIGHEST_PROTOCOL), "", limits, stay
    except Exception as error:
        raise UnpicklableError("argument", _culprit(given.value), request.activity_type) from error


def packs_quickly(request: ActivityRequest) -> bool:
    """Whether packing takes some microseconds and runs none of the user's code."""
    given = request.input
    return len(given.data) < _SMALL_BYTES if isinstance(given, Payload) else _is_plain(given.value, depth=3)


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind in _TEXTS:
        return len(value) < _SMALL_BYTES
    if kind is dict:
        return not value or (_are_plain(value, depth) and _are_plain(value.values(), depth))
    return (kind is tuple or kind is list) and _are_plain(value, depth)


def _are_plain(values: Collection[Any], depth: int) -> bool:
    if len(values) > _SMALL_COUNT or not depth:
        return False
    for each in values:  # noqa: SIM110 - `all` with a generator takes twice the time
        if type(each) not in _ATOMS and not _is_plain(each, depth - 1):
            return False
    return True


def _pack_limits(request: ActivityRequest) -> Any:
    limits = (
        request.schedule_to_close_timeout,
        request.start_to_close_timeout,
        request.schedule_to_start_timeout,
    )
    if limits == _NO_LIMITS and request.task_queue is None:
        return None
    queue = None if request.task_queue is None else str(request.task_queue)
    return (queue, *(None if limit is None else (limit.days, limit.seconds, limit.microseconds) for limit in limits))


def _pack_stay(attempt: Attempt, limits: Any) -> str | Stay:
    """Give the id alone where there is no more to know."""
    conversation = attempt.conversation
    if attempt.number == 1 and (limits is None or limits[1] is None):
        return str(conversation.id)
    limit = attempt.request.schedule_to_close_timeout
    end_s = None if limit is None else conversation.accepted_s + limit.total_seconds()
    progress = conversation.progress
    return str(conversation.id), attempt.number, end_s, None if progress is None else progress.before(attempt.number)


def _culprit(value: Any) -> str:
    """Name the type of the innermost part that does not pickle."""
    for part in _parts(value):
        try:
            pickle.dumps(part, pickle.HIGHEST_PROTOCOL)
        except RecursionError:
            break
        except Exception:  # noqa: BLE001 - a pickle of the user's may raise anything
            return _culprit(part)
    return type(value).__name__


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, (tuple, list, set, frozenset)):
        return value
    if isinstance(value, dict):
        return (part for pair in value.items() for part in pair)
    return ()


def as_unpicklable(error: BaseException, attempt: Attempt) -> UnpicklableError:
    """Give what an attempt fails with whose argument could not be packed."""
    if isinstance(error, UnpicklableError):
        return error
    given = attempt.request.input
    made = UnpicklableError("argument", type(getattr(given, "value", given)).__name__, attempt.activity_type)
    made.__cause__ = error
    return made


# --- requests, unpacked by the child ----------------------------------------------------------------------------------


def unpack_request(item: Item, activity_type: str) -> ActivityRequest:
    """Give the request again. Runs code of the user's and raises what it raises."""
    kind, _, data, content_type, limits, _ = item
    given = Payload(data, content_type) if kind == PAYLOAD else Local(pickle.loads(data))
    return with_input(_template(activity_type, limits), given)


def unpack_stay(item: Item) -> Stay:
    """Give what the activity may know of itself."""
    stay: str | Stay = item[5]
    return stay if isinstance(stay, tuple) else (stay, 1, None, None)


@functools.lru_cache(maxsize=256)
def _template(activity_type: str, limits: Any) -> ActivityRequest:
    if limits is None:
        return ActivityRequest(activity_type)
    queue, *spans = limits
    return ActivityRequest(
        activity_type, Payload(), queue, *(None if span is None else timedelta(*span) for span in spans)
    )


# --- outcomes, packed by the child ------------------------------------------------------------------------------------


def pack_output(output: Any) -> Outcome:
    """Pack what a handler returned."""
    if isinstance(output, Payload):
        return PAYLOAD, bytes(output.data), str(output.content_type)
    if not isinstance(output, Local):
        wrong = TypeError(f"a handler must return a Payload or a Local, not a {type(output).__name__}")
        return pack_error(wrong)
    try:
        return OBJECT, pickle.dumps(output.value, pickle.HIGHEST_PROTOCOL), type(output.value).__name__
    except Exception as error:  # noqa: BLE001 - a pickle of the user's may raise anything
        return unpicklable("result", _culprit(output.value), error)


def pack_error(error: BaseException) -> Outcome:
    """Pack what a handler raised, with its traceback as text."""
    text = "".join(traceback.format_exception(error))
    try:
        return ERROR, pickle.dumps(error, pickle.HIGHEST_PROTOCOL), (type(error).__name__, text)
    except Exception:  # noqa: BLE001 - a pickle of the user's may raise anything
        return UNPICKLABLE, "exception", (type(error).__name__, text)


def unpicklable(what: str, type_name: str, error: BaseException) -> Outcome:
    """Say that something could not be pickled or unpickled, and why."""
    return UNPICKLABLE, what, (type_name, "".join(traceback.format_exception(error)))


# --- outcomes, unpacked by the parent ---------------------------------------------------------------------------------


def unpack_outcome(kind: int, body: Any, more: Any, attempt: Attempt) -> Completed | Failed:
    """Give the result of an attempt. May run code of the user's; raises nothing."""
    if kind == PAYLOAD:
        return Completed(Payload(body, more))
    if kind == OBJECT:
        try:
            return completed_with(pickle.loads(body))
        except BaseException as error:  # noqa: BLE001 - an unpickling of the user's may raise anything, on our thread
            return _failed(UnpicklableError("result", more, attempt.activity_type), error)
    activity_type = attempt.activity_type
    if kind == UNPICKLABLE:
        type_name, text = more
        given = attempt.request.input
        if body == "argument" and isinstance(given, Local):
            type_name = type(given.value).__name__
        return _failed(UnpicklableError(body, type_name, activity_type), RemoteTraceback(text))
    type_name, text = more
    try:
        return _failed(pickle.loads(body), RemoteTraceback(text))
    except BaseException as error:  # noqa: BLE001 - as above
        return _failed(UnpicklableError("exception", type_name, activity_type), error)


def _failed(error: BaseException, cause: BaseException) -> Failed:
    failed = Failed(error)
    error.__cause__ = cause
    return failed
