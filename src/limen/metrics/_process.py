"""The one registry of this process, if it has one. Source: behaviour MX-05."""

from __future__ import annotations

from threading import Lock

from ..actors import channel_session
from .errors import AlreadyInstalled
from .feed import feed_of
from .registry import Registry

_installing = Lock()
_installed: list[Registry] = []


def install(registry: Registry) -> Registry:
    """Fill this registry with what happens on every channel that is made in this process from now on; give it back.

    Once for each process: raises `AlreadyInstalled` the second time.
    """
    with _installing:
        if _installed:
            raise AlreadyInstalled
        _installed.append(registry)
        channel_session.FOLLOWERS.append(feed_of(registry).adopt)
    return registry


def installed() -> Registry | None:
    """Give the registry of this process."""
    return _installed[0] if _installed else None
