"""What lies between the face and the workers: this process alone, or a broker between machines.

An engine gives each queue a port. A port takes requests and orders as a channel does, and an embedded application's
port is its channel, so that nothing lies between a caller and the book.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ._workers import ExecutorKind, handlers_for
from .activity import Activity
from .actors.attempt import Handler
from .actors.context import WorkerContext
from .actors.conversation import Conversation
from .actors.registration import WorkerRegistration, drain_all
from .messages.activities import WorkerCapacity
from .messages.drain import DrainReport, Waiting
from .messages.errors import ConfigError
from .messages.grace import Grace
from .messages.names import dispatch_channel
from .messages.pool import PoolRow


class Line(Protocol):
    """How something is said to one queue's port. The messages are those of `actors._orders`."""

    @property
    def local(self) -> Any:
        """The address of the channel of this process, which keeps the book of the workers here."""
        ...

    def submit(self, conversation: Any) -> None:
        """Hand in a request; its reply is answered whatever happens. Any thread; never blocks for long."""

    def hold_up_s(self) -> float:
        """Say how long whoever has just handed something in is to wait before he goes on."""
        ...

    def notice(self, message: object) -> None:
        """Say something, and do not wait for it. Any thread; never blocks."""

    def ask(self, message: object) -> Any:
        """Give an order and wait for the answer, within a bound."""


class Port(Protocol):
    """One queue, as the face sees it."""

    @property
    def closed(self) -> bool:
        """Whether it is closed for good."""
        ...

    @property
    def session(self) -> Line:
        """Where to say something to it."""
        ...


class Engine(Protocol):
    """What carries requests to workers. Every method may be called on any thread."""

    def handlers(self, activities: Sequence[Activity[..., Any]], kind: ExecutorKind) -> dict[str, Handler]:
        """Make what a worker's executor runs for them, by activity type. Raises `ConfigError`, `UnpicklableError`."""
        ...

    def register(
        self, queue: str, capacity: WorkerCapacity, handlers: dict[str, Handler], kind: ExecutorKind, grace: Grace
    ) -> WorkerRegistration:
        """Start a worker in this process and let it be given work. Blocks until it can be."""
        ...

    def pool(self, queue: str) -> list[PoolRow]:
        """List a queue's live workers, wherever they are."""
        ...

    def queues(self) -> list[str]:
        """Name the queues that others serve, or that requests of others may lie in, as far as there are others."""
        ...

    def port(self, queue: str) -> Port:
        """Give the queue's port; made if need be."""
        ...

    def collect(self, queue: str, activity: Activity[..., Any], key: str, timeout_s: float) -> Conversation:
        """Look for the result of work that was asked for before. Raises `ConfigError` where none is kept."""
        ...

    def close(self, timeout: float, *, drain: float, waiting: Waiting) -> DrainReport:
        """Wind down for `drain` seconds at most, then end all that was started here, within about `timeout` more.

        A second call hurries the first, waits for it, and gives the same report.
        """
        ...


class EmbeddedEngine:
    """Workers in this process only. A context that was given stays open at the end."""

    def __init__(self, namespace: str, context: WorkerContext | None = None) -> None:
        self._namespace = namespace
        self._context = context or WorkerContext()
        self._owns_context = context is None
        self._registrations: list[WorkerRegistration] = []

    def handlers(self, activities: Sequence[Activity[..., Any]], kind: ExecutorKind) -> dict[str, Handler]:
        """Make handlers that take and give the objects themselves."""
        return handlers_for(activities, kind)

    def register(
        self, queue: str, capacity: WorkerCapacity, handlers: dict[str, Handler], kind: ExecutorKind, grace: Grace
    ) -> WorkerRegistration:
        """Start a worker under the context's supervisor."""
        registration = self._context.register_worker(
            self._namespace, queue, capacity, handlers=handlers, executor=kind, restart=True, grace=grace
        )
        self._registrations.append(registration)
        return registration

    def pool(self, queue: str) -> list[PoolRow]:
        """Read the channel's book."""
        return self._context.pool(dispatch_channel(self._namespace, queue))

    def queues(self) -> list[str]:
        """Name none: there are no others."""
        return []

    def port(self, queue: str) -> Port:
        """Give the channel itself."""
        return self._context.channel(self._namespace, queue)

    def collect(self, queue: str, activity: Activity[..., Any], key: str, timeout_s: float) -> Conversation:
        """Refuse: what this process has asked for ends with it."""
        raise ConfigError("collect", "needs a broker: without one, nothing outlives the process that asked for it")

    def close(self, timeout: float, *, drain: float, waiting: Waiting) -> DrainReport:
        """Close the context, or drain what was registered here out of one that was given."""
        if self._owns_context:
            return self._context.close(timeout, drain=drain, waiting=waiting)
        return drain_all([each for each in self._registrations if each.is_active], drain)
