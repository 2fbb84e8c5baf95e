"""Activities for the tests over a broker, importable by hosts and their children."""

import contextlib
import os
import signal
import time
from pathlib import Path

import attrs
from drillkit import Marks
from rabbithosts import Diary

from limen import Retry, RetryableError, activity, current


@attrs.frozen
class Job:
    """A value of a user's own."""

    name: str
    sizes: tuple[int, ...] = ()


@activity(queue="work")
def double(number: int) -> int:
    """Double it."""
    return 2 * number


@activity(queue="work")
def grow(job: Job) -> Job:
    """Give a larger one."""
    return attrs.evolve(job, sizes=(*job.sizes, len(job.sizes)))


@activity(queue="work")
def whoami() -> int:
    """Give the pid of the process that runs it."""
    return os.getpid()


@activity(queue="work")
def fail(text: str) -> None:
    """Raise."""
    raise LookupError(text)


@activity(queue="work", retry=Retry(max_attempts=3, initial=0.01))
def fail_twice(path: str) -> int:
    """Raise until a file has two bytes."""
    with open(path, "ab") as file:  # noqa: PTH123 - append is the point
        if file.tell() >= 2:
            return file.tell()
        file.write(b"x")
    raise RetryableError("again")


@activity(queue="work")
def nap(seconds: float) -> float:
    """Take a while."""
    time.sleep(seconds)
    return seconds


def _noted(name: str, path: str, number: int, seconds: float) -> int:
    marks = Marks(path)
    marks.note("start", name, number)
    time.sleep(seconds)
    marks.note("end", name, number)
    return number


@activity(queue="work")
def mark(path: str, number: int, seconds: float) -> int:
    """Take a while, and note when it begins and ends."""
    return _noted("mark", path, number, seconds)


@activity(queue="work")
def mark_too(path: str, number: int, seconds: float) -> int:
    """Be another type that does the same."""
    return _noted("mark_too", path, number, seconds)


@activity(queue="work")
def mark_as_well(path: str, number: int, seconds: float) -> int:
    """Be a third."""
    return _noted("mark_as_well", path, number, seconds)


@activity(queue="work")
def die_once(marker: str) -> int:
    """Kill its process the first time."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@activity(queue="work", max_crashes=2)
def die() -> None:
    """Kill its process each time."""
    os._exit(3)


@activity(queue="work")
async def later(number: int) -> int:
    """Give it back, from an event loop."""
    return number


@activity(queue="work")
def hold(path: str) -> int:
    """Note the start, and end when that is allowed."""
    diary = Diary(path)
    diary.note()
    diary.hold()
    return os.getpid()


@activity(queue="work")
def hold_too(path: str) -> int:
    """Do the same as another type."""
    return hold(path)


@activity(queue="work")
def fork_and_hold(path: str) -> int:
    """Do so with a forked copy of the process beside, which does nothing and outlives it."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            time.sleep(60)
        os._exit(0)
    Path(path + f".child-{pid}").touch()
    return hold(path)


@activity(queue="work", max_crashes=3)
def kill_host(path: str) -> None:
    """Note the start, and kill the host as a whole."""
    Diary(path).note()
    os.kill(os.getpid(), signal.SIGKILL)


@activity(queue="work")
def sockets() -> list[str]:
    """Give the sockets that the process running it has open."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()))
    return [each for each in found if each.startswith("socket:")]


@activity(queue="work")
def report(number: int) -> int:
    """Say how far it has got, and end at once."""
    current().progress(number)
    return number


@activity(queue="work")
def report_and_hold(path: str) -> None:
    """Say how far it has got before it is allowed to end, and after that."""
    current().progress({"done": 1})
    Diary(path).hold()
    current().progress({"done": 2})
