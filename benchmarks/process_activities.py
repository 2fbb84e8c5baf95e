"""The activities of the benchmark of process workers; child processes import them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from limen import activity
from limen.messages.activities import ActivityRequest


def echo(request: ActivityRequest) -> Any:
    """Give back what was given: a handler for the executor without a channel."""
    return request.input


@activity(queue="process", max_crashes=5)
def start_twice(folder: str) -> float:
    """Say when it began, on the clock that all processes share. The first to begin writes its pid and waits to die."""
    now_s = time.monotonic()
    if not (first := Path(folder) / "begun").exists():
        first.touch()
        with (Path(folder) / "pid").open("w") as pipe:
            pipe.write(str(os.getpid()))
        time.sleep(60)
    return now_s
