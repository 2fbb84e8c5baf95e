"""One call of an executor's, from `submit` to its outcome, and the future that was promised for it.

A call begins when a thread takes it up, or when it is packed for a child process. One lock decides between that and
`cancel`, so a call that was cancelled never runs, and one that runs is never told to be cancelled.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

from ._call import Call
from .handle import Handle, handle_of
from .messages.errors import ActivityFailed, LimenError, PoisonActivity

R = TypeVar("R")


class ExecutorClosed(LimenError, RuntimeError):
    """An executor takes no more calls: it was shut down, or its application was closed or drains."""

    message: str

    def __str__(self) -> str:
        return self.message


class CallLost(LimenError, futures.BrokenExecutor):
    """The process or worker that ran the call died; `__cause__` says how. Nobody knows how far the call had got.

    It is a `BrokenExecutor` for those who handle that error of the standard library's executors. Unlike there, no other
    call is lost with it, and the executor takes new ones.
    """

    crashes: int
    """How many died of it: 1, unless it could be run again."""
    message: str

    def __str__(self) -> str:
        return self.message


def call(task: Any) -> Any:
    """Run a call: what every executor's activity does."""
    return task()


class Promise(futures.Future[R]):
    """The future of a call."""

    _task: Task | None = None

    def cancel(self) -> bool:
        """Give the call up if it has not begun; say whether it is given up. Never blocks."""
        task = self._task
        if task is None:
            return super().cancel()
        if (handle := task.revoke()) is not None:
            handle.cancel()
        return self.cancelled()


class Task:
    """What travels to the worker as the one argument of the activity."""

    __slots__ = (
        "__weakref__",
        "_begins",
        "_call",
        "_done",
        "_is_process",
        "_lock",
        "_promise",
        "_refusal",
        "_rerun",
        "_work",
    )

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        done: Callable[[Task], object],
        *,
        is_process: bool,
        rerun: bool,
    ) -> None:
        self._promise: Promise[Any] | None = Promise()
        """`None` when it is kept: its result is nobody's but its holder's."""
        self._promise._task = self  # noqa: SLF001 - the two halves of one idea
        self._work: Any = (fn, args, kwargs)
        self._done = done
        self._is_process = is_process
        self._rerun = rerun
        self._call: Call | None = None
        self._begins: bool | None = None
        """Whether it is to run: once that is decided, it stays."""
        self._refusal: BaseException | None = None
        """Why it could not be handed to a process."""
        self._lock = threading.Lock()

    @property
    def promise(self) -> Promise[Any]:
        """The future, until it is done."""
        assert self._promise is not None, "nobody asks after the outcome"
        return self._promise

    def follow(self, made: Call) -> None:
        """Take what this dispatch comes to as the outcome."""
        self._call = made
        handle_of(made).add_done_callback(self._finish)

    # --- begin or cancel ------------------------------------------------------------------------------------------

    def revoke(self) -> Handle[Any] | None:
        """Cancel the future if the call has not begun; give the dispatch that is to be cancelled with it."""
        with self._lock:
            promise = self._promise
            if promise is None or self._begins is not None or not futures.Future.cancel(promise):
                return None
            self._begins = promise.set_running_or_notify_cancel()
            self._work = None
            made = self._call
        return None if made is None else handle_of(made)

    def _begin(self) -> bool:
        """Say whether the call is to run; from then on it cannot be cancelled."""
        with self._lock:
            if self._begins is None:
                self._begins = self.promise.set_running_or_notify_cancel()
            return self._begins

    # --- on a thread ----------------------------------------------------------------------------------------------

    def __call__(self) -> Any:
        """Run it here and now."""
        again = self._begins is not None
        work = self._work
        if not self._begin() or work is None:
            return None
        if again and not self._rerun:
            raise _lost_with_its_worker()
        return run(*work)

    # --- on the way to a process ----------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        """Be packed for a child that is free to run it. Raises for what does not pickle, and what must not run."""
        if self._refusal is None:
            self._refuse_second_run()
        if self._refusal is not None or not self._begin():
            raise self._refusal or pickle.PicklingError("cancelled")
        try:
            return Packed, (pickle.dumps(self._work, pickle.HIGHEST_PROTOCOL),)
        except BaseException as error:
            self._refusal = error
            raise

    def _refuse_second_run(self) -> None:
        """A child that dies costs its call; this is for the death of the worker as a whole, with calls in its hands."""
        made = self._call
        if self._begins and not self._rerun and made is not None and len(made.attempts) > 1:
            self._refusal = _lost_with_its_worker()

    # --- the outcome ----------------------------------------------------------------------------------------------

    def _finish(self, handle: Handle[Any]) -> None:
        """Keep the promise. On the thread that brings the outcome, as the future's callbacks are."""
        promise, begins = self.promise, self._begin()
        self._work = self._call = promise._task = self._promise = None  # noqa: SLF001 - the other half
        try:
            if begins:
                self._tell(promise, handle)
        finally:
            self._done(self)

    def _tell(self, promise: Promise[Any], handle: Handle[Any]) -> None:
        if (error := handle.exception(timeout=0)) is not None:
            is_refused = self._refusal is not None and isinstance(error, ActivityFailed)
            promise.set_exception(self._refusal if is_refused else _meaning(error))
            return
        value = handle.result(timeout=0)
        if type(value) is Escaped:
            promise.set_exception(value.error)
        else:
            promise.set_result(value.pop())


class Packed:
    """A call in a child process. What cannot be unpacked there fails the call alone."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self) -> Any:
        """Run it."""
        fn, args, kwargs = pickle.loads(self._data)
        return run(fn, args, kwargs)


class Escaped:
    """What a call raised that would end the worker, such as `SystemExit`: for its future alone."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def run(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the function, and let nothing out that is not an `Exception`. Give the result in a box.

    A request and its attempts hold each other until the garbage collector comes; a box that was emptied holds nothing.
    """
    try:
        return [fn(*args, **kwargs)]
    except Exception:
        raise
    except BaseException as error:  # noqa: BLE001 - it is the caller's, as everywhere in concurrent.futures
        return Escaped(error)


def _meaning(error: BaseException) -> BaseException:
    """Put what a dispatch came to as users of futures know it."""
    if isinstance(error, ActivityFailed):
        return error.__cause__ or error
    if not isinstance(error, PoisonActivity):
        return error
    lost = CallLost(error.crashes, f"the call was lost: {error.__cause__ or error}")
    lost.__cause__ = error.__cause__ or error
    return lost


def _lost_with_its_worker() -> CallLost:
    return CallLost(1, "the call was lost: its worker died while it had it; it is not run a second time")
