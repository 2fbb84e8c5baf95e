"""What is put in place of the standard library's clock, sleep and luck while a simulation runs.

Only for threads that are in the simulation; all others get the real thing. Names that were imported one by one
(`from time import sleep`) cannot be replaced.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._runtime import SimulatedRuntime

NS = 1_000_000_000


@contextlib.contextmanager
def patched(runtime: SimulatedRuntime, seed: int) -> Iterator[None]:
    """Replace them inside the block."""
    is_mine = runtime.scheduler.is_mine
    replaced: list[tuple[Any, str, Any]] = []

    def replace(module: Any, name: str, ours: Callable[..., Any], *, if_mine: Callable[[], bool] = is_mine) -> None:
        real = getattr(module, name)
        replaced.append((module, name, real))
        setattr(module, name, lambda *args: ours(*args) if if_mine() else real(*args))

    def is_activity() -> bool:
        return is_mine() and runtime.scheduler.current is not runtime.scheduler.main

    def exit_process(code: int) -> None:
        scheduler = runtime.scheduler
        if scheduler.current.on_vanish is None:
            raise SystemExit(code)
        scheduler.vanish(scheduler.current)

    replace(time, "sleep", runtime.sleep)
    replace(time, "time", runtime.wall_time)
    replace(time, "time_ns", lambda: int(runtime.wall_time() * NS))
    replace(time, "monotonic", runtime.now)
    replace(time, "monotonic_ns", lambda: int(runtime.now() * NS))
    # Test tools time the test itself with these two.
    replace(time, "perf_counter", runtime.now, if_mine=is_activity)
    replace(time, "perf_counter_ns", lambda: int(runtime.now() * NS), if_mine=is_activity)
    replace(uuid, "uuid4", lambda: uuid.UUID(runtime.new_id()))
    replace(os, "_exit", exit_process, if_mine=is_activity)
    state = random.getstate()
    random.seed(f"activities {seed}")
    try:
        yield
    finally:
        random.setstate(state)
        for module, name, real in reversed(replaced):
            setattr(module, name, real)
