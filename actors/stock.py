"""Learns of the end of a Pykka actor that is not ours, by event, though Pykka announces none.

Two things are wrapped on the instance: the flag that every Pykka actor sets when it ends, and the farewell of its
thread, for an actor that died without setting the flag. Knows Pykka's and `threading`'s insides; nothing else may.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from pykka import ActorRef, ActorRegistry, ThreadingActor

from ..messages.lifecycle import Down, ExitKind, ExitReason
from .life import Life, OnExit, Watch
from .runtime import runtime

CONFIRM_AFTER_S = 0.5
"""How long a threadless actor is given to turn out to be just starting, before it counts as dead."""


class StockDeath:
    """The one observer of one stock actor."""

    _adding = threading.Lock()

    def __init__(self, actor: Any) -> None:
        self._ref: ActorRef[Any] = actor.actor_ref
        self._life = Life()
        self._wrap_flag(actor.actor_stopped)
        if isinstance(actor, ThreadingActor):
            self._wrap_thread(actor)

    @classmethod
    def of(cls, actor: Any) -> StockDeath:
        """Give the one observer of this actor."""
        with cls._adding:
            death: StockDeath | None = actor.__dict__.get("_limen_death")
            if death is None:
                death = actor.__dict__["_limen_death"] = cls(actor)
            return death

    def watch(self, on_exit: OnExit) -> Watch | None:
        """Watch; `None` for an actor that is gone."""
        made = self._life.watch(on_exit)
        if made is not None and self._ref.actor_stopped.is_set():
            self._over(ExitReason.noproc())
        return made

    def _wrap_flag(self, stopped: threading.Event) -> None:
        set_stopped = stopped.set

        def set_and_tell() -> None:
            set_stopped()
            error = sys.exc_info()[1]  # Pykka sets the flag while it handles what ended the actor
            self._over(ExitReason.normal() if error is None else ExitReason.from_error(error))

        stopped.set = set_and_tell  # type: ignore[method-assign]

    def _wrap_thread(self, actor: Any) -> None:
        """Notice a thread that ends with the flag not set: Pykka lets a `BaseException` in `on_start` do that."""
        thread = _thread_of(actor)
        if thread is not None:
            self._wrap_farewell(thread)
        if thread is None or _thread_of(actor) is not thread:  # it is about to start, or was quicker than we
            runtime().call_later(CONFIRM_AFTER_S, lambda: self._confirm(actor))

    def _wrap_farewell(self, thread: threading.Thread) -> None:
        farewell = thread._delete  # type: ignore[attr-defined]  # noqa: SLF001 - threads announce their end nowhere else

        def tell_and_leave() -> None:
            self._thread_ended()
            farewell()

        thread._delete = tell_and_leave  # type: ignore[attr-defined]  # noqa: SLF001 - as above

    def _confirm(self, actor: Any) -> None:
        thread = _thread_of(actor)
        if thread is None:
            self._thread_ended()
        else:
            self._wrap_farewell(thread)

    def _thread_ended(self) -> None:
        """Do for the actor what Pykka may have left undone, so that it does not look alive for ever."""
        if self._ref.actor_stopped.is_set():
            return
        self._over(ExitReason(ExitKind.ERROR, message="its thread ended without a word to Pykka"))
        ActorRegistry.unregister(self._ref)
        self._ref.actor_stopped.set()

    def _over(self, reason: ExitReason) -> None:
        self._life.finish(Down(self._ref, reason, runtime().now()))


def _thread_of(actor: Any) -> threading.Thread | None:
    """Find the thread that runs an actor, if it runs."""
    for thread in threading.enumerate():
        if getattr(getattr(thread, "_target", None), "__self__", None) is actor:
            return thread
    return None
