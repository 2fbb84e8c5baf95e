"""Watching what is no actor: processes of both standard modules and asyncio tasks. One notice each, with the reason."""

import asyncio
import contextlib
import multiprocessing
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from limen.actors.watching import watch
from limen.messages.lifecycle import Down, ExitKind

WAIT_S = 20.0
"""How long a test waits for what must come. Only a failure takes as long."""

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # fork, which a user may use

METHODS = ("fork", "forkserver", "spawn")


class Notices:
    """Keeps the notices it gets, with the names of the threads that brought them."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Down, threading.Thread]] = queue.SimpleQueue()

    def __call__(self, down) -> None:
        self._queue.put((down, threading.current_thread()))

    def next(self):
        """Wait for the next notice."""
        return self._queue.get(timeout=WAIT_S)[0]

    def next_with_thread(self):
        """Wait for the next notice, and give the thread that brought it too."""
        return self._queue.get(timeout=WAIT_S)

    def none_left(self) -> bool:
        """Whether no further notice has come."""
        return self._queue.empty()


@pytest.fixture
def notices():
    """Where watches of this test report."""
    return Notices()


def _end(how, line):
    """Wait for the line, and end in the way that is asked for."""
    line.recv()
    if isinstance(how, int):
        os._exit(how)
    os.kill(os.getpid(), getattr(signal, how))
    signal.pause()


@contextlib.contextmanager
def _process(method, how):
    """Start a process that ends on a sign; give it and the function that gives the sign."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=_end, args=(how, theirs))
    process.start()
    theirs.close()
    try:
        yield process, lambda: ours.send(None)
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


@contextlib.contextmanager
def _command(code):
    """Start a Python process that runs this code once its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", f"input_ = open(0).read()\n{code}"], stdin=subprocess.PIPE
    ) as it:
        try:
            yield it
        finally:
            it.kill()


def _close_stdin(popen):
    assert popen.stdin is not None
    popen.stdin.close()


@pytest.mark.parametrize(
    "method", [pytest.param(each, marks=[pytest.mark.slow] * (each == "spawn")) for each in METHODS]
)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (0, (ExitKind.NORMAL, None, None)),
        (3, (ExitKind.ERROR, 3, None)),
        ("SIGKILL", (ExitKind.ERROR, None, "SIGKILL")),
    ],
)
def test_a_process_is_watched_whatever_started_it(method, how, reason, notices):
    """The end of a multiprocessing process is told once, with its exit code or its signal."""
    with _process(method, how) as (process, give_sign):
        watch(process, notices)
        nothing_yet = notices.none_left()
        give_sign()
        down = notices.next()
        process.join()

    assert nothing_yet
    assert down.ref is process
    assert (down.reason.kind, down.reason.exit_code, down.reason.signal) == reason
    assert notices.none_left()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", (ExitKind.NORMAL, None, None)),
        ("import os; os._exit(7)", (ExitKind.ERROR, 7, None)),
        ("import os; os.kill(os.getpid(), 15)", (ExitKind.ERROR, None, "SIGTERM")),
    ],
)
def test_a_subprocess_is_watched_and_stays_its_owners(code, reason, notices):
    """The notice has the reason, and the owner still collects the exit code himself."""
    with _command(code) as popen:
        watch(popen, notices)
        _close_stdin(popen)
        down = notices.next()
        collected_by_us = popen.returncode
        popen.wait(WAIT_S)

    assert (down.reason.kind, down.reason.exit_code, down.reason.signal) == reason
    assert collected_by_us is None
    assert notices.none_left()


@pytest.mark.parametrize("method", ["fork", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_owner_and_watcher_learn_the_same_exit_code(method, notices):
    """An owner who waits in `join` while we watch gets the right code, and so do we, time after time."""
    for code in range(1, 11):
        with _process(method, code) as (process, give_sign):
            watch(process, notices)
            owner = threading.Thread(target=process.join)
            owner.start()
            give_sign()
            told = notices.next().reason.exit_code
            owner.join()

            assert (told, process.exitcode) == (code, code)


def test_an_owner_who_waits_for_a_subprocess_does_not_hide_its_end(notices):
    """Whoever collects the exit code, the notice has it."""
    for code in range(1, 11):
        with _command(f"import os; os._exit({code})") as popen:
            watch(popen, notices)
            owner = threading.Thread(target=popen.wait)
            owner.start()
            _close_stdin(popen)
            told = notices.next().reason.exit_code
            owner.join()

            assert (told, popen.returncode) == (code, code)


def test_what_has_ended_before_is_gone(notices):
    """A watch on the dead is answered at once, with `noproc`, whatever it was."""
    with _process("fork", 0) as (process, give_sign):
        give_sign()
        process.join()
        watch(process, notices)
        ended = notices.next()
    watch(process, notices)
    closed = notices.next()
    with _command("") as popen:
        popen.communicate()
    watch(popen, notices)
    collected = notices.next()

    assert {down.reason.kind for down in (ended, closed, collected)} == {ExitKind.NOPROC}


def test_a_process_that_was_never_started_is_refused(notices):
    """It has no end to be told of; the mistake is the watcher's."""
    with pytest.raises(ValueError, match="start it, then watch it"):
        watch(multiprocessing.Process(target=print), notices)


def test_a_process_cannot_watch_itself(notices):
    """Nobody would be left to be told."""
    with pytest.raises(ValueError, match="itself"):
        watch(multiprocessing.current_process(), notices)


def test_what_is_no_participant_is_refused(notices):
    """Only what can end can be watched."""
    with pytest.raises(TypeError, match="cannot watch a dict"):
        watch({}, notices)


def test_a_process_object_may_be_closed_while_it_is_watched(notices):
    """The owner's `close` takes his descriptors away, not the notice."""
    with _process("fork", 5) as (process, give_sign):
        closed = multiprocessing.get_context("fork").Process(target=_close_nothing)
        closed.start()
        watch(closed, notices)
        closed.join()
        closed.close()
        first = notices.next()
        watch(process, notices)
        give_sign()
        second = notices.next()

    assert first.ref is closed
    assert second.reason.exit_code == 5


def _close_nothing():
    """Just end."""


def test_a_watch_that_is_called_off_stays_silent(notices):
    """After `cancel` nobody is told; other watches on the same process are."""
    others = Notices()
    with _process("fork", 0) as (process, give_sign):
        watch(process, notices).cancel()
        watch(process, others)
        give_sign()
        others.next()

    assert notices.none_left()


def test_every_watch_on_a_process_is_told_once(notices):
    """Watches are independent of each other."""
    with _process("fork", 0) as (process, give_sign):
        for _ in range(20):
            watch(process, notices)
        give_sign()
        refs = [notices.next().ref for _ in range(20)]

    assert refs == [process] * 20
    assert notices.none_left()


def test_a_watcher_that_fails_keeps_nobody_from_being_told(notices, caplog):
    """Its error is logged."""

    def fail(down):
        notices(down)
        raise LookupError("nobody there")

    with _process("fork", 0) as (process, give_sign):
        watch(process, fail)
        watch(process, notices)
        give_sign()
        notices.next()
        _, thread = notices.next_with_thread()
    thread.join(WAIT_S)

    assert "failed to take the notice" in caplog.text
    assert "nobody there" in caplog.text


def test_the_watching_thread_ends_with_the_last_watch(notices):
    """While something is watched there is one thread for all; afterwards there is none."""
    with _process("fork", 0) as (one, give_sign), _process("fork", 0) as (other, give_other_sign):
        watch(one, notices)
        watch(other, notices)
        give_sign()
        _, first_thread = notices.next_with_thread()
        give_other_sign()
        _, second_thread = notices.next_with_thread()

    assert first_thread is second_thread
    second_thread.join(WAIT_S)
    assert not second_thread.is_alive()


def test_watching_costs_no_cpu_while_nothing_happens(notices):
    """Between the watch and the end of what is watched, this process does next to nothing."""
    with subprocess.Popen(["sleep", "0.2"]) as popen:
        watch(popen, notices)
        began_s = time.process_time()
        notices.next()

        assert time.process_time() - began_s < 0.05


def test_a_hundred_processes_take_one_thread(notices):
    """Each is told of once, and by the same thread."""
    _watch_many(100, notices)


@pytest.mark.slow
def test_a_thousand_processes_take_one_thread(notices):
    """As with a hundred."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        _watch_many(1000, notices)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _watch_many(count, notices):
    before = threading.active_count()
    with contextlib.ExitStack() as all_of_them:
        popens = [all_of_them.enter_context(subprocess.Popen(["sleep", "600"])) for _ in range(count)]
        for popen in popens:
            watch(popen, notices)
        threads = threading.active_count() - before
        for popen in popens:
            popen.kill()
        downs = [notices.next() for _ in range(count)]

    assert threads <= 2
    assert {id(down.ref) for down in downs} == {id(popen) for popen in popens}
    assert {down.reason.signal for down in downs} == {"SIGKILL"}
    assert notices.none_left()


# --- asyncio tasks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "kind", "error_type"),
    [("return", ExitKind.NORMAL, None), ("raise", ExitKind.ERROR, "LookupError"), ("cancel", ExitKind.KILLED, None)],
)
def test_a_task_is_watched_from_its_loop(how, kind, error_type, notices):
    """Return, exception and cancellation are told apart."""

    async def scene():
        task, sign = _task(how)
        watch(task, notices)
        sign()
        await asyncio.wait([task])

    asyncio.run(scene())
    down = notices.next()

    assert (down.reason.kind, down.reason.error_type) == (kind, error_type)
    assert notices.none_left()


def _task(how):
    sign = asyncio.Event()

    async def work():
        await sign.wait()
        if how == "raise":
            raise LookupError("nothing there")

    task = asyncio.create_task(work())
    return task, (task.cancel if how == "cancel" else sign.set)


def test_a_task_is_watched_from_another_thread(notices):
    """The watch is set up on the task's loop, whoever asks for it."""

    async def scene():
        task, sign = _task("return")
        await asyncio.to_thread(watch, task, notices)
        sign()
        await task

    asyncio.run(scene())

    assert notices.next().reason.is_normal
    assert notices.none_left()


def test_a_task_that_is_done_is_gone(notices):
    """As any other participant that ended before."""

    async def scene():
        task, sign = _task("return")
        sign()
        await task
        watch(task, notices)

    asyncio.run(scene())

    assert notices.next().reason.kind is ExitKind.NOPROC


def test_a_task_on_a_closed_loop_is_gone(notices):
    """It will never go on, so nobody waits for its end."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(task)
    pending = loop.create_task(asyncio.sleep(600))
    vars(type(pending))["_log_destroy_pending"].__set__(pending, False)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    watch(pending, notices)

    assert notices.next().reason.kind is ExitKind.NOPROC


def test_a_thousand_tasks_take_no_thread(notices):
    """A task tells of its end itself."""

    async def scene():
        before = threading.active_count()
        pairs = [_task("return") for _ in range(1000)]
        for task, _ in pairs:
            watch(task, notices)
        threads = threading.active_count() - before
        for _, sign in pairs:
            sign()
        await asyncio.wait([task for task, _ in pairs])
        return threads

    threads = asyncio.run(scene())

    assert threads == 0
    assert sum(notices.next().reason.is_normal for _ in range(1000)) == 1000


def test_neither_asyncio_nor_multiprocessing_is_loaded_to_know_a_task_or_a_process(run_python):
    """Whoever watches actors only does not pay for processes."""
    done = run_python(
        "-c", "import sys, limen.actors.participants, limen.actors.watching; print('multiprocessing' in sys.modules)"
    )

    assert done.stdout == "False\n"
