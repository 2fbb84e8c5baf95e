"""A dispatch as the face makes it: a conversation that writes its request and its id only when somebody asks."""

from __future__ import annotations

from typing import Any

from .activity import Activity
from .actors.conversation import Conversation
from .actors.recorder import Recorder
from .messages.activities import ActivityRequest


class Call(Conversation):
    """One call of one activity."""

    is_plain = True

    def __init__(self, activity: Activity[..., Any], bound: Any, reply: Any, prefix: str, number: int) -> None:
        # The base class is given all of this at once; most of it is the same for every call of an activity.
        self.activity_type = activity.name
        self.reply = reply
        self._activity = activity
        self.bound = bound
        self._prefix = prefix
        self._number = number
        if not activity.is_plain:
            self._take_options(activity, bound)

    def _take_options(self, activity: Activity[..., Any], bound: Any) -> None:
        options = activity.defaults
        self.is_plain = not activity.has_limits and options.key is None
        if options.key is not None:
            self.name_work(options.key, activity.signature.arguments(bound))
        self.priority = options.priority
        self.route_by = options.key if options.route_by is None else options.route_by
        self.retry = options.retry
        self.max_crashes = options.max_crashes
        self.dead_letter = options.dead_letter

    def record_with(self, recorder: Recorder) -> None:
        """Have every operation kept."""
        self.recorder = recorder
        self.is_plain = False

    @property
    def id(self) -> str:  # type: ignore[override]  # the base class is given it
        """The id of the conversation."""
        return f"{self._prefix}-{self._number}"

    @property
    def has_limits(self) -> bool:
        """Whether time may run out for it."""
        return self._activity.has_limits

    @property
    def request(self) -> ActivityRequest:  # type: ignore[override]  # the base class is given it
        """The request, made anew each time."""
        return self._activity.request(self.bound)  # type: ignore[arg-type]  # `None` only in the base class
