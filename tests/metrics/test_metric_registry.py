"""Registry and series: one for each name and labels, exact counts, detached snapshots, no error for who counts."""

import copy
import math
import pickle
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.messages import LimenError
from limen.metrics import (
    AlreadyInstalled,
    Distribution,
    InvalidMetric,
    Kind,
    Metric,
    MetricConflict,
    Reading,
    Registry,
    Sample,
    Snapshot,
)

MAX_COUNT = 2**64 - 1
NOT_FINITE = [math.nan, math.inf, -math.inf]


# --- the same series ------------------------------------------------------------------------------------------------


def test_the_same_name_and_labels_give_the_same_series():
    """MX-04: whoever asks, in whatever order the labels come, and whatever type their values have."""
    registry = Registry()

    assert registry.counter("c", {"a": 1, "b": "2"}) is registry.counter("c", [("b", 2), ("a", "1")])
    assert registry.gauge("g") is registry.gauge("g", {})
    assert registry.histogram("h", buckets=[1, 2]) is registry.histogram("h", buckets=(2.0, 1.0, 2))
    assert registry.counter("c", {"a": 1}) is not registry.counter("c", {"a": 2})


def test_labels_are_sorted_and_each_name_is_there_once():
    """MX-04: of a name that is given twice the last value counts."""
    registry = Registry()
    registry.counter("c", [("b", 1), ("a", 1), ("b", 2)]).add()

    assert registry.snapshot().metrics[0].samples == (Sample(labels=(("a", "1"), ("b", "2")), value=1),)


@pytest.mark.parametrize("first", ["counter", "gauge", "histogram"])
@pytest.mark.parametrize("second", ["counter", "gauge", "histogram"])
def test_a_name_is_of_one_kind(first, second):
    """MX-04: another kind under the same name is an error, with other labels too, and says what is there."""
    registry = Registry()
    getattr(registry, first)("m")

    if first == second:
        getattr(registry, second)("m", {"a": 1})
        return
    with pytest.raises(MetricConflict) as caught:
        getattr(registry, second)("m", {"a": 1})
    assert f"is a {first}" in str(caught.value)
    assert f"not a {second}" in str(caught.value)


def test_a_name_has_one_set_of_buckets():
    """MX-04: other buckets are an error; the same ones in another order are the same."""
    registry = Registry()
    registry.histogram("h", buckets=[1, 5])

    with pytest.raises(MetricConflict, match="buckets 1, 5"):
        registry.histogram("h", {"a": 1}, buckets=[1, 6])
    registry.histogram("h", {"a": 1}, buckets=[5, 1])


def test_a_histogram_has_at_most_64_buckets():
    """MX-04: counted once sorted, deduplicated and rid of what is not finite."""
    registry = Registry()
    registry.histogram("h", buckets=[*range(64), *range(64), *NOT_FINITE])

    with pytest.raises(InvalidMetric, match="65"):
        registry.histogram("more", buckets=range(65))


def test_buckets_are_sorted_deduplicated_and_finite():
    """MX-04: the bound above them all is always there."""
    histogram = Registry().histogram("h", buckets=[5, 1, 5, 1.0, *NOT_FINITE])

    assert histogram.value == Distribution(bounds=(1.0, 5.0), counts=(0, 0, 0), sum=0)
    assert Registry().histogram("h", buckets=[]).value.bounds == ()


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("", {}, "name"),
        (None, {}, "name"),
        ("m", {1: "a"}, "label"),
        ("m", [1], "label"),
        ("m", 5, "label"),
    ],
)
def test_a_series_that_cannot_be_is_refused(name, labels, message):
    """MX-04: whoever makes a series is told what is wrong with it."""
    asked: Any = (name, labels)
    with pytest.raises(InvalidMetric, match=message):
        Registry().counter(*asked)


def test_buckets_are_numbers():
    """MX-04: as above."""
    buckets: Any = ["wide"]
    with pytest.raises(InvalidMetric, match="numbers"):
        Registry().histogram("h", buckets=buckets)


@pytest.mark.parametrize(
    "error", [MetricConflict("m", "counter", "gauge"), InvalidMetric("m", "no"), AlreadyInstalled()]
)
def test_the_errors_are_values(error):
    """ER-08: below one root, equal to their copies."""
    assert isinstance(error, LimenError)
    assert pickle.loads(pickle.dumps(error)) == copy.copy(error) == error
    assert str(error)


# --- what they count ------------------------------------------------------------------------------------------------


def test_a_counter_stays_at_its_end():
    """MX-04: it saturates at 2**64 - 1, whether it gets there in one step or in many."""
    counter = Registry().counter("c")

    counter.add(MAX_COUNT - 1)
    counter.add()
    counter.add(5)

    assert counter.value == MAX_COUNT
    counter.add(MAX_COUNT)
    assert counter.value == MAX_COUNT


def test_a_counter_only_goes_up():
    """MX-04: a negative count is a mistake, and counts nothing."""
    counter = Registry().counter("c")

    with pytest.raises(ValueError, match="-1"):
        counter.add(-1)
    assert counter.value == 0


@pytest.mark.parametrize("value", NOT_FINITE)
def test_what_is_not_finite_is_ignored(value):
    """MX-04: by gauges and by histograms."""
    registry = Registry()
    gauge, histogram = registry.gauge("g"), registry.histogram("h", buckets=[1])
    gauge.set(2)

    gauge.set(value)
    gauge.add(value)
    histogram.observe(value)

    assert (gauge.value, histogram.value.count, histogram.value.sum) == (2, 0, 0)


def test_a_gauge_goes_up_and_down():
    """MX-04: set, moved, and never beyond all numbers."""
    gauge = Registry().gauge("g")
    gauge.set(3)
    gauge.add()
    gauge.add(-1.5)
    assert gauge.value == 2.5

    gauge.set(sys.float_info.max)
    gauge.add(sys.float_info.max)
    assert gauge.value == sys.float_info.max


@given(
    observed=st.lists(st.floats(allow_nan=True, allow_infinity=True)),
    buckets=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60),
)
def test_an_observation_is_in_the_first_bucket_that_holds_it(observed, buckets):
    """MX-04, MX-06: cumulated, a bucket counts whatever does not exceed its bound; the sum stays finite."""
    histogram = Registry().histogram("h", buckets=buckets)
    for each in observed:
        histogram.observe(each)

    value = histogram.value
    finite = [each for each in observed if math.isfinite(each)]
    assert value.cumulative == (*(sum(each <= bound for each in finite) for bound in value.bounds), len(finite))
    assert value.count == len(finite)
    assert math.isfinite(value.sum)
    assert list(value.bounds) == sorted({each for each in buckets if math.isfinite(each)})


# --- families -------------------------------------------------------------------------------------------------------


class Unprintable:
    """A value that has no text."""

    def __str__(self):
        raise RuntimeError("no")


def test_a_family_gives_the_series_of_its_labels():
    """MX-04: by the values alone."""
    registry = Registry()

    assert registry.counters("c", ["a", "b"]).labels(1, "x") is registry.counter("c", {"a": "1", "b": "x"})
    assert registry.gauges("g", ["a"]).labels(1) is registry.gauge("g", {"a": 1})
    assert registry.histograms("h", ["a"], buckets=[1]).labels(1) is registry.histogram("h", {"a": 1}, buckets=[1])


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda registry: registry.counters("taken", ["a"]), (1,)),
        (lambda registry: registry.gauges("c", ["a"]), (1,)),
        (lambda registry: registry.histograms("h", ["a"], buckets=[2]), (1,)),
        (lambda registry: registry.histograms("new", ["a"], buckets=range(65)), (1,)),
        (lambda registry: registry.counters("c", ["a"]), ()),
        (lambda registry: registry.counters("c", ["a"]), (1, 2)),
        (lambda registry: registry.counters("c", ["a"]), (Unprintable(),)),
        (lambda registry: registry.counters("", ["a"]), (1,)),
    ],
)
def test_a_family_falls_back_to_a_series_that_counts_nothing(make, values):
    """MX-04: other kind, other buckets, too many, wrong labels: nothing is raised and nothing is registered."""
    registry = Registry()
    registry.gauge("taken")
    registry.counter("c", {"a": "0"})
    registry.histogram("h", buckets=[1])
    before = registry.snapshot()

    series = make(registry).labels(*values)
    for name in ("add", "set", "observe"):
        if hasattr(series, name):
            getattr(series, name)(1)

    assert registry.snapshot() == before
    zero = series.value if not isinstance(series.value, Distribution) else series.value.count
    assert zero == 0


# --- snapshots ------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_detached():
    """MX-05: what happens later does not change it."""
    registry = Registry()
    counter, histogram = registry.counter("c", help_text="What it is."), registry.histogram("h", buckets=[1])
    counter.add(2)
    snapshot = registry.snapshot()

    counter.add()
    histogram.observe(0.5)
    registry.gauge("g").set(1)

    assert snapshot == Snapshot(
        metrics=(
            Metric(name="c", kind=Kind.COUNTER, help="What it is.", samples=(Sample(labels=(), value=2),)),
            Metric(
                name="h",
                kind=Kind.HISTOGRAM,
                samples=(Sample(labels=(), value=Distribution(bounds=(1.0,), counts=(0, 0), sum=0)),),
            ),
        )
    )
    assert (snapshot.value("c"), snapshot.value("c", a=1), snapshot.value("g")) == (2, None, None)


def test_a_series_can_be_forgotten():
    """MX-07: for what has left; its kind stays taken."""
    registry = Registry()
    registry.gauge("g", {"a": 1}).set(5)
    registry.gauge("g", {"a": 2}).set(6)

    assert registry.remove("g", {"a": 1})
    assert not registry.remove("g", {"a": 1})
    assert not registry.remove("x")
    snapshot = registry.snapshot()
    assert (snapshot.value("g", a=1), snapshot.value("g", a=2)) == (None, 6)


class Given:
    """A source of whatever it is given."""

    def __init__(self, *readings):
        self.readings = readings

    def read(self):
        return self.readings


def test_readings_are_gauges_that_exist_while_they_are_given():
    """MX-07: what has left is gone from the next snapshot; equal labels of several sources are added up."""
    registry = Registry()
    first, second = (
        Given(Reading("g", 1, {"a": 1}, "Text."), Reading("g", 5, {"a": 2})),
        Given(Reading("g", 2, {"a": 1})),
    )
    for source in (first, second, first):
        registry.add_source(source)

    before = registry.snapshot()
    first.readings = ()
    after = registry.snapshot()

    assert (before.value("g", a=1), before.value("g", a=2)) == (3, 5)
    assert before.metrics[0].help == "Text."
    assert (after.value("g", a=1), after.value("g", a=2)) == (2, None)
    registry.remove_source(second)
    assert registry.snapshot() == Snapshot()


def test_a_gauge_that_was_set_comes_before_a_reading():
    """MX-04: the same series is not there twice; a reading under the name of a counter is left out."""
    registry = Registry()
    registry.gauge("g", {"a": 1}).set(7)
    registry.counter("c")
    registry.add_source(Given(Reading("g", 1, {"a": 1}), Reading("g", 2, {"a": 2}), Reading("c", 9)))

    snapshot = registry.snapshot()

    assert (snapshot.value("g", a=1), snapshot.value("g", a=2), snapshot.value("c")) == (7, 2, 0)


def test_a_source_that_fails_is_left_out(caplog):
    """MX-05: the others are there, and the failure is logged; what is not finite is left out too."""
    registry = Registry()
    unlike_labels: Any = 5
    for source in (
        Given(None),
        Given(Reading("g", math.nan)),
        Given(Reading("g", 1)),
        Given(Reading("", 1, unlike_labels)),
    ):
        registry.add_source(source)

    assert registry.snapshot().value("g") == 1
    assert caplog.text.count("a source of metrics failed") == 2


@pytest.mark.slow
def test_snapshots_are_right_while_others_write():
    """MX-05: a thousand snapshots beside four writers; each series agrees with itself, and nothing is lost."""
    registry = Registry()
    rounds, writers = 5_000, 4
    begin = threading.Barrier(writers + 1)

    def write(number):
        begin.wait()
        for step in range(rounds):
            registry.counter("c").add()
            registry.counter("own", {"writer": number, "step": step % 50}).add()
            registry.histogram("h", buckets=[1, 2]).observe(1)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    begin.wait()
    last = 0
    for _ in range(1_000):
        snapshot = registry.snapshot()
        count = snapshot.value("c") or 0
        assert isinstance(count, int)
        assert count >= last
        last = count
        value = snapshot.value("h")
        if isinstance(value, Distribution):
            assert value.sum == value.count == value.counts[0]
    for thread in threads:
        thread.join()

    end = registry.snapshot()
    own = end.metric("own")
    assert end.value("c") == rounds * writers
    assert own is not None
    assert sum(int(each.value) for each in own.samples if not isinstance(each.value, Distribution)) == rounds * writers
