"""`ContextActor`, the root of one dispatcher.

It makes the channels and the supervisor, each on first need, and ends them. It never waits for anybody.
"""

from __future__ import annotations

import functools
import logging
import types
from collections.abc import Callable
from typing import Any

import attrs
from pykka import ActorDeadError, ActorRef

from ..messages.channel import ChannelConfig, ChannelMode
from ..messages.errors import ChannelLifecycleError, DispatcherDraining
from ..messages.lifecycle import ExitReason
from ..messages.names import ChannelName
from ..messages.wire import request_schema
from . import _orders as orders
from ._directory import Directory
from ._texts import kind_and_text
from .blueprint import Blueprint
from .channel_handle import ChannelHandle
from .links import LinkedActor

logger = logging.getLogger("limen")


@attrs.frozen(eq=False, repr=False)
class ChannelFor:
    """Give the channel of this name; made if need be."""

    name: ChannelName


@attrs.frozen(eq=False, repr=False)
class TheSupervisor:
    """Give the supervisor, for a worker of this channel; made if need be."""

    name: str


@attrs.frozen(eq=False, repr=False)
class WindDown:
    """Make no more channels: what the directory names then may still be used."""


@attrs.frozen(eq=False, repr=False)
class Shut:
    """Make nothing any more: what the directory names then is all there is."""


@attrs.frozen(eq=False)
class Forsaken:
    """Nobody holds this worker's registration any more."""

    blueprint: Blueprint


@attrs.frozen(eq=False, repr=False)
class Abandoned:
    """Nobody holds this context any more, or nobody can wait for its end: end all that is there."""


class ContextActor(LinkedActor):
    """The root of one dispatcher."""

    never_blocks = True

    def __init__(self, directory: Directory, make_supervisor: Callable[[], ActorRef[Any]]) -> None:
        """Enter what is made into the directory. A supervisor that is there already is not ours to replace or stop."""
        super().__init__()
        self._directory = directory
        self._given = directory.supervisor
        self._make_supervisor = make_supervisor

    def on_receive(self, message: object) -> object:
        """Handle one order."""
        match message:
            case ChannelFor(name):
                return self._channel_for(name)
            case TheSupervisor(name):
                return self._the_supervisor(name)
            case Forsaken(blueprint):
                self._take_out(blueprint)
            case WindDown():
                self._directory.draining = True
            case Shut():
                self._directory.shut = True
            case Abandoned():
                self._abandoned()
            case _:
                logger.warning("a context does not know what to do with a %s", type(message).__name__)
        return None

    def _channel_for(self, name: ChannelName) -> ChannelHandle:
        self._check_open(str(name))
        handle = self._directory.open_channel(str(name))
        if handle is None:
            if self._directory.draining:
                raise DispatcherDraining(str(name))
            config = ChannelConfig(name=name, schema=request_schema, mode=ChannelMode.EPHEMERAL)
            handle = ChannelHandle(config)
            self._directory.channels[str(name)] = handle
        return handle

    def _the_supervisor(self, name: str) -> ActorRef[Any]:
        self._check_open(name)
        supervisor = self._directory.live_supervisor()
        if supervisor is None:
            if self._given is not None:
                raise ChannelLifecycleError(name, "the supervisor that the context was given has ended")
            supervisor = self._directory.supervisor = self._made_supervisor(name)
        return supervisor

    def _made_supervisor(self, name: str) -> ActorRef[Any]:
        try:
            return self._make_supervisor()
        except BaseException as error:  # not even SystemExit may end the root
            raise ChannelLifecycleError(name, f"no supervisor could be made: {kind_and_text(error)}") from error

    def _check_open(self, name: str) -> None:
        if self._directory.shut:
            raise ChannelLifecycleError(name, "the context has been closed")

    def _abandoned(self) -> None:
        self._directory.shut = True
        for handle in list(self._directory.channels.values()):
            handle.close()  # first, so that what it has is not handed on
        for blueprint in self._directory.workers():
            self._take_out(blueprint)
        supervisor = self._directory.supervisor
        if supervisor is not None and supervisor is not self._given:
            supervisor.stop(block=False)
        self.finish_stop()

    def _take_out(self, blueprint: Blueprint) -> None:
        """Take a worker out of the pool, and end its participant if it is ours, without waiting for anything."""
        blueprint.retire()
        if blueprint.channel is not None and blueprint.entry is not None:
            blueprint.channel.session.notice(orders.Leave(blueprint.entry))
        blueprint.let_go()
        if blueprint.supervisor is not None:
            tell(blueprint.supervisor, nursery().removal(blueprint))
        blueprint.note_gone(ExitReason.normal())
        self._directory.forget(blueprint)


@functools.cache
def nursery() -> types.ModuleType:
    """Give what makes children of workers; supervision is imported with the first of them."""
    from . import _nursery

    return _nursery


def tell(ref: ActorRef[Any], message: object) -> None:
    """Tell an actor that may be gone."""
    try:
        ref.tell(message)
    except ActorDeadError:
        return
