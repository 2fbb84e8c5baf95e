"""Real threads, many at once: callers, crashes, cancels, snapshots. Each dispatch has one outcome, and only one."""

import itertools
import queue
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from limen import ActivityCancelled, ActivityFailed, Limen, PoisonActivity, activity

pytestmark = pytest.mark.slow

CALLERS, CALLS = 6, 250
TIMEOUT_S = 60
SEEDS = range(6)


@pytest.fixture(autouse=True)
def hasty_switches() -> Iterator[None]:
    """Let threads take turns as often as can be, so that they meet in more places."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual_s)


class Ledger:
    """What was run, and what each caller was told."""

    def __init__(self) -> None:
        self.ran: Counter[int] = Counter()
        self.told: Counter[int] = Counter()
        self._running = itertools.count()
        self._lock = threading.Lock()
        self.now = self.most = 0

    def run(self, number: int) -> int:
        """Count it, and how many run at the same time."""
        with self._lock:
            self.ran[number] += 1
            self.now += 1
            self.most = max(self.most, self.now)
        with self._lock:
            self.now -= 1
        return number

    def tell(self, number: int, _: object) -> None:
        """Count an outcome."""
        with self._lock:
            self.told[number] += 1


def outcome_of(handle: Any) -> Any:
    """Give the result or the error."""
    error = handle.exception(TIMEOUT_S)
    return handle.result(0) if error is None else error


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_dispatch_has_one_outcome(seed, slots):
    """DP-08, DP-14, DP-18: with callers on many threads, workers that die and cancels in between."""
    ledger = Ledger()
    sort: dict[int, str] = {}

    @activity(queue="stress", max_crashes=3)
    def work(number: int) -> int:
        ledger.run(number)
        if sort[number] == "fails":
            raise ValueError(number)
        if sort[number] == "deadly" or (sort[number] == "hurts" and ledger.ran[number] == 1):
            raise SystemExit(number)
        return number

    handles: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    numbers = itertools.count()

    with Limen() as app:
        for _ in range(2):
            app.worker("stress", [work], max_concurrent=slots)

        def call(caller: int) -> None:
            luck = random.Random(f"{seed} {caller}")
            mine: list[Any] = []
            for _ in range(CALLS):
                number = next(numbers)
                sort[number] = _CRASHES.get(number) or luck.choices(["well", "fails", "cancelled"], [90, 5, 5])[0]
                chosen = work if luck.random() < 0.8 else work.options(priority=luck.randrange(-2, 3))
                handle = app.dispatch(chosen, number)
                handle.add_done_callback(partial(ledger.tell, number))
                handles.put((number, handle))
                mine.append(handle)
                if sort[number] == "cancelled":
                    luck.choice(mine[-5:]).cancel()
                if luck.random() < 0.05:
                    mine[-1].exception(TIMEOUT_S)
                    assert all(0 <= row.in_flight <= slots for row in app.pool("stress"))

        callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(TIMEOUT_S)
            assert not caller.is_alive()
        made = dict(handles.get() for _ in range(CALLERS * CALLS))
        ends = {number: outcome_of(handle) for number, handle in made.items()}
        assert all(row.in_flight == 0 for row in app.pool("stress"))

    assert ledger.told == Counter(dict.fromkeys(made, 1))
    assert ledger.most <= 2 * slots + 2  # the thread of a worker that has died may still be ending what it ran
    for number, end in ends.items():
        assert isinstance(end, (*_ENDS[sort[number]], ActivityCancelled)), (number, sort[number], end)
        if end == number:
            assert ledger.ran[number] >= 1


_CRASHES = {50: "hurts", 200: "hurts", 500: "deadly", 800: "hurts", 801: "hurts"}
"""So few that no supervisor gives a worker up."""

_ENDS: dict[str, tuple[type, ...]] = {
    "well": (int,),
    "fails": (ActivityFailed,),
    "hurts": (int,),
    "deadly": (PoisonActivity,),
    "cancelled": (int,),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_close_in_the_midst_of_it_leaves_nobody_waiting(seed):
    """WR-08, GR-07: whoever dispatches as the application closes has a result or is told."""
    ledger = Ledger()
    luck = random.Random(seed)

    @activity(queue="stress")
    def work(number: int) -> int:
        return ledger.run(number)

    app = Limen()
    app.worker("stress", [work], max_concurrent=2)
    enough = luck.randrange(100, 2000)
    closing, ended = threading.Event(), queue.SimpleQueue[list[Any]]()

    def call() -> None:
        mine = []
        for number in itertools.count():
            try:
                mine.append(app.dispatch(work, number))
            except Exception:  # noqa: BLE001 - it is closed: told at once
                break
            if number == enough:
                closing.set()
        ended.put(mine)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    assert closing.wait(TIMEOUT_S)
    app.close()
    for caller in callers:
        caller.join(TIMEOUT_S)
        assert not caller.is_alive()

    for mine in [ended.get(timeout=TIMEOUT_S) for _ in callers]:
        assert all(handle.wait(TIMEOUT_S) for handle in mine)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_request_is_forgotten_as_slots_become_idle(seed):
    """Decision 3: callers that take it in turns with idle slots, one request at a time, all get on."""
    luck = random.Random(seed)

    @activity(queue="stress")
    def work(number: int) -> int:
        return number

    with Limen() as app:
        for _ in range(luck.randrange(1, 3)):
            app.worker("stress", [work], max_concurrent=luck.randrange(1, 3))

        def call() -> None:
            for number in range(400):
                assert app.dispatch(work, number).result(TIMEOUT_S) == number
            done.put(True)

        done: queue.SimpleQueue[bool] = queue.SimpleQueue()
        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
        assert all(done.get(timeout=TIMEOUT_S) for _ in callers)
        for caller in callers:
            caller.join(TIMEOUT_S)
