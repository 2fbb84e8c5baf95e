"""The limits of calls whose work is done elsewhere, kept where they were made: no two machines' clocks agree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..actors.conversation import RUNNING, Conversation
from ..actors.runtime import runtime
from ..messages.errors import ScheduleToCloseTimedOut, ScheduleToStartTimedOut
from .desk import Desk

GiveUp = Callable[[Any, BaseException], object]
"""Gives a call an error for its outcome, unless it has one."""

_TIMED_OUT = {"schedule_to_start": ScheduleToStartTimedOut, "schedule_to_close": ScheduleToCloseTimedOut}

_NEWS_S = 0.1
"""How long the news that an attempt has begun may be on its way."""


class Limits:
    """Arms limits. Any thread may; timers go off on a thread of their own, and the rest happens on the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._now = runtime().now

    def arm(self, call: Conversation, give_up: GiveUp) -> None:
        """Have `give_up(call, error)` called on the desk when a limit of this call has run out."""
        request = call.request
        for name, limit in (
            ("schedule_to_start", request.schedule_to_start_timeout),
            ("schedule_to_close", request.schedule_to_close_timeout),
        ):
            if limit is not None:
                limit_s = limit.total_seconds()
                timer = runtime().call_later(
                    limit_s + (_NEWS_S if name == "schedule_to_start" else 0.0),
                    functools.partial(self._timed_out, call, name, limit_s, give_up),
                )
                call.timers += (timer,)

    def _timed_out(self, call: Conversation, limit: str, limit_s: float, give_up: GiveUp) -> None:
        work = call.work
        if limit == "schedule_to_start" and work.attempts:
            return
        worker_id = work.attempts[-1].worker_id if work.phase is RUNNING else None
        assert call.accepted_s is not None, "set before its limits"
        elapsed_s = self._now() - call.accepted_s
        error = _TIMED_OUT[limit](
            call.channel_name, call.workflow_id, limit, call.activity_type, worker_id, elapsed_s, limit_s
        )
        self._desk.put(functools.partial(give_up, call, error))
