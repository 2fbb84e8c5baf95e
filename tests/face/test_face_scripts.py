"""Whole scripts: left by Ctrl-C, or without closing, or run where children cannot import them."""

import os
import signal
import subprocess
import sys
import time

import attrs
import pytest

HOLD = """
import sys, threading, time
from limen import Limen, activity

@activity
def hold() -> None:
    print("begun", flush=True)
    while True:
        time.sleep(0.05)

@activity
async def hold_async() -> None:
    import asyncio
    print("begun", flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    kind = sys.argv[1]
    work = hold_async if kind == "asyncio" else hold
    with Limen() as app:
        app.worker("default", [work], executor=kind)
        app.dispatch(work).result()
"""

AWAIT = """
import asyncio, threading
from limen import Limen, activity

@activity
async def hold() -> None:
    print("begun", flush=True)
    await asyncio.Event().wait()

async def main():
    async with Limen() as app:
        app.worker("default", [hold])
        await app.dispatch(hold)

asyncio.run(main())
"""

FORGETFUL = """
import sys
from limen import Limen, activity

@activity
def double(number: int) -> int:
    return 2 * number

@activity
async def triple(number: int) -> int:
    return 3 * number

if __name__ == "__main__":
    kind = sys.argv[1]
    work = triple if kind == "asyncio" else double
    app = Limen()
    app.worker("default", [work], executor=kind, max_concurrent=2)
    events = app.events()
    print(app.dispatch(work, 7).result(timeout=30))
"""

NO_GUARD = """
from limen import Limen, activity

@activity
def double(number: int) -> int:
    return 2 * number

with Limen() as app:
    app.worker("default", [double], executor="process")
    print(app.dispatch(double, 7).result(timeout=30))
"""


@attrs.frozen
class Ended:
    """How a script ended that was interrupted."""

    returncode: int
    seconds: float
    output: str


@pytest.fixture
def interrupt(tmp_path):
    """Run a script, send its process group SIGINT when it says that it has begun, and see it end."""
    running: list[subprocess.Popen[str]] = []

    def run(text: str, *args: str) -> Ended:
        script = tmp_path / "script.py"
        script.write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        began_s = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        return Ended(process.returncode, time.monotonic() - began_s, output)

    yield run
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thread", "asyncio", "process"])
def test_ctrl_c_leaves_the_block_quickly(interrupt, kind):
    """Within three seconds, with the one traceback of the interrupt, none from threads or children."""
    ended = interrupt(HOLD, kind)

    assert ended.returncode == -signal.SIGINT
    assert ended.seconds < 3
    assert ended.output.count("Traceback") == 1
    assert ended.output.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.slow
def test_ctrl_c_leaves_the_async_block_quickly(interrupt):
    """The same in an event loop, which asyncio ends with `KeyboardInterrupt` of its own."""
    ended = interrupt(AWAIT)

    assert ended.returncode == -signal.SIGINT
    assert ended.seconds < 3
    assert "never" not in ended.output
    assert ended.output.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thread", "asyncio", "process"])
def test_a_script_that_forgets_to_close_still_ends(run_python, tmp_path, kind):
    """GR-08: by itself, at once, silently, and with no process left behind."""
    script = tmp_path / "script.py"
    script.write_text(FORGETFUL)

    done = run_python("-W", "error", script, kind, timeout_s=30)

    assert (done.returncode, done.stdout) == (0, "21\n" if kind == "asyncio" else "14\n")


@pytest.mark.slow
def test_a_script_without_a_guard_says_what_is_missing(run_python, tmp_path):
    """Children import the main module; the error in them names the line that is needed, and nothing hangs."""
    script = tmp_path / "script.py"
    script.write_text(NO_GUARD)

    done = run_python(script, timeout_s=60)

    assert done.returncode != 0
    assert '__name__ == "__main__"' in done.stdout


@pytest.mark.slow
def test_a_script_from_stdin_cannot_have_process_workers(tmp_path):
    """Children have no file to import; the dispatch fails, and does not hang."""
    done = subprocess.run(
        [sys.executable, "-"],
        input=FORGETFUL.replace("sys.argv[1]", "'process'"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
