"""The run: starts the workers, keeps the files going through them, has one process killed, and says what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from .. import Event, EventKind, Limen
from ..actors.registration import WorkerRegistration
from .activities import measure, read
from .check import differing, sample_of
from .files import large_half_way, shown
from .pipeline import UNDER_WAY, Pipeline
from .report import Report
from .saboteur import Saboteur
from .tally import Tally
from .view import News, View, Watcher, WorkerLine

READERS = 4
SLOTS = 2
"""Processes of each worker."""
STALLED_S = 180.0
"""When nothing has come back for so long, what is under way counts as lost."""
FINISH_S = 10.0
"""How long what is under way may take to finish when the run is to end."""
LOOK_S = 0.05
BRIEF_S = 0.001
NOTICED_S = 0.1
"""How long a death may take to be told; a process that had no work after all is not told of."""
SETTLE_S = 2.0
"""How long events may trail behind the last result."""
SAMPLE = 50
SHORT_SAMPLE = 10


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be done."""

    root: Path
    files: Sequence[str]
    workers: int
    crash: bool


class Run:
    """One run of the demo, on the thread that calls it. `stop` may be called on any thread, and by a signal handler."""

    def __init__(self, plan: Plan, watcher: Watcher) -> None:
        self._plan = plan
        self._watcher = watcher
        self._app = Limen("embedded:")  # whatever the environment says: it kills a process of its own
        self._events = Tally(self._app.events(size=1_000_000))
        self._pipeline = Pipeline(self._app, large_half_way(plan.files), plan.root)
        self._workers: list[WorkerRegistration] = []
        self._saboteur = Saboteur()
        self._interrupted: str | None = None
        self._began_s = time.monotonic()

    def stop(self, why: str) -> None:
        """End early: take in no more files, let those that are under way finish, and name the others."""
        self._interrupted = self._interrupted or why
        self._pipeline.wake()

    def __call__(self) -> Report:
        """Do all of it. Raises what goes wrong with the demo itself, never what goes wrong with a file."""
        with self._app:
            self._start_workers()
            self._go_through()
            if self._interrupted:
                self._finish()
            wall_s = time.monotonic() - self._began_s
            self._settle()
        self._watcher.close()
        return self._report(wall_s)

    def _start_workers(self) -> None:
        self._app.worker("io", [read], max_concurrent=READERS)
        for _ in range(self._plan.workers):
            self._workers.append(self._app.worker("cpu", [measure], executor="process", max_concurrent=SLOTS))

    def _go_through(self) -> None:
        heard_s = time.monotonic()
        while not self._pipeline.is_done and not self._interrupted and time.monotonic() - heard_s < STALLED_S:
            is_to_kill = self._is_to_kill()
            self._pipeline.feed(self._room())
            if self._pipeline.take(BRIEF_S if is_to_kill else LOOK_S):
                heard_s = time.monotonic()
            if is_to_kill:
                self._kill_one()
            self._tell_events()
            if self._watcher.wants_view():
                self._watcher.show(self._view())
        self._tell_events()
        self._watcher.show(self._view())

    def _finish(self) -> None:
        """Carry on with what is under way, for a while, and then close the application, which names what is left."""
        until_s = time.monotonic() + FINISH_S
        while self._pipeline.is_at_work and time.monotonic() < until_s:
            self._pipeline.take(LOOK_S)
            self._tell_events()
            if self._watcher.wants_view():
                self._watcher.show(self._view())
        self._app.close(drain=max(0.0, until_s - time.monotonic()))
        self._pipeline.take(0.0)
        self._tell_events()

    def _settle(self) -> None:
        """Let the events catch up with the results."""
        until_s = time.monotonic() + SETTLE_S
        while self._events.done < len(self._pipeline.outcomes) and time.monotonic() < until_s:
            self._tell_events(LOOK_S)

    # --- the kill ---------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        """Say how many files may be under way: before the kill, few enough that half-way is noticed half-way."""
        if not self._plan.crash or self._events.crashed:
            return UNDER_WAY
        return max(2 * SLOTS * self._plan.workers, min(UNDER_WAY, len(self._plan.files) // 8))

    def _is_to_kill(self) -> bool:
        is_half_way = len(self._pipeline.outcomes) >= len(self._plan.files) // 2
        return self._plan.crash and is_half_way and not self._events.crashed

    def _kill_one(self) -> None:
        kill = self._saboteur.strike(self._workers)
        if kill is None:
            return
        self._watcher.tell(News("bad", f"SIGKILL to process {kill.pid} of {kill.worker_id}"))
        until_s = time.monotonic() + NOTICED_S
        while not self._events.crashed and time.monotonic() < until_s:
            self._tell_events(LOOK_S)

    # --- what is seen of it -----------------------------------------------------------------------------------------

    def _tell_events(self, timeout_s: float = 0.0) -> None:
        for event in self._events.follow(timeout_s):
            self._watcher.tell(self._news(event))

    def _news(self, event: Event) -> News:
        if event.kind is EventKind.REGISTERED:
            return News("good", f"{event.worker_id} joined queue {event.channel_name.rpartition('.')[2]}")
        path = self._pipeline.paths.get(event.conversation_id or "")
        file = shown(path, self._plan.root) if path is not None else "nothing"
        if event.kind is EventKind.CRASHED:
            return News("bad", f"a process of {event.worker_id} is gone ({event.detail}); it had {file}")
        return News("good", f"{file} went to another process, of {event.worker_id}")

    def _view(self) -> View:
        children = {worker.worker_id: worker.children() for worker in self._workers}
        rows = [(queue, row) for queue in ("io", "cpu") for row in self._app.pool(queue)]
        return View(
            files=len(self._plan.files),
            results=self._events.results,
            failed=self._events.failed,
            elapsed_s=time.monotonic() - self._began_s,
            workers=tuple(WorkerLine(queue, row, children.get(row.worker_id, ())) for queue, row in rows),
        )

    # --- what came of it --------------------------------------------------------------------------------------------

    def _report(self, wall_s: float) -> Report:
        pipeline, events = self._pipeline, self._events
        missing = [path for path in self._plan.files if path not in pipeline.outcomes]
        interrupted = self._interrupted
        sampled, wrong = self._compare()
        return Report(
            path=str(self._plan.root),
            files=len(self._plan.files),
            results=events.results,
            failed=events.failed,
            redispatched=len(events.moved),
            crashes=len(events.crashed),
            lost=len(pipeline.lost) + (0 if interrupted else len(missing)),
            unfinished=len(missing) if interrupted else 0,
            unfinished_files=tuple(shown(path, self._plan.root) for path in missing) if interrupted else (),
            verified=sampled > 0 and not wrong,
            sampled=sampled,
            differing=tuple(shown(path, self._plan.root) for path in wrong),
            wall_s=round(wall_s, 3),
            workers=self._plan.workers,
            crash=self._plan.crash,
            killed=tuple(kill.pid for kill in self._saboteur.kills),
            moved_ms=self._moved_ms(),
            interrupted=self._interrupted,
            failures=tuple(sorted(pipeline.failures, key=lambda failure: failure.file)),
        )

    def _compare(self) -> tuple[int, list[str]]:
        """Compare a sample with a plain loop: files spread over all, and every one that was re-dispatched."""
        outcomes, before = self._pipeline.outcomes, self._interrupted
        moved = [self._pipeline.paths[event.conversation_id] for event in self._events.moved if event.conversation_id]
        decided = [path for path in self._plan.files if path in outcomes]
        sample = sample_of(decided, SHORT_SAMPLE if before else SAMPLE, [path for path in moved if path in outcomes])
        return differing(sample, outcomes, lambda: self._interrupted != before)

    def _moved_ms(self) -> float | None:
        """Say how long the work of the killed process was with nobody."""
        if not self._saboteur.kills or not self._events.moved:
            return None
        return round((self._events.moved[0].at_s - self._saboteur.kills[-1].at_s) * 1000, 3)
