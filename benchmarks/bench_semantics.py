"""What limits, pauses, keys and time limits cost whoever uses none; cancelling thousands; timers by the 100,000.

A dispatch that uses none of them is measured on a queue where nothing was ever set, and on queues where something is in
force that is not for it, or lies in waiting; both in turn, in one run.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness import Bound, Row, alternate

from limen import Limen, activity, cancel_all
from limen.actors.runtime import runtime
from limen.pressure import Alert, ShedLoad

OUTSTANDING = 1000
WAITING = 10_000
CROWD = 1000
TIMERS = 100_000

IDLE = 1.10
"""How much more a dispatch may cost beside a feature that it does not use."""

_gate = threading.Event()


@activity(queue="semantics")
def noop(value: int) -> int:
    """Do nothing."""
    return value


@activity(queue="semantics")
def other(value: int) -> int:
    """Do nothing, under limits."""
    return value


@activity(queue="held")
def hold(value: int) -> int:
    """Take the slot until the end."""
    _gate.wait()
    return value


def run() -> list[Row | Bound]:
    """Measure."""
    rows: list[Row | Bound] = []
    for name, beside in BESIDES.items():
        rows += _beside(name, beside)
    return [*rows, _under_policies(), _cancel(), *_timers()]


# --- what one pays for what one does not use --------------------------------------------------------------------------


def _limit_on_another(app: Limen) -> None:
    app.limit("semantics", other, max_concurrent=1, rate=1000)


def _many_at_a_gate(app: Limen) -> None:
    app.limit("semantics", other, max_concurrent=0)
    for number in range(WAITING):
        app.dispatch(other, number)


def _busy_neighbours(app: Limen) -> None:
    """Queues that are paused, bounded and limited, with keys and requests that wait."""
    elsewhere = noop.options(queue="elsewhere", key="k", schedule_to_close=3600)
    app.worker("elsewhere", [elsewhere])
    app.pause("elsewhere")
    app.bound("elsewhere", waiting=2 * WAITING)
    for number in range(WAITING):
        app.dispatch(elsewhere.options(key=str(number)), number)


BESIDES: dict[str, Callable[[Limen], None]] = {
    "a limit on another activity": _limit_on_another,
    f"{WAITING} that wait at another's gate": _many_at_a_gate,
    "a paused, bounded queue of keyed work": _busy_neighbours,
}


def _beside(name: str, beside: Callable[[Limen], None]) -> list[Row]:
    with _application(beside) as ours, _application(lambda _: None) as theirs:
        sequential = alternate(_one_by_one(ours), _one_by_one(theirs), 1000, rounds=21)
        outstanding = alternate(_all_at_once(ours), _all_at_once(theirs), OUTSTANDING, rounds=21)
    against = "untouched"
    return [
        Row(f"dispatch beside {name}", *sequential, "us", IDLE, "lower", against),
        Row(f"the same, {OUTSTANDING} outstanding", *outstanding, "us", IDLE, "lower", against),
    ]


@contextmanager
def _application(beside: Callable[[Limen], None]) -> Iterator[Limen]:
    with Limen() as app:
        app.worker("semantics", [noop, other])
        beside(app)
        gc.collect()
        yield app


def _one_by_one(app: Limen) -> Any:
    def work(calls: int) -> None:
        for number in range(calls):
            app.dispatch(noop, number).result()

    return work


def _all_at_once(app: Limen) -> Any:
    def work(calls: int) -> None:
        for handle in [app.dispatch(noop, number) for number in range(calls)]:
            handle.result()

    return work


def _under_policies() -> Row:
    """With policies in force the workers' load is followed, and not looked at each time."""
    with _application(_policies_for(CROWD)) as many, _application(_policies_for(10)) as few:
        figures = alternate(_one_by_one(many), _one_by_one(few), 200, rounds=11)
    return Row(f"dispatch under policies, {CROWD} workers", *figures, "us", 1.5, "lower", "10 workers")


def _policies_for(workers: int) -> Callable[[Limen], None]:
    def put(app: Limen) -> None:
        for _ in range(workers - 1):
            app.worker("semantics", [noop, other])
        app.policies("semantics", [Alert(0.9), ShedLoad(0.95, below_priority=0)])

    return put


# --- many at once -----------------------------------------------------------------------------------------------------


def _cancel() -> Bound:
    """Cancel thousands that wait; measured until the last of them has its outcome."""
    _gate.clear()
    with Limen() as app:
        app.worker("held", [hold])
        app.dispatch(hold, 0)
        times_ms = []
        for _ in range(7):
            handles = [app.dispatch(hold, number) for number in range(WAITING)]
            app.queue("held")
            begin_s = time.perf_counter()
            cancel_all(handles)
            handles[-1].wait()  # which comes last
            times_ms.append((time.perf_counter() - begin_s) * 1e3)
            assert all(handle.done() for handle in handles)
        _gate.set()
    return Bound(f"cancel {WAITING} waiting requests", statistics.median(times_ms), "ms", 50.0)


def _timers() -> list[Row | Bound]:
    """All on one heap, on one thread: what it costs to set one and to cancel one, and how late one is among them."""
    before = threading.active_count()
    begin_s = time.perf_counter()
    timers = [runtime().call_later(3600.0 + number % 977, _nothing) for number in range(TIMERS)]
    set_us = (time.perf_counter() - begin_s) / TIMERS * 1e6
    threads = threading.active_count() - before
    late_ms = statistics.median(_lateness_ms() for _ in range(50))
    begin_s = time.perf_counter()
    for timer in timers:
        timer.cancel()
    cancel_us = (time.perf_counter() - begin_s) / TIMERS * 1e6
    return [
        Bound(f"threads for {TIMERS} timers", threads, "", 1),
        Bound(f"set one of {TIMERS} timers", set_us, "us", 10.0),
        Bound(f"cancel one of {TIMERS} timers", cancel_us, "us", 2.0),
        Bound(f"how late one is among {TIMERS}", late_ms, "ms", 5.0),
    ]


def _nothing() -> None:
    return None


def _lateness_ms() -> float:
    came = threading.Event()
    at_s: list[float] = []

    def note() -> None:
        at_s.append(time.monotonic())
        came.set()

    due_s = time.monotonic() + 0.005
    runtime().call_later(0.005, note)
    came.wait()
    return (at_s[0] - due_s) * 1e3
