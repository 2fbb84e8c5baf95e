"""What a function takes and gives, checked: arguments before anything is queued, the result before it is handed back."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

from .messages.errors import InvalidArgument, InvalidResult
from ._conform import Check, check_for, name_of, structure

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


_NONE: dict[str, Any] = {}
"""The keyword arguments of a call that has none."""


class CheckedSignature:
    """The signature of one function, compiled when it is first used, so that it may name types defined later."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        hints = typing.get_type_hints(function)
        self._name = name
        self._signature = inspect.signature(function)
        self._hints = {key: hints.get(key, Any) for key in self._signature.parameters}
        self._checks: dict[str, Check] = {key: check_for(hint) for key, hint in self._hints.items()}
        self._returns = hints.get("return", Any)
        self.returns = check_for(self._returns)
        parameters = self._signature.parameters.values()
        self._is_plain = all(each.kind in _POSITIONAL for each in parameters)
        self._in_order = [(key, self._checks[key]) for key in self._signature.parameters]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Give the arguments as the function shall get them.

        Raises `InvalidArgument`, a `TypeError`, for one that is missing, too many or of a wrong type.
        """
        if self._is_plain and not kwargs and len(args) == len(self._in_order):
            return self._check_in_order(args), _NONE
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArgument(self._name, "the call", f"like {self._name}{self._signature}", str(error)) from None
        for key, value in bound.arguments.items():
            bound.arguments[key] = self._checked(key, value)
        return bound.args, bound.kwargs

    def result(self, value: Any) -> Any:
        """Give the result as the caller shall get it. Raises `InvalidResult`, a `TypeError` of the function's."""
        if self.returns(value):
            return value
        try:
            return structure(value, self._returns)
        except Exception as error:
            raise InvalidResult(self._name, name_of(self._returns), type(value).__name__) from error

    def _check_in_order(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        for (_, check), value in zip(self._in_order, args, strict=True):
            if not check(value):
                break
        else:
            return args
        return tuple(self._fitted(key, value) for (key, _), value in zip(self._in_order, args, strict=True))

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
            raise InvalidArgument(self._name, key, name_of(hint), type(value).__name__) from error
