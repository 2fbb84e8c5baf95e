"""What tests of draining and closing share: work that waits at a gate, and something done in the background."""

import threading
from collections.abc import Callable
from typing import Any

from limen import Event, EventKind, EventStream, activity

TIMEOUT_S = 10
LONG_S = 60.0
"""Longer than anything here takes; a drain that waits for nothing would show."""


class Work:
    """An activity that waits at a gate, and says when it is there."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

        @activity(queue="work")
        def work(number: int) -> int:
            self.begun.release()
            assert self.gate.wait(TIMEOUT_S)
            return number

        self.work = work

    def wait_begun(self, count: int = 1) -> None:
        """Wait until so many more have got there."""
        for _ in range(count):
            assert self.begun.acquire(timeout=TIMEOUT_S)


def in_the_background(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run it on a thread; the list has what it gave once the thread is joined."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    return thread, results


def wait_for(stream: EventStream, kind: EventKind) -> Event:
    """Read events up to the next one of this kind."""
    while (event := stream.next(TIMEOUT_S)) is not None:
        if event.kind is kind:
            return event
    raise AssertionError(f"no {kind}")
