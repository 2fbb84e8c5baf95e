"""Workers as children: what a supervisor is told of them. Imported with the first worker that has a supervisor."""

from __future__ import annotations

from ..messages.restarts import RestartIntensity
from ..messages.supervision import ChildSpec, DeleteChild, RestartType, StartLike
from .blueprint import Blueprint

RESTARTS = RestartIntensity(max_restarts=10, within_s=10.0)
"""How often a supervised worker may crash before it is given up."""

_ONCE = ChildSpec(id="once", start=Blueprint.__call__, restart=RestartType.TEMPORARY)
_AGAIN = ChildSpec(id="again", start=Blueprint.__call__, restart=RestartType.TRANSIENT, intensity=RESTARTS)


def birth(blueprint: Blueprint) -> StartLike:
    """What starts a worker's participant, and starts it again if the worker is to come back."""
    if blueprint.supervised:
        return StartLike(_AGAIN, blueprint.child_id, blueprint, blueprint.give_up)
    return StartLike(_ONCE, blueprint.child_id, blueprint)


def removal(blueprint: Blueprint) -> DeleteChild:
    """What ends a worker's participant for good."""
    return DeleteChild(blueprint.child_id)
