"""What a worker's executor runs for a request that came over a broker: bytes in, bytes out.

Reading the arguments and writing the result is done where the activity runs, for that runs code of the user's classes,
and in a child process it costs the parent nothing. Loaded into child processes: knows no client library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .._workers import ExecutorKind, refuse_unpicklable
from ..activity import Activity
from ..messages.activities import ActivityRequest
from ..messages.errors import DecodeError, InvalidArgument, InvalidResult, MessageTooLarge
from ..messages.payloads import Payload
from . import values

JSON = "application/json"


def handlers_for(activities: Iterable[Activity[..., Any]], kind: ExecutorKind, max_size: int) -> dict[str, Any]:
    """Make what the executor runs. Raises `ConfigError`; `UnpicklableError` for what no child process can import."""
    handler = AsyncWireHandler if kind == "asyncio" else WireHandler
    handlers = {each.name: handler(each, max_size) for each in activities}
    if kind == "process":
        refuse_unpicklable(handlers)
    return handlers


def write_arguments(activity: Activity[..., Any], args: Sequence[Any] | None, kwargs: dict[str, Any]) -> Payload:
    """Write checked arguments. Raises `EncodeError`."""
    assert args is not None, "a call is made with arguments"
    return Payload(values.encode([list(args), kwargs], f"activity {activity.name!r}: arguments"), JSON)


def read_result(activity: Activity[..., Any] | None, output: Payload) -> Any:
    """Read a result as the caller shall get it, as plain data where no activity says more. Raises `InvalidResult`."""
    if output.content_type != JSON:
        return output
    try:
        value = values.decode(output.data)
    except DecodeError as error:
        name = activity.name if activity is not None else "unknown"
        raise InvalidResult(name, "JSON", "something that cannot be read") from error
    return value if activity is None else activity.signature.result(value)


class _Handler:
    """Reads arguments and writes results for one activity."""

    def __init__(self, of: Activity[..., Any], max_size: int) -> None:
        self._activity = of
        self._max_size = max_size

    def _arguments(self, request: ActivityRequest) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Read the arguments and check them again: who sent them may not be who he says. Raises `InvalidArgument`."""
        name = self._activity.name
        try:
            given = values.decode(request.input.data)  # type: ignore[union-attr]  # nothing else comes over a wire
            args, kwargs = given
        except (DecodeError, TypeError, ValueError) as error:
            raise InvalidArgument(name, "the call", "a JSON list of a list and an object", "something else") from error
        if not isinstance(args, list) or not isinstance(kwargs, dict) or not all(type(key) is str for key in kwargs):
            raise InvalidArgument(name, "the call", "a JSON list of a list and an object", "something else")
        return self._activity.signature.bind(tuple(args), kwargs)

    def _output(self, value: Any) -> Payload:
        checked = self._activity.signature.result(value)
        text = values.encode(checked, f"activity {self._activity.name!r}: result")
        if len(text) > self._max_size:
            raise MessageTooLarge(f"the result of activity {self._activity.name!r}", len(text), self._max_size)
        return Payload(text, JSON)


class WireHandler(_Handler):
    """What a thread or a process runs."""

    def __call__(self, request: ActivityRequest) -> Payload:
        """Run it."""
        args, kwargs = self._arguments(request)
        return self._output(self._activity.function(*args, **kwargs))


class AsyncWireHandler(_Handler):
    """The same for a coroutine function on an event loop."""

    async def __call__(self, request: ActivityRequest) -> Payload:
        """Await it."""
        args, kwargs = self._arguments(request)
        return self._output(await self._activity.function(*args, **kwargs))
