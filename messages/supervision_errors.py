"""What can go wrong with supervision, as values.

Knows ids and texts; knows no actor.
"""

from .error_base import LimenError

__all__ = ["ChildExists", "ChildStartFailed", "NoSuchChild", "SupervisorGaveUp", "SupervisorStopping"]


class SupervisorGaveUp(LimenError):
    """A child crashed more often than its supervisor may restart; the supervisor ends with this, and its children."""

    child_id: str
    """The child whose crash was one too many."""
    reason: str
    """Why it crashed the last time."""
    max_restarts: int
    within_s: float

    def __str__(self) -> str:
        allowed = f"{self.max_restarts} restarts within {self.within_s:g} s are allowed"
        return f"child {self.child_id!r} crashed once too often ({allowed}): {self.reason}"


class ChildExists(LimenError):
    """A child of this id is there already."""

    child_id: str

    def __str__(self) -> str:
        return f"there is a child {self.child_id!r} already; delete it first, or restart it"


class NoSuchChild(LimenError):
    """The supervisor has no child of this id."""

    child_id: str

    def __str__(self) -> str:
        return f"there is no child {self.child_id!r}; it was never started, or it was temporary and has ended"


class ChildStartFailed(LimenError):
    """A child could not be started; the exception is the `__cause__`."""

    child_id: str
    reason: str

    def __str__(self) -> str:
        return f"child {self.child_id!r} could not be started: {self.reason}"


class SupervisorStopping(LimenError):
    """The supervisor is on its way out and starts nothing any more."""

    child_id: str

    def __str__(self) -> str:
        return f"the supervisor is stopping; child {self.child_id!r} was not started"
