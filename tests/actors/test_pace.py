"""The estimates that say which activities are short: pessimistic, and quick to learn of a long one."""

import pytest

from limen.actors.executors._pace import SHORT_S, Pace


def test_what_has_not_run_yet_counts_as_long():
    """Nothing waits behind an activity that nobody knows."""
    assert not Pace(1).is_short(0)


def test_one_short_run_is_enough_for_a_first_estimate():
    """The first measurement replaces the guess."""
    pace = Pace(1)
    pace.note(0, 0.00001)

    assert pace.estimates_s[0] == 0.00001
    assert pace.is_short(0)


def test_one_long_run_counts_at_once_and_is_unlearned_slowly():
    """A surprise ends the waiting behind others for a number of runs."""
    pace = Pace(1)
    for _ in range(100):
        pace.note(0, 0.00001)
    pace.note(0, 0.01)
    after_the_long_one = pace.is_short(0)
    runs = 0
    while not pace.is_short(0):
        pace.note(0, 0.00001)
        runs += 1

    assert not after_the_long_one
    assert 5 <= runs <= 20


def test_kinds_are_told_apart():
    """A long activity does not make another one long."""
    pace = Pace(2)
    pace.note(0, 1.0)
    pace.note(1, 0.0001)

    assert (pace.is_short(0), pace.is_short(1)) == (False, True)


@pytest.mark.parametrize(("runs", "steady"), [(1, False), (15, False), (16, True), (200, True)])
def test_a_row_of_short_runs_is_steady(runs, steady):
    """A worker of short activities shows by a row of them."""
    pace = Pace(1)
    for _ in range(runs):
        pace.note(0, SHORT_S / 2)

    assert pace.is_steady is steady


def test_a_long_run_ends_the_row():
    """From then on it is counted anew."""
    pace = Pace(1)
    for took_s in [SHORT_S / 2] * 50 + [SHORT_S * 2] + [SHORT_S / 2] * 15:
        pace.note(0, took_s)

    assert not pace.is_steady
