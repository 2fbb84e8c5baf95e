"""Errors between machines: what an activity raised on one, for whoever asked on another.

The library's own errors and Python's built-in ones arrive as what they were; of any other, kind and text arrive as a
`RemoteError`. The traceback comes along as text, as it does from a child process.
"""

from __future__ import annotations

import builtins
import traceback
from typing import Any

from ..actors.executors._packing import RemoteTraceback
from ..messages._json import dumps
from ..messages._wire_errors import error_from_wire, error_to_wire
from ..messages.errors import EncodeError, RemoteError
from . import values

_DEPTH = 5
"""How many causes of causes travel."""

_TEXT = 16_384
"""How much of a traceback travels, from its end."""


def to_wire(error: BaseException, depth: int = _DEPTH) -> dict[str, Any]:
    """Describe an error in JSON values."""
    made = error_to_wire(error)
    if _builtin(made["kind"]) is type(error) and "fields" not in made:
        made |= _arguments(error)
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        made["traceback"] = _clean(cause.text)
    elif cause is not None and depth:
        made["cause"] = to_wire(cause, depth - 1)
    elif error.__traceback__ is not None:
        made["traceback"] = _clean("".join(traceback.format_exception(error)))
    return made


def from_wire(value: Any, depth: int = _DEPTH) -> BaseException:
    """Make the error again. Raises `DecodeError`."""
    error: BaseException = error_from_wire(value)
    if isinstance(error, RemoteError) and isinstance(value, dict):
        error = _revived(error, value)
    if not isinstance(value, dict):
        return error
    if "cause" in value and depth:
        error.__cause__ = from_wire(value["cause"], depth - 1)
    elif isinstance(text := value.get("traceback"), str):
        error.__cause__ = RemoteTraceback(text)
    return error


def _arguments(error: BaseException) -> dict[str, Any]:
    """Give what it was made of, if all of that can travel; its text always can."""
    try:
        plain = values.to_plain(list(error.args))
        dumps(plain)  # half a surrogate in a text, for one, has no form there
    except (EncodeError, RecursionError, TypeError, ValueError):
        return {}
    return {"args": plain}


def _clean(text: str) -> str:
    return text[-_TEXT:].encode(errors="backslashreplace").decode()


def _builtin(kind: str) -> type[Exception] | None:
    """Give the built-in exception of that name. One that ends a program is not among them."""
    found = getattr(builtins, kind, None) if kind.isidentifier() else None
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _revived(error: RemoteError, value: dict[str, Any]) -> BaseException:
    kind = _builtin(error.kind)
    if kind is None:
        return error
    try:
        given = values.revive(value["args"]) if "args" in value else [error.message]
        return kind(*given)
    except Exception:  # noqa: BLE001 - each class has its own way to refuse what it is not made of
        return error
