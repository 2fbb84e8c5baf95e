"""Limits by number and by rate: what a gate lets through, and when. Its time is a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.actors._gates import GRAIN_S, Bucket, Gate
from limen.messages.errors import ConfigError
from limen.messages.limits import Limit

intervals_s = st.floats(0.001, 100.0)
bursts = st.integers(1, 20)


def _starts(bucket, wishes_s):
    """When each starts, if it wishes to at these instants and waits for its token."""
    starts, now_s = [], 0.0
    for wish_s in wishes_s:
        now_s = max(now_s, wish_s, bucket.opens_at_s)
        assert bucket.has_token(now_s)
        bucket.take(now_s)
        starts.append(now_s)
    return starts


wishes = st.lists(st.floats(0.0, 50.0), min_size=1, max_size=60).map(sorted)


@given(intervals_s, bursts, wishes)
def test_in_any_time_no_more_start_than_the_burst_and_what_came_meanwhile(interval_s, burst, wishes_s):
    """A token bucket's promise, from every start to every later one."""
    starts = _starts(Bucket(interval_s, burst), wishes_s)

    for first, begin_s in enumerate(starts):
        for last in range(first, len(starts)):
            between_s = starts[last] - begin_s
            assert last - first + 1 <= burst + between_s / interval_s + 1e-6


@given(intervals_s, bursts, wishes)
def test_nobody_waits_longer_than_the_rate_asks_for(interval_s, burst, wishes_s):
    """The starts are those of the plainest bucket there is: a number of tokens that grows with the time."""
    tokens, at_s, expected = float(burst), 0.0, []
    for wish_s in wishes_s:
        start_s = max(at_s, wish_s)
        tokens = min(burst, tokens + (start_s - at_s) / interval_s)
        if tokens < 1:
            start_s += (1 - tokens) * interval_s
            tokens = 1.0
        tokens -= 1
        at_s = start_s
        expected.append(start_s)

    assert _starts(Bucket(interval_s, burst), wishes_s) == pytest.approx(expected, abs=1e-6)


@given(intervals_s, bursts, st.integers(0, 10))
def test_a_quiet_time_fills_the_bucket_and_no_more(interval_s, burst, taken):
    """After a long rest exactly the burst is there."""
    bucket = Bucket(interval_s, burst)
    for _ in range(taken):
        bucket.take(0.0)
    rested_s = 1000.0 + (taken + burst) * interval_s

    found = 0
    while bucket.has_token(rested_s):
        bucket.take(rested_s)
        found += 1

    assert found == burst


def test_a_token_that_was_not_used_is_there_again():
    """Whoever turns back has used up nothing."""
    bucket = Bucket(1.0, 1)
    bucket.take(5.0)
    assert not bucket.has_token(5.0)

    bucket.give_back()

    assert bucket.has_token(5.0)


def test_an_instant_that_is_a_grain_too_early_will_do():
    """Sums of many intervals are not exact, and a timer set for such an instant must not be set again and again."""
    bucket = Bucket(0.1, 1)
    for _ in range(3):
        bucket.take(0.0)

    assert bucket.has_token(0.1 * 3 - GRAIN_S / 2)
    assert not bucket.has_token(0.1 * 3 - 10 * GRAIN_S)


def test_a_gate_needs_a_place_and_a_token():
    """Both limits hold at once."""
    gate = Gate("encode", Limit(max_concurrent=2, rate=1, burst=3))
    for _ in range(2):
        assert gate.lets_in(0.0)
        gate.enter(0.0)
    assert not gate.lets_in(0.0)
    assert not gate.waits_for_time(0.0), "a place comes by an end, not by time"

    gate.leave()
    gate.enter(0.0)
    gate.leave()

    assert not gate.lets_in(0.0)
    assert gate.waits_for_time(0.0)
    assert gate.lets_in(1.0)


def test_a_limit_of_none_at_all_never_lets_one_in():
    """Zero holds an activity back altogether."""
    assert not Gate("encode", Limit(max_concurrent=0)).lets_in(1e9)


def test_a_new_limit_is_no_new_burst():
    """What was used up before stays so, in the measure of the new rate."""
    before = Gate("encode", Limit(rate=1, burst=2))
    before.enter(10.0)
    before.enter(10.0)
    after = Gate("encode", Limit(rate=10, burst=2))

    after.take_over(before, 10.0)

    assert not after.lets_in(10.0)
    assert after.lets_in(10.1)
    assert not after.lets_in(10.05)


def test_a_new_limit_owes_no_more_than_its_own_burst():
    """A debt that the new bucket could not have had is forgotten."""
    before = Gate("encode", Limit(rate=1, burst=100))
    for _ in range(100):
        before.enter(0.0)
    after = Gate("encode", Limit(rate=1, burst=1))

    after.take_over(before, 0.0)

    assert not after.lets_in(0.5)
    assert after.lets_in(1.0)


@pytest.mark.parametrize(
    ("rate", "per_s", "burst"), [(1, 1.0, 1), (0.1, 1.0, 1), (39, 1.0, 1), (100, 1.0, 5), (6000, 60.0, 5)]
)
def test_by_default_little_may_start_at_once(rate, per_s, burst):
    """One; or, where many start in a second, enough to make up for a timer's lateness."""
    assert Limit(rate=rate, per_s=per_s).at_once == burst


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("max_concurrent", (-1, 1.5, True, "2")),
        ("rate", (0, -1, float("nan"), float("inf"), "1", True)),
        ("per_s", (0, -1.0, float("nan"), float("inf"), None)),
        ("burst", (0, -1, 1.5)),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(field, values):
    """The error names the field."""
    for value in values:
        with pytest.raises(ConfigError, match=field):
            Limit(**{"rate": 1, field: value})


def test_a_burst_without_a_rate_is_refused():
    """It would say nothing."""
    with pytest.raises(ConfigError, match="burst"):
        Limit(max_concurrent=1, burst=3)
    assert Limit().is_none
