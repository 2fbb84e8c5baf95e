"""`make bench-rabbitmq`: limen beside Celery and Dramatiq at one broker, in one run, in alternation.

Each is set for the same guarantee: requests lie in quorum queues, requests and results are persistent and confirmed by
the broker, and a request is acknowledged after its result was sent. Where that leaves a choice, each peer has what is
quickest for it: Celery a pool of threads, Dramatiq one process for calls one after the other and two for many at once.
The broker keeps its data in memory, so that it is not the disk that is measured; with `--disk` it does not.
What the peers take with classic queues, which hand a request on before it is on any disk, is shown for comparison.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests")]

import attrs  # noqa: E402 - found only now
from brokerkit import MISSING, Broker, server_script  # noqa: E402 - found only now
from harness import Row  # noqa: E402 - found only now
from run import report  # noqa: E402 - found only now

PEERS = Path(os.environ.get("PEERS", ".venv-peers/bin")).absolute()
MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it has a name of its own
ROUNDS = 7
SEQUENTIAL = 150
PIPELINED = 1000

Order = Literal["sequential", "pipelined"]
Queues = Literal["quorum", "classic"]


@attrs.frozen
class Side:
    """One of those compared: its workers and its requester."""

    name: str
    worker: tuple[str, ...]
    python: str

    queues: Queues = "quorum"

    @property
    def key(self) -> str:
        """What its figures go under."""
        return f"{self.name}-{self.queues}"


def celery(queues: Queues) -> Side:
    """Celery as it is quickest."""
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR")
    worker = (str(PEERS / "celery"), "-A", "celery_peer", "worker", "--pool", "threads", "-c", "4", *alone)
    return Side("celery", worker, str(PEERS / "python"), queues)


def dramatiq(queues: Queues, processes: int) -> Side:
    """Dramatiq with eight threads in all."""
    size = ("-p", str(processes), "-t", str(8 // processes))
    worker = (str(PEERS / "dramatiq"), "dramatiq_peer", "--queues", "work", *size)
    return Side("dramatiq", worker, str(PEERS / "python"), queues)


LIMEN = Side("limen", (sys.executable, str(HERE / "limen_peer.py"), "8"), sys.executable)


def run() -> Iterator[Row]:
    """Compare latency, then throughput."""
    memory = MEMORY if MEMORY.is_dir() and "--disk" not in sys.argv else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, running_broker(Path(folder)) as broker:
        took_ms = measure(broker, "sequential", 1)
        for name, target in (("celery", 0.5), ("dramatiq", 0.8)):
            theirs_ms = took_ms[f"{name}-quorum"]
            yield Row("one call after the other", took_ms["limen-quorum"], theirs_ms, "ms", target, against=name)
        show_classic(took_ms)
        took_ms = measure(broker, "pipelined", 2)
        for name in ("celery", "dramatiq"):
            theirs_ms = took_ms[f"{name}-quorum"]
            yield Row("many calls at once", took_ms["limen-quorum"], theirs_ms, "ms", 3, "higher", against=name)
        show_classic(took_ms)


def show_classic(took_ms: dict[str, float]) -> None:
    """Print what the peers take with queues of another kind."""
    peers = ", ".join(f"{name} {took_ms[f'{name}-classic']:.2f} ms" for name in ("celery", "dramatiq"))
    print(f"     with classic queues: {peers}", flush=True)


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run a broker of our own."""
    broker = Broker(folder / "broker")
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


def measure(broker: Broker, order: Order, processes: int) -> dict[str, float]:
    """Give each side's median, in milliseconds a call. They take turns, each time in another order."""
    count = SEQUENTIAL if order == "sequential" else PIPELINED
    kinds: tuple[Queues, ...] = ("quorum", "classic")
    sides = [LIMEN, *(celery(each) for each in kinds), *(dramatiq(each, processes) for each in kinds)]
    taken: dict[str, list[float]] = {side.key: [] for side in sides}
    with ExitStack() as running:
        requesters = {}
        for side in sides:
            broker.make_vhost(f"{side.key}-{order}")
            requesters[side.key] = running.enter_context(started(side, broker.url(f"{side.key}-{order}")))
        for round_ in range(ROUNDS + 1):
            for place in range(len(sides)):
                key = sides[(place + round_) % len(sides)].key
                took_ms = requesters[key].do(order, count) / count * 1e3
                if round_:  # the first is for warming up
                    taken[key].append(took_ms)
    return {key: statistics.median(each) for key, each in taken.items()}


class Requester:
    """A process that asks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, order: Order, count: int) -> float:
        """Have it ask so often; give how many seconds that took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order} {count}\n")
        self._process.stdin.flush()
        return float(self.line())

    def line(self) -> str:
        """Wait for what it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a requester ended with {self._process.wait()}")
        return line.strip()


@contextmanager
def started(side: Side, url: str) -> Iterator[Requester]:
    """Start workers, and a requester that has had its first answer."""
    environment = os.environ | {"PEER_URL": url, "PEER_QUEUE": side.queues, "PYTHONPATH": str(HERE)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    worker = subprocess.Popen(side.worker, env=environment, stdin=subprocess.PIPE, **quiet)
    ask = (side.python, str(HERE / "driver.py"), side.name)
    asking = subprocess.Popen(ask, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        requester = Requester(asking)
        assert requester.line() == "ready"
        yield requester
    finally:
        asking.kill()
        asking.wait()
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    if server_script() is None:
        sys.exit(MISSING)
    sys.exit(report([run], as_json="--json" in sys.argv))
