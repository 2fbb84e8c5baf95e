"""`@activity`: a function that may be handed to a worker, with what its callers and its workers need to know."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import attrs

from ._signature import CheckedSignature
from .messages.activities import ActivityRequest, Completed, completed_with, with_input
from .messages.errors import ConfigError
from .messages.payloads import Local
from .messages.retry import Retry

P = ParamSpec("P")
R = TypeVar("R")

Seconds = float | timedelta


@attrs.frozen(kw_only=True)
class Options:
    """How a dispatch is treated; set on the activity, or for some calls with `activity.options(…)`."""

    priority: int = 0
    """Higher goes first; equal priorities keep arrival order."""
    key: str | None = None
    """What a consistent-hash or affinity router goes by."""
    retry: Retry | None = None
    start_to_close: Seconds | None = None
    """The limit of one attempt."""
    schedule_to_start: Seconds | None = None
    """The limit of waiting for a worker. With it, a request waits for workers that are yet to come."""
    schedule_to_close: Seconds | None = None
    """The limit of everything together."""
    max_crashes: int = 3
    """How many workers may die of a request before it is given up as poison."""


class Activity(Generic[P, R]):
    """A function that can be dispatched. Calling it runs it here and now, as if it had not been decorated."""

    def __init__(self, function: Callable[P, Any], queue: str, name: str, options: Options) -> None:
        self.function = function
        self.queue = queue
        self.name = name
        """The activity type: what workers register for."""
        self.defaults = options
        self.__wrapped__ = function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """Name it and its queue."""
        return f"<Activity {self.name} on {self.queue}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, as a function is."""
        return str(self.function.__qualname__)

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def signature(self) -> CheckedSignature:
        """The compiled signature."""
        return CheckedSignature(self.function, self.name)

    def options(
        self,
        *,
        priority: int | None = None,
        key: str | None = None,
        retry: Retry | None = None,
        start_to_close: Seconds | None = None,
        schedule_to_start: Seconds | None = None,
        schedule_to_close: Seconds | None = None,
        max_crashes: int | None = None,
    ) -> Self:
        """Give the same activity with other options, to dispatch it with. What is not given stays as it is."""
        given = {
            "priority": priority,
            "key": key,
            "retry": retry,
            "start_to_close": start_to_close,
            "schedule_to_start": schedule_to_start,
            "schedule_to_close": schedule_to_close,
            "max_crashes": max_crashes,
        }
        changed = attrs.evolve(self.defaults, **{name: value for name, value in given.items() if value is not None})
        return type(self)(self.function, self.queue, self.name, changed)

    @cached_property
    def has_limits(self) -> bool:
        """Whether time may run out for a dispatch."""
        options = self.defaults
        limits = (options.start_to_close, options.schedule_to_start, options.schedule_to_close)
        return any(limit is not None for limit in limits)

    @cached_property
    def is_plain(self) -> bool:
        """Whether a dispatch is treated as any other."""
        return self.defaults == Options()

    @cached_property
    def _template(self) -> ActivityRequest:
        options = self.defaults
        return ActivityRequest(
            self.name,
            Local(None),
            self.queue,
            options.schedule_to_close,
            options.start_to_close,
            options.schedule_to_start,
        )

    def request(self, bound: tuple[tuple[Any, ...], dict[str, Any]]) -> ActivityRequest:
        """Make the request for a call, given its checked arguments."""
        return with_input(self._template, Local(bound))


class AsyncActivity(Activity[P, R]):
    """An activity that is a coroutine function: calling it gives a coroutine, dispatching it the result."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """Call the function itself."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]


class SyncHandler:
    """What a thread or a process runs for a request: the function, its arguments unpacked, its result checked."""

    def __init__(self, of: Activity[..., Any]) -> None:
        self._activity = of

    def __call__(self, request: ActivityRequest) -> Local:
        """Run it."""
        args, kwargs = request.input.value  # type: ignore[union-attr]
        return Local(self._activity.signature.result(self._activity.function(*args, **kwargs)))

    def run(self, conversation: Any) -> Completed:
        """Run it for a caller in this process, without writing a request first."""
        bound = conversation.bound
        if bound is None:
            return Completed(self(conversation.request))
        activity = self._activity
        args, kwargs = bound
        value = activity.function(*args, **kwargs)
        signature = activity.signature
        return completed_with(value if signature.returns(value) else signature.result(value))


class AsyncHandler:
    """The same for a coroutine function on an event loop."""

    def __init__(self, of: Activity[..., Any]) -> None:
        self._activity = of

    async def __call__(self, request: ActivityRequest) -> Local:
        """Await it."""
        args, kwargs = request.input.value  # type: ignore[union-attr]
        return Local(self._activity.signature.result(await self._activity.function(*args, **kwargs)))


class _Decorator:
    """What `@activity(…)` gives: knows coroutine functions from others."""

    def __init__(self, queue: str, name: str | None, options: Options) -> None:
        self._queue = queue
        self._name = name
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> AsyncActivity[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Activity[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Activity[..., Any]:
        if not callable(function):
            raise ConfigError("activity", f"decorates a function, not a {type(function).__name__}")
        kind = AsyncActivity if inspect.iscoroutinefunction(function) else Activity
        return kind(function, self._queue, self._name or function.__name__, self._options)


@overload
def activity(function: Callable[P, Awaitable[R]], /) -> AsyncActivity[P, R]: ...


@overload
def activity(function: Callable[P, R], /) -> Activity[P, R]: ...


@overload
def activity(
    *,
    queue: str = ...,
    name: str | None = ...,
    retry: Retry | None = ...,
    priority: int = ...,
    start_to_close: Seconds | None = ...,
    schedule_to_start: Seconds | None = ...,
    schedule_to_close: Seconds | None = ...,
    max_crashes: int = ...,
) -> _Decorator: ...


def activity(
    function: Callable[..., Any] | None = None,
    /,
    *,
    queue: str = "default",
    name: str | None = None,
    retry: Retry | None = None,
    priority: int = 0,
    start_to_close: Seconds | None = None,
    schedule_to_start: Seconds | None = None,
    schedule_to_close: Seconds | None = None,
    max_crashes: int = 3,
) -> Any:
    """Make a function an activity of a queue. Its annotations are checked: arguments at the call, the result after it.

    `name` is the activity type, by default the function's name. Limits are in seconds or a `timedelta`. For process
    workers the function must be importable by its name.
    """
    options = Options(
        priority=priority,
        retry=retry,
        start_to_close=start_to_close,
        schedule_to_start=schedule_to_start,
        schedule_to_close=schedule_to_close,
        max_crashes=max_crashes,
    )
    decorator = _Decorator(queue, name, options)
    return decorator if function is None else decorator(function)
