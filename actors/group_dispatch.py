"""Hand a payload to one consumer of a group, and to another if that one ends before it answers.

Driven by three kinds of events, each of which comes at most once for each try: the routing function's choice, the
consumer's answer, the consumer's end. Nobody waits, nothing is polled. Knows nothing of channels.
"""

from __future__ import annotations

import _thread
from typing import Any

import attrs
from pykka import ActorDeadError
from pykka._envelope import Envelope

from ..messages.errors import ActorCrashed, ConversationTimeout
from ..messages.lifecycle import Down
from ..messages.pool import DispatchWorker
from ..messages.routing import RoutingMessage
from ..messages.routing_errors import (
    ConsumerFailed,
    EvaluationFailed,
    GroupDispatchFailed,
    NoConsumer,
    UnknownConsumerSelected,
)
from ._router_runner import RouterRunner, RoutingAnswer, RoutingFailed, router_runner
from ._routing_calls import told
from .consumer_group import ConsumerGroup
from .life import Watch
from .router_loader import LoadedRouter
from .runtime import Reply, runtime
from .watching import watch

__all__ = ["GroupOutcome", "group_dispatch"]


@attrs.frozen(kw_only=True)
class GroupOutcome:
    """A consumer acknowledged the payload or responded to it."""

    delivered_to: str
    answer: Any = attrs.field(repr=False)
    """What it answered; an acknowledgement may be anything, also None."""
    rerouted_from: tuple[str, ...] = ()
    """The consumers that ended while they had the payload, or before they could be given it, in that order."""
    reroute_times_s: tuple[float, ...] = ()
    """For each of them, from the instant of its end until the payload was forwarded to another."""


def group_dispatch(
    group: ConsumerGroup,
    payload: Any,
    router: LoadedRouter,
    message: RoutingMessage | None = None,
    *,
    timeout_s: float | None = None,
    runner: RouterRunner | None = None,
) -> Reply[GroupOutcome]:
    """Select a consumer, link to it, ask it the payload; if it ends before it answers, select among the others.

    Never blocks: gives a future, to be read with `get` or `await`. The participants are actor refs, Pykka's or ours.
    Any answer is success. Once a consumer has answered, nothing is left of the link. Errors: `NoConsumer`,
    `UnknownConsumerSelected`, `EvaluationFailed` (caused by a `RouterFailed`), `ConsumerFailed` (the consumer answered
    with an error, or cannot be linked), `ConversationTimeout` after `timeout_s`. Source: behaviours RT-16 to RT-19.
    """
    dispatch = _GroupDispatch(group, payload, router, message or RoutingMessage(), runner or router_runner())
    dispatch.begin(timeout_s)
    return dispatch.reply


@attrs.define(eq=False)
class _Try:
    """One consumer's turn. Its answer and its end race; the first to settle it counts."""

    consumer: DispatchWorker
    watch: Watch | None = None
    _open: _thread.LockType = attrs.field(init=False, factory=_thread.allocate_lock)

    def settle(self) -> bool:
        return self._open.acquire(blocking=False)

    @property
    def is_settled(self) -> bool:
        return self._open.locked()


class _GroupDispatch:
    """One dispatch on its way. One event at a time moves it on: each is started by the one before."""

    def __init__(
        self, group: ConsumerGroup, payload: Any, router: LoadedRouter, message: RoutingMessage, runner: RouterRunner
    ) -> None:
        self.reply: Reply[GroupOutcome] = runtime().create_future()
        self._group = group
        self._payload = payload
        self._router = router
        self._message = message
        self._runner = runner
        self._open = _thread.allocate_lock()
        self._try: _Try | None = None
        self._timer: Any = None
        self._gone: list[tuple[DispatchWorker, float]] = []
        """Who ended, and when."""
        self._times_s: list[float] = []

    def begin(self, timeout_s: float | None) -> None:
        if timeout_s is not None:
            self._timer = runtime().call_later(timeout_s, lambda: self._timed_out(timeout_s))
        self._select()

    def _select(self) -> None:
        consumers = self._group.snapshot()
        offered = tuple(each for each in consumers if not self._has_ended(each))
        if not offered:
            return self._fail(
                NoConsumer(rerouted_from=self._rerouted_from(), reason="excluded" if consumers else "empty")
            )
        views = tuple(each.consumer_state for each in offered)
        self._runner.evaluate(self._router, self._message, views, None, lambda answer: self._chosen(answer, offered))
        return None

    def _chosen(self, answer: RoutingAnswer, offered: tuple[DispatchWorker, ...]) -> None:
        if isinstance(answer, RoutingFailed):
            return self._fail(EvaluationFailed(str(answer.error), self._rerouted_from()), answer.error)
        if answer.worker_id is None:
            return self._fail_with_nobody("declined")
        for consumer in offered:
            if consumer.worker_id == answer.worker_id:
                return self._try_on(consumer)
        names = tuple(each.worker_id for each in offered)
        unknown = UnknownConsumerSelected(rerouted_from=self._rerouted_from(), consumer=answer.worker_id, offered=names)
        return self._fail(unknown)

    def _try_on(self, consumer: DispatchWorker) -> None:
        """Link first, then forward: an end in between is noticed."""
        attempt = self._try = _Try(consumer)
        try:
            attempt.watch = watch(consumer.participant, lambda down: self._ended(attempt, down))
            if attempt.is_settled or self._open.locked():
                return self._leave(attempt)
            answer = self._forward(consumer.participant)
        except Exception as error:  # noqa: BLE001 - whatever a participant is, its failure is an answer
            return self._failed(attempt, error)
        answer.add_done_callback(lambda: self._answered(attempt, answer))
        return None

    def _forward(self, participant: Any) -> Reply[Any]:
        """Ask. Not with the ref's own `ask`: the future of an actor that is not ours has no callbacks."""
        answer: Reply[Any] = runtime().create_future()
        participant.actor_inbox.put(Envelope(self._payload, reply_to=answer))
        now = runtime().now()
        self._times_s += [max(0.0, now - ended_s) for _, ended_s in self._gone[len(self._times_s) :]]
        return answer

    def _answered(self, attempt: _Try, answer: Reply[Any]) -> None:
        try:
            value = answer.get(timeout=0)
        except (ActorDeadError, ActorCrashed):
            return  # it has ended: the link tells when and why
        except BaseException as error:  # noqa: BLE001 - it is the consumer's
            self._failed(attempt, error)
            return
        if attempt.settle():
            self._leave(attempt)
            outcome = GroupOutcome(
                delivered_to=attempt.consumer.worker_id,
                answer=value,
                rerouted_from=self._rerouted_from(),
                reroute_times_s=tuple(self._times_s),
            )
            if self._close():
                self.reply.set(outcome)

    def _ended(self, attempt: _Try, down: Down) -> None:
        if attempt.settle():
            self._gone.append((attempt.consumer, down.at_s))
            self._select()

    def _failed(self, attempt: _Try, error: BaseException) -> None:
        if attempt.settle():
            self._leave(attempt)
            failed = ConsumerFailed(
                rerouted_from=self._rerouted_from(), consumer=attempt.consumer.worker_id, detail=told(error)
            )
            self._fail(failed, error)

    def _timed_out(self, timeout_s: float) -> None:
        attempt = self._try
        if self._close():
            if attempt is not None and attempt.settle():
                self._leave(attempt)
            self.reply.set_exception(ConversationTimeout(f"no consumer of the group answered within {timeout_s:g} s"))

    def _leave(self, attempt: _Try) -> None:
        if attempt.watch is not None:
            attempt.watch.cancel()

    def _close(self) -> bool:
        """Take the right to say how it went; once."""
        if not self._open.acquire(blocking=False):
            return False
        if self._timer is not None:
            self._timer.cancel()
        return True

    def _fail(self, error: GroupDispatchFailed, cause: BaseException | None = None) -> None:
        if self._close():
            error.__cause__ = cause
            self.reply.set_exception(error)

    def _fail_with_nobody(self, reason: str) -> None:
        self._fail(NoConsumer(rerouted_from=self._rerouted_from(), reason=reason))

    def _has_ended(self, consumer: DispatchWorker) -> bool:
        """Whether this very participant ended; another one under the same id may be chosen."""
        return any(
            gone.worker_id == consumer.worker_id and gone.participant == consumer.participant for gone, _ in self._gone
        )

    def _rerouted_from(self) -> tuple[str, ...]:
        return tuple(consumer.worker_id for consumer, _ in self._gone)
