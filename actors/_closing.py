"""The end of a context, on the thread of whoever closes it first; others join in, and may hurry it.

First, if there is time, every channel winds down. Then all that is there is taken down, in order: channels, workers,
the supervisor if it is ours, the root, and last the threads and processes of the executors.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Any, Protocol

from pykka import ActorDeadError, ActorRef, Timeout

from ..messages.drain import DrainReport, Unfinished
from ..messages.errors import ActorCrashed, LimenError, SelfAskError
from ..messages.lifecycle import ExitReason
from ._directory import Directory
from ._patience import wait_patiently
from .blueprint import Blueprint
from .channel_handle import COMMAND_TIMEOUT_S, ChannelHandle
from .context_actor import Abandoned, Shut, WindDown, nursery, tell
from .runtime import Reply, here, runtime

logger = logging.getLogger("limen")

HURRIED_S = 1.0
"""How long the taking down may take when somebody has lost his patience, with Ctrl-C for one."""


class House(Protocol):
    """What there is to be closed."""

    given: ActorRef[Any] | None
    """The supervisor that was given, and is not ours to stop."""
    directory: Directory
    """Where all that there is is found."""

    @property
    def root(self) -> ActorRef[Any] | None:
        """The root actor, if it was ever started."""
        ...

    def shut(self) -> tuple[Blueprint, ...]:
        """Let nothing be used any more, and give all workers that there were."""
        ...


class Closing:
    """One end of one context. The first call of `run` does it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._now = runtime().now
        self._began_s = self._now()
        self._until_s = self._began_s
        self._thread = threading.get_ident()
        self._lock = runtime().create_lock()
        self._channels: list[ChannelHandle] = []
        self._quiet: list[Reply[Any]] = []
        self._changed = runtime().create_event()
        self._over = runtime().create_event()
        self._report = DrainReport(is_over=False)

    # --- the first one ------------------------------------------------------------------------------------------

    def run(self, timeout_s: float, drain_s: float, *, run_waiting: bool) -> DrainReport:
        """Wind down for `drain_s` seconds at most, and take everything down within about `timeout_s` more."""
        root = self._house.root
        try:
            if root is None:
                self._house.shut()
                self._report = DrainReport()
            elif here.mailbox is not None:  # an actor that waited for others here might be waited for itself
                self._house.shut()
                tell(root, Abandoned())
            else:
                self._wind_down_and_end(root, timeout_s, drain_s, run_waiting=run_waiting)
        finally:
            self._over.set()
        return self._report

    def _wind_down_and_end(self, root: ActorRef[Any], timeout_s: float, drain_s: float, *, run_waiting: bool) -> None:
        try:
            if drain_s > 0:
                self._wind_down(root, drain_s, run_waiting=run_waiting)
        except BaseException:
            self._end(root, min(timeout_s, HURRIED_S))
            raise
        self._end(root, timeout_s)

    def _wind_down(self, root: ActorRef[Any], drain_s: float, *, run_waiting: bool) -> None:
        _ask(root, WindDown())
        with self._lock:
            self._channels = list(self._house.directory.channels.values())
            self._until_s = max(self._until_s, self._began_s + drain_s)
            self._say_until(run_waiting=run_waiting)
        while not all(each.done() for each in self._quiet) and (left_s := self._left_s) > 0:
            wait_patiently(self._changed.wait, left_s)
            self._changed.clear()

    def _say_until(self, *, run_waiting: bool) -> None:
        """Tell every channel until when it may go on."""
        for channel in self._channels:
            reply = runtime().create_future()
            reply.add_done_callback(self._changed.set)
            self._quiet.append(reply)
            channel.session.wind_down(self._until_s, runs_waiting=run_waiting, reply=reply)

    @property
    def _left_s(self) -> float:
        return max(0.0, self._until_s - self._now())

    # --- others -------------------------------------------------------------------------------------------------

    def join(self, timeout_s: float, drain_s: float, *, run_waiting: bool) -> DrainReport:
        """Hurry the end, if it is to come sooner than it was, and wait for it. Whoever may not wait only hurries."""
        with self._lock:
            sooner_s = self._now() + drain_s
            if self._channels and sooner_s < self._until_s:
                self._until_s = sooner_s
                self._say_until(run_waiting=run_waiting)
                self._changed.set()
        if here.mailbox is None and threading.get_ident() != self._thread:
            wait_patiently(self._over.wait, max(0.0, drain_s) + timeout_s)
        return self._report

    # --- taking down --------------------------------------------------------------------------------------------

    def _end(self, root: ActorRef[Any], timeout_s: float) -> None:
        deadline_s = self._now() + timeout_s
        blueprints, directory = self._house.shut(), self._house.directory
        _ask(root, Shut())
        unfinished: list[Unfinished] = []
        for channel in list(directory.channels.values()):
            unfinished += channel.session.close(_left(deadline_s))
        for blueprint in blueprints:
            blueprint.retire()
        self._end_participants(directory.supervisor, blueprints, deadline_s)
        _stop(root, deadline_s)
        _wait_for_executors(blueprints, deadline_s)
        self._report = DrainReport(unfinished=tuple(unfinished), took_s=self._now() - self._began_s)

    def _end_participants(
        self, supervisor: ActorRef[Any] | None, blueprints: tuple[Blueprint, ...], deadline_s: float
    ) -> None:
        """End what is ours, all at the same time; watch nothing any more."""
        for blueprint in blueprints:
            blueprint.let_go()
        if supervisor is None:
            pass
        elif supervisor is not self._house.given:
            _stop(supervisor, deadline_s)
        else:
            _delete_children(supervisor, [each for each in blueprints if each.owned], deadline_s)
        for blueprint in blueprints:
            blueprint.note_gone(ExitReason.normal())
            self._house.directory.forget(blueprint)  # whoever still holds it has nothing to give up


def _ask(root: ActorRef[Any], message: object) -> None:
    """Have the root do something; if it is dead, or does not answer, the end comes without it."""
    with suppress(ActorDeadError, ActorCrashed, Timeout, SelfAskError):
        root.ask(message, timeout=COMMAND_TIMEOUT_S)


def _delete_children(supervisor: ActorRef[Any], blueprints: list[Blueprint], deadline_s: float) -> None:
    try:
        replies = [supervisor.ask(nursery().removal(each), block=False) for each in blueprints]
    except ActorDeadError:
        return
    for blueprint, reply in zip(blueprints, replies, strict=True):
        try:
            reply.get(timeout=_left(deadline_s))
        except (ActorDeadError, LimenError):  # it has ended by itself
            continue
        except Timeout:
            logger.warning("%s did not stop in time", blueprint.child_id)


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
