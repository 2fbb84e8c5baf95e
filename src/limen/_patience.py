"""Waiting so that Ctrl-C is heard.

CPython handles a signal between two steps of the main thread. One that comes while that thread is about to block is not
handled before it wakes, which may be never; so it wakes now and then and looks. Other threads have no need to.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from .actors.runtime import runtime

_LOOK_S = 0.5


def wait_patiently(wait: Callable[[float | None], bool], timeout_s: float | None) -> bool:
    """Call `wait(seconds)` until it gives true or the time is up; say whether it did."""
    on_main = threading.get_ident() == threading.main_thread().ident
    look_s = _LOOK_S if on_main and runtime().misses_signals else math.inf
    deadline_s = math.inf if timeout_s is None else runtime().now() + timeout_s
    left_s = math.inf if timeout_s is None else timeout_s
    while True:
        step_s = max(0.0, min(look_s, left_s))
        if wait(None if math.isinf(step_s) else step_s):
            return True
        left_s = deadline_s - runtime().now()
        if left_s <= 0:
            return False
