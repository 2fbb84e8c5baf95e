"""Hosts as processes of their own, for tests that kill them; and files in which activities say what they did.

Run as a script it is one of these processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import attrs

READY_S = 60.0


class _Process:
    """A process that says when it is ready. Leave it by `kill`, or let the block end it."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        )
        self.pid = self._process.pid

    def wait_ready(self) -> Self:
        """Block until it takes work."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == "ready\n", line
        return self

    def kill(self) -> float:
        """End it with SIGKILL, and say when, by `time.monotonic`."""
        at_s = time.monotonic()
        self._process.kill()
        self._process.wait()
        return at_s

    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def leave(self) -> None:
        """Let it carry to its end what it has begun, and wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(READY_S) == 0

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        """End it, and whatever it started, at the end of the block."""
        return self.wait_ready()

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):  # a copy of the process may hold their other ends
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Host(_Process):
    """A process with one worker."""

    def __init__(self, url: str, *activities: str, executor: str = "thread", slots: int = 1) -> None:
        super().__init__("host", url, executor, str(slots), *activities)


class Asker(_Process):
    """A process that asks for so many pieces of work by key, `{name}-{number}`, and marks those whose results it has.

    It is ready when it has a few.
    """

    def __init__(self, url: str, folder: Path, name: str, count: int) -> None:
        super().__init__("asker", url, str(folder), name, str(count))


class BareConsumer(_Process):
    """A process that takes a message with the bare client, notes that, and never acknowledges it.

    The queue has the name of the diary.
    """

    def __init__(self, url: str, path: Path) -> None:
        super().__init__("bare", url, str(path))


@attrs.frozen
class Start:
    """That an activity began: in which process, and when by `time.monotonic`, which all processes share."""

    pid: int
    at_s: float


class Diary:
    """A file in which activities note that they begin, and another that lets them end."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def note(self) -> None:
        """Note a start. Called by the activity."""
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {time.monotonic()}\n")

    def hold(self) -> None:
        """Block until it is let go. Called by the activity."""
        while not self._gate.exists():
            time.sleep(0.002)

    def let_go(self) -> None:
        """Let all that hold go on."""
        self._gate.touch()

    def starts(self) -> list[Start]:
        """List the starts so far."""
        if not self.path.exists():
            return []
        lines = (line.split() for line in self.path.read_text().splitlines())
        return [Start(int(pid), float(at_s)) for pid, at_s in lines]

    def wait_starts(self, count: int, timeout_s: float = 30.0) -> list[Start]:
        """Block until there are so many starts; give them."""
        deadline_s = time.monotonic() + timeout_s
        while len(found := self.starts()) < count:
            assert time.monotonic() < deadline_s, f"{len(found)} starts of {count} after {timeout_s} s"
            time.sleep(0.002)
        return found

    @property
    def _gate(self) -> Path:
        return self.path.with_suffix(".go")


def _host(url: str, executor: str, slots: str, *names: str) -> None:
    import rabbit_activities

    from limen import Limen

    level = os.environ.get("LIMEN_TEST_LOG", "ERROR")
    logging.basicConfig(level=level, format=f"{os.getpid()} %(asctime)s %(message)s")
    with Limen(url) as app:
        activities = [getattr(rabbit_activities, name) for name in names]
        app.worker("work", activities, executor=executor, max_concurrent=int(slots))  # type: ignore[arg-type]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        app.close(drain=READY_S)


def _asker(url: str, folder: str, name: str, count: str) -> None:
    import rabbit_activities
    from drillkit import Marks, wait_until

    from limen import Limen

    done = Marks(Path(folder) / f"done-{name}")
    with Limen(url) as app:
        for number in range(int(count)):
            activity = rabbit_activities.mark.options(key=f"{name}-{number}")
            handle = app.dispatch(activity, str(Path(folder) / f"marks-{name}"), number, 0.01)
            handle.add_done_callback(lambda _, number=number: done.note("end", "done", number))  # type: ignore[misc]
        wait_until(lambda: len(done.all()) >= int(count) // 5)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


def _bare(url: str, path: str) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(Path(path).name, lambda *_: Diary(path).note())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    channel.start_consuming()


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"host": _host, "asker": _asker, "bare": _bare}
    roles[sys.argv[1]](*sys.argv[2:])
