"""Process workers against the better of `ProcessPoolExecutor` and Pebble: the whole path, and the executor alone.

All three have the same number of processes, started the same way.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pebble
from activities import noop, process_noop
from harness import Bound, Row, Work, per_call_us
from process_activities import echo, start_twice

from limen import Limen
from limen.actors.attempt import Attempt, Boxed
from limen.actors.executors.process import ProcessExecutor
from limen.messages.activities import ActivityRequest, Completed, Failed
from limen.messages.lifecycle import ExitReason
from limen.messages.payloads import Local

SLOTS = 2
OUTSTANDING = 1000
SEQUENTIAL_CALLS = 500
ROUNDS = 5
KILLS = 21
REST_S = 0.1
"""Between two kills: as long as a spare takes to be warm again, its import of the main module included."""

Submit = Callable[[int], Any]
"""Begins one no-op; `result()` of what it returns waits for its end."""


def run() -> list[Row | Bound]:
    """Measure."""
    with _subjects() as subjects:
        sequential = {name: _sequential(submit) for name, submit in subjects.items()}
        for submit in subjects.values():
            _pipelined(submit)(OUTSTANDING)
        pipelined = _in_alternation({name: _pipelined(submit) for name, submit in subjects.items()}, 5 * OUTSTANDING)
    rows: list[Row | Bound] = []
    for name, label in (("limen", "process dispatch"), ("executor", "process executor alone")):
        rows.append(_against_best(f"{label}, sequential p50", name, sequential, 1.0, "lower"))
        rows.append(_against_best(f"{label}, {OUTSTANDING} outstanding", name, pipelined, 1.5, "higher"))
    return [*rows, Bound("SIGKILL of a child to second start, median", _kill_to_second_start_ms(), "ms", 20.0)]


def _against_best(label: str, name: str, measured_us: dict[str, float], target: float, better: Any) -> Row:
    best = min(("ProcessPoolExecutor", "Pebble"), key=measured_us.__getitem__)
    return Row(label, measured_us[name], measured_us[best], "us", target, better, best)


@contextmanager
def _subjects() -> Iterator[dict[str, Submit]]:
    """Start all that are compared."""
    context = multiprocessing.get_context("forkserver" if "forkserver" in _methods() else "spawn")
    with ExitStack() as stack:
        app = stack.enter_context(Limen())
        app.worker("process", [process_noop], max_concurrent=SLOTS, executor="process")
        bare = stack.enter_context(_bare_executor())
        pool = stack.enter_context(ProcessPoolExecutor(SLOTS, mp_context=context))
        pebbles = stack.enter_context(pebble.ProcessPool(SLOTS, context=context))
        subjects: dict[str, Submit] = {
            "limen": lambda number: app.dispatch(process_noop, number),
            "executor": bare,
            "ProcessPoolExecutor": partial(pool.submit, noop),  # type: ignore[call-arg]  # the number comes
            "Pebble": lambda number: pebbles.schedule(noop, args=(number,)),
        }
        for submit in subjects.values():
            for pending in [submit(number) for number in range(100)]:
                pending.result()
        yield subjects


def _methods() -> list[str]:
    return multiprocessing.get_all_start_methods()


def _sequential(submit: Submit) -> float:
    """Median microseconds of one no-op after the other, over all rounds."""
    taken_us = []
    for _ in range(ROUNDS * SEQUENTIAL_CALLS):
        begin_s = time.perf_counter()
        submit(1).result()
        taken_us.append((time.perf_counter() - begin_s) * 1e6)
    return statistics.median(taken_us)


def _pipelined(submit: Submit) -> Work:
    """Give what keeps as many outstanding as it may and takes the results in order."""

    def work(calls: int) -> None:
        outstanding: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for number in range(calls):
            outstanding.put(submit(number))
            if number >= OUTSTANDING:
                outstanding.get().result()
        while not outstanding.empty():
            outstanding.get().result()

    return work


def _in_alternation(works: dict[str, Work], calls: int) -> dict[str, float]:
    """Give the median microseconds for each call."""
    rounds = [{name: per_call_us(work, calls) for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(each[name] for each in rounds) for name in works}


# --- the executor without a channel -----------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Pending:
    """What came of one attempt at the bare executor, as soon as it is there."""

    request: ActivityRequest
    activity_type: str = "noop"
    id: str = "bench-1"
    arrived: queue.SimpleQueue[Any] = attrs.Factory(queue.SimpleQueue)

    def result(self) -> Any:
        return self.arrived.get()


class _Report:
    """Brings the results to who waits for them."""

    def finished(self, attempt: Attempt, result: Completed | Failed | Boxed) -> None:
        attempt.conversation.arrived.put(result)

    def look(self, entry: Any) -> Any:
        """There is no channel."""

    def progressed(self, attempt: Attempt, packed: bytes) -> None:
        """Nobody asks."""

    def crashed(self, attempt: Attempt, reason: ExitReason) -> None:
        attempt.conversation.arrived.put(reason)

    returned = crashed

    def fatal(self, error: BaseException, culprit: Attempt | None = None) -> None:
        raise error


@contextmanager
def _bare_executor() -> Iterator[Submit]:
    executor = ProcessExecutor({"noop": echo}, SLOTS, _Report(), "bench")
    entry = SimpleNamespace(worker_id="worker-1", incarnation=1)

    def submit(number: int) -> _Pending:
        pending = _Pending(ActivityRequest("noop", Local(((number,), {}))))
        executor.submit(Attempt(pending, entry, 1))
        return pending

    try:
        yield submit
    finally:
        executor.close()
        executor.wait_closed(10.0)


# --- a death ----------------------------------------------------------------------------------------------------------


def _kill_to_second_start_ms() -> float:
    """Median from the kill of the child that runs an activity to the activity's next start."""
    taken_ms = []
    with Limen() as app, tempfile.TemporaryDirectory() as folder:
        app.worker("process", [start_twice], max_concurrent=1, executor="process")
        for number in range(KILLS):
            place = Path(folder) / str(number)
            place.mkdir()
            os.mkfifo(place / "pid")
            handle = app.dispatch(start_twice, str(place))
            victim = int((place / "pid").read_text())
            killed_s = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            taken_ms.append((handle.result(timeout=30) - killed_s) * 1e3)
            time.sleep(REST_S)
    return statistics.median(taken_ms)


if __name__ == "__main__":
    for row in run():
        print(row)
