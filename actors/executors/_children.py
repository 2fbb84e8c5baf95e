"""One child process as its parent sees it: how it is started, written to, read from and ended.

Knows nothing of other children, of slots or of what is done about a death. No method blocks but `Child.start`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from multiprocessing import process as mp_process
from typing import Any, Literal

import attrs

from ...messages.lifecycle import ExitKind, ExitReason
from ..attempt import Attempt
from . import _child
from ._begun import Begun
from ._framing import Incoming

State = Literal["starting", "spare", "idle", "running", "ending"]

SHARES_MEMORY = sys.platform != "win32"
"""Whether `Begun` works here."""


@attrs.frozen
class ChildRow:
    """One child process of an executor, as an operator wants to see it."""

    pid: int
    state: State
    activity_type: str | None = None
    """Of the activity that it runs."""


@attrs.frozen
class ChildStarted:
    """A child process can take work from now on."""

    pid: int


@attrs.frozen
class ChildExited:
    """A child process has ended."""

    pid: int
    reason: ExitReason
    activity_type: str | None
    """Of the activity that it ran when it ended."""


def _make_context() -> Any:
    """Give the way to start processes. The user's own default is left as it is.

    A fork server that has not been started yet is told to load what a child needs.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    preloaded = getattr(forkserver._forkserver, "_preload_modules", None)  # type: ignore[attr-defined, unused-ignore]  # noqa: SLF001
    if isinstance(preloaded, list) and _child.__name__ not in preloaded:
        context.set_forkserver_preload([*preloaded, _child.__name__, f"{__package__}._fork_server"])
    return context


@contextlib.contextmanager
def _sigint_held_back() -> Iterator[None]:
    """Let processes that this thread starts begin without SIGINT, which they let in when they can bear it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which lets SIGINT in again on this thread when it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Name(str):
    """A process's name. A child unpickles it before anything of the user's, and is deaf to Ctrl-C from then on."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _child.begin, (str(self),)


_CONTEXT = _make_context()


def check_can_start() -> None:
    """Raise `RuntimeError` in a process that is itself being started and still imports the user's main module."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        msg = (
            "process workers were started while a child process was importing the main module; "
            'put what starts them below `if __name__ == "__main__":`'
        )
        raise RuntimeError(msg)


class Child:
    """A child process, its two lines and what it holds. Guarded by its executor's lock."""

    __slots__ = (
        "_control",
        "_next",
        "_out",
        "_process",
        "begun",
        "cancelled",
        "data",
        "ending",
        "estimate_s",
        "hears",
        "holds_long",
        "incoming",
        "last_words",
        "pid",
        "position",
        "ready",
        "recalled",
        "seen",
        "seen_s",
        "sent",
        "sentinel",
        "serves",
    )

    def __init__(
        self, process: Any, data: socket.socket, control: socket.socket, begun: Begun | None, position: int
    ) -> None:
        self._process = process
        self._control = control
        self._out: deque[memoryview] = deque()
        self._next = 1
        self.pid: int = process.pid
        self.sentinel: int = process.sentinel
        self.data = data
        self.incoming = Incoming(data)
        self.begun = begun
        self.position = position
        self.sent: dict[int, Attempt] = {}
        """What it has been sent and has not answered, in order, by number."""
        self.holds_long = False
        """Whether what it holds may take long, so that nothing shall wait behind it."""
        self.estimate_s = 0.0
        """How long all it holds takes, about."""
        self.ready = False
        self.serves = False
        """Whether it has a slot; a spare has none."""
        self.hears = True
        """Whether its line stands."""
        self.ending = False
        """Whether we ended it: its death is no crash."""
        self.cancelled: Attempt | None = None
        """What it was ended for."""
        self.last_words: tuple[str, str] | None = None
        """Type and text of the exception that ended it."""
        self.recalled = False
        """Whether it has been asked for what it has not begun, and has not answered."""
        self.seen: int | None = None
        """What it ran when it was looked at."""
        self.seen_s = 0.0
        """Since when it has run that, as far as has been seen."""

    @classmethod
    def start(
        cls, name: str, handlers: Mapping[str, bytes], begun: Begun | None, position: int, worker_id: str
    ) -> Child:
        """Start a process. Blocks for some milliseconds, and until the fork server is up for the first one."""
        with contextlib.ExitStack() as on_error:
            data, data_there = _pair()
            on_error.callback(data.close)
            control, control_there = _pair()
            on_error.callback(control.close)
            with data_there, control_there:
                process = _CONTEXT.Process(
                    target=_child.main,
                    name=_Name(name),
                    args=(data_there, control_there, begun, position, handlers),
                    kwargs={"worker_id": worker_id},
                )
                with _sigint_held_back():
                    process.start()
            # Any thread that starts a process asks all those listed how they are. Exit codes come once, and are ours.
            mp_process._children.discard(process)  # type: ignore[attr-defined] # noqa: SLF001
            on_error.pop_all()
        return cls(process, data, control, begun, position)

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """The number that the next attempt gets."""
        return self._next

    def hold(self, attempts: list[Attempt]) -> None:
        """Note what it is being sent."""
        for number, attempt in enumerate(attempts, self._next):
            self.sent[number] = attempt
        self._next += len(attempts)

    def running(self) -> int | None:
        """Give the number of what it runs, or ran when it died; `None` when it has not begun what it holds."""
        if self.begun is None:
            return next(iter(self.sent), None)
        number = self.begun[self.position]
        return number if number in self.sent else None

    @property
    def takes_more(self) -> bool:
        """Whether something may wait behind what it holds."""
        may = self.hears and not self.ending and not self.holds_long and not self.recalled
        return may and bool(self.sent) and not self._out

    def first(self) -> Attempt | None:
        """Give what it runs or will run first."""
        return next(iter(self.sent.values()), None)

    def row(self, *, is_spare: bool) -> ChildRow:
        """Describe it."""
        if self.ending or not self.hears:
            return ChildRow(self.pid, "ending")
        if not self.ready:
            return ChildRow(self.pid, "starting")
        first = self.first()
        if first is None:
            return ChildRow(self.pid, "spare" if is_spare else "idle")
        number = self.running()
        shown = first if number is None else self.sent[number]
        return ChildRow(self.pid, "running", shown.activity_type)

    # --- its lines ----------------------------------------------------------------------------------------------------

    def write(self, pieces: list[bytes]) -> bool:
        """Send, as much as goes now; `False` when something is left, to be flushed when the line has room."""
        self._out.extend(map(memoryview, pieces))
        return self.flush()

    def flush(self) -> bool:
        """Send what is left; `False` when the line is full."""
        try:
            while self._out:
                sent = self.data.send(self._out[0])
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                else:
                    self._out.popleft()
        except BlockingIOError:
            return False
        except OSError:  # it is dead or dying: the end of its line tells
            self._out.clear()
        return True

    def recall(self) -> None:
        """Ask for what has not begun."""
        self.recalled = True
        self._tell(_child.RECALL)

    def ask_progress(self) -> None:
        """Ask for the latest report of progress, as soon as there is one. Any thread."""
        self._tell(_child.MORE)

    def call_off(self) -> None:
        """Say that what it runs is of no more use."""
        self._tell(_child.CALL_OFF)

    def _tell(self, what: bytes) -> None:
        with contextlib.suppress(OSError):
            self._control.send(what)

    def messages(self) -> Iterator[Any]:
        """Give all that it has said and we have not read. Raises `EOFError` or `OSError` at the end of its line."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield from self.incoming.receive()

    # --- its end ------------------------------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Let it end: at once when it is idle, by SIGTERM when it is busy or not up yet."""
        if self.ending:
            return
        self.ending = True
        if self.sent or not self.ready:
            self.terminate()
            return
        with contextlib.suppress(OSError):
            self.data.shutdown(socket.SHUT_WR)

    def terminate(self) -> None:
        """Send SIGTERM, or what the platform has in its place."""
        with contextlib.suppress(OSError):
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL, or what the platform has in its place, unless it has ended and we know."""
        with contextlib.suppress(OSError, ValueError):
            self._process.kill()

    def join(self, timeout_s: float) -> None:
        """Wait for its end."""
        self._process.join(timeout_s)

    def exit_code(self) -> int | None:
        """Give the exit code; negative for a signal. Call it when the sentinel is ready."""
        code: int | None = self._process.exitcode
        return code

    def exit_reason(self) -> ExitReason:
        """Say why it ended. Call it when the sentinel is ready."""
        code = self.exit_code()
        if self.last_words is not None:
            type_name, text = self.last_words
            return ExitReason(ExitKind.ERROR, error_type=type_name, message=text, exit_code=code)
        if code == 0 and self.sent:
            return ExitReason(ExitKind.ERROR, message="exit code 0 in the middle of an activity", exit_code=0)
        return ExitReason.from_exit_code(code)

    def release(self) -> None:
        """Give back all that it held of this process: call it when it has ended."""
        self.close_lines()
        self._process.close()

    def close_lines(self) -> None:
        """Close our ends of the lines. The child ends when it notices."""
        self.hears = False
        self.data.close()
        self._control.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(True)
    return ours, theirs
