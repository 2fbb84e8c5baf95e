"""A base for Hypothesis state machines over a `Limen` application. Needs Hypothesis.

Every decision of the run is taken from one blob of bytes that Hypothesis draws, so it also shrinks them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from limen import Limen

from ..actors.worker import WorkerActor
from ._deciders import Blob
from ._faults import Faults
from .simulation import Simulation


class LimenMachine(RuleBasedStateMachine):
    """Drives an application inside a simulation. Add rules that dispatch; override `prepare` and `check`.

    There are rules already that let others run, let time pass, and crash a worker. At the end nothing goes wrong any
    more, everybody comes to rest, and `check` says whether all is well.
    """

    faults: ClassVar[Faults] = Faults(preempt=0.2, early_timers=0.0)
    """What happens by itself, besides what the rules do."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.sim: Simulation
        self.app: Limen

    def prepare(self) -> None:
        """Add the workers. Called once, before the first rule, with `self.app` ready."""

    def check(self) -> None:
        """Claim what must hold in the end. Called when all is at rest."""

    @initialize(decisions=st.binary(max_size=256))
    def _begin(self, decisions: bytes) -> None:
        self.sim = self._open.enter_context(Simulation(0, faults=self.faults, decider=Blob(decisions)))
        self.app = self._open.enter_context(Limen())
        with self.sim.calm():
            self.prepare()

    @rule(steps=st.integers(1, 10))
    def let_others_run(self, steps: int) -> None:
        """Let others take some steps."""
        self.sim.step(steps)

    @rule(seconds=st.sampled_from([0.1, 1.0, 60.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.sim.clock.advance(seconds)

    @rule(which=st.integers(0, 7))
    def crash_a_worker(self, which: int) -> None:
        """Crash one of the workers that live."""
        workers = self.sim.actors(WorkerActor)
        if workers:
            self.sim.crash(workers[which % len(workers)].actor_ref)

    def teardown(self) -> None:
        """Let all come to rest, and check."""
        with self._open:
            if hasattr(self, "app"):
                self.sim.heal()
                self.sim.settle()
                self.check()
