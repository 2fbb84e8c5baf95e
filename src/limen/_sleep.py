"""`sleep`: the wait that also works in a simulation."""

from __future__ import annotations

from .actors.runtime import runtime


def sleep(seconds: float) -> None:
    """Let this thread wait, as `time.sleep` does; inside a simulation in virtual time, however it was imported."""
    runtime().sleep(seconds)
