"""What limen costs when it does nothing, and how soon a dead worker is out of the pool."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from bench_actors import Stock
from harness import Bound, Row, percentile

from limen.actors.context import WorkerContext
from limen.actors.links import kill
from limen.messages import WorkerCapacity

CAPACITY = WorkerCapacity(1, ("work",))


def run() -> list[Row | Bound]:
    """Measure."""
    return [*_import(), _idle(), _register(), _removal()]


def _import() -> list[Row | Bound]:
    """A fresh interpreter's time for `import limen`, compiled once before."""

    def once() -> float:
        code = "import time; t = time.perf_counter(); import limen; print((time.perf_counter() - t) * 1e3)"
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        return float(done.stdout)

    once()
    return [Bound("import limen", statistics.median(once() for _ in range(9)), "ms", 120.0)]


def _idle() -> Bound:
    """CPU that 100 workers with nothing to do take in a second."""
    with WorkerContext() as context:
        held = [context.register_worker("bench", "idle", CAPACITY) for _ in range(100)]
        begin_s = time.process_time()
        time.sleep(1.0)
        used_ms = (time.process_time() - begin_s) * 1e3
        del held
    return Bound("CPU of 100 idle workers in 1 s", used_ms, "ms", 1.0)


def _register() -> Row:
    """Registering a worker, all steps, beside starting a stock Pykka actor."""
    with WorkerContext() as context:
        ours_us, theirs_us = [], []
        for _ in range(5):
            begin_s = time.perf_counter()
            held = [context.register_worker("bench", "many", CAPACITY) for _ in range(200)]
            ours_us.append((time.perf_counter() - begin_s) / 200 * 1e6)
            for each in held:
                each.unregister()
            begin_s = time.perf_counter()
            refs = [Stock.start() for _ in range(200)]
            theirs_us.append((time.perf_counter() - begin_s) / 200 * 1e6)
            for ref in refs:
                ref.stop()
    ours, theirs = statistics.median(ours_us), statistics.median(theirs_us)
    return Row("register a worker", ours, theirs, "us", 1.0, "lower", "stock Pykka start")


def _removal() -> Bound:
    """From the order to die until a snapshot is without the worker."""
    taken_ms = []
    with WorkerContext() as context:
        for _ in range(200):
            registration = context.register_worker("bench", "dying", CAPACITY)
            begin_s = time.perf_counter()
            kill(registration.participant)
            while context.pool(registration.channel_name):
                pass
            taken_ms.append((time.perf_counter() - begin_s) * 1e3)
    return Bound("death to removal from the snapshot, p99", percentile(taken_ms, 0.99), "ms", 5.0)
