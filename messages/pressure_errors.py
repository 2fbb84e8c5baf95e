"""What can go wrong with the limits and counts of backpressure, as values."""

from .error_base import LimenError
from .errors import InvalidCapacity

__all__ = ["CountUnderflow", "InvalidConsumerCapacity"]


class InvalidConsumerCapacity(InvalidCapacity):
    """A consumer's limits make no sense; both are shown, as they were given."""

    max_in_flight: object
    max_buffer_depth: object

    def __str__(self) -> str:
        both = f"max_in_flight={self.max_in_flight!r}, max_buffer_depth={self.max_buffer_depth!r}"
        return f"invalid {self.field}: {self.message} ({both})"


class CountUnderflow(LimenError):
    """More was finished or drained than there was; the counts are as before."""

    count: str
    """`in_flight` or `buffer_depth`."""

    def __str__(self) -> str:
        return f"{self.count} is 0 and cannot be lowered; each call that lowers it needs one before that raised it"
