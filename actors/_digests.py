"""What arguments come to: a digest by which two requests of one key are told to be the same.

Equal values have equal digests, whatever they are made of and in whichever order a set or a mapping holds them.
Computed on the caller's thread: objects may run code of their own to say what they hold.
"""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

_PLAIN = (type(None), bool, int, float, complex)
_NAMED = (type, FunctionType, BuiltinFunctionType)
_DEPTH = 100
"""How deep to look; what lies deeper counts as equal."""


def digest(value: object) -> bytes:
    """Give 32 bytes that stand for a value. Never raises.

    What cannot say what it holds, such as a lock or a socket, counts as equal to all others of its type.
    """
    return _digest(value, ())


def _digest(value: Any, above: tuple[int, ...]) -> bytes:
    kind = type(value)
    if kind in _PLAIN:
        return _hash(kind, repr(value).encode())
    if kind is str:
        return _hash(kind, value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _hash(kind, value)
    if id(value) in above or len(above) > _DEPTH:
        return _hash(kind, b"again")
    inside = (*above, id(value))
    if kind in {list, tuple}:
        return _hash(kind, *(_digest(each, inside) for each in value))
    if kind in {set, frozenset}:
        return _hash(kind, *sorted(_digest(each, inside) for each in value))
    if isinstance(value, dict):
        return _hash(kind, *_items(value, inside))
    if isinstance(value, _NAMED):
        return _hash(kind, _name(value).encode())
    if isinstance(value, Enum):
        return _hash(kind, value.name.encode())
    return _hash(kind, *_parts(value, inside))


def _items(value: Mapping[Any, Any], inside: tuple[int, ...]) -> list[bytes]:
    return sorted(_digest(key, inside) + _digest(each, inside) for key, each in value.items())


def _parts(value: object, inside: tuple[int, ...]) -> list[bytes]:
    """Take an object apart the way `copy` and `pickle` do."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        made: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        if isinstance(made, str):
            return [made.encode()]
        make, args, state, items, pairs = (*made, None, None, None)[:5]
        parts: list[Any] = [make, args, state, list(items or ()), dict(pairs or ())]
        return [_digest(each, inside) for each in parts]
    except Exception:  # noqa: BLE001 - code of the user's, or something that cannot be taken apart
        return []


def _name(value: object) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _hash(kind: type, *parts: bytes) -> bytes:
    """Put parts together so that none can be taken for two."""
    whole = hashlib.sha256(_name(kind).encode())
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()
