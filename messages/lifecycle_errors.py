"""What goes wrong with the life of a channel and of its dispatcher: use before, during and after the end."""

from .dispatch_errors import DispatchFailed
from .error_base import LimenError, derived

__all__ = ["ChannelLifecycleError", "DispatcherDraining", "ShutDown"]


class ChannelLifecycleError(LimenError):
    """A channel could not be set up, used or taken down."""

    channel_name: str
    message: str

    def __str__(self) -> str:
        return f"channel {self.channel_name}: {self.message}"


class DispatcherDraining(ChannelLifecycleError):
    """The dispatcher is about to end and takes nothing new. What it has, it ends."""

    retryable = True

    message: str = derived()

    def _text(self) -> str:
        return "the dispatcher is draining: it ends what it has and takes nothing new; ask another one"


class ShutDown(DispatchFailed, ChannelLifecycleError):
    """The dispatcher ended before the request had a result. Nothing is wrong with the request: dispatch it again."""

    retryable = True

    activity_type: str
    stage: str
    """What it was doing: `waiting`, `routing`, `running`, or `paused` between two tries."""
    attempts: int
    """How often it had been given to a worker; 0: nothing of it has been done."""
    worker_id: str | None = None
    """The worker that had it last."""
    message: str = derived()

    def _text(self) -> str:
        last = f", last with {self.worker_id}" if self.worker_id else ""
        tries = f"after {self.attempts} attempt{'s' * (self.attempts != 1)}{last}" if self.attempts else "not begun"
        return f"activity {self.activity_type!r} was {self.stage}, {tries}, when its dispatcher was closed"
