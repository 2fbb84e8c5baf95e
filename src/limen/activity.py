"""`@activity`: a function that may be handed to a worker, with what its callers and its workers need to know."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property, partial, update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import attrs

from ._options import Options, Seconds
from ._signature import Bound, CheckedSignature
from .actors.attempt import Boxed
from .messages.activities import ActivityRequest, Completed, with_input
from .messages.errors import ConfigError
from .messages.names import dispatch_channel
from .messages.payloads import Local
from .messages.retry import Retry

P = ParamSpec("P")
R = TypeVar("R")


class Activity(Generic[P, R]):
    """A function that can be dispatched. Calling it runs it here and now, as if it had not been decorated."""

    def __init__(
        self,
        function: Callable[P, Any],
        queue: str,
        name: str,
        options: Options,
        made_from: Activity[P, R] | None = None,
    ) -> None:
        self.function = function
        self.queue = queue
        self.name = name
        """The activity type: what workers register for."""
        self.defaults = options
        self.__wrapped__ = function
        self._made_from = made_from
        update_wrapper(self, function)
        self.bind: Callable[[tuple[Any, ...], dict[str, Any]], Bound] = self._compile_and_bind
        """Gives the arguments as the function shall get them. Raises `InvalidArgument`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """Name it and its queue."""
        return f"<Activity {self.name} on {self.queue}>"

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        """Refuse to be called as a method: an activity is a function, and travels without an object."""
        if instance is not None and self._is_method_of(type(instance)):
            raise ConfigError(f"activity {self.name!r}", "is a method; decorate a function, and give it what it needs")
        return self

    def _is_method_of(self, owner: type) -> bool:
        names = {f"{each.__qualname__}.{getattr(self, '__name__', '')}" for each in owner.__mro__}
        return not isinstance(self.function, staticmethod) and getattr(self, "__qualname__", "") in names

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name, as a function is; what has no name of its own, by its parts."""
        if self._made_from is not None:
            return _with_options, (self._made_from, self.queue, self.defaults)
        if _found_by_name(self) is self:
            return str(self.function.__qualname__)
        return type(self), (self.function, self.queue, self.name, self.defaults)

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine function."""
        return _is_async(self.function)

    @cached_property
    def signature(self) -> CheckedSignature:
        """The compiled signature."""
        return CheckedSignature(self.function, self.name)

    def _compile_and_bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        """Take the compiled signature's own way from the first call on."""
        self.bind = self.signature.bind
        return self.bind(args, kwargs)

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        key: str | None = None,
        route_by: str | None = None,
        retry: Retry | None = None,
        start_to_close: Seconds | None = None,
        schedule_to_start: Seconds | None = None,
        schedule_to_close: Seconds | None = None,
        wait: Seconds | None = None,
        max_crashes: int | None = None,
        dead_letter: bool | None = None,
    ) -> Self:
        """Give the same activity with other options, to dispatch it with. What is not given stays as it is.

        Raises `ConfigError`, `InvalidChannelName`.
        """
        given: dict[str, Any] = {
            "priority": priority,
            "key": key,
            "route_by": route_by,
            "retry": retry,
            "start_to_close": start_to_close,
            "schedule_to_start": schedule_to_start,
            "schedule_to_close": schedule_to_close,
            "wait": wait,
            "max_crashes": max_crashes,
            "dead_letter": dead_letter,
        }
        changed = attrs.evolve(self.defaults, **{name: value for name, value in given.items() if value is not None})
        base = self if self._made_from is None else self._made_from
        made: Self = _with_options(base, _checked_queue(queue or self.queue), changed)
        return made

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

    def runner(self) -> Callable[[Any], Completed | Boxed]:
        """Give what runs it for a caller in this process, without writing a request first; its value comes in a box."""
        function, signature = self._activity.function, self._activity.signature
        returns, returned_type = signature.returns, signature.returned_type

        def run(conversation: Any) -> Completed | Boxed:
            args, kwargs = conversation.args, conversation.kwargs
            if args is None:
                return Completed(self(conversation.request))
            value = function(*args, **kwargs) if kwargs else function(*args)
            if type(value) is returned_type or returns(value):
                return (value,)
            return (signature.result(value),)

        return run


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
        _check_name(name)
        self._queue = queue
        self._name = name
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> AsyncActivity[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Activity[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Activity[..., Any]:
        _refuse_unfit(function)
        kind = AsyncActivity if _is_async(function) else Activity
        return kind(function, self._queue, _name_of(function) if self._name is None else self._name, self._options)


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
    wait: Seconds | None = ...,
    max_crashes: int = ...,
    dead_letter: bool = ...,
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
    wait: Seconds | None = None,
    max_crashes: int = 3,
    dead_letter: bool = False,
) -> Any:
    """Make a function an activity of a queue. Its annotations are checked: arguments at the call, the result after it.

    `name` is the activity type, by default the function's name. Limits are in seconds or a `timedelta`. For process
    workers the function must be importable by its name. Raises `ConfigError`, `InvalidChannelName`.
    """
    options = Options(
        priority=priority,
        retry=retry,
        start_to_close=start_to_close,
        schedule_to_start=schedule_to_start,
        schedule_to_close=schedule_to_close,
        wait=wait,
        max_crashes=max_crashes,
        dead_letter=dead_letter,
    )
    decorator = _Decorator(_checked_queue(queue), name, options)
    return decorator if function is None else decorator(function)


def _with_options(base: Activity[P, R], queue: str, options: Options) -> Any:
    return type(base)(base.function, queue, base.name, options, made_from=base)


def _found_by_name(activity: Activity[..., Any]) -> object:
    """Give what its module has under its name; `None` if nothing."""
    found: object = sys.modules.get(getattr(activity, "__module__", ""))
    for part in getattr(activity, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found


def _is_async(function: Callable[..., Any]) -> bool:
    called = function if hasattr(function, "__name__") or isinstance(function, partial) else type(function).__call__
    return inspect.iscoroutinefunction(called)


def _refuse_unfit(function: object) -> None:
    """Raise for what is no function, or gives something that is no result."""
    if isinstance(function, Activity):
        raise ConfigError("activity", f"{function!r} is one already; use its options(…)")
    if isinstance(function, type):
        raise ConfigError("activity", f"decorates a function, not the class {function.__name__}")
    if not callable(function):
        raise ConfigError("activity", f"decorates a function, not something of type {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError("activity", "decorates a function that returns its result, not a generator function")


def _name_of(function: Callable[..., Any]) -> str:
    name: str = getattr(function, "__name__", "<nameless>")
    if name.startswith("<"):
        raise ConfigError("name", f"a {type(function).__name__} without a name needs one: activity(name=…)")
    return name


def _check_name(name: object) -> None:
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigError("name", "must be a non-empty str")


def _checked_queue(queue: str) -> str:
    """Refuse what cannot be a part of a channel's name. Raises `InvalidChannelName`."""
    dispatch_channel("default", queue)
    return queue
