"""A signal that comes while the main thread serves actors waits until it has served them, and is not lost."""

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from linkkit import Hold, PooledDoer, ending

from limen.actors.runtime import here
from limen.actors.runtime.shield import Shield, shielded


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """Put the handlers back that were there, and check that the shield did."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_interrupt_in_a_drain_is_put_off_and_raised_after_it():
    """A Ctrl-C in the middle of a handler lets it finish, then raises `KeyboardInterrupt` in the main thread."""
    finished: list[int] = []

    def interrupted(_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        finished.append(1)

    ref = PooledDoer.start()
    with ending(ref):
        with pytest.raises(KeyboardInterrupt):
            ref.tell(interrupted)
        assert finished == [1]
        assert ref.ask("still there") == "still there"


def test_interrupt_in_an_actor_that_another_one_wakes_is_put_off_too():
    """The whole drain is shielded, with all the actors that it comes to."""
    seen: list[str] = []
    second = PooledDoer.start()
    first = PooledDoer.start()

    def interrupted(_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        seen.append("second")

    def wake_second(_: Any) -> None:
        second.tell(interrupted)
        seen.append("first")

    with ending(first, second):
        with pytest.raises(KeyboardInterrupt):
            first.tell(wake_second)
        assert seen == ["first", "second"]


def test_interrupt_while_the_main_thread_waits_comes_at_once():
    """Waiting for a reply is not shielded: Ctrl-C ends the wait."""
    main = threading.main_thread().ident
    assert main is not None
    ref = PooledDoer.start()
    with ending(ref):
        later = ref.ask(lambda self: self.reply_later(), block=False)
        timer = threading.Timer(0.02, lambda: signal.pthread_kill(main, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            later.get(timeout=20)
        timer.join()


def test_every_signal_that_came_is_handled_once_in_order():
    """Several signals in one drain are all handled, even when a handler raises."""
    handled: list[int] = []

    def handle(number: int, _: Any) -> None:
        handled.append(number)
        raise InterruptedError

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)

    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        assert handled == []

    with pytest.raises(InterruptedError):
        shielded(work)
    assert handled == [signal.SIGTERM, signal.SIGHUP]
    assert signal.getsignal(signal.SIGHUP) is handle


def test_signals_that_are_ignored_or_left_to_the_system_stay_so():
    """The shield takes over nothing that Python would not have handled."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    seen: list[Any] = []
    shielded(lambda: seen.extend([signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM)]))
    assert seen == [signal.SIG_IGN, signal.SIG_DFL]


def test_without_any_handler_there_is_nothing_to_shield():
    """With the system's own handlers everywhere the work is just done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    done: list[int] = []
    shielded(done.append, 1)
    assert done == [1]


def test_work_that_fails_leaves_the_handlers_as_they_were():
    """An error in the work goes to the caller, and the handlers are back."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError):
        shielded(lambda: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_need_no_shield():
    """Only the main thread runs signal handlers; a drain elsewhere touches none."""
    seen: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    ref = PooledDoer.start()
    with ending(ref):
        thread = threading.Thread(target=lambda: ref.tell(lambda _: seen.append(signal.getsignal(signal.SIGINT))))
        thread.start()
        thread.join()
    assert seen == [before]


# --- over several drains --------------------------------------------------------------------------------------------


def test_an_interrupt_between_two_drains_waits_for_the_end_of_both():
    """A registration is several steps; Ctrl-C comes before the first of them or after the last."""
    seen: list[str] = []
    ref = PooledDoer.start()

    def steps() -> None:
        with Shield():
            ref.tell(lambda _: seen.append("first"))
            signal.raise_signal(signal.SIGINT)
            ref.tell(lambda _: seen.append("second"))

    with ending(ref):
        with pytest.raises(KeyboardInterrupt):
            steps()
        assert seen == ["first", "second"]
        assert here.is_main
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_inside_a_drain_that_is_one_of_several_is_raised_once_at_the_end():
    """What came inside a drain is kept like what came between them."""
    seen: list[str] = []
    ref = PooledDoer.start()

    def steps() -> None:
        with Shield():
            ref.tell(lambda _: signal.raise_signal(signal.SIGINT))
            seen.append("after it")

    with ending(ref):
        with pytest.raises(KeyboardInterrupt):
            steps()
        assert seen == ["after it"]
        assert ref.ask("still there") == "still there"


def test_whoever_waits_between_two_drains_can_be_interrupted():
    """What came so far is raised where the wait begins, and what comes then ends it."""
    ref = PooledDoer.start()

    def steps() -> None:
        with Shield():
            later = ref.ask(lambda self: self.reply_later(), block=False)
            signal.raise_signal(signal.SIGINT)
            later.get(timeout=20)

    with ending(ref):
        with pytest.raises(KeyboardInterrupt):
            steps()
        assert here.is_main
        assert here.shield is None


def test_a_wait_inside_a_drain_lets_nothing_through():
    """An actor that waits for another in its handler is not torn by Ctrl-C."""
    seen: list[str] = []
    first, second = PooledDoer.start(), PooledDoer.start()
    hold = Hold()

    def waiting(_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        later = second.ask("an answer", block=False)
        threading.Timer(0.02, hold.let_go).start()
        seen.append(later.get(timeout=20))

    def steps() -> None:
        with Shield():
            first.tell(waiting)
            seen.append("after it")

    with ending(first, second):
        hold.put_into(second)
        with pytest.raises(KeyboardInterrupt):
            steps()
    assert seen == ["an answer", "after it"]


def test_a_shield_on_another_thread_is_none():
    """Signal handlers run on the main thread only."""
    seen: list[Any] = []
    before = signal.getsignal(signal.SIGINT)

    def steps() -> None:
        with Shield():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
    assert seen == [before]
