"""JSON in and out, with the same meaning whether or not `orjson` is installed.

Strict: UTF-8 only, no byte order mark, no NaN or infinity, no half surrogates. Whole numbers outside 64 bits read as
floats.
"""

import functools
import json
from collections.abc import Callable
from typing import Any

__all__ = ["NotJsonError", "canonical", "dumps", "loads"]

_LEAST, _MOST = -(2**63), 2**64 - 1


class NotJsonError(ValueError):
    """The bytes are not JSON. The text says where, and quotes nothing."""


def canonical(value: Any) -> bytes:
    """Write the one text that equal values share: keys sorted, no spaces. Raise `TypeError` or `ValueError` if none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _plain_loads(data: bytes) -> Any:
    text = data.decode()
    value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    if "\\u" in text:
        _refuse_half_surrogates(value)
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError("a number is too large")
    return number


def _whole(text: str) -> int | float:
    number = int(text)
    return number if _LEAST <= number <= _MOST else _finite(text)


def _refuse_half_surrogates(value: Any) -> None:
    """Raise `UnicodeEncodeError`, a `ValueError`, on text that has no UTF-8 form."""
    json.dumps(value, ensure_ascii=False).encode()


def _plain_dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


@functools.cache
def _fastest() -> tuple[Callable[[bytes], Any], Callable[[Any], bytes]]:
    """Return the reader and the writer to use; which ones shows when the first is needed."""
    try:
        import orjson
    except ImportError:
        return _plain_loads, _plain_dumps
    return orjson.loads, orjson.dumps


def loads(data: bytes) -> Any:
    """Read JSON, or raise `NotJsonError`."""
    try:
        return _fastest()[0](data)
    except RecursionError:
        raise NotJsonError("is nested too deeply") from None
    except ValueError as error:
        raise NotJsonError(f"is not JSON{_place(error)}") from None


def dumps(value: Any) -> bytes:
    """Write dicts, lists, texts, finite numbers of at most 64 bits, booleans and None.

    Raise `TypeError` or `ValueError` on anything else; a float that is not finite is the caller's to keep out.
    """
    return _fastest()[1](value)


def _place(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f" (line {error.lineno}, column {error.colno})"
    return ""
