"""The future behind every ask: set once, read by threads and by event loops.

Knows which mailbox owes the answer, so that an actor that waits for itself is told at once.
"""

from __future__ import annotations

import _thread
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pykka import Future, Timeout

from ...messages.errors import SelfAskError
from .here import here

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from asyncio import Future as AsyncioFuture

logger = logging.getLogger("limen")

T = TypeVar("T")

_Chain = tuple[Callable[[], object], Any] | None
"""Callbacks, the latest first: (callback, the rest)."""

_PENDING: Final = object()
_new_lock = _thread.allocate_lock


def _running_loop() -> AbstractEventLoop | None:
    """Give the event loop of this thread; asyncio is not imported for the question, as there is none without it."""
    asyncio = sys.modules.get("asyncio")
    # The public one raises where there is no loop.
    return asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001


class Reply(Future[T]):
    """A Pykka future on bare locks. `get` blocks its thread; `await` never blocks the event loop.

    Setting it twice raises `queue.Full`, as Pykka does. Callbacks run on the setter's thread, once, and must not block.

    Nothing is called or allocated while the guard is held, so that neither a signal handler nor the garbage collector
    can come back into the same future in between.
    """

    owed_by: Any = None
    """The mailbox that holds the question, for the self-ask check."""
    _value: Any = _PENDING
    _error: tuple[Any, Any, Any] | None = None
    _callbacks: _Chain = None
    _hook: Callable[[float | None], T] | None = None
    _hook_result: Any = _PENDING
    _hook_guard: Any = None

    def __init__(self) -> None:
        # Pykka's own __init__ only prepares its hook fields, which this class replaces.
        # What most futures begin with are defaults of the class.
        self._guard = _new_lock()

    def done(self) -> bool:
        """Whether there is an answer or an error."""
        return self._value is not _PENDING

    def get(self, *, timeout: float | None = None) -> T:
        """Block until the answer is there, at most `timeout` seconds.

        Raises: `pykka.Timeout`; `SelfAskError` at once if this very actor owes the answer; the error that was set.
        """
        if self._hook is not None:
            return self._get_by_hook(timeout)
        if self._value is _PENDING:
            self._wait(timeout)
        if self._error is not None:
            _raise(self._error)
        return self._value  # type: ignore[no-any-return]

    def set(self, value: T | None = None) -> None:
        """Answer. Raises `queue.Full` if there is an answer already."""
        with self._guard:
            if self._value is not _PENDING or self._hook is not None:
                raise queue.Full
            self._value = value
            if self._callbacks is None:
                return
            callbacks, self._callbacks = self._callbacks, None
        _call_all(callbacks)

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an error, given as `sys.exc_info()` or an exception; by default the one being handled."""
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        self._settle(None, exc_info or sys.exc_info())

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let `func(timeout)` compute the value at the first `get`."""
        hook_guard = threading.RLock()
        with self._guard:
            if self._value is not _PENDING:
                raise queue.Full
            self._hook_guard = hook_guard
            self._hook_result = _PENDING
            self._hook = func

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback()` once when the answer is there: now, or on the thread that sets it."""
        while True:
            seen = self._callbacks
            chain = (callback, seen)
            with self._guard:
                if self._value is not _PENDING:
                    break
                if self._callbacks is seen:
                    self._callbacks = chain
                    return
        callback()

    def __await__(self) -> Generator[Any, None, T]:
        """Wait without blocking the loop; outside a loop, behave as Pykka's future does."""
        loop = _running_loop()
        if loop is None:
            yield
            return self.get()
        if self._hook is not None:
            return (yield from loop.run_in_executor(None, self.get).__await__())
        if self._value is _PENDING:
            self._refuse_self_ask()
            yield from self._wake_on(loop).__await__()
        return self.get(timeout=0)

    __iter__ = __await__

    def _wake_on(self, loop: AbstractEventLoop) -> AsyncioFuture[None]:
        woken: AsyncioFuture[None] = loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        def from_any_thread() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                return

        self.add_done_callback(from_any_thread)
        return woken

    def _settle(self, value: Any, error: tuple[Any, Any, Any] | None) -> None:
        with self._guard:
            if self._value is not _PENDING or self._hook is not None:
                raise queue.Full
            self._error = error
            self._value = value
            callbacks = self._callbacks
            self._callbacks = None
        if callbacks is not None:
            _call_all(callbacks)

    def _wait(self, timeout: float | None) -> None:
        self._refuse_self_ask()
        waiter = _new_lock()
        waiter.acquire()
        release = waiter.release
        self.add_done_callback(release)
        if not _acquire(waiter, timeout):
            self._withdraw(release)
            if self._value is _PENDING:
                msg = f"{timeout} seconds"
                raise Timeout(msg)

    def _refuse_self_ask(self) -> None:
        """Raise if the actor that owes the answer runs, or is held up, on this very thread."""
        owed_by = self.owed_by
        if owed_by is not None and (owed_by is here.mailbox or owed_by is here.host):
            raise SelfAskError(str(owed_by.owner))

    def _withdraw(self, callback: Callable[[], object]) -> None:
        while True:
            seen = self._callbacks
            chain = _without(seen, callback)
            with self._guard:
                if self._callbacks is seen:
                    self._callbacks = chain
                    return

    def _get_by_hook(self, timeout: float | None) -> T:
        with self._hook_guard:
            if self._hook_result is _PENDING:
                assert self._hook is not None
                self._hook_result = self._hook(timeout)
            return self._hook_result  # type: ignore[no-any-return]


def offer(reply: Future[Any], value: object) -> bool:
    """Answer a question that somebody else may have answered by now; `False` if so."""
    try:
        reply.set(value)
    except queue.Full:
        return False
    return True


def offer_error(reply: Future[Any], error: BaseException) -> bool:
    """Answer with an error a question that somebody else may have answered by now; `False` if so."""
    try:
        reply.set_exception((type(error), error, error.__traceback__))
    except queue.Full:
        return False
    return True


def wait_all(replies: list[Reply[Any]], *, timeout: float | None = None) -> list[Any]:
    """Collect all values, in order, within one shared bound of `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    return [reply.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic())) for reply in replies]


def _call_all(callbacks: _Chain) -> None:
    """Call in the order of adding; the failure of one is logged and keeps no other from its call."""
    in_order: list[Callable[[], object]] = []
    while callbacks is not None:
        callback, callbacks = callbacks
        in_order.append(callback)
    for callback in reversed(in_order):
        try:
            callback()
        except BaseException:  # SystemExit too: whoever sets the answer is not to end for whoever waited for it
            logger.exception("a callback of a future failed")


def _without(chain: _Chain, callback: Callable[[], object]) -> _Chain:
    """Leave one callback out of a chain."""
    later: list[Callable[[], object]] = []
    while chain is not None:
        first, chain = chain
        if first == callback:
            break
        later.append(first)
    for each in reversed(later):
        chain = (each, chain)
    return chain


def _acquire(waiter: _thread.LockType, timeout: float | None) -> bool:
    limit_s = -1.0 if timeout is None else max(0.0, min(timeout, _thread.TIMEOUT_MAX))
    pool = here.pool if here.draining else None
    if pool is None:
        return waiter.acquire(timeout=limit_s)
    pool.block()
    try:
        return waiter.acquire(timeout=limit_s)
    finally:
        pool.unblock()


def _raise(error: tuple[Any, Any, Any]) -> None:
    kind, value, traceback = error
    if value is None:
        value = kind()
    raise value if value.__traceback__ is traceback else value.with_traceback(traceback)
