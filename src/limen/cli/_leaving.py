"""Leaving work to a broker: a command that has asked for something need not stay until it is done."""

from __future__ import annotations

from typing import Any

from .. import Handle, Limen
from .._engine import EmbeddedEngine


def leave_to_broker(app: Limen, handle: Handle[Any], timeout: float = 60.0) -> None:
    """Block until the broker has the request, and wait for it no more: to close the application leaves it alone.

    Raises what the request has come to already: `BrokerUnavailable`, say, or `NoWorkersAvailable`. In an embedded
    application there is nobody to leave it to, so it is waited for.
    """
    engine: Any = app._engine  # noqa: SLF001 - the face's own
    if isinstance(engine, EmbeddedEngine):
        handle.wait(timeout)
    elif not engine.leave(handle._conversation, timeout):  # noqa: SLF001 - as above
        error = handle.exception(timeout=0)
        if error is not None:
            raise error
