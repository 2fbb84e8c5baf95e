"""What a function takes and gives, checked: arguments before anything is queued, a result before it is handed back."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from ._conform import Check, check_for
from ._structure import name_of, name_of_value, structure
from .messages.errors import ConfigError, InvalidArgument, InvalidResult

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


Bound = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments by position and by name, as a function takes them."""

_NONE: dict[str, Any] = {}
"""The keyword arguments of a call that has none."""

_UNKNOWN = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
"""What a function is taken to accept that does not say: some of those written in C."""


class CheckedSignature:
    """The signature of one function, compiled when it is first used, so that it may name types defined later.

    Raises `ConfigError` for an annotation that names something that cannot be found.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        hints = _hints(function, name)
        self._name = name
        self._signature = _signature(function)
        self._hints = {key: hints.get(key, Any) for key in self._signature.parameters}
        self._checks: dict[str, Check] = {key: check_for(hint) for key, hint in self._hints.items()}
        self._returns: Any = hints.get("return", Any)
        self.returns = check_for(self._returns)
        self.returned_type: Any = self._returns
        """What results are said to be. Where that is a class, objects of just this class need no check."""
        self.bind = self._quickest()
        """Does what `fit` does."""

    def fit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        """Give the arguments as the function shall get them.

        Raises `InvalidArgument`, a `TypeError`, for one that is missing, too many or of a wrong type.
        """
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(
                self._name, "the call", f"like {self._name}{self._signature}", f"this: {error}"
            ) from None
        for key, value in bound.arguments.items():
            bound.arguments[key] = self._checked(key, value)
        return bound.args, bound.kwargs

    def arguments(self, bound: tuple[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
        """Give bound arguments by the names of their parameters, defaults filled in, however the call was written."""
        args, kwargs = bound
        complete = self._signature.bind(*args, **kwargs)
        complete.apply_defaults()
        return complete.arguments

    def result(self, value: Any) -> Any:
        """Give the result as the caller shall get it. Raises `InvalidResult`: a failure of the activity."""
        if self.returns(value):
            return value
        try:
            return structure(value, self._returns)
        except Exception as error:
            raise InvalidResult(self._name, name_of(self._returns), name_of_value(value, error)) from error

    def _quickest(self) -> Callable[[tuple[Any, ...], dict[str, Any]], Bound]:
        """Give the quickest way to fit arguments that most likely fit already, in place of a general one."""
        if any(each.kind not in _POSITIONAL for each in self._signature.parameters.values()):
            return self.fit
        fit, plain = self.fit, tuple((hint, self._checks[key]) for key, hint in self._hints.items())
        count = len(plain)
        if count == 1:
            ((only_hint, only_check),) = plain

            def bind_one(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
                if len(args) == 1 and not kwargs and (type(args[0]) is only_hint or only_check(args[0])):
                    return args, _NONE
                return fit(args, kwargs)

            return bind_one

        def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
            if len(args) != count or kwargs:
                return fit(args, kwargs)
            for (hint, check), value in zip(plain, args):  # noqa: B905 - `strict` costs more than the check
                if type(value) is not hint and not check(value):
                    return fit(args, kwargs)
            return args, _NONE

        return bind

    def _checked(self, key: str, value: Any) -> Any:
        """Check one parameter, or each of what `*args` and `**kwargs` gathered."""
        kind = self._signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return tuple(self._fitted(key, each) for each in value)
        if kind is inspect.Parameter.VAR_KEYWORD:
            return {name: self._fitted(key, each) for name, each in value.items()}
        return self._fitted(key, value)

    def _fitted(self, key: str, value: Any) -> Any:
        if self._checks[key](value):
            return value
        hint = self._hints[key]
        try:
            return structure(value, hint)
        except Exception as error:
            raise InvalidArgument(self._name, key, name_of(hint), name_of_value(value, error)) from error


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError:
        return _UNKNOWN


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """Resolve the annotations of a function, of what a partial completes, or of an object's `__call__`."""
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__name__"):
        function = type(function).__call__
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        message = f"an annotation names {error.name!r}, which is not there at run time; import it outside TYPE_CHECKING"
        raise ConfigError(f"activity {name!r}", message) from error
