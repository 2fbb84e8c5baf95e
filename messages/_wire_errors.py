"""Errors on the wire: their kind, their text, and the fields of the kinds that both sides have.

An error of any other kind, or with a field that has no plain JSON form, arrives as a `RemoteError` with the same text.
"""

import functools
import math
import typing
from typing import Any

from . import errors
from .errors import DecodeError, LimenError, RemoteError

__all__ = ["error_from_wire", "error_to_wire"]

_UNNAMED = "error"
"""The kind of an error that came as a bare text."""


@functools.cache
def _kinds() -> dict[str, type[LimenError]]:
    """Return the errors with fields that `errors` lists, by name; not whatever happens to be imported."""
    kinds: list[type[LimenError]] = [getattr(errors, name) for name in errors.__all__]
    return {kind.__name__: kind for kind in kinds if kind.__match_args__}


def error_to_wire(error: BaseException) -> dict[str, Any]:
    """Describe an error in plain JSON values."""
    kind, message = type(error), _scrubbed(_text(error))
    if _kinds().get(kind.__name__) is not kind:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return {"kind": _scrubbed(name), "message": message}
    given = {name: getattr(error, name) for name in _kinds()[kind.__name__].__match_args__}
    fields = {name: _scrubbed(value) if type(value) is str else value for name, value in given.items()}
    if not all(_is_plain(value) for value in fields.values()):
        return {"kind": kind.__name__, "message": message}
    return {"kind": kind.__name__, "message": message, "fields": fields}


def error_from_wire(value: Any) -> LimenError:
    """Build the error again; equal to the one described, if its fields travelled. Raise `DecodeError` if it is none."""
    if isinstance(value, str):
        return RemoteError(_UNNAMED, value)
    if not isinstance(value, dict):
        raise DecodeError("", "must be an object or a text")
    name, message = _text_at(value, "kind"), _text_at(value, "message")
    if not name:
        raise DecodeError("kind", "must not be empty")
    kind = _kinds().get(name)
    if kind is None or "fields" not in value:
        return RemoteError(name, message)
    return _built(kind, value["fields"])


def _built(kind: type[LimenError], fields: Any) -> LimenError:
    if not isinstance(fields, dict):
        raise DecodeError("fields", "must be an object")
    given = {name: _frozen(fields[name]) for name in kind.__match_args__ if name in fields}
    hints = _hints(kind.__name__)
    for name in kind.__match_args__:
        if name not in given and not hasattr(kind, name):
            raise DecodeError(f"fields.{name}", "is missing")
        if name in given and not _fits(given[name], hints[name]):
            raise DecodeError(f"fields.{name}", f"must be of type {_name_of(hints[name])}")
    return kind(**given)


@functools.cache
def _hints(name: str) -> dict[str, Any]:
    return typing.get_type_hints(_kinds()[name])


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a plain value is what an error's annotation asks for."""
    if hint is object:
        return True
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(hint, type) and not typing.get_args(hint):
        return isinstance(value, hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(each, typing.get_args(hint)[0]) for each in value)
    return any(_fits(value, option) for option in typing.get_args(hint))


def _name_of(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _is_plain(value: Any) -> bool:
    """Say whether a value comes back from JSON as it went, lists being tuples again."""
    if value is None or type(value) is bool:
        return True
    if type(value) is int:
        return -(2**63) <= value < 2**64
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is str:
        return value == _scrubbed(value)
    return type(value) is tuple and all(_is_plain(each) for each in value)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


def _text(error: BaseException) -> str:
    """Return what the error says; its class may be anybody's, and so may fail to say anything."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever a foreign __str__ raises, the error itself still has to travel
        return f"<{type(error).__name__} without a text>"


def _scrubbed(text: str) -> str:
    """Escape what has no UTF-8 form."""
    return text.encode(errors="backslashreplace").decode()


def _text_at(value: dict[str, Any], name: str) -> str:
    if name not in value:
        raise DecodeError(name, "is missing")
    text = value[name]
    if not isinstance(text, str):
        raise DecodeError(name, f"must be a text, not {type(text).__name__}")
    return text
