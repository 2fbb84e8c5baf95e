"""Ten thousand workers in one context: what each costs, and that the crowd slows nobody down.

Time is CPU time, so that other work on the machine counts less; memory is taken in fresh processes.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from activities import thread_noop
from harness import Bound, Row, alternate

from limen import Limen
from limen.actors.context import WorkerContext
from limen.messages import WorkerCapacity

WORKERS = 10_000
FEW = 10
OUTSTANDING = 8
PROCESSES = 3
CAPACITY = WorkerCapacity(1, ("work",))
HANDLERS: dict[str, Any] = {"work": lambda request: request}


def run() -> list[Row | Bound]:
    """Measure."""
    crowd = _best_of([_in_fresh_process("crowd") for _ in range(PROCESSES)])
    running = _best_of([_in_fresh_process("running") for _ in range(PROCESSES)])
    return [
        Bound(f"register each of {WORKERS} workers", crowd["register_us"], "us", 60.0),
        Bound("the same, each with a thread executor", running["register_us"], "us", 60.0),
        Bound("resident memory of each worker", crowd["resident_kib"], "KiB", 6.0),
        Bound("the same, each with a thread executor", running["resident_kib"], "KiB", 6.0),
        Bound("threads in all", running["threads"], "", 8.0),
        Bound("CPU of them all, idle for 1 s", running["idle_ms"], "ms", 1.0),
        Bound("context.pool of them all", running["pool_ms"], "ms", 10.0),
        Bound("workers_for_channel of them all", running["workers_for_channel_ms"], "ms", 10.0),
        Bound("context.pool, the first time", running["first_pool_ms"], "ms", 10.0),
        Bound("workers_for_channel, the first time", running["first_workers_for_channel_ms"], "ms", 10.0),
        _throughput(),
    ]


def _throughput() -> Row:
    """Dispatch with so many outstanding; the channel has all those workers to choose from, or a few."""
    with Limen() as crowd, Limen() as few:
        for app, workers in ((crowd, WORKERS), (few, FEW)):
            for _ in range(workers):
                app.worker("thread", [thread_noop], max_concurrent=1)
        pair = alternate(_windowed(crowd), _windowed(few), 3000, rounds=15)
    return Row(f"throughput with {WORKERS} workers", *pair, "us", 0.8, "higher", f"with {FEW}")


def _windowed(app: Limen) -> Any:
    def work(calls: int) -> None:
        under_way = deque(app.dispatch(thread_noop, number) for number in range(OUTSTANDING))
        for number in range(calls):
            under_way.popleft().result()
            under_way.append(app.dispatch(thread_noop, number))
        for handle in under_way:
            handle.result()

    return work


# --- in a process of its own --------------------------------------------------------------------------------------


def _in_fresh_process(kind: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _best_of(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(each[name] for each in runs) for name in runs[0]}


def _measure(kind: str) -> dict[str, float]:
    """Register them all and look at them."""
    handlers = HANDLERS if kind == "running" else None
    with WorkerContext() as context:

        def register(workers: int) -> list[Any]:
            return [context.register_worker("bench", "many", CAPACITY, handlers=handlers) for _ in range(workers)]

        held = register(100)
        gc.collect()
        resident_before = _resident_bytes()
        begin_s = time.process_time()
        held += register(WORKERS)
        register_s = time.process_time() - begin_s
        gc.collect()
        resident = _resident_bytes() - resident_before
        name = held[0].channel_name
        some = held[::10]
        first_pool_ms = _cpu_ms(lambda: context.pool(name))
        first_workers_ms = _cpu_ms(lambda: context.workers_for_channel(name))
        return {
            "register_us": register_s / WORKERS * 1e6,
            "resident_kib": resident / WORKERS / 1024,
            "threads": threading.active_count(),
            "idle_ms": _idle_ms(),
            "first_pool_ms": first_pool_ms,
            "first_workers_for_channel_ms": first_workers_ms,
            "pool_ms": _looking_again_ms(lambda: context.pool(name), some),
            "workers_for_channel_ms": _looking_again_ms(lambda: context.workers_for_channel(name), some),
        }


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the most there ever was has to do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _idle_ms() -> float:
    begin_s = time.process_time()
    time.sleep(1.0)
    return (time.process_time() - begin_s) * 1e3


def _cpu_ms(work: Callable[[], object]) -> float:
    begin_s = time.process_time()
    work()
    return (time.process_time() - begin_s) * 1e3


def _looking_again_ms(look: Callable[[], object], some: list[Any], rounds: int = 9) -> float:
    """Give the median of several looks; in between, some of the workers change."""
    taken_ms = []
    for number in range(rounds):
        for each in some:
            each.set_in_flight(number % 2)
        taken_ms.append(_cpu_ms(look))
    return statistics.median(taken_ms)


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])), flush=True)
    os._exit(0)  # ten thousand workers need not be taken down in order
