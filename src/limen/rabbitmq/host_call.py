"""A request from a broker as the local channel knows it: a conversation like any other."""

from __future__ import annotations

import logging
from typing import Any

import attrs

from ..actors.conversation import Conversation
from ..actors.runtime import runtime
from ..messages.activities import Completed
from ..messages.attempts import AttemptView
from ..messages.dead_letters import DeadLetter
from ..messages.dispatch import DispatchRequest
from ..messages.errors import BusError, ChannelLifecycleError, EncodeError, NoWorkersAvailable, WorkerCrashed
from . import codec
from .codec import Treatment

logger = logging.getLogger("limen")


class HostCall(Conversation):
    """One request of somebody else's, on the host that has it."""

    keeps_letter = False

    def __init__(
        self, message: DispatchRequest, treatment: Treatment, channel: Any, before: DeadLetter | None = None
    ) -> None:
        # Whether it waits for a worker that is yet to come is for the asker to say, and was.
        request = message.request
        if request.schedule_to_start_timeout is not None:
            request = attrs.evolve(request, schedule_to_start_timeout=None)
        super().__init__(
            message.conversation_id,
            request,
            runtime().create_future(),
            priority=message.priority,
            route_by=treatment.route_by,
            retry=treatment.retry,
            max_crashes=treatment.max_crashes,
            dead_letter=treatment.dead_letter,
        )
        self.letter = before
        self.asked_key = treatment.key
        """The key is the asker's: here it names nothing."""
        self.channel = channel
        self.is_plain = not self.has_limits

    def count_deaths(self, deaths: int) -> None:
        """Charge it with hosts that died with it."""
        crash = WorkerCrashed(self.channel_name, self.workflow_id, "unknown", "it died, and its whole process with it")
        self.crashes += deaths
        self.last_crash = crash
        self.attempts = tuple(_death(number, crash) for number in range(1, deaths + 1))


@attrs.frozen
class _Death:
    """An attempt of which nothing is known but that its host died."""

    _view: AttemptView

    def view(self) -> AttemptView:
        return self._view


def _death(number: int, crash: WorkerCrashed) -> Any:
    return _Death(AttemptView(number, "unknown", 0, started=True, error=crash, charged=True))


def is_not_ours(call: HostCall, result: object) -> bool:
    """Whether an end says something of this host and nothing of the request, so that another host may have it."""
    if isinstance(result, NoWorkersAvailable):
        return call.activity_type not in result.served
    return isinstance(result, (ChannelLifecycleError, BusError))


def write_end(call: HostCall, result: Completed | BaseException) -> bytes:
    """Write what became of a request here, for whoever asked: something, whatever it is."""
    attempts = call.history()
    worker_id = attempts[-1].worker_id if attempts else "none"
    outcome = codec.Outcome(
        conversation_id=call.id,
        worker_id=worker_id,
        result=result,
        attempts=attempts,
        errors=call.errors,
        crashes=call.crashes,
        progress=call.progress.report if call.progress is not None else None,
        work=None if call.asked_key is None else codec.Work(call.channel_name, call.activity_type, call.asked_key),
    )
    try:
        return codec.write_outcome(outcome)
    except Exception as error:
        logger.exception("the end of request %s could not be written", call.id)
        told = EncodeError(f"the end of activity {call.activity_type!r}", f"a part of it ({type(error).__name__})")
        return codec.write_outcome(
            codec.Outcome(conversation_id=call.id, worker_id=worker_id, result=told, crashes=call.crashes)
        )
