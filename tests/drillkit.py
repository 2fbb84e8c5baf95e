"""What the failure drills share: figures that are shown at the end, activities' own records, and a cutting proxy."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Self

import attrs

from limen import Handle

PATIENCE_S = 60.0


def wait_until(holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> float:
    """Wait until something is so that nobody tells of; give the time, by `time.monotonic`."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to that"
        time.sleep(0.002)
    return time.monotonic()


# --- figures ----------------------------------------------------------------------------------------------------------


class Figures:
    """What the drills measured, by drill."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def times(self, drill: str, took_ms: Iterable[float]) -> float:
        """Take times; give their median."""
        taken = sorted(took_ms)
        middle = statistics.median(taken)
        each = f"{taken[0]:.1f} to {taken[-1]:.1f}, {len(taken)} times" if len(taken) > 1 else "once"
        self._rows.append((drill, f"median {middle:.1f} ms ({each})"))
        return middle

    def counts(self, drill: str, **counts: object) -> None:
        """Take numbers."""
        text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        self._rows.append((drill, text))

    def table(self) -> list[str]:
        """Give them as lines."""
        width = max((len(drill) for drill, _ in self._rows), default=0)
        return [f"{drill:<{width}}  {text}" for drill, text in self._rows]


# --- what the caller got ----------------------------------------------------------------------------------------------


class Outcomes:
    """Counts how often each caller was told of an end."""

    def __init__(self) -> None:
        self._told: Counter[int] = Counter()
        self._lock = threading.Lock()
        self.handles: list[Handle[Any]] = []

    def watch(self, handle: Handle[Any]) -> Handle[Any]:
        """Count this one's too."""
        number = len(self.handles)
        self.handles.append(handle)

        def told(_: Handle[Any]) -> None:
            with self._lock:
                self._told[number] += 1

        handle.add_done_callback(told)
        return handle

    def done(self) -> int:
        """Count those that have ended."""
        with self._lock:
            return len(self._told)

    def each_once(self, timeout_s: float = PATIENCE_S) -> list[Any]:
        """Give all results in order, and see that each came, and came once."""
        deadline_s = time.monotonic() + timeout_s
        results = [handle.result(timeout=max(0.0, deadline_s - time.monotonic())) for handle in self.handles]
        assert self._told == dict.fromkeys(range(len(self.handles)), 1)
        return results


# --- what the activities did ------------------------------------------------------------------------------------------


@attrs.frozen
class Mark:
    """That an activity began or ended: which, in which process, and when by the clock that all processes share."""

    what: Literal["start", "end"]
    kind: str
    number: int
    pid: int
    at_s: float


class Marks:
    """A file in which activities note their starts and ends. A line is one write: it is there whole, or not at all."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def note(self, what: str, kind: str, number: int) -> None:
        """Note it. Called by the activity."""
        line = f"{what} {kind} {number} {os.getpid()} {time.monotonic()}\n".encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def all(self) -> list[Mark]:
        """List them in order."""
        if not self.path.exists():
            return []
        lines = (line.split() for line in self.path.read_text().splitlines())
        return [Mark(what, kind, int(number), int(pid), float(at_s)) for what, kind, number, pid, at_s in lines]  # type: ignore[arg-type]

    def starts(self) -> dict[int, list[Mark]]:
        """List the starts of each."""
        found: dict[int, list[Mark]] = {}
        for mark in self.all():
            if mark.what == "start":
                found.setdefault(mark.number, []).append(mark)
        return found

    def begun_in(self, pid: int) -> set[int]:
        """Name what has begun in a process and not ended there."""
        open_: set[int] = set()
        for mark in self.all():
            if mark.pid == pid:
                (open_.add if mark.what == "start" else open_.discard)(mark.number)
        return open_

    def most_at_once(self) -> dict[int, int]:
        """Give the most that ran at a time in each process."""
        now: Counter[int] = Counter()
        most: Counter[int] = Counter()
        for mark in sorted(self.all(), key=lambda each: each.at_s):
            now[mark.pid] += 1 if mark.what == "start" else -1
            most[mark.pid] = max(most[mark.pid], now[mark.pid])
        return dict(most)


# --- the network ------------------------------------------------------------------------------------------------------

Way = Literal["to broker", "from broker"]
WAYS: tuple[Way, ...] = ("to broker", "from broker")


class CuttingProxy:
    """A TCP proxy that can be told to carry nothing, one way or both, without a word to either side.

    Connections stay open then, as when a cable is pulled. What is held is lost when the cut is healed: the connections
    of before are reset, for a network that has lost so much does not carry them on.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._cut: frozenset[Way] = frozenset()
        self._ends: dict[socket.socket, tuple[socket.socket, Way]] = {}
        self._over = False
        self._thread = threading.Thread(target=self._run, name="cutting-proxy")

    def cut(self, *ways: Way) -> float:
        """Carry nothing these ways from now on; give the time."""
        with self._lock:
            self._cut = frozenset(ways or WAYS)
        return time.monotonic()

    def heal(self) -> float:
        """Carry everything; give the time."""
        with self._lock:
            self._cut = frozenset()
            for end in list(self._ends):
                self._drop(end)
        return time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and all connections."""
        self._over = True
        self._thread.join()
        for end in list(self._ends):
            self._drop(end)
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.02):
                with self._lock, contextlib.suppress(OSError):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._ends:
                        self._carry(key.fileobj)  # pyright: ignore[reportArgumentType]

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target, timeout=2.0)
        except OSError:
            near.close()
            return
        pairs: tuple[tuple[socket.socket, socket.socket, Way], ...] = ((near, far, WAYS[0]), (far, near, WAYS[1]))
        for one, other, way in pairs:
            one.settimeout(2.0)
            self._ends[one] = (other, way)
            self._selector.register(one, selectors.EVENT_READ)

    def _carry(self, end: socket.socket) -> None:
        other, way = self._ends[end]
        if way in self._cut:
            self._selector.unregister(end)  # it fills up, as a real one would
            return
        try:
            data = end.recv(1 << 16)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        found = self._ends.get(end)
        for each in (end, found[0]) if found else ():
            self._ends.pop(each, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each)
            # Without a farewell: a reset.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.close()
