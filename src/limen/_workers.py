"""What the face makes of what it is told about workers and routers: checked here, so that the answer is a plain one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from .activity import Activity, AsyncHandler, SyncHandler
from .actors.router_loader import LoadedRouter, load_router
from .actors.routers import Affinity, ConsistentHash, LeastLoaded, RoundRobin
from .messages.errors import ConfigError, UnpicklableError
from .messages.grace import Grace

ExecutorKind = Literal["thread", "asyncio", "process"]

_BUILT_IN = (Affinity, ConsistentHash, LeastLoaded, RoundRobin)


def executor_for(queue: str, activities: Sequence[Activity[..., Any]], asked: str | None) -> ExecutorKind:
    """Choose what runs these activities, or check what was chosen. Raises `ConfigError`."""
    _check_activities(queue, activities)
    coroutines = [each.name for each in activities if each.is_async]
    kind = asked or ("asyncio" if len(coroutines) == len(activities) else "thread")
    if kind == "asyncio":
        if len(coroutines) < len(activities):
            raise ConfigError("executor", "asyncio runs coroutine functions only; give other functions another worker")
        return "asyncio"
    if kind not in {"thread", "process"}:
        raise ConfigError("executor", f"must be 'thread', 'asyncio' or 'process', not {asked!r}")
    if coroutines:
        raise ConfigError("executor", f"{', '.join(coroutines)}: a coroutine function needs an asyncio worker")
    return "process" if kind == "process" else "thread"


def slots_for(kind: ExecutorKind, asked: int | None) -> int:
    """Give how many activities such a worker runs at once, unless it was said."""
    if asked is not None:
        return asked
    if kind == "process":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 100 if kind == "asyncio" else 1


def grace_for(grace: Any, max_abandoned: Any) -> Grace:
    """Say what becomes of what is called off. Raises `ConfigError`."""
    return Grace(grace_s=grace.total_seconds() if isinstance(grace, timedelta) else grace, max_abandoned=max_abandoned)


def handlers_for(activities: Iterable[Activity[..., Any]], kind: ExecutorKind) -> dict[str, Any]:
    """Make what the executor runs. Raises `ConfigError`; `UnpicklableError` for what no child process can import."""
    handler = AsyncHandler if kind == "asyncio" else SyncHandler
    handlers = {each.name: handler(each) for each in activities}
    if kind == "process":
        refuse_unpicklable(handlers)
    return handlers


def router_for(router: Any, limit_s: float) -> Any:
    """Make a router ready to be deployed. Raises `ConfigError`."""
    if isinstance(router, type) and issubclass(router, _BUILT_IN):
        return router()
    if isinstance(router, (*_BUILT_IN, LoadedRouter)):
        return router
    try:
        return load_router(router, limit_s=limit_s)
    except (TypeError, ValueError) as error:
        raise ConfigError("router", f"must be one of limen.routers, or a function: {error}") from error


def _check_activities(queue: str, activities: Sequence[Activity[..., Any]]) -> None:
    if isinstance(activities, Activity):
        raise ConfigError("activities", f"must be a list: [{activities.name}]")
    if not activities:
        raise ConfigError("activities", "a worker serves at least one")
    names: set[str] = set()
    for each in activities:
        if not isinstance(each, Activity):
            raise ConfigError("activities", f"must be functions decorated with @activity, not {each!r}")
        if each.queue != queue:
            name = each.name
            message = f"{name} is for queue {each.queue!r}, not {queue!r}; to have it here too: {name}.options(queue=…)"
            raise ConfigError("activities", message)
        if each.name in names:
            raise ConfigError("activities", f"two of them have the name {each.name!r}")
        names.add(each.name)
        _ = each.signature  # an annotation that cannot be resolved is said here


def refuse_unpicklable(handlers: Mapping[str, object]) -> None:
    """Raise `UnpicklableError` for a handler whose function no child process can import."""
    import pickle

    for name, handler in handlers.items():
        try:
            pickle.dumps(handler)
        except Exception as error:
            raise UnpicklableError("activity", "function that cannot be imported by its name", name) from error
