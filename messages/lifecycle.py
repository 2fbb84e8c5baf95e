"""How an actor ended, and the notice that says so.

Knows nothing of threads or refs: the `ref` of a `Down` is whatever was watched.
"""

from __future__ import annotations

import signal as _signals
from enum import StrEnum
from typing import Any, Self

import attrs


class ExitKind(StrEnum):
    """The four ways to be gone. Source: OTP, exit reasons."""

    NORMAL = "normal"
    """It was asked to stop, or had nothing more to do."""
    ERROR = "error"
    """An exception, a non-zero exit code or a signal ended it."""
    KILLED = "killed"
    """Somebody ended it without its consent."""
    NOPROC = "noproc"
    """It was already gone when the watch was set up."""


@attrs.frozen
class ExitReason:
    """Why something ended. Compares by everything but the live exception, which does not travel in a pickle."""

    kind: ExitKind
    error_type: str | None = None
    """Name of the exception's class."""
    message: str = ""
    exit_code: int | None = None
    """Of a process that exited by itself."""
    signal: str | None = None
    """Name of the signal that ended a process, such as `SIGKILL`."""
    error: BaseException | None = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def normal(cls) -> Self:
        """Stopped in good order."""
        return cls(ExitKind.NORMAL)

    @classmethod
    def killed(cls, message: str = "") -> Self:
        """Ended from outside."""
        return cls(ExitKind.KILLED, message=message)

    @classmethod
    def noproc(cls) -> Self:
        """Not there when somebody began to watch."""
        return cls(ExitKind.NOPROC, message="it was already gone")

    @classmethod
    def from_error(cls, error: BaseException) -> Self:
        """Ended by an exception."""
        return cls(ExitKind.ERROR, error_type=type(error).__name__, message=_text_of(error), error=error)

    @classmethod
    def from_exit_code(cls, code: int | None) -> Self:
        """What a process's exit code says; negative codes are signals. Source: `subprocess`, `multiprocessing`."""
        if code == 0:
            return cls.normal()
        if code is None:
            return cls.killed("the exit code is not known")
        if code > 0:
            return cls(ExitKind.ERROR, message=f"exit code {code}", exit_code=code)
        name = _signal_name(-code)
        return cls(ExitKind.ERROR, message=f"ended by {name}", signal=name)

    @property
    def is_normal(self) -> bool:
        """Whether nobody needs to worry."""
        return self.kind is ExitKind.NORMAL

    def __str__(self) -> str:
        """Give the shortest text that tells one reason from another."""
        if self.error_type:
            return f"{self.error_type}: {self.message}" if self.message else self.error_type
        return self.message or self.kind.value

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the live exception behind: it may not be picklable."""
        return type(self), (self.kind, self.error_type, self.message, self.exit_code, self.signal)


def _text_of(error: BaseException) -> str:
    """Give the text of an exception; one whose `__str__` fails must not spoil the notice of a death."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's class may raise anything
        return "its text cannot be had"


def _signal_name(number: int) -> str:
    try:
        return _signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


@attrs.frozen
class Down:
    """Something that was watched has ended. Sent once for each watch."""

    ref: Any
    """What was watched: an actor ref, a process, a task."""
    reason: ExitReason
    at_s: float
    """The instant of death, on the runtime's monotonic clock."""
