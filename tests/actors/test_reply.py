"""The future behind an ask: set once, read by threads and event loops, safe to come back into."""

import asyncio
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from linkkit import PATIENCE_S
from pykka import Future, ThreadingFuture, Timeout

from limen.actors.runtime import Reply, offer, offer_error
from limen.actors.runtime.reply import wait_all


@pytest.fixture
def reply() -> Reply[Any]:
    """Give a future without an answer."""
    return Reply()


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Run something on a thread of its own."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own."""
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE_S))


def test_an_answer_is_got_as_often_as_wanted(reply):
    """`get` gives the same value again."""
    reply.set("answer")
    assert [reply.get(), reply.get(timeout=0)] == ["answer", "answer"]
    assert reply.done()


def test_no_answer_in_time_is_a_timeout_and_the_answer_may_still_come(reply):
    """A time-out spoils nothing, and leaves nothing behind."""
    for _ in range(3):
        with pytest.raises(Timeout, match=r"0\.001 seconds"):
            reply.get(timeout=0.001)
    with pytest.raises(Timeout):
        reply.get(timeout=-1)
    assert not reply._boxes
    reply.set("late")
    assert reply.get() == "late"


def test_a_wait_longer_than_the_machine_can_wait_is_a_long_wait(reply):
    """An absurd time-out is no error."""
    waiter = in_thread(lambda: reply.get(timeout=1e300))
    reply.set(None)
    waiter.join(PATIENCE_S)
    assert not waiter.is_alive()


def test_all_who_wait_are_woken(reply):
    """Any number of threads may wait for one answer."""
    got: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiters = [in_thread(lambda: got.put(reply.get(timeout=PATIENCE_S))) for _ in range(5)]
    reply.set("answer")
    assert [got.get(timeout=PATIENCE_S) for _ in waiters] == ["answer"] * 5
    for waiter in waiters:
        waiter.join(PATIENCE_S)


@pytest.mark.parametrize("settle", [lambda r: r.set(1), lambda r: r.set_exception(ValueError("bad"))])
def test_an_answer_is_final(reply, settle):
    """A second answer of any kind raises `queue.Full`, as with Pykka; `offer` says `False`."""
    settle(reply)
    with pytest.raises(queue.Full):
        reply.set(2)
    with pytest.raises(queue.Full):
        reply.set_exception(ValueError("worse"))
    with pytest.raises(queue.Full):
        reply.set_get_hook(lambda _: 3)
    assert offer(reply, 2) is False
    assert offer_error(reply, ValueError("worse")) is False


def test_an_offer_to_an_open_question_is_its_answer():
    """`offer` and `offer_error` say `True` when they were first; stock futures take them too."""
    makes: tuple[Callable[[], Future[Any]], ...] = (Reply, ThreadingFuture)
    for make in makes:
        one, two = make(), make()
        assert offer(one, "answer") is True
        assert offer_error(two, ValueError("bad")) is True
        assert one.get(timeout=0) == "answer"
        with pytest.raises(ValueError, match="bad"):
            two.get(timeout=0)


@pytest.mark.parametrize(
    "give",
    [
        lambda error: error,
        lambda error: (type(error), error, error.__traceback__),
        lambda error: (type(error), error, None),
    ],
)
def test_errors_are_raised_by_get(reply, give):
    """An error may be given as an exception or as `sys.exc_info()`."""
    reply.set_exception(give(ValueError("bad")))
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            reply.get(timeout=0)


def test_an_error_type_alone_is_raised_as_an_instance(reply):
    """As Pykka does for `exc_info` without a value."""
    reply.set_exception((ValueError, None, None))
    with pytest.raises(ValueError, match=r"^$"):
        reply.get()


def test_the_error_being_handled_is_the_default_and_keeps_its_traceback(reply):
    """`set_exception()` in an except block takes what is being handled, with where it came from."""

    def where_it_came_from() -> None:
        raise ValueError("bad")

    try:
        where_it_came_from()
    except ValueError:
        reply.set_exception()
    with pytest.raises(ValueError, match="bad") as caught:
        reply.get()
    assert "where_it_came_from" in "".join(traceback.format_tb(caught.tb))


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_callbacks_are_called_once_in_order_and_at_once_when_it_is_too_late(reply):
    """Those that wait are called by the setter; later ones by whoever adds them."""
    called: list[int] = []
    for number in range(3):
        reply.add_done_callback(lambda number=number: called.append(number))
    reply.set(None)
    assert called == [0, 1, 2]
    reply.add_done_callback(lambda: called.append(3))
    assert called == [0, 1, 2, 3]


def test_a_callback_that_fails_is_logged_and_stops_nobody(reply, caplog):
    """One bad callback keeps neither the answer nor the other callbacks back."""
    called: list[int] = []
    reply.add_done_callback(lambda: 1 / 0)
    reply.add_done_callback(lambda: called.append(1))
    reply.set("answer")
    assert (called, reply.get()) == ([1], "answer")
    assert "a callback of a future failed" in caplog.text


def test_a_thousand_waiters_are_no_recursion(reply):
    """Many callbacks on one future, some withdrawn, are all dealt with."""
    called: list[int] = []
    withdrawn = reply.add_done_callback
    for number in range(5_000):
        withdrawn(lambda number=number: called.append(number))
    with pytest.raises(Timeout):
        reply.get(timeout=0)
    reply.set(None)
    assert called == list(range(5_000))


def test_callbacks_that_race_the_answer_are_called_once():
    """A callback added while the answer is set is called, and only once."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(500):
            reply, called, gate = Reply[Any](), queue.SimpleQueue[int](), threading.Barrier(2)

            def add(reply: Any = reply, called: Any = called, gate: Any = gate) -> None:
                gate.wait(PATIENCE_S)
                for number in range(5):
                    reply.add_done_callback(lambda number=number: called.put(number))

            adder = in_thread(add)
            gate.wait(PATIENCE_S)
            reply.set(None)
            adder.join(PATIENCE_S)
            assert sorted(called.get(timeout=PATIENCE_S) for _ in range(5)) == [0, 1, 2, 3, 4]
            assert called.empty()
    finally:
        sys.setswitchinterval(usual_s)


def test_a_callback_may_come_back_into_the_same_future(reply):
    """A callback may read the future and add another callback: no lock is held."""
    seen: list[Any] = []
    reply.add_done_callback(lambda: reply.add_done_callback(lambda: seen.append(reply.get())))
    reply.set("answer")
    assert seen == ["answer"]


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_a_hook_is_asked_once_with_the_timeout(reply):
    """The first `get` computes the value; later ones give the same."""
    asked: list[float | None] = []

    def hook(timeout: float | None) -> str:
        asked.append(timeout)
        return "answer"

    reply.set_get_hook(hook)
    assert [reply.get(timeout=1.5), reply.get()] == ["answer", "answer"]
    assert asked == [1.5]


def test_a_hook_that_fails_is_asked_again(reply):
    """A time-out inside the hook is not the answer."""
    answers: list[Any] = ["answer", Timeout("no")]

    def hook(_: float | None) -> Any:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    reply.set_get_hook(hook)
    with pytest.raises(Timeout):
        reply.get()
    assert reply.get() == "answer"


def test_a_hook_is_asked_once_by_many_threads(reply):
    """Threads that get at the same time compute the value once between them."""
    asked: list[int] = []
    begun = threading.Event()
    go_on = threading.Event()

    def hook(_: float | None) -> str:
        asked.append(1)
        begun.set()
        go_on.wait(PATIENCE_S)
        return "answer"

    reply.set_get_hook(hook)
    getters = [in_thread(reply.get) for _ in range(3)]
    begun.wait(PATIENCE_S)
    go_on.set()
    for getter in getters:
        getter.join(PATIENCE_S)
    assert asked == [1]


def test_a_future_with_a_hook_takes_no_answer(reply):
    """As Pykka since 4.3."""
    reply.set_get_hook(lambda _: 1)
    with pytest.raises(queue.Full):
        reply.set(2)


# --- await ------------------------------------------------------------------------------------------------------------


async def _await(future: "Future[Any]") -> Any:
    return await future


@pytest.mark.parametrize("when", ["before", "after"])
def test_await_gives_the_answer(reply, when):
    """An answer that is there, and one that comes from another thread while the loop waits."""
    if when == "before":
        reply.set("answer")
        assert run(_await(reply)) == "answer"
        return

    async def ask() -> Any:
        waiting = asyncio.ensure_future(_await(reply))
        await asyncio.to_thread(reply.set, "answer")
        return await waiting

    assert run(ask()) == "answer"


def test_await_raises_the_error(reply):
    """An error is raised where it is awaited."""
    reply.set_exception(ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        run(_await(reply))


def test_await_can_be_cancelled_and_awaited_again(reply):
    """A cancelled wait leaves the future as it was."""

    async def twice() -> Any:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_await(reply), 0.001)
        reply.set("answer")
        return await reply

    assert run(twice()) == "answer"


def test_an_answer_after_the_loop_is_gone_harms_nobody(reply):
    """A loop that closed while somebody waited is not called any more."""
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(_await(reply), 0.001))
    reply.set("too late")
    assert reply.get() == "too late"


def test_await_on_a_hook_leaves_the_loop_free(reply):
    """A computed future is computed on a thread, while the loop goes on."""
    go_on = threading.Event()
    reply.set_get_hook(lambda _: go_on.wait(PATIENCE_S))

    async def let_go() -> None:
        go_on.set()

    async def both() -> Any:
        return await asyncio.gather(_await(reply), let_go())

    assert run(both()) == [True, None]


def test_await_outside_a_loop_behaves_as_pykka_does(reply):
    """Driven by hand, it yields once and then blocks for the answer."""
    reply.set("answer")
    steps = reply.__await__()
    assert next(steps) is None
    with pytest.raises(StopIteration) as done:
        next(steps)
    assert done.value.value == "answer"


# --- many -------------------------------------------------------------------------------------------------------------


def test_wait_all_shares_one_bound():
    """All values in order, or a `Timeout` when the common time is up."""
    replies = [Reply[int]() for _ in range(3)]
    for number, each in enumerate(replies):
        each.set(number)
    assert wait_all(replies) == [0, 1, 2]
    with pytest.raises(Timeout):
        wait_all([*replies, Reply()], timeout=0.001)


def test_an_answer_set_apart_lets_threads_go_and_hands_callbacks_over(reply):
    """None runs on the setter's thread. Who waits since after a callback goes on after it, as with `set`."""
    handed: list[Callable[[], object]] = []
    called: list[str] = []

    def waiting(name: str) -> threading.Thread:
        wanted = len(reply.__dict__.get("_boxes", ())) + 1
        waiter = in_thread(lambda: called.append(f"{name} {reply.get(timeout=PATIENCE_S)}"))
        while len(reply.__dict__.get("_boxes", ())) < wanted:
            threading.Event().wait(0.001)
        return waiter

    early = waiting("early")
    assert not reply.has_callbacks
    reply.add_done_callback(lambda: called.append("callback"))
    late = waiting("late")
    assert reply.has_callbacks

    reply.set_apart("answer", handed.append)

    early.join(PATIENCE_S)
    late.join(0.05)
    assert called == ["early answer"]
    assert late.is_alive()
    (rest,) = handed
    rest()
    late.join(PATIENCE_S)
    assert called == ["early answer", "callback", "late answer"]
    with pytest.raises(queue.Full):
        reply.set_apart("another", handed.append)
    assert reply.get() == "answer"
    assert handed == [rest]
