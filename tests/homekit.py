"""The two homes of the test suite: `--home=rabbitmq` runs the tests of what users see over a broker.

Nothing changes for a test but `LIMEN_URL`, which `Limen()` and every command obey: it names an empty virtual host of
the test's own. `homes.py` says which tests have two homes, and which few of them cannot move, and why.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokerkit import MISSING, server_script
from homes import MOVERS, ONE_HOME, STAYS, Stay

HERE = Path(__file__).parent

_STAYING = {test: stay for stay in STAYS for test in stay.tests}
_VIRTUAL = ("Simulation(", "simulated(")
_counts: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the home be chosen."""
    parser.addoption(
        "--home",
        choices=("embedded", "rabbitmq"),
        default="embedded",
        help="where work is carried: within this process, or over a RabbitMQ, for the tests of what users see",
    )


def is_away(config: pytest.Config) -> bool:
    """Whether tests run over a broker."""
    return bool(config.getoption("--home") == "rabbitmq")


def place_of(item: pytest.Item) -> str:
    """Name a test as the table does: its file under `tests`, and its function."""
    return f"{item.path.relative_to(HERE)}::{getattr(item, 'originalname', None) or item.name}"


def _moves(item: pytest.Item) -> bool:
    place = place_of(item)
    if not place.startswith(MOVERS) or place.partition("::")[0] in ONE_HOME:
        return False
    return not any(each in inspect.getsource(item.function) for each in _VIRTUAL)  # type: ignore[attr-defined]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that have two homes, and expect those to fail that stay."""
    if not is_away(config):
        return
    others = [item for item in items if not _moves(item)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if _moves(item)]
    for item in items:
        if server_script() is None:
            item.add_marker(pytest.mark.skip(reason=MISSING))
        elif (stay := _STAYING.get(place_of(item))) is not None:
            item.add_marker(_mark_for(stay))


def _mark_for(stay: Stay) -> pytest.MarkDecorator:
    if stay.fails:
        return pytest.mark.xfail(reason=stay.reason, strict=True)
    return pytest.mark.skip(reason=stay.reason)


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have all that is made in this test find its home by itself."""
    if not is_away(request.config):
        yield
        return
    from limen import rabbitmq

    make, made = rabbitmq.engine_for, []

    def counted(*args: Any) -> Any:
        made.append(args[0])
        return make(*args)

    monkeypatch.setattr(rabbitmq, "engine_for", counted)
    monkeypatch.setenv("LIMEN_URL", request.getfixturevalue("url"))
    yield
    _counts["over a broker" if made else "of programs of their own, or of what no application is needed for"] += 1


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many of them were carried by a broker."""
    if is_away(config) and _counts:
        terminalreporter.section("home: rabbitmq")
        terminalreporter.line(", ".join(f"{count} tests {what}" for what, count in _counts.items()))
        told = f"{len(_STAYING)} tests stay, for {len(STAYS)} reasons, and {len(ONE_HOME)} files: see tests/homes.py"
        terminalreporter.line(told)
