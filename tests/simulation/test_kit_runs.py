"""What the kit promises of a run: the same seed, the same run; a failure shortened, replayable, and told apart."""

import itertools
import sys
import time

import pytest
from simkit import QUEUE, application, assert_all_done, double

import limen
from limen import Limen, Retry, activity
from limen.actors.links import LinkedActor
from limen.testing import (
    Faults,
    NeverHappened,
    NotReproduced,
    Replay,
    Simulation,
    SimulationFailed,
    WorkerActor,
    simulated,
)
from limen.testing._shrink import shrink
from limen.testing._tokens import read_token, write_token
from limen.testing.runner import parse_seeds


def story(sim):
    """Let workers die at work."""
    with application(sim, workers=2) as app:
        handles = [app.dispatch(double, n) for n in range(3)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, (0, 2, 4))


def trace(seed, decider=None):
    """Give the events of a run."""
    with Simulation(seed, faults=Faults(crash=WorkerActor), decider=decider) as sim:
        story(sim)
    return sim.events


def test_the_same_seed_gives_the_same_run():
    """Every event, at the same step and time; another seed gives another run."""
    assert trace(3) == trace(3)
    assert trace(3) != trace(4)


def test_a_record_of_the_choices_gives_the_same_run():
    """What was decided by luck can be decided by a record of it."""
    with Simulation(5, faults=Faults(crash=WorkerActor)) as sim:
        story(sim)

    assert trace(5, Replay(sim.decider.choices)) == sim.events


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_hash_seed(run_python, tmp_path):
    """Another process, with another order of sets, makes the same run: a token works on another machine."""
    script = tmp_path / "run.py"
    tests = str(__import__("pathlib").Path(__file__).parents[1])
    script.write_text(
        f"import sys, logging; sys.path.insert(0, {tests!r}); logging.disable()\n"
        "import simscenarios as s\nfrom limen.testing.runner import Many\nimport zlib\n"
        "for name, each in s.SCENARIOS.items():\n"
        "    for seed in range(3):\n"
        "        run = Many(each.story, each.faults, each.options, (), {}).once(seed)\n"
        "        print(name, seed, zlib.crc32('\\n'.join(run.events).encode()), len(run.decider.choices))\n"
    )
    outputs = []
    for hash_seed in ("1", "2"):
        code = f"import os, sys; os.environ['PYTHONHASHSEED'] = '{hash_seed}'; os.execv(sys.executable, sys.argv[1:])"
        outputs.append(run_python("-c", code, sys.executable, script))

    assert outputs[0].returncode == 0, outputs[0].stdout
    assert outputs[0].stdout == outputs[1].stdout


def weak(sim):
    """Fail when the second of two comes first."""
    order = []
    tasks = [sim.runtime.start_thread(lambda n=n: order.append(n), f"task-{n}") for n in range(2)]
    for task in tasks:
        task.join()
    assert order == [0, 1], f"came in order {order}"


def test_a_failure_is_shortened_and_printed_with_a_token():
    """The report has the claim, the seed, the few choices that matter, the trace, and how to run it again."""
    with pytest.raises(SimulationFailed) as failure:
        simulated(50, Faults(preempt=0.5))(weak)()

    text = str(failure.value)
    assert "came in order [1, 0]" in text
    assert "1 decisions out of the ordinary" in text
    assert "test starts task-0" in text
    assert "replay: pytest -k weak --sim-replay=1:" in text


def test_a_token_replays_the_failure(monkeypatch):
    """The run of a token fails as the seed did, without looking for another."""
    with pytest.raises(SimulationFailed) as failure:
        simulated(50, Faults(preempt=0.5))(weak)()
    token = str(failure.value).rpartition("--sim-replay=")[2]
    monkeypatch.setattr("limen.testing.runner.settings.replay", token)

    with pytest.raises(SimulationFailed, match=r"came in order \[1, 0\]"):
        simulated(1, Faults(preempt=0.5))(weak)()


def test_priorities_find_what_takes_an_order_and_replay_it():
    """The decider of random priorities finds the order too, and its record is a record like any other."""
    with pytest.raises(SimulationFailed, match=r"came in order \[1, 0\]"):
        simulated(50, Faults(pct=3, preempt=0.0))(weak)()

    with Simulation(5, faults=Faults(crash=WorkerActor, pct=3)) as sim:
        story(sim)
    with Simulation(5, faults=Faults(crash=WorkerActor, pct=3), decider=Replay(sim.decider.choices)) as again:
        story(again)
    assert again.events == sim.events


class Adder(LinkedActor):
    """Adds up what it is told, and says how much that is."""

    total = 0

    def on_receive(self, message):
        self.total += message or 0
        return self.total


def test_slowness_and_delays_are_drawn_by_the_seed():
    """Messages are under way and handlers take long, in some runs and not in others; none is lost."""

    def add(sim):
        ref = Adder.start()
        for n in range(4):
            ref.tell(n)
        sim.settle()
        assert ref.ask(None) == 6
        sim.sometimes("nothing took time", sim.clock.now_s == 0)
        sim.sometimes("messages were under way", 0 < sim.clock.now_s < 0.1)
        sim.sometimes("the actor was slow", sim.clock.now_s >= 0.5)

    simulated(20, Faults(slow=Adder, slow_s=(0.0, 0.1), delay_p=(0.0, 0.3)))(add)()


def test_a_failure_that_does_not_come_again_is_told():
    """A test that depends on more than its seed is named as such, with the first decision that differed."""
    luck = itertools.count(2)

    def story(sim):
        for _ in range(next(luck)):
            sim.runtime.start_thread(lambda: None, "task")
        sim.settle()
        assert next(luck) < 0

    with pytest.raises(NotReproduced, match=r"decision \d+ was .*, then .*depends on more than the seed"):
        simulated(1)(story)()


def test_what_was_never_true_is_told():
    """A claim that something sometimes happens fails when it never does."""
    with pytest.raises(NeverHappened, match="it rained"):
        simulated(3)(lambda sim: sim.sometimes("it rained", False))()
    simulated(3)(lambda sim: sim.sometimes("all is well", sim.seed == 2))()


def test_fixtures_and_parameters_reach_a_simulated_test():
    """Only `sim` is the decorator's to give."""
    seen = []

    def story(given, sim):
        seen.append((given, sim.seed))

    wrapped = simulated(2)(story)
    wrapped(given="a fixture")

    assert seen == [("a fixture", 0), ("a fixture", 1)]
    assert "sim" not in __import__("inspect").signature(wrapped).parameters


def test_tokens_survive_a_round_trip():
    """A token is its run; anything else is refused with a reason."""
    assert read_token(write_token(7, [0, 1, 0, 300])).choices == (0, 1, 0, 255)
    assert read_token(write_token(7, [])).seed == 7
    for wrong in ("", "1:7", "2:7:eNoDAAAAAAE", "1:x:eNoDAAAAAAE", "1:7:%%%"):
        with pytest.raises(ValueError, match="no replay token"):
            read_token(wrong)


def test_seeds_are_read_as_written():
    """A number, a range, or so many fresh ones."""
    assert parse_seeds("500") == range(500)
    assert parse_seeds("1000:1500") == range(1000, 1500)
    assert len(parse_seeds("fresh:30")) == 30


def test_shrinking_keeps_what_matters():
    """Of a long record only what the failure needs is left."""
    shrunk = shrink(lambda choices: list(choices) if 3 in choices else None, [1, 2, 0, 1, 3, 2, 1] * 5)

    assert [each for each in shrunk.choices if each] == [3]


def test_thirty_days_of_retries_take_less_than_a_second():
    """Time is virtual: a schedule of a month is run through at once."""
    tries = []

    @activity(queue=QUEUE, retry=Retry(max_attempts=30, initial=86_400, backoff=1.0, max_interval=86_400))
    def monthly() -> int:
        tries.append(time.time())
        if len(tries) < 30:
            raise ValueError(len(tries))
        return len(tries)

    begin_s = time.perf_counter()
    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [monthly])
        assert app.dispatch(monthly).result() == 30
        assert sim.clock.now_s >= 29 * 86_400
        assert tries[-1] - tries[0] >= 29 * 86_400
    assert time.perf_counter() - begin_s < 1.0


def test_a_test_drives_asyncio_in_virtual_time():
    """`await handle` and `asyncio.sleep` work inside `run_async`."""
    import asyncio

    with Simulation() as sim, Limen() as app:
        app.worker(QUEUE, [double], max_concurrent=2)

        async def both():
            await asyncio.sleep(3600)
            return await asyncio.gather(*(app.dispatch(double, n) for n in range(2)))

        assert sim.run_async(both()) == [0, 2]
        assert sim.clock.now_s == 3601


def test_lines_are_points_where_asked_for():
    """Between two lines that send nothing somebody else may run, if the module is named."""
    module = sys.modules[__name__]

    def race(sim):
        balance = [0]

        def add():
            seen = balance[0]
            balance[0] = seen + 1

        tasks = [sim.runtime.start_thread(add, f"adder-{n}") for n in range(2)]
        for task in tasks:
            task.join()
        assert balance == [2]

    simulated(30)(race)()
    with pytest.raises(SimulationFailed, match=r"assert \[1\] == \[2\]"):
        simulated(30, Faults(line_p=0.3), lines=[module])(race)()


def test_limen_sleep_is_virtual():
    """However it was imported."""
    from limen import sleep

    with Simulation() as sim:
        sleep(1e6)
        limen.sleep(1.0)
        assert sim.clock.now_s == 1e6 + 1
