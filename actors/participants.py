"""Participants that are no actors: processes and asyncio tasks, watched by event.

All processes together are watched by one thread, started with the first watch and gone with the last. Where the
platform has no file descriptor for a process (only Linux has `pidfd`; Windows has handles) each one takes a thread that
waits for it. This module imports neither asyncio nor multiprocessing: who holds a task or a process has them loaded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..messages.lifecycle import Down, ExitReason
from ._fd_watcher import fd_watcher
from .life import OnExit, Watch
from .runtime import runtime

logger = logging.getLogger("limen")

WatchKind = Callable[[Any, OnExit], Watch]

_RECHECK_S = 0.002
"""How long another thread may take between learning an exit code and writing it down."""
_RECHECKS = 500


def kind_of(participant: Any) -> tuple[type, WatchKind] | None:
    """Give the class that makes `participant` watchable here, and the function that watches such; `None` without."""
    for cls in type(participant).__mro__:
        watch_kind = _KINDS.get((cls.__module__, cls.__name__))
        if watch_kind is not None:
            return cls, watch_kind
    return None


class _CodeLostError(Exception):
    """The exit code will never be known."""


class _Notice:
    """One call of `on_exit`, made once, unless it is called off."""

    def __init__(self, participant: Any, on_exit: OnExit) -> None:
        self._participant = participant
        self._pending = [on_exit]

    def call_off(self) -> None:
        """Do not call."""
        self._pending.clear()

    def give(self, reason: ExitReason) -> None:
        """Call, once. Whatever the watcher raises is logged."""
        try:
            on_exit = self._pending.pop()
        except IndexError:
            return
        try:
            on_exit(Down(self._participant, reason, runtime().now()))
        except Exception:
            logger.exception("a watcher failed to take the notice of %s", reason)


# --- processes --------------------------------------------------------------------------------------------------------


def _watch_process(process: Any, on_exit: OnExit) -> Watch:
    """Watch a `multiprocessing` process. Raises `ValueError` for one that was never started."""
    notice = _Notice(process, on_exit)
    try:
        pid = process.pid
    except ValueError:  # closed by its owner, which only works after its end
        notice.give(ExitReason.noproc())
        return Watch()
    if pid is None:
        msg = f"{process} has not been started; start it, then watch it"
        raise ValueError(msg)
    if pid == os.getpid():
        msg = "a process cannot watch itself"
        raise ValueError(msg)
    if process.exitcode is not None:
        notice.give(ExitReason.noproc())
        return Watch()
    _let_two_ask(process)
    if sys.platform == "win32":
        return _watch_by_thread(process.join, lambda: _process_code(process), notice)
    return _watch_fd(os.dup(process.sentinel), lambda: _process_code(process), pid, notice)


def _let_two_ask(process: Any) -> None:
    """Let this process's exit code be asked for by its owner and by us at the same time.

    A fork server tells it once, through a pipe; of two threads that read it one would take the empty pipe for an exit
    code of 255. An owner who is already inside `join` when the watch is set up is not covered.
    """
    popen = process._popen  # noqa: SLF001 - there is no other place to put the lock
    if getattr(popen, "method", None) != "forkserver" or "poll" in vars(popen):
        return
    poll, wait, lock = popen.poll, sys.modules["multiprocessing.connection"].wait, threading.Lock()

    def poll_alone(flag: int = os.WNOHANG) -> int | None:
        if flag == 0 and popen.returncode is None:
            wait([popen.sentinel])
        with lock:
            code: int | None = poll(os.WNOHANG)
            return code

    popen.poll = poll_alone


def _process_code(process: Any) -> int | None:
    """Ask for the exit code. Raises `_CodeLostError` when the owner has closed the process object."""
    try:
        code: int | None = process.exitcode
    except ValueError:
        raise _CodeLostError from None
    return code


def _watch_popen(popen: Any, on_exit: OnExit) -> Watch:
    """Watch a `subprocess.Popen`. Its exit code stays its owner's to collect."""
    notice = _Notice(popen, on_exit)
    if popen.returncode is not None:
        notice.give(ExitReason.noproc())
        return Watch()
    if not hasattr(os, "pidfd_open"):
        return _watch_by_thread(popen.wait, lambda: popen.returncode, notice)
    try:
        pidfd = os.pidfd_open(popen.pid)
    except ProcessLookupError:  # collected already
        notice.give(ExitReason.noproc())
        return Watch()
    return _watch_fd(pidfd, lambda: _popen_code(popen), None, notice)


def _popen_code(popen: Any) -> int | None:
    """Look at how it ended and leave the looking-up to its owner, if it is still to be looked up."""
    code: int | None = popen.returncode
    if code is not None or sys.platform == "win32":
        return code
    try:
        left = os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return popen.returncode  # type: ignore[no-any-return]
    if left is None:
        return None
    return left.si_status if left.si_code == os.CLD_EXITED else -left.si_status


def _watch_fd(fd: int, code: Callable[[], int | None], pid: int | None, notice: _Notice) -> Watch:
    """Give notice when `fd`, which is ours to close, becomes readable. `pid` is given where the code may come later."""
    pending = fd_watcher().watch(fd, lambda: _ended(code, pid, notice))

    def call_off() -> None:
        notice.call_off()
        pending()

    return Watch(call_off)


def _ended(code: Callable[[], int | None], pid: int | None, notice: _Notice) -> None:
    """Give notice; or, if the process has closed its files and not yet ended, wait for that."""
    if pid is not None and hasattr(os, "pidfd_open") and _look(code) is None:
        with contextlib.suppress(ProcessLookupError):  # somebody else has just collected it
            fd_watcher().watch(os.pidfd_open(pid), lambda: _recheck(code, notice, _RECHECKS))
            return
    _recheck(code, notice, _RECHECKS)


def _look(code: Callable[[], int | None]) -> ExitReason | None:
    """Say why it ended, if that is known or will never be."""
    try:
        known = code()
    except _CodeLostError:
        return ExitReason.from_exit_code(None)
    return None if known is None else ExitReason.from_exit_code(known)


def _recheck(code: Callable[[], int | None], notice: _Notice, tries: int) -> None:
    """Give notice as soon as whoever collected the exit code has written it down."""
    reason = _look(code)
    if reason is None and tries:
        runtime().call_later(_RECHECK_S, lambda: _recheck(code, notice, tries - 1))
        return
    notice.give(reason or ExitReason.from_exit_code(None))


def _watch_by_thread(wait: Callable[[], object], code: Callable[[], int | None], notice: _Notice) -> Watch:
    def wait_and_tell() -> None:
        wait()
        notice.give(_look(code) or ExitReason.from_exit_code(None))

    threading.Thread(target=wait_and_tell, name="limen-watch-process", daemon=True).start()
    return Watch(notice.call_off)


# --- asyncio tasks ----------------------------------------------------------------------------------------------------


def _watch_task(task: Any, on_exit: OnExit) -> Watch:
    """Watch an asyncio task, from any thread. The notice is given on the task's event loop."""
    notice = _Notice(task, on_exit)
    if task.done():
        notice.give(ExitReason.noproc())
        return Watch()

    def tell(done: Any) -> None:
        notice.give(_task_reason(done))

    loop = task.get_loop()
    if sys.modules["asyncio.events"]._get_running_loop() is loop:  # noqa: SLF001 - the public one raises without a loop
        task.add_done_callback(tell)
        return Watch(notice.call_off)
    try:
        loop.call_soon_threadsafe(task.add_done_callback, tell)
    except RuntimeError:  # the loop is closed: the task will never go on
        notice.give(ExitReason.noproc())
    return Watch(notice.call_off)


def _task_reason(task: Any) -> ExitReason:
    if task.cancelled():
        return ExitReason.killed("cancelled")
    error = task.exception()
    return ExitReason.normal() if error is None else ExitReason.from_error(error)


_KINDS: dict[tuple[str, str], WatchKind] = {
    ("multiprocessing.process", "BaseProcess"): _watch_process,
    ("subprocess", "Popen"): _watch_popen,
    ("_asyncio", "Task"): _watch_task,
    ("asyncio.tasks", "Task"): _watch_task,
}
"""By the names of the classes, so that they need not be imported to be recognised."""
