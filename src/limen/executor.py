"""`app.executor(queue)`: a `concurrent.futures.Executor` whose calls are activities of a supervised worker.

What a call is, from `submit` to its outcome, is in `_promise`. This module knows who may submit, and when the worker
may leave: after `shutdown`, or when nobody holds the executor any more, with the last open call.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar

from ._engine import EmbeddedEngine, Engine
from ._options import Options
from ._promise import CallLost, ExecutorClosed, Promise, Task, call
from .activity import Activity
from .actors._patience import wait_patiently
from .actors.runtime import runtime
from .handle import cancel_all
from .messages.errors import ChannelLifecycleError, ConfigError, LimenError, NotOverBroker

if TYPE_CHECKING:
    from ._call import Call
    from .actors.registration import WorkerRegistration
    from .messages.pool import PoolRow

__all__ = ["CallLost", "Executor", "ExecutorClosed"]

logger = logging.getLogger("limen")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_RERUNS = 3
"""How many processes may die of a call that may be run again."""


class Executor(futures.Executor):
    """Runs any function on a queue's worker of its own. `app.executor(…)` makes it.

    Unlike an executor of the standard library it goes on when one of its processes dies: the future of the call that
    ran there fails with `CallLost`, or the call is run again, and all others are as before.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        dropped = weakref.finalize(self, desk.close_soon)
        dropped.atexit = False

    def __repr__(self) -> str:
        """Name its activity."""
        return f"<limen Executor {self.activity.name} on {self.activity.queue}>"

    @property
    def activity(self) -> Activity[..., Any]:
        """What its calls are on the queue: for `app.limit(queue, executor.activity, …)`, and in events and pools."""
        return self._desk.activity

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[R]:
        """Have `fn(*args, **kwargs)` called. Does not block.

        Raises `ExecutorClosed`, a `RuntimeError`, after `shutdown` and when the application has been closed or drains.
        Everything else that goes wrong is told by the future: what `fn` raises, what pickle raises of something that
        cannot go to a process, `CallLost`, `ShutDown` when the application was closed meanwhile, `QueueFull`,
        `NoWorkersAvailable`.
        """
        return self._desk.take(fn, args, kwargs)

    def map(  # type: ignore[override, unused-ignore]  # `buffersize` is there where CPython has it
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **buffer: Any,
    ) -> Iterator[T]:
        """Call `fn` with the items of all iterables, and yield the results in order.

        The iterables are read at once. `timeout` seconds after the call, `next` raises `TimeoutError`; what has not
        begun is cancelled when the iteration ends early. Processes get `chunksize` items at a time. From Python 3.14 on
        there is `buffersize`: how many results may be under way. Raises `ValueError` for a `chunksize` below 1.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1 or not self._desk.is_process:
            return super().map(fn, *iterables, timeout=timeout, **buffer)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        return itertools.chain.from_iterable(super().map(_Chunk(fn), chunks, timeout=timeout, **buffer))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - CPython's
        """Take no more calls; with the end of the last one the worker leaves the queue.

        With `wait`, blocks until then: for ever if a call never ends, or the queue is paused. With `cancel_futures`,
        what has not begun is cancelled. May be called again, with other wishes.
        """
        self._desk.close(cancel=cancel_futures)
        if wait:
            self._desk.wait_gone()


class Host(Protocol):
    """What an executor needs of its application."""

    _engine: Engine

    def worker(
        self,
        queue: str,
        activities: Sequence[Activity[..., Any]],
        *,
        max_concurrent: int | None,
        executor: Literal["thread", "process"] | None,
    ) -> WorkerRegistration:
        """Add a worker."""
        ...

    def pool(self, queue: str) -> list[PoolRow]:
        """List a queue's workers."""
        ...

    def _call(self, activity: Activity[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Make a dispatch, ready to be handed in."""
        ...


class Desk:
    """The part of an executor that stays while its calls are open, also when nobody holds the executor any more."""

    def __init__(self, app: Host, activity: Activity[..., Any], *, is_process: bool, rerun: bool, slots: int) -> None:
        self.activity = activity
        self.is_process = is_process
        self._app = app
        self._rerun = rerun
        self._lock = runtime().create_lock()
        self._open: set[Task] = set()
        self._closed = False
        self._leaving = False
        self._gone = runtime().create_event()
        self._registration = app.worker(
            activity.queue, [activity], max_concurrent=slots, executor="process" if is_process else "thread"
        )

    def take(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Promise[Any]:
        """Hand a call in."""
        task = Task(fn, args, kwargs, self._done, is_process=self.is_process, rerun=self._rerun)
        with self._lock:
            if self._closed:
                raise ExecutorClosed("cannot schedule new futures after shutdown")
            self._open.add(task)
        promise = task.promise
        try:
            made = self._app._call(self.activity, (task,), {})  # noqa: SLF001 - as `Limen.map` does
            task.follow(made)
            made.channel.session.submit(made)
        except BaseException as error:
            self._done(task)
            if isinstance(error, ChannelLifecycleError):
                raise ExecutorClosed(f"cannot schedule new futures: {error}") from error
            raise
        return promise

    def close(self, *, cancel: bool = False) -> None:
        """Take no more."""
        with self._lock:
            self._closed = True
            tasks = tuple(self._open) if cancel else ()
        cancel_all([handle for task in tasks if (handle := task.revoke()) is not None])
        self._leave_if_idle()

    def close_soon(self) -> None:
        """Do the same from a garbage collection: only posts."""
        runtime().call_later(0.0, self.close)

    def wait_gone(self) -> None:
        """Block until the worker has left."""
        wait_patiently(self._gone.wait, None)

    def _done(self, task: Task) -> None:
        with self._lock:
            self._open.discard(task)
        if self._closed:
            self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        with self._lock:
            if self._leaving or not self._closed or self._open:
                return
            self._leaving = True
        runtime().start_thread(self._leave, f"limen-executor-{self.activity.name}")

    def _leave(self) -> None:
        """Take the worker out. On a thread of its own: whoever brings the last outcome must not wait."""
        try:
            with contextlib.suppress(ChannelLifecycleError):  # the application has been closed, and the worker with it
                self._registration.unregister()
        except LimenError:
            logger.exception("the worker of executor %r could not leave in good order", self.activity.name)
        finally:
            self._gone.set()


def make_executor(
    app: Host,
    queue: str,
    *,
    max_workers: int | None,
    kind: Literal["thread", "process"],
    rerun: bool,
    name: str,
) -> Executor:
    """Register a worker for any calls. Raises `ConfigError`, and what `app.worker` raises."""
    if kind not in {"thread", "process"}:
        raise ConfigError("executor", f"must be 'thread' or 'process', not {kind!r}")
    if max_workers is not None and max_workers < 1:
        raise ConfigError("max_workers", f"must be greater than 0, not {max_workers}")
    if not name:
        raise ConfigError("name", "must be a non-empty str")
    if not isinstance(app._engine, EmbeddedEngine):  # noqa: SLF001 - the face's own
        raise NotOverBroker(
            "executor", "runs calls in this process and its children; over a broker, dispatch activities"
        )
    slots = _default_workers(kind) if max_workers is None else max_workers
    activity: Activity[..., Any] = Activity(call, queue, name, Options(max_crashes=_RERUNS if rerun else 1))
    with _making:
        if any(name in row.activity_types for row in app.pool(queue)):
            raise ConfigError("name", f"{name!r} is served on queue {queue!r} already; give this executor another name")
        return Executor(Desk(app, activity, is_process=kind == "process", rerun=rerun, slots=slots))


_making = threading.Lock()
"""So that of two executors of one name the second is told."""


def _default_workers(kind: str) -> int:
    """Give as many as CPython's executors have."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if kind == "process" else min(32, cores + 4)


class _Chunk:
    """Calls a function for several items at once; travels to a process."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn

    def __call__(self, chunk: tuple[tuple[Any, ...], ...]) -> list[Any]:
        return [self._fn(*args) for args in chunk]


def _chunks(items: Iterable[tuple[Any, ...]], size: int) -> Iterator[tuple[tuple[Any, ...], ...]]:
    left = iter(items)
    while chunk := tuple(itertools.islice(left, size)):
        yield chunk
