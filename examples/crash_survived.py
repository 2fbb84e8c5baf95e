"""A child process is killed with SIGKILL in the middle of its work, and every result arrives all the same."""

import os
import signal
import tempfile
import time
from pathlib import Path

from limen import EventKind, Limen, activity


@activity(queue="numbers")
def square(number: int, doorbell: Path) -> int:
    """Say which process this is to whoever listens at the doorbell, and then hang; without a doorbell, do the work."""
    if number == 7 and doorbell.exists():
        doorbell.write_text(str(os.getpid()))  # blocks until somebody reads it
        time.sleep(60)
    return number * number


def main() -> None:
    """Kill the process that has number 7, once."""
    with tempfile.TemporaryDirectory() as folder, Limen() as app:
        doorbell = Path(folder) / "doorbell"
        os.mkfifo(doorbell)
        app.worker("numbers", [square], max_concurrent=2, executor="process")
        events = app.events()
        handles = [app.dispatch(square, number, doorbell) for number in range(20)]

        pid = int(doorbell.read_text())  # blocks until number 7 is being worked on
        doorbell.unlink()
        os.kill(pid, signal.SIGKILL)
        print(f"killed process {pid} in the middle of number 7")

        results = [handle.result(timeout=30) for handle in handles]
        assert results == [number * number for number in range(20)]
        assert handles[7].crashes == 1
        tries = len(handles[7].attempts)
        print(f"all {len(results)} results are there; number 7 took {tries} tries")

    crashes = [event for event in events if event.kind is EventKind.CRASHED]
    assert [event.conversation_id for event in crashes] == [handles[7].id]
    print(f"the record says: {crashes[0].activity_type} crashed, {crashes[0].detail}")


if __name__ == "__main__":
    main()
