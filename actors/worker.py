"""`WorkerActor`: the participant behind one incarnation of one worker.

Its life is the worker's: when it ends, for whatever reason, the worker is out of the pool. Its executor runs the
activities, so its own inbox stays free. A worker without activities is idle: it exists, ignores what it is sent and
stops when it is told.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from queue import Full
from typing import Any, Literal

from pykka import ActorRef

from ..messages.activities import Completed, Failed, completed_with
from ..messages.errors import ConfigError
from ..messages.events import EventKind
from ..messages.grace import Grace
from ..messages.lifecycle import ExitReason
from . import _orders as orders
from ._progress import Progress
from .attempt import Attempt, Boxed, Executor, Handler, Postbox
from .entry import WorkerEntry
from .links import LinkedActor, order_exit
from .runtime import runtime

logger = logging.getLogger("limen")

ExecutorName = Literal["thread", "asyncio", "process"]


class WorkerActor(LinkedActor):
    """One incarnation of a worker. Ends with its executor, and its executor with it."""

    never_blocks = True
    seldom_told = True
    ask_errors_crash = True

    def __init__(self, worker_id: str, executor: Executor | None = None) -> None:
        super().__init__()
        self.worker_id = worker_id
        self._executor = executor

    def __str__(self) -> str:
        """Name the worker too."""
        return f"{type(self).__name__} {self.worker_id} ({self.actor_urn})"

    def on_receive(self, message: object) -> None:
        """Ignore it: a worker is given its work through its channel."""

    def on_exit(self, reason: ExitReason) -> None:
        """Take the executor along."""
        if self._executor is not None:
            self._executor.close()


class WorkerReport:
    """What an executor says, brought to the caller and to the channel: the caller first.

    `channel` is filled in before the first attempt is handed over, `worker` by `speak_for`.
    """

    channel: Postbox
    _worker: ActorRef[Any] | None = None
    _failure: BaseException | None = None

    def speak_for(self, worker: ActorRef[Any]) -> None:
        """Say whose executor it is. One that has failed by then takes its worker along at once."""
        self._worker = worker
        if self._failure is not None:
            self._end_if_failed()

    def finished(self, attempt: Attempt, result: Completed | Failed | Boxed) -> Attempt | None:
        """Answer the caller where nothing else is to be done first, and tell the channel; perhaps it has more.

        Where the channel can end the attempt at once it does so before the answer: the caller then finds the slot free.
        """
        conversation = attempt.conversation
        if type(result) is Failed or not (conversation.is_plain or conversation.recorder is None):
            self._tell(attempt, result, answered=False)
            return None
        try:
            del attempt.open  # `attempt.claim()`
        except AttributeError:
            self._tell(attempt, result, answered=False)
            return None
        attempt.claimed = True
        following = self.channel.turn_over(attempt)
        try:
            conversation.answer(result)
        except Full:  # somebody outside has settled it
            pass
        except BaseException:  # a callback of the caller's: it must not cost the worker its slot
            logger.exception("a callback failed to take the result of %s", conversation.id)
        if following is None:
            self._tell(attempt, result, answered=True)
            return None
        attempt.conversation = None  # it holds its attempts: without this, both would wait for the garbage collector
        return None if following is True else following  # type: ignore[return-value]  # `False` is never given

    def _tell(self, attempt: Attempt, result: Completed | Failed | Boxed, *, answered: bool) -> None:
        """Write down the result and tell the channel, which does the rest."""
        plain = _unboxed(result)
        attempt.outcome = (plain, answered)
        self.channel.notice(orders.Finished(attempt, plain, answered=answered))

    def look(self, entry: WorkerEntry) -> Attempt | None:
        """Let the slot enter into the channel's book what has come in."""
        return self.channel.serve(entry)

    def progressed(self, attempt: Attempt, packed: bytes) -> None:
        """Keep it where the caller finds it; those who follow events hear the latest of it, now and then."""
        conversation = attempt.conversation
        if attempt.claimed or conversation is None:
            return
        progress: Progress = conversation.note_progress(attempt.number, packed)
        if progress.on_its_way or not self.channel.hearers[EventKind.PROGRESS]:
            return
        progress.on_its_way = True
        message = orders.Progressed(attempt, conversation)
        wait_s = progress.next_s - runtime().now()
        if wait_s <= 0:
            self.channel.notice(message)
        else:
            runtime().call_later(wait_s, lambda: self.channel.notice(message))

    def crashed(self, attempt: Attempt, reason: ExitReason) -> None:
        """Tell the channel."""
        self.channel.notice(orders.Crashed(attempt, reason))

    def returned(self, attempt: Attempt, reason: ExitReason) -> None:
        """Tell the channel."""
        self.channel.notice(orders.Returned(attempt, reason))

    def fatal(self, error: BaseException, culprit: Attempt | None = None) -> None:
        """End the worker; its end says the rest."""
        if culprit is not None and culprit.entry.culprit is None:
            culprit.entry.culprit = culprit
        self._failure = error
        self._end_if_failed()

    def _end_if_failed(self) -> None:
        if self._worker is not None and self._failure is not None:
            order_exit(self._worker, ExitReason.from_error(self._failure))


def _unboxed(result: Completed | Failed | Boxed) -> Completed | Failed:
    return completed_with(result[0]) if isinstance(result, tuple) else result


def make_executor(
    kind: ExecutorName, handlers: Mapping[str, Handler], slots: int, report: WorkerReport, name: str, *, grace: Grace
) -> Executor:
    """Make the executor of that kind. Raises `ConfigError` for a kind that is not one."""
    usual = _usual_maker(kind)
    make = runtime().executor_for(kind) or usual
    executor: Executor = make(handlers, slots, report, name, grace=grace)
    return executor


@functools.cache
def _usual_maker(kind: str) -> Callable[..., Executor]:
    """Give the class of that kind, imported with the first worker that has one."""
    if kind == "thread":
        from .executors.thread import ThreadExecutor

        return ThreadExecutor
    if kind == "asyncio":
        from .executors.asyncio import AsyncioExecutor

        return AsyncioExecutor
    if kind == "process":
        from .executors.process import ProcessExecutor

        return ProcessExecutor
    raise ConfigError("executor", f"must be one of thread, asyncio, process, not {kind!r}")
