"""Activities as values: what is asked for, what comes of it, what a worker can take; signals and history events.

Knows nothing of how an activity is run or where.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import attrs

from ._checks import instance_of, named, to_limit, whole
from .errors import InvalidCapacity
from .payloads import Local, Payload

__all__ = [
    "ActivityRequest",
    "ActivityResult",
    "Completed",
    "Failed",
    "HistoryEvent",
    "SignalPayload",
    "WorkerCapacity",
]

_EMPTY = Payload()


_payload = instance_of(Payload, Local)


def _queue(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None:
        named(instance, attribute, value)


@attrs.frozen
class ActivityRequest:
    """One activity to be done. Limits are given as a `timedelta` or in seconds, and kept as a `timedelta`."""

    activity_type: str = attrs.field(validator=named)
    input: Payload | Local = attrs.field(default=_EMPTY, validator=_payload)
    task_queue: str | None = attrs.field(default=None, validator=_queue)
    """Where it shall go; None leaves that to whoever dispatches it."""
    schedule_to_close_timeout: timedelta | None = attrs.field(default=None, converter=to_limit)
    """From being accepted to having a result, retries and waiting included."""
    start_to_close_timeout: timedelta | None = attrs.field(default=None, converter=to_limit)
    """From a worker's start on it to its result, for each attempt anew."""
    schedule_to_start_timeout: timedelta | None = attrs.field(default=None, converter=to_limit)
    """From being accepted to a worker's start on it; without it, a request that no worker can serve fails at once."""


def _setters(kind: type) -> tuple[Any, ...]:
    return tuple(getattr(kind, name).__set__ for name in attrs.fields_dict(kind))


_SET_TYPE, _SET_INPUT, _SET_QUEUE, _SET_TO_CLOSE, _SET_RUN, _SET_TO_START = _setters(ActivityRequest)


def with_input(template: ActivityRequest, given: Payload | Local) -> ActivityRequest:
    """Make a request that differs from a checked one in its input only, without checking all the rest again."""
    request = object.__new__(ActivityRequest)
    _SET_TYPE(request, template.activity_type)
    _SET_INPUT(request, given)
    _SET_QUEUE(request, template.task_queue)
    _SET_TO_CLOSE(request, template.schedule_to_close_timeout)
    _SET_RUN(request, template.start_to_close_timeout)
    _SET_TO_START(request, template.schedule_to_start_timeout)
    return request


@attrs.frozen
class Completed:
    """The activity returned."""

    output: Payload | Local = attrs.field(default=_EMPTY, validator=_payload)


_SET_VALUE = Local.value.__set__
(_SET_OUTPUT,) = _setters(Completed)


def completed_with(value: object) -> Completed:
    """Make the result that carries an object of this process, without checking what is known to be right."""
    output = object.__new__(Local)
    _SET_VALUE(output, value)
    completed = object.__new__(Completed)
    _SET_OUTPUT(completed, output)
    return completed


@attrs.frozen
class Failed:
    """The activity raised. Its worker is well: a worker that dies has no result."""

    error: BaseException = attrs.field(validator=instance_of(BaseException))
    retryable: bool = attrs.field(default=False, kw_only=True)
    """Whether it may work if it is tried again."""


ActivityResult = Completed | Failed
"""What comes of an activity."""


def _count(_instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidCapacity(attribute.name, f"must be an int, not {type(value).__name__}")
    if value < 0:
        raise InvalidCapacity(attribute.name, f"must be 0 or more, not {value}")


def _types(_instance: object, attribute: "attrs.Attribute[Any]", value: tuple[object, ...]) -> None:
    if not all(isinstance(each, str) and each for each in value):
        raise InvalidCapacity(attribute.name, "each must be a non-empty str")


def _to_types(value: Iterable[str]) -> tuple[str, ...]:
    """Keep order and duplicates."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidCapacity("activity_types", f"must be a sequence of names, not {type(value).__name__}")
    return tuple(value)


@attrs.frozen
class WorkerCapacity:
    """How many activities a worker runs at once, and which."""

    max_concurrent: int = attrs.field(validator=_count)
    """0 is allowed: the worker is listed but is never given anything."""
    activity_types: tuple[str, ...] = attrs.field(default=(), converter=_to_types, validator=_types)
    """What it serves; empty means everything. Order and duplicates are kept."""

    def serves(self, activity_type: str) -> bool:
        """Say whether a worker with this capacity takes such activities."""
        return not self.activity_types or activity_type in self.activity_types


@attrs.frozen
class SignalPayload:
    """A signal for a workflow."""

    signal_name: str = attrs.field(validator=named)
    payload: Payload = attrs.field(default=_EMPTY, validator=instance_of(Payload))


@attrs.frozen
class HistoryEvent:
    """One event of a workflow's history; sequences count up from 0."""

    sequence: int = attrs.field(validator=[whole, attrs.validators.ge(0)])
    event_type: str = attrs.field(validator=named)
    timestamp: datetime = attrs.field(validator=instance_of(datetime))
    payload: Payload = attrs.field(default=_EMPTY, validator=instance_of(Payload))
