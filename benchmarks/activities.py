"""The activities that the benchmarks dispatch; child processes import them by name."""

from __future__ import annotations

from limen import activity


def noop(value: int) -> int:
    """Do nothing."""
    return value


thread_noop = activity(queue="thread", name="thread_noop")(noop)


@activity(queue="process")
def process_noop(value: int) -> int:
    """Do nothing."""
    return value
