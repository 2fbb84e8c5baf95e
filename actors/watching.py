"""`watch`: the one primitive by which anything learns of a death.

It takes whatever can be linked, and calls back exactly once, by event. New kinds of participant are added with
`watchable`.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from pykka import ActorRef

from ..messages.lifecycle import Down, ExitReason
from .life import Life, OnExit, Watch
from .runtime import runtime
from .stock import StockDeath

logger = logging.getLogger("limen")


@functools.singledispatch
def watchable(participant: Any, on_exit: OnExit) -> Watch:
    """Watch one kind of participant. Register a function here to make another kind linkable.

    Processes and asyncio tasks are registered when the first of their kind is met, so that nobody who has none pays.
    """
    from .participants import kind_of

    found = kind_of(participant)
    if found is None:
        msg = f"cannot watch a {type(participant).__name__}: it is no actor ref, process or task"
        raise TypeError(msg)
    kind, watch_kind = found
    watchable.register(kind, watch_kind)
    return watch_kind(participant, on_exit)


def watch(participant: Any, on_exit: OnExit) -> Watch:
    """Have `on_exit(Down)` called exactly once when `participant` ends; at once, with `noproc`, if it has ended.

    Does not block. `on_exit` runs on the thread that notices the death and must not block: send a message.
    Raises `TypeError` for something that cannot be watched.
    """
    if type(participant) is ActorRef:  # the usual case, for which there is nothing to look up
        return _watch_actor(participant, on_exit)
    return watchable(participant, on_exit)


def gone(participant: Any, on_exit: OnExit) -> Watch:
    """Answer a watch on something that is not there any more."""
    try:
        on_exit(Down(participant, ExitReason.noproc(), runtime().now()))
    except Exception:
        logger.exception("a watcher failed to take the notice that %s is gone", participant)
    return Watch()


@watchable.register
def _watch_actor(ref: ActorRef, on_exit: OnExit) -> Watch:  # type: ignore[type-arg]  # singledispatch wants the class
    actor = ref._actor_weakref()  # noqa: SLF001 - Pykka gives no other way to the actor
    if actor is None:
        return gone(ref, on_exit)
    life: Life | None = getattr(actor, "_life", None)
    if life is None:
        return StockDeath.of(actor).watch(on_exit) or gone(ref, on_exit)
    return life.watch(on_exit) or gone(ref, on_exit)
