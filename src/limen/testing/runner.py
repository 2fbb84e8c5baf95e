"""`@simulated`: a test as many runs, one for each seed."""

from __future__ import annotations

import functools
import gc
import inspect
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from ._crew import Crew
from ._deciders import Decider, Replay
from ._errors import NeverHappened, SimulationFailed
from ._faults import Faults
from ._report import Run, explain, explain_replay
from ._tokens import read_token
from .simulation import Simulation

COLLECT_AFTER = 5_000
"""Steps between two garbage collections; short runs have none in the middle."""


@attrs.define
class Settings:
    """What the command line says."""

    seeds: range | None = None
    replay: str | None = None


settings = Settings()


def parse_seeds(text: str) -> range:
    """Read `500`, `1000:1500`, or `fresh:300`, which takes seeds that depend on the time of day."""
    first, colon, last = text.partition(":")
    if first == "fresh":
        start = time.time_ns() // 1_000_000 % 1_000_000_000 * 1000
        return range(start, start + int(last))
    return range(int(first), int(last)) if colon else range(int(first))


def simulated(
    seeds: int | Iterable[int] = 200, faults: Faults | None = None, *, lines: Iterable[Any] = (), **options: Any
) -> Callable[[Callable[..., object]], Callable[..., None]]:
    """Run a test that takes `sim` once for each seed; the first that fails is shortened and shown.

    Fixtures and parameters are made once for all seeds. `lines`: modules of which every line is a point where others
    may run. `options` go to `Simulation`. Of the command line, `--sim-seeds` replaces `seeds`, and `--sim-replay` runs
    the one run of that token.
    """
    chosen = range(seeds) if isinstance(seeds, int) else list(seeds)
    given = faults or Faults()
    modules = tuple(lines)

    def decorate(test: Callable[..., object]) -> Callable[..., None]:
        @functools.wraps(test)
        def run_all(*args: Any, **kwargs: Any) -> None:
            many = Many(test, given, {"lines": modules, **options}, args, kwargs)
            if settings.replay is not None:
                many.replay(settings.replay)
            else:
                many.run(settings.seeds if settings.seeds is not None else chosen)

        signature = inspect.signature(test)
        rest = [each for name, each in signature.parameters.items() if name != "sim"]
        run_all.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        del run_all.__wrapped__  # pytest would look at the signature below
        return run_all

    return decorate


class Many:
    """The runs of one test."""

    def __init__(
        self, test: Callable[..., object], faults: Faults, options: dict[str, Any], args: Any, kwargs: Any
    ) -> None:
        self._test = test
        self._faults = faults
        self._options = options
        self._args = args
        self._kwargs = kwargs
        self._crew = Crew()
        self._steps = 0

    def run(self, seeds: Iterable[int]) -> None:
        """Run every seed. Raises `SimulationFailed`, `NotReproduced`, `NeverHappened`."""
        reached: dict[str, int] = {}
        gc.collect()
        try:
            for seed in seeds:
                run = self.once(seed, tracing=False)
                if run.error is not None:
                    raise explain(run, self.once, self._test.__name__) from run.error
                for name, times in run.reached.items():
                    reached[name] = reached.get(name, 0) + times
                del run
        finally:
            self._crew.close()
        never = [name for name, times in reached.items() if not times]
        if never:
            raise NeverHappened(f"this was never true in any run, so the test proves little: {', '.join(never)}")

    def replay(self, token: str) -> None:
        """Run the one run of this token."""
        wanted = read_token(token)
        try:
            run = self.once(wanted.seed, Replay(wanted.choices))
        finally:
            self._crew.close()
        if run.error is not None:
            raise explain_replay(run) from run.error

    def once(self, seed: int, decider: Decider | None = None, *, tracing: bool = True) -> Run:
        """Make one run."""
        if self._steps > COLLECT_AFTER:
            self._steps = 0
            gc.collect()
        error: BaseException | None = None
        sim = Simulation(seed, faults=self._faults, decider=decider, tracing=tracing, crew=self._crew, **self._options)
        try:
            with sim:
                self._test(*self._args, sim=sim, **self._kwargs)
        except SimulationFailed:
            raise
        except Exception as failed:  # noqa: BLE001 - whatever the test fails with
            error = failed
        self._steps += sim.steps
        return Run(
            seed=seed,
            decider=sim.decider,
            events=sim.events,
            decided=sim.decided,
            error=error,
            reached=sim.reached,
        )
