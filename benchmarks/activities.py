"""The activities that the benchmarks dispatch; child processes import them by name."""

from __future__ import annotations

import time

from limen import activity


def noop(value: int) -> int:
    """Do nothing."""
    return value


def started_at(path: str) -> float:
    """Say when it began, on the clock that all processes share; the first to run stays until it is killed."""
    with open(path, "a+b") as marks:
        marks.seek(0)
        is_first = not marks.read()
        marks.write(b".")
        marks.flush()
    if is_first:
        time.sleep(60)
    return time.monotonic()


thread_noop = activity(queue="thread", name="thread_noop")(noop)


@activity(queue="process")
def process_noop(value: int) -> int:
    """Do nothing."""
    return value


@activity(queue="process", max_crashes=5)
def process_started_at(path: str) -> float:
    """See `started_at`."""
    return started_at(path)
