"""How plain data becomes what an annotation says, strictly, and how an error names what came instead.

cattrs does the work, and is imported when the first plain data has to be structured.
"""

from __future__ import annotations

import types
import typing
from collections import abc, deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from ._conform import check_for
from .messages.payloads import Payload

Hook = Callable[[Any, Any], Any]

_DATA = (dict, list, tuple, set, frozenset, str, int, float, bool, bytes, type(None))

_NAMED_TYPES = 3
"""How many of the types inside a container are named."""


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
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def name_of_value(value: Any, error: BaseException | None = None) -> str:
    """Say of which type a value is, what is in it if it is a container, and what was wrong with it. Quotes nothing."""
    return f"{_type_of(value)}{_problems(error)}"


def _type_of(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, list | tuple | set | frozenset | dict) and value:
        items = value.values() if isinstance(value, dict) else value
        inner = sorted({type(item).__name__ for item in items})
        shown = " | ".join([*inner[:_NAMED_TYPES], *(["…"] if len(inner) > _NAMED_TYPES else [])])
        return f"{name} of {shown}"
    return name


def _problems(error: BaseException | None) -> str:
    """Say which fields of a class are wrong, as cattrs found them."""
    from cattrs import BaseValidationError, transform_error

    if not isinstance(error, BaseValidationError):
        return ""
    found = transform_error(error, path="")
    return f" ({'; '.join(each.removesuffix(' @ ') for each in found[:_NAMED_TYPES])})"


_made: list[Any] = []


def _converter() -> Any:
    if not _made:
        _made.append(_make_converter())
    return _made[0]


def _make_converter() -> Any:
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, float, complex, str, bytes, bool, *_whole_kinds()):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook_factory(_is_tuple, _tuple_hook)
    converter.register_structure_hook_factory(_is_collection, _collection_hook)
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)
    converter.register_structure_hook_factory(_is_union, _union_hook)
    return converter


def _whole_kinds() -> tuple[type, ...]:
    """Give the classes whose instances may be found among plain data, and are never made of anything else."""
    import datetime as dt
    import decimal
    import uuid

    return (dt.datetime, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID, Payload)


def _exactly(kind: type) -> Hook:
    check = check_for(kind)

    def hook(value: Any, asked: Any) -> Any:
        """Serve the type itself, and what is derived from it: an enumeration, for one."""
        if asked is not kind and issubclass(asked, Enum):
            return asked(value)
        if not check(value):
            raise _not(kind.__name__, value)
        return value

    return hook


def _not(expected: str, value: Any) -> TypeError:
    return TypeError(f"expected {expected}, not {type(value).__name__}")


# --- containers: what cattrs makes of any iterable, we make of lists and their like, never of a text ------------------

_MADE_OF: dict[Any, Callable[[Iterable[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    deque: deque,
    abc.Collection: list,
    abc.Iterable: list,
    abc.MutableSequence: list,
    abc.MutableSet: set,
    abc.Sequence: list,
    abc.Set: frozenset,
}

_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


def _is_tuple(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _is_collection(annotation: Any) -> bool:
    return (typing.get_origin(annotation) or annotation) in _MADE_OF if isinstance(annotation, abc.Hashable) else False


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) in _MAPPINGS


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in {typing.Union, types.UnionType}


def _collection_hook(annotation: Any, converter: Any) -> Hook:
    make = _MADE_OF[typing.get_origin(annotation) or annotation]
    item = (typing.get_args(annotation) or (Any,))[0]

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple | set | frozenset):
            raise _not("a list", value)
        return make(converter.structure(each, item) for each in value)

    return hook


def _tuple_hook(annotation: Any, converter: Any) -> Hook:
    args = typing.get_args(annotation)
    is_open = len(args) == 2 and args[1] is Ellipsis  # noqa: PLR2004 - tuple[X, ...]

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _not("a list", value)
        kinds = (args[0],) * len(value) if is_open else args
        if len(kinds) != len(value):
            msg = f"expected {len(kinds)} items, not {len(value)}"
            raise ValueError(msg)
        return tuple(converter.structure(each, kind) for each, kind in zip(value, kinds, strict=True))

    return hook


def _mapping_hook(annotation: Any, converter: Any) -> Hook:
    key, item = typing.get_args(annotation) or (Any, Any)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _not("a dict", value)
        return {converter.structure(k, key): converter.structure(v, item) for k, v in value.items()}

    return hook


def _union_hook(annotation: Any, converter: Any) -> Hook:
    """Take what is one of the kinds as it is, and make of other data the only kind that it fits."""
    kinds = typing.get_args(annotation)
    check = check_for(annotation)

    def hook(value: Any, _: Any) -> Any:
        if check(value):
            return value
        made = [each for kind in kinds for each in _try(converter, value, kind)]
        if len(made) != 1:
            msg = f"the data fits {'more than one' if made else 'none'} of {name_of(annotation)}"
            raise TypeError(msg)
        return made[0]

    return hook


def _try(converter: Any, value: Any, kind: Any) -> list[Any]:
    try:
        return [converter.structure(value, kind)]
    except Exception:  # noqa: BLE001 - it does not fit; a class of the user's may say so in any way
        return []
