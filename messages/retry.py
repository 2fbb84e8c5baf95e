"""When a failed activity is tried again, and after what pause. Pure: knows no clock and no random source.

Source of the terms: Temporal, retry policies.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs

from .errors import ConfigError, RetryableError, TerminalError

Errors = tuple[type[BaseException], ...]


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _errors(value: type[BaseException] | Iterable[type[BaseException]]) -> Errors:
    return (value,) if isinstance(value, type) else tuple(value)


@attrs.frozen
class Retry:
    """A retry policy. Pauses are in seconds or given as a `timedelta`."""

    max_attempts: int = 3
    """All tries together, the first included; 0 for no limit."""
    initial: float = attrs.field(default=0.1, converter=_seconds)
    """The pause after the first failure, in seconds."""
    backoff: float = 2.0
    """What each pause is multiplied with to give the next."""
    max_interval: float = attrs.field(default=60.0, converter=_seconds)
    """The longest pause, in seconds."""
    jitter: float = 0.0
    """The share of a pause that is left to chance, 0 to 1: a pause of 10 s with 0.2 lasts 8 to 10 s."""
    non_retryable: Errors = attrs.field(default=(), converter=_errors)
    """Failures that are final."""
    retry_on: Errors = attrs.field(default=(Exception,), converter=_errors)
    """Failures that may go away."""

    def __attrs_post_init__(self) -> None:
        """Refuse a policy that cannot be meant."""
        if self.max_attempts < 0 or self.initial < 0 or self.max_interval < 0:
            raise ConfigError("retry", "max_attempts, initial and max_interval must not be negative")
        if self.backoff < 1 or not 0 <= self.jitter <= 1:
            raise ConfigError("retry", "backoff must be at least 1, and jitter between 0 and 1")

    def pause_s(
        self, failed_attempts: int, error: BaseException, chance: float = 0.0, *, retryable: bool = False
    ) -> float | None:
        """Give the pause before the next try, or `None` if this failure is the last word.

        `chance`, 0 to 1, places the pause within its jitter. `retryable`: whoever failed says that it may work.
        """
        if self.max_attempts and failed_attempts >= self.max_attempts:
            return None
        if not self.wants(error, retryable=retryable):
            return None
        exponent = min(failed_attempts - 1, 64)
        pause_s = min(self.initial * self.backoff**exponent, self.max_interval)
        return float(pause_s * (1.0 - self.jitter * chance))

    def wants(self, error: BaseException, *, retryable: bool = False) -> bool:
        """Whether such a failure is tried again, limits aside."""
        if isinstance(error, (TerminalError, *self.non_retryable)):
            return False
        return retryable or isinstance(error, (RetryableError, *self.retry_on))
