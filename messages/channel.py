"""What a channel is made of: a name, a schema, and whether it keeps what passes through it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import attrs

from .names import ChannelName
from .schema import Schema


class ChannelMode(StrEnum):
    """What becomes of a message that nobody was there to receive."""

    EPHEMERAL = "ephemeral"
    """It is gone."""
    DURABLE = "durable"
    """It is kept in a store."""


def _named(_instance: object, _attribute: object, value: Any) -> None:
    if not isinstance(value, ChannelName | str) or not str(value):
        msg = "a channel's name is a ChannelName or a non-empty text"
        raise TypeError(msg)


def _checked(_instance: object, _attribute: object, value: Any) -> None:
    if not isinstance(value, Schema) and not callable(value):
        msg = f"schema must be a Schema, or a function that gives one, not {type(value).__name__}"
        raise TypeError(msg)


@attrs.frozen(kw_only=True)
class ChannelConfig:
    """All three are required. The schema may be given as a function, which is called when it is first needed."""

    name: ChannelName | str = attrs.field(validator=_named)
    _schema: Schema | Callable[[], Schema] = attrs.field(alias="schema", repr=False, validator=_checked)
    mode: ChannelMode = attrs.field(converter=ChannelMode)

    @property
    def schema(self) -> Schema:
        """The schema that every published payload must meet."""
        return self._schema if isinstance(self._schema, Schema) else self._schema()


@attrs.frozen(kw_only=True)
class Delivery:
    """What the subscribers' inboxes said to one publish. Those that filtered it out are not among them."""

    accepted: int = 0
    """Inboxes that received it within their bound."""
    deferred: int = 0
    """Inboxes that received it above their bound: their readers lag, and the publisher should slow down."""
    rejected: int = 0
    """Inboxes that were full: they never get it."""

    @property
    def count(self) -> int:
        """How many inboxes received it."""
        return self.accepted + self.deferred

    @property
    def is_delivered(self) -> bool:
        """Whether any inbox received it."""
        return self.count > 0

    def __int__(self) -> int:
        """Give the count."""
        return self.count
