"""Deterministic simulation of a limen application: crashes, slowness and unlucky orders, by the seed.

See `docs/testing.md`. Needs nothing but limen; `limen.testing.machine` needs Hypothesis, the plugin needs pytest.
"""

from ..actors.channel import ChannelActor
from ..actors.worker import WorkerActor
from ._deciders import Blob, Decider, Pct, Replay, Seeded
from ._errors import (
    ActorKilled,
    Deadlock,
    NeverHappened,
    NotReproduced,
    SimulationError,
    SimulationFailed,
    Stalled,
    UncontrolledThread,
)
from ._faults import NO_FAULTS, Faults
from ._processes import Child
from .runner import simulated
from .simulation import Simulation

__all__ = [
    "NO_FAULTS",
    "ActorKilled",
    "Blob",
    "ChannelActor",
    "Child",
    "Deadlock",
    "Decider",
    "Faults",
    "NeverHappened",
    "NotReproduced",
    "Pct",
    "Replay",
    "Seeded",
    "Simulation",
    "SimulationError",
    "SimulationFailed",
    "Stalled",
    "UncontrolledThread",
    "WorkerActor",
    "simulated",
]
