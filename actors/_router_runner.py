"""Runs users' routing functions off the channel's thread, guarded and limited in time."""

from __future__ import annotations

from collections.abc import Iterable

from ..messages.pool import ConsumerStateView
from ..messages.routing import RoutingMessage
from ._guarded import GuardedRunner, OnePerProcess, RunnerCounts
from ._routing_calls import Chosen, OnAnswer, RoutingAnswer, RoutingCall, RoutingFailed
from .router_loader import LoadedRouter

__all__ = ["Chosen", "RouterRunner", "RoutingAnswer", "RoutingFailed", "RunnerCounts", "router_runner"]


class RouterRunner(GuardedRunner):
    """Runs routing functions. One for a process is enough: see `router_runner`."""

    serves = "routing functions"
    thread_name = "limen-router"

    def evaluate(
        self,
        loaded: LoadedRouter,
        message: RoutingMessage,
        views: Iterable[ConsumerStateView],
        limit_s: float | None,
        on_answer: OnAnswer,
        *,
        channel_name: str = "",
        workflow_id: str = "",
    ) -> None:
        """Have the function called, and `on_answer` called exactly once with what came of it, as `submit` does.

        The limit counts from the moment the function has a thread; `None` takes the one it was loaded with. The two
        names only go into errors.
        """
        call = RoutingCall(
            loaded=loaded,
            message=message,
            views=tuple(views),
            limit_s=loaded.limit_s if limit_s is None else limit_s,
            on_answer=on_answer,
            channel_name=channel_name,
            workflow_id=workflow_id,
        )
        self.submit(call)


router_runner = OnePerProcess(RouterRunner)
"""Gives the runner that this process shares; a forked child gets one of its own."""
