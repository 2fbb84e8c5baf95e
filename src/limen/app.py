"""`Limen`: an application's dispatcher. A thin face on an engine, which carries the work to where it is done."""

from __future__ import annotations

import itertools
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from ._call import Call, call_class
from ._controls import QueueControls
from ._engine import EmbeddedEngine, Engine, Port
from ._options import Seconds
from ._workers import ExecutorKind, executor_for, grace_for, router_for, slots_for
from .activity import Activity
from .actors import _orders as orders
from .actors.context import WorkerContext
from .actors.conversation import Conversation
from .actors.recorder import Recorder
from .actors.registration import WorkerRegistration
from .actors.runtime import runtime
from .events import EventStream
from .handle import Handle, cancel_all, handle_of
from .messages.activities import WorkerCapacity
from .messages.bus_errors import BusError
from .messages.drain import DrainReport, Waiting, check_drain
from .messages.errors import ChannelLifecycleError, ConfigError, DispatcherDraining
from .messages.names import dispatch_channel
from .messages.pool import PoolRow

if TYPE_CHECKING:
    from ._signals import ExitOnSignals
    from .executor import Executor
    from .messages.dead_letters import DeadLetter, DeadLetters
    from .metrics.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Limen(QueueControls):
    """Workers and the work for them: inside this process, or over a broker on any machine.

    `url`, or `LIMEN_URL` in the environment: `amqp://user:password@host/vhost` or `amqps://…` for RabbitMQ, which needs
    the extra `limen[rabbitmq]`; without one, or with `embedded:`, all is in this process. The program is the same.

    Starts nothing until it is used. Use it in a `with` or `async with` block, or call `close`. All methods may be
    called on any thread, and raise `ChannelLifecycleError` once it is closed. Raises `ConfigError` for the URL,
    `InvalidChannelName` for the namespace. `metrics`: what to fill with figures of every queue used here, see
    `limen.metrics`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "default",
        recorder: Recorder | None = None,
        context: WorkerContext | None = None,
        metrics: Registry | None = None,
    ) -> None:
        dispatch_channel(namespace, "default")
        self.namespace = namespace
        self._recorder = recorder
        self._metrics = metrics
        self._engine = _engine_for(url, namespace, context, recorder)
        self._lock = runtime().create_lock()
        self._ports: dict[str, Port] = {}
        self._open_ports: dict[str, Port] = {}
        """Those that take new work: all or, once the end has begun, none."""
        self._streams: tuple[EventStream, ...] = ()
        self._is_draining = False
        self._closed = False
        self._prefix = runtime().new_id().replace("-", "")[:12]
        self._ids = itertools.count(1)
        self._new_call = call_class(runtime().reply_class)

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
        grace: Seconds = 0.5,
        max_abandoned: int = 10,
    ) -> WorkerRegistration:
        """Add a worker to a queue. It lives until it is unregistered or the application closes.

        It runs at most `max_concurrent` activities at once (by default 100 coroutines, as many processes as there are
        cores, or one thread), in threads, in child processes, or on an event loop, which is the default for coroutine
        functions. When it crashes its work is handed on and it is started again.

        An activity that is cancelled, or out of time, has `grace` seconds to end. Then its process is killed; its
        thread or coroutine is abandoned, and another may have its slot, for at most `max_abandoned` of them.

        Raises `ConfigError`, `InvalidCapacity`, `UnpicklableError` for a process worker's function that has no
        importable name, `ChannelLifecycleError`.
        """
        kind = executor_for(queue, activities, executor)
        handlers = self._engine.handlers(activities, kind)
        capacity = WorkerCapacity(slots_for(kind, max_concurrent), tuple(handlers))
        self._open_port(queue)
        return self._engine.register(queue, capacity, handlers, kind, grace_for(grace, max_abandoned))

    def executor(
        self,
        queue: str,
        *,
        max_workers: int | None = None,
        executor: Literal["thread", "process"] = "thread",
        rerun: bool = False,
        name: str = "call",
    ) -> Executor:
        """Add a worker for calls of any function to a queue, and give it as a `concurrent.futures.Executor`.

        Its calls are activities with this `name`, which no other worker of the queue may serve. `max_workers` is by
        default what CPython's executors have. The functions of processes, their arguments and results must pickle. A
        call whose process dies is lost (`limen.executor.CallLost`), and no other with it; with `rerun` it is run again,
        and lost when it has killed three. Embedded applications only. Raises what `worker` raises.
        """
        from .executor import make_executor

        return make_executor(self, queue, max_workers=max_workers, kind=executor, rerun=rerun, name=name)

    def pool(self, queue: str) -> list[PoolRow]:
        """List a queue's live workers in the order in which they came: what each can do and is doing now."""
        self._refuse_closed(queue)
        return self._engine.pool(queue)

    def route(self, queue: str, router: Any, *, limit: float = 5.0) -> None:
        """Let another router choose a queue's workers, from the next request on.

        `router` is one of `limen.routers`, made for this queue, or a function `(message, views) -> worker id | None`,
        which is run on a thread of its own with a limit of `limit` seconds. Raises `ConfigError`.
        """
        self._port(queue).session.ask(orders.Deploy(router_for(router, limit)))

    # --- work ---------------------------------------------------------------------------------------------------

    def dispatch(self, activity: Activity[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Hand an activity to one of its queue's workers. Does not wait for it.

        Blocks only where its option `wait` says so and no more may wait on the queue: for room, at most so long. Raises
        `InvalidArgument`, a `TypeError`, for a wrong argument, before anything is queued; everything else that goes
        wrong is told by the handle.
        """
        if type(activity) is not Activity and not isinstance(activity, Activity):
            _refuse_other(activity)  # type: ignore[unreachable]  # type checkers see to it, and not all use one
        given, named = activity.bind(args, kwargs)
        port = self._open_ports.get(activity.queue) or self._open_port(activity.queue)
        call = self._new_call()
        call.begin(activity, given, named, port, self._prefix, next(self._ids))
        if self._recorder is not None:
            call.record_with(self._recorder)
        port.session.submit(call)
        if not call.is_plain and call.entered is not None:
            call.wait_for_room()
        handle: Handle[R] = Handle()
        handle._conversation = call  # noqa: SLF001 - as in `handle_of`, but quicker
        return handle

    async def dispatch_async(self, activity: Activity[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Do the same, without blocking the event loop where the caller has to wait: for room, or by a policy."""
        _refuse_other(activity)
        call = self._call(activity, args, kwargs)
        call.channel.session.submit(call)
        if call.entered is not None:
            await call.wait_for_room_async()
        wait_s = call.channel.session.hold_up_s()
        if wait_s > 0:
            import asyncio

            await asyncio.sleep(wait_s)
        return handle_of(call)

    def _call(self, activity: Activity[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Make a dispatch, ready to be handed in. `dispatch` does so by itself, which is quicker."""
        given, named = activity.bind(args, kwargs)
        port = self._open_ports.get(activity.queue) or self._open_port(activity.queue)
        call = self._new_call()
        call.begin(activity, given, named, port, self._prefix, next(self._ids))
        if self._recorder is not None:
            call.record_with(self._recorder)
        return call

    def map(
        self,
        activity: Activity[Concatenate[T, ...], R],
        items: Iterable[T],
        *,
        max_in_flight: int = 1000,
        timeout: float | None = None,
    ) -> Iterator[R]:
        """Dispatch an activity for every item and yield the results in order.

        Takes items only as there is room: never more than `max_in_flight` are under way, or done and not yet yielded,
        and no more than the queue's bound lets wait. `timeout` bounds the wait for each result. When the iteration ends
        early, by an error or a `break`, what is under way is cancelled. Nothing is dispatched before the first `next`.
        """
        if max_in_flight < 1:
            raise ConfigError("max_in_flight", f"must be 1 or more, not {max_in_flight}")
        _refuse_other(activity)
        self._refuse_new(activity.queue)
        return self._map(activity, iter(items), max_in_flight, timeout)

    def _map(
        self, activity: Activity[..., R], items: Iterator[Any], max_in_flight: int, timeout: float | None
    ) -> Iterator[R]:
        under_way: deque[Handle[R]] = deque()
        try:
            for item in items:
                call = self._call(activity, (item,), {})
                call.wait_s = math.inf
                call.channel.session.submit(call)
                under_way.append(handle_of(call))
                while under_way and (len(under_way) >= max_in_flight or under_way[0].done() or call.work.is_outside):
                    result = under_way[0].result(timeout)
                    under_way.popleft()
                    yield result
            while under_way:
                result = under_way[0].result(timeout)
                under_way.popleft()
                yield result
        finally:
            cancel_all(under_way)

    def collect(self, activity: Activity[..., R], key: str, *, timeout: float = 60.0) -> Handle[R]:
        """Find the result of work that was dispatched with a key by a process that is gone. Over a broker only.

        Results that nobody was there to take are kept for a week, and still are when they have been collected: each is
        there about ten seconds after its work has ended. The handle waits for it for `timeout` seconds, and then fails
        with `ScheduleToCloseTimedOut`. Looks through all that is kept: meant for a restart, not for every call. Raises
        `ConfigError` without a broker.
        """
        _refuse_other(activity)
        if not timeout > 0:
            raise ConfigError("timeout", f"must be above 0, not {timeout}")
        self._open_port(activity.queue)
        return handle_of(self._engine.collect(activity.queue, activity, key, timeout))

    # --- dead letters -------------------------------------------------------------------------------------------

    def dead_letters(self, queue: str) -> DeadLetters:
        """List the requests of a queue that were given up, with their history, the oldest first.

        Poison is among them; with the option `dead_letter=True` also what failed or timed out for the last time.
        """
        letters: DeadLetters = self._order(queue, orders.ListLetters())
        return letters

    @overload
    def requeue(self, queue: Activity[..., R], letter_id: str) -> Handle[R]: ...

    @overload
    def requeue(self, queue: str, letter_id: str) -> Handle[Any]: ...

    def requeue(self, queue: str | Activity[..., Any], letter_id: str) -> Handle[Any]:
        """Try a dead letter again: the same request, with the same options and the same id.

        Name its queue, or give the activity, and get a handle of the right type. Without a result it comes back among
        the dead letters, with a longer history. Raises `UnknownDeadLetter`; `ConfigError` if it is of another activity;
        `RecorderFailed`.
        """
        name, kind = (queue, None) if isinstance(queue, str) else (queue.queue, queue.name)
        activity = queue if isinstance(queue, Activity) else None
        conversation: Conversation = self._order(name, orders.Requeue(letter_id, self._port(name), kind, activity))
        return handle_of(conversation)

    def discard(self, queue: str, letter_id: str) -> DeadLetter:
        """Throw a dead letter away, and give it. Raises `UnknownDeadLetter`, `RecorderFailed`."""
        letter: DeadLetter = self._order(queue, orders.Discard(letter_id))
        return letter

    def remember(
        self,
        queue: str,
        *,
        dead_letters: int | None = None,
        keys: int | None = None,
        ttl: Seconds | None = None,
    ) -> None:
        """Set how many dead letters (1000) and how many ends of keyed work (10,000, for an hour) a queue keeps.

        The oldest make room. `ttl` is in seconds or a `timedelta`. What is not given stays. Raises `ConfigError`.
        """
        ttl_s = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        self._order(queue, orders.Remember(dead_letters=dead_letters, keys=keys, ttl_s=ttl_s))

    def _order(self, queue: str, order: object) -> Any:
        try:
            return self._port(queue).session.ask(order)
        except BusError as error:
            raise ChannelLifecycleError(f"{self.namespace}/{queue}", str(error)) from error

    def _names_of_queues(self) -> list[str]:
        with self._lock:
            self._refuse_closed("*")
            used = list(self._ports)
        return sorted({*used, *self._engine.queues()})

    # --- watching -----------------------------------------------------------------------------------------------

    def events(self, *, size: int = 10_000) -> EventStream:
        """Follow what happens on every queue of this application from now on. Buffers `size` events at most."""
        if size < 1:
            raise ConfigError("size", f"must be 1 or more, not {size}")
        stream = EventStream(size, self._drop_stream)
        with self._lock:
            self._refuse_closed("*")
            self._streams = (*self._streams, stream)
            ports = list(self._ports.values())
        for port in ports:
            port.session.ask(orders.Listen(stream.listener))
        return stream

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 10.0, *, drain: float = 0.0, waiting: Waiting = "fail") -> DrainReport:
        """End every worker, actor, thread and process of this application; say what it left undone.

        With `drain`, nothing new is taken (`DispatcherDraining`) for so many seconds at most, while requests that have
        begun are carried to their end, through crashes and retries. Those that wait and have not begun fail at once
        with `ShutDown`; with `waiting="run"` they are run too. What is open after that fails with `ShutDown`, a
        `ChannelLifecycleError`, and the report names it. Event streams get to hear of the end and are closed.

        Blocks, for `drain` and about `timeout` seconds at most; an activity on a thread that still runs then is
        abandoned, and logged. Left by Ctrl-C it ends within about a second. A second call hurries the first, if it is
        to end sooner, waits for it, and gives the same report. A context that was given stays open: only the workers
        added here are drained, and leave it. Raises `ConfigError`.
        """
        check_drain(drain, waiting)
        with self._lock:
            self._is_draining = True
            self._open_ports = {}
        try:
            return self._engine.close(timeout, drain=drain, waiting=waiting)
        finally:
            self._closed = True
            for stream in self._streams:
                stream.close()
            self._ports.clear()

    async def aclose(self, timeout: float = 10.0, *, drain: float = 0.0, waiting: Waiting = "fail") -> DrainReport:  # noqa: ASYNC109 - as `close`
        """Do as `close` does, without blocking the event loop. Whoever is cancelled leaves the close to itself."""
        import asyncio

        return await asyncio.to_thread(self.close, timeout, drain=drain, waiting=waiting)

    def exit_on_signals(self, drain: float = 30.0, *, waiting: Waiting = "fail") -> ExitOnSignals:
        """Have SIGTERM and Ctrl-C drain this application and end the program; use it in a `with` block.

        In the block, the first such signal closes the application on another thread, as `close(drain=…)` does, while
        the main thread goes on; what is left undone is logged, and in `report`. Then the main thread leaves with
        `SystemExit`, status 143 or 130. A second signal ends the process at once, with the same status, and its child
        processes with it. `wait()` blocks until then, for a main thread that has nothing else to do. Main thread only;
        raises `ConfigError`.
        """
        from ._signals import ExitOnSignals

        return ExitOnSignals(self, drain=drain, waiting=waiting)

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

    def _open_port(self, queue: str) -> Port:
        """Give the queue's port for new work. Raises `DispatcherDraining`."""
        self._refuse_new(queue)
        port = self._port(queue)
        with self._lock:
            self._refuse_new(queue)
            self._open_ports[queue] = port
        return port

    def _port(self, queue: str) -> Port:
        """Give the queue's port, with every event stream connected. Raises `InvalidChannelName`."""
        with self._lock:
            self._refuse_closed(queue)
            port = self._ports.get(queue)
            if port is None or port.closed:
                port = self._engine.port(queue)
                self._ports[queue] = port
                for stream in self._streams:
                    port.session.ask(orders.Listen(stream.listener))
                if self._metrics is not None:
                    _follow(port, self._metrics)
            return port

    def _refuse_closed(self, queue: str) -> None:
        if self._closed:
            raise ChannelLifecycleError(f"{self.namespace}/{queue}", "the application has been closed")

    def _refuse_new(self, queue: str) -> None:
        """Raise unless new work is taken."""
        self._refuse_closed(queue)
        if self._is_draining:
            raise DispatcherDraining(f"{self.namespace}/{queue}")

    def _drop_stream(self, stream: EventStream) -> None:
        with self._lock:
            self._streams = tuple(each for each in self._streams if each is not stream)
            ports = list(self._ports.values())
        for port in ports:
            port.session.notice(orders.Listen(stream.listener, on=False))


def _engine_for(url: str | None, namespace: str, context: WorkerContext | None, recorder: Recorder | None) -> Engine:
    """Choose what carries the work. The client of a broker is imported where there is one."""
    setting = "url" if url else "LIMEN_URL"
    given = url or os.environ.get("LIMEN_URL")
    if not given or given.startswith("embedded:"):
        return EmbeddedEngine(namespace, context)
    if not given.lower().startswith(("amqp:", "amqps:")):
        raise ConfigError(setting, f"must be embedded: or amqp(s)://…, not {given.partition(':')[0]}:…")
    from .rabbitmq import engine_for

    return engine_for(given, setting, namespace, context, recorder)


def _follow(port: Port, registry: Registry) -> None:
    from .metrics.feed import follow

    follow(port, registry)


def _refuse_other(activity: object) -> None:
    if not isinstance(activity, Activity):
        raise ConfigError("activity", f"must be a function decorated with @activity, not {activity!r}")
