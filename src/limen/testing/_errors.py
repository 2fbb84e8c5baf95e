"""What a simulation raises. A failure is raised in the test, never inside an actor, which would swallow it."""

from __future__ import annotations


class SimulationError(AssertionError):
    """The system under test did what it must not do, or the simulation cannot go on."""


class Deadlock(SimulationError):
    """Nothing can run any more, and somebody waits; the text names who waits for whom."""


class Stalled(SimulationError):
    """Somebody waits outside the simulation's control; the text has the stack of that thread."""


class UncontrolledThread(SimulationError):
    """A thread that the simulation did not start has touched an actor in it."""


class NotReproduced(SimulationError):
    """A run that failed did not go the same way again; the text names the first difference."""


class NeverHappened(SimulationError):
    """What `sometimes` asked for was true in no run, so the test proves little."""


class SimulationFailed(SimulationError):
    """A seed failed: the shortest run that fails at the same place, as a trace, and the token to run it again."""


class ActorKilled(BaseException):
    """What ends an actor that is crashed by the simulation, at the point where it stands."""


class SimulationEnd(BaseException):
    """Unwinds what still runs when a simulation is over. Let it pass."""
