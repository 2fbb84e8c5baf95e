"""Who says it: one actor per file, beside its pure core. To read in order: context, channel, worker, links, runtime."""

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
from .tree import ActorRow, ActorState, format_tree, tree
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
