"""What activities are given and give back: bytes with a type, or an object that has not left this process.

The library never looks inside either, and neither shows its contents in a `repr`.
"""

from typing import Any, ClassVar

import attrs

__all__ = ["Local", "Payload"]


@attrs.frozen
class Payload:
    """Bytes and what they are."""

    data: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    content_type: str = ""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise TypeError(f"data must be bytes, not {type(self.data).__name__}")
        if not isinstance(self.content_type, str):
            raise TypeError(f"content_type must be a str, not {type(self.content_type).__name__}")


@attrs.frozen
class Local:
    """A payload that has not left this process: the very object that was given, neither copied nor encoded."""

    content_type: ClassVar[str] = "application/x-limen-local"

    value: Any = attrs.field(repr=lambda value: f"<{type(value).__name__}>")
