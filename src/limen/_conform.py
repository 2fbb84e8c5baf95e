"""Whether a value is what an annotation says.

The rules are those of type checkers, as far as a value shows them: a `bool` is an `int`, an `int` will do for a
`float`. Containers are looked into, instances of classes are not. Annotations that cannot be checked, such as
protocols and type variables, admit everything.
"""

from __future__ import annotations

import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]

_COLLECTIONS = (
    list,
    set,
    frozenset,
    abc.Collection,
    abc.Iterable,
    abc.MutableSequence,
    abc.MutableSet,
    abc.Sequence,
    abc.Set,
)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)

_ALIAS: Any = getattr(typing, "TypeAliasType", ())
"""What `type X = …` makes, from Python 3.12 on."""


def check_for(annotation: Any) -> Check:
    """Make a function that says whether a value conforms to an annotation."""
    plain = _PLAIN.get(annotation) if _is_hashable(annotation) else None
    if plain is not None:
        return plain
    if isinstance(annotation, typing.NewType):
        return check_for(annotation.__supertype__)
    if isinstance(annotation, _ALIAS):
        return _later(lambda: check_for(annotation.__value__))
    origin = typing.get_origin(annotation)
    if typing.is_typeddict(origin or annotation):
        return _later(lambda: _check_typed_dict(origin or annotation))
    if origin is not None:
        return _check_generic(origin, typing.get_args(annotation))
    if isinstance(annotation, type) and not getattr(annotation, "_is_protocol", False):
        return lambda value: isinstance(value, annotation)
    return _anything


def _is_hashable(annotation: Any) -> bool:
    return isinstance(annotation, abc.Hashable)


def _later(make: Callable[[], Check]) -> Check:
    """Make a check when it is first needed: the type may be part of itself."""
    made: list[Check] = []

    def check(value: Any) -> bool:
        if not made:
            made.append(make())
        return made[0](value)

    return check


def _anything(_value: Any) -> bool:
    return True


_PLAIN: dict[Any, Check] = {
    Any: _anything,
    object: _anything,
    float: lambda value: isinstance(value, float | int),
    complex: lambda value: isinstance(value, complex | float | int),
    None: lambda value: value is None,
    typing.LiteralString: lambda value: isinstance(value, str),
    typing.Tuple: lambda value: isinstance(value, tuple),  # noqa: UP006 - its arguments look like those of `tuple[()]`
}


def _check_generic(origin: Any, args: tuple[Any, ...]) -> Check:
    if origin in {typing.Union, types.UnionType}:
        checks = [check_for(arg) for arg in args]
        return lambda value: any(check(value) for check in checks)
    if origin is typing.Annotated:
        return check_for(args[0])
    if origin is typing.Literal:
        return lambda value: any(value == arg and type(value) is type(arg) for arg in args)
    if origin is tuple:
        return _check_tuple(args)
    if origin in _MAPPINGS and args:
        key, item = check_for(args[0]), check_for(args[1])
        return lambda value: isinstance(value, origin) and all(key(k) and item(v) for k, v in value.items())
    if origin in _COLLECTIONS and args:
        item = check_for(args[0])
        return lambda value: isinstance(value, origin) and all(map(item, _items(value)))
    if isinstance(origin, type) and not getattr(origin, "_is_protocol", False):
        return lambda value: isinstance(value, origin)
    return _anything


def _items(value: abc.Iterable[Any]) -> abc.Iterable[Any]:
    """Give what may be looked at without using it up."""
    return value if isinstance(value, abc.Collection) else ()


def _check_tuple(args: tuple[Any, ...]) -> Check:
    if len(args) == 2 and args[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...]
        item = check_for(args[0])
        return lambda value: isinstance(value, tuple) and all(map(item, value))
    if any(typing.get_origin(arg) is typing.Unpack or getattr(arg, "__unpacked__", False) for arg in args):
        return lambda value: isinstance(value, tuple)
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
