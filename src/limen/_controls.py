"""What an operator may do to an application's queues while they work: look at one, pause it, limit it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .activity import Activity
from .actors import _orders as orders
from .messages.errors import ConfigError
from .messages.limits import Limit
from .messages.pool import QueueRow
from .messages.pressure import Alert, Pressure, PressurePolicy, ScaleConsumers, ShedLoad, SlowProducer


class QueueControls:
    """The part of `Limen` that is for operators. Every method may be called on any thread, at any time.

    They raise `ChannelLifecycleError` where the queue cannot be reached.
    """

    def queue(self, queue: str) -> QueueRow:
        """Show one queue: how many wait and run, by activity; whether it is paused; its limits. A copy."""
        row: QueueRow = self._order(queue, orders.ShowQueue())
        return row

    def queues(self) -> list[QueueRow]:
        """Show all queues that were used by this application or, at a broker, by any. Copies, by name."""
        return [self.queue(each) for each in self._names_of_queues()]

    def declare(self, queue: str, activities: Iterable[Activity[..., Any] | str]) -> list[str]:
        """Have a broker keep requests for these activities from now on, before the first worker comes; name its queues.

        Without a broker there is nothing to make: a request waits for a worker only where it says so. Safe to repeat.
        Raises `ConfigError`.
        """
        kinds = [_type_of(queue, each) for each in activities]
        made: list[str] = self._order(queue, orders.Declare(tuple(dict.fromkeys(kinds))))
        return made

    def pause(self, queue: str) -> None:
        """Let nothing start on a queue until `resume`.

        What runs goes on, what waits keeps its place, and dispatches still come in and wait; their time limits run.
        When this returns nothing more is handed over; what a child process holds in advance still starts. No-op for a
        queue that is paused.
        """
        self._order(queue, orders.SetPaused(paused=True))

    def resume(self, queue: str) -> None:
        """Let a queue go on, in the order of those that wait. No-op for one that is not paused."""
        self._order(queue, orders.SetPaused(paused=False))

    def limit(
        self,
        queue: str,
        activity: Activity[..., Any] | str,
        *,
        max_concurrent: int | None = None,
        rate: float | None = None,
        per: float = 1.0,
        burst: int | None = None,
    ) -> None:
        """Limit one activity on a queue, over all its workers, in place of the limit before. With neither, lift it.

        At most `max_concurrent` run at once. At most `rate` start in `per` seconds, evenly spread: after a quiet time
        `burst` at once (by default 1, or what comes in a twentieth of a second), so that in any `T` seconds no more
        than `burst + rate * T / per` start. Retries count as starts. What is beyond the limit waits, keeps its order,
        and lets other activities pass. `activity` is given as such, or by its name. Raises `ConfigError`.
        """
        limit = Limit(max_concurrent=max_concurrent, rate=rate, per_s=per, burst=burst)
        kind = _type_of(queue, activity)
        self._order(queue, orders.SetLimit(kind, None if limit.is_none else limit))

    def bound(self, queue: str, *, waiting: int | None) -> None:
        """Let at most `waiting` requests wait on a queue for a slot; more are rejected, with `QueueFull`.

        With a bound, each handle's `signal` says what became of its request. Those that wait already stay. With `None`
        the queue is as it was: 100,000 may wait, and there are no signals. Raises `ConfigError`.
        """
        if waiting is not None:
            _check_bound(waiting)
        self._order(queue, orders.SetBound(waiting))

    def policies(self, queue: str, policies: Iterable[PressurePolicy]) -> None:
        """Let these policies act on a queue when its workers are full, in place of those before; `[]` lifts them.

        `ShedLoad` rejects dispatches below its priority, with `LoadShed`; `SlowProducer` lets whoever dispatches wait
        after each request, a second at most, so that no more come in than are finished (on an event loop only
        `dispatch_async` waits); `ScaleConsumers` and `Alert` are told as events of kind `PRESSURE`. One that has begun
        goes on until the score is 0.05 below its threshold, so that nothing flaps. Raises `ConfigError`.
        """
        given = tuple(policies)
        for each in given:
            if not isinstance(each, SlowProducer | ShedLoad | ScaleConsumers | Alert):
                raise ConfigError("policies", f"must be policies of limen.pressure, not {each!r}")
        self._order(queue, orders.SetPolicies(given))

    def pressure(self, queue: str) -> Pressure:
        """Say how full a queue's workers are, and which of its policies hold. A copy."""
        pressure: Pressure = self._order(queue, orders.ShowPressure())
        return pressure

    def _order(self, queue: str, order: object) -> Any:
        raise NotImplementedError

    def _names_of_queues(self) -> list[str]:
        raise NotImplementedError


def _check_bound(waiting: object) -> None:
    if not isinstance(waiting, int) or isinstance(waiting, bool) or waiting < 1:
        raise ConfigError("waiting", f"must be an int of 1 or more, or None, not {waiting!r}")


def _type_of(queue: str, activity: object) -> str:
    if isinstance(activity, str) and activity:
        return activity
    if not isinstance(activity, Activity):
        raise ConfigError("activity", f"must be an activity, or the name of one, not {activity!r}")
    if activity.queue != queue:
        raise ConfigError("activity", f"{activity.name} is for queue {activity.queue!r}, not {queue!r}")
    return activity.name
