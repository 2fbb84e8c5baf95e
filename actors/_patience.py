"""Waiting so that Ctrl-C is heard.

CPython handles a signal between two steps of the main thread. One that comes while that thread is about to block is not
handled before it wakes, which may be never; so it wakes now and then and looks. Other threads have no need to.
"""

from __future__ import annotations

from collections.abc import Callable

from .runtime import here, runtime

_LOOK_S = 0.5


def wait_patiently(wait: Callable[[float | None], bool], timeout_s: float | None) -> bool:
    """Call `wait(seconds)` until it gives true or the time is up; say whether it did."""
    if not (here.is_main and runtime().misses_signals):
        return wait(timeout_s)
    if timeout_s is None:
        while not wait(_LOOK_S):
            continue
        return True
    deadline_s = runtime().now() + timeout_s
    left_s = timeout_s
    while not wait(max(0.0, min(_LOOK_S, left_s))):
        left_s = deadline_s - runtime().now()
        if left_s <= 0:
            return False
    return True
