"""The pytest plugin, as a user's test run sees it: installed with limen, its options and its fixture ready."""

import re

import pytest

pytestmark = pytest.mark.slow

TESTS = """
from limen.testing import Faults, simulated
from limen.actors.runtime import runtime

seeds = []

@simulated(seeds=3)
def test_all(sim):
    \"\"\"Every seed.\"\"\"
    seeds.append(sim.seed)

def test_seen():
    \"\"\"What came before.\"\"\"
    print("seeds", seeds)

def test_fixture(simulation):
    \"\"\"One run.\"\"\"
    runtime().sleep(1e9)
    assert simulation.clock.now_s == 1e9

@simulated(seeds=50, faults=Faults(preempt=0.5))
def test_weak(sim):
    \"\"\"Fails for some order.\"\"\"
    order = []
    for n in range(2):
        sim.runtime.start_thread(lambda n=n: order.append(n), f"task-{n}")
    sim.settle()
    assert order == [0, 1]
"""


@pytest.fixture
def run_pytest(run_python, tmp_path):
    """Run pytest on the tests above."""
    (tmp_path / "test_it.py").write_text(TESTS)
    return lambda *args: run_python("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *args).stdout


def found(pattern, text):
    """Give what the pattern's one group matches."""
    match = re.search(pattern, text)
    assert match is not None, text
    return match.group(1)


def test_seeds_come_from_the_command_line(run_pytest):
    """A number, a range, or fresh ones that the header names; without the option, the test's own."""
    assert "seeds [0, 1, 2]" in run_pytest("-k", "all or seen")
    assert "seeds [5, 6]" in run_pytest("-k", "all or seen", "--sim-seeds=5:7")
    fresh = run_pytest("-k", "all or seen", "--sim-seeds=fresh:2", "-v")
    first, last = map(int, found(r"simulated tests run seeds (\d+:\d+)", fresh).split(":"))
    assert f"seeds [{first}, {last - 1}]" in fresh
    assert "is not N, A:B or fresh:N" in run_pytest("--sim-seeds=many")


def test_a_failure_is_replayed_by_its_token(run_pytest):
    """As printed, pasted back."""
    failed = run_pytest("-k", "weak")
    token = found(r"--sim-replay=(\S+)", failed)

    again = run_pytest("-k", "weak", f"--sim-replay={token}")

    assert "replayed seed" in again
    assert "assert [1, 0] == [0, 1]" in again


def test_the_fixture_is_one_run(run_pytest):
    """A test that takes `simulation` runs inside one."""
    assert "1 passed" in run_pytest("-k", "fixture")
