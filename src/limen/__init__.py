"""limen hands typed activities to supervised workers, and loses none of them when a worker dies."""

from ._current import ActivityContext, current
from ._sleep import sleep
from .activity import Activity, AsyncActivity, activity
from .actors.recorder import MemoryRecorder, Recorder
from .app import Limen
from .events import EventStream
from .handle import Handle, as_completed, cancel_all
from .messages import errors
from .messages.attempts import AttemptView
from .messages.dead_letters import DeadLetter, DeadLetters
from .messages.errors import *  # noqa: F403 - the whole tree, listed there
from .messages.events import Event, EventKind, Outcome
from .messages.limits import Limit
from .messages.payloads import Local, Payload
from .messages.pool import PoolRow, QueueRow, TypeRow
from .messages.pressure import Accept, Defer, PressureSignal, Reject
from .messages.retry import Retry

__all__ = [
    "Accept",
    "Activity",
    "ActivityContext",
    "AsyncActivity",
    "AttemptView",
    "DeadLetter",
    "DeadLetters",
    "Defer",
    "Event",
    "EventKind",
    "EventStream",
    "Handle",
    "Limen",
    "Limit",
    "Local",
    "MemoryRecorder",
    "Outcome",
    "Payload",
    "PoolRow",
    "PressureSignal",
    "QueueRow",
    "Recorder",
    "Reject",
    "Retry",
    "TypeRow",
    "activity",
    "as_completed",
    "cancel_all",
    "current",
    "sleep",
]
__all__ += errors.__all__
