"""`Limen`: an application's dispatcher. A thin face on `WorkerContext`, which does the work."""

from __future__ import annotations

import itertools
import os
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, ParamSpec, Self, TypeVar

from ._call import Call
from .activity import Activity, AsyncHandler, SyncHandler
from .actors import _orders as orders
from .actors.channel_handle import ChannelHandle
from .actors.context import WorkerContext
from .actors.recorder import Recorder
from .actors.registration import WorkerRegistration
from .actors.router_loader import LoadedRouter, load_router
from .actors.runtime import runtime
from .events import EventStream
from .handle import Handle
from .messages.activities import WorkerCapacity
from .messages.errors import ConfigError
from .messages.names import dispatch_channel
from .messages.pool import PoolRow

P = ParamSpec("P")
R = TypeVar("R")

ExecutorKind = Literal["thread", "asyncio", "process"]


class Limen:
    """Workers and the work for them, inside this process.

    Starts nothing until it is used. Use it in a `with` or `async with` block, or call `close`. All methods may be
    called on any thread.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "default",
        recorder: Recorder | None = None,
        context: WorkerContext | None = None,
    ) -> None:
        _refuse_remote(url or os.environ.get("LIMEN_URL"))
        self.namespace = namespace
        self._recorder = recorder
        self._context = context or WorkerContext()
        self._owns_context = context is None
        self._lock = threading.Lock()
        self._channels: dict[str, ChannelHandle] = {}
        self._registrations: list[WorkerRegistration] = []
        self._streams: tuple[EventStream, ...] = ()
        self._prefix = uuid.uuid4().hex[:12]
        self._ids = itertools.count(1)
        self._new_reply = runtime().create_future

    def __repr__(self) -> str:
        """Name the namespace."""
        return f"<Limen {self.namespace}>"

    # --- workers ------------------------------------------------------------------------------------------------

    def worker(
        self,
        queue: str,
        activities: Sequence[Activity[..., Any]],
        *,
        max_concurrent: int | None = None,
        executor: ExecutorKind | None = None,
    ) -> WorkerRegistration:
        """Add a worker to a queue. It lives until it is unregistered or the application closes.

        It runs at most `max_concurrent` activities at once (by default 100 coroutines, as many processes as there are
        cores, or one thread), in threads, in child processes, or on an event loop, which is the default for coroutine
        functions. When it crashes its work is handed on and it is started again. Raises `ConfigError`,
        `UnpicklableError` for a process worker's function that has no importable name, `ChannelLifecycleError`.
        """
        kind = _executor_for(activities, executor)
        handler = AsyncHandler if kind == "asyncio" else SyncHandler
        handlers = {each.name: handler(each) for each in activities}
        if len(handlers) < len(activities):
            raise ConfigError("activities", "two of them have the same name")
        capacity = WorkerCapacity(_slots(kind, max_concurrent), tuple(handlers))
        self._channel(queue)
        registration = self._context.register_worker(
            self.namespace, queue, capacity, handlers=handlers, executor=kind, restart=True
        )
        self._registrations.append(registration)
        return registration

    def pool(self, queue: str) -> list[PoolRow]:
        """List a queue's live workers in the order in which they came: what each can do and is doing now."""
        return self._context.pool(dispatch_channel(self.namespace, queue))

    def route(self, queue: str, router: Any, *, limit: float = 5.0) -> None:
        """Let another router choose a queue's workers, from the next request on.

        `router` is one of `limen.routers`, or a function `(message, views) -> worker id | None`, which is run on a
        thread of its own with a limit of `limit` seconds.
        """
        deployed = router if hasattr(router, "pick") or isinstance(router, LoadedRouter) else None
        self._channel(queue).session.ask(orders.Deploy(deployed or load_router(router, limit_s=limit)))

    # --- work ---------------------------------------------------------------------------------------------------

    def dispatch(self, activity: Activity[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Hand an activity to one of its queue's workers. Does not wait for it.

        Raises `InvalidArgument`, a `TypeError`, for a wrong argument, before anything is queued; everything else that
        goes wrong is told by the handle.
        """
        if not isinstance(activity, Activity):
            raise ConfigError("dispatch", f"takes a function decorated with @activity, not {activity!r}")
        channel = self._channels.get(activity.queue) or self._channel(activity.queue)
        call = Call(activity, activity.signature.bind(args, kwargs), self._new_reply(), self._prefix, next(self._ids))
        if self._recorder is not None:
            call.record_with(self._recorder)
        call.channel = channel
        channel.session.submit(call)
        return Handle(call)

    def map(
        self, activity: Activity[..., R], items: Iterable[Any], *, max_in_flight: int = 1000, timeout: float | None = None
    ) -> Iterator[R]:
        """Dispatch an activity for every item and yield the results in order.

        Takes items only as there is room: never more than `max_in_flight` are under way. `timeout` bounds the wait for
        each result. When the iteration ends early, by an error or a `break`, what is under way is cancelled.
        """
        if max_in_flight < 1:
            raise ConfigError("max_in_flight", f"must be 1 or more, not {max_in_flight}")
        under_way: deque[Handle[R]] = deque()
        source = iter(items)
        try:
            for item in source:
                under_way.append(self.dispatch(activity, item))
                if len(under_way) >= max_in_flight:
                    yield under_way.popleft().result(timeout)
            while under_way:
                yield under_way.popleft().result(timeout)
        finally:
            for handle in under_way:
                handle.cancel()

    # --- watching -----------------------------------------------------------------------------------------------

    def events(self, *, size: int = 10_000) -> EventStream:
        """Follow what happens on every queue of this application from now on. Buffers `size` events at most."""
        stream = EventStream(size, self._drop_stream)
        with self._lock:
            self._streams = (*self._streams, stream)
            channels = list(self._channels.values())
        for channel in channels:
            channel.session.ask(orders.Listen(stream.put))
        return stream

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 10.0) -> None:
        """End every worker, actor, thread and process of this application. Idempotent.

        Open dispatches end with `ChannelLifecycleError`. Blocks at most about `timeout` seconds; an activity on a
        thread that runs longer is abandoned, and logged.
        """
        for stream in self._streams:
            stream.close()
        if self._owns_context:
            self._context.close(timeout)
        else:
            for registration in self._registrations:
                registration.unregister()
        self._registrations.clear()
        self._channels.clear()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; quickly when the block is left by Ctrl-C or the like."""
        hurried = kind is not None and not issubclass(kind, Exception)
        self.close(timeout=1.0 if hurried else 10.0)

    async def __aenter__(self) -> Self:
        """Close at the end of the block."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close, without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.__exit__, kind)

    def _channel(self, queue: str) -> ChannelHandle:
        """Give the queue's channel, with every event stream connected. Raises `InvalidChannelName`."""
        with self._lock:
            channel = self._channels.get(queue)
            if channel is None or channel.closed:
                channel = self._context.channel(self.namespace, queue)
                self._channels[queue] = channel
                for stream in self._streams:
                    channel.session.ask(orders.Listen(stream.put))
            return channel

    def _drop_stream(self, stream: EventStream) -> None:
        with self._lock:
            self._streams = tuple(each for each in self._streams if each is not stream)
            channels = list(self._channels.values())
        for channel in channels:
            channel.session.notice(orders.Listen(stream.put, on=False))


def _refuse_remote(url: str | None) -> None:
    if url and not url.startswith("embedded:"):
        scheme = url.partition(":")[0]
        raise ConfigError("url", f"this version runs embedded only, and knows no {scheme}: URL; leave it out")


def _executor_for(activities: Sequence[Activity[..., Any]], asked: str | None) -> ExecutorKind:
    if not activities:
        raise ConfigError("activities", "a worker serves at least one")
    for each in activities:
        if not isinstance(each, Activity):
            raise ConfigError("activities", f"takes functions decorated with @activity, not {each!r}")
    coroutines = [each.name for each in activities if each.is_async]
    if asked is None:
        asked = "asyncio" if len(coroutines) == len(activities) else "thread"
    if asked == "asyncio" and len(coroutines) < len(activities):
        raise ConfigError("executor", "asyncio runs coroutine functions only; give other functions a thread worker")
    if asked in {"thread", "process"} and coroutines:
        raise ConfigError("executor", f"{', '.join(coroutines)}: a coroutine function needs an asyncio worker")
    return asked  # type: ignore[return-value]  # an unknown one is refused where executors are made


def _slots(kind: str, asked: int | None) -> int:
    if asked is not None:
        return asked
    return {"asyncio": 100, "process": os.cpu_count() or 1}.get(kind, 1)
