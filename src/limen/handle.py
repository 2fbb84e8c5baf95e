"""`Handle`: the caller's end of one dispatch."""

from __future__ import annotations

import contextlib
import queue as _queue
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from pykka import ActorDeadError

from .actors import _orders as orders
from .actors._patience import wait_patiently
from .actors._progress import unpack
from .actors.attempt import Boxed
from .actors.conversation import NEW, Conversation
from .actors.runtime import PENDING, here, runtime
from .messages.activities import Completed
from .messages.attempts import AttemptView
from .messages.bus_errors import BusError
from .messages.errors import LimenError
from .messages.pressure import PressureSignal

R = TypeVar("R")


def handle_of(conversation: Conversation) -> Handle[Any]:
    """Make the caller's end of a dispatch."""
    handle: Handle[Any] = Handle()
    handle._conversation = conversation  # noqa: SLF001 - `Handle` says why
    return handle


class Handle(Generic[R]):
    """What `dispatch` gives. `result()` blocks; `await` does not block the loop. Any thread may hold it."""

    __slots__ = ("__weakref__", "_conversation")

    _conversation: Conversation
    """Put in by who makes it: that takes half the time that it would take to be given it."""

    def __repr__(self) -> str:
        """Name the activity, its id and its state."""
        return f"<Handle {self._conversation.activity_type} {self.id} {self.state}>"

    @property
    def id(self) -> str:
        """The id of the conversation."""
        return self._conversation.id

    @property
    def state(self) -> str:
        """`waiting`, `routing`, `running`, `paused` between two tries, or `done`."""
        return "done" if self.done() else self._conversation.work.phase.value

    @property
    def joined(self) -> str | None:
        """The id of the dispatch whose work, or whose result, this one shares by its key; `None` if it shares none."""
        return self._conversation.joined_id

    @property
    def attempts(self) -> tuple[AttemptView, ...]:
        """All tries so far, in order, each with why it came to nothing."""
        return self._conversation.history()

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """What failed tries raised, in order; crashes are not among them."""
        return self._conversation.failures

    @property
    def crashes(self) -> int:
        """How many workers died while they ran it."""
        return self._conversation.charges

    def progress(self) -> Any:
        """Give what the activity reported last with `current().progress(…)`, as plain data; `None` if it has not.

        Does not wait. The latest word stays after the end, and while another attempt has not reported anything yet.
        """
        progress = self._conversation.work.progress
        return unpack(progress.latest) if progress is not None else None

    @property
    def signal(self) -> PressureSignal | None:
        """What became of the dispatch on its arrival, on a queue with a bound: `Accept`, `Defer` or `Reject`.

        With the counts before it. `None` on a queue whose `bound` was never set, and where nothing was decided by
        counts: nobody could serve it, the queue was closed. Asks the channel, if that has not seen the request yet.
        """
        conversation = self._conversation
        if conversation.phase is NEW and conversation.signal is None and conversation.channel is not None:
            with contextlib.suppress(LimenError):
                conversation.channel.session.ask(orders.ARRIVED)
        return conversation.work.signal

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._conversation.reply.done()

    def result(self, timeout: float | None = None) -> R:
        """Block for the result, at most `timeout` seconds.

        Raises `TimeoutError` when time is up (the work goes on), `ActivityFailed` with the activity's exception as its
        cause, `PoisonActivity`, `NoWorkersAvailable`, `ActivityTimedOut`, `ActivityCancelled`, `QueueFull`, or
        `ShutDown`, a `ChannelLifecycleError`, when the dispatcher was closed.
        """
        conversation = self._conversation
        if conversation.value is PENDING and not self.wait(timeout):
            raise self._late(timeout)
        box: Any = conversation.value
        if type(box) is tuple:  # which it is where the worker is in this process and all went well
            return box[0]  # type: ignore[no-any-return]
        try:
            return _value(conversation.reply.get(timeout=0))  # type: ignore[no-any-return]
        except (ActorDeadError, BusError):  # told in words of the caller's
            return _value(conversation.result(timeout=0))  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Block as `result` does, and give the error instead of raising it; `None` if there was none."""
        if not self.wait(timeout):
            raise self._late(timeout)
        try:
            self.result(timeout=0)
        except Exception as error:  # noqa: BLE001 - to give it back is what this is for
            return error
        return None

    def wait(self, timeout: float | None = None) -> bool:
        """Block until there is a result or an error, at most `timeout` seconds; say whether there is."""
        if timeout is None and here.is_main and (watchdog := runtime().watchdog) is not None:
            self._conversation.reply.wait_on_main(watchdog)
            return True
        return wait_patiently(self._wait, timeout)

    def _wait(self, timeout: float | None) -> bool:
        return self._conversation.reply.done() or self._conversation.reply.wait(timeout)

    def _late(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"activity {self._conversation.activity_type!r} has no result after {timeout:g} s")

    def cancel(self) -> None:
        """Give the work up: if it waits it never starts; if it runs, a coroutine or a process is stopped.

        A thread cannot be stopped: it goes on to its end, and its result is ignored. Does not block; harmless when
        there is an outcome already. The outcome is `ActivityCancelled`.
        """
        channel = self._conversation.channel
        if channel is not None and not self.done():
            channel.session.notice(orders.Cancel(self._conversation))

    def add_done_callback(self, callback: Callable[[Handle[R]], object]) -> None:
        """Call `callback(handle)` once there is an outcome: now, or on the thread that brings it. It must not block."""
        self._conversation.reply.add_done_callback(lambda: callback(self))

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the result without blocking the event loop; raises what `result` raises."""
        if not self.done():
            yield from self._settled().__await__()
        return self.result(timeout=0)

    async def _settled(self) -> None:
        """Wait for the outcome, and leave nothing behind when the waiting is cancelled."""
        import asyncio

        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        def from_any_thread() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(wake)

        self._conversation.reply.add_done_callback(from_any_thread)
        await woken


def as_completed(handles: Iterable[Handle[R]], timeout: float | None = None) -> Iterator[Handle[R]]:
    """Yield each handle when it is done, in the order of completion.

    Blocks between them, on the thread that iterates; raises `TimeoutError` when `timeout` seconds have passed since the
    first `next`. A handle that was given twice comes once.
    """
    waiting = list(dict.fromkeys(handles))
    finished = runtime().create_queue()
    for handle in waiting:
        handle.add_done_callback(finished.put)
    deadline_s = None if timeout is None else runtime().now() + timeout
    came: list[Handle[R]] = []

    def take(wait_s: float | None) -> bool:
        with contextlib.suppress(_queue.Empty):
            came.append(finished.get(timeout=wait_s))
        return bool(came)

    for done in range(len(waiting)):
        left_s = None if deadline_s is None else max(0.0, deadline_s - runtime().now())
        if not wait_patiently(take, left_s):
            raise TimeoutError(f"{len(waiting) - done} of {len(waiting)} dispatches have no result after {timeout:g} s")
        yield came.pop()


def cancel_all(handles: Iterable[Handle[Any]]) -> None:
    """Give up many dispatches: the same as `cancel` for each of them, in one go for each queue.

    Does not block; harmless for those that have an outcome.
    """
    by_line: dict[Any, list[Conversation]] = {}
    for handle in handles:
        conversation = handle._conversation  # noqa: SLF001 - a handle's own
        if conversation.channel is not None:
            by_line.setdefault(conversation.channel.session, []).append(conversation)
    for line, conversations in by_line.items():
        line.notice(orders.CancelAll(tuple(conversations)))


def _value(completed: Completed | Boxed) -> Any:
    """Take the object out of what came back; bytes with a type stay a `Payload`."""
    if isinstance(completed, tuple):
        return completed[0]
    output = completed.output
    return getattr(output, "value", output)
