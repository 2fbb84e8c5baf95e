"""What all copies of a `WorkerContext` share: how workers are registered, taken out, and how it all ends.

Each step that is done can be undone. What waits, waits within a bound, and on an actor's own thread not at all.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from pykka import ActorDeadError, ActorRef, Timeout

from ..messages.bus_errors import ChannelClosed
from ..messages.drain import Unfinished
from ..messages.errors import ActorCrashed, ChannelLifecycleError, LimenError, SelfAskError
from ..messages.lifecycle import ExitReason
from ..messages.names import ChannelName
from ..messages.restarts import RestartIntensity
from . import _orders as orders
from ._texts import kind_and_text
from .blueprint import Blueprint
from .channel_handle import COMMAND_TIMEOUT_S, ChannelHandle
from .context_actor import Abandoned, ChannelFor, ContextActor, Forsaken, Shut, TheSupervisor, tell
from .entry import WorkerEntry
from .linking import post
from .registration import WorkerRegistration
from .runtime import here, runtime

logger = logging.getLogger("limen")

RESTARTS = RestartIntensity(max_restarts=10, within_s=10.0)
"""How often a supervised worker may crash before it is given up."""


class Core:
    """What all copies of a context share. Starts the root on first use."""

    def __init__(self, supervisor: ActorRef[Any] | None, make_supervisor: Callable[[], ActorRef[Any]]) -> None:
        self.closed = False
        self._lock = runtime().create_lock()
        self._given = supervisor
        self._make_supervisor = make_supervisor
        self._root: ActorRef[ContextActor] | None = None
        self._blueprints: weakref.WeakKeyDictionary[Blueprint, None] = weakref.WeakKeyDictionary()
        """In the order of registration, which is the order in which they are ended."""

    def ask(self, message: object, name: str) -> Any:
        """Ask the root. Raises `ChannelLifecycleError` within a bound, whatever state the root is in."""
        try:
            return self._ref(name).ask(message, timeout=COMMAND_TIMEOUT_S)
        except ChannelLifecycleError:
            raise
        except Exception as error:
            why = (
                "the context has been closed"
                if self.closed
                else f"the pool's root is not usable: {kind_and_text(error)}"
            )
            raise ChannelLifecycleError(name, why) from error

    def find(self, message: object, name: str) -> Any:
        """Ask the root if it has been started, without starting it."""
        return self.ask(message, name) if self._root is not None else None

    def _ref(self, name: str) -> ActorRef[ContextActor]:
        root = self._root
        if root is not None:
            return root
        with self._lock:
            if self.closed:
                raise ChannelLifecycleError(name, "the context has been closed")
            if self._root is None:
                self._root = ContextActor.start(self._given, self._make_supervisor)
                weakref.finalize(self, post, self._root, Abandoned()).atexit = False
            return self._root

    # --- workers ------------------------------------------------------------------------------------------------

    def register(self, name: ChannelName, blueprint: Blueprint, *, restart: bool) -> WorkerRegistration:
        """Register a worker. All steps are undone if one fails, and the error names the channel."""
        with self._lock:
            self._blueprints[blueprint] = None
        with ExitStack() as undo:
            undo.callback(blueprint.note_gone, ExitReason.normal())
            undo.callback(blueprint.retire)
            try:
                if blueprint.owned:
                    self._spawn(str(name), blueprint, undo, restart=restart)
                self._insert(name, blueprint, undo)
                registration = WorkerRegistration(self, blueprint)
            except ChannelLifecycleError:
                raise
            except Exception as error:
                raise ChannelLifecycleError(str(name), kind_and_text(error)) from error
            if self.closed:  # meanwhile; whoever closes it may have come too early for this one
                raise ChannelLifecycleError(str(name), "the context has been closed")
            undo.pop_all()
        return registration

    def _spawn(self, name: str, blueprint: Blueprint, undo: ExitStack, *, restart: bool) -> None:
        """Start the participant as a child of the supervisor."""
        from ..messages.supervision import ChildSpec, RestartType, StartChild

        spec = ChildSpec(
            id=f"{name}/{blueprint.worker_id}",
            start=blueprint.start,
            restart=RestartType.TRANSIENT if restart else RestartType.TEMPORARY,
            intensity=RESTARTS if restart else None,
            on_given_up=blueprint.give_up,
        )
        supervisor = self.ask(TheSupervisor(name), name)
        undo.callback(blueprint.let_go)
        blueprint.live_under(supervisor, spec.id)
        undo.callback(_stop_participant, blueprint)
        supervisor.ask(StartChild(spec), timeout=COMMAND_TIMEOUT_S)

    def _insert(self, name: ChannelName, blueprint: Blueprint, undo: ExitStack) -> None:
        """Subscribe, arm, and only then let the worker be offered."""
        channel: ChannelHandle = self.ask(ChannelFor(name), str(name))
        session, inbox = channel.session, blueprint.make_inbox()
        undo.callback(session.notice, orders.Unsubscribe(inbox))
        session.ask(orders.Subscribe(inbox))
        entry = blueprint.make_first_entry(channel, inbox)
        undo.callback(blueprint.let_go)
        blueprint.arm(entry)
        if entry.exited is not None and not entry.comes_back:
            reason = entry.exited.reason
            raise ChannelLifecycleError(str(name), f"the participant of {entry.worker_id} is dead: {reason}")
        undo.callback(session.notice, orders.Leave(entry))
        try:
            session.ask(orders.Join(entry))
        except ChannelClosed as error:
            raise ChannelLifecycleError(str(name), "the channel is missing: it was closed meanwhile") from error

    def take_out(self, blueprint: Blueprint) -> tuple[Unfinished, ...]:
        """Take a worker out: inactive, pruned, unsubscribed, unwatched, and its participant stopped if it is ours.

        Gives what it had not done. Idempotent.
        """
        channel, entry = blueprint.channel, blueprint.entry
        assert channel is not None, "a worker that is registered has one"
        assert entry is not None, "a worker that is registered has one"
        blueprint.retire()
        try:
            return _leave(channel, entry)
        finally:
            blueprint.let_go()
            _stop_participant(blueprint)
            blueprint.note_gone(ExitReason.normal())

    def forsake(self, blueprint: Blueprint) -> None:
        """Do the same without ever waiting, in a garbage collection: only posts."""
        blueprint.retire()
        if self._root is not None:
            post(self._root, Forsaken(blueprint))

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float) -> None:
        """Unregister all, close the channels, stop the supervisor if it is ours, then the root. Idempotent."""
        with self._lock:
            already, self.closed = self.closed, True
            root, blueprints = self._root, tuple(self._blueprints)
        if already or root is None:
            return
        for blueprint in blueprints:
            blueprint.retire()
        if here.mailbox is not None:  # an actor that waited for others here might be waited for itself
            tell(root, Abandoned(blueprints))
            return
        deadline_s = runtime().now() + timeout
        channels, supervisor = self._shut(root, blueprints)
        for channel in channels:
            channel.close(_left(deadline_s))
        self._end_participants(supervisor, blueprints, deadline_s)
        _stop(root, deadline_s)
        _wait_for_executors(blueprints, deadline_s)

    def _shut(
        self, root: ActorRef[ContextActor], blueprints: tuple[Blueprint, ...]
    ) -> tuple[list[ChannelHandle], ActorRef[Any] | None]:
        try:
            reply: Any = root.ask(Shut(), timeout=COMMAND_TIMEOUT_S)
            channels, supervisor = reply
        except (ActorDeadError, ActorCrashed, Timeout, SelfAskError):  # do with what its workers know
            channels = list(dict.fromkeys(each.channel for each in blueprints if each.channel is not None))
            supervisor = next((each.supervisor for each in blueprints if each.supervisor is not None), None)
        return channels, supervisor

    def _end_participants(
        self, supervisor: ActorRef[Any] | None, blueprints: tuple[Blueprint, ...], deadline_s: float
    ) -> None:
        """End what is ours, all at the same time; watch nothing any more."""
        for blueprint in blueprints:
            blueprint.let_go()
        if supervisor is None:
            pass
        elif supervisor is not self._given:
            _stop(supervisor, deadline_s)
        else:
            _delete_children(supervisor, [each.child_id for each in blueprints if each.owned], deadline_s)
        for blueprint in blueprints:
            blueprint.note_gone(ExitReason.normal())


def _leave(channel: ChannelHandle, entry: WorkerEntry) -> tuple[Unfinished, ...]:
    """Prune the pool, and give what the worker had not done.

    Raises `ChannelLifecycleError`; the channel hears of it all the same when it can.
    """
    leave = orders.Leave(entry)
    if here.mailbox is not None:
        channel.session.notice(leave)
        return ()
    try:
        left: tuple[Unfinished, ...] = channel.session.ask(leave)
    except ChannelClosed:
        return ()
    except Exception as error:
        channel.session.notice(leave)
        raise ChannelLifecycleError(channel.name, f"the pool could not be pruned: {kind_and_text(error)}") from error
    return left


def _deletion(child_id: str) -> object:
    from ..messages.supervision import DeleteChild

    return DeleteChild(child_id)


def _stop_participant(blueprint: Blueprint) -> None:
    """Stop what we started. On an actor's own thread nothing is waited for."""
    supervisor = blueprint.supervisor
    if supervisor is None:
        return
    if here.mailbox is not None:
        tell(supervisor, _deletion(blueprint.child_id))
        return
    try:
        supervisor.ask(_deletion(blueprint.child_id), timeout=COMMAND_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest of the leaving goes on
        logger.debug("the participant of %s is gone, or out of reach: %s", blueprint.worker_id, error)


def _delete_children(supervisor: ActorRef[Any], child_ids: list[str], deadline_s: float) -> None:
    try:
        replies = [supervisor.ask(_deletion(each), block=False) for each in child_ids]
    except ActorDeadError:
        return
    for child_id, reply in zip(child_ids, replies, strict=True):
        try:
            reply.get(timeout=_left(deadline_s))
        except (ActorDeadError, LimenError):  # it has ended by itself
            continue
        except Timeout:
            logger.warning("%s did not stop in time", child_id)


def _wait_for_executors(blueprints: tuple[Blueprint, ...], deadline_s: float) -> None:
    executors = [each.executor for each in blueprints if each.executor is not None]
    for executor in executors:
        executor.close()
    for executor in executors:
        if not executor.wait_closed(_left(deadline_s)):
            logger.warning("an activity still runs after its context was closed")


def _stop(ref: ActorRef[Any], deadline_s: float) -> None:
    try:
        ref.stop(timeout=max(0.1, _left(deadline_s)))
    except Timeout:
        logger.warning("%s did not stop in time", ref)


def _left(deadline_s: float) -> float:
    return max(0.0, deadline_s - runtime().now())
