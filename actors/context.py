"""`ContextActor`, the root, and `WorkerContext`, the handle that users hold on it.

The root owns the map from channel name to channel, the counter of worker ids, and the supervisor. A context starts
nothing until it is first used.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import attrs
from pykka import ActorDeadError, ActorRef, Timeout

from ..messages.activities import ActivityRequest, WorkerCapacity
from ..messages.bus_errors import ChannelClosed
from ..messages.channel import ChannelConfig, ChannelMode
from ..messages.errors import ChannelLifecycleError, LimenError
from ..messages.lifecycle import ExitReason
from ..messages.names import ChannelName, dispatch_channel
from ..messages.pool import DispatchWorker, PoolRow
from ..messages.supervision import ChildSpec, RestartIntensity, RestartType, StartChild, DeleteChild
from ..messages.wire import request_schema
from . import _orders as orders
from .attempt import Handler
from .blueprint import Blueprint
from .channel_handle import COMMAND_TIMEOUT_S, ChannelHandle
from .conversation import Conversation
from .entry import WorkerEntry
from .links import LinkedActor
from .registration import WorkerRegistration
from .runtime import here, runtime
from .subscription import Inbox
from .supervisor import QuietSupervisor
from .worker import ExecutorName

logger = logging.getLogger("limen")

RESTARTS = RestartIntensity(max_restarts=10, within_s=10.0)
"""How often a supervised worker may crash before it is given up."""


@attrs.frozen
class NextWorkerId:
    """Give a worker id that was never given before."""


@attrs.frozen
class ChannelFor:
    """Give the channel of this name; made if need be."""

    name: ChannelName


@attrs.frozen
class FindChannel:
    """Give the channel of this name, or `None`."""

    name: str


@attrs.frozen
class Channels:
    """List the channels."""


@attrs.frozen
class TheSupervisor:
    """Give the supervisor; made if need be. With `make=False`, `None` if there is none yet."""

    make: bool = True


@attrs.frozen
class Abandoned:
    """Nobody holds this context any more."""


class ContextActor(LinkedActor):
    """The root of one dispatcher."""

    never_blocks = True

    def __init__(self, supervisor: ActorRef[Any] | None, make_supervisor: Callable[[], ActorRef[Any]]) -> None:
        super().__init__()
        self._supervisor = supervisor
        self._given = supervisor
        self._make_supervisor = make_supervisor
        self._channels: weakref.WeakValueDictionary[str, ChannelHandle] = weakref.WeakValueDictionary()
        self._worker_ids = 0

    def on_receive(self, message: object) -> object:
        """Handle one order."""
        match message:
            case NextWorkerId():
                self._worker_ids += 1
                return f"worker-{self._worker_ids}"
            case ChannelFor(name):
                return self._channel_for(name)
            case FindChannel(name):
                return self._channels.get(name)
            case Channels():
                return list(self._channels.values())
            case TheSupervisor(make):
                return self._the_supervisor() if make else self._supervisor
            case Abandoned():
                return self._abandoned()
            case _:
                logger.warning("a context does not know what to do with a %s", type(message).__name__)
                return None

    def _channel_for(self, name: ChannelName) -> ChannelHandle:
        handle = self._channels.get(str(name))
        if handle is None or handle.closed:
            config = ChannelConfig(name=name, schema=request_schema, mode=ChannelMode.EPHEMERAL)
            handle = ChannelHandle(config)
            self._channels[str(name)] = handle
        return handle

    def _abandoned(self) -> None:
        """End all that is ours."""
        for handle in list(self._channels.values()):
            handle.close()
        if self._supervisor is not None and self._supervisor is not self._given:
            self._supervisor.stop(block=False)
        self.stop()

    def _the_supervisor(self) -> ActorRef[Any]:
        if self._supervisor is None or not self._supervisor.is_alive():
            self._supervisor = self._make_supervisor()
        return self._supervisor


class Core:
    """What all copies of a context share. Starts the root on first use."""

    def __init__(self, supervisor: ActorRef[Any] | None, make_supervisor: Callable[[], ActorRef[Any]]) -> None:
        self.closed = False
        self._lock = runtime().create_lock()
        self._given = supervisor
        self._make_supervisor = make_supervisor
        self._root: ActorRef[ContextActor] | None = None
        self._blueprints: weakref.WeakSet[Blueprint] = weakref.WeakSet()

    def ask(self, message: object, name: str = "") -> Any:
        """Ask the root. Raises `ChannelLifecycleError` within a bound, whatever state the root is in."""
        try:
            return self._ref(name).ask(message, timeout=COMMAND_TIMEOUT_S)
        except (ActorDeadError, Timeout) as error:
            raise ChannelLifecycleError(name, f"the pool's root is not usable: {error}") from error

    def find(self, message: object) -> Any:
        """Ask the root if it has been started, without starting it."""
        return self.ask(message) if self._root is not None else None

    def _ref(self, name: str) -> ActorRef[ContextActor]:
        root = self._root
        if root is not None:
            return root
        with self._lock:
            if self.closed:
                raise ChannelLifecycleError(name, "the context has been closed")
            if self._root is None:
                self._root = ContextActor.start(self._given, self._make_supervisor)
                weakref.finalize(self, _abandon, self._root).atexit = False
            return self._root

    # --- workers ------------------------------------------------------------------------------------------------

    def register(self, name: ChannelName, blueprint: Blueprint, *, restart: bool) -> WorkerRegistration:
        """Register a worker. All steps are undone if one fails, and the error names the channel."""
        with ExitStack() as undo:
            try:
                if blueprint.owned:
                    self._spawn(str(name), blueprint, undo, restart=restart)
                self._insert(name, blueprint, undo)
            except ChannelLifecycleError:
                raise
            except Exception as error:
                raise ChannelLifecycleError(str(name), f"{type(error).__name__}: {error}") from error
            undo.pop_all()
        self._blueprints.add(blueprint)
        return WorkerRegistration(self, blueprint)

    def _spawn(self, name: str, blueprint: Blueprint, undo: ExitStack, *, restart: bool) -> None:
        """Start the participant as a child of the supervisor."""
        spec = ChildSpec(
            id=f"{name}/{blueprint.worker_id}",
            start=blueprint.start,
            restart=RestartType.TRANSIENT if restart else RestartType.TEMPORARY,
            intensity=RESTARTS if restart else None,
            on_given_up=blueprint.give_up,
        )
        blueprint.child_id = spec.id
        supervisor = self.ask(TheSupervisor(), name)
        blueprint.supervisor = supervisor
        undo.callback(self._stop_participant, blueprint)
        supervisor.ask(StartChild(spec), timeout=COMMAND_TIMEOUT_S)

    def _insert(self, name: ChannelName, blueprint: Blueprint, undo: ExitStack) -> None:
        """Subscribe, arm, and only then let the worker be offered."""
        channel: ChannelHandle = self.ask(ChannelFor(name), str(name))
        blueprint.inbox = Inbox()
        channel.session.ask(orders.Subscribe(blueprint.inbox))
        undo.callback(channel.session.notice, orders.Unsubscribe(blueprint.inbox))
        entry = blueprint.make_entry(channel)
        blueprint.arm()
        undo.callback(entry.watch.cancel)
        if entry.exited is not None:
            reason = entry.exited.reason
            raise ChannelLifecycleError(str(name), f"the participant of {entry.worker_id} is dead: {reason}")
        channel.session.ask(orders.Join(entry))

    def unregister(self, blueprint: Blueprint) -> None:
        """Take a worker out: inactive, pruned, unsubscribed, unwatched, and its participant stopped if it is ours."""
        channel, entry = blueprint.channel, blueprint.entry
        assert channel is not None
        assert entry is not None
        entry.active = False
        try:
            if here.mailbox is not None:
                channel.session.notice(orders.Leave(entry))
            else:
                channel.session.ask(orders.Leave(entry))
        except ChannelClosed:
            return
        except LimenError as error:
            raise ChannelLifecycleError(channel.name, f"the pool could not be pruned: {error}") from error
        finally:
            if blueprint.inbox is not None:
                blueprint.inbox.close()
            if entry.watch is not None:
                entry.watch.cancel()
            self._stop_participant(blueprint)
            blueprint.note_gone(ExitReason.normal())

    def forsake(self, blueprint: Blueprint) -> None:
        """Do the same without ever waiting: for a garbage collection."""
        if blueprint.entry is not None and blueprint.channel is not None:
            blueprint.entry.active = False
            blueprint.channel.session.notice(orders.Leave(blueprint.entry))
            if blueprint.entry.watch is not None:
                blueprint.entry.watch.cancel()
        if blueprint.supervisor is not None:
            _tell(blueprint.supervisor, DeleteChild(blueprint.child_id))
        blueprint.note_gone(ExitReason.normal())

    def _stop_participant(self, blueprint: Blueprint) -> None:
        """Stop what we started. On an actor's own thread nothing is waited for."""
        supervisor = blueprint.supervisor
        if supervisor is None:
            return
        if here.mailbox is not None:
            _tell(supervisor, DeleteChild(blueprint.child_id))
            return
        try:
            supervisor.ask(DeleteChild(blueprint.child_id), timeout=COMMAND_TIMEOUT_S)
        except (ActorDeadError, Timeout, LimenError):
            logger.debug("the participant of %s could not be stopped in good order", blueprint.worker_id)

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float) -> None:
        """Unregister all, close the channels, stop the supervisor if it is ours, then the root. Idempotent."""
        with self._lock:
            already, self.closed = self.closed, True
            root = self._root
        if already or root is None:
            return
        deadline_s = runtime().now() + timeout
        for channel in self.ask(Channels()):
            channel.close()
        executors = [each.executor for each in self._blueprints if each.executor is not None]
        for blueprint in list(self._blueprints):
            if blueprint.owned and (self._given is not None or not blueprint.gone.is_set()):
                self._stop_participant(blueprint)
            blueprint.note_gone(ExitReason.normal())
        supervisor = self.ask(TheSupervisor(make=False))
        if supervisor is not None and supervisor is not self._given:
            _stop(supervisor, deadline_s)
        _stop(root, deadline_s)
        for executor in executors:
            executor.close()
            if not executor.wait_closed(max(0.0, deadline_s - runtime().now())):
                logger.warning("an activity still runs after its context was closed")


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
        self._core = _core or Core(supervisor, make_supervisor or QuietSupervisor.start)

    def __repr__(self) -> str:
        """Show the type only."""
        return "<WorkerContext>"

    def __copy__(self) -> WorkerContext:
        """Give another handle on the same dispatcher."""
        return WorkerContext(_core=self._core)

    def __enter__(self) -> WorkerContext:
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
    ) -> WorkerRegistration:
        """Register a worker whose participant we start and own.

        Without `handlers` it fetches its own work (`next`, `respond`). With them (activity type → function of the
        request) an executor runs it. `restart`: its supervisor starts it again when it crashes.
        Blocks until the worker is in the pool. Raises `InvalidChannelName`, `ChannelLifecycleError`.
        """
        name = dispatch_channel(namespace, task_queue)
        worker_id = self._core.ask(NextWorkerId(), str(name))
        blueprint = Blueprint(worker_id, capacity, handlers=handlers, executor=executor, supervised=restart)
        return self._core.register(name, blueprint, restart=restart)

    def register_worker_with_participant(
        self, namespace: str, task_queue: str, worker_id: str, participant: Any, capacity: WorkerCapacity
    ) -> WorkerRegistration:
        """Register a worker whose life hangs on something of yours: an actor ref, a process, an asyncio task.

        It is watched, and never stopped by us. Raises as `register_worker`; a participant that is dead already is a
        `ChannelLifecycleError`.
        """
        name = dispatch_channel(namespace, task_queue)
        return self._core.register(name, Blueprint(worker_id, capacity, participant=participant), restart=False)

    # --- looking ------------------------------------------------------------------------------------------------

    def workers_for_channel(
        self, channel: ChannelName | str, request: ActivityRequest | None = None, *, any_type: bool = False
    ) -> list[DispatchWorker]:
        """List the live workers of a channel in registration order, as copies.

        Given a request, only those that serve its type, unless `any_type`. A saturated worker is listed with no
        capacity left. An unknown channel gives an empty list and is not created.
        """
        activity_type = request.activity_type if request is not None and not any_type else None
        return self._look(str(channel), orders.Snapshot(WorkerEntry.snapshot, activity_type))

    workers_for = workers_for_channel
    """The name by which a `DispatchWorkerPool` is asked."""

    def pool(self, channel: ChannelName | str) -> list[PoolRow]:
        """List the live workers of a channel as rows for an operator."""
        return self._look(str(channel), orders.Snapshot(WorkerEntry.row))

    def find_channel(self, channel: ChannelName | str) -> ChannelHandle | None:
        """Give a channel that exists."""
        handle: ChannelHandle | None = self._core.find(FindChannel(str(channel)))
        return handle

    def channel(self, namespace: str, task_queue: str) -> ChannelHandle:
        """Give the channel of a task queue; made if need be."""
        name = dispatch_channel(namespace, task_queue)
        handle: ChannelHandle = self._core.ask(ChannelFor(name), str(name))
        return handle

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

    # --- dispatching --------------------------------------------------------------------------------------------

    def submit(self, namespace: str, task_queue: str, conversation: Conversation) -> None:
        """Hand in a request; `conversation.reply` is answered whatever happens. Never blocks for long."""
        conversation.channel = self.channel(namespace, task_queue)
        conversation.channel.session.submit(conversation)

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 10.0) -> None:
        """Unregister every worker and end every actor, thread and process of this context.

        Open requests end with `ChannelLifecycleError`. Blocks at most about `timeout` seconds; an activity on a
        thread that still runs then is abandoned, and logged. Idempotent.
        """
        self._core.close(timeout)


WorkerPool = WorkerContext


def _tell(ref: ActorRef[Any], message: object) -> None:
    try:
        ref.tell(message)
    except ActorDeadError:
        return


def _stop(ref: ActorRef[Any], deadline_s: float) -> None:
    try:
        ref.stop(timeout=max(0.1, deadline_s - runtime().now()))
    except Timeout:
        logger.warning("%s did not stop in time", ref)


def _abandon(root: ActorRef[Any]) -> None:
    """End a context that nobody holds any more. Only posts."""
    _tell(root, Abandoned())
