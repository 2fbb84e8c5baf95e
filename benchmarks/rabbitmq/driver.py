"""A requester as a process of its own: does what it is told on its standard input, and says how many seconds that took.

`driver.py limen|celery|dramatiq`. The orders are `sequential N`, one call after the other, and `pipelined N`, all at
once; every result is checked. Those of Celery and Dramatiq run in an environment of their own.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TIMEOUT_S = 120

Ask = Callable[[int], Callable[[], int]]
"""Sends a number; what it gives waits for the answer."""


@contextmanager
def limen() -> Iterator[Ask]:
    """Ask workers of limen's."""
    from limen_peer import echo

    from limen import Limen

    with Limen(os.environ["PEER_URL"]) as app:
        app.dispatch(echo.options(schedule_to_start=TIMEOUT_S), 0).result(timeout=TIMEOUT_S)  # the host has come

        def ask(number: int) -> Callable[[], int]:
            handle = app.dispatch(echo, number)
            return lambda: handle.result(timeout=TIMEOUT_S)

        yield ask


@contextmanager
def celery() -> Iterator[Ask]:
    """Ask Celery's."""
    from celery_peer import echo

    def ask(number: int) -> Callable[[], int]:
        result = echo.delay(number)
        return lambda: result.get(timeout=TIMEOUT_S, interval=0.001)

    yield ask


@contextmanager
def dramatiq() -> Iterator[Ask]:
    """Ask Dramatiq's."""
    import dramatiq_peer as peer
    from dramatiq import Worker

    came: dict[int, queue.SimpleQueue[int]] = {}
    peer.arrived.append(lambda number: came[number].put(number))
    worker = Worker(peer.broker, queues={"answers"}, worker_threads=1, worker_timeout=10)
    worker.start()

    def ask(number: int) -> Callable[[], int]:
        box = came[number] = queue.SimpleQueue()
        peer.echo.send_with_options(args=(number,), on_success=peer.answer)
        return lambda: box.get(timeout=TIMEOUT_S)

    try:
        yield ask
    finally:
        worker.stop()


def sequential(ask: Ask, count: int) -> None:
    """One after the other."""
    for number in range(count):
        assert ask(number)() == number


def pipelined(ask: Ask, count: int) -> None:
    """All at once."""
    answers = [ask(number) for number in range(count)]
    assert [answer() for answer in answers] == list(range(count))


def main(which: str) -> None:
    """Do as told until the input ends."""
    orders: dict[str, Callable[[Ask, int], None]] = {"sequential": sequential, "pipelined": pipelined}
    sides: dict[str, Any] = {"limen": limen, "celery": celery, "dramatiq": dramatiq}
    with sides[which]() as ask:
        assert ask(0)() == 0
        say("ready")
        for line in sys.stdin:
            order, count = line.split()
            begin_s = time.perf_counter()
            orders[order](ask, int(count))
            say(str(time.perf_counter() - begin_s))


def say(text: str) -> None:
    """Answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
