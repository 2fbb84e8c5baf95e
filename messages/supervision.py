"""What is said to a supervisor, and the values that describe its children.

Knows no actor: a child is started by whatever the specification names, and known by the ref that this gives.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

import attrs
from attrs.validators import ge, le

from ._checks import named
from .restarts import RestartIntensity

__all__ = [
    "Backoff",
    "ChildCounts",
    "ChildRow",
    "ChildSpec",
    "ChildState",
    "CountChildren",
    "DeleteChild",
    "RestartChild",
    "RestartIntensity",
    "RestartType",
    "StartChild",
    "StopChild",
    "Strategy",
    "WhichChildren",
]


_NONE: Mapping[str, Any] = types.MappingProxyType({})


def _as_tuple(given: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(given)


def _frozen(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return types.MappingProxyType(dict(given)) if given else _NONE


def _natural(_instance: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    """Refuse a time below 0; `None` is no time."""
    if value is not None and value < 0:
        raise ValueError(f"{attribute.name} must not be negative: {value}")


class RestartType(StrEnum):
    """When a child that ended is started again. Source: OTP, supervisor."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only when it ended other than normally."""
    TEMPORARY = "temporary"
    """Never; it is forgotten when it ends."""


class Strategy(StrEnum):
    """Who is restarted with a child that crashed. Source: OTP, supervisor."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings that were started after it."""


class ChildState(StrEnum):
    """Where a child is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    """It crashed and waits for its restart."""
    DOWN = "down"
    """It is not there: it was stopped, had nothing more to do, or was given up."""


@attrs.frozen
class Backoff:
    """How long to wait before a restart: longer each time, at most `max_s`. Source: Akka, BackoffSupervisor."""

    initial_s: float = attrs.field(default=0.1, validator=ge(0))
    factor: float = attrs.field(default=2.0, validator=ge(1))
    max_s: float = attrs.field(default=30.0, validator=ge(0))
    jitter: float = attrs.field(default=0.2, validator=[ge(0), le(1)])
    """The share of the delay that is left to chance, so that those that fell together do not rise together."""
    reset_after_s: float | None = attrs.field(default=None, validator=_natural)
    """A child that has lived this long is a good one again; `max_s` by default."""


@attrs.frozen(kw_only=True)
class ChildSpec:
    """How a child is started, restarted and stopped."""

    id: str = attrs.field(validator=named)
    """Unique at its supervisor."""
    start: Callable[..., Any]
    """An actor class, or a function that starts an actor and returns its ref. A class is started already linked."""
    args: tuple[Any, ...] = attrs.field(default=(), converter=_as_tuple)
    kwargs: Mapping[str, Any] = attrs.field(default=_NONE, converter=_frozen, hash=False)
    restart: RestartType = attrs.field(default=RestartType.PERMANENT, converter=RestartType)
    shutdown_timeout_s: float | None = attrs.field(default=5.0, validator=_natural)
    """How long it may take to stop before it is killed; `None` is for ever, 0 kills at once."""
    intensity: RestartIntensity | None = None
    """A limit of its own: when it is passed, this child alone is given up and the supervisor lives. Source: Akka."""
    backoff: Backoff | None = None
    """Instead of the supervisor's."""
    on_given_up: Callable[[Any], object] | None = None
    """Called with the `ExitReason`, on the supervisor's thread, when this child is given up. Must not block."""


@attrs.frozen
class StartChild:
    """Add a child and start it. Replies with its ref.

    Errors: `ChildExists`, `ChildStartFailed`, `SupervisorStopping`.
    """

    spec: ChildSpec


@attrs.frozen
class StartLike:
    """Add a child to which a specification applies that is the same for many, and start it: as `StartChild`.

    What it has of its own, in place of what the specification says, is named here.
    """

    spec: ChildSpec
    child_id: str
    start: Callable[..., Any]
    on_given_up: Callable[[Any], object] | None = None


@attrs.frozen
class StopChild:
    """Stop a child and keep its specification, unless it is temporary. Replies when the child is gone."""

    child_id: str


@attrs.frozen
class RestartChild:
    """Start a child that is down, or stop one that is not and start it again. Replies with the new ref."""

    child_id: str


@attrs.frozen
class DeleteChild:
    """Stop a child and forget it. Replies when it is gone."""

    child_id: str


@attrs.frozen
class WhichChildren:
    """Ask for a tuple of `ChildRow`, in start order."""


@attrs.frozen
class CountChildren:
    """Ask for `ChildCounts`."""


@attrs.frozen(kw_only=True)
class ChildRow:
    """One child as its supervisor sees it."""

    id: str
    ref: Any
    """`None` while it is not there."""
    state: ChildState
    restart: RestartType
    restarts: int
    """How often it was started again, all in all."""


@attrs.frozen(kw_only=True)
class ChildCounts:
    """How many children there are."""

    specs: int
    """All that the supervisor knows."""
    active: int
    """Those that run or are being stopped."""
    abandoned: int
    """Those that could not be ended and may be running still."""
