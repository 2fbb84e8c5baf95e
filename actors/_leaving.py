"""One drain of one worker, from the side of whoever asked for it: begin, wait, and have it leave.

The channel sees to it that the worker gets nothing new, and says when it has nothing left. Whoever waits takes the
worker out then, or when time is up; if he may not wait, or no longer wants to, that happens without him.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from pykka import Timeout

from ..messages.drain import DrainReport, Unfinished
from . import _orders as orders
from ._patience import wait_patiently
from .blueprint import Blueprint
from .runtime import here, runtime


class Doorkeeper(Protocol):
    """Who takes workers out of the pool: what all copies of a context share."""

    def claim(self, blueprint: Blueprint) -> bool:
        """Say that a worker leaves: `True` for the first caller, who has to see to it. Never waits."""
        ...

    def take_out(self, blueprint: Blueprint) -> tuple[Unfinished, ...]:
        """Take a worker out, step by step; give what it had not done. Blocks for a moment."""
        ...

    def forsake(self, blueprint: Blueprint) -> None:
        """Take a worker out without ever waiting."""


class Leaving:
    """Begins when it is made. `timeout_s` counts from then."""

    def __init__(self, door: Doorkeeper, blueprint: Blueprint, timeout_s: float) -> None:
        self._door = door
        self._blueprint = blueprint
        self._now = runtime().now
        self._began_s = self._now()
        self._until_s = self._began_s + max(0.0, timeout_s)
        self._drained = runtime().create_future()
        self._begin()

    def _begin(self) -> None:
        blueprint, channel, entry = self._blueprint, self._blueprint.channel, self._blueprint.entry
        assert channel is not None, "a worker that is registered has one"
        assert entry is not None, "a worker that is registered has one"
        blueprint.drain(self._drained)
        channel.session.notice(orders.Drain(entry))
        if blueprint.is_gone or not channel.session.is_reachable:
            blueprint.say_drained()

    def run(self) -> DrainReport:
        """Wait and take the worker out. On an actor's thread, which may not wait, only see to it that it leaves."""
        if here.mailbox is not None:
            self.leave_alone()
            return DrainReport(is_over=False)
        self.wait()
        return self.end()

    async def run_async(self) -> DrainReport:
        """Do the same without blocking the event loop."""
        import asyncio

        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained, self._left_s)
        except BaseException:
            self.leave_alone()
            raise
        return await asyncio.to_thread(self.end)

    def wait(self) -> None:
        """Block until it has done what it had, or time is up. Whoever is interrupted leaves the drain to itself."""
        try:
            wait_patiently(self._wait, self._left_s)
        except BaseException:
            self.leave_alone()
            raise

    def end(self) -> DrainReport:
        """Take it out; what it has not done goes to others. Raises `ChannelLifecycleError`, and it is out all the same.

        Of several who drain the same worker, all are told the same.
        """
        self._door.take_out(self._blueprint)
        return DrainReport(unfinished=self._blueprint.unfinished, took_s=self._now() - self._began_s)

    def leave_alone(self) -> None:
        """Have it taken out when it is drained, or time is up, by nobody who waits."""

        def go() -> None:
            overdue.cancel()
            self._door.forsake(self._blueprint)

        overdue = runtime().call_later(self._left_s, lambda: self._door.forsake(self._blueprint))
        self._drained.add_done_callback(go)

    @property
    def _left_s(self) -> float:
        return max(0.0, self._until_s - self._now())

    def _wait(self, timeout_s: float | None) -> bool:
        with contextlib.suppress(Timeout):
            self._drained.get(timeout=timeout_s)
        return self._drained.done()
