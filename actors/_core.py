"""What all copies of a `WorkerContext` share: how workers are registered, taken out, and how it all ends.

Each step that is done can be undone. What waits, waits within a bound, and on an actor's own thread not at all.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from pykka import ActorRef

from ..messages.bus_errors import ChannelClosed
from ..messages.drain import DrainReport, Unfinished
from ..messages.errors import ChannelLifecycleError, DispatcherDraining
from ..messages.lifecycle import ExitReason
from ..messages.names import ChannelName
from . import _orders as orders
from ._closing import Closing
from ._directory import Directory
from ._texts import kind_and_text
from .blueprint import Blueprint
from .channel_handle import COMMAND_TIMEOUT_S, ChannelHandle
from .context_actor import Abandoned, ChannelFor, ContextActor, Forsaken, TheSupervisor, nursery, tell
from .entry import WorkerEntry
from .linking import ask, post
from .registration import WorkerRegistration
from .runtime import Shield, here, runtime

logger = logging.getLogger("limen")


class Core:
    """What all copies of a context share. Starts the root on first use."""

    def __init__(self, supervisor: ActorRef[Any] | None, make_supervisor: Callable[[], ActorRef[Any]]) -> None:
        self.closed = False
        self._lock = runtime().create_lock()
        self.whole = runtime().create_rlock()
        """Held while an incarnation of a worker is put down: see `Blueprint`."""
        self.given = supervisor
        """Is not ours to stop."""
        self._make_supervisor = make_supervisor
        self.directory = Directory(supervisor)
        self._root: ActorRef[ContextActor] | None = None
        self._closing: Closing | None = None

    # --- looking ------------------------------------------------------------------------------------------------
    # What has been made is looked up; only what has not is asked for. Each raises `ChannelLifecycleError`, within a
    # bound, whatever state the root is in.

    def next_worker_id(self) -> str:
        """Give a worker id that was never given before."""
        return self.directory.next_worker_id()

    def channel(self, name: ChannelName) -> ChannelHandle:
        """Give the channel of this name; made if need be."""
        text = str(name)
        self._live_root(text)
        return self._channel(name, text)

    def _channel(self, name: ChannelName, text: str) -> ChannelHandle:
        channel = self.directory.open_channel(text)
        if channel is None:
            channel = self._ask(ChannelFor(name), text)
        return channel

    def find_channel(self, name: str) -> ChannelHandle | None:
        """Give the channel of this name if there is one. Starts nothing."""
        if self._root is None:
            return None
        self._live_root(name)
        return self.directory.channels.get(name)

    def supervisor(self, name: str) -> ActorRef[Any]:
        """Give the supervisor, for a worker of this channel; made if need be."""
        supervisor = self.directory.live_supervisor()
        if supervisor is None:
            supervisor = self._ask(TheSupervisor(name), name)
        return supervisor

    def _ask(self, message: object, name: str) -> Any:
        try:
            return self._live_root(name).ask(message, timeout=COMMAND_TIMEOUT_S)
        except ChannelLifecycleError:
            raise
        except Exception as error:
            raise ChannelLifecycleError(name, self._why_not(kind_and_text(error))) from error

    def _check_open(self, name: str) -> None:
        if self.closed:
            raise ChannelLifecycleError(name, "the context has been closed")

    def _why_not(self, detail: str) -> str:
        return "the context has been closed" if self.closed else f"the pool's root is not usable: {detail}"

    def _live_root(self, name: str) -> ActorRef[ContextActor]:
        root = self._root
        if root is None:
            root = self._started_root(name)
        if self.closed or root.actor_stopped.is_set():
            raise ChannelLifecycleError(name, self._why_not("it has ended"))
        return root

    def _started_root(self, name: str) -> ActorRef[ContextActor]:
        try:
            return self._start_root(name)
        except ChannelLifecycleError:
            raise
        except Exception as error:
            raise ChannelLifecycleError(name, self._why_not(kind_and_text(error))) from error

    def _start_root(self, name: str) -> ActorRef[ContextActor]:
        with self._lock:
            self._check_open(name)
            if self._root is None:
                self._root = ContextActor.start(self.directory, self._make_supervisor)
                weakref.finalize(self, post, self._root, Abandoned()).atexit = False
            return self._root

    # --- workers ------------------------------------------------------------------------------------------------

    def register(self, name: ChannelName, blueprint: Blueprint) -> WorkerRegistration:
        """Register a worker. All steps are undone if one fails, and the error names the channel."""
        text = str(name)
        self._live_root(text)
        if self._closing is not None:
            self.refuse_new(text)
        self.directory.enter(blueprint)
        try:
            with Shield():
                if blueprint.owned:
                    self._spawn(text, blueprint)
                self._insert(name, text, blueprint)
                registration = WorkerRegistration(self, blueprint)
                if self.closed:  # whoever closed it meanwhile may have come too early for this one
                    self._check_open(text)
        except BaseException as error:
            self._undo(blueprint)
            if isinstance(error, ChannelLifecycleError) or not isinstance(error, Exception):
                raise
            raise ChannelLifecycleError(text, kind_and_text(error)) from error
        return registration

    def _spawn(self, name: str, blueprint: Blueprint) -> None:
        """Start the participant as a child of the supervisor."""
        supervisor = self.supervisor(name)
        blueprint.live_under(supervisor, f"{name}/{blueprint.worker_id}")
        answer = ask(supervisor, nursery().birth(blueprint))
        if not isinstance(answer, tuple):
            answer.get(timeout=COMMAND_TIMEOUT_S)

    def _insert(self, name: ChannelName, text: str, blueprint: Blueprint) -> None:
        """Arm, and only then let the channel subscribe and offer the worker."""
        channel = self._channel(name, text)
        entry = blueprint.make_first_entry(channel)
        blueprint.arm(entry)
        if entry.exited is not None and not entry.comes_back:
            reason = entry.exited.reason
            raise ChannelLifecycleError(text, f"the participant of {entry.worker_id} is dead: {reason}")
        try:
            channel.session.ask(orders.Join(entry))
        except ChannelClosed as error:
            raise ChannelLifecycleError(text, "the channel is missing: it was closed meanwhile") from error

    def _undo(self, blueprint: Blueprint) -> None:
        """Undo what has been done of a registration, the last step first; each of them, even if one before it fails."""
        with ExitStack() as steps:
            steps.callback(self.directory.forget, blueprint)
            steps.callback(blueprint.note_gone, ExitReason.normal())
            steps.callback(_stop_participant, blueprint)
            steps.callback(blueprint.let_go)
            if blueprint.channel is not None and blueprint.entry is not None:
                steps.callback(blueprint.channel.session.notice, orders.Leave(blueprint.entry))
            steps.callback(blueprint.retire)

    def claim(self, blueprint: Blueprint) -> bool:
        """Say that a worker leaves: `True` for the first caller, who has to see to it. Any thread, never waits."""
        return self.directory.claim(blueprint)

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
            self.directory.forget(blueprint)

    def forsake(self, blueprint: Blueprint) -> None:
        """Do the same without ever waiting, in a garbage collection: only posts."""
        blueprint.retire()
        if self._root is not None:
            post(self._root, Forsaken(blueprint))

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self, timeout: float, drain_s: float = 0.0, *, run_waiting: bool = False) -> DrainReport:
        """Wind down, then end all that is there. Whoever comes second hurries the end and waits for it."""
        with self._lock:
            first = self._closing is None
            closing = self._closing = self._closing or Closing(self)
            if self._root is None:  # and so it will never be
                self.closed = True
        if first:
            return closing.run(timeout, drain_s, run_waiting=run_waiting)
        return closing.join(timeout, drain_s, run_waiting=run_waiting)

    @property
    def root(self) -> ActorRef[ContextActor] | None:
        """The root actor, if it was ever started."""
        return self._root

    @property
    def is_ending(self) -> bool:
        """Whether nothing new is taken any more."""
        return self._closing is not None

    def shut(self) -> tuple[Blueprint, ...]:
        """Let nothing be used any more, and give all workers that there were."""
        with self._lock:
            self.closed = True
            return self.directory.workers()

    def refuse_new(self, name: str) -> None:
        """Raise `DispatcherDraining` once the end has begun, or `ChannelLifecycleError` once it has come."""
        self._check_open(name)
        if self._closing is not None:
            raise DispatcherDraining(name)


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


def _stop_participant(blueprint: Blueprint) -> None:
    """Stop what we started. On an actor's own thread nothing is waited for."""
    supervisor = blueprint.supervisor
    if supervisor is None:
        return
    if here.mailbox is not None:
        tell(supervisor, nursery().removal(blueprint))
        return
    try:
        supervisor.ask(nursery().removal(blueprint), timeout=COMMAND_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, the rest of the leaving goes on
        logger.debug("the participant of %s is gone, or out of reach: %s", blueprint.worker_id, error)
