"""`map`: in order, bounded, lazy, and cleaned up after when it is left early."""

import itertools
import threading
from typing import Any

import pytest

from limen import ActivityFailed, ConfigError, Limen, activity

TIMEOUT_S = 10


@activity
def double(number: int) -> int:
    """Double it."""
    return 2 * number


@pytest.fixture
def app():
    """An application with a worker of four slots."""
    with Limen() as made:
        made.worker("default", [double], max_concurrent=4)
        yield made


def test_results_come_in_the_order_of_the_items(app):
    """However many slots there are, and whoever is done first."""
    assert list(app.map(double, range(500), timeout=TIMEOUT_S)) == [2 * number for number in range(500)]
    assert list(app.map(double, [])) == []


@pytest.mark.parametrize("bound", [1, 3])
def test_never_more_than_the_bound_are_under_way(app, bound):
    """Items are taken from the iterable only as results are taken from the iterator."""
    taken = 0

    def items():
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield number

    results = app.map(double, items(), max_in_flight=bound, timeout=TIMEOUT_S)
    assert taken == 0
    for given in range(20):
        assert next(results) == 2 * given
        assert taken <= given + bound + 1


def test_an_endless_iterable_gives_results_soon():
    """The first result does not wait until as many items as may be under way have been taken."""
    asked = threading.Event()

    @activity
    def quick(number: int) -> int:
        return number

    def items():
        yield 1
        assert asked.wait(TIMEOUT_S)
        yield 2
        raise AssertionError("taken too early")

    with Limen() as app:
        app.worker("default", [quick])
        first = app.dispatch(quick, 0)
        first.result(timeout=TIMEOUT_S)
        results = app.map(quick, items(), max_in_flight=2, timeout=TIMEOUT_S)
        asked.set()
        assert next(results) == 1


def test_a_failure_comes_at_its_place_and_cancels_the_rest():
    """Results before it have been given; what is under way after it is given up."""
    gate = threading.Event()
    ran = []

    @activity
    def work(number: int) -> int:
        ran.append(number)
        if number == 1:
            raise ValueError("one")
        if number == 2:
            assert gate.wait(TIMEOUT_S)
        return number

    with Limen() as app:
        app.worker("default", [work])
        results = app.map(work, range(50), max_in_flight=50, timeout=TIMEOUT_S)
        assert next(results) == 0
        with pytest.raises(ActivityFailed, match="one"):
            next(results)
        gate.set()
        app.dispatch(work, 99).result(timeout=TIMEOUT_S)
        assert ran in ([0, 1, 99], [0, 1, 2, 99])


def test_leaving_early_cancels_what_is_under_way():
    """A `break` gives up what waits, and what is late is given up with the rest."""
    gate = threading.Event()
    ran = []

    @activity
    def work(number: int) -> int:
        ran.append(number)
        assert gate.wait(TIMEOUT_S)
        return number

    with Limen() as app:
        app.worker("default", [work])
        results = app.map(work, range(10), max_in_flight=10, timeout=0.01)
        with pytest.raises(TimeoutError):
            next(results)
        gate.set()
        app.dispatch(work, 99).result(timeout=TIMEOUT_S)
        assert ran == [0, 99]


def test_nonsense_is_refused_at_the_call(app):
    """Not at the first `next`, when the traceback would point elsewhere."""
    untyped: Any = app
    with pytest.raises(ConfigError, match="max_in_flight"):
        app.map(double, [1], max_in_flight=0)
    with pytest.raises(ConfigError, match="decorated"):
        untyped.map(len, ["a"])
    with pytest.raises(TypeError, match="iterable"):
        untyped.map(double, 5)
