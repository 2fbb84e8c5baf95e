"""The verbs of a simulated test, each on its own, and the ways in which a simulation says that it is stuck."""

import threading

import pytest
from simkit import QUEUE, Flaw, books, double

import limen
from limen import Limen, activity
from limen.actors.context import WorkerContext
from limen.actors.linking import ask
from limen.actors.links import LinkedActor
from limen.actors.runtime import runtime
from limen.messages.activities import WorkerCapacity
from limen.testing import Deadlock, Simulation, SimulationError, Stalled, UncontrolledThread, WorkerActor


def tell(story, **options):
    """Run a story."""
    with Simulation(**options) as sim:
        story(sim)


LEFT: list[int] = []


@activity(queue=QUEUE)
def careful(number: int) -> int:
    """Clean up in the end."""
    try:
        limen.sleep(10)
    finally:
        LEFT.append(number)
    return number


class Echo(LinkedActor):
    """Gives back what it is asked, and passes on what it is told to pass."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def on_receive(self, message):
        if isinstance(message, tuple):
            ref, inner = message
            return ref.ask(inner)
        self.heard.append(message)
        return message


class Forwarder(Echo):
    """Tells one other all that it hears."""

    def __init__(self, to):
        super().__init__()
        self.to = to

    def on_receive(self, message):
        self.to.tell(message)


def test_settle_lets_everybody_run():
    """After it, nothing is in any inbox."""
    with Simulation() as sim:
        ref = Echo.start()
        for n in range(5):
            ref.tell(n)
        sim.settle()

        assert sim.actor(ref).heard == [0, 1, 2, 3, 4]
        assert sim.pending(ref) == []
        assert sim.handling(ref) is None
        assert not sim.dead(ref)
        assert sim.names == ["Echo#1"]


def test_run_stops_as_soon_as_the_condition_holds():
    """Not a step later; and it says so when the condition never holds."""
    with Simulation() as sim:
        ref = Echo.start()
        for n in range(5):
            ref.tell(n)
        sim.run(until=lambda: len(sim.actor(ref).heard) == 2)
        assert sim.actor(ref).heard == [0, 1]

        with pytest.raises(Deadlock, match="does not hold"):
            sim.run(until=lambda: False)


def test_a_crash_breaks_off_what_an_actor_does():
    """The asker of a crashed actor is told, and the actor is dead."""
    with Simulation() as sim:
        one, other = Echo.start(), Echo.start()
        sim.hold(one, other)
        reply = one.ask((other, "hello"), block=False)
        sim.run(until=lambda: sim.handling(one) is not None)
        sim.step(3)
        assert sim.crash(one)
        with pytest.raises(limen.LimenError):
            reply.get(timeout=1)
        assert sim.dead(one)
        assert not sim.crash(one)


class Sleeper(LinkedActor):
    """Takes its time over an answer, on the thread of whoever lent it a turn."""

    never_blocks = True

    def on_receive(self, message):
        limen.sleep(1.0)
        return message


def test_an_actor_that_is_crashed_on_a_lent_turn_leaves_no_task():
    """It has ended, its asker is told, and its own task ends too although nothing comes for it any more."""
    with Simulation() as sim:
        ref = Sleeper.start()
        sim.settle()
        asking = runtime().start_thread(lambda: ask(ref, "hello"), "asker")
        sim.run(until=lambda: sim.handling(ref) is not None)
        assert sim.crash(ref)
        asking.join()
        sim.settle()

        assert not ref.is_alive()
        assert sim.names == []


def test_held_messages_arrive_in_order_when_released():
    """Nothing passes while it is held; nothing is lost."""
    with Simulation() as sim:
        to = Echo.start()
        by = Forwarder.start(to)
        sim.hold(by, to)
        for n in range(3):
            by.tell(n)
        sim.settle()
        assert sim.actor(to).heard == []

        sim.release(by, to)
        sim.settle()
        assert sim.actor(to).heard == [0, 1, 2]


def test_delayed_messages_take_their_time():
    """They arrive that much later, in order."""
    with Simulation() as sim:
        to = Echo.start()
        by = Forwarder.start(to)
        sim.delay(by, to, 5.0)
        for n in range(3):
            by.tell(n)
        sim.clock.advance(4.9)
        assert sim.actor(to).heard == []
        sim.clock.advance(0.2)
        assert sim.actor(to).heard == [0, 1, 2]


def test_a_held_notice_of_death_is_not_brought_by_anybody_else():
    """Until it is released the channel does not know, whatever else it is told; then it does at once."""
    with Simulation() as sim, WorkerContext() as context:
        doomed, other = (context.register_worker("default", QUEUE, WorkerCapacity(1)) for _ in range(2))
        sim.hold("WorkerActor#1", "ChannelActor#1")
        assert sim.crash(doomed)
        sim.settle()
        other.release()
        sim.settle()
        (book,) = books(sim)
        assert list(book.state.candidates.entries) == ["worker-1", "worker-2"]

        sim.release()
        sim.settle()
        assert list(book.state.candidates.entries) == ["worker-2"]


def test_a_delay_holds_for_work_done_on_a_borrowed_turn_too():
    """What a caller hands in takes as long as any message of his would."""
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [double])
        sim.delay("test", "ChannelActor#1", 5.0)
        handle = app.dispatch(double, 21)
        sim.clock.advance(4.9)
        assert not handle.attempts
        assert handle.result() == 42
        assert sim.clock.now_s == pytest.approx(6.0)


def test_a_slow_actor_takes_longer():
    """Over each message."""
    with Simulation() as sim:
        ref = Echo.start()
        sim.slow(ref, 10.0)
        assert ref.ask("hello") == "hello"
        assert sim.clock.now_s == 10.0


def test_a_faulty_method_fails_until_healed():
    """With probability 1 always; after `heal` never; after the run it is as it was."""
    real = Flaw.fails
    with Simulation() as sim:
        sim.faulty(Flaw, "fails", 1.0, ValueError("planned"))
        with pytest.raises(ValueError, match="planned"):
            Flaw.fails()
        sim.heal()
        Flaw.fails()
    assert Flaw.fails is real


def test_an_invariant_that_breaks_fails_the_test():
    """In the test, not in the actor that broke it."""

    def story(sim):
        ref = Echo.start()
        actor = sim.actor(ref)

        @sim.invariant
        def few():
            assert len(actor.heard) < 3, "too many"

        for n in range(5):
            ref.tell(n)
        sim.settle()

    with pytest.raises(AssertionError, match="too many"):
        tell(story)


def test_a_deadlock_names_who_waits_for_whom():
    """Two actors that ask each other."""

    def story(sim):
        one, other = Echo.start(), Echo.start()
        one.tell((other, (one, "hello")))
        sim.settle()

    with pytest.raises(Deadlock) as failure:
        tell(story)

    assert "Echo#1, handling tuple, waits for Echo#2 (which waits itself)" in str(failure.value)
    assert "Echo#2, handling tuple, waits for Echo#1 (which waits itself)" in str(failure.value)


def test_a_test_that_waits_for_nothing_is_told():
    """At once, not after a time-out."""
    with pytest.raises(Deadlock, match="test waits for a result"):
        tell(lambda _: runtime().create_future().get())


def test_a_wait_outside_the_simulation_is_shown_with_its_stack():
    """The watchdog is the test's own thread."""
    outside = threading.Event()

    def wait_outside():
        outside.wait(30)

    def story(sim):
        runtime().start_thread(wait_outside, "waiter")
        sim.settle()

    with pytest.raises(Stalled) as failure:
        tell(story, stall_s=0.05)
    outside.set()

    assert "waiter" in str(failure.value)
    assert "outside.wait(30)" in str(failure.value)


def test_a_thread_from_outside_is_named():
    """It is refused, and so is the test that let it in."""
    refused = []

    def story(sim):
        ref = Echo.start()

        def intrude():
            try:
                ref.tell("hello")
            except UncontrolledThread as error:
                refused.append(error)

        thread = threading.Thread(target=intrude, name="stranger")
        thread.start()
        thread.join()
        sim.settle()

    with pytest.raises(UncontrolledThread, match="stranger"):
        tell(story)
    assert len(refused) == 1


def test_a_run_without_end_is_ended():
    """After so many steps."""

    class Busy(LinkedActor):
        def on_receive(self, message):
            self.actor_ref.tell(message)

    def story(sim):
        Busy.start().tell("go on")
        sim.settle()

    with pytest.raises(SimulationError, match="no end after 500 steps"):
        tell(story, max_steps=500)


def test_nothing_is_left_when_a_test_does_not_clean_up():
    """An application that was not closed is gone with the simulation, threads and all."""
    with Simulation():
        app = Limen()
        app.worker(QUEUE, [double])
        handle = app.dispatch(double, 1)
    assert not handle.done()
    with pytest.raises(SimulationError, match="the simulation is over"):
        handle.result()


def test_a_process_vanishes_without_its_finally():
    """No reply, no `finally`: another child does the work."""
    LEFT.clear()
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [careful], executor="process", max_concurrent=1)
        handle = app.dispatch(careful, 1)
        sim.clock.advance(1)
        assert sim.crash("worker-1 child")
        assert LEFT == []
        assert handle.result() == 1
        assert LEFT == [1]
        assert handle.crashes == 1


def test_workers_are_crashed_by_their_registration():
    """What a test has in hand is enough."""
    with Simulation() as sim, Limen() as app:
        registration = app.worker(QUEUE, [double])
        handle = app.dispatch(double, 4)
        sim.clock.advance(0.5)
        assert sim.crash(registration)
        assert handle.result() == 8
        assert [each.incarnation for each in handle.attempts] == [1, 2]
        assert len(sim.actors(WorkerActor)) == 1
