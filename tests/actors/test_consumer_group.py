"""Promises of consumer groups, and of a dispatch to one of them."""

import contextlib
import statistics
import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.actors._router_runner import RouterRunner
from limen.actors.consumer_group import ConsumerGroup
from limen.actors.group_dispatch import group_dispatch
from limen.actors.links import LinkedActor, kill
from limen.actors.router_loader import load_router
from limen.actors.runtime import runtime
from limen.messages.errors import ConversationTimeout, RouterCrashed, RouterTimedOut
from limen.messages.pool import ConsumerId, ConsumerStateView, DispatchWorker
from limen.messages.routing import RoutingMessage
from limen.messages.routing_errors import ConsumerFailed, EvaluationFailed, NoConsumer, UnknownConsumerSelected

WAIT_S = 10.0


class Consumer(LinkedActor):
    """Answers with its own name and the payload."""

    def __init__(self, name):
        super().__init__()
        self._name = name

    def on_receive(self, message):
        return f"{self._name}: {message}"


class Stock(pykka.ThreadingActor):
    """The same, on plain Pykka."""

    def on_receive(self, message):
        return f"stock: {message}"


class Crasher(LinkedActor):
    """Dies of what it is asked."""

    def on_receive(self, message):
        raise SystemExit


class Refuser(LinkedActor):
    """Answers with an error, and lives on."""

    def on_receive(self, message):
        raise ValueError(message)


class Holder(LinkedActor):
    """Keeps what it is asked, and never answers."""

    def __init__(self, holds):
        super().__init__()
        self._holds = holds

    def on_receive(self, message):
        self.reply_later()
        self._holds.set()


@pytest.fixture
def started() -> Iterator[contextlib.ExitStack]:
    """Stop at the end what a test has started."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def runner(started):
    """Give a runner whose threads end with the test."""
    return started.enter_context(contextlib.closing(RouterRunner()))


@pytest.fixture
def start(started):
    """Start an actor that is stopped at the end."""

    def start(actor_class, *args):
        ref = actor_class.start(*args)
        started.callback(_stop, ref)
        return ref

    return start


def _stop(ref):
    with contextlib.suppress(pykka.ActorDeadError):
        ref.stop(timeout=WAIT_S)


@pytest.fixture
def dispatch(runner):
    """Dispatch a payload to a group by a function, and wait for the outcome."""

    def dispatch(group, function=None, **options):
        router = load_router(function or first)
        return group_dispatch(group, "work", router, runner=runner, **options).get(timeout=WAIT_S)

    return dispatch


def first(message, views):
    """Choose the first on offer."""
    return views[0].consumer


def worker(name: str, participant: Any = None) -> DispatchWorker:
    """Make a consumer with one free slot."""
    return DispatchWorker(name, participant, ConsumerStateView(ConsumerId(name)))


def group_of(**participants: Any) -> ConsumerGroup:
    """Make a group of these, by id."""
    return ConsumerGroup(worker(name, participant) for name, participant in participants.items())


def ids(consumers):
    """Give the ids, in order."""
    return [each.worker_id for each in consumers]


def test_consumers_are_ordered_by_id():
    """A group keeps A, B, C in that order, whatever the order in which they came (RT-15)."""
    group = ConsumerGroup()

    assert [group.add(worker(name)) for name in "CAB"] == [True, True, True]
    assert ids(group.snapshot()) == ["A", "B", "C"]


def test_an_id_that_is_there_is_replaced():
    """Adding an existing id gives False and the group has the new consumer; an old snapshot keeps the old (RT-15)."""
    group = group_of(A=1, B=2, C=3)
    before = group.snapshot()

    assert group.add(worker("B", "new")) is False

    assert [each.participant for each in group.snapshot()] == [1, "new", 3]
    assert [each.participant for each in before] == [1, 2, 3]
    assert len(group) == 3


def test_removing_says_whether_it_was_there():
    """Remove gives True once (RT-15)."""
    group = group_of(A=1, B=2)
    before = group.snapshot()

    assert [group.remove("A"), group.remove("A")] == [True, False]
    assert "A" not in group
    assert group.get("B") == worker("B", 2)
    assert ids(before) == ["A", "B"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde"))))
def test_a_group_is_a_sorted_map(steps):
    """Whatever is added and removed, a group is what a dict sorted by key is (RT-15)."""
    group, model = ConsumerGroup(), {}
    for number, (adding, name) in enumerate(steps):
        if adding:
            assert group.add(worker(name, number)) is (name not in model)
            model[name] = number
        else:
            assert group.remove(name) is (model.pop(name, None) is not None)

    assert [(each.worker_id, each.participant) for each in group] == sorted(model.items())


def test_the_chosen_consumer_gets_the_payload(dispatch, start):
    """The outcome names the consumer and carries its answer; nothing was rerouted (RT-16)."""
    group = group_of(a=start(Consumer, "a"), b=start(Consumer, "b"))

    outcome = dispatch(group, lambda _message, views: views[1].consumer)

    assert (outcome.delivered_to, outcome.answer) == ("b", "b: work")
    assert (outcome.rerouted_from, outcome.reroute_times_s) == ((), ())


def test_the_function_reads_the_message(dispatch, start):
    """The function is given the caller's message (RT-16)."""
    group = group_of(a=start(Consumer, "a"), b=start(Consumer, "b"))

    outcome = dispatch(group, lambda message, _views: message["to"], message=RoutingMessage({"to": "b"}))

    assert outcome.delivered_to == "b"


def test_a_plain_pykka_actor_can_be_a_consumer(dispatch, start):
    """Actors of stock Pykka are linked and asked as ours are (RT-16)."""
    assert dispatch(group_of(a=start(Stock))).answer == "stock: work"


def test_an_acknowledgement_is_success(dispatch, start):
    """Any answer counts, also an empty one (RT-19)."""

    class Acknowledger(LinkedActor):
        def on_receive(self, message):
            return None

    assert dispatch(group_of(a=start(Acknowledger))).answer is None


@pytest.mark.parametrize("dead", [LinkedActor, pykka.ThreadingActor])
def test_a_dead_consumer_is_passed_over(dispatch, start, dead):
    """A consumer that is gone when it is linked is excluded, and the next is chosen (RT-16)."""
    gone = start(dead)
    gone.stop()

    outcome = dispatch(group_of(a=gone, b=start(Consumer, "b")))

    assert (outcome.delivered_to, outcome.rerouted_from) == ("b", ("a",))


def test_a_consumer_that_dies_of_the_payload_is_rerouted_from(dispatch, start):
    """Each death excludes one consumer and has one timing (RT-16, RT-18)."""
    group = group_of(a=start(Crasher), b=start(Crasher), c=start(Consumer, "c"))

    outcome = dispatch(group)

    assert (outcome.delivered_to, outcome.rerouted_from) == ("c", ("a", "b"))
    assert len(outcome.reroute_times_s) == 2
    assert all(0 <= time_s < 1 for time_s in outcome.reroute_times_s)


def test_a_consumer_killed_while_it_holds_the_payload_is_rerouted_from(runner, start):
    """The first of two is killed: the second gets the payload at once, by event (RT-16, RT-18)."""
    holds = threading.Event()
    group = group_of(a=start(Holder, holds), b=start(Consumer, "b"))

    reply = group_dispatch(group, "work", load_router(first), runner=runner)
    assert holds.wait(WAIT_S)
    assert not reply.done()
    kill(group.snapshot()[0].participant)
    outcome = reply.get(timeout=WAIT_S)

    assert (outcome.delivered_to, outcome.rerouted_from) == ("b", ("a",))
    assert outcome.reroute_times_s[0] >= 0


def test_another_consumer_under_the_id_of_a_dead_one_may_be_chosen(runner, start):
    """What is excluded is the consumer that ended, not its name (RT-16)."""
    holds = threading.Event()
    group = group_of(a=start(Holder, holds))

    reply = group_dispatch(group, "work", load_router(first), runner=runner)
    assert holds.wait(WAIT_S)
    held_by = group.snapshot()[0].participant
    group.add(worker("a", start(Consumer, "new a")))
    kill(held_by)

    assert reply.get(timeout=WAIT_S).answer == "new a: work"


def test_nobody_in_the_group(dispatch):
    """An empty group is an error that says so (RT-17)."""
    with pytest.raises(NoConsumer, match="it is empty") as failed:
        dispatch(ConsumerGroup())

    assert failed.value.reason == "empty"


def test_nobody_left_in_the_group(dispatch, start):
    """When all have ended the error says so, and names them (RT-17)."""
    with pytest.raises(NoConsumer, match="all of its consumers have ended") as failed:
        dispatch(group_of(a=start(Crasher), b=start(Crasher)))

    assert (failed.value.reason, failed.value.rerouted_from) == ("excluded", ("a", "b"))


def test_a_function_that_declines(dispatch, start):
    """Nobody chosen is an error that says so (RT-17)."""
    with pytest.raises(NoConsumer, match="chose nobody") as failed:
        dispatch(group_of(a=start(Consumer, "a")), lambda _message, _views: None)

    assert failed.value.reason == "declined"


def test_a_function_that_chooses_a_stranger(dispatch, start):
    """An id that is not on offer is an error that names it and what was on offer (RT-17)."""
    with pytest.raises(UnknownConsumerSelected) as failed:
        dispatch(group_of(a=start(Consumer, "a")), lambda _message, _views: "ghost")

    assert (failed.value.consumer, failed.value.offered) == ("ghost", ("a",))


def test_a_consumer_that_ended_is_not_on_offer(dispatch, start):
    """To choose an excluded one again is to choose a stranger (RT-16, RT-17)."""
    group = group_of(a=start(Crasher), b=start(Consumer, "b"))

    with pytest.raises(UnknownConsumerSelected) as failed:
        dispatch(group, lambda _message, _views: "a")

    assert (failed.value.offered, failed.value.rerouted_from) == (("b",), ("a",))


def test_a_function_that_crashes(dispatch, start):
    """The evaluation's error is the cause of the dispatch's (RT-17)."""
    with pytest.raises(EvaluationFailed, match="ZeroDivisionError") as failed:
        dispatch(group_of(a=start(Consumer, "a")), lambda _message, _views: str(1 // 0))

    assert isinstance(failed.value.__cause__, RouterCrashed)


def test_a_function_that_stalls(runner, start):
    """The function's own limit ends the dispatch (RT-05, RT-17)."""
    released = threading.Event()
    router = load_router(lambda _message, _views: str(released.wait(WAIT_S)), limit_s=0.02)
    try:
        with pytest.raises(EvaluationFailed) as failed:
            group_dispatch(group_of(a=start(Consumer, "a")), "work", router, runner=runner).get(timeout=WAIT_S)
        assert isinstance(failed.value.__cause__, RouterTimedOut)
    finally:
        released.set()


def test_a_consumer_that_answers_with_an_error(dispatch, start):
    """It may have done the work: nobody else gets it, and its error is the cause (RT-17)."""
    with pytest.raises(ConsumerFailed, match="'a' failed: ValueError: work") as failed:
        dispatch(group_of(a=start(Refuser), b=start(Consumer, "b")))

    assert failed.value.consumer == "a"
    assert isinstance(failed.value.__cause__, ValueError)


def test_a_consumer_that_cannot_be_linked(dispatch):
    """What is no participant is an error, not a hang (RT-17)."""
    with pytest.raises(ConsumerFailed, match="cannot watch a int") as failed:
        dispatch(group_of(a=3))

    assert isinstance(failed.value.__cause__, TypeError)


def test_a_consumer_that_never_answers(dispatch, start):
    """Where the caller gave a limit, silence ends with it, and the link is gone (RT-17, RT-19)."""
    holder = start(Holder, threading.Event())

    with pytest.raises(ConversationTimeout, match=r"within 0\.02 s"):
        dispatch(group_of(a=holder), timeout_s=0.02)

    assert not _watchers(holder)


def test_an_answer_costs_no_waiting_and_leaves_nothing(dispatch, start):
    """Of 1,000 dispatches half take less than 5 ms, and afterwards no link is left (RT-19)."""
    consumer = start(Consumer, "a")
    group = group_of(a=consumer)
    actors = len(pykka.ActorRegistry.get_all())
    times_s = []

    for _ in range(1_000):
        began_s = runtime().now()
        dispatch(group)
        times_s.append(runtime().now() - began_s)

    assert statistics.median(times_s) < 0.005
    assert not _watchers(consumer)
    assert len(pykka.ActorRegistry.get_all()) == actors


def test_failed_dispatches_leave_no_link(dispatch, start):
    """Whatever the outcome, the conversation is closed (RT-19)."""
    refuser = start(Refuser)

    for _ in range(10):
        with pytest.raises(ConsumerFailed):
            dispatch(group_of(a=refuser))

    assert not _watchers(refuser)


def _watchers(ref):
    return ref._actor_weakref()._life._watchers
