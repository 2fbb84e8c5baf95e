"""What befalls messages between actors: held back, delayed, or let through.

Between one sender and one receiver the order is kept. Knows inboxes and tasks by their names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import attrs
from pykka._envelope import Envelope

from ._scheduler import Scheduler
from ._task import Task

Letter = tuple[Task, Any, Envelope[Any], bool]
"""Who sends it, the inbox it is for, what it is, and whether it goes ahead of the backlog."""


@attrs.frozen
class Rule:
    """A pair of names, `*` allowed, and how long messages between them take."""

    sender: str
    receiver: str
    delay_s: float

    def fits(self, sender: str, receiver: str) -> bool:
        """Whether it is about these two."""
        return fnmatchcase(sender, self.sender) and fnmatchcase(receiver, self.receiver)


HELD = float("inf")


class Routes:
    """The rules in force, and the messages that are under way."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.rules: list[Rule] = []
        self._scheduler = scheduler
        self._held: deque[Letter] = deque()
        self._last_s: dict[tuple[str, str], float] = {}
        """For each pair, when the last message under way arrives."""

    def hinders(self, sender: Task, inbox: Any) -> bool:
        """Whether a rule keeps messages between the two back."""
        return any(rule.delay_s > 0 and rule.fits(sender.name, inbox.name) for rule in self.rules)

    def takes_over(self, sender: Task, inbox: Any, envelope: Envelope[Any], *, notice: bool) -> bool:
        """Keep a message back, if it is not to arrive at once."""
        scheduler = self._scheduler
        luck = scheduler.knobs.delay_p
        if not self.rules and not luck and not self._last_s:
            return False
        pair = (sender.name, inbox.name)
        delay_s = next((rule.delay_s for rule in self.rules if rule.fits(*pair)), 0.0)
        if delay_s == HELD:
            scheduler.trace.note("--", sender, "is held back:", envelope.message, "to", inbox)
            self._held.append((sender, inbox, envelope, notice))
            return True
        if luck and scheduler.faults_on and scheduler.decider.chance(luck):
            delay_s += 0.001 * (1 + scheduler.decider.choose(9))
        arrives_s = max(scheduler.now_s + delay_s, self._last_s.get(pair, 0.0))
        if arrives_s <= scheduler.now_s:
            self._last_s.pop(pair, None)
            return False
        self._last_s[pair] = arrives_s
        scheduler.at(arrives_s, partial(inbox.arrive, sender, envelope, notice=notice))
        return True

    def drop(self, keep: Callable[[Rule], bool]) -> None:
        """Forget the rules that are not to be kept, and let arrive what no rule holds any more."""
        self.rules = [rule for rule in self.rules if keep(rule)]
        held, self._held = self._held, deque()
        for sender, inbox, envelope, notice in held:
            if not self.takes_over(sender, inbox, envelope, notice=notice):
                inbox.arrive(sender, envelope, notice=notice)
