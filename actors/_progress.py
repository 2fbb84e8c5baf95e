"""How far a request has got, as its attempts report it: the latest word counts, and the next attempt gets to hear it.

Details are plain JSON, so that they mean the same on a thread, in a child process and on another machine.
"""

from __future__ import annotations

import json
from typing import Any

from ..messages.errors import InvalidProgress

MAX_BYTES = 1 << 16
"""How large one report may be, as JSON."""

EVENT_EVERY_S = 0.1
"""How often, at most, one request's progress is told to those who follow events."""


class Progress:
    """What one request's attempts have reported. Any thread may write; whoever comes last has the word."""

    __slots__ = ("_before", "_latest", "next_s", "on_its_way")

    def __init__(self) -> None:
        self._latest: tuple[int, bytes] | None = None
        self._before: bytes | None = None
        self.next_s = 0.0
        """From when on it may be told again."""
        self.on_its_way = False
        """Whether it is about to be told."""

    def note(self, number: int, packed: bytes) -> None:
        """Take a report of the attempt of this number."""
        latest = self._latest
        if latest is not None and latest[0] < number:
            self._before = latest[1]
        self._latest = (number, packed)

    @property
    def report(self) -> tuple[int, bytes] | None:
        """The latest report, and the number of the attempt that made it."""
        return self._latest

    @property
    def latest(self) -> bytes | None:
        """What was reported last."""
        latest = self._latest
        return latest[1] if latest is not None else None

    def before(self, number: int) -> bytes | None:
        """What was reported last before the attempt of this number."""
        latest = self._latest
        return latest[1] if latest is not None and latest[0] < number else self._before


def pack(details: object, activity_type: str) -> bytes:
    """Write details as JSON; attrs classes and what else cattrs knows become plain. Raises `InvalidProgress`."""
    try:
        packed = _write(details)
    except Exception as error:
        raise InvalidProgress(activity_type, f"something of type {type(details).__name__} has no JSON form") from error
    if len(packed) > MAX_BYTES:
        raise InvalidProgress(activity_type, f"it takes {len(packed)} bytes as JSON, and may take {MAX_BYTES}")
    return packed


def _write(details: object) -> bytes:
    try:
        text = json.dumps(details, ensure_ascii=False, allow_nan=False)
    except TypeError:
        from ..messages._converter import default_local_converter

        text = json.dumps(default_local_converter().unstructure(details), ensure_ascii=False, allow_nan=False)
    return text.encode()


def unpack(packed: bytes | None) -> Any:
    """Read details again: a copy of its own each time; `None` if there are none."""
    return None if packed is None else json.loads(packed)
