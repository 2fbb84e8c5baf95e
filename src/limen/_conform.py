"""Whether a value is what an annotation says, and how raw data becomes it.

A value that conforms is passed on as it is, the very object. Plain data (a dict for an attrs class, say) is structured
by cattrs, strictly: no text becomes a number. Annotations that cannot be checked admit everything.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]

_CONTAINERS = (list, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection, abc.Set, abc.MutableSequence)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_DATA = (dict, list, tuple, str, int, float, bool, bytes, type(None))


def check_for(annotation: Any) -> Check:
    """Make a function that says whether a value conforms to an annotation."""
    plain = _PLAIN.get(annotation) if isinstance(annotation, abc.Hashable) else None
    if plain is not None:
        return plain
    if isinstance(annotation, typing.NewType):
        return check_for(annotation.__supertype__)
    origin = typing.get_origin(annotation)
    if origin is not None:
        return _check_generic(origin, typing.get_args(annotation))
    if typing.is_typeddict(annotation):
        return _check_typed_dict(annotation)
    if isinstance(annotation, type) and not getattr(annotation, "_is_protocol", False):
        return lambda value: isinstance(value, annotation)
    return _anything


def structure(value: Any, annotation: Any) -> Any:
    """Make what the annotation says of plain data. Raises whatever says that it cannot be made."""
    if not isinstance(value, _DATA):
        msg = f"a {type(value).__name__} is not plain data"
        raise TypeError(msg)
    made = _converter().structure(value, annotation)
    if not check_for(annotation)(made):
        msg = "the data does not fit"
        raise TypeError(msg)
    return made


def name_of(annotation: Any) -> str:
    """Say an annotation in words, for an error."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _anything(_value: Any) -> bool:
    return True


_PLAIN: dict[Any, Check] = {
    Any: _anything,
    object: _anything,
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: lambda value: isinstance(value, float | int) and not isinstance(value, bool),
    complex: lambda value: isinstance(value, complex | float | int) and not isinstance(value, bool),
    None: lambda value: value is None,
    type(None): lambda value: value is None,
}


def _check_generic(origin: Any, args: tuple[Any, ...]) -> Check:  # noqa: PLR0911 - a clause per kind of annotation
    if origin in {typing.Union, types.UnionType}:
        checks = [check_for(arg) for arg in args]
        return lambda value: any(check(value) for check in checks)
    if origin is typing.Annotated:
        return check_for(args[0])
    if origin is typing.Literal:
        return lambda value: any(value == arg and type(value) is type(arg) for arg in args)
    if origin is tuple:
        return _check_tuple(args)
    if origin in _MAPPINGS:
        key, item = check_for(args[0]), check_for(args[1])
        return lambda value: isinstance(value, origin) and all(key(k) and item(v) for k, v in value.items())
    if origin in _CONTAINERS:
        item = check_for(args[0])
        return lambda value: _is_collection(value, origin) and all(map(item, value))
    if isinstance(origin, type):
        return lambda value: isinstance(value, origin)
    return _anything


def _is_collection(value: Any, origin: type) -> bool:
    """Whether its items may be looked at without using it up."""
    return isinstance(value, origin) and isinstance(value, abc.Collection) and not isinstance(value, str | bytes)


def _check_tuple(args: tuple[Any, ...]) -> Check:
    if len(args) == 2 and args[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...]
        item = check_for(args[0])
        return lambda value: isinstance(value, tuple) and all(map(item, value))
    checks = [check_for(arg) for arg in args]
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(checks)
        and all(check(each) for check, each in zip(checks, value, strict=True))
    )


def _check_typed_dict(annotation: Any) -> Check:
    checks = {name: check_for(hint) for name, hint in typing.get_type_hints(annotation).items()}
    required: frozenset[str] = annotation.__required_keys__
    return lambda value: (
        isinstance(value, dict)
        and required <= value.keys() <= checks.keys()
        and all(checks[name](each) for name, each in value.items())
    )


_made: list[Any] = []


def _converter() -> Any:
    """Give the strict converter; cattrs is imported when the first plain data has to be structured."""
    if not _made:
        import cattrs

        converter = cattrs.Converter(forbid_extra_keys=True)
        for kind in (int, float, str, bytes, bool):
            converter.register_structure_hook(kind, _exactly(kind))
        _made.append(converter)
    return _made[0]


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    check = check_for(kind)

    def hook(value: Any, _: Any) -> Any:
        if not check(value):
            msg = f"expected {kind.__name__}, not {type(value).__name__}"
            raise TypeError(msg)
        return value

    return hook
