"""`Task`: one thread of control in a simulation, as the scheduler knows it."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any

from ._crew import Hand


class Task:
    """One of those that take turns: the test, an actor, a worker's thread, a child process, the clock."""

    is_party = True
    """Traces show it by its name."""

    __slots__ = (
        "actor",
        "done",
        "draining",
        "gate",
        "hand",
        "ident",
        "inbox",
        "joiners",
        "killed",
        "message",
        "mortal",
        "name",
        "on_vanish",
        "queued",
        "rank",
        "shielded",
        "slow_s",
        "started",
        "stuck",
        "timed_out",
        "vanished",
        "waits",
    )

    def __init__(self, name: str, actor: Any = None) -> None:
        self.name = name
        self.actor = actor
        self.inbox: Any = None
        self.hand: Hand | None = None
        self.gate: _thread.LockType = _thread.allocate_lock()
        self.ident = 0
        self.rank = 0.0
        """Its priority, for the decider that has such."""
        self.waits: Any = None
        """What it waits for, while it is parked."""
        self.timed_out = False
        self.queued = False
        """Whether it is among those that are ready."""
        self.started = False
        self.done = False
        self.killed: BaseException | None = None
        """What to raise in it as soon as it runs."""
        self.shielded = False
        """Whether it is inside an operation that cannot be broken off; a crash comes after it."""
        self.vanished = False
        """Whether it is gone without unwinding, as a process is that was killed."""
        self.on_vanish: Callable[[], object] | None = None
        """For one that ends without unwinding when it is crashed: whom to tell."""
        self.stuck = False
        self.mortal = False
        """Whether a fault may crash it."""
        self.draining = False
        """Whether it may not lend itself to another actor now."""
        self.message: Any = None
        """What it handles."""
        self.slow_s = 0.0
        self.joiners: list[tuple[Task, object]] = []
        """Who waits for its end, and as what."""

    def __repr__(self) -> str:
        return f"<Task {self.name}>"
