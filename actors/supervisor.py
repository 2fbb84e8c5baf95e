"""`SupervisorActor`: starts, links, restarts and stops children by OTP's rules.

What to do is decided in `_supervision`; this carries it out. No handler waits: what takes time comes back as a notice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import attrs
from pykka import Actor, ActorRef

from ..messages.error_base import LimenError
from ..messages.lifecycle import Down, ExitReason
from ..messages.supervision import (
    Backoff,
    ChildCounts,
    ChildRow,
    ChildSpec,
    ChildState,
    CountChildren,
    DeleteChild,
    RestartChild,
    RestartIntensity,
    StartChild,
    StartLike,
    StopChild,
    Strategy,
    WhichChildren,
)
from ..messages.supervision_errors import ChildStartFailed, NoSuchChild, SupervisorStopping
from ._supervision import Child, Supervision
from ._supervision_orders import Abandon, Finish, GiveUp, Kill, Order, Start, Stop, Unwait, Wait
from .links import LinkedActor, kill, notify
from .runtime import Reply, Timer, offer, offer_error

logger = logging.getLogger("limen")

_Request = StartChild | StartLike | StopChild | RestartChild | DeleteChild

_LATER: Any = object()
"""In place of a reply: it will come when the child is where it should be."""


@attrs.frozen
class _Waited:
    """The delay before a restart is over."""

    child_id: str
    incarnation: int


@attrs.frozen
class _Overdue:
    """A child has had its time to end."""

    child_id: str
    incarnation: int


class SupervisorActor(LinkedActor):
    """Takes `StartChild`, `StopChild`, `RestartChild`, `DeleteChild`, `WhichChildren`, `CountChildren`.

    Its children are linked to it: it learns of every end, and when it dies they die. Asked to stop, it stops them
    first, the last started first, each within its time; whoever asked is answered when all are gone. Its thread is a
    daemon, so that a forgotten supervisor holds up no process.
    """

    use_daemon_thread = True
    traps_exits: ClassVar[bool] = True

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: RestartIntensity = RestartIntensity(),  # noqa: B008 - a frozen value
        backoff: Backoff | None = None,
        abandon_after_s: float = 5.0,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Take the first children, which are started in order by `on_start`.

        If one of them cannot be started the supervisor ends with that error. A killed child that is still there after
        `abandon_after_s`, because its handler does not return, is abandoned: logged, counted, and waited for no more.
        """
        super().__init__()
        self._first_children = tuple(children)
        self._abandon_after_s = abandon_after_s
        self._core = Supervision(Strategy(strategy), intensity, backoff, chance or self._runtime.chance)
        self._refs: dict[str, ActorRef[Any]] = {}
        self._ids: dict[str, str] = {}
        self._lost: set[str] = set()
        self._timers: dict[str, Timer] = {}
        self._failures: dict[str, ChildStartFailed] = {}
        self._asked: dict[str, list[tuple[_Request, Reply[Any]]]] = {}
        self._postponed: deque[tuple[_Request, Reply[Any]]] = deque()
        self._dies_of: ExitReason | None = None

    # --- hooks ----------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Start the first children; the first that fails ends it all."""
        for spec in self._first_children:
            self._carry_out(self._core.add(spec))
            failure = self._failures.pop(spec.id, None)
            if failure is not None:
                self._carry_out(self._core.shut_down(failure))
                return

    def on_stop_asked(self) -> bool:
        """Stop the children first."""
        self._carry_out(self._core.shut_down())
        return False

    def on_exit(self, reason: ExitReason) -> None:
        """Leave no timer behind."""
        for timer in self._timers.values():
            timer.cancel()

    def on_receive(self, message: Any) -> Any:
        match message:
            case StartLike() | StartChild():
                return self._requested(message)
            case Down():
                return self._child_ended(message)
            case _Waited():
                return self._carry_out(self._core.waited(message.child_id, message.incarnation))
            case _Overdue():
                return self._carry_out(self._core.overdue(message.child_id, message.incarnation))
            case StopChild() | RestartChild() | DeleteChild():
                return self._requested(message)
            case WhichChildren():
                return tuple(self._row(child_id) for child_id in self._core.children)
            case CountChildren():
                core = self._core
                return ChildCounts(specs=len(core.children), active=core.active, abandoned=core.abandoned)
            case _:
                return super().on_receive(message)

    def places(self) -> list[tuple[str, str, int]]:
        """Give (URN, id, restarts) of each child that is there. Safe on any thread; may be a moment out of date."""
        children = self._core.children.copy()
        return [
            (urn, child_id, children[child_id].restarts)
            for urn, child_id in self._ids.copy().items()
            if child_id in children
        ]

    # --- requests -------------------------------------------------------------------------------------------------

    def _requested(self, message: _Request) -> Any:
        if self._core.busy:
            self._postponed.append((message, self.reply_later()))
            return None
        try:
            value = self._start_like(message) if type(message) is StartLike else self._do(message)
        except LimenError as error:
            logger.info("%s: %s", self, error)
            self._refuse(error)  # not `reply_later`, which would keep the error, and all that it leads to
            return None
        if value is _LATER:
            self._answer_later(message, self.reply_later())
            return None
        return value

    def _do_postponed(self) -> None:
        while self._postponed and not self._core.busy:
            message, reply = self._postponed.popleft()
            try:
                value = self._do(message)
            except LimenError as error:
                offer_error(reply, error)
                continue
            if value is _LATER:
                self._answer_later(message, reply)
            else:
                offer(reply, value)

    def _do(self, message: _Request) -> Any:
        """Do what is asked; raise what is wrong with it."""
        match message:
            case StartLike():
                return self._start_like(message)
            case StartChild(spec):
                return self._start_child(self._core.take_on(spec, spec.id, spec.start, spec.on_given_up))
            case RestartChild(child_id):
                if self._core.stopping:
                    raise SupervisorStopping(child_id)
                self._carry_out(self._core.restart(child_id))
            case StopChild(child_id) | DeleteChild(child_id):
                if child_id not in self._core.children:
                    raise NoSuchChild(child_id)
                if not self._core.stopping:  # else it is stopped in its turn
                    decide = self._core.stop if isinstance(message, StopChild) else self._core.delete
                    self._carry_out(decide(child_id))
        return _LATER

    def _start_like(self, said: StartLike) -> ActorRef[Any]:
        return self._start_child(self._core.take_on(said.spec, said.child_id, said.start, said.on_given_up))

    def _start_child(self, child: Child) -> ActorRef[Any]:
        following = self._start(child)
        if following:
            self._carry_out(following)
        if self._failures:
            failure = self._failures.pop(child.id, None)
            if failure is not None:
                raise failure
        return self._refs[child.id]

    def _answer_later(self, message: _Request, reply: Reply[Any]) -> None:
        child_id = message.spec.id if isinstance(message, StartChild) else message.child_id
        self._asked.setdefault(child_id, []).append((message, reply))
        self._answer(child_id)

    def _answer(self, child_id: str) -> None:
        """Answer those who wait for a child, if it is where it should be."""
        asked = self._asked.pop(child_id, None)
        failure = self._failures.pop(child_id, None)
        if asked is None:
            return
        child = self._core.children.get(child_id)
        state = child.state if child is not None else ChildState.DOWN
        if state is ChildState.STOPPING:
            self._asked[child_id] = asked
            return
        for message, reply in asked:
            if not isinstance(message, RestartChild):
                offer(reply, None)
            elif state is ChildState.RUNNING:
                offer(reply, self._refs[child_id])
            else:
                offer_error(reply, failure or ChildStartFailed(child_id, "it was stopped meanwhile"))

    def _row(self, child_id: str) -> ChildRow:
        child = self._core.children[child_id]
        return ChildRow(
            id=child_id,
            ref=self._refs.get(child_id),
            state=child.state,
            restart=child.spec.restart,
            restarts=child.restarts,
        )

    # --- exits ----------------------------------------------------------------------------------------------------

    def _child_ended(self, down: Down) -> None:
        urn = getattr(down.ref, "actor_urn", None)
        child_id = self._ids.get(urn) if urn is not None else None
        if child_id is not None:
            logger.info("%s: child %r ended: %s", self, child_id, down.reason)
            self._forget_ref(child_id)
            self._carry_out(self._core.exited(child_id, down.reason, self._runtime.now()))
            self._answer(child_id)
        elif urn in self._lost:
            logger.info("%s: an abandoned child ended after all: %s", self, down.ref)
            self._lost.discard(urn)
            self._core.abandoned -= 1
        elif urn is not None and urn == self._parent_urn:
            self._orphaned(down.reason)

    def _orphaned(self, reason: ExitReason) -> None:
        """End as the parent did, after the children. Source: OTP, a supervisor never outlives its parent."""
        if not reason.is_normal:
            self._dies_of = reason
        self._carry_out(self._core.shut_down())

    def _forget_ref(self, child_id: str) -> ActorRef[Any]:
        self._drop_timer(child_id)
        ref = self._refs.pop(child_id)
        del self._ids[ref.actor_urn]
        return ref

    # --- orders ---------------------------------------------------------------------------------------------------

    def _carry_out(self, orders: Iterable[Order]) -> None:
        queue = deque(orders)
        while queue:
            order = queue.popleft()
            if type(order) is Start:
                queue.extend(self._start(self._core.children[order.child_id]))
            else:
                queue.extend(self._carry_out_one(order))
            if not queue and self._core.ended_meanwhile:
                queue.extend(self._core.resume(self._runtime.now()))
        if self._postponed:
            self._do_postponed()

    def _carry_out_one(self, order: Order) -> Iterable[Order]:
        match order:
            case Stop(child_id, incarnation, timeout_s):
                self._refs[child_id].stop(block=False)
                if timeout_s is not None:
                    self._post_later(timeout_s, child_id, _Overdue(child_id, incarnation))
            case Kill(child_id, incarnation):
                kill(self._refs[child_id], "by its supervisor")
                self._post_later(self._abandon_after_s, child_id, _Overdue(child_id, incarnation))
            case Abandon(child_id):
                self._abandon(child_id)
            case Wait(child_id, incarnation, delay_s):
                self._post_later(delay_s, child_id, _Waited(child_id, incarnation))
            case Unwait(child_id):
                self._drop_timer(child_id)
            case GiveUp(child_id, reason):
                self._give_up(child_id, reason)
            case Finish(error):
                self._finish(error)
        return ()

    def _start(self, child: Child) -> Iterable[Order]:
        try:
            ref = self._start_by(child)
        except BaseException as error:
            logger.warning("%s: child %r could not be started", self, child.id, exc_info=error)
            reason = ExitReason.from_error(error)
            failure = ChildStartFailed(child.id, str(reason))
            failure.__cause__ = error
            if child.first or child.again:  # somebody waits for it
                self._failures[child.id] = failure
            return self._core.not_started(child.id, reason, self._runtime.now())
        self._refs[child.id] = ref
        self._ids[ref.actor_urn] = child.id
        return self._core.started(child.id, self._runtime.now())

    def _start_by(self, child: Child) -> ActorRef[Any]:
        start, spec = child.start, child.spec
        if isinstance(start, type):
            if issubclass(start, LinkedActor):
                return self.spawn_link(start, *spec.args, **spec.kwargs)
            if issubclass(start, Actor):
                start = start.start
        ref = start(*spec.args, **spec.kwargs) if spec.args or spec.kwargs else start()
        if not isinstance(ref, ActorRef):
            raise TypeError(f"the start of child {child.id!r} must return an ActorRef, not {type(ref).__name__}")
        if ref.actor_urn in self._ids:
            raise ValueError(f"the start of child {child.id!r} returned the ref of child {self._ids[ref.actor_urn]!r}")
        self.link(ref)
        return ref

    def _abandon(self, child_id: str) -> None:
        ref = self._forget_ref(child_id)
        self._lost.add(ref.actor_urn)
        logger.error("%s: child %r (%s) does not end, not even killed; it is abandoned", self, child_id, ref)
        self._answer(child_id)

    def _give_up(self, child_id: str, reason: ExitReason) -> None:
        logger.warning("%s: child %r crashed too often and is given up: %s", self, child_id, reason)
        on_given_up = self._core.children[child_id].on_given_up
        if on_given_up is None:
            return
        try:
            on_given_up(reason)
        except BaseException:
            logger.exception("%s: on_given_up of child %r failed", self, child_id)

    def _finish(self, error: BaseException | None) -> None:
        if error is not None:
            self.crash(error)
        elif self._dies_of is not None:
            self._die(self._dies_of)
        else:
            self.finish_stop()

    # --- timers ---------------------------------------------------------------------------------------------------

    def _post_later(self, delay_s: float, child_id: str, message: object) -> None:
        self._drop_timer(child_id)
        ref = self.actor_ref
        self._timers[child_id] = self._runtime.call_later(delay_s, lambda: notify(ref, message))

    def _drop_timer(self, child_id: str) -> None:
        timer = self._timers.pop(child_id, None)
        if timer is not None:
            timer.cancel()


class QuietSupervisor(SupervisorActor):
    """A supervisor without a thread, for children whose start never blocks."""

    never_blocks: ClassVar[bool] = True
