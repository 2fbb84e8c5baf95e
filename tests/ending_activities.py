"""Activities for process workers that end in every way that there is, and some that do not want to."""

import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from limen import Activity, activity, current


@activity(queue="work")
def well() -> int:
    """Give the pid of the process that runs it."""
    return os.getpid()


@activity(queue="work")
def end(how: str, pipe: str) -> None:
    """Say the pid through a named pipe, and end in that way."""
    with open(pipe, "w") as out:  # noqa: PTH123 - opening blocks until the test is there
        out.write(str(os.getpid()))
    match how:
        case "kill -9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "os._exit":
            os._exit(0)
        case "abort":
            os.abort()
        case "memory":
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), hard))
            hoard = []
            while True:
                hoard.append(bytearray(1 << 20))
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "ignore SIGTERM":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "hold the GIL":
            ctypes.PyDLL(None).sleep(60)
        case "block signals":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        case "report nonsense":
            current().progress(object())
    time.sleep(60)


ALL: list[Activity[..., Any]] = [well, end]
