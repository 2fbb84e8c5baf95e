"""`app.executor(queue)` with threads: what users of `concurrent.futures` expect, and what an activity's worker adds."""

import asyncio
import gc
import itertools
import threading
import time
import weakref
from concurrent import futures
from functools import partial

import pytest
from facekit import TIMEOUT_S, in_the_background, wait_for

from limen import ConfigError, EventKind, Limen, QueueFull, ShutDown
from limen.actors import kill
from limen.executor import CallLost, ExecutorClosed


@pytest.fixture
def app():
    """Close the application in the end."""
    with Limen() as made:
        yield made


class Gate:
    """A call that waits until it is let through, and says when it is there."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, value: object = None) -> object:
        """Wait."""
        self.begun.release()
        assert self.opened.wait(TIMEOUT_S)
        return value

    def wait_begun(self) -> None:
        """Wait for one more to be there."""
        assert self.begun.acquire(timeout=TIMEOUT_S)


def test_a_call_gives_its_result_or_its_very_exception(app):
    """The future has what the function gave, or the exception object that it raised, with nothing of ours around it."""
    error = LookupError("mine")

    def fail(*, because: Exception) -> None:
        raise because

    with app.executor("calls") as executor:
        assert isinstance(executor, futures.Executor)
        assert executor.submit(pow, 2, 5).result(TIMEOUT_S) == 32
        assert executor.submit(lambda **given: given, fn=1, self=2).result(TIMEOUT_S) == {"fn": 1, "self": 2}
        assert executor.submit(fail, because=error).exception(TIMEOUT_S) is error


def test_what_would_end_a_thread_is_the_calls_own(app):
    """`SystemExit` and the like go to the future, and the worker serves the next call."""
    with app.executor("calls", max_workers=1) as executor:
        assert isinstance(executor.submit(exit, 3).exception(TIMEOUT_S), SystemExit)
        assert executor.submit(abs, -1).result(TIMEOUT_S) == 1
        (row,) = app.pool("calls")

    assert row.incarnation == 1


def test_map_keeps_the_order_and_reads_ahead(app):
    """Results come in the order of the items, whatever ends first; all items are submitted by the call of `map`."""
    read = []

    def items():
        for number in range(5):
            read.append(number)
            yield number

    with app.executor("calls", max_workers=5) as executor:
        gate = Gate()
        results = executor.map(lambda number: gate(number) if number == 0 else number, items(), chunksize=2)
        assert read == list(range(5))
        gate.opened.set()
        assert list(results) == list(range(5))


def test_map_tells_an_error_at_its_item(app):
    """Results before the item that fails are given; its error is raised at its place; with 0 items there is nothing."""
    with app.executor("calls") as executor:
        results = executor.map(divmod, [1, 1, 1], [1, 0, 1])
        assert next(results) == (1, 0)
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(executor.map(abs, [])) == []
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(abs, [1], chunksize=0)


def test_map_out_of_time_cancels_what_has_not_begun(app):
    """`timeout` counts from the call of `map`. What waits then never runs."""
    gate = Gate()
    ran: list[int] = []

    def run(number: int) -> None:
        gate()
        ran.append(number)

    with app.executor("calls", max_workers=1) as executor:
        results = executor.map(run, range(3), timeout=0.05)
        gate.wait_begun()
        with pytest.raises(TimeoutError):
            next(results)
        gate.opened.set()

    assert ran == [0]


def test_a_call_is_cancelled_until_it_runs(app):
    """One that waits is cancelled at once, and never runs; one that runs cannot be. `wait` hears of it."""
    gate = Gate()
    ran: list[int] = []
    with app.executor("calls", max_workers=1) as executor:
        running, waiting = executor.submit(gate, 1), executor.submit(ran.append, 1)
        gate.wait_begun()

        assert (running.running(), running.cancel()) == (True, False)
        assert (waiting.running(), waiting.cancel(), waiting.cancel(), waiting.cancelled()) == (False, True, True, True)
        assert futures.wait([waiting], timeout=TIMEOUT_S).done == {waiting}
        assert list(futures.as_completed([waiting], timeout=TIMEOUT_S)) == [waiting]
        with pytest.raises(futures.CancelledError):
            waiting.result()
        gate.opened.set()
        assert running.result(TIMEOUT_S) == 1
        assert not running.cancel()

    assert ran == []


def test_cancelling_and_beginning_have_one_winner(app):
    """Under races of many threads, a call has run, or its future is cancelled, and never both or neither."""
    ran: list[int] = []
    with app.executor("calls", max_workers=4) as executor:
        submitted = []
        for number in range(300):
            future = executor.submit(ran.append, number)
            submitted.append(future)
            if number % 2:
                future.cancel()
    cancelled = {number for number, future in enumerate(submitted) if future.cancelled()}

    assert all(future.done() for future in submitted)
    assert sorted(ran) == sorted(set(range(300)) - cancelled)


def test_callbacks_hear_of_every_end(app):
    """They are called once with their future: after a result, an error, a cancellation; at once when it is done."""
    heard: list[futures.Future[object]] = []
    gate = Gate()
    with app.executor("calls", max_workers=1) as executor:
        first, second, third = executor.submit(gate), executor.submit(divmod, 1, 0), executor.submit(abs, 1)
        for future in (first, second, third):
            future.add_done_callback(heard.append)
        third.cancel()
        gate.opened.set()
        futures.wait([first, second, third], timeout=TIMEOUT_S)
    first.add_done_callback(heard.append)

    assert heard == [third, first, second, first]


def test_a_callback_may_submit_and_shut_down(app):
    """On the thread that brings the outcome, `submit` and `shutdown(wait=False)` do not block."""
    executor = app.executor("calls", max_workers=1)
    more: futures.Future[int] = futures.Future()

    def go_on(_: object) -> None:
        executor.submit(abs, -2).add_done_callback(lambda done: more.set_result(done.result()))
        executor.shutdown(wait=False)

    executor.submit(abs, -1).add_done_callback(go_on)

    assert more.result(TIMEOUT_S) == 2
    executor.shutdown()


def test_wait_returns_with_the_first(app):
    """`FIRST_COMPLETED` and `FIRST_EXCEPTION` mean what they do elsewhere."""
    gate = Gate()
    with app.executor("calls", max_workers=2) as executor:
        slow, quick = executor.submit(gate), executor.submit(divmod, 1, 0)
        for when in (futures.FIRST_COMPLETED, futures.FIRST_EXCEPTION):
            done, rest = futures.wait([slow, quick], timeout=TIMEOUT_S, return_when=when)
            assert (done, rest) == ({quick}, {slow})
        gate.opened.set()


def test_shutdown_ends_what_is_open_and_takes_the_worker_out(app):
    """It waits for running and waiting calls; then the pool is empty. None is taken any more. Twice is harmless."""
    executor = app.executor("calls", max_workers=1)
    submitted = [executor.submit(time.sleep, 0) for _ in range(20)]

    executor.shutdown()

    assert all(future.done() and not future.cancelled() for future in submitted)
    assert app.pool("calls") == []
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(abs, 1)
    with pytest.raises(ExecutorClosed):
        executor.map(abs, [1])
    executor.shutdown()


def test_shutdown_may_cancel_what_waits(app):
    """With `cancel_futures` running calls end and waiting ones are cancelled; with `wait=False` it returns at once."""
    gate = Gate()
    executor = app.executor("calls", max_workers=1)
    running, *waiting = [executor.submit(gate, number) for number in range(10)]
    gate.wait_begun()

    executor.shutdown(wait=False, cancel_futures=True)

    assert all(future.cancelled() for future in waiting)
    assert not running.done()
    gate.opened.set()
    executor.shutdown()
    assert running.result(0) == 0


def test_an_executor_that_nobody_holds_ends_its_calls(app):
    """Dropped without `shutdown` it runs what was submitted, and then its worker leaves."""
    gate = Gate()
    executor = app.executor("calls", max_workers=1)
    submitted = [executor.submit(gate, number) for number in range(3)]
    desk = executor._desk
    del executor
    gc.collect()
    gate.opened.set()

    assert [future.result(TIMEOUT_S) for future in submitted] == [0, 1, 2]
    assert desk._gone.wait(TIMEOUT_S)
    assert app.pool("calls") == []


def test_results_and_arguments_are_not_kept(app):
    """When a future is gone, nothing of the call is kept, while the executor lives on."""

    class Thing:
        pass

    with app.executor("calls", max_workers=1) as executor:
        for thing in executor.map(lambda _: Thing(), range(5)):
            gone = threading.Event()
            weakref.finalize(thing, gone.set)
            del thing
            assert gone.wait(TIMEOUT_S)  # the worker's thread lets go of it a moment after we have it
        freed = threading.Event()
        argument = Thing()
        weakref.finalize(argument, freed.set)
        future = executor.submit(id, argument)
        del argument
        future.result(TIMEOUT_S)
        assert freed.wait(TIMEOUT_S)


def test_many_threads_submit(app):
    """Every call of every thread has its own result."""
    with app.executor("calls", max_workers=4) as executor:
        results: list[list[int]] = []

        def submit(base: int) -> None:
            results.append(
                [future.result(TIMEOUT_S) for future in [executor.submit(abs, -base - n) for n in range(50)]]
            )

        threads = [in_the_background(partial(submit, base))[0] for base in range(0, 400, 50)]
        for thread in threads:
            thread.join(TIMEOUT_S)

    assert sorted(itertools.chain.from_iterable(results)) == list(range(400))


def test_an_event_loop_runs_calls_in_it(app):
    """`loop.run_in_executor` awaits a call; cancelling the wait cancels a call that has not begun."""
    gate = Gate()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        with app.executor("calls", max_workers=1) as executor:
            first = await loop.run_in_executor(executor, pow, 2, 3)
            running = loop.run_in_executor(executor, gate)
            waiting = loop.run_in_executor(executor, pow, 2, 4)
            await asyncio.to_thread(gate.wait_begun)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            gate.opened.set()
            await running
            return first

    assert asyncio.run(main()) == 8


def test_closing_the_application_ends_its_calls_with_an_error(app):
    """Whatever is open has a typed error then, running or not; the executor takes no more, and can be shut down."""
    gate = Gate()
    executor = app.executor("calls", max_workers=1)
    running, waiting = executor.submit(gate), executor.submit(abs, 1)
    gate.wait_begun()
    closing, _ = in_the_background(lambda: app.close(timeout=1.0))

    assert isinstance(waiting.exception(TIMEOUT_S), ShutDown)
    assert isinstance(running.exception(TIMEOUT_S), ShutDown)
    gate.opened.set()
    closing.join(TIMEOUT_S)
    with pytest.raises(ExecutorClosed, match="closed"):
        executor.submit(abs, 1)
    executor.shutdown()


def test_draining_the_application_ends_what_runs(app):
    """A call that runs is carried to its end; one that waits fails; none is taken meanwhile."""
    gate = Gate()
    executor = app.executor("calls", max_workers=1)
    running, waiting = executor.submit(gate, 7), executor.submit(abs, 1)
    gate.wait_begun()
    closing, _ = in_the_background(lambda: app.close(drain=TIMEOUT_S))

    assert isinstance(waiting.exception(TIMEOUT_S), ShutDown)
    with pytest.raises(RuntimeError):
        executor.submit(abs, 1)
    gate.opened.set()
    assert running.result(TIMEOUT_S) == 7
    closing.join(TIMEOUT_S)
    executor.shutdown()


def test_its_calls_are_activities_of_the_queue(app):
    """The pool shows the worker, a pause holds calls back, a limit counts them, a bound rejects, events name them."""
    with app.events() as stream, app.executor("calls", max_workers=3, name="sum") as executor:
        (row,) = app.pool("calls")
        assert (row.executor, row.max_concurrent, row.activity_types) == ("thread", 3, ("sum",))

        app.limit("calls", executor.activity, max_concurrent=1)
        gate = Gate()
        first, second = executor.submit(gate), executor.submit(gate)
        gate.wait_begun()
        assert not second.running()
        app.bound("calls", waiting=1)
        assert isinstance(executor.submit(abs, 1).exception(TIMEOUT_S), QueueFull)
        gate.opened.set()
        futures.wait([first, second], timeout=TIMEOUT_S)

        app.pause("calls")
        held = executor.submit(abs, -5)
        assert held.cancel()
        app.resume("calls")
        cancelled = wait_for(stream, EventKind.CANCELLED)
        assert cancelled.activity_type == "sum"


def test_a_name_is_one_executors(app):
    """Two executors of a queue do not run each other's calls: the second needs another name."""
    with app.executor("calls"):
        with pytest.raises(ConfigError, match="'call' is served"):
            app.executor("calls")
        with app.executor("calls", name="more") as second:
            assert second.submit(abs, -1).result(TIMEOUT_S) == 1
    with app.executor("calls") as third:
        assert third.submit(abs, -1).result(TIMEOUT_S) == 1


@pytest.mark.parametrize("rerun", [False, True])
def test_the_death_of_the_worker_itself(app, rerun):
    """With calls on its threads and others waiting: what had begun is lost or run again; the rest just runs."""
    gate = Gate()
    with app.executor("calls", max_workers=2, rerun=rerun) as executor:
        begun = [executor.submit(gate, number) for number in range(2)]
        gate.wait_begun()
        gate.wait_begun()
        waiting = [executor.submit(abs, -number) for number in range(5)]
        kill(executor._desk._registration.participant)

        if not rerun:
            assert [type(future.exception(TIMEOUT_S)) for future in begun] == [CallLost, CallLost]
        gate.opened.set()
        if rerun:
            assert [future.result(TIMEOUT_S) for future in begun] == [0, 1]
        assert [future.result(TIMEOUT_S) for future in waiting] == list(range(5))


def test_a_broker_has_no_executors():
    """Functions do not travel to other machines: refused at once, without a connection."""
    pytest.importorskip("pika", reason="needs the extra limen[rabbitmq]")
    with Limen("amqp://nobody@127.0.0.1:1/") as far, pytest.raises(ConfigError, match="over a broker"):
        far.executor("calls")


@pytest.mark.parametrize("wrong", [{"max_workers": 0}, {"max_workers": -1}, {"executor": "asyncio"}, {"name": ""}])
def test_wrong_settings_are_refused(app, wrong):
    """With a `ValueError` of ours, and nothing is left on the queue."""
    with pytest.raises(ValueError, match=r"max_|executor|name"):
        app.executor("calls", **wrong)

    assert app.pool("calls") == []
