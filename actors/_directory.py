"""What all parts of a context look up: its channels, its supervisor, its workers, the next worker id.

The root alone makes channels and supervisors and enters them here; whoever needs one looks first and asks the root
only for what is not there. Source: OTP, a protected ETS table, written by one process and read by all.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from pykka import ActorRef

from .blueprint import Blueprint
from .channel_handle import ChannelHandle


class Directory:
    """One for each context. Any thread may read it, number a worker, or enter one and take it out."""

    __slots__ = ("_leaving", "_numbers", "_workers", "channels", "draining", "shut", "supervisor")

    def __init__(self, supervisor: ActorRef[Any] | None) -> None:
        self.supervisor = supervisor
        self.channels: weakref.WeakValueDictionary[str, ChannelHandle] = weakref.WeakValueDictionary()
        self.draining = False
        """Whether no more channels are made."""
        self.shut = False
        """Whether nothing is made any more."""
        self._workers: dict[Blueprint, None] = {}
        self._leaving: dict[Blueprint, None] = {}
        self._numbers = itertools.count(1)

    def next_worker_id(self) -> str:
        """Give a worker id that was never given before."""
        return f"worker-{next(self._numbers)}"

    # --- workers ------------------------------------------------------------------------------------------------

    def enter(self, blueprint: Blueprint) -> None:
        """Take note of a worker that is about to be registered."""
        self._workers[blueprint] = None

    def claim(self, blueprint: Blueprint) -> bool:
        """Let a worker leave; `True` for the first caller only, who then sees to its end and says so by `forget`."""
        if self._workers.pop(blueprint, _ABSENT) is _ABSENT:
            return False
        self._leaving[blueprint] = None
        return True

    def forget(self, blueprint: Blueprint) -> None:
        """Remember a worker no more: it has left, or never came in."""
        self._workers.pop(blueprint, None)
        self._leaving.pop(blueprint, None)

    def workers(self) -> tuple[Blueprint, ...]:
        """List those that are registered, or on their way in or out, in the order in which they came."""
        return tuple({**self._leaving, **self._workers})

    # --- what there is one of -----------------------------------------------------------------------------------

    def live_supervisor(self) -> ActorRef[Any] | None:
        """Give the supervisor, unless there is none yet or it has ended."""
        supervisor = self.supervisor
        return None if supervisor is None or supervisor.actor_stopped.is_set() else supervisor

    def open_channel(self, name: str) -> ChannelHandle | None:
        """Give the channel of this name, unless there is none yet or it is closed."""
        handle = self.channels.get(name)
        return None if handle is None or handle.session.closed else handle


_ABSENT: Any = object()
