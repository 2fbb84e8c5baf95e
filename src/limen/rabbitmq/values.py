"""Arguments and results as JSON: what leaves one process is what arrives in another, or it is refused before it leaves.

JSON has no tuples, sets, bytes or dates. Such a value travels as an object with the one key `$`, whose value says what
it is: `{"$": ["tuple", [1, 2]]}`. All else is plain JSON, so that other programs can write requests by hand. An
instance of a class travels as its fields, and is put together by cattrs and the activity's annotations, as plain data
is in one process too.
Nothing is ever pickled, and no class is looked up by a name that came over the wire.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import math
import pathlib
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs

from ..messages._json import NotJsonError, dumps, loads
from ..messages.errors import DecodeError, EncodeError
from ..messages.payloads import Payload

MARK = "$"
"""The one key of what stands for a value that JSON does not have."""

_LEAST, _MOST = -(2**63), 2**64 - 1
"""The whole numbers that every JSON reader here keeps whole."""


def encode(value: Any, field: str) -> bytes:
    """Write a value as JSON. Raises `EncodeError`, which names `field` and a type, for what has no form there."""
    try:
        return dumps(to_plain(value))
    except EncodeError as error:
        raise EncodeError(field, error.what) from error.__cause__
    except RecursionError:
        raise EncodeError(field, "a value that contains itself, or is nested too deeply,") from None
    except (TypeError, ValueError) as error:  # half a surrogate, for one
        raise EncodeError(field, f"a part of a {type(value).__name__}") from error


def decode(text: bytes) -> Any:
    """Read a value back: plain data, with instances of classes as dicts. Raises `DecodeError`."""
    try:
        return revive(loads(text))
    except NotJsonError as error:
        raise DecodeError("", str(error)) from None
    except RecursionError:
        raise DecodeError("", "is nested too deeply") from None


# --- out --------------------------------------------------------------------------------------------------------------


def to_plain(value: Any) -> Any:
    """Make JSON values of a value. Raises `EncodeError`, `RecursionError`."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if _LEAST <= value <= _MOST else {MARK: ["int", str(value)]}
    if kind is list:
        return [to_plain(each) for each in value]
    if kind is dict:
        return _dict_to_plain(value)
    write = _WRITERS.get(kind)
    if write is not None:
        return write(value)
    return _other_to_plain(value)


def _dict_to_plain(value: dict[Any, Any]) -> Any:
    if MARK not in value and all(type(key) is str for key in value):
        return {key: to_plain(each) for key, each in value.items()}
    pairs = [[to_plain(key), to_plain(each)] for key, each in value.items()]
    for key, (plain, _) in zip(value, pairs, strict=True):
        if isinstance(plain, dict) and MARK not in plain:  # it would come back as a dict, which cannot be a key
            raise EncodeError("", f"a dict with a {type(key).__name__} as a key")
    return {MARK: ["dict", pairs]}


def _float_to_plain(value: float) -> Any:
    return value if math.isfinite(value) else {MARK: ["float", str(value)]}


def _many(name: str) -> Callable[[Any], Any]:
    return lambda value: {MARK: [name, [to_plain(each) for each in value]]}


def _text(name: str, write: Callable[[Any], str] = str) -> Callable[[Any], Any]:
    return lambda value: {MARK: [name, write(value)]}


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _span(value: dt.timedelta) -> Any:
    return {MARK: ["timedelta", [value.days, value.seconds, value.microseconds]]}


_WRITERS: dict[type, Callable[[Any], Any]] = {
    float: _float_to_plain,
    tuple: _many("tuple"),
    set: _many("set"),
    frozenset: _many("frozenset"),
    bytes: _text("bytes", _base64),
    bytearray: _text("bytearray", _base64),
    complex: lambda value: {MARK: ["complex", [to_plain(value.real), to_plain(value.imag)]]},
    dt.datetime: _text("datetime", dt.datetime.isoformat),
    dt.date: _text("date", dt.date.isoformat),
    dt.time: _text("time", dt.time.isoformat),
    dt.timedelta: _span,
    decimal.Decimal: _text("decimal"),
    uuid.UUID: _text("uuid"),
    pathlib.PosixPath: _text("path"),
    pathlib.PurePosixPath: _text("purepath"),
    Payload: lambda value: {MARK: ["payload", [value.content_type, _base64(value.data)]]},
}


def _other_to_plain(value: Any) -> Any:
    """Take an instance of a class apart, as cattrs will put it together."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    names = _fields_of(kind)  # type: ignore[arg-type]  # a class can be hashed
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    for base, make in _BASES.items():
        if isinstance(value, base):
            return to_plain(make(value))
    raise EncodeError("", f"a value of type {kind.__name__}")


_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int,
    float: float,
    bytes: bytes,
    tuple: tuple,
    dict: dict,
    list: list,
    set: set,
    frozenset: frozenset,
    deque: list,
    pathlib.PurePath: lambda value: pathlib.PurePosixPath(value.as_posix()),
}
"""What a subclass of these travels as."""


@functools.lru_cache(maxsize=1024)
def _fields_of(kind: Any) -> tuple[str, ...] | None:
    """Name what an instance is made of; `None` for a class that does not say."""
    if attrs.has(kind):
        return tuple(each.name for each in attrs.fields(kind) if each.init)
    if dataclasses.is_dataclass(kind):
        return tuple(each.name for each in dataclasses.fields(kind) if each.init)
    return None


# --- in ---------------------------------------------------------------------------------------------------------------


def revive(value: Any) -> Any:
    """Make the values again that JSON does not have. Raises `DecodeError`."""
    kind = type(value)
    if kind is list:
        return [revive(each) for each in value]
    if kind is not dict:
        return value
    if MARK in value:
        return _read_marked(value)
    return {key: revive(each) for key, each in value.items()}


def _read_marked(value: dict[str, Any]) -> Any:
    what = value[MARK]
    if len(value) != 1 or not isinstance(what, list) or len(what) != 2:  # noqa: PLR2004 - a name and a value
        raise DecodeError(MARK, "must stand alone, with a list of a name and a value")
    name, given = what
    read = _READERS.get(name) if isinstance(name, str) else None
    if read is None:
        raise DecodeError(MARK, f"names no kind of value; there are {', '.join(_READERS)}")
    try:
        return read(given)
    except DecodeError:
        raise
    except Exception:  # noqa: BLE001 - each reader has its own way to refuse
        raise DecodeError(MARK, f"is not a {name}") from None


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise DecodeError(MARK, "must hold a list")
    return [revive(each) for each in value]


def _set(make: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    """Make a set; of what is yet to become instances of a class, a list, which will do for one."""
    try:
        return make(items)
    except TypeError:
        return items


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise DecodeError(MARK, "must hold a text")
    return value


_MAX_DIGITS = 4300
"""Source: CPython's own limit, beyond which reading a number takes too long."""


def _whole(value: Any) -> int:
    text = _string(value)
    if len(text) > _MAX_DIGITS:
        raise DecodeError(MARK, f"holds a number of more than {_MAX_DIGITS} digits")
    return int(text)


def _payload(value: Any) -> Payload:
    content_type, data = _items(value)
    return Payload(base64.b64decode(_string(data), validate=True), _string(content_type))


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda value: tuple(_items(value)),
    "set": lambda value: _set(set, _items(value)),
    "frozenset": lambda value: _set(frozenset, _items(value)),
    "dict": lambda value: dict(_items(value)),
    "int": _whole,
    "float": lambda value: float(_string(value)),
    "bytes": lambda value: base64.b64decode(_string(value), validate=True),
    "bytearray": lambda value: bytearray(base64.b64decode(_string(value), validate=True)),
    "complex": lambda value: complex(*_items(value)),
    "datetime": lambda value: dt.datetime.fromisoformat(_string(value)),
    "date": lambda value: dt.date.fromisoformat(_string(value)),
    "time": lambda value: dt.time.fromisoformat(_string(value)),
    "timedelta": lambda value: dt.timedelta(*_items(value)),
    "decimal": lambda value: decimal.Decimal(_string(value)),
    "uuid": lambda value: uuid.UUID(_string(value)),
    "path": lambda value: pathlib.Path(_string(value)),
    "purepath": lambda value: pathlib.PurePosixPath(_string(value)),
    "payload": _payload,
}
