"""The live actor tree, as values.

It is read past the actors, never asked of them, so it answers at once while every one of them is busy. What it shows of
different actors may be a moment apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import attrs
from pykka import ActorRef, ActorRegistry
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from .linking import ExitSignal, Notice
from .links import LinkedActor


class ActorState(StrEnum):
    """What an actor is doing."""

    STARTING = "starting"
    """It has not come out of `on_start` yet."""
    IDLE = "idle"
    HANDLING = "handling"
    STOPPING = "stopping"
    """It was asked to stop and winds up."""
    RUNNING = "running"
    """It is a stock Pykka actor, which does not say more."""


@attrs.frozen(kw_only=True)
class ActorRow:
    """One actor and those below it."""

    name: str
    """The id that its supervisor knows it by, or else the name of its class."""
    urn: str
    class_name: str
    state: ActorState
    handling: str | None = None
    """The kind of message that it handles now."""
    handling_s: float | None = None
    """For how long it has handled it."""
    queue_length: int
    restarts: int = 0
    """How often its supervisor has started it again."""
    children: tuple[ActorRow, ...] = ()
    """In the order of their start."""


def tree() -> tuple[ActorRow, ...]:
    """Give the actors that live in this process: the roots, with their children in them. Any thread; never waits.

    A parent is the supervisor of an actor, or else the actor that started it. Stock Pykka actors are roots.
    """
    refs = ActorRegistry.get_all()
    actors = {ref.actor_urn: actor for ref in refs if (actor := _actor_of(ref)) is not None}
    places = _places(actors)
    below: dict[str | None, list[str]] = {}
    for urn, actor in actors.items():
        parent_urn = places[urn][0] if urn in places else getattr(actor, "_parent_urn", None)
        below.setdefault(parent_urn if parent_urn in actors else None, []).append(urn)
    return tuple(_rows(None, actors, places, below))


def format_tree(rows: tuple[ActorRow, ...] | None = None) -> str:
    """Write a tree as text, a line for each actor; by default the one that lives now."""
    return "\n".join(line for row in (tree() if rows is None else rows) for line in _lines(row, "", ""))


# --- reading ------------------------------------------------------------------------------------------------------

_Actors = dict[str, Any]
_Places = dict[str, tuple[str, str, int]]
"""By URN: the supervisor's URN, the id there, and the restarts."""


def _actor_of(ref: ActorRef[Any]) -> Any:
    return ref._actor_weakref()  # noqa: SLF001 - Pykka gives no other way to the actor


def _places(actors: _Actors) -> _Places:
    from .supervisor import SupervisorActor  # imported late: most who import limen never draw a tree

    return {
        child_urn: (urn, child_id, restarts)
        for urn, actor in actors.items()
        if isinstance(actor, SupervisorActor)
        for child_urn, child_id, restarts in actor.places()
    }


def _rows(
    parent_urn: str | None, actors: _Actors, places: _Places, below: dict[str | None, list[str]]
) -> Iterator[ActorRow]:
    for urn in below.get(parent_urn, ()):
        actor = actors[urn]
        _, name, restarts = places.get(urn, ("", type(actor).__name__, 0))
        state, handling, handling_s = _doing(actor)
        yield ActorRow(
            name=name,
            urn=urn,
            class_name=type(actor).__name__,
            state=state,
            handling=handling,
            handling_s=handling_s,
            queue_length=actor.actor_inbox.qsize(),
            restarts=restarts,
            children=tuple(_rows(urn, actors, places, below)),
        )


def _doing(actor: Any) -> tuple[ActorState, str | None, float | None]:
    if not isinstance(actor, LinkedActor):
        return ActorState.RUNNING, None, None
    message, since_s = actor._now_handling, actor._since_s  # noqa: SLF001 - the two are one library
    if message is not None:
        busy_s = max(0.0, actor._clock() - since_s)  # noqa: SLF001 - as above
        return ActorState.STOPPING if _winds_up(actor) else ActorState.HANDLING, _kind(message), busy_s
    if _winds_up(actor):
        return ActorState.STOPPING, None, None
    return (ActorState.IDLE if actor._started else ActorState.STARTING), None, None  # noqa: SLF001 - as above


def _winds_up(actor: LinkedActor) -> bool:
    return actor._winding_up or actor.actor_stopped.is_set()  # noqa: SLF001 - the two are one library


def _kind(message: object) -> str:
    """Name a kind of message; a call by proxy is named by what it calls."""
    if isinstance(message, Notice | ExitSignal):
        return type(message.down).__name__
    if isinstance(message, ProxyCall | ProxyGetAttr | ProxySetAttr):
        return ".".join(message.attr_path)
    return type(message).__name__


# --- writing ------------------------------------------------------------------------------------------------------


def _lines(row: ActorRow, first: str, rest: str) -> Iterator[str]:
    yield first + _line(row)
    for child in row.children[:-1]:
        yield from _lines(child, rest + "├─ ", rest + "│  ")
    for child in row.children[-1:]:
        yield from _lines(child, rest + "└─ ", rest + "   ")


def _line(row: ActorRow) -> str:
    name = row.name if row.name == row.class_name else f"{row.name} ({row.class_name})"
    parts = [name, str(row.state)]
    if row.handling is not None:
        doing = f"{row.handling} for {row.handling_s or 0.0:.1f} s"
        parts[-1] = f"handling {doing}" if row.state is ActorState.HANDLING else f"{row.state}, handling {doing}"
    if row.queue_length:
        parts.append(f"{row.queue_length} waiting")
    if row.restarts:
        parts.append("restarted once" if row.restarts == 1 else f"restarted {row.restarts} times")
    return "  ".join(parts)
