"""What is said: frozen values, channel names, errors and the wire codec.

Schemas and the codec are imported when they are first asked for; a dispatch inside one process needs neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .activities import (
    ActivityRequest,
    ActivityResult,
    Completed,
    Failed,
    HistoryEvent,
    SignalPayload,
    WorkerCapacity,
)
from .attempts import AttemptView
from .dead_letters import DeadLetter, DeadLetters
from .dispatch import AckStatus, DispatchAck, DispatchRequest, DispatchResponse
from .drain import DrainReport, Fate, Unfinished
from .envelope import ANONYMOUS, Envelope
from .errors import *  # noqa: F403 - the whole tree, listed there
from .lifecycle import Down, ExitKind, ExitReason
from .limits import Limit
from .names import ChannelKind, ChannelName, dispatch_channel, history_channel, signal_channel
from .operations import ActivityState, Operation, OperationKind
from .payloads import Local, Payload
from .pool import ConsumerId, ConsumerStateView, PoolRow, QueueRow, TypeRow

if TYPE_CHECKING:
    from .codec import (
        decode_ack,
        decode_request,
        decode_response,
        encode_ack,
        encode_request,
        encode_response,
    )
    from .schema import Schema

__all__ = [
    "ANONYMOUS",
    "AckStatus",
    "ActivityRequest",
    "ActivityResult",
    "ActivityState",
    "AttemptView",
    "ChannelKind",
    "ChannelName",
    "Completed",
    "ConsumerId",
    "ConsumerStateView",
    "DeadLetter",
    "DeadLetters",
    "DispatchAck",
    "DispatchRequest",
    "DispatchResponse",
    "Down",
    "DrainReport",
    "Envelope",
    "ExitKind",
    "ExitReason",
    "Failed",
    "Fate",
    "HistoryEvent",
    "Limit",
    "Local",
    "Operation",
    "OperationKind",
    "Payload",
    "PoolRow",
    "QueueRow",
    "Schema",
    "SignalPayload",
    "TypeRow",
    "Unfinished",
    "WorkerCapacity",
    "decode_ack",
    "decode_request",
    "decode_response",
    "dispatch_channel",
    "encode_ack",
    "encode_request",
    "encode_response",
    "history_channel",
    "signal_channel",
]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    if name == "Schema":
        return import_module(".schema", __name__).Schema
    if name.startswith(("encode_", "decode_")) and name in __all__:
        return getattr(import_module(".codec", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
