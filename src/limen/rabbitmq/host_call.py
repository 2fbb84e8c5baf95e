"""A request from a broker as the local channel knows it: a conversation like any other."""

from __future__ import annotations

from typing import Any

import attrs

from ..actors.conversation import Conversation
from ..actors.runtime import runtime
from ..messages.dispatch import DispatchRequest
from .codec import Treatment


class HostCall(Conversation):
    """One request of somebody else's, on the host that has it."""

    def __init__(self, message: DispatchRequest, treatment: Treatment, channel: Any) -> None:
        # Whether it waits for a worker that is yet to come is for the asker to say, and was.
        request = attrs.evolve(message.request, schedule_to_start_timeout=None)
        super().__init__(
            message.conversation_id,
            request,
            runtime().create_future(),
            priority=message.priority,
            route_by=treatment.route_by,
            retry=treatment.retry,
            max_crashes=treatment.max_crashes,
        )
        self.channel = channel
        self.is_plain = not self.has_limits
