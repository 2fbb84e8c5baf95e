"""Activities for process workers: importable, because a child process finds them by name."""

import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import attrs

from limen.messages.activities import ActivityRequest
from limen.messages.payloads import Local, Payload


def echo(request: ActivityRequest) -> Payload | Local:
    """Give back what was given."""
    return request.input


def own_pid(request: ActivityRequest) -> Local:
    """Give the child's process id."""
    return Local(os.getpid())


def whole_request(request: ActivityRequest) -> Local:
    """Give back the request itself."""
    return Local(request)


def hold(request: ActivityRequest) -> Local:
    """Write the child's process id into a pipe, and return when nobody holds a file's lock any more.

    Both are given by their paths: `(announced, locked)`.
    """
    announced, locked = _value(request)
    with Path(announced).open("w") as pipe:
        pipe.write(f"{os.getpid()}\n")
    with Path(locked).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    return Local(os.getpid())


def hold_with_gil(request: ActivityRequest) -> Local:
    """Announce itself as `hold` does, and then keep every other thread of the child from running, for a minute."""
    with Path(_value(request)).open("w") as pipe:
        pipe.write(f"{os.getpid()}\n")
    ctypes.PyDLL(None).sleep(60)
    return Local(None)


def long_once(request: ActivityRequest) -> Local:
    """Be short, except where the argument is what `hold` takes: then hold."""
    return Local(os.getpid()) if _value(request) is None else hold(request)


def touch(request: ActivityRequest) -> Local:
    """Be short, and make a file of that name if there is one."""
    if _value(request) is not None:
        Path(_value(request)).touch()
    return Local(None)


def die_if_told(request: ActivityRequest) -> Local:
    """Be short, and end the process past everything if the argument says so."""
    if _value(request):
        os._exit(9)
    return Local(os.getpid())


def take_a_while(request: ActivityRequest) -> Local:
    """Take so many seconds."""
    time.sleep(_value(request))
    return Local(None)


def fill(request: ActivityRequest) -> Payload:
    """Give so many bytes."""
    return Payload(bytes(_value(request)), "application/octet-stream")


def die_by_signal(request: ActivityRequest) -> Local:
    """Be ended by the signal of that number."""
    os.kill(os.getpid(), _value(request))
    signal.pause()
    return Local(None)


def segfault(request: ActivityRequest) -> Local:
    """Read from nowhere."""
    ctypes.string_at(0)
    return Local(None)


def exit_at_once(request: ActivityRequest) -> Local:
    """End the process with that code, past everything."""
    os._exit(_value(request))


def exit_by_exception(request: ActivityRequest) -> Local:
    """End the process the way a script does."""
    sys.exit(_value(request))


def interrupt(request: ActivityRequest) -> Local:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def hang_up(request: ActivityRequest) -> Local:
    """Close every file of the process, the lines to the parent included, and go on."""
    os.closerange(3, 256)
    time.sleep(60)  # killed long before
    return Local(None)


def fail(request: ActivityRequest) -> Local:
    """Raise a ValueError with that text."""
    raise ValueError(_value(request))


def return_lambda(request: ActivityRequest) -> Local:
    """Give a result that does not pickle."""
    return Local(lambda: None)


def return_nonsense(request: ActivityRequest) -> Local:
    """Give neither of the two things that an activity may give."""
    return "nonsense"  # type: ignore[return-value]


class StubbornError(Exception):
    """Pickles, and does not come back: its text is built from two arguments that are not kept."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def fail_stubbornly(request: ActivityRequest) -> Local:
    """Raise an error that cannot be unpickled."""
    raise StubbornError("one", "two")


class HoldingError(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("it holds a function")
        self.held = lambda: None


def fail_unpicklably(request: ActivityRequest) -> Local:
    """Raise an error that does not pickle."""
    raise HoldingError


@attrs.frozen
class OneWay:
    """Pickles, and raises when it is unpickled."""

    exits: bool = False

    def __reduce__(self) -> tuple[object, ...]:
        return (_refuse_to_arrive, (self.exits,))


def _refuse_to_arrive(exits: bool) -> None:  # noqa: FBT001 - an argument of a pickle has no name
    if exits:
        sys.exit(3)
    raise RuntimeError("it does not arrive")


def return_one_way(request: ActivityRequest) -> Local:
    """Give a result that cannot be unpickled; it ends whoever tries, if it is told to."""
    return Local(OneWay(exits=_value(request)))


class Unloadable:
    """A handler that pickles and cannot be unpickled anywhere."""

    def __call__(self, request: ActivityRequest) -> Local:
        return Local(None)

    def __reduce__(self) -> tuple[object, ...]:
        return (_refuse_to_arrive, (False,))


def _value(request: ActivityRequest) -> Any:
    assert isinstance(request.input, Local)
    return request.input.value
