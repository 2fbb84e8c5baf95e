"""Policies that act: load that is shed, producers that are slowed down, and what operators are told."""

import asyncio

import pytest
from simkit import QUEUE, at_once, double

import limen
from limen import ConfigError, EventKind, Limen, LoadShed, activity
from limen.actors._policing import Policing
from limen.actors.channel import ChannelActor
from limen.actors.worker import WorkerActor
from limen.pressure import Alert, Pressure, Reject, ScaleConsumers, Severity, ShedLoad, SlowProducer
from limen.testing import Simulation


@activity(queue=QUEUE)
def tenth(number: int) -> int:
    """Take a tenth of a second."""
    limen.sleep(0.1)
    return number


def told(events):
    """Give what was said of pressure so far."""
    found = []
    while (event := events.next(0)) is not None:
        if event.kind is EventKind.PRESSURE:
            found.append(event.detail)
    return found


def test_load_is_shed_by_priority_while_the_workers_are_full():
    """BP-05, BP-11: rejected with a typed error and its signal, never run later; the important goes on."""
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [double])
        app.policies(QUEUE, [ShedLoad(1.0, below_priority=1)])
        first = app.dispatch(double, 1)
        shed = app.dispatch(double, 2)
        kept = app.dispatch(double.options(priority=1), 3)

        with pytest.raises(LoadShed, match="100% full") as caught:
            shed.result(0)
        assert (caught.value.priority, caught.value.score) == (0, 1.0)
        assert isinstance(shed.signal, Reject)
        assert (first.result(), kept.result()) == (2, 6)
        sim.settle()
        assert shed.attempts == ()

        assert app.pressure(QUEUE).active == ()
        assert app.dispatch(double, 4).result() == 8


def test_policies_do_not_flap_at_the_edge():
    """BP-10, BP-11: each change is told once, lowest threshold first; more workers are asked for with their number."""
    with Simulation() as sim, Limen() as app, app.events() as events:
        app.worker(QUEUE, [double])
        app.policies(QUEUE, [ScaleConsumers(1.0), Alert(0.9, Severity.CRITICAL)])
        handles = [app.dispatch(double, n) for n in range(4)]
        sim.settle()
        assert [handle.result() for handle in handles] == [0, 2, 4, 6]
        sim.settle()

        said = told(events)
        began = [each for each in said if "began" in each]
        assert [each.split("(")[0] for each in began[:2]] == ["Alert", "ScaleConsumers"]
        assert "more workers are needed; there are 1" in said
        assert app.pressure(QUEUE) == Pressure(0.0)


def test_a_worker_that_has_left_counts_no_more():
    """BP-12: an idle one that leaves raises the score to that of those that stay."""
    with Simulation(), Limen() as app:
        app.worker(QUEUE, [double])
        idle = app.worker(QUEUE, [double])
        app.policies(QUEUE, [Alert(1.0)])
        handle = app.dispatch(double, 1)
        assert app.pressure(QUEUE).score == 0.5

        idle.unregister()
        assert app.pressure(QUEUE) == Pressure(1.0, (Alert(1.0),))
        assert handle.result() == 2


def test_the_score_follows_workers_and_channels_that_crash():
    """BP-12: a worker that is made again is empty; a channel that is made again finds the figures as they are."""
    with Simulation() as sim, Limen() as app:
        for _ in range(4):
            app.worker(QUEUE, [double])
        app.policies(QUEUE, [Alert(0.5)])
        handles = [app.dispatch(double, n) for n in range(3)]
        assert app.pressure(QUEUE).score == 0.75
        busy = next(each for each in sim.actors(WorkerActor) if each.worker_id == "worker-1")
        sim.crash(busy.actor_ref)
        sim.crash(next(iter(sim.actors(ChannelActor))).actor_ref)
        sim.step(200)
        channel = next(iter(sim.actors(ChannelActor)))
        taken = [each.in_flight for each in channel._state.serving(None)]
        assert app.pressure(QUEUE).score == sum(taken) / 4
        assert [handle.result() for handle in handles] == [0, 2, 4]
        sim.settle()
        assert app.pressure(QUEUE) == Pressure(0.0)


def test_a_request_costs_a_look_at_those_workers_only_whose_load_has_changed(monkeypatch):
    """BP-10: of a hundred, those that took a request or ended one; and it does not depend on how many there are."""
    looked = []
    take = Policing._take

    def counted(self, worker_id, entry):
        looked.append(worker_id)
        return take(self, worker_id, entry)

    monkeypatch.setattr(Policing, "_take", counted)
    with Simulation() as sim, Limen() as app:
        for _ in range(100):
            app.worker(QUEUE, [at_once])
        app.policies(QUEUE, [Alert(0.5)])
        app.pressure(QUEUE)
        looked.clear()
        assert [app.dispatch(at_once, n).result() for n in range(10)] == [2 * n for n in range(10)]
        sim.settle()
        assert app.pressure(QUEUE) == Pressure(0.0)
        assert 10 <= len(looked) <= 30


def test_a_slowed_producer_goes_at_the_pace_of_the_workers():
    """BP-11: each dispatch takes as long as the factor says, an attempt's length times that, once that is known."""
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [tenth])
        app.policies(QUEUE, [SlowProducer(1.0, factor=1.0)])
        handles = [app.dispatch(tenth, n) for n in range(3)]
        assert sim.clock.now_s == 0.0  # nothing has ended so far, so no pace is known
        assert handles[1].result() == 1
        sim.clock.advance(0.05)  # its end is known to the channel, too
        began_s = sim.clock.now_s
        late = [app.dispatch(tenth, n) for n in range(4)]
        assert sim.clock.now_s - began_s == pytest.approx(0.4, abs=0.11)
        assert [handle.result() for handle in late] == [0, 1, 2, 3]


def test_an_event_loop_is_not_held_up_by_a_slowed_producer():
    """`dispatch_async` waits in its place; `dispatch` on a loop does not wait."""
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [tenth])
        app.policies(QUEUE, [SlowProducer(1.0, factor=1.0)])
        for handle in [app.dispatch(tenth, n) for n in range(3)][:2]:
            handle.result()
        sim.clock.advance(0.05)

        async def produce():
            began_s = sim.clock.now_s
            app.dispatch(tenth, 1)
            at_once_s = sim.clock.now_s - began_s
            await app.dispatch_async(tenth, 2)
            return at_once_s, sim.clock.now_s - began_s

        at_once_s, waited_s = sim.run_async(produce())
        assert at_once_s == 0.0
        assert waited_s >= 0.09


def test_policies_outlive_the_channels_actor():
    """A channel that comes back after a crash goes on by them."""
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [double])
        app.policies(QUEUE, [ShedLoad(1.0, below_priority=1)])
        running = app.dispatch(double, 1)
        assert sim.crash(next(iter(sim.actors(ChannelActor))).actor_ref)
        sim.run(until=lambda: not sim.dead(next(iter(sim.actors(ChannelActor))).actor_ref))
        with pytest.raises(LoadShed):
            app.dispatch(double, 2).result(0.5)
        assert running.result() == 2


def test_without_policies_nothing_is_looked_at():
    """Lifting them puts the quick way back."""
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [at_once])
        app.policies(QUEUE, [Alert(0.5)])
        (channel,) = sim.actors(ChannelActor)
        assert not channel._state.swaps
        app.policies(QUEUE, [])
        assert channel._state.swaps
        assert channel._book.policing is None
        assert app.dispatch(at_once, 1).result() == 2


def test_what_is_no_policy_is_refused():
    """With a typed error, and the policies before it stay."""
    with Limen() as app:
        with pytest.raises(ConfigError, match="policies"):
            app.policies(QUEUE, ["shed"])  # type: ignore[list-item]
        with pytest.raises(ConfigError):
            ShedLoad(1.5)


def test_shedding_and_slowing_on_real_threads():
    """The same with threads: what is shed is told at once, all else ends."""
    with Limen() as app:
        app.worker(QUEUE, [tenth])
        app.policies(QUEUE, [ShedLoad(1.0, below_priority=1), SlowProducer(1.0)])
        handles = [app.dispatch(tenth.options(priority=n % 2), n) for n in range(4)]
        outcomes = [handle.exception(10) for handle in handles]
        assert outcomes[0] is None or isinstance(outcomes[0], LoadShed)
        assert [outcomes[1], outcomes[3]] == [None, None]

        async def produce():
            return await (await app.dispatch_async(tenth.options(priority=1), 7))

        assert asyncio.run(produce()) == 7
