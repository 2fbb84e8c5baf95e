"""What can go wrong with metrics, as values. Only whoever makes a series is told; whoever counts never is."""

from ..messages.error_base import LimenError

__all__ = ["AlreadyInstalled", "InvalidMetric", "MetricConflict"]


class MetricConflict(LimenError, ValueError):
    """A metric of this name is registered, and is another kind of thing."""

    name: str
    registered: str
    """What it is, such as `counter`, or `histogram with buckets 1, 5`."""
    asked: str

    def __str__(self) -> str:
        return f"metric {self.name!r} is a {self.registered}, not a {self.asked}; take another name"


class InvalidMetric(LimenError, ValueError):
    """A metric cannot be made like this."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"metric {self.name!r}: {self.message}"


class AlreadyInstalled(LimenError):
    """There is a registry for this process; `installed()` gives it."""

    def __str__(self) -> str:
        return "this process has a metrics registry already, and has one for good; installed() gives it"
