"""The pressure of channels: what producers are told, scores, policies and what follows from them."""

import logging
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from limen.actors.pressure import (
    ConsumerMetrics,
    Hysteresis,
    PressureEnforcer,
    PressureEventKind,
    PressureMonitor,
    PressureTracker,
    decide,
)
from limen.messages import ConfigError
from limen.messages.pressure import (
    Accept,
    Alert,
    ConsumerCapacity,
    Defer,
    PressurePolicy,
    Reject,
    ScaleConsumers,
    ScaleSignal,
    Severity,
    ShedLoad,
    SlowProducer,
)
from limen.messages.pressure_errors import CountUnderflow

CHANNEL = "aion.dispatch.shop.media"
BEGAN, ENDED = PressureEventKind.BEGAN, PressureEventKind.ENDED
ACCEPT = Accept(current_in_flight=0, max_in_flight=2)
FULL = {"current_in_flight": 2, "max_in_flight": 2, "buffer_depth": 3, "max_buffer_depth": 5}


def _tracker(in_flight, max_in_flight, buffered=0, max_buffered=5):
    tracker = PressureTracker(ConsumerCapacity(max_in_flight, max_buffered))
    for _ in range(in_flight):
        tracker.delivered()
    for _ in range(buffered):
        tracker.buffered()
    return tracker


def _counts(tracker):
    return tracker.in_flight, tracker.buffer_depth


# --- the tracker ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ((1, 2), Accept(current_in_flight=1, max_in_flight=2)),
        ((1, 2, 5, 5), Accept(current_in_flight=1, max_in_flight=2)),
        ((2, 2, 3, 5), Defer(**FULL)),
        ((2, 2, 0, 5), Defer(**{**FULL, "buffer_depth": 0})),
        ((2, 2, 5, 5), Reject(**{**FULL, "buffer_depth": 5})),
        ((3, 2, 6, 5), Reject(current_in_flight=3, max_in_flight=2, buffer_depth=6, max_buffer_depth=5)),
    ],
)
def test_a_free_slot_accepts_then_the_buffer_defers_then_all_is_rejected(state, expected):
    """BP-03, BP-04: the counts are those before the decision, which changes none."""
    tracker = _tracker(*state)

    assert (tracker.decide(), tracker.decide()) == (expected, expected)
    assert _counts(tracker) == (state[0], (*state, 0)[2])


def test_a_channel_without_slots_defers_what_it_has_room_for():
    """BP-03: limits of 0, which no consumer has, but a channel without workers."""
    empty = {"in_flight": 0, "max_in_flight": 0}

    assert isinstance(decide(**empty, buffer_depth=0, max_buffer_depth=1), Defer)
    assert isinstance(decide(**empty, buffer_depth=0, max_buffer_depth=0), Reject)


@pytest.mark.parametrize(
    ("lower", "count", "before"),
    [
        (PressureTracker.completed, "in_flight", (0, 1)),
        (PressureTracker.drained, "buffer_depth", (1, 0)),
    ],
)
def test_a_count_cannot_fall_below_0(lower, count, before):
    """BP-02: an underflow is an error and changes nothing."""
    tracker = _tracker(before[0], 1, before[1])

    with pytest.raises(CountUnderflow) as caught:
        lower(tracker)

    assert caught.value.count == count
    assert _counts(tracker) == before


class TrackerMachine(RuleBasedStateMachine):
    """Any sequence of calls, against two plain numbers."""

    def __init__(self):
        super().__init__()
        self.tracker = PressureTracker(ConsumerCapacity(2, 3))
        self.model = [0, 0]

    @rule(call=st.sampled_from([(0, "delivered", 1), (0, "completed", -1), (1, "buffered", 1), (1, "drained", -1)]))
    def count(self, call):
        """BP-02: up by one, or down by one, or refused."""
        place, name, step = call
        if self.model[place] + step < 0:
            with pytest.raises(CountUnderflow):
                getattr(self.tracker, name)()
            return
        getattr(self.tracker, name)()
        self.model[place] += step

    @invariant()
    def agrees(self):
        """BP-03: the counts and the decision are those of the model."""
        in_flight, buffered = self.model
        assert _counts(self.tracker) == (in_flight, buffered)
        expected = Accept if in_flight < 2 else Defer if buffered < 3 else Reject
        assert type(self.tracker.decide()) is expected


TestTracker = TrackerMachine.TestCase


# --- the monitor ----------------------------------------------------------------------------------------------------


def _monitor(*loads, **options):
    """Make a monitor with consumers `w-1`, `w-2`, … that use so many of their ten slots."""
    monitor = PressureMonitor(**options)
    for number, load in enumerate(loads, 1):
        monitor.update(CHANNEL, f"w-{number}", current_in_flight=load, max_in_flight=10)
    return monitor


@pytest.mark.parametrize(
    ("loads", "score"),
    [((8, 2), 0.5), ((10,), 1.0), ((0,), 0.0), ((15,), 1.0), ((-3,), 0.0), ((), 0.0)],
)
def test_the_score_is_the_mean_utilisation(loads, score):
    """BP-07: 0.8 and 0.2 give 0.5; a consumer counts for no more than 1; without consumers it is 0."""
    assert _monitor(*loads).score(CHANNEL) == pytest.approx(score)


def test_a_consumer_without_slots_is_not_full():
    """BP-07: a capacity of 0 gives a utilisation of 0, whatever it holds."""
    metrics = ConsumerMetrics(consumer="w-1", current_in_flight=3, max_in_flight=0)

    assert (metrics.load, metrics.utilisation) == (0, 0)


def test_the_load_is_not_clamped():
    """BP-07, MX-03: what is measured stays visible next to what counts for the score."""
    metrics = ConsumerMetrics(consumer="w-1", current_in_flight=3, max_in_flight=2)

    assert (metrics.load, metrics.utilisation) == (1.5, 1.0)


@pytest.mark.parametrize(
    ("given_score", "score"), [(3, 1.0), (-2, 0.0), (math.nan, 0.0), (0.25, 0.25), (math.inf, 1.0), (-math.inf, 0.0)]
)
def test_another_scorers_figure_is_brought_into_range(given_score, score):
    """BP-07: clamped, and NaN is 0."""
    assert _monitor(8, scorer=lambda _: given_score).score(CHANNEL) == score


def test_a_scorer_is_not_asked_about_nobody():
    """BP-07: an empty channel has the score 0."""
    assert PressureMonitor(lambda _: 1.0).score(CHANNEL) == 0


def test_a_scorer_that_raises_does_not_hide_the_pressure(caplog):
    """BP-07: the mean counts instead, and it is logged."""
    with caplog.at_level(logging.ERROR, logger="limen"):
        assert _monitor(8, scorer=lambda _: 1 / 0).score(CHANNEL) == 0.8

    assert "scorer" in caplog.text


def test_answers_are_counted_for_known_consumers_only():
    """BP-08: a typo in an id creates nothing and moves no score."""
    monitor = _monitor(8)

    counted = [monitor.record(CHANNEL, "w-1", each) for each in (ACCEPT, Defer(**FULL), Reject(**FULL), ACCEPT)]
    stray = [monitor.record(CHANNEL, "w-l", ACCEPT), monitor.record("elsewhere", "w-1", ACCEPT)]

    assert (counted, stray) == ([True] * 4, [False] * 2)
    (row,) = monitor.consumers(CHANNEL)
    assert (row.accepted, row.deferred, row.rejected) == (2, 1, 1)
    assert monitor.score(CHANNEL) == 0.8
    assert monitor.consumers("elsewhere") == ()


def test_new_figures_keep_the_counts():
    """BP-08: an update replaces the figures of the moment, not what has been counted so far."""
    monitor = _monitor(8)
    monitor.record(CHANNEL, "w-1", ACCEPT)

    monitor.update(CHANNEL, "w-1", current_in_flight=1, max_in_flight=4, buffer_depth=2, max_buffer_depth=3)

    assert monitor.consumers(CHANNEL) == (
        ConsumerMetrics(
            consumer="w-1", current_in_flight=1, max_in_flight=4, buffer_depth=2, max_buffer_depth=3, accepted=1
        ),
    )


def test_a_consumer_that_has_left_no_longer_dilutes_the_score():
    """BP-12: of two at 1.0 and 0.0 the second leaves; what is left is full."""
    monitor = _monitor(10, 0)
    assert monitor.score(CHANNEL) == 0.5

    assert monitor.remove(CHANNEL, "w-2")

    assert monitor.score(CHANNEL) == 1.0
    assert not monitor.remove(CHANNEL, "w-2")
    assert not monitor.remove("elsewhere", "w-1")


def test_a_snapshot_stays_as_it_is():
    """BP-07: a copy, whose score agrees with its rows."""
    monitor = _monitor(10, 0)
    before = monitor.snapshot(CHANNEL)

    monitor.remove(CHANNEL, "w-1")

    assert (before.score, [row.consumer for row in before.consumers]) == (0.5, ["w-1", "w-2"])
    assert monitor.snapshot(CHANNEL).score == 0


figures = st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))))


@given(steps=st.lists(figures))
def test_the_score_is_that_of_those_who_are_there(steps):
    """BP-07, BP-12: after any coming, changing and going it is the mean over a plain dictionary, from 0 to 1."""
    monitor = PressureMonitor()
    model: dict[str, Fraction] = {}
    for consumer, pair in steps:
        if pair is None:
            assert monitor.remove(CHANNEL, consumer) is (model.pop(consumer, None) is not None)
        else:
            model[consumer] = min(Fraction(pair[0], pair[1]), Fraction(1)) if pair[1] else Fraction(0)
            monitor.update(CHANNEL, consumer, current_in_flight=pair[0], max_in_flight=pair[1])
        score = monitor.score(CHANNEL)
        assert score == pytest.approx(float(sum(model.values()) / len(model)) if model else 0)
        assert 0 <= score <= 1


# --- policies -------------------------------------------------------------------------------------------------------

LOW, HIGH = SlowProducer(0.5), ShedLoad(0.8, 3)


@pytest.mark.parametrize(
    ("score", "active"), [(0.6, (LOW,)), (0.8, (LOW, HIGH)), (0.3, ()), (0.5, (LOW,)), (1, (LOW, HIGH))]
)
def test_policies_hold_from_their_threshold_on_lowest_first(score, active):
    """BP-09: thresholds of 0.5 and 0.8, in whatever order they are given."""
    policies = Hysteresis([HIGH, LOW])

    policies.update(score)

    assert policies.active == active


def test_equal_policies_count_once():
    """BP-09: the same rule given twice asks for one action."""
    assert Hysteresis([LOW, SlowProducer(0.5)]).update(1) == ((LOW,), ())


def test_oscillation_at_the_edge_gives_one_action():
    """BP-11: ±0.01 round the threshold begins it once and never ends it."""
    policies = Hysteresis([HIGH])
    changes = [policies.update(0.8 + offset) for _ in range(100) for offset in (-0.01, 0.01)]

    assert [began for began, _ in changes if began] == [(HIGH,)]
    assert [ended for _, ended in changes if ended] == []


def test_a_policy_ends_when_the_pressure_has_really_gone():
    """BP-11: a margin below its threshold, and it begins again only at the threshold."""
    policies = Hysteresis([HIGH], margin=0.1)
    policies.update(0.9)

    assert policies.update(0.71) == ((), ())
    assert policies.update(0.69) == ((), (HIGH,))
    assert policies.update(0.79) == ((), ())
    assert policies.update(0.8) == ((HIGH,), ())


def test_a_low_threshold_can_be_left_again():
    """BP-11: the margin is never wider than half the threshold."""
    policies = Hysteresis([Alert(0.02)])
    policies.update(0.5)

    assert policies.update(0) == ((), (Alert(0.02),))


@pytest.mark.parametrize("margin", [-0.1, 1, math.nan])
def test_a_margin_is_a_share(margin):
    """BP-11: thresholds are from 0 to 1."""
    with pytest.raises(ConfigError, match="margin"):
        Hysteresis(margin=margin)


shares = st.floats(0, 1)


@given(thresholds=st.lists(shares, max_size=5), scores=st.lists(shares, max_size=30), margin=st.floats(0, 0.5))
def test_a_policy_that_began_ends_before_it_begins_again(thresholds, scores, margin):
    """BP-09, BP-11: what begins and ends adds up to what holds, in order; nothing holds clearly below its threshold."""
    policies = Hysteresis([Alert(each) for each in thresholds], margin=margin)
    holding: set[PressurePolicy] = set()
    for score in scores:
        began, ended = policies.update(score)
        assert not holding & set(began)
        assert holding >= set(ended)
        holding = (holding | set(began)) - set(ended)
        assert set(policies.active) == holding
        assert list(policies.active) == sorted(policies.active, key=lambda each: each.threshold)
        assert {each for each in policies.policies if each.threshold <= score} <= holding
        assert all(score >= each.threshold - margin for each in holding)


# --- enforcement ----------------------------------------------------------------------------------------------------


def _update(enforcer, load, consumer="w-1", at_s=0.0):
    return enforcer.update(CHANNEL, consumer, current_in_flight=load, max_in_flight=10, now_s=at_s)


def _enforcer(*policies, **options):
    enforcer = PressureEnforcer(**options)
    enforcer.set_policies(CHANNEL, policies, now_s=0.0)
    return enforcer


def test_each_update_says_at_once_what_follows():
    """BP-10: actions, the snapshot they were decided on, and events with the time that was given."""
    enforcer = _enforcer(HIGH, LOW)

    outcome = _update(enforcer, 9, at_s=7.5)

    assert outcome.actions == outcome.active == (LOW, HIGH)
    assert outcome.snapshot == enforcer.monitor.snapshot(CHANNEL)
    assert [(each.kind, each.policy, each.score, each.at_s) for each in outcome.events] == [
        (BEGAN, LOW, 0.9, 7.5),
        (BEGAN, HIGH, 0.9, 7.5),
    ]
    assert outcome.scale == ()


def test_scaling_says_how_many_consumers_there_are():
    """BP-10: a signal with the channel and its consumer count, here two; once, while it goes on."""
    enforcer = _enforcer(ScaleConsumers(0.7))
    first = _update(enforcer, 5, "w-1")

    second, third = _update(enforcer, 10, "w-2"), _update(enforcer, 10, "w-2")

    assert (first.scale, third.scale) == ((), ())
    assert second.scale == (ScaleSignal(channel=CHANNEL, consumers=2),)
    assert third.active == (ScaleConsumers(0.7),)


def test_without_policies_nothing_follows():
    """BP-10: but the snapshot is there."""
    outcome = _update(PressureEnforcer(), 10)

    assert (outcome.actions, outcome.active, outcome.events, outcome.scale) == ((), (), (), ())
    assert outcome.snapshot.score == 1


def test_oscillating_consumers_give_one_action_and_one_event():
    """BP-11: 79 and 81 of 100 slots, again and again, round a threshold of 0.8."""
    enforcer = _enforcer(HIGH)
    outcomes = [
        enforcer.update(CHANNEL, "w-1", current_in_flight=load, max_in_flight=100, now_s=float(at_s))
        for at_s, load in enumerate([79, 81] * 50)
    ]

    assert [each.policy for outcome in outcomes for each in outcome.events] == [HIGH]
    assert [outcome.actions for outcome in outcomes if outcome.actions] == [(HIGH,)]


def test_a_consumer_that_leaves_is_acted_upon():
    """BP-12: the score of those who stay counts at once, upwards and downwards."""
    enforcer = _enforcer(HIGH)
    _update(enforcer, 10, "w-1")
    _update(enforcer, 0, "w-2")
    assert enforcer.active(CHANNEL) == ()

    full = enforcer.remove(CHANNEL, "w-2", now_s=1.0)
    empty = enforcer.remove(CHANNEL, "w-1", now_s=2.0)

    assert full.actions == (HIGH,)
    assert [(each.kind, each.at_s) for each in empty.events] == [(ENDED, 2.0)]
    assert empty.snapshot.consumers == ()


def test_answers_count_and_are_acted_upon():
    """BP-08, BP-10: a scorer may look at the counts; a stray id changes nothing."""
    monitor = PressureMonitor(lambda consumers: sum(each.rejected for each in consumers) / 10)
    enforcer = PressureEnforcer(monitor)
    enforcer.set_policies(CHANNEL, [Alert(0.1, Severity.CRITICAL)], now_s=0)
    _update(enforcer, 1)

    assert enforcer.record(CHANNEL, "w-x", Reject(**FULL), now_s=1).actions == ()
    assert enforcer.record(CHANNEL, "w-1", Reject(**FULL), now_s=2).actions == (Alert(0.1, Severity.CRITICAL),)


def test_policies_can_be_replaced_while_they_hold():
    """BP-10, BP-11: what stays is not begun again, what goes is ended, what is new begins if it is due.

    The score is below the threshold of one that stays, but not far enough to end it.
    """
    enforcer = _enforcer(LOW, HIGH)
    _update(enforcer, 9)
    enforcer.update(CHANNEL, "w-1", current_in_flight=78, max_in_flight=100, now_s=1.0)

    outcome = enforcer.set_policies(CHANNEL, [HIGH, Alert(0.6)], now_s=2.0)
    cleared = enforcer.set_policies(CHANNEL, [], now_s=3.0)

    assert [(each.kind, each.policy) for each in outcome.events] == [(ENDED, LOW), (BEGAN, Alert(0.6))]
    assert outcome.active == (Alert(0.6), HIGH)
    assert [(each.kind, each.policy) for each in cleared.events] == [(ENDED, Alert(0.6)), (ENDED, HIGH)]
    assert enforcer.active(CHANNEL) == ()


def test_what_holds_says_what_to_do_with_a_message():
    """BP-11: shed-load rejects below its priority, slow-producer spaces messages out; the strictest of each counts."""
    enforcer = _enforcer(SlowProducer(0.5, 2), SlowProducer(0.7, 4), ShedLoad(0.6, 1), ShedLoad(0.9, 5))
    quiet = (enforcer.sheds(CHANNEL, -1), enforcer.delay_s(CHANNEL, 0.1))
    _update(enforcer, 8)

    assert quiet == (False, 0)
    assert [enforcer.sheds(CHANNEL, priority) for priority in (0, 1)] == [True, False]
    assert enforcer.delay_s(CHANNEL, 0.1) == pytest.approx(0.4)


def test_channels_do_not_mix():
    """BP-07, BP-10: each has its consumers and its policies."""
    enforcer = _enforcer(LOW)
    enforcer.update("other", "w-1", current_in_flight=10, max_in_flight=10, now_s=0)

    assert enforcer.active("other") == ()
    assert _update(enforcer, 1).snapshot.score == 0.1
