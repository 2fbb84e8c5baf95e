"""What a supervisor does, decided: whom to start, stop, kill, wait for and give up, and in which order.

Told of facts, it returns orders. Knows no thread, clock, ref or actor: times and chance are handed in.
Source: OTP, supervisor; Akka for backoff and for limits of a single child.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from ..messages.lifecycle import ExitReason
from ..messages.supervision import (
    Backoff,
    ChildSpec,
    ChildState,
    RestartIntensity,
    RestartType,
    Strategy,
)
from ..messages.supervision_errors import ChildExists, NoSuchChild, SupervisorGaveUp, SupervisorStopping
from ._supervision_orders import Abandon, Finish, GiveUp, Kill, Order, Start, Stop, Unwait, Wait

_GONE = (ChildState.DOWN, ChildState.WAITING, ChildState.STARTING)
_RUNNING = ChildState.RUNNING
"""Looked up once: a member of an enumeration costs more to look up than to enter."""


class RestartWindow:
    """Counts restarts in a window that slides."""

    __slots__ = ("_instants", "limit")

    def __init__(self, limit: RestartIntensity) -> None:
        self.limit = limit
        self._instants: deque[float] | None = None
        """Most children never crash."""

    def passed_by(self, now_s: float) -> bool:
        """Count one more restart; say whether it is one too many."""
        instants = self._instants = self._instants or deque()
        instants.append(now_s)
        while instants[0] < now_s - self.limit.within_s:
            instants.popleft()
        return len(instants) > self.limit.max_restarts

    def clear(self) -> None:
        """Forget what was."""
        self._instants = None


def delay_s(backoff: Backoff | None, tries: int, chance: float) -> float:
    """Say how long to wait before restart number `tries` in a row, from 0; `chance` is in [0, 1)."""
    if backoff is None:
        return 0.0
    try:
        full_s = min(backoff.initial_s * backoff.factor**tries, backoff.max_s)
    except OverflowError:
        full_s = backoff.max_s
    return full_s * (1.0 - backoff.jitter * chance)


@attrs.define(eq=False)
class Child:
    """What the supervisor knows of one child. Begins where it is to be started now, for the first time."""

    id: str
    spec: ChildSpec
    """Perhaps the same for many, which differ in what is named beside it."""
    start: Callable[..., Any]
    on_given_up: Callable[[Any], object] | None
    window: RestartWindow | None
    state: ChildState = ChildState.STARTING
    wanted: bool = True
    """Whether it should run: not so after it was stopped on request, or given up."""
    first: bool = True
    """Whether it has never run."""
    doomed: bool = False
    """Whether it is to be forgotten when it is gone."""
    again: bool = False
    """Whether it is to be started again when it is gone, on request."""
    killed: bool = False
    tries: int = 0
    """Restarts in a row, none of which has lasted."""
    restarts: int = 0
    started_s: float = 0.0
    incarnation: int = 1
    """Which start of it this is; what speaks of an earlier one comes too late."""


@attrs.define(eq=False)
class _Plan:
    """Several children stopped one after the other, the last first; then some started, the first first."""

    stops: list[str]
    """In start order: the next to stop is the last."""
    starts: deque[str] = attrs.field(factory=deque)
    culprit: str | None = None
    delay_s: float = 0.0
    finish: Finish | None = None
    members: frozenset[str] = frozenset()


class Supervision:
    """The book of one supervisor. One thread at a time."""

    def __init__(
        self,
        strategy: Strategy,
        intensity: RestartIntensity,
        backoff: Backoff | None,
        chance: Callable[[], float],
    ) -> None:
        self.children: dict[str, Child] = {}
        """In start order."""
        self.active = 0
        self.abandoned = 0
        self._strategy = strategy
        self._window = RestartWindow(intensity)
        self._backoff = backoff
        self._chance = chance
        self._plan: _Plan | None = None
        self.ended_meanwhile: dict[str, ExitReason] = {}
        """Children outside a plan that ended while it was carried out."""

    @property
    def stopping(self) -> bool:
        """Whether it is on its way out, and starts nothing any more."""
        return self._plan is not None and self._plan.finish is not None

    @property
    def busy(self) -> bool:
        """Whether a group is being restarted, so that requests have to wait."""
        return self._plan is not None and self._plan.finish is None

    # --- requests -------------------------------------------------------------------------------------------------

    def add(self, spec: ChildSpec) -> Iterable[Order]:
        """Take a new child on and start it. Raises `ChildExists`, `SupervisorStopping`."""
        self.take_on(spec, spec.id, spec.start, spec.on_given_up)
        return (Start(spec.id),)

    def take_on(
        self,
        spec: ChildSpec,
        child_id: str,
        start: Callable[..., Any],
        on_given_up: Callable[[Any], object] | None,
    ) -> Child:
        """Take a new child on, which is to be started now. Raises `ChildExists`, `SupervisorStopping`."""
        if self._plan is not None and self.stopping:
            raise SupervisorStopping(child_id)
        if child_id in self.children:
            raise ChildExists(child_id)
        intensity = spec.intensity
        window = RestartWindow(intensity) if intensity is not None else None
        child = self.children[child_id] = Child(child_id, spec, start, on_given_up, window)
        return child

    def stop(self, child_id: str) -> Iterable[Order]:
        """Stop one child on request. Raises `NoSuchChild`."""
        child = self._named(child_id)
        child.wanted = child.again = False
        return self._take_down(child)

    def delete(self, child_id: str) -> Iterable[Order]:
        """Stop one child and forget it. Raises `NoSuchChild`."""
        child = self._named(child_id)
        child.wanted = child.again = False
        child.doomed = True
        return self._take_down(child)

    def restart(self, child_id: str) -> Iterable[Order]:
        """Start one child again on request, after stopping it if need be. Raises `NoSuchChild`."""
        child = self._named(child_id)
        child.wanted = child.again = True
        child.doomed = False
        if child.window is not None:
            child.window.clear()
        return self._take_down(child)

    def shut_down(self, error: BaseException | None = None) -> Iterable[Order]:
        """Stop all children, the last started first; then finish, with the error if there is one."""
        if self.stopping:
            return ()
        self.ended_meanwhile.clear()
        self._plan = _Plan(stops=list(self.children), finish=Finish(error), members=frozenset(self.children))
        return self._go_on()

    # --- facts ----------------------------------------------------------------------------------------------------

    def started(self, child_id: str, now_s: float) -> Iterable[Order]:
        """A `Start` was carried out."""
        child = self.children[child_id]
        child.state = _RUNNING
        self.active += 1
        if not child.first:
            child.restarts += 1
        child.first = child.again = False
        child.started_s = now_s
        return self._go_on() if self._plan is not None else ()

    def not_started(self, child_id: str, reason: ExitReason, now_s: float) -> Iterable[Order]:
        """A `Start` failed. At a restart this is a crash; a new child is forgotten, a requested restart is off."""
        child = self.children[child_id]
        self._enter(child, ChildState.DOWN)
        if child.first:
            del self.children[child_id]
            return ()
        if child.again:
            child.again = False
            return self._taken_down(child)
        return self._crashed(child, reason, now_s)

    def exited(self, child_id: str, reason: ExitReason, now_s: float) -> Iterable[Order]:
        """A child is gone, for whatever reason."""
        child = self.children[child_id]
        told_to = child.state is ChildState.STOPPING
        self._enter(child, ChildState.DOWN)
        if self._plan is not None and child_id in self._plan.members:
            return self._go_on()
        if told_to:
            return self._taken_down(child)
        if self._plan is not None:
            self.ended_meanwhile[child_id] = reason
            return ()
        return self._ended(child, reason, now_s)

    def waited(self, child_id: str, incarnation: int) -> Iterable[Order]:
        """The time of a `Wait` is over."""
        child = self.children.get(child_id)
        if child is None or child.state is not ChildState.WAITING or child.incarnation != incarnation:
            return ()
        self._enter(child, ChildState.DOWN)
        return self._go_on() if self._plan is not None else self._start(child)

    def overdue(self, child_id: str, incarnation: int) -> Iterable[Order]:
        """A child that was told to stop, or was killed, is still there."""
        child = self.children.get(child_id)
        if child is None or child.state is not ChildState.STOPPING or child.incarnation != incarnation:
            return ()
        if not child.killed:
            child.killed = True
            return (Kill(child_id, incarnation),)
        self.abandoned += 1
        killed = ExitReason.killed("it could not be ended")
        return (Abandon(child_id, incarnation), *self.exited(child_id, killed, 0.0))

    def resume(self, now_s: float) -> Iterable[Order]:
        """Look after those that ended while a group was being restarted. To be called when no order is left."""
        orders: list[Order] = []
        while self.ended_meanwhile and self._plan is None:
            child_id = next(iter(self.ended_meanwhile))
            reason = self.ended_meanwhile.pop(child_id)
            child = self.children.get(child_id)
            if child is not None and child.state is ChildState.DOWN:
                orders += self._ended(child, reason, now_s)
        return orders

    # --- one child ------------------------------------------------------------------------------------------------

    def _named(self, child_id: str) -> Child:
        child = self.children.get(child_id)
        if child is None:
            raise NoSuchChild(child_id)
        return child

    def _enter(self, child: Child, state: ChildState) -> None:
        self.active += (state not in _GONE) - (child.state not in _GONE)
        child.state = state

    def _start(self, child: Child) -> Iterable[Order]:
        child.incarnation += 1
        child.killed = False
        child.state = ChildState.STARTING  # from one way to be gone to another
        return (Start(child.id),)

    def _tell_to_stop(self, child: Child) -> Iterable[Order]:
        self._enter(child, ChildState.STOPPING)
        timeout_s = child.spec.shutdown_timeout_s
        if timeout_s == 0:
            child.killed = True
            return (Kill(child.id, child.incarnation),)
        return (Stop(child.id, child.incarnation, timeout_s),)

    def _take_down(self, child: Child) -> Iterable[Order]:
        """See that a child is gone, then do what it is meant for."""
        if child.state is ChildState.RUNNING:
            return self._tell_to_stop(child)
        if child.state is ChildState.STOPPING:
            return ()
        if child.state is ChildState.WAITING:
            self._enter(child, ChildState.DOWN)
            return (Unwait(child.id), *self._taken_down(child))
        return self._taken_down(child)

    def _taken_down(self, child: Child) -> Iterable[Order]:
        if child.again:
            return self._start(child)
        if child.doomed or child.spec.restart is RestartType.TEMPORARY:
            del self.children[child.id]
        return ()

    def _ended(self, child: Child, reason: ExitReason, now_s: float) -> Iterable[Order]:
        """Say what follows when a child ended by itself."""
        if child.spec.restart is RestartType.TEMPORARY:
            del self.children[child.id]
            return ()
        if child.spec.restart is RestartType.TRANSIENT and reason.is_normal:
            return ()
        backoff = child.spec.backoff or self._backoff
        if backoff is not None and now_s - child.started_s >= _lasting_s(backoff):
            child.tries = 0
        return self._crashed(child, reason, now_s)

    def _crashed(self, child: Child, reason: ExitReason, now_s: float) -> Iterable[Order]:
        window = child.window or self._window
        if window.passed_by(now_s):
            return self._too_often(child, reason)
        wait_s = delay_s(child.spec.backoff or self._backoff, child.tries, self._chance())
        child.tries += 1
        if self._strategy is not Strategy.ONE_FOR_ONE:
            return self._restart_group(child, wait_s)
        return self._wait(child, wait_s) if wait_s > 0 else self._start(child)

    def _too_often(self, child: Child, reason: ExitReason) -> Iterable[Order]:
        if child.window is not None:
            child.wanted = False
            return (GiveUp(child.id, reason), *(self._go_on() if self._plan is not None else ()))
        limit = self._window.limit
        error = SupervisorGaveUp(child.id, str(reason), limit.max_restarts, limit.within_s)
        error.__cause__ = reason.error
        return self.shut_down(error)

    def _wait(self, child: Child, wait_s: float) -> Iterable[Order]:
        self._enter(child, ChildState.WAITING)
        return (Wait(child.id, child.incarnation, wait_s),)

    # --- several children -----------------------------------------------------------------------------------------

    def _restart_group(self, culprit: Child, wait_s: float) -> Iterable[Order]:
        ids = self._affected(culprit)
        starts = deque(each for each in ids if self._comes_back(self.children[each]))
        for each in ids:
            self.ended_meanwhile.pop(each, None)
        self._plan = _Plan(ids, starts, culprit.id, wait_s, members=frozenset(ids))
        return self._go_on()

    def _affected(self, culprit: Child) -> list[str]:
        """Name those that share the fate of one child, in start order."""
        if self._strategy is Strategy.ONE_FOR_ALL:
            return list(self.children)
        ids: list[str] = []
        for each in reversed(self.children):
            ids.append(each)
            if each == culprit.id:
                break
        return ids[::-1]

    def _comes_back(self, child: Child) -> bool:
        return child.wanted and not child.doomed and child.spec.restart is not RestartType.TEMPORARY

    def _go_on(self) -> Iterable[Order]:
        """Take the plan's next steps, as far as there is nothing to wait for."""
        plan = self._plan
        assert plan is not None, "only a plan can go on"
        orders: list[Order] = []
        while plan.stops:
            child = self.children.get(plan.stops[-1])
            if child is not None and child.state is ChildState.RUNNING:
                orders += self._tell_to_stop(child)
            if child is not None and child.state is ChildState.STOPPING:
                return orders
            plan.stops.pop()
            if child is not None:
                orders += self._out_of_the_way(child, plan)
        if plan.finish is not None:
            return [*orders, plan.finish]
        return [*orders, *self._bring_up(plan)]

    def _out_of_the_way(self, child: Child, plan: _Plan) -> Iterable[Order]:
        """Deal with a child of the plan that is not there (any more)."""
        orders: tuple[Order, ...] = ()
        if child.state is ChildState.WAITING:
            self._enter(child, ChildState.DOWN)
            orders = (Unwait(child.id),)
        if child.doomed or (plan.finish is None and child.spec.restart is RestartType.TEMPORARY):
            del self.children[child.id]
        return orders

    def _bring_up(self, plan: _Plan) -> Iterable[Order]:
        if plan.delay_s > 0:
            wait_s, plan.delay_s = plan.delay_s, 0.0
            assert plan.culprit is not None, "only a crash makes others wait"
            return self._wait(self.children[plan.culprit], wait_s)
        while plan.starts:
            child = self.children.get(plan.starts.popleft())
            if child is not None:
                return self._start(child)
        self._plan = None
        return ()


def _lasting_s(backoff: Backoff) -> float:
    return backoff.max_s if backoff.reset_after_s is None else backoff.reset_after_s
