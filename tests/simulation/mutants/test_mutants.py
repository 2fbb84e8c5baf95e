"""The suite would notice: each mistake of `simmutants` is found, by the scenario that is there for it."""

import logging

import pytest
import simendings  # noqa: F401 - its scenarios are listed with the others
import simmutants
import simqueues  # noqa: F401 - as above
import simscenarios

from limen.testing import Faults, SimulationError, simulated
from limen.testing._errors import SimulationFailed

MOST = 1000
"""Seeds within which a mistake must be found."""


@pytest.mark.slow
@pytest.mark.parametrize("name", simmutants.MUTANTS)
def test_a_mistake_is_found_within_a_thousand_seeds(name, monkeypatch):
    """The scenario fails, and the failure is the same when it is run again."""
    mutant = simmutants.MUTANTS[name]
    scenario = simscenarios.SCENARIOS[mutant.scenario]
    monkeypatch.setattr(logging.getLogger("pykka"), "disabled", True)
    mutant.patch(monkeypatch)

    with pytest.raises(SimulationFailed) as failure:
        simulated(MOST, scenario.faults, **scenario.options)(scenario.story)()

    assert "replay: pytest" in str(failure.value)


def test_there_are_faults_to_find_them_with():
    """Every mutant names a scenario that there is."""
    assert {mutant.scenario for mutant in simmutants.MUTANTS.values()} <= simscenarios.SCENARIOS.keys()
    assert issubclass(SimulationFailed, SimulationError)
    assert all(isinstance(each.faults, Faults) for each in simscenarios.SCENARIOS.values())
