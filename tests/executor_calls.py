"""Functions that the tests of the executor face have called in child processes."""

import os
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

GIVE_UP_S = 30.0


def hold(folder: str, name: str) -> int:
    """Say in a file which process runs this, and wait for another file: `go`. Give how often it was begun."""
    tries = Path(folder, f"{name}.tries")
    with tries.open("a") as file:
        file.write("x")
    partial = Path(folder, f"{name}.partial")
    partial.write_text(str(os.getpid()))
    partial.rename(Path(folder, name))
    give_up_s = time.monotonic() + GIVE_UP_S
    while not Path(folder, "go").exists():
        assert time.monotonic() < give_up_s
        time.sleep(0.005)
    return len(tries.read_text())


def kill_self() -> NoReturn:
    """Die as from a lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def leave_at_once(status: int) -> NoReturn:
    """End the process behind Python's back."""
    os._exit(status)


def leave(status: int) -> NoReturn:
    """Raise `SystemExit`."""
    raise SystemExit(status)


def divide(by: int) -> float:
    """Raise for 0."""
    return 1 / by  # some comment


def give_unpicklable() -> Any:
    """Give what cannot travel back."""
    return lambda: None


class Unreadable:
    """Pickles, and cannot be unpickled."""

    def __reduce__(self) -> Any:
        return divide, (0,)
