"""What comes from another machine, as callers see it: a result, read on the thread that looks at it; and attempts."""

from __future__ import annotations

import threading
from typing import Any, Self

import attrs

from ..activity import Activity
from ..messages.activities import Completed
from ..messages.attempts import AttemptView
from ..messages.payloads import Payload
from .handlers import read_result


class Received(Payload):
    """The bytes that came, and what the activity's annotation makes of them."""

    __slots__ = ("_activity", "_lock", "_made")

    _activity: Activity[..., Any] | None
    _lock: threading.Lock
    _made: tuple[Any] | None

    @classmethod
    def of(cls, result: Completed, activity: Activity[..., Any] | None) -> Completed:
        """Make a result whose output reads itself."""
        output = result.output
        assert isinstance(output, Payload), "nothing else comes over a wire"
        return Completed(cls._of(output, activity))

    @classmethod
    def _of(cls, output: Payload, activity: Activity[..., Any] | None) -> Self:
        made = cls(output.data, output.content_type)
        for name, value in (("_activity", activity), ("_lock", threading.Lock()), ("_made", None)):
            object.__setattr__(made, name, value)
        return made

    @property
    def value(self) -> Any:
        """Read it, once. Raises `InvalidResult`."""
        with self._lock:
            if self._made is None:
                object.__setattr__(self, "_made", (read_result(self._activity, self),))
            assert self._made is not None, "just made"
            return self._made[0]


@attrs.frozen
class _Seen:
    """An attempt on another machine, as it was told."""

    _view: AttemptView

    @property
    def worker_id(self) -> str:
        return self._view.worker_id

    def view(self) -> AttemptView:
        return self._view


def seen(view: AttemptView) -> Any:
    """Show an attempt to the caller as one of this process is shown."""
    return _Seen(view)
