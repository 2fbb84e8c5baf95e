"""`Faults`: what may go wrong and how often. Every seed draws its own rates: some runs are calm, some wild."""

from __future__ import annotations

import random
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

Classes = type | tuple[type, ...]


@attrs.frozen(kw_only=True)
class Knobs:
    """The rates of one run."""

    crash: Classes = ()
    crash_p: float = 0.0
    most: int = 0
    slow: Classes = ()
    slow_s: float = 0.0
    preempt: float = 0.1
    early_timers: float = 0.0
    early_within_s: float = 1.0
    delay_p: float = 0.0
    line_p: float = 0.0
    pct: int = 0


@attrs.frozen(kw_only=True)
class Faults:
    """What may go wrong. A tuple of numbers is a knob from which each seed draws one."""

    crash: Classes = ()
    """Classes of actors that may die at any point: `WorkerActor`, `ChannelActor`, your own; `Child` for processes."""
    crash_p: float | tuple[float, ...] = (0.01, 0.05, 0.2)
    """How often, for each step."""
    most: int | tuple[int, ...] = (1, 2, 4)
    """How many crashes a run has at most."""
    slow: Classes = ()
    """Classes of actors that take long over each message."""
    slow_s: float | tuple[float, ...] = (0.0, 0.01, 2.0)
    """How long."""
    preempt: float | tuple[float, ...] = (0.0, 0.02, 0.1, 0.3, 0.6)
    """How often somebody is held up before his next send, answer or message."""
    early_timers: float | tuple[float, ...] = (0.0, 0.05)
    """How often a timer fires while others could run, as on a machine that is busy."""
    early_within_s: float = 1.0
    """How far ahead of the others a timer may be for that."""
    delay_p: float | tuple[float, ...] = 0.0
    """How often a message between actors is under way for a while. An effect may then overtake its cause; actors in one
    process do not see that."""
    line_p: float | tuple[float, ...] = (0.005, 0.05, 0.2)
    """How often somebody is held up before a line, where `lines` names the modules."""
    pct: int | tuple[int, ...] = 0
    """Give tasks priorities and demote so many, less one, at random: see `Pct`. 0 chooses evenly."""

    def knobs(self, seed: int) -> Knobs:
        """Draw the rates of one run; the same for the same seed, everywhere."""
        luck = random.Random(f"knobs {seed}")

        def drawn(knob: Any) -> Any:
            return knob[int(luck.random() * len(knob))] if isinstance(knob, tuple) else knob

        rates = {
            name: drawn(getattr(self, name))
            for name in ("crash_p", "most", "slow_s", "preempt", "early_timers", "delay_p", "line_p", "pct")
        }
        if not self.crash:
            rates["crash_p"] = rates["most"] = 0
        if rates["pct"]:
            rates["preempt"] = max(0.01, rates["preempt"])  # so that a replay knows that there was a choice
        return Knobs(crash=self.crash, slow=self.slow, early_within_s=self.early_within_s, **rates)


NO_FAULTS = Faults(preempt=0.1, early_timers=0.0)
"""Only the order of things is left to chance."""
