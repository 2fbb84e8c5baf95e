"""How fast the simulation is: steps and short scenarios for each second of one core, and a test of a thousand seeds.

Measured in processor time, for only one thread runs at a time and the machine may have other things to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from harness import Bound

from limen import Limen, activity
from limen.actors.links import LinkedActor
from limen.testing import Faults, Simulation, WorkerActor, simulated
from limen.testing._crew import Crew

SEEDS = 1000


class Ring(LinkedActor):
    """Passes on what it gets."""

    never_blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.next: object = None

    def on_receive(self, message: object) -> None:
        if isinstance(message, int) and message > 0:
            self.next.tell(message - 1)  # type: ignore[attr-defined]


@activity(queue="work")
def double(number: int) -> int:
    """Take no time."""
    return 2 * number


def seven_actors(sim: Simulation) -> None:
    """Context, supervisor, channel, three workers and the test itself; six dispatches; workers die."""
    with Limen() as app:
        for _ in range(3):
            app.worker("work", [double])
        handles = [app.dispatch(double, number) for number in range(6)]
        sim.settle()
        sim.heal()
        assert [handle.result(600) for handle in handles] == [0, 2, 4, 6, 8, 10]


def one_dispatch(sim: Simulation) -> None:
    """Start a ring of three actors and send it round."""
    _ring(sim, size=3, rounds=5)


def _ring(sim: Simulation, *, size: int, rounds: int) -> None:
    refs = [Ring.start() for _ in range(size)]
    for number, ref in enumerate(refs):
        sim.actor(ref).next = refs[(number + 1) % size]
    refs[0].tell(size * rounds)
    sim.settle()


def run() -> Iterator[Bound]:
    """Measure. Bounds are upper ones, so rates are given as the time that one takes."""
    logging.disable(logging.CRITICAL)
    try:
        yield Bound("simulation, a step (20,000 a second)", _step_us(), "us", 50.0)
        yield Bound("simulation, a short scenario (150 a second)", _scenario_ms(), "ms", 6.67)
        yield Bound(f"simulation, {SEEDS} seeds of seven actors", _test_s(), "s", 10.0)
    finally:
        logging.disable(logging.NOTSET)


def _step_us() -> float:
    with Simulation(tracing=False) as sim:
        begin_s = time.process_time()
        _ring(sim, size=10, rounds=2000)
        return (time.process_time() - begin_s) / sim.steps * 1e6


def _scenario_ms() -> float:
    crew = Crew()
    begin_s = time.process_time()
    for seed in range(300):
        with Simulation(seed, tracing=False, crew=crew) as sim:
            one_dispatch(sim)
    crew.close()
    return (time.process_time() - begin_s) / 300 * 1e3


def _test_s() -> float:
    begin_s = time.process_time()
    simulated(SEEDS, Faults(crash=WorkerActor))(seven_actors)()
    return time.process_time() - begin_s
