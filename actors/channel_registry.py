"""`ChannelRegistry`: channels by name, for whoever has more than one. It holds them; closing it closes them."""

from __future__ import annotations

import threading
from typing import Self

import attrs

from ..messages.bus_errors import ChannelNotFound
from ..messages.channel import ChannelConfig, ChannelMode
from ..messages.errors import ChannelLifecycleError
from ..messages.names import ChannelName
from ..messages.supervision import RestartIntensity
from .channel_handle import COMMAND_TIMEOUT_S, RESTARTS, ChannelHandle


@attrs.frozen(kw_only=True)
class ChannelInfo:
    """One row of a list of channels."""

    name: str
    mode: ChannelMode
    subscriber_count: int
    """How many inboxes are in the fan-out; 0 while the channel cannot be reached."""


class ChannelRegistry:
    """Channels by name. All methods may be called on any thread; use a `with` block or `close_all`.

    A channel that was closed by its handle is not there any more, and its name is free.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._handles: dict[str, ChannelHandle] = {}

    def __len__(self) -> int:
        """Count the channels."""
        return len(self._open())

    def __contains__(self, name: object) -> bool:
        """Whether there is a channel of this name."""
        return any(handle.name == str(name) for handle in self._open())

    def create(self, config: ChannelConfig, *, restarts: RestartIntensity = RESTARTS) -> ChannelHandle:
        """Make a channel; its actor starts on first use. A name that is taken is a `ChannelLifecycleError`."""
        handle = ChannelHandle(config, restarts=restarts)
        with self._lock:
            if handle.name in self:
                raise ChannelLifecycleError(handle.name, "a channel of this name exists; look it up, or close it first")
            self._handles[handle.name] = handle
        return handle

    def lookup(self, name: ChannelName | str) -> ChannelHandle:
        """Give the channel of this name. Raises `ChannelNotFound`."""
        handle = self._handles.get(str(name))
        if handle is None or handle.closed:
            raise ChannelNotFound(f"no channel is named {str(name)!r}")
        return handle

    def list(self) -> tuple[ChannelInfo, ...]:
        """Show the channels, sorted by name."""
        return tuple(
            ChannelInfo(name=handle.name, mode=handle.config.mode, subscriber_count=handle.subscriber_count)
            for handle in self._open()
        )

    def close(self, name: ChannelName | str, timeout: float = COMMAND_TIMEOUT_S) -> bool:
        """Close a channel for good, as `ChannelHandle.close` does; say whether there was one of this name."""
        with self._lock:
            handle = self._handles.pop(str(name), None)
        if handle is None or handle.closed:
            return False
        handle.close(timeout)
        return True

    def close_all(self, timeout: float = COMMAND_TIMEOUT_S) -> None:
        """Close every channel. Idempotent."""
        for handle in self._open():
            self.close(handle.name, timeout)

    def __enter__(self) -> Self:
        """Close every channel at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every channel."""
        self.close_all()

    def _open(self) -> tuple[ChannelHandle, ...]:
        """List what is there, sorted by name, and forget what was closed by its handle."""
        with self._lock:
            self._handles = {name: handle for name, handle in sorted(self._handles.items()) if not handle.closed}
            return (*self._handles.values(),)
