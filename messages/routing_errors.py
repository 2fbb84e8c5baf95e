"""What can go wrong with a routing function's name, and with a dispatch to a group of consumers."""

from .error_base import LimenError, derived

__all__ = [
    "ConsumerFailed",
    "EvaluationFailed",
    "GroupDispatchFailed",
    "NoConsumer",
    "RouterConflict",
    "UnknownConsumerSelected",
]


class RouterConflict(LimenError, ValueError):
    """Another routing function is loaded under this name and version."""

    label: str
    """Name and version, as `name@version`."""
    loaded_hash: str

    def __str__(self) -> str:
        return (
            f"another routing function is loaded as {self.label!r} (hash {self.loaded_hash}); "
            "give this one another name or version"
        )


class GroupDispatchFailed(LimenError):
    """The payload reached no consumer of the group that answered; `__cause__` holds the error below it, if any."""

    message: str
    rerouted_from: tuple[str, ...] = ()
    """The consumers that ended while they had it, in that order."""

    def __str__(self) -> str:
        gone = ", ".join(self.rerouted_from)
        return f"{self.message} (after {gone} ended)" if gone else self.message


class NoConsumer(GroupDispatchFailed):
    """Nobody was left to choose, or the routing function chose nobody."""

    reason: str = "empty"
    """`empty`, `excluded` when all there are have ended, or `declined` by the routing function."""
    message: str = derived()

    def _text(self) -> str:
        why = {"excluded": "all of its consumers have ended", "declined": "the routing function chose nobody"}
        return f"no consumer in the group: {why.get(self.reason, 'it is empty')}"


class UnknownConsumerSelected(GroupDispatchFailed):
    """The routing function chose a consumer that was not on offer."""

    consumer: str = ""
    offered: tuple[str, ...] = ()
    message: str = derived()

    def _text(self) -> str:
        offered = ", ".join(self.offered) or "none"
        return f"the routing function chose the unknown consumer {self.consumer!r}; on offer: {offered}"


class EvaluationFailed(GroupDispatchFailed):
    """The routing function gave no answer; the cause is a `RouterFailed`."""


class ConsumerFailed(GroupDispatchFailed):
    """The consumer could not be linked, or answered with an error; it may have done the work, so no other gets it."""

    consumer: str = ""
    detail: str = ""
    message: str = derived()

    def _text(self) -> str:
        return f"the conversation with consumer {self.consumer!r} failed: {self.detail or 'no text'}"
