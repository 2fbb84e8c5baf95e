"""Who says it: one actor per file, beside its pure core. To read in order: context, channel, worker, links, runtime."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .tree import (  # at once: the module `tree` must not take the function's name
    ActorRow,
    ActorState,
    format_tree,
    tree,
)

if TYPE_CHECKING:
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
    from .channel import ChannelActor
    from .channel_handle import ChannelHandle
    from .channel_registry import ChannelRegistry
    from .context import ContextActor, WorkerContext, WorkerPool
    from .default import (
        DispatchContext,
        close_default_worker_context,
        default_worker_context,
        dispatch_activity,
        register_worker,
        reset_default_worker_context,
    )
    from .links import Link, LinkedActor, exit_reason, kill, notify, order_exit, post
    from .recorder import MemoryRecorder, Recorder
    from .registration import WorkerRegistration
    from .router_loader import load_router
    from .routers import Affinity, ConsistentHash, LeastLoaded, RoundRobin
    from .subscription import Subscription
    from .supervisor import QuietSupervisor, SupervisorActor
    from .watching import watch, watchable
    from .worker import WorkerActor

__all__ = [
    "ActorRow",
    "ActorState",
    "Affinity",
    "Backoff",
    "ChannelActor",
    "ChannelHandle",
    "ChannelRegistry",
    "ChildSpec",
    "ConsistentHash",
    "ContextActor",
    "CountChildren",
    "DeleteChild",
    "DispatchContext",
    "LeastLoaded",
    "Link",
    "LinkedActor",
    "MemoryRecorder",
    "QuietSupervisor",
    "Recorder",
    "RestartChild",
    "RestartIntensity",
    "RestartType",
    "RoundRobin",
    "StartChild",
    "StopChild",
    "Strategy",
    "Subscription",
    "SupervisorActor",
    "WhichChildren",
    "WorkerActor",
    "WorkerContext",
    "WorkerPool",
    "WorkerRegistration",
    "close_default_worker_context",
    "default_worker_context",
    "dispatch_activity",
    "exit_reason",
    "format_tree",
    "kill",
    "load_router",
    "notify",
    "order_exit",
    "post",
    "register_worker",
    "reset_default_worker_context",
    "tree",
    "watch",
    "watchable",
]

_MODULES = {
    "..messages.supervision": (
        "Backoff ChildSpec CountChildren DeleteChild RestartChild RestartIntensity RestartType StartChild "
        "StopChild Strategy WhichChildren"
    ),
    ".channel": "ChannelActor",
    ".channel_handle": "ChannelHandle",
    ".channel_registry": "ChannelRegistry",
    ".context": "ContextActor WorkerContext WorkerPool",
    ".default": (
        "DispatchContext close_default_worker_context default_worker_context dispatch_activity register_worker "
        "reset_default_worker_context"
    ),
    ".links": "Link LinkedActor exit_reason kill notify order_exit post",
    ".recorder": "MemoryRecorder Recorder",
    ".registration": "WorkerRegistration",
    ".router_loader": "load_router",
    ".routers": "Affinity ConsistentHash LeastLoaded RoundRobin",
    ".subscription": "Subscription",
    ".supervisor": "QuietSupervisor SupervisorActor",
    ".watching": "watch watchable",
    ".worker": "WorkerActor",
}
"""Where each name lives; a module is imported when the first of its names is asked for."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
