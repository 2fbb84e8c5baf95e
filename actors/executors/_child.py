"""What runs in a child process: one activity at a time, until the parent closes the line or is gone.

The main thread reads work, runs it and sends what came of it. A second thread waits for the parent: when the parent is
gone it ends this process, and when the parent wants back what has not begun it gives that back, while an activity runs.
This module is loaded into the fork server; it must start nothing when it is imported.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import Any, NoReturn

from .._current import Place
from ..runtime import here
from ._begun import Begun
from ._child_run import ChildRun, Outbox
from ._framing import Incoming, frame
from ._packing import Item, Outcome, pack_error, pack_output, unpack_request, unpicklable

READY, UNFIT, DYING, RETURNED, PROGRESS = "ready", "unfit", "dying", "returned", "progress"
"""The first fields of what a child says, other than results: those come as a list."""

RECALL, MORE, CALL_OFF = b"r", b"m", b"c"
"""What a parent says beside the work: give back what has not begun; send more progress; what runs is of no use."""

_FLUSH_S = 0.0005
"""How long a result may wait for company while further short activities are at hand."""
_FLUSH_COUNT = 64
_LONG_S = 0.001
"""Results do not wait while an activity of a type runs that took longer than this the last time."""
_ORPHANED = 1
_PR_SET_PDEATHSIG = 1
_F_SETSIG = 10


def begin(name: str) -> str:
    """Begin as a child process, by learning one's name: leave Ctrl-C to the parent, even as modules are imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return name


def main(
    data: socket.socket,
    control: socket.socket,
    begun: Begun | None,
    position: int,
    handlers: Mapping[str, bytes],
    *,
    worker_id: str,
) -> None:
    """Run activities until the parent has no more. What a child process is started with."""
    _set_signals()
    data.setblocking(True)
    control.setblocking(True)
    _die_with_parent()
    child = _Child(data, control, begun, position, worker_id)
    if child.load(handlers):
        threading.Thread(target=child.heed_parent, name="limen-parent", daemon=True).start()
        child.run()


class _Child:
    def __init__(
        self, data: socket.socket, control: socket.socket, begun: Begun | None, position: int, worker_id: str
    ) -> None:
        self._data = data
        self._control = control
        self._begun: Any = begun if begun is not None else {}
        self._position = position
        self._incoming = Incoming(data)
        self._handlers: list[tuple[str, Any]] = []
        self._long: set[int] = set()
        self._todo: deque[tuple[int, Item]] = deque()
        self._done: deque[tuple[int, float, int, Any, Any]] = deque()
        self._reading = _thread.allocate_lock()
        self._sending = _thread.allocate_lock()
        self._worker_id = worker_id
        self._outbox = Outbox(self._send_progress)
        self._place = Place(self._open_run)
        self._began_s = 0.0
        """When the latest activity began, by `perf_counter`."""

    def load(self, handlers: Mapping[str, bytes]) -> bool:
        """Unpickle the handlers and say whether that worked."""
        for activity_type, pickled in handlers.items():
            try:
                self._handlers.append((activity_type, pickle.loads(pickled)))
            except BaseException as error:  # noqa: BLE001 - importing the user's module may raise anything
                text = "".join(traceback.format_exception(error))
                self._send((UNFIT, activity_type, type(error).__name__, text))
                return False
        self._send((READY,))
        return True

    # --- the main thread ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run what comes; return when the parent closes the line."""
        here.place = self._place
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self._fetch()
                self._run_all()

    def _fetch(self) -> None:
        with self._reading:
            self._take(self._incoming.receive())

    def _take(self, messages: list[Any]) -> None:
        for first, items in messages:
            self._todo.extend(enumerate(items, first))

    def _run_all(self) -> None:
        todo, done = self._todo, self._done
        flushed_s = perf_counter()
        while todo:
            try:
                number, item = todo.popleft()
            except IndexError:  # the other thread has just given it back
                break
            if done and item[1] in self._long:
                self._flush()
            ended_s = self._run(number, item)
            if todo and (ended_s - flushed_s > _FLUSH_S or len(done) >= _FLUSH_COUNT):
                self._flush()
                flushed_s = ended_s
        if done:
            self._flush()

    def _run(self, number: int, item: Item) -> float:
        handler_number = item[1]
        activity_type, handler = self._handlers[handler_number]
        self._begun[self._position] = number
        place, outbox = self._place, self._outbox
        place.work, outbox.turn = item, number
        began_s = self._began_s = perf_counter()
        try:
            kind, body, more = _perform(handler, item, activity_type)
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like end this child, and no other
            self._end(number, error)
        ended_s = perf_counter()
        place.work = None
        if outbox.waiting is not None:
            outbox.end_turn()
        outbox.turn = 0
        took_s = ended_s - began_s
        if took_s > _LONG_S:
            self._long.add(handler_number)
        elif self._long:
            self._long.discard(handler_number)
        self._done.append((number, took_s, kind, body, more))
        return ended_s

    def _end(self, number: int, error: BaseException) -> NoReturn:
        """Say why, and be gone: no thread of the activity's may hold this process back."""
        self._outbox.end_turn()
        code = error.code if isinstance(error, SystemExit) else 1
        code = 0 if code is None else code if isinstance(code, int) else 1
        with contextlib.suppress(OSError):
            self._flush((DYING, number, type(error).__name__, str(error)))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code & 0xFF)

    # --- both threads -------------------------------------------------------------------------------------------------

    def _flush(self, *after: Any) -> None:
        """Send the results at hand, and then the messages `after` them."""
        done = self._done
        with self._sending:
            results = []
            while done:
                try:
                    results.append(done.popleft())
                except IndexError:  # the other thread was quicker
                    break
            if results:
                self._send(results)
            for message in after:
                self._send(message)

    def _send_progress(self, number: int, packed: bytes) -> None:
        with self._sending:
            self._send((PROGRESS, number, packed))

    def _open_run(self, item: Item) -> ChildRun:
        """Make what an activity sees of itself. Called by the activity."""
        activity_type, _ = self._handlers[item[1]]
        return ChildRun(item, activity_type, self._worker_id, self._began_s, self._outbox)

    def _send(self, message: Any) -> None:
        for piece in frame(message):
            self._data.sendall(piece)

    # --- the second thread --------------------------------------------------------------------------------------------

    def heed_parent(self) -> None:
        """Do what the parent asks beside the work; end the process when the parent is gone."""
        with contextlib.suppress(OSError):
            while said := self._control.recv(64):
                if CALL_OFF in said:
                    self._outbox.called_off.set()
                if MORE in said:
                    self._outbox.asked()
                if RECALL in said:
                    self._give_back()
        os._exit(_ORPHANED)

    def _give_back(self) -> None:
        """Answer with what was at hand; if the main thread is just taking more, the parent will ask again."""
        if self._reading.acquire(blocking=False):
            try:
                while True:
                    self._take(self._incoming.receive(socket.MSG_DONTWAIT))
            except (BlockingIOError, EOFError, ConnectionError):
                pass
            finally:
                self._reading.release()
        numbers = []
        with contextlib.suppress(IndexError):
            while True:
                numbers.append(self._todo.pop()[0])
        self._flush((RETURNED, sorted(numbers)))


def _perform(handler: Any, item: Item, activity_type: str) -> Outcome:
    try:
        request = unpack_request(item, activity_type)
    except Exception as error:  # noqa: BLE001 - an unpickling of the user's may raise anything
        return unpicklable("argument", type(error).__name__, error)
    try:
        output = handler(request)
    except Exception as error:  # noqa: BLE001 - a failure of the activity, reported as such
        return pack_error(error)
    return pack_output(output)


def _set_signals() -> None:
    """End on SIGTERM. Whoever started the fork server may have set this otherwise."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, even if an activity never lets another thread run.

    Linux only; elsewhere the second thread does it. The end of the parent closes a pipe, and the kernel signals that
    with SIGKILL. The fork server is this process's parent as the kernel sees it; its end is the end of us as well,
    for nobody would learn of ours any more.
    """
    parent = multiprocessing.parent_process()
    if sys.platform != "linux" or parent is None:
        return
    import fcntl
    import select

    pipe = parent.sentinel
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:
        os._exit(_ORPHANED)
    if multiprocessing.current_process().__class__.__name__ == "ForkServerProcess":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
