"""Messages between a parent and its child as bytes on a stream socket.

A message is built of tuples, lists, numbers, texts and bytes only; whatever the user's is inside is bytes already. Such
values need no pickle: `marshal` is twice as fast, and both ends are the same interpreter.
"""

from __future__ import annotations

import marshal
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("=Q")
_CHUNK_BYTES = 1 << 16
_JOIN_BELOW_BYTES = 1 << 16
"""Copying this much is cheaper than a second system call."""


def frame(message: Any) -> list[bytes]:
    """Give the bytes of a message, in pieces. Raises `ValueError` for one of 2 GiB or more."""
    body = marshal.dumps(message)
    head = _LENGTH.pack(len(body))
    return [head + body] if len(body) < _JOIN_BELOW_BYTES else [head, body]


class Incoming:
    """Takes messages off a socket, as they come: blocking or not is the socket's own affair."""

    __slots__ = ("_body", "_filled", "_rest", "_socket")

    def __init__(self, source: socket.socket) -> None:
        self._socket = source
        self._rest = b""
        self._body: bytearray | None = None
        """The message that is too long for one read, with the bytes that are there."""
        self._filled = 0

    def receive(self, flags: int = 0) -> list[Any]:
        """Read once and give the messages that are complete by it.

        Raises `EOFError` at the end of the stream, and what the socket raises (`BlockingIOError` for nothing there).
        """
        if self._body is not None:
            return self._receive_long(self._body, flags)
        data = self._socket.recv(_CHUNK_BYTES, flags)
        if not data:
            raise EOFError
        return self._split(self._rest + data if self._rest else data)

    def _split(self, data: bytes) -> list[Any]:
        messages, at, end = [], 0, len(data)
        view = memoryview(data)
        while end - at >= _LENGTH.size:
            start = at + _LENGTH.size
            stop = start + _LENGTH.unpack_from(data, at)[0]
            if stop > end:
                if stop - start > _CHUNK_BYTES:
                    self._begin_long(view[start:], stop - start)
                    at = end
                break
            messages.append(marshal.loads(view[start:stop]))  # noqa: S302 - what our own child sent
            at = stop
        self._rest = data[at:]
        return messages

    def _begin_long(self, have: memoryview, size: int) -> None:
        self._body = bytearray(size)
        self._filled = len(have)
        self._body[: len(have)] = have

    def _receive_long(self, body: bytearray, flags: int) -> list[Any]:
        got = self._socket.recv_into(memoryview(body)[self._filled :], 0, flags)
        if not got:
            raise EOFError
        self._filled += got
        if self._filled < len(body):
            return []
        self._body = None
        return [marshal.loads(body)]  # noqa: S302 - what our own child sent
