"""Activities that child processes can import, for the tests of process workers."""

import os
import signal
import threading

import attrs

from limen import Payload, activity


@attrs.frozen
class Job:
    """A value of a user's own."""

    name: str
    size: int = 0


class OddError(Exception):
    """An error that pickles, and needs more than one argument."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


class StubbornError(Exception):
    """An error that does not pickle."""

    def __init__(self) -> None:
        super().__init__(threading.Lock())


@activity(queue="work")
def double(number: int) -> int:
    """Double it."""
    return 2 * number


@activity(queue="work")
def grow(job: Job) -> Job:
    """Give a larger one."""
    return attrs.evolve(job, size=job.size + 1)


@activity(queue="work")
def fail(code: int) -> None:
    """Raise an error with fields."""
    raise OddError(code, "no luck")


@activity(queue="work")
def fail_stubbornly() -> None:
    """Raise an error that cannot travel."""
    raise StubbornError


@activity(queue="work")
def give_lock() -> object:
    """Return what cannot travel."""
    return threading.Lock()


@activity(queue="work")
def reverse(payload: Payload) -> Payload:
    """Turn bytes round and keep their type."""
    return Payload(payload.data[::-1], payload.content_type)


@activity(queue="work")
def wrongly_annotated() -> int:
    """Return something else than it says."""
    return "text"  # type: ignore[return-value]


@activity(queue="work")
def whoami() -> int:
    """Give the pid of the process that runs it."""
    return os.getpid()


@activity(queue="work")
def wait_for_line(path: str) -> str:
    """Say the pid through a named pipe, and return what comes back through it."""
    with open(path + ".out", "w") as out:  # noqa: PTH123 - opening blocks until the test is there
        out.write(str(os.getpid()))
    with open(path + ".in") as answer:  # noqa: PTH123 - as above
        return answer.read()


@activity(queue="work")
def die_once(marker: str) -> int:
    """Kill its process the first time, and give the pid the second time."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@activity(queue="work")
def die() -> None:
    """Kill its process each time."""
    os._exit(3)
