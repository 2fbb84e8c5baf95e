"""Every scenario of the suite, on a few seeds; `make sim` runs thousands. A failure prints how to replay it."""

import pytest
import simendings  # noqa: F401 - its scenarios are listed with the others
import simqueues  # noqa: F401 - as above
import simscenarios

from limen.testing import simulated

FEW = 6
"""Seeds of a quick run."""


@pytest.mark.parametrize("name", simscenarios.SCENARIOS)
def test_the_story_ends_well(name):
    """Whatever the seed brings, each scenario's claims hold."""
    scenario = simscenarios.SCENARIOS[name]

    def story(sim):
        scenario.story(sim)
        sim.reached.clear()  # a few seeds need not have seen everything

    simulated(FEW, scenario.faults, **scenario.options)(story)()


@pytest.mark.slow
@pytest.mark.parametrize("name", simscenarios.SCENARIOS)
def test_the_story_meets_what_it_is_about(name):
    """Over enough seeds, each scenario sees the crashes and races that it was written for."""
    scenario = simscenarios.SCENARIOS[name]
    simulated(150, scenario.faults, **scenario.options)(scenario.story)()
