"""The future behind every ask: set once, read by threads and by event loops.

Knows which mailbox owes the answer, so that an actor that waits for itself is told at once.
"""

from __future__ import annotations

import _thread
import functools
import logging
import queue
import sys
import threading
import time
from _thread import LockType
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pykka import Future, Timeout

from ...messages.errors import SelfAskError
from .here import here
from .watchdog import Watchdog, let_go

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from asyncio import Future as AsyncioFuture

logger = logging.getLogger("limen")

T = TypeVar("T")

_Box = list[Callable[[], object] | LockType]
"""Whom to tell, or nothing: a callback, or the lock at which somebody waits. Whoever takes it out tells him."""

PENDING: Final = object()
"""In place of an answer that is yet to come."""

_new_lock = _thread.allocate_lock


def _running_loop() -> AbstractEventLoop | None:
    """Give the event loop of this thread; asyncio is not imported for the question, as there is none without it."""
    asyncio = sys.modules.get("asyncio")
    # The public one raises where there is no loop.
    return asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001


class _Raised:
    """In place of an answer: an error, as `sys.exc_info()` gives it."""

    __slots__ = ("exc_info",)

    def __init__(self, exc_info: tuple[Any, Any, Any]) -> None:
        self.exc_info = exc_info


class _Hook:
    """In place of an answer: what computes it, at the first `get`."""

    __slots__ = ("_guard", "_made", "_make")

    def __init__(self, make: Callable[[float | None], Any]) -> None:
        self._make = make
        self._made: Any = PENDING
        self._guard = threading.RLock()

    def get(self, timeout: float | None) -> Any:
        with self._guard:
            if self._made is PENDING:
                self._made = self._make(timeout)
            return self._made


class Reply(Future[T]):
    """A Pykka future without locks. `get` blocks its thread; `await` never blocks the event loop.

    Setting it twice raises `queue.Full`, as Pykka does. Callbacks run on the setter's thread, once, and must not block.

    Of several that answer at once, the one that deletes `_open` is the first: to delete an attribute is one step. A
    callback is put in before it is looked for an answer, and the answer before it is looked for callbacks, so that one
    side sees the other; if both do, whoever takes it out of its box calls it. So neither a signal handler nor the
    garbage collector can come back into a future that is in the middle of something.
    """

    __slots__ = ("_open", "_watched", "owed_by", "value")

    def __init__(self) -> None:
        # Pykka's own __init__ only prepares its hook fields, which this class replaces.
        self._open = True
        self._watched = False
        """Whether there are callbacks."""
        self.value: Any = PENDING
        """The answer. While there is none, or where it is an error or a hook, something else that only `get` knows."""
        self.owed_by: Any = None
        """The mailbox that holds the question, for the self-ask check."""

    def done(self) -> bool:
        """Whether there is an answer or an error."""
        return self.value is not PENDING and type(self.value) is not _Hook

    @property
    def has_callbacks(self) -> bool:
        """Whether there is something that is to be called once there is an answer."""
        boxes: Iterable[_Box] = self.__dict__["_boxes"].copy() if self._watched else ()
        return any(not isinstance(each, LockType) for box in boxes for each in box.copy())

    def get(self, *, timeout: float | None = None) -> T:
        """Block until the answer is there, at most `timeout` seconds.

        Raises: `pykka.Timeout`; `SelfAskError` at once if this very actor owes the answer; the error that was set.
        """
        value = self.value
        if value is PENDING:
            if not self.wait(timeout):
                raise Timeout(f"{timeout} seconds")
            value = self.value
        if type(value) is _Raised:
            _raise(value.exc_info)
        if type(value) is _Hook:
            value = value.get(timeout)
        return value  # type: ignore[no-any-return]

    def set(self, value: T | None = None) -> None:
        """Answer. Raises `queue.Full` if there is an answer already."""
        try:
            del self._open
        except AttributeError:
            raise queue.Full from None
        self.value = value
        if self._watched:
            self._call_all()

    def set_apart(self, value: T, call: Callable[[Callable[[], object]], object]) -> None:
        """Answer as `set` does, but have callbacks called by `call(function)`, for a thread that must not run them.

        Those who wait are let go here, but for such as came after a callback: it is called before they go on.
        """
        try:
            del self._open
        except AttributeError:
            raise queue.Full from None
        self.value = value
        if self._watched:
            self._let_go(call)

    def _let_go(self, call: Callable[[Callable[[], object]], object]) -> None:
        """Tell those who wait, in the order in which they came, and leave it to `call` from the first callback on."""
        boxes: deque[_Box] = self.__dict__["_boxes"]
        while boxes:
            try:
                each = boxes.popleft().pop()
            except IndexError:  # one that was taken back
                continue
            if not isinstance(each, LockType):
                call(functools.partial(self._call_from, each))
                return
            let_go(each)

    def _call_from(self, first: Callable[[], object]) -> None:
        _tell(first)
        self._call_all()

    def set_exception(self, exc_info: Any = None) -> None:
        """Answer with an error, given as `sys.exc_info()` or an exception; by default the one being handled.

        Where a type, or what makes an error, is given alone, as the first of three, one is made for each `get`.
        """
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        Reply.set(self, _Raised(exc_info or sys.exc_info()))  # type: ignore[misc]  # what `get` knows

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let `func(timeout)` compute the value at the first `get`."""
        hook = _Hook(func)
        if type(self.value) is not _Hook:
            try:
                del self._open
            except AttributeError:
                raise queue.Full from None
        self.value = hook

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call `callback()` once when the answer is there: now, or on the thread that sets it."""
        if self.done():
            callback()
        else:
            self._watch(callback)

    def _watch(self, each: Callable[[], object] | LockType) -> _Box:
        """Have a callback called, or a lock released, by whoever answers; give the box from which it may be taken."""
        box = [each]
        boxes: deque[_Box] = self.__dict__.setdefault("_boxes", deque())
        boxes.append(box)
        self._watched = True
        if self.value is not PENDING and self.done() and _taken(box):  # meanwhile, and whoever did so has not seen it
            _tell(each)
        return box

    def _unwatch(self, box: _Box) -> None:
        """Take it back, unless whoever answers has taken it."""
        if not box:
            return
        _taken(box)
        with suppress(ValueError, IndexError):  # whoever answers is going through them
            self.__dict__["_boxes"].remove(box)  # or another empty one

    def _call_all(self) -> None:
        """Tell those who wait, in the order in which they came."""
        boxes: deque[_Box] = self.__dict__["_boxes"]
        while boxes:
            try:
                each = boxes.popleft().pop()
            except IndexError:  # one that was taken back
                continue
            _tell(each)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait without blocking the loop; outside a loop, behave as Pykka's future does."""
        loop = _running_loop()
        if loop is None:
            yield
            return self.get()
        if type(self.value) is _Hook:
            return (yield from loop.run_in_executor(None, self.get).__await__())
        if self.value is PENDING:
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

    def wait(self, timeout: float | None) -> bool:
        """Block until there is an answer, or an error, at most `timeout` seconds; say whether there is.

        Raises `SelfAskError` at once if this very actor owes the answer.
        """
        self._refuse_self_ask()
        waiter = _new_lock()
        waiter.acquire()
        box = self._watch(waiter)
        if _acquire(waiter, timeout):
            return True
        self._unwatch(box)
        return self.value is not PENDING

    def wait_on_main(self, watchdog: Watchdog) -> None:
        """Block the main thread until there is an answer, and wake it now and then meanwhile, for signals.

        Without a limit of its own: a wait with one takes longer to set up.
        """
        if self.owed_by is not None:
            self._refuse_self_ask()
        while self.value is PENDING:
            waiter = _new_lock()
            waiter.acquire()
            box = self._watch(waiter)
            watchdog.waiter = waiter
            if watchdog.timer is None:
                watchdog.start()
            try:
                _acquire(waiter, None)
            finally:
                watchdog.waiter = None
                self._unwatch(box)

    def _refuse_self_ask(self) -> None:
        """Raise if the actor that owes the answer runs, or is held up, on this very thread."""
        owed_by = self.owed_by
        if owed_by is not None and (owed_by is here.mailbox or owed_by is here.host):
            raise SelfAskError(str(owed_by.owner))


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


def _tell(each: Callable[[], object] | LockType) -> None:
    """Let a waiter go, or call a callback, whose failure is logged and keeps no other from its call."""
    if isinstance(each, LockType):
        let_go(each)
        return
    try:
        each()
    except BaseException:  # SystemExit too: whoever sets the answer is not to end for whoever waited for it
        logger.exception("a callback of a future failed")


def _taken(box: _Box) -> bool:
    """Take the callback out; `False` if somebody else has done so."""
    try:
        box.pop()
    except IndexError:
        return False
    return True


def _acquire(waiter: LockType, timeout: float | None) -> bool:
    limit_s = -1.0 if timeout is None else max(0.0, min(timeout, _thread.TIMEOUT_MAX))
    if here.shield is not None and not here.draining:
        here.shield.lift()
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
