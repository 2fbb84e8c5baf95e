"""The root of the error tree: errors as values with named fields.

Knows how an error keeps, compares, copies and pickles its fields. Knows no particular error.
"""

import copyreg
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Literal, dataclass_transform

__all__ = ["LimenError", "derived"]


def derived(*, init: Literal[False] = False) -> Any:  # noqa: ARG001 - type checkers read `init` from the signature
    """Mark a `message` that the error works out from its other fields, in `_text`, instead of being given it."""
    return _Derived()


class _Derived:
    """Ask the error for its text each time, so that the text can never disagree with the fields."""

    def __get__(self, error: "LimenError | None", owner: type) -> Any:
        return self if error is None else error._text()  # noqa: SLF001 - the two halves of one idea


@dataclass_transform(eq_default=False, field_specifiers=(derived,))
class LimenError(Exception):
    """What every error of this library is.

    A subclass declares its fields as annotations, the way a dataclass does, and takes them by position or by name.
    Errors compare by type and fields, and survive `copy` and `pickle`, also when a subclass has an `__init__` of
    its own. `str` says what was wrong and what would be right, and never holds payload bytes.
    """

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed if it is made again."""

    __match_args__: ClassVar[tuple[str, ...]] = ()  # pyright: ignore[reportIncompatibleVariableOverride]
    """The names of the fields, in the order in which they are taken."""

    _rests: ClassVar[dict[int, tuple[Any, ...]]] = {}
    """By how many fields are given by position: the defaults of all others, where they have some."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = dict.fromkeys([*cls.__match_args__, *_own_fields(cls)])
        fields = tuple(name for name in names if not _is_derived(cls, name))
        cls.__match_args__ = fields  # type: ignore[misc]
        cls._rests = {
            given: tuple(getattr(cls, name) for name in fields[given:])
            for given in range(len(fields) + 1)
            if all(hasattr(cls, name) for name in fields[given:])
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.__match_args__:
            super().__init__(*args, **kwargs)
            return
        rest = None if kwargs else self._rests.get(len(args))
        values = tuple(_bind(type(self), args, kwargs).values()) if rest is None else args + rest
        super().__init__(*values)
        self.__dict__.update(zip(self.__match_args__, values, strict=True))

    def _text(self) -> str:
        """Say what is wrong; what a `derived` message reads."""
        return super().__str__()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LimenError):
            return NotImplemented
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        try:
            return hash((type(self), self.args))
        except TypeError:
            # A field that cannot be hashed must not keep the error out of the sets that tracebacks are kept in.
            return hash(type(self))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        # Past `__init__`: a subclass may take other arguments than the ones it keeps.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


def _own_fields(cls: type) -> list[str]:
    """Return the fields that this class adds; one with an `__init__` of its own sees to its own."""
    if "__init__" in cls.__dict__:
        return []
    return [name for name, hint in _own_annotations(cls).items() if not _is_class_var(hint)]


def _own_annotations(cls: type) -> dict[str, Any]:
    """Return the annotations of this class alone, without resolving names that may not exist at run time."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return cls.__annotations__


def _is_class_var(hint: Any) -> bool:
    return "ClassVar" in (hint if isinstance(hint, str) else repr(hint))


def _is_derived(cls: type, name: str) -> bool:
    return isinstance(getattr(cls, name, None), _Derived)


def _bind(cls: type[LimenError], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Match arguments with fields as a call would, in field order."""
    names = cls.__match_args__
    if len(args) > len(names):
        raise TypeError(f"{cls.__name__} takes {len(names)} arguments ({', '.join(names)}), not {len(args)}")
    given = dict(zip(names, args, strict=False))
    if wrong := [name for name in kwargs if name in given or name not in names]:
        raise TypeError(f"{cls.__name__} takes each of {', '.join(names)} once; {wrong[0]!r} is one too many")
    given |= kwargs
    if missing := [name for name in names if name not in given and not hasattr(cls, name)]:
        raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
    return {name: given[name] if name in given else getattr(cls, name) for name in names}
