"""One private broker for the whole run, and a virtual host of its own for each test."""

import itertools
from collections.abc import Iterator

import pytest
from brokerkit import MISSING, Broker, server_script
from drillkit import Figures

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that runs."""
    if server_script() is None:
        pytest.skip(MISSING)
    made = Broker(tmp_path_factory.mktemp("broker"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def vhost(broker: Broker) -> Iterator[str]:
    """The name of an empty virtual host."""
    name = f"test-{next(_numbers)}"
    broker.make_vhost(name)
    yield name
    broker.drop_vhost(name)


@pytest.fixture
def url(broker: Broker, vhost: str) -> str:
    """The address of an empty virtual host."""
    return broker.url(vhost)


_figures = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    """What the drills measure."""
    return _figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what they have measured."""
    lines = _figures.table()
    if lines:
        terminalreporter.section("drills")
    for line in lines:
        terminalreporter.write_line(line)
