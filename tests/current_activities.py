"""Activities for process workers that ask about themselves and report progress."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from limen import Activity, NoCurrentActivity, activity, current


@activity(queue="work")
def about_me() -> list[Any]:
    """Say who it is, by what can be sent."""
    me = current()
    return [os.getpid(), me.attempt, me.conversation_id, me.activity_type, me.queue, me.worker_id, me.cancelled]


@activity(queue="work")
def time_left() -> list[float | None]:
    """Give the deadline and what is left until then."""
    me = current()
    return [None if me.deadline_s is None else me.deadline_s - time.monotonic(), me.remaining_s]


@activity(queue="work")
def on_a_thread_of_its_own() -> list[str]:
    """Ask on a thread that it starts, and use there what it was given."""
    seen = []
    me = current()

    def ask() -> None:
        try:
            current()
        except NoCurrentActivity as error:
            seen.append(type(error).__name__)
        me.progress("from a thread")
        seen.append(me.activity_type)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return seen


@activity(queue="work")
def resume(how: str) -> list[Any]:
    """Report, and end badly the first two times, in that way; give what was found in the third."""
    me = current()
    found = me.last_progress
    me.progress({"attempt": me.attempt, "found": found})
    me.progress({"attempt": me.attempt, "found": found, "last": True})
    if me.attempt < 3:
        end_badly(how)
    return [me.attempt, found, me.last_progress]


def end_badly(how: str) -> None:
    """Fail, or die in one of several ways."""
    match how:
        case "fail":
            raise ValueError(how)
        case "exit":
            sys.exit(3)
        case "os._exit":
            time.sleep(0.1)  # the last word of several waits its turn
            os._exit(3)
        case "kill":
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            time.sleep(0.1)
            ctypes.string_at(0)
        case "stuck":
            time.sleep(60)


@activity(queue="work")
def count_up(to: int) -> int:
    """Report every number on the way."""
    for number in range(to + 1):
        current().progress(number)
    return to


@activity(queue="work")
def report_nonsense() -> None:
    """Report what cannot be kept."""
    current().progress("before")
    current().progress(lambda: None)


@activity(queue="work")
def tidy_up(begun: str, marker: str) -> None:
    """Say that it has begun; when it is told to end, look whether it is cancelled, write that down, and end."""

    def on_sigterm(*_: object) -> None:
        told = me.wait_cancelled(5)
        Path(marker).write_text(f"{told} {me.cancelled}")
        os._exit(0)

    me = current()
    signal.signal(signal.SIGTERM, on_sigterm)
    Path(begun).write_text(str(os.getpid()))
    while True:
        time.sleep(1)


ALL: list[Activity[..., Any]] = [
    about_me,
    time_left,
    on_a_thread_of_its_own,
    resume,
    count_up,
    report_nonsense,
    tidy_up,
]
