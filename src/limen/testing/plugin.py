"""The pytest plugin: `--sim-seeds`, `--sim-replay`, and the fixture `simulation`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .simulation import Simulation


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the two options."""
    group = parser.getgroup("limen", "deterministic simulation")
    group.addoption(
        "--sim-seeds",
        metavar="N|A:B|fresh:N",
        help="run simulated tests with these seeds: the first N, those from A to B, or N that depend on the time",
    )
    group.addoption("--sim-replay", metavar="TOKEN", help="run the one run that a failed simulated test has printed")


def pytest_configure(config: pytest.Config) -> None:
    """Hand the options on. Nothing of limen is imported when there are none."""
    seeds, replay = config.getoption("--sim-seeds"), config.getoption("--sim-replay")
    if seeds is None and replay is None:
        return
    from .runner import parse_seeds, settings

    settings.replay = replay
    if seeds is not None:
        try:
            settings.seeds = parse_seeds(seeds)
        except ValueError:
            raise pytest.UsageError(f"--sim-seeds: {seeds!r} is not N, A:B or fresh:N") from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the seeds, for they may be fresh."""
    if config.getoption("--sim-seeds") is None:
        return None
    from .runner import settings

    assert settings.seeds is not None
    return f"limen: simulated tests run seeds {settings.seeds.start}:{settings.seeds.stop}"


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    """Run the test inside one simulation, with seed 0 and no faults but the order of things."""
    from .simulation import Simulation

    with Simulation(0) as sim:
        yield sim
