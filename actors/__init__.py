"""Who says it: one actor per file, beside its pure core."""

from ..messages.supervision import (
    Backoff,
    ChildSpec,
    CountChildren,
    DeleteChild,
    RestartChild,
    RestartIntensity,
    RestartType,
    StartChild,
    StopChild,
    Strategy,
    WhichChildren,
)
from .links import Link, LinkedActor, exit_reason, kill, notify, order_exit, post
from .supervisor import QuietSupervisor, SupervisorActor
from .tree import ActorRow, ActorState, format_tree, tree
from .watching import watch, watchable

__all__ = [
    "ActorRow",
    "ActorState",
    "Backoff",
    "ChildSpec",
    "CountChildren",
    "DeleteChild",
    "Link",
    "LinkedActor",
    "QuietSupervisor",
    "RestartChild",
    "RestartIntensity",
    "RestartType",
    "StartChild",
    "StopChild",
    "Strategy",
    "SupervisorActor",
    "WhichChildren",
    "exit_reason",
    "format_tree",
    "kill",
    "notify",
    "order_exit",
    "post",
    "tree",
    "watch",
    "watchable",
]
