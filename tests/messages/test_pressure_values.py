"""Backpressure as values: limits, what a producer is told, policies, errors."""

import copy
import math
import pickle

import attrs
import pytest

from limen.messages import AckStatus, ConfigError, InvalidCapacity, LimenError
from limen.messages.pressure import (
    Accept,
    Alert,
    ConsumerCapacity,
    Defer,
    Reject,
    ScaleConsumers,
    ScaleSignal,
    Severity,
    ShedLoad,
    SlowProducer,
)
from limen.messages.pressure_errors import CountUnderflow, InvalidConsumerCapacity

FULL = {"current_in_flight": 2, "max_in_flight": 2, "buffer_depth": 3, "max_buffer_depth": 5}
VALUES = [
    ConsumerCapacity(2, 5),
    Accept(current_in_flight=1, max_in_flight=2),
    Defer(**FULL),
    Reject(**FULL),
    SlowProducer(0.5),
    ShedLoad(0.8, 3),
    ScaleConsumers(0.9),
    Alert(1.0, Severity.CRITICAL),
    ScaleSignal(channel="c", consumers=2),
    CountUnderflow("in_flight"),
    InvalidConsumerCapacity("max_in_flight", "must be 1 or more, not 0", 0, 5),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_equals_the_first(value, twin):
    """BP-01, BP-04, ER-08: values and errors compare by their fields and survive pickling."""
    assert twin(value) == value
    assert hash(twin(value)) == hash(value)


def test_a_consumers_limits_are_readable():
    """BP-01: from 1 up."""
    assert attrs.astuple(ConsumerCapacity(1, 1)) == (1, 1)
    assert attrs.astuple(ConsumerCapacity(max_in_flight=2, max_buffer_depth=5)) == (2, 5)


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ((0, 5), "max_in_flight"),
        ((5, 0), "max_buffer_depth"),
        ((0, 0), "max_in_flight"),
        ((-1, 5), "max_in_flight"),
        ((True, 5), "max_in_flight"),
        ((1, 2.0), "max_buffer_depth"),
        ((1, None), "max_buffer_depth"),
    ],
)
def test_a_limit_below_1_is_refused_and_both_are_shown(limits, field):
    """BP-01, TY-07: `InvalidCapacity`, and a `ValueError`, with both limits as they were given."""
    with pytest.raises(InvalidCapacity) as caught:
        ConsumerCapacity(*limits)

    error = caught.value
    assert isinstance(error, InvalidConsumerCapacity)
    assert isinstance(error, ValueError)
    assert (error.field, error.max_in_flight, error.max_buffer_depth) == (field, *limits)
    assert all(part in str(error) for part in (field, f"={limits[0]!r}", f"={limits[1]!r}"))


@pytest.mark.parametrize(
    ("signal", "status"),
    [
        (Accept(current_in_flight=1, max_in_flight=2), AckStatus.ACCEPTED),
        (Defer(**FULL), AckStatus.DEFERRED),
        (Reject(**FULL), AckStatus.REJECTED),
    ],
)
def test_a_signal_is_what_an_acknowledgement_says(signal, status):
    """BP-04, BP-05: accept, defer and reject are the three statuses of the wire."""
    assert signal.status is status


def test_signals_carry_the_counts():
    """BP-04: slots for all, the buffer for those that met a full consumer."""
    assert [each.name for each in attrs.fields(Accept)] == ["current_in_flight", "max_in_flight"]
    for kind in (Defer, Reject):
        assert attrs.asdict(kind(**FULL)) == FULL


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan, math.inf, True, "0.5", None])
@pytest.mark.parametrize("policy", [SlowProducer, ShedLoad, ScaleConsumers, Alert])
def test_a_threshold_is_a_share(policy, threshold):
    """BP-09: a score is from 0 to 1, and so is what it is compared with."""
    with pytest.raises(ConfigError, match="threshold"):
        policy(threshold)


@pytest.mark.parametrize("factor", [0.9, 0, -1, math.nan, math.inf, True, "2"])
def test_a_factor_slows_down(factor):
    """BP-09: a factor below 1 would let the backlog grow."""
    with pytest.raises(ConfigError, match="factor"):
        SlowProducer(0.5, factor)


def test_policies_say_what_they_ask_for():
    """BP-09, BP-11: a pace for producers, a priority to stay, a severity."""
    assert SlowProducer(0.5, 3).delay_s(0.5) == 1.5
    assert SlowProducer(0.5).delay_s(-1) == 0
    assert [ShedLoad(0.5, 3).sheds(priority) for priority in (2, 3, 4)] == [True, False, False]
    assert Alert(0.5, "critical").severity is Severity.CRITICAL
    with pytest.raises(ValueError, match="loud"):
        Alert(0.5, "loud")
    with pytest.raises(TypeError, match="below_priority"):
        ShedLoad(0.5, "low")  # type: ignore[arg-type]


def test_errors_say_what_would_be_right():
    """BP-02: an underflow names its count."""
    assert isinstance(CountUnderflow("in_flight"), LimenError)
    assert "in_flight is 0" in str(CountUnderflow("in_flight"))
