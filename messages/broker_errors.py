"""What can go wrong between a process and the broker that carries its work to other machines."""

from .dispatch_errors import DispatchFailed
from .error_base import LimenError, derived

__all__ = ["BrokerError", "BrokerUnavailable", "MessageTooLarge"]


class BrokerError(LimenError):
    """The broker did not do what was asked of it within its bound, or refused to."""

    retryable = True

    address: str
    """Where it is, without credentials."""
    message: str

    def __str__(self) -> str:
        return f"broker {self.address}: {self.message}"


class BrokerUnavailable(DispatchFailed):
    """The broker did not take the request within the time that it is given; `__cause__` says why."""

    retryable = True

    activity_type: str
    reason: str
    in_doubt: bool = False
    """Whether it may have taken it all the same, so that the activity may run."""
    message: str = derived()

    def _text(self) -> str:
        doubt = "it may have taken it all the same" if self.in_doubt else "it does not have it"
        return f"the broker did not confirm activity {self.activity_type!r}: {self.reason}; {doubt}"


class MessageTooLarge(LimenError, ValueError):
    """A message is larger than this process sends or takes."""

    what: str
    """What it is: the arguments or the result of an activity, or a whole message."""
    size: int
    limit: int
    """In bytes, as the size; the `max_size` of the URL."""

    def __str__(self) -> str:
        return f"{self.what}: {self.size} bytes are more than the {self.limit} that are allowed; store it elsewhere"
