"""What makes two routing functions the same: their code, and all that they carry with them.

A digest covers the code and every plain value; what cannot be put into a digest is compared by identity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

import attrs

__all__ = ["Fingerprint"]

_PLAIN = (str, int, float, complex, bool, bytes, type(None), type(...))


@attrs.frozen(eq=False)
class Fingerprint:
    """Of a callable: `digest` is the same in every process that runs the same Python."""

    digest: str
    opaque: tuple[Any, ...]
    """What the digest names by type only: the objects that it captured, and the globals it reads."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Fingerprint:
        """Read a function, a bound method, a partial or any other callable."""
        opaque: list[Any] = []
        import hashlib

        digest = hashlib.sha256()
        for part in _parts(function, opaque, set()):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return cls(digest.hexdigest(), tuple(opaque))

    def matches(self, other: Fingerprint) -> bool:
        """Whether the two are of functions that cannot behave differently."""
        return (
            self.digest == other.digest
            and len(self.opaque) == len(other.opaque)
            and all(mine is theirs for mine, theirs in zip(self.opaque, other.opaque, strict=True))
        )


def _parts(value: Any, opaque: list[Any], seen: set[int]) -> Iterator[str]:
    """Spell a value, in pieces."""
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}"
    if kind in _PLAIN:
        yield repr(value)
    elif id(value) in seen:
        yield "again"
    elif children := _children(value, opaque):
        seen.add(id(value))
        yield str(len(children))
        for child in children:
            yield from _parts(child, opaque, seen)
    else:
        opaque.append(value)


def _children(value: Any, opaque: list[Any]) -> list[Any]:
    """Take apart what can be."""
    match value:
        case FunctionType():
            opaque.append(value.__globals__)
            cells = [_contents(cell) for cell in value.__closure__ or ()]
            return [value.__code__, value.__defaults__, sorted((value.__kwdefaults__ or {}).items()), *cells]
        case MethodType():
            return [value.__func__, value.__self__]
        case functools.partial():
            return [value.func, value.args, sorted(value.keywords.items())]
        case CodeType():
            names = [value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars]
            flags = [value.co_flags, value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount]
            return [value.co_code, value.co_exceptiontable, value.co_consts, *names, *flags]
        case tuple() | list():
            return [len(value), *value]
        case frozenset():
            return [len(value), *sorted(value, key=repr)]
        case _:
            return []


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has not been given a value yet
        return "an empty cell"
