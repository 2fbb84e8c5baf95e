"""The inbox of a pooled actor that is seldom sent anything: until it is, it keeps nothing to hold messages in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from pykka._envelope import Envelope

from .mailbox import PooledMailbox

_NOTHING: deque[Envelope[Any]] = deque(maxlen=0)

_opening = threading.Lock()
"""Held while an inbox gets its lanes. Nothing is called or allocated meanwhile, so that neither a signal handler nor
the garbage collector can come back here."""


class QuietMailbox(PooledMailbox):
    """A `PooledMailbox` whose lanes are made for the first message."""

    __slots__ = ()

    def __init__(self, owner: Any, pool: Any) -> None:
        self.owner = owner
        self.closed = False
        self._free = True
        self._pool = pool
        self._messages = self._notices = _NOTHING

    def put(self, envelope: Envelope[Any]) -> None:
        """As `PooledMailbox.put`."""
        self._open()
        super().put(envelope)

    def put_notice(self, message: object) -> bool:
        """As `PooledMailbox.put_notice`."""
        self._open()
        return super().put_notice(message)

    def post(self, message: object) -> None:
        """As `PooledMailbox.post`."""
        self._open()
        super().post(message)

    def lender(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """As `PooledMailbox.lender`, which looks at the lanes once and for all."""
        self._open()
        return super().lender(work)

    def _open(self) -> None:
        if self._messages is not _NOTHING:
            return
        messages: deque[Envelope[Any]] = deque()
        notices: deque[Envelope[Any]] = deque()
        with _opening:
            if self._messages is _NOTHING:
                self._notices = notices
                self._messages = messages
