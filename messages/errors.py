"""The error tree that users see: what each error means, which fields it has, what it says.

Knows no channel, worker or activity but by name. The bus has errors of its own in `bus_errors`, the failures of a
dispatch are in `dispatch_errors`, the end of things is in `lifecycle_errors`; all are importable from here too, so that
one import finds them all.
"""

from .broker_errors import BrokerError, BrokerUnavailable, MessageTooLarge
from .bus_errors import (
    BusError,
    ChannelClosed,
    ChannelNotFound,
    ConversationFailed,
    ConversationTimeout,
    DeliveryFailed,
    EvolutionRefused,
    InvalidSchema,
    ParticipantCrashed,
    PayloadNotJson,
    PayloadNotObject,
    PayloadRefused,
    PublishFailed,
    SchemaError,
    SchemaMismatch,
    SubscriptionFailed,
)
from .dispatch_errors import (
    ActivityFailed,
    ActivityTimedOut,
    DispatchFailed,
    KeyConflict,
    LoadShed,
    NoWorkersAvailable,
    PoisonActivity,
    QueueFull,
    RecorderFailed,
    RouterCrashed,
    RouterFailed,
    RouterTimedOut,
    RouterUnavailable,
    ScheduleToCloseTimedOut,
    ScheduleToStartTimedOut,
    StartToCloseTimedOut,
    UnknownDeadLetter,
    UnknownWorkerSelected,
)
from .error_base import LimenError
from .lifecycle_errors import ChannelLifecycleError, DispatcherDraining, ShutDown

__all__ = [
    "ActivityCancelled",
    "ActivityFailed",
    "ActivityTimedOut",
    "ActorCrashed",
    "BrokerError",
    "BrokerUnavailable",
    "BusError",
    "ChannelClosed",
    "ChannelLifecycleError",
    "ChannelNotFound",
    "ConfigError",
    "ConversationFailed",
    "ConversationTimeout",
    "DecodeError",
    "DeliveryFailed",
    "DispatchFailed",
    "DispatcherDraining",
    "EncodeError",
    "EvolutionRefused",
    "InvalidArgument",
    "InvalidCapacity",
    "InvalidChannelName",
    "InvalidProgress",
    "InvalidResult",
    "InvalidSchema",
    "KeyConflict",
    "LimenError",
    "LoadShed",
    "MessageTooLarge",
    "NoCurrentActivity",
    "NoWorkersAvailable",
    "NotOverBroker",
    "ParticipantCrashed",
    "PayloadNotJson",
    "PayloadNotObject",
    "PayloadRefused",
    "PoisonActivity",
    "PublishFailed",
    "QueueFull",
    "RecorderFailed",
    "RemoteError",
    "RetryableError",
    "RouterCrashed",
    "RouterFailed",
    "RouterTimedOut",
    "RouterUnavailable",
    "ScheduleToCloseTimedOut",
    "ScheduleToStartTimedOut",
    "SchemaError",
    "SchemaMismatch",
    "SelfAskError",
    "ShutDown",
    "SignalDeliveryFailed",
    "SignalValidationFailed",
    "StartToCloseTimedOut",
    "StreamingFailed",
    "SubscriptionFailed",
    "TerminalError",
    "UnknownDeadLetter",
    "UnknownWorkerSelected",
    "UnpicklableError",
    "WorkerCrashed",
]

_SHOWN_LENGTH = 60
"""How much of a rejected text an error quotes."""


class InvalidChannelName(LimenError, ValueError):
    """A part of a channel name is not fit for one; only the first such part is reported."""

    part: str
    """`namespace`, `task_queue` or `workflow_id`; `name` when a whole name could not be split."""
    input: object
    """What was given, as it was given."""
    message: str

    def __str__(self) -> str:
        return f"invalid {self.part} {_shown(self.input)}: {self.message}"


class WorkerCrashed(LimenError):
    """A worker died while it held the request; found as the `__cause__` of a `DispatchFailed`."""

    retryable = True

    channel_name: str
    workflow_id: str
    worker_id: str
    message: str

    def __str__(self) -> str:
        return f"worker {self.worker_id} crashed: {self.message} (channel {self.channel_name}, for {self.workflow_id})"


class SignalDeliveryFailed(LimenError):
    """A signal did not reach its workflow."""

    channel_name: str
    workflow_id: str
    signal_name: str
    message: str

    def __str__(self) -> str:
        place = f"channel {self.channel_name}, workflow {self.workflow_id}"
        return f"signal {self.signal_name!r} was not delivered: {self.message} ({place})"


class SignalValidationFailed(LimenError):
    """A signal is not what its workflow accepts."""

    channel_name: str
    workflow_id: str
    signal_name: str
    message: str

    def __str__(self) -> str:
        place = f"channel {self.channel_name}, workflow {self.workflow_id}"
        return f"signal {self.signal_name!r} is not valid: {self.message} ({place})"


class StreamingFailed(LimenError):
    """A history stream could not go on."""

    channel_name: str
    workflow_id: str
    message: str

    def __str__(self) -> str:
        return f"history stream failed: {self.message} (channel {self.channel_name}, workflow {self.workflow_id})"


class ActivityCancelled(LimenError):
    """The activity was cancelled before it had a result."""

    activity_type: str
    message: str = "cancelled by its caller"

    def __str__(self) -> str:
        return f"activity {self.activity_type!r}: {self.message}"


class RetryableError(LimenError):
    """Raise this in an activity, or a subclass of it, to say: try again, it may work."""

    retryable = True

    message: str = ""

    def __str__(self) -> str:
        return self._text()


class TerminalError(LimenError):
    """Raise this in an activity, or a subclass of it, to say: do not try again, it cannot work."""

    message: str = ""

    def __str__(self) -> str:
        return self._text()


class RemoteError(LimenError):
    """An error of a kind that this side does not have, as text."""

    kind: str
    """The name of its class on the other side."""
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class ActorCrashed(LimenError):
    """The actor died before it answered; what its asker gets."""

    retryable = True

    actor: str
    reason: str

    def __str__(self) -> str:
        return f"{self.actor} died before it answered: {self.reason}"


class SelfAskError(LimenError):
    """An actor asked itself and would have waited for ever."""

    actor: str

    def __str__(self) -> str:
        return f"{self.actor} asked itself; use tell, or call the method directly"


class UnpicklableError(LimenError):
    """Something cannot travel between a worker and its child processes."""

    what: str
    """`argument`, `result`, `exception` or `activity`."""
    type_name: str
    activity_type: str = ""

    def __str__(self) -> str:
        where = f" of activity {self.activity_type!r}" if self.activity_type else ""
        return f"the {self.what}{where}, a {self.type_name}, does not pickle; a process worker needs one that does"


class InvalidArgument(LimenError, TypeError):
    """An argument is not what the activity's annotation asks for; nothing was queued."""

    activity_type: str
    parameter: str
    expected: str
    got: str
    """The name of the type that was given, never its value."""

    def __str__(self) -> str:
        return f"activity {self.activity_type!r}: {self.parameter} must be {self.expected}, not {self.got}"


class InvalidResult(LimenError):
    """An activity returned something else than its annotation says."""

    activity_type: str
    expected: str
    got: str
    """The name of the type that was returned, never its value."""

    def __str__(self) -> str:
        return f"activity {self.activity_type!r} must return {self.expected}, not {self.got}"


class InvalidProgress(LimenError, ValueError):
    """An activity reported progress that cannot be kept; what it had reported before stands."""

    activity_type: str
    problem: str

    def __str__(self) -> str:
        return f"the progress of activity {self.activity_type!r} must be plain data of some size: {self.problem}"


class NoCurrentActivity(LimenError, RuntimeError):
    """`current()` was called by what is not an activity, or not on a thread or in a task of one."""

    def __str__(self) -> str:
        return "no activity runs here; a thread that an activity starts has to be given what current() gives there"


class InvalidCapacity(LimenError, ValueError):
    """A worker's capacity makes no sense."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"invalid {self.field}: {self.message}"


class ConfigError(LimenError, ValueError):
    """A setting has no meaning or contradicts another."""

    setting: str
    message: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}"


class NotOverBroker(ConfigError):
    """What was asked for takes one book over all workers, which an application at a broker does not have."""


class DecodeError(LimenError, ValueError):
    """Bytes are not the message they should be."""

    field: str
    """The path of the bad field, such as `request.input.data`; empty for the body as a whole."""
    problem: str

    def __str__(self) -> str:
        return f"{self.field or 'body'}: {self.problem}"


class EncodeError(LimenError, TypeError):
    """A message holds something that has no form on the wire."""

    field: str
    what: str
    """What cannot be encoded: its type, never its value."""

    def __str__(self) -> str:
        return f"{self.field}: {self.what} has no JSON form; give a Payload or what cattrs can unstructure"


def _shown(value: object) -> str:
    """Quote a text, shortened; name the type of anything else."""
    if not isinstance(value, str):
        return f"of type {type(value).__name__}"
    return repr(value if len(value) <= _SHOWN_LENGTH else f"{value[:_SHOWN_LENGTH]}…")
