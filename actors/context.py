"""`WorkerContext`: a dispatcher inside this process, as its users hold it. It starts nothing until it is first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from pykka import ActorRef

from ..messages.activities import ActivityRequest, WorkerCapacity
from ..messages.bus_errors import BusError, ChannelClosed
from ..messages.dispatch_errors import UnknownDeadLetter
from ..messages.drain import DrainReport, Waiting, check_drain
from ..messages.errors import ChannelLifecycleError, ConfigError, InvalidCapacity, LimenError
from ..messages.grace import DEFAULT, Grace
from ..messages.limits import Limit
from ..messages.names import ChannelName, dispatch_channel
from ..messages.pool import DispatchWorker, PoolRow, QueueRow
from . import _orders as orders
from ._core import Core
from ._views import rows_of, workers_of
from .attempt import Handler
from .blueprint import Blueprint
from .channel_handle import ChannelHandle
from .context_actor import ContextActor
from .conversation import Conversation
from .registration import WorkerRegistration
from .worker import ExecutorName

if TYPE_CHECKING:
    from ..messages.dead_letters import DeadLetter, DeadLetters

__all__ = ["ContextActor", "WorkerContext", "WorkerPool"]


class WorkerContext:
    """A dispatcher inside this process. Copies are the same dispatcher; making one starts nothing.

    `supervisor`: the ref of a running `SupervisorActor` under which workers are to live; it is never stopped by the
    context. Use a `with` block or `close`; a forgotten context ends with its last copy and registration.
    """

    def __init__(
        self,
        *,
        supervisor: ActorRef[Any] | None = None,
        make_supervisor: Callable[[], ActorRef[Any]] | None = None,
        _core: Core | None = None,
    ) -> None:
        self._core = _core or Core(supervisor, make_supervisor or _start_supervisor)

    def __repr__(self) -> str:
        """Show the type only."""
        return "<WorkerContext>"

    def __copy__(self) -> WorkerContext:
        """Give another handle on the same dispatcher."""
        return WorkerContext(_core=self._core)

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # --- workers ------------------------------------------------------------------------------------------------

    def register_worker(
        self,
        namespace: str,
        task_queue: str,
        capacity: WorkerCapacity,
        *,
        handlers: Mapping[str, Handler] | None = None,
        executor: ExecutorName = "thread",
        restart: bool = False,
        grace: Grace = DEFAULT,
    ) -> WorkerRegistration:
        """Register a worker whose participant we start and own.

        Without `handlers` it fetches its own work (`next`, `respond`). With them (activity type → function of the
        request) an executor runs it. `restart`: its supervisor starts it again when it crashes. `grace`: what becomes
        of an activity that is called off and does not end.
        Blocks until the worker is in the pool. Raises `InvalidChannelName`, `ChannelLifecycleError`.
        """
        name = dispatch_channel(namespace, task_queue)
        _check_capacity(capacity, handlers)
        worker_id = self._core.next_worker_id()
        blueprint = Blueprint(
            worker_id,
            capacity,
            self._core.whole,
            handlers=handlers,
            executor=executor,
            supervised=restart,
            grace=grace,
        )
        return self._core.register(name, blueprint)

    def register_worker_with_participant(
        self, namespace: str, task_queue: str, worker_id: str, participant: Any, capacity: WorkerCapacity
    ) -> WorkerRegistration:
        """Register a worker whose life hangs on something of yours: an actor ref, a process, an asyncio task.

        It is watched, and never stopped by us. Raises as `register_worker`; a participant that is dead already is a
        `ChannelLifecycleError`.
        """
        name = dispatch_channel(namespace, task_queue)
        _check_capacity(capacity, None)
        _check_worker(worker_id, participant)
        blueprint = Blueprint(worker_id, capacity, self._core.whole, participant=participant)
        return self._core.register(name, blueprint)

    # --- looking ------------------------------------------------------------------------------------------------

    def workers_for_channel(
        self, channel: ChannelName | str, request: ActivityRequest | None = None, *, any_type: bool = False
    ) -> list[DispatchWorker]:
        """List the live workers of a channel in registration order, as copies.

        Given a request, only those that serve its type, unless `any_type`. A saturated worker is listed with no
        capacity left. An unknown channel gives an empty list and is not created.
        """
        activity_type = request.activity_type if request is not None and not any_type else None
        return self._look(str(channel), orders.Snapshot(workers_of, activity_type))

    workers_for = workers_for_channel
    """The name by which a `DispatchWorkerPool` is asked."""

    def pool(self, channel: ChannelName | str) -> list[PoolRow]:
        """List the live workers of a channel as rows for an operator."""
        return self._look(str(channel), orders.Snapshot(rows_of))

    def find_channel(self, channel: ChannelName | str) -> ChannelHandle | None:
        """Give a channel that exists."""
        return self._core.find_channel(str(channel))

    def channel(self, namespace: str, task_queue: str) -> ChannelHandle:
        """Give the channel of a task queue; made if need be."""
        return self._core.channel(dispatch_channel(namespace, task_queue))

    def _look(self, name: str, snapshot: orders.Snapshot) -> list[Any]:
        channel = self.find_channel(name)
        if channel is None:
            return []
        try:
            rows: list[Any] = channel.session.ask(snapshot)
        except ChannelClosed:
            return []
        except LimenError as error:
            raise ChannelLifecycleError(name, str(error)) from error
        return rows

    # --- queues -------------------------------------------------------------------------------------------------

    def pause(self, namespace: str, task_queue: str) -> None:
        """Let nothing start on a task queue until `resume`: what runs goes on, what waits keeps its place. Idempotent.

        Raises `InvalidChannelName`, `ChannelLifecycleError`, as do the following.
        """
        channel = self.channel(namespace, task_queue)
        _order(channel, orders.SetPaused(paused=True, keeper=channel))

    def resume(self, namespace: str, task_queue: str) -> None:
        """Let requests of a task queue start again, in their order. Idempotent."""
        _order(self.channel(namespace, task_queue), orders.SetPaused(paused=False))

    def limit(self, namespace: str, task_queue: str, activity_type: str, limit: Limit | None) -> None:
        """Put a limit on an activity type of a task queue in force; `None` lifts it."""
        channel = self.channel(namespace, task_queue)
        _order(channel, orders.SetLimit(activity_type, limit, keeper=channel))

    def bound(self, namespace: str, task_queue: str, waiting: int | None) -> None:
        """Let so many requests of a task queue wait; `None`: as many as by default, and without signals."""
        channel = self.channel(namespace, task_queue)
        _order(channel, orders.SetBound(waiting, keeper=channel))

    def queue(self, namespace: str, task_queue: str) -> QueueRow:
        """Show who waits on a task queue, what runs and what is limited."""
        row: QueueRow = _order(self.channel(namespace, task_queue), orders.ShowQueue())
        return row

    # --- dead letters -------------------------------------------------------------------------------------------

    def dead_letters(self, channel: ChannelName | str) -> DeadLetters:
        """List the requests of a channel that were given up, the oldest first. Raises `ChannelLifecycleError`."""
        from ..messages.dead_letters import DeadLetters

        handle = self.find_channel(channel)
        if handle is None or handle.closed:
            return DeadLetters()
        letters: DeadLetters = _order(handle, orders.ListLetters())
        return letters

    def requeue(self, channel: ChannelName | str, letter_id: str, activity_type: str | None = None) -> Conversation:
        """Try a dead letter again: the same request with the same options, under the same id, as if it were new.

        Blocks until the channel has it; `conversation.result()` gives the outcome. It is out of the dead letters until
        it has one, and back again with a longer history if that is not a result, however it ended. Raises
        `UnknownDeadLetter`; `ConfigError` if it is for another activity type than this one; `DispatchFailed` while a
        conversation of its id is open; `RecorderFailed`; `ChannelLifecycleError`.
        """
        handle = self._channel_with(channel, letter_id)
        conversation: Conversation = _order(handle, orders.Requeue(letter_id, handle, activity_type))
        return conversation

    def discard(self, channel: ChannelName | str, letter_id: str) -> DeadLetter:
        """Throw a dead letter away, and give it. Raises as `requeue` does."""
        letter: DeadLetter = _order(self._channel_with(channel, letter_id), orders.Discard(letter_id))
        return letter

    def remember(
        self,
        namespace: str,
        task_queue: str,
        *,
        dead_letters: int | None = None,
        keys: int | None = None,
        ttl: float | None = None,
    ) -> None:
        """Set how many dead letters and how many ends of keyed work a channel keeps, and those for how many seconds.

        The oldest make room. What is not given stays as it is. Raises `ConfigError`.
        """
        order = orders.Remember(dead_letters=dead_letters, keys=keys, ttl_s=ttl)
        _order(self.channel(namespace, task_queue), order)

    def _channel_with(self, channel: ChannelName | str, letter_id: str) -> ChannelHandle:
        handle = self.find_channel(channel)
        if handle is None:
            raise UnknownDeadLetter(str(channel), letter_id)
        return handle

    # --- dispatching --------------------------------------------------------------------------------------------

    def submit(self, namespace: str, task_queue: str, conversation: Conversation) -> None:
        """Hand in a request; `conversation.reply` is answered whatever happens. Never blocks for long.

        Raises `DispatcherDraining` while the context is being closed.
        """
        if self._core.is_ending:
            self._core.refuse_new(str(dispatch_channel(namespace, task_queue)))
        conversation.channel = self.channel(namespace, task_queue)
        conversation.channel.session.submit(conversation)

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 10.0, *, drain: float = 0.0, waiting: Waiting = "fail") -> DrainReport:
        """Unregister every worker and end every actor, thread and process of this context.

        With `drain`, nothing new is taken for so many seconds at most, while requests that have begun are carried to
        their end, through crashes and retries. Those that wait and have not begun fail at once with `ShutDown`; with
        `waiting="run"` they are run too. What is left after that fails with `ShutDown`, and the report names it.

        Blocks, for `drain` and about `timeout` seconds at most; an activity on a thread that still runs then is
        abandoned, and logged. Left by Ctrl-C it ends within about a second. A second call hurries the first, if it is
        to end sooner, waits for it, and gives the same report. On an actor's own thread it only begins, and does not
        drain. Raises `ConfigError`.
        """
        check_drain(drain, waiting)
        return self._core.close(timeout, drain, run_waiting=waiting == "run")


def _start_supervisor() -> ActorRef[Any]:
    """Start the supervisor that a context has of its own; it is imported with the first worker."""
    from .supervisor import QuietSupervisor

    return QuietSupervisor.start()


WorkerPool = WorkerContext


def _order(channel: ChannelHandle, order: object) -> Any:
    try:
        return channel.session.ask(order)
    except BusError as error:
        raise ChannelLifecycleError(channel.name, str(error)) from error


def _check_capacity(capacity: object, handlers: Mapping[str, Handler] | None) -> None:
    if not isinstance(capacity, WorkerCapacity):
        raise InvalidCapacity("capacity", f"must be a WorkerCapacity, not a {type(capacity).__name__}")
    missing = [] if handlers is None else [each for each in capacity.activity_types if each not in handlers]
    if missing:
        raise ConfigError("handlers", f"there is none for {', '.join(missing)}, which the capacity names")


def _check_worker(worker_id: object, participant: object) -> None:
    if not isinstance(worker_id, str) or not worker_id:
        raise ConfigError("worker_id", "must be a text, and not empty")
    if participant is None:
        raise ConfigError("participant", "must be something that can be watched; register_worker starts one itself")
