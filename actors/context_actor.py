"""`ContextActor`, the root of one dispatcher.

It owns the map from channel name to channel, the counter of worker ids, and the supervisor. It never waits for anybody.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import attrs
from pykka import ActorDeadError, ActorRef

from ..messages.channel import ChannelConfig, ChannelMode
from ..messages.errors import ChannelLifecycleError
from ..messages.lifecycle import ExitReason
from ..messages.names import ChannelName
from ..messages.wire import request_schema
from . import _orders as orders
from ._texts import kind_and_text
from .blueprint import Blueprint
from .channel_handle import ChannelHandle
from .links import LinkedActor

logger = logging.getLogger("limen")


@attrs.frozen(eq=False, repr=False)
class NextWorkerId:
    """Give a worker id that was never given before."""


@attrs.frozen(eq=False, repr=False)
class ChannelFor:
    """Give the channel of this name; made if need be."""

    name: ChannelName


@attrs.frozen(eq=False, repr=False)
class FindChannel:
    """Give the channel of this name, or `None`."""

    name: str


@attrs.frozen(eq=False, repr=False)
class TheSupervisor:
    """Give the supervisor, for a worker of this channel; made if need be."""

    name: str


@attrs.frozen(eq=False, repr=False)
class Shut:
    """Make nothing any more. Gives all there is: the channels, and the supervisor if there is one."""


@attrs.frozen(eq=False)
class Forsaken:
    """Nobody holds this worker's registration any more."""

    blueprint: Blueprint


@attrs.frozen(eq=False)
class Abandoned:
    """Nobody holds this context any more, or nobody can wait for its end: end all that is there."""

    blueprints: tuple[Blueprint, ...] = ()


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
        self._shut = False

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
            case TheSupervisor(name):
                return self._the_supervisor(name)
            case Forsaken(blueprint):
                take_out(blueprint)
            case Shut():
                self._shut = True
                return list(self._channels.values()), self._supervisor
            case Abandoned(blueprints):
                self._abandoned(blueprints)
            case _:
                logger.warning("a context does not know what to do with a %s", type(message).__name__)
        return None

    def _channel_for(self, name: ChannelName) -> ChannelHandle:
        self._check_open(str(name))
        handle = self._channels.get(str(name))
        if handle is None or handle.closed:
            config = ChannelConfig(name=name, schema=request_schema, mode=ChannelMode.EPHEMERAL)
            handle = ChannelHandle(config)
            self._channels[str(name)] = handle
        return handle

    def _the_supervisor(self, name: str) -> ActorRef[Any]:
        self._check_open(name)
        if self._supervisor is None or not self._supervisor.is_alive():
            if self._given is not None:
                raise ChannelLifecycleError(name, "the supervisor that the context was given has ended")
            self._supervisor = self._made_supervisor(name)
        return self._supervisor

    def _made_supervisor(self, name: str) -> ActorRef[Any]:
        try:
            return self._make_supervisor()
        except BaseException as error:  # not even SystemExit may end the root
            raise ChannelLifecycleError(name, f"no supervisor could be made: {kind_and_text(error)}") from error

    def _check_open(self, name: str) -> None:
        if self._shut:
            raise ChannelLifecycleError(name, "the context has been closed")

    def _abandoned(self, blueprints: tuple[Blueprint, ...]) -> None:
        for blueprint in blueprints:
            take_out(blueprint)
        for handle in list(self._channels.values()):
            handle.close()
        if self._supervisor is not None and self._supervisor is not self._given:
            self._supervisor.stop(block=False)
        self.finish_stop()


def take_out(blueprint: Blueprint) -> None:
    """Take a worker out of the pool, and end its participant if it is ours, without waiting for anything."""
    blueprint.retire()
    if blueprint.channel is not None and blueprint.entry is not None:
        blueprint.channel.session.notice(orders.Leave(blueprint.entry))
    blueprint.let_go()
    if blueprint.supervisor is not None:
        from ..messages.supervision import DeleteChild

        tell(blueprint.supervisor, DeleteChild(blueprint.child_id))
    blueprint.note_gone(ExitReason.normal())


def tell(ref: ActorRef[Any], message: object) -> None:
    """Tell an actor that may be gone."""
    try:
        ref.tell(message)
    except ActorDeadError:
        return
