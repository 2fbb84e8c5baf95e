"""`WorkerRegistration`: a worker's place in a pool, as its owner holds it. Dropping it gives the place up."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from ..messages.activities import ActivityResult, Completed, Failed, WorkerCapacity
from ..messages.drain import DrainReport
from ..messages.envelope import Envelope
from ..messages.errors import ChannelLifecycleError, InvalidCapacity, LimenError
from ..messages.lifecycle import ExitReason
from . import _orders as orders
from ._leaving import Doorkeeper, Leaving
from ._texts import text_of
from .blueprint import Blueprint
from .channel_handle import ChannelSession
from .entry import WorkerEntry
from .runtime import here
from .subscription import Inbox

if TYPE_CHECKING:
    from .executors.process import ChildRow

logger = logging.getLogger("limen")


class WorkerRegistration:
    """One registered worker. Keeps its context alive; nothing in the context keeps it alive.

    Use it in a `with` block, or call `unregister`. All methods may be called on any thread.
    """

    __slots__ = ("__weakref__", "_blueprint", "_registrar")

    def __init__(self, registrar: Doorkeeper, blueprint: Blueprint) -> None:
        self._registrar = registrar
        self._blueprint = blueprint

    def __del__(self) -> None:
        """Give the place up: nobody holds it. Runs on any thread, in the middle of anything, and only posts."""
        if not sys.is_finalizing() and self._registrar.claim(self._blueprint):
            self._registrar.forsake(self._blueprint)

    def __repr__(self) -> str:
        """Show id, channel and state only."""
        return f"<WorkerRegistration {self.worker_id} on {self.channel_name} active={self.is_active}>"

    @property
    def worker_id(self) -> str:
        """The worker's id."""
        return self._blueprint.worker_id

    @property
    def channel_name(self) -> str:
        """The full name of the dispatch channel."""
        return self._session.name

    @property
    def participant(self) -> Any:
        """What the worker's life hangs on: the actor we started, or what was given to us."""
        return self._blueprint.participant

    @property
    def capacity(self) -> WorkerCapacity:
        """What the worker registered with."""
        return self._blueprint.capacity

    @property
    def is_active(self) -> bool:
        """Whether the worker is in the pool, or will be again when its supervisor has restarted it."""
        return not self._blueprint.is_gone

    @property
    def exit_reason(self) -> ExitReason | None:
        """Why the worker is gone for good; `None` while it is not."""
        return self._blueprint.exit_reason

    @property
    def closed(self) -> threading.Event:
        """Set when the worker is gone for good. Wait on it; do not set it."""
        return self._blueprint.gone

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Block until the worker is gone for good, at most `timeout` seconds; say whether it is."""
        return self._blueprint.gone.wait(timeout)

    def children(self) -> tuple[ChildRow, ...]:
        """Describe the child processes of a process worker: pid, state, activity. Empty for any other worker."""
        describe = getattr(self._blueprint.executor, "children", tuple)
        rows: tuple[ChildRow, ...] = describe()
        return rows

    # --- slots --------------------------------------------------------------------------------------------------

    @property
    def current_in_flight(self) -> int:
        """Slots taken: by dispatch and by `set_in_flight`."""
        entry = self._blueprint.entry
        return entry.in_flight if entry is not None else 0

    def set_in_flight(self, slots: int) -> None:
        """Say how many slots the worker uses apart from what is dispatched to it. Raises `InvalidCapacity`.

        Visible in the next snapshot. More than the maximum is kept as it is.
        """
        self._ask(orders.SetManual(self._entry, _checked_slots(slots)))

    def acquire(self) -> bool:
        """Take one slot for the worker's own use, if one is free. Never waits for one."""
        return bool(self._ask(orders.TakeSlot(self._entry)))

    def release(self) -> None:
        """Give back a slot taken with `acquire`. Never fails: a worker that is gone has nothing to give back."""
        self._release(self._entry)

    @contextmanager
    def slot(self) -> Iterator[bool]:
        """Hold a slot for the length of a block; gives `False`, and holds none, when all are taken."""
        entry = self._entry
        taken = bool(self._ask(orders.TakeSlot(entry)))
        try:
            yield taken
        finally:
            if taken:
                self._release(entry)

    def _release(self, entry: WorkerEntry) -> None:
        self._session.notice(orders.GiveSlot(entry))

    # --- work that the worker fetches itself --------------------------------------------------------------------

    def try_next(self) -> Envelope | None:
        """Take the next envelope, in the order of arrival; `None` if there is none, or the worker is gone.

        Never blocks. Raises `ChannelLifecycleError` when the inbox fails, as do `next` and `anext`.
        """
        with self._reading():
            return self._inbox.try_take()

    def next(self, timeout: float | None = None) -> Envelope | None:
        """Block up to `timeout` seconds for the next envelope; `None` when time is up or the worker is gone."""
        with self._reading():
            return self._inbox.take(timeout)

    async def anext(self) -> Envelope | None:
        """Wait for the next envelope without blocking the event loop; `None` when the worker is gone."""
        with self._reading():
            return await self._inbox.take_async()

    def respond(self, envelope: Envelope, result: ActivityResult) -> bool:
        """Answer a request that came in this envelope.

        `False`, and nothing happens, if it was not dispatched to this worker, or has been decided without it.
        """
        if not isinstance(result, Completed | Failed):
            raise TypeError(f"a response is a Completed or a Failed, not a {type(result).__name__}")
        return self._blueprint.respond(envelope.message_id, result)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except LimenError:
            raise
        except Exception as error:
            raise ChannelLifecycleError(self.channel_name, f"the inbox failed: {text_of(error)}") from error

    # --- leaving ------------------------------------------------------------------------------------------------

    def unregister(self, *, drain: float = 0.0) -> None:
        """Leave the pool: marked inactive, pruned, subscription dropped, watch ended, owned participant stopped.

        With `drain`, as `drain` does. What the worker has then is handed to others. Unread messages are discarded.
        Blocks until it is done, at most some seconds more; on an actor's own thread it only says so, and does not
        drain. A second call, or one after a crash, does nothing; one during a drain ends the drain. Raises
        `ChannelLifecycleError` if the pool could not be told; the rest is done all the same.
        """
        if not self._registrar.claim(self._blueprint) and not self._is_draining:
            return
        if drain > 0 and here.mailbox is None:
            self.drain(drain)
        else:
            self._registrar.take_out(self._blueprint)

    def drain(self, timeout: float = 30.0) -> DrainReport:
        """Give the worker nothing new, let it finish what it has, and have it leave: in `timeout` seconds at most.

        What it has not finished then is handed to others, or fails with `NoWorkersAvailable` where there are none. So
        do requests that only this worker serves: they wait until it has left, unless another worker comes. The report
        names all of these. If it dies meanwhile it has left, and does not come back. Blocks, at most some seconds
        longer; whoever is interrupted leaves the drain to itself. On an actor's own thread it only begins
        (`report.is_over`).
        A second drain waits for the same end, within its own time; of a worker that is gone there is nothing to drain.
        Raises `ChannelLifecycleError` if the pool could not be told; the worker has left all the same.
        """
        return self._leaving(timeout).run()

    async def adrain(self, timeout: float = 30.0) -> DrainReport:  # noqa: ASYNC109 - a bound of the drain, not the wait
        """Do as `drain` does, without blocking the event loop. Whoever is cancelled leaves the drain to itself."""
        return await self._leaving(timeout).run_async()

    def _leaving(self, timeout_s: float) -> Leaving:
        self._registrar.claim(self._blueprint)
        return Leaving(self._registrar, self._blueprint, timeout_s)

    @property
    def _is_draining(self) -> bool:
        return self._blueprint.draining and self.is_active

    def __enter__(self) -> Self:
        """Unregister at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Unregister; errors are logged."""
        try:
            self.unregister()
        except LimenError:
            logger.exception("%r could not be unregistered in good order", self)

    def _ask(self, order: object) -> Any:
        try:
            return self._session.ask(order)
        except ChannelLifecycleError:
            raise
        except LimenError as error:
            raise ChannelLifecycleError(self.channel_name, str(error)) from error

    @property
    def _inbox(self) -> Inbox:
        inbox: Inbox = self._entry.inbox
        return inbox

    @property
    def _session(self) -> ChannelSession:
        assert self._blueprint.channel is not None, "a worker that is registered has one"
        return self._blueprint.channel.session

    @property
    def _entry(self) -> WorkerEntry:
        assert self._blueprint.entry is not None, "a worker that is registered has one"
        return self._blueprint.entry


def drain_all(registrations: Sequence[WorkerRegistration], timeout_s: float) -> DrainReport:
    """Drain several workers at once, within one bound. Raises the first error; all have left nevertheless."""
    leavings = [each._leaving(timeout_s) for each in registrations]  # noqa: SLF001 - this module's own
    reports, errors = [], []
    try:
        for leaving in leavings:
            leaving.wait()
    except BaseException:
        for leaving in leavings:
            leaving.leave_alone()
        raise
    for leaving in leavings:
        try:
            reports.append(leaving.end())
        except LimenError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    unfinished = tuple(each for report in reports for each in report.unfinished)
    return DrainReport(unfinished=unfinished, took_s=max((each.took_s for each in reports), default=0.0))


def _checked_slots(slots: Any) -> int:
    if not isinstance(slots, int) or isinstance(slots, bool) or slots < 0:
        raise InvalidCapacity("in_flight", f"must be an int of 0 or more, not {slots!r}")
    return slots
