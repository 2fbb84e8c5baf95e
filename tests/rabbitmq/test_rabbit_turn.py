"""Who does the I/O thread's work in its place, and who never does the work of others in its."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import rabbit_activities as acts

from limen import Limen, activity
from limen.rabbitmq._session import Session

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 20


def io_of(app: Limen) -> Any:
    """Look at what is ours alone."""
    engine: Any = app._engine
    return engine._io


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells of."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.fixture
def published(monkeypatch):
    """The names of the threads on which requests and outcomes were written, as they were."""
    threads: list[str] = []
    publish = Session.publish

    def note(session: Session, parcel: Any) -> None:
        if parcel.content_type.endswith(("request+json", "outcomes+json")):
            threads.append(threading.current_thread().name)
        publish(session, parcel)

    monkeypatch.setattr(Session, "publish", note)
    return threads


def test_one_call_after_the_other_needs_no_other_thread_to_be_sent(host, asker, published):
    """The request leaves on the caller's thread and the outcome on that of the activity, but for one now and then."""
    host.worker("work", [acts.double])
    for number in range(200):
        assert asker.dispatch(acts.double, number).result(timeout=TIMEOUT_S) == 2 * number

    assert len(published) == 400
    assert published.count(threading.current_thread().name) > 50
    assert sum(not name.startswith(("limen-rabbitmq", threading.current_thread().name)) for name in published) > 50


def test_callbacks_never_run_on_the_thread_that_talks_to_the_broker(host, asker):
    """Whether they were there before the outcome or come with it; they could keep it from talking."""
    host.worker("work", [acts.double])
    names: list[str] = []
    for number in range(100):
        called = threading.Event()
        handle = asker.dispatch(acts.double, number)

        def note(_: Any, called: threading.Event = called) -> None:
            names.append(threading.current_thread().name)
            called.set()

        handle.add_done_callback(note)
        assert called.wait(TIMEOUT_S)

    here = threading.current_thread().name
    assert {name for name in names if name != here and not name.startswith("limen-rabbitmq-desk")} == set()


def test_a_callback_is_called_before_those_go_on_who_waited_after_it_was_there(host, asker):
    """As without a broker."""
    gate = threading.Event()

    @activity(queue="work")
    def wait_at_gate() -> bool:
        return gate.wait(TIMEOUT_S)

    host.worker("work", [wait_at_gate])
    for _ in range(20):
        called: list[bool] = []
        gate.clear()
        handle = asker.dispatch(wait_at_gate)
        handle.add_done_callback(lambda done, called=called: called.append(done.result(timeout=0)))
        opener = threading.Timer(0.01, gate.set)
        opener.start()
        assert handle.result(timeout=TIMEOUT_S)
        assert called == [True]
        opener.join()


def test_many_threads_are_answered_each_with_its_own(host, asker):
    """While they take turns with the I/O thread, nothing is lost, sent twice, or confirmed for another."""
    host.worker("work", [acts.double], max_concurrent=8)

    def ask(first: int) -> list[int]:
        numbers = range(first, first + 100)
        return [asker.dispatch(acts.double, number).result(timeout=TIMEOUT_S) for number in numbers]

    with ThreadPoolExecutor(8) as threads:
        came = list(threads.map(ask, range(0, 800, 100)))

    assert came == [[2 * number for number in range(first, first + 100)] for first in range(0, 800, 100)]
    requester: Any = asker._engine
    assert requester._requester.duplicates == 0


def test_a_signal_waits_until_the_turn_is_over(host, asker, monkeypatch):
    """A Ctrl-C between taking a number and writing what it is for would have all later confirmations mistaken."""
    host.worker("work", [acts.double])
    assert asker.dispatch(acts.double, 0).result(timeout=TIMEOUT_S) == 0
    io = io_of(asker)
    main = threading.current_thread()
    publish = Session.publish
    interrupted: list[str] = []

    def interrupt(session: Session, parcel: Any) -> None:
        if threading.current_thread() is main and not interrupted:
            interrupted.append(parcel.message_id)
            signal.raise_signal(signal.SIGINT)
        publish(session, parcel)

    monkeypatch.setattr(Session, "publish", interrupt)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - which of them is sent here depends on what is under way
        for _ in range(1000):
            asker.dispatch(acts.double, 1).result(timeout=TIMEOUT_S)

    assert interrupted
    wait_until(lambda: not io._outbox)  # each confirmation has found its own
    numbers = range(100)
    assert [asker.dispatch(acts.double, each).result(timeout=TIMEOUT_S) for each in numbers] == [2 * n for n in numbers]
