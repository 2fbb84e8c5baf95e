"""Hypothesis drives a run: by one blob of bytes, and by rules."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from simkit import QUEUE, application, assert_all_done, double

from limen.testing import Blob, Faults, Simulation, WorkerActor
from limen.testing.machine import LimenMachine


@settings(max_examples=10, deadline=None, database=None)
@given(st.binary(max_size=100))
def test_a_blob_decides_a_run(blob):
    """Any bytes make a run, and it ends well."""
    with (
        Simulation(faults=Faults(crash=WorkerActor, crash_p=0.05, most=2), decider=Blob(blob)) as sim,
        application(sim, workers=1) as app,
    ):
        handles = [app.dispatch(double, n) for n in range(2)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, (0, 2))


class Doubling(LimenMachine):
    """Dispatch at any time; whatever happens, every answer comes."""

    def prepare(self):
        self.handles = []
        for _ in range(2):
            self.app.worker(QUEUE, [double])

    @rule(number=st.integers(0, 99))
    def dispatch(self, number):
        """Hand one in."""
        self.handles.append((number, self.app.dispatch(double, number)))

    def check(self):
        for number, handle in self.handles:
            assert handle.result(0) == 2 * number


def test_a_machine_of_rules_drives_an_application():
    """Rules of the test's and of the base run in any order."""
    run_state_machine_as_test(Doubling, settings=settings(max_examples=8, stateful_step_count=8, deadline=None))


class Forgetful(Doubling):
    """Claim what is not so."""

    def check(self):
        assert len(self.handles) < 2


def test_a_machine_fails_with_its_claim():
    """A claim that does not hold is found, and the simulation is over all the same."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Forgetful,
            settings=settings(
                max_examples=50, stateful_step_count=8, deadline=None, database=None, phases=[Phase.generate]
            ),
        )
    with Simulation() as sim:
        assert sim.steps == 0
