"""What a routing function is told, and what it may answer.

Knows values only; who runs the function, and for how long, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import attrs

from .pool import ConsumerId, ConsumerStateView

__all__ = ["RoutingFunction", "RoutingMessage", "RoutingValue", "dispatch_message"]

RoutingValue = str | int | float | bool | None
"""What a field of a routing message may hold."""

_KINDS = (str, int, float, bool, type(None))


def _in_key_order(given: Any) -> dict[str, RoutingValue]:
    """Check the fields, a mapping or pairs, and sort them; of two values for one field the later stays."""
    fields: dict[Any, Any] = dict(given)
    for name, value in fields.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"a field's name must be a non-empty str, not {name!r}")
        if not isinstance(value, _KINDS):
            raise TypeError(f"{name} must be a str, int, float, bool or None, not {type(value).__name__}")
    return dict(sorted(fields.items()))


@attrs.frozen(eq=False, repr=False)
class RoutingMessage(Mapping[str, RoutingValue]):
    """The facts by which to route, a read-only mapping that iterates in key order. `get` of a missing field is None.

    Equal messages have equal fields of equal types: `True` is not `1`. Source: behaviour RT-03.
    """

    _fields: Mapping[str, RoutingValue] = attrs.field(factory=dict, converter=_in_key_order)

    def with_field(self, name: str, value: RoutingValue) -> Self:
        """Give the same message with one field set; a value that was there is replaced."""
        return type(self)({**self._fields, name: value})

    def __getitem__(self, name: str) -> RoutingValue:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return self._typed() == other._typed() if isinstance(other, RoutingMessage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._typed())

    def __repr__(self) -> str:
        return f"RoutingMessage({self._fields!r})"

    def _typed(self) -> tuple[tuple[str, type, RoutingValue], ...]:
        return tuple((name, type(value), value) for name, value in self._fields.items())


def dispatch_message(
    activity_type: str, task_queue: str, input_content_type: str, key: str | None = None
) -> RoutingMessage:
    """Tell what is to be known of a dispatch: exactly three fields, and `key` where the caller gave one."""
    fields: dict[str, RoutingValue] = {
        "activity_type": activity_type,
        "task_queue": task_queue,
        "input_content_type": input_content_type,
    }
    return RoutingMessage(fields if key is None else {**fields, "key": key})


RoutingFunction = Callable[[RoutingMessage, tuple[ConsumerStateView, ...]], ConsumerId | str | None]
"""Choose one of the views, by its consumer's id, or nobody. It is given copies: nothing it does to them has effect."""
