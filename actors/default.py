"""The one context that a process has without asking for it, and the functions that use it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import attrs

from ..messages.activities import ActivityRequest, Completed, Failed, WorkerCapacity
from ..messages.dispatch_errors import DispatchFailed, RecorderFailed
from ..messages.drain import DrainReport, Waiting
from ..messages.errors import ConfigError, LimenError
from ..messages.names import dispatch_channel
from . import _orders as orders
from ._texts import text_of
from .context import WorkerContext
from .conversation import Conversation
from .recorder import Recorder
from .registration import WorkerRegistration
from .router_loader import LoadedRouter, load_router
from .runtime import runtime

DEFAULT_WORKFLOW_ID = "aion-dispatch"

_lock = threading.Lock()
_CONTEXT = object()
"""The key of the one context among what a runtime shares."""


def default_worker_context() -> WorkerContext:
    """Give the process-wide context; made on first use, the same for every thread, a fresh one after a fork."""
    with _lock:
        shared = runtime().shared
        if _CONTEXT not in shared:
            shared[_CONTEXT] = WorkerContext()
        context: WorkerContext = shared[_CONTEXT]
        return context


def close_default_worker_context(
    timeout: float = 10.0, *, drain: float = 0.0, waiting: Waiting = "fail"
) -> DrainReport:
    """Close the process-wide context, as `WorkerContext.close` does; the next use makes another."""
    with _lock:
        old: WorkerContext | None = runtime().shared.pop(_CONTEXT, None)
    return old.close(timeout, drain=drain, waiting=waiting) if old is not None else DrainReport()


def reset_default_worker_context() -> None:
    """Do so without draining. For tests."""
    close_default_worker_context()


def register_worker(namespace: str, task_queue: str, capacity: WorkerCapacity, **options: Any) -> WorkerRegistration:
    """Register a worker with the process-wide context, as `WorkerContext.register_worker` does."""
    return default_worker_context().register_worker(namespace, task_queue, capacity, **options)


def _new_id() -> str:
    return runtime().new_id()


def _workflow_id(given: str | None) -> str:
    return given or DEFAULT_WORKFLOW_ID


@attrs.frozen(repr=False)
class DispatchContext:
    """What a dispatch works with. Each part has a default that works: the process-wide pool, its router, no record."""

    workflow_id: str = attrs.field(default=DEFAULT_WORKFLOW_ID, converter=_workflow_id)
    worker_pool: WorkerContext = attrs.field(factory=default_worker_context)
    router: Any = None
    """A built-in router or a routing function to deploy on the channel; `None` leaves the one that is there."""
    conversations: Callable[..., Conversation] = Conversation
    """Makes the conversation of a dispatch."""
    recorder: Recorder | None = None
    ids: Callable[[], str] = _new_id
    """Makes the id of a conversation."""

    def __repr__(self) -> str:
        """Show the workflow id only."""
        return f"<DispatchContext {self.workflow_id}>"


def dispatch_activity(
    namespace: str,
    task_queue: str,
    request: ActivityRequest,
    context: DispatchContext | None = None,
    *,
    timeout: float | None = None,
    key: str | None = None,
) -> Completed:
    """Hand one activity to one worker of a task queue and block for its result.

    With a `key`, the work is done once for all who ask for it under this key. If the recorder has the conversation's
    outcome, that is the answer, and nothing else is touched. Raises `InvalidChannelName`; `ConfigError` when the
    request names another queue; `DispatchFailed` with its cause; `ChannelLifecycleError`; `pykka.Timeout` after
    `timeout` seconds, while the work goes on.
    """
    context = context or DispatchContext()
    name = dispatch_channel(namespace, task_queue)
    if request.task_queue not in {None, task_queue}:
        raise ConfigError("task_queue", f"the request is for {request.task_queue!r}, the call for {task_queue!r}")
    conversation_id = _checked_id(context.ids())
    recorded = _recorded(str(name), context, conversation_id)
    if recorded is not None:
        return _replayed(str(name), context.workflow_id, recorded)
    conversation = context.conversations(
        conversation_id,
        attrs.evolve(request, task_queue=task_queue),
        runtime().create_future(),
        channel_name=str(name),
        workflow_id=context.workflow_id,
        recorder=context.recorder,
        **({} if key is None else {"key": key}),
    )
    if context.router is not None:
        _deploy(context, namespace, task_queue)
    context.worker_pool.submit(namespace, task_queue, conversation)
    return conversation.result(timeout)


def _checked_id(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ConfigError("ids", f"must give a text, and not an empty one, but gave a {type(given).__name__}")
    return given


def _recorded(name: str, context: DispatchContext, conversation_id: str) -> Completed | Failed | None:
    if context.recorder is None:
        return None
    try:
        return context.recorder.outcome(conversation_id)
    except Exception as error:
        raise RecorderFailed(name, context.workflow_id, "outcome", ran=False) from error


def _replayed(name: str, workflow_id: str, recorded: Completed | Failed) -> Completed:
    if isinstance(recorded, Completed):
        return recorded
    if isinstance(recorded.error, LimenError):
        raise recorded.error
    raise DispatchFailed(name, workflow_id, text_of(recorded.error)) from recorded.error


def _deploy(context: DispatchContext, namespace: str, task_queue: str) -> None:
    router = context.router
    loaded = router if hasattr(router, "pick") or isinstance(router, LoadedRouter) else load_router(router)
    session = context.worker_pool.channel(namespace, task_queue).session
    if session.routing_slot.active is not loaded:
        session.ask(orders.Deploy(loaded))


def _forget_parent() -> None:
    """In a forked child: whoever held the lock is not there."""
    global _lock  # noqa: PLW0603 - as above
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
