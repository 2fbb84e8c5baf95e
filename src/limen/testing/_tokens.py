"""A run as a short text: the seed and every choice, the same on every machine."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import attrs

VERSION = "1"


@attrs.frozen
class Token:
    """What `--sim-replay` takes."""

    seed: int
    choices: tuple[int, ...]

    def __str__(self) -> str:
        """Write it."""
        packed = base64.urlsafe_b64encode(zlib.compress(bytes(min(each, 255) for each in self.choices), 9))
        return f"{VERSION}:{self.seed}:{packed.decode().rstrip('=')}"


def write_token(seed: int, choices: Sequence[int]) -> str:
    """Write a run down."""
    return str(Token(seed, tuple(choices)))


def read_token(text: str) -> Token:
    """Read it back. Raises `ValueError` for anything else."""
    version, _, rest = text.partition(":")
    seed, _, packed = rest.partition(":")
    try:
        choices = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        token = Token(int(seed), tuple(choices))
    except (ValueError, zlib.error, binascii.Error):
        token = None
    if token is None or version != VERSION:
        raise ValueError(f"{text!r} is no replay token of this version; copy it whole from a failure")
    return token
