"""What a router may see of a worker: values, detached from the pool."""

import copy
import pickle
from typing import Any

import attrs
import pytest

from limen.messages import ConsumerId, ConsumerStateView, PoolRow
from limen.messages.pool import DispatchWorker, OpenRow, OpenWorker, view_of


def view(current=0, most=4, **fields):
    """A worker with so many of its slots taken."""
    return ConsumerStateView(ConsumerId("worker-1"), current, most, **fields)


def test_a_view_is_a_value_with_five_fields():
    """RT-01: the consumer's id is a text; equal fields are equal views; nothing can be changed."""
    one = view(3, buffer_depth=2, affinity_tags=("encode", "probe"))

    assert [field.name for field in attrs.fields(ConsumerStateView)] == [
        "consumer",
        "current_in_flight",
        "max_in_flight",
        "buffer_depth",
        "affinity_tags",
    ]
    assert isinstance(one.consumer, str)
    assert one == view(3, buffer_depth=2, affinity_tags=("encode", "probe"))
    assert one != view(2, buffer_depth=2, affinity_tags=("encode", "probe"))
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(one, "current_in_flight", 0)  # noqa: B010 - a checker would refuse the plain way


@pytest.mark.parametrize(("current", "free", "has_capacity"), [(3, 1, True), (4, 0, False), (9, 0, False)])
def test_free_slots_are_never_negative(current, free, has_capacity):
    """RT-02: the maximum less what is taken, floored at 0."""
    assert (view(current).available_capacity, view(current).has_capacity) == (free, has_capacity)


def test_a_tag_matches_to_the_letter():
    """RT-02: affinity is an exact match."""
    tagged = view(affinity_tags=("a",))

    assert (tagged.has_affinity("a"), tagged.has_affinity("A"), tagged.has_affinity("")) == (True, False, False)


def test_the_short_form_of_a_worker_has_one_free_slot_and_no_tags():
    """DP-01: its view says 0 of 1, nothing buffered, no tags."""
    assert DispatchWorker("worker-7").consumer_state == ConsumerStateView(ConsumerId("worker-7"), 0, 1, 0, ())


def test_a_row_shows_free_slots_that_are_never_negative():
    """RT-02: what an operator sees follows the same rule."""
    rows = [PoolRow("worker-1", 1, "thread", 2, taken, (), 0.0) for taken in (0, 2, 5)]

    assert [row.free for row in rows] == [2, 0, 0]


def row_of(*parts: Any) -> Any:
    """Make a row as a snapshot does."""
    made: Any = OpenRow()
    for name, part in zip(attrs.fields_dict(PoolRow), parts, strict=True):
        setattr(made, name, part)
    made.__class__ = PoolRow
    return made


def worker_of(worker_id: str, participant: Any, figures: Any) -> Any:
    """Make the worker of a snapshot as that does."""
    made: Any = OpenWorker()
    made.worker_id, made.participant, made._figures = worker_id, participant, figures
    made.__class__ = DispatchWorker
    return made


MANY_AT_ONCE = [
    (view_of, ConsumerStateView, (ConsumerId("worker-1"), 1, 2, 3, ("encode",))),
    (row_of, PoolRow, ("worker-1", 2, "thread", 4, 1, ("encode",), 1.5, 0, True, 3)),
]


@pytest.mark.parametrize(("make", "kind", "parts"), MANY_AT_ONCE, ids=lambda each: getattr(each, "__name__", ""))
def test_what_a_snapshot_makes_is_what_anybody_would_make(make, kind, parts):
    """RT-01, WC-20: the same type, field by field; as frozen, as hashable and as picklable as any other."""
    made = make(*parts)

    assert type(made) is kind
    assert [getattr(made, field.name) for field in attrs.fields(kind)] == list(parts)
    assert made == kind(*parts)
    assert hash(made) == hash(kind(*parts))
    assert repr(made) == repr(kind(*parts))
    assert pickle.loads(pickle.dumps(made)) == made
    for change in (lambda: setattr(made, attrs.fields(kind)[0].name, None), lambda: delattr(made, "worker_id")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            change()


def test_the_worker_of_a_snapshot_makes_its_view_when_it_is_looked_at():
    """DP-01, WC-20: whoever looks, compares, prints, copies or pickles finds the view that it was made for, once."""
    state = ConsumerStateView(ConsumerId("worker-1"), 1, 2, 3, ("encode",))
    expected = DispatchWorker("worker-1", ("participant",), state)
    looks: list[Any] = [
        lambda made: made.consumer_state == state and made.consumer_state is made.consumer_state,
        lambda made: type(made.consumer_state.consumer) is ConsumerId,
        lambda made: made == expected and expected == made,
        lambda made: hash(made) == hash(expected),
        lambda made: repr(made) == repr(expected),
        lambda made: copy.copy(made) == expected and copy.deepcopy(made) == expected,
        lambda made: pickle.loads(pickle.dumps(made)) == expected,
        lambda made: attrs.asdict(made) == attrs.asdict(expected),
        lambda made: attrs.evolve(made, worker_id="other").consumer_state == state,
        lambda made: type(made) is DispatchWorker and not hasattr(made, "unknown"),
    ]

    assert all(look(worker_of("worker-1", ("participant",), (1, 2, 3, ("encode",)))) for look in looks)


def test_the_worker_of_a_snapshot_is_frozen_before_and_after_a_look():
    """WC-20: nobody changes a copy, and so nobody's copy changes."""
    made = worker_of("worker-1", None, (0, 1, 0, ()))

    for _ in range(2):
        for name in ("worker_id", "consumer_state", "_figures"):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(made, name, None)
        assert made.consumer_state.available_capacity == 1
