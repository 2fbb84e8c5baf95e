"""The one seam between actors and the machine: inboxes, futures, threads of control, time and timers.

An actor asks the installed runtime and knows nothing else. `install` swaps it, for a test kit or a simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .flag import Flag
from .here import here
from .reply import Reply, offer, offer_error
from .standard import StandardRuntime
from .timers import Timer

__all__ = ["Flag", "Reply", "Runtime", "Timer", "here", "install", "offer", "offer_error", "runtime"]


class Runtime(Protocol):
    """What an actor needs of the machine."""

    def create_inbox(self, actor: Any) -> Any:
        """Give an actor its inbox."""

    def create_future(self) -> Reply[Any]:
        """Give the future for one ask."""

    def new_urn(self) -> str:
        """Give an actor its name, unique everywhere."""

    def start(self, actor: Any, loop: Callable[[], None]) -> None:
        """Begin to run an actor."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Have a short callback called later, on a thread of the runtime's."""


_installed: Runtime = StandardRuntime()


def runtime() -> Runtime:
    """Give the installed runtime."""
    return _installed


def install(new: Runtime) -> Runtime:
    """Put another runtime in place and give back the old one. Actors that run already keep theirs."""
    global _installed
    old, _installed = _installed, new
    return old
