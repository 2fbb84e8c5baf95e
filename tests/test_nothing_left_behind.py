"""The check that every test is under: it sees what stays, waits for what is ending, and forgives the infrastructure."""

import subprocess
import sys
import threading

import pykka


def test_a_running_thread_is_named(footprint):
    """A thread that a test leaves behind is reported by its name."""
    before = footprint()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="left-over")
    thread.start()

    left = before.left_behind(grace_s=0)

    release.set()
    thread.join()
    assert left == ["thread 'left-over'"]
    assert before.left_behind() == []


def test_an_ending_thread_is_waited_for(footprint):
    """A thread that ends within the grace period is no leak, and nobody polls for it."""
    before = footprint()
    started = threading.Event()
    threading.Thread(target=started.set).start()
    started.wait(5)

    assert before.left_behind() == []


def test_infrastructure_threads_may_stay(footprint):
    """The long-lived threads of the runtime are known by their names."""
    before = footprint()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="limen-timer-0")
    thread.start()

    left = before.left_behind(grace_s=0)

    release.set()
    thread.join()
    assert left == []


def test_a_live_actor_is_named(footprint):
    """An actor that a test does not stop is reported by class and URN."""
    before = footprint()
    ref = pykka.ThreadingActor.start()

    left = before.left_behind(grace_s=0)

    ref.stop()
    assert any(ref.actor_urn in line for line in left)
    assert before.left_behind() == []


def test_a_live_child_process_is_named(footprint):
    """A child process that a test leaves running is reported with its command line."""
    before = footprint()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        left = before.left_behind(grace_s=0)
        child.communicate(b"\n")

    assert [line.split(":")[0] for line in left] == [f"process {child.pid}"]
    assert before.left_behind() == []
