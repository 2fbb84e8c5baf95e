"""The baton: many threads, of which one runs, and at every point a decider says who is next.

Knows tasks, virtual time and faults; knows nothing of actors' messages, nor of the test's verbs.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ..actors.runtime import Timer, here
from ._alarms import Alarms
from ._crew import Crew
from ._deciders import Decider
from ._errors import ActorKilled, Deadlock, SimulationEnd, SimulationError, Stalled, UncontrolledThread
from ._faults import Knobs
from ._lines import LinePoints
from ._task import Task
from ._trace import Trace, show, who_waits

logger = logging.getLogger("limen")

_get_ident = threading.get_ident


COLLECT_EVERY = 20_000
"""Steps between two garbage collections in a long run: always at the same ones, so that finalisers run alike."""


class Marker:
    """Something to wait for that nobody can answer by itself."""

    __slots__ = ("is_idle", "name")

    def __init__(self, name: str, *, is_idle: bool = True) -> None:
        self.name = name
        self.is_idle = is_idle


SETTLE = Marker("everybody to come to rest")
SLEEP = Marker("time to pass")
CLOCK = Marker("a timer")


class Scheduler:
    """Runs tasks one at a time. Everything here is called by the thread that holds the baton."""

    def __init__(
        self,
        decider: Decider,
        knobs: Knobs,
        crew: Crew,
        *,
        max_steps: int,
        stall_s: float,
        tracing: bool,
        lines: frozenset[str],
    ) -> None:
        self.decider = decider
        self.knobs = knobs
        self.now_s = 0.0
        self.steps = 0
        self.tasks: list[Task] = []
        self.ready: list[Task] = []
        self.main = self.current = Task("test")
        self.closing = False
        self.has_ended = False
        self.failure: BaseException | None = None
        self.invariants: list[Callable[[], object]] = []
        self.until: Callable[[], object] | None = None
        self.trace = Trace(self, on=tracing)
        self.faults_on = True
        self.crashes_left = knobs.most
        self._at_rest = False
        self._deciding = False
        self._crew = crew
        self._max_steps = max_steps
        self._stall_s = stall_s
        self._lines = LinePoints(lines, self._pauses_at_line, self._pause_at_line)
        self._alarms = Alarms()
        self._due: deque[Timer] = deque()
        self._clock: Task | None = None

    def adopt(self) -> None:
        """Make the calling thread the test's."""
        self.main.gate.acquire()
        self.main.ident = _get_ident()
        self.main.started = True

    # --- tasks --------------------------------------------------------------------------------------------------

    def spawn(self, name: str, body: Callable[[], object], actor: Any = None) -> Task:
        """Make a task that is ready to run. No scheduling point."""
        task = Task(name, actor)
        if actor is not None:
            task.mortal = isinstance(actor, self.knobs.crash)
            task.slow_s = self.knobs.slow_s if isinstance(actor, self.knobs.slow) else 0.0
        task.hand = self._crew.take(partial(self._live, task, body))
        task.gate = task.hand.gate
        task.ident = task.hand.thread.ident or 0
        self.tasks.append(task)
        self.wake(task)
        return task

    def enter(self, what: str) -> Task:
        """Give the task that runs, which is the one that calls. Raises in any other, and after the end."""
        me = self.whoever_calls(what)
        if me.killed is not None:
            self._resume(me)
        return me

    def whoever_calls(self, what: str) -> Task:
        """Do the same for an operation that a crash cannot break off."""
        if self.closing:
            raise SimulationEnd
        if _get_ident() != self.current.ident:
            raise self._foreign(what)
        return self.current

    def is_mine(self) -> bool:
        """Whether the calling thread is the one that runs."""
        return _get_ident() == self.current.ident and not self.closing

    def wake(self, task: Task) -> None:
        """Let a task run again."""
        if not task.queued and not task.done:
            task.queued = True
            self.ready.append(task)

    def wake_if(self, task: Task, waits: object) -> None:
        """Let a task run again if that is what it waits for."""
        if task.waits is waits:
            self.wake(task)

    def point(self, what: str, *about: Any) -> None:
        """Pass a place where others may run first, or this one may be crashed."""
        me = self.current
        if self.closing or self._deciding:
            return
        if _get_ident() != me.ident:
            raise self._foreign(what)
        if me.killed is not None:
            self._resume(me)
        if me.mortal and self._may_strike(me) and self.decider.chance(self.knobs.crash_p):
            self.crashes_left -= 1
            self.trace.note("** crash", me, "at its", what, *about)
            if me.on_vanish is not None:
                self.vanish(me)
            raise ActorKilled(f"{me.name} was crashed by the simulation")
        if self.decider.preempts(self.ready, me, self.knobs.preempt):
            self.trace.note("~~", me, "pauses before its", what, *about)
            self._give_way(me)

    def small_point(self, what: str) -> None:
        """Pass a place where others may run first, inside an operation that a crash cannot break off."""
        me = self.current
        if self.closing or self._deciding:
            return
        if _get_ident() != me.ident:
            raise self._foreign(what)
        if self.decider.preempts(self.ready, me, self.knobs.preempt):
            self.trace.note("~~", me, "pauses before its", what)
            me.shielded = True
            try:
                self._give_way(me)
            finally:
                me.shielded = False

    def _give_way(self, me: Task) -> None:
        following = self._next()
        if following is not me:
            self.wake(me)
        self._switch(me, following)

    def park(self, waits: Any, until_s: float | None = None) -> bool:
        """Let others run until somebody wakes this task, or until that time; `False` if the time has come."""
        me = self.current
        me.waits = waits
        me.timed_out = False
        timer = self.at(until_s, partial(self._expire, me, waits)) if until_s is not None else None
        try:
            self._switch(me, self._next())
        finally:
            me.waits = None
            if timer is not None:
                timer.cancel()
        return not me.timed_out

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for this task."""
        self.enter("sleep")
        until_s = self.now_s + max(0.0, seconds)
        while self.park(SLEEP, until_s):
            pass

    # --- crashes ------------------------------------------------------------------------------------------------

    def kill(self, task: Task) -> bool:
        """Crash an actor where it stands; `False` if it is at its end already."""
        if not self._is_killable(task):
            return False
        if task.on_vanish is not None:
            self.vanish(task)
            return True
        killed = ActorKilled(f"{task.name} was crashed by the simulation")
        self.trace.note("** crash", task, "handling" if task.message is not None else "", task.message)
        borrower = task.inbox.borrower if task.inbox is not None else None
        if borrower is not None:
            borrower.killed = killed
            self.wake(borrower)
            return True
        task.killed = killed
        self.wake(task)
        return True

    def vanish(self, task: Task) -> None:
        """End a task without unwinding it: no `finally`, no farewell. Its thread is parked until the end."""
        self.trace.note("**", task, "vanishes")
        task.vanished = task.done = True
        if task.queued:
            task.queued = False
            self.ready.remove(task)
        if task.on_vanish is not None:
            task.on_vanish()
        if task is self.current:
            self._switch(task, self._next())

    def _is_killable(self, task: Task) -> bool:
        if task.done or task.killed is not None:
            return False
        if task.actor is None:
            return task.on_vanish is not None
        if task.actor.actor_stopped.is_set():
            return False
        life = getattr(task.actor, "_life", None)
        return life is None or life.ended_by is None

    def _may_strike(self, task: Task) -> bool:
        return self.faults_on and self.crashes_left > 0 and self._is_killable(task)

    def _strike(self) -> None:
        if self.crashes_left <= 0 or not self.faults_on or not self.decider.chance(self.knobs.crash_p):
            return
        victims = [task for task in self.tasks if task.mortal and self._is_killable(task)]
        if victims and self.kill(victims[self.decider.choose(len(victims))]):
            self.crashes_left -= 1

    # --- time ---------------------------------------------------------------------------------------------------

    def at(self, at_s: float, callback: Callable[[], object], *, inline: bool = True) -> Timer:
        """Have something called at that time: `inline`, in between steps, or by the clock as a task like others."""
        return self._alarms.set(at_s, callback, inline=inline)

    def _expire(self, task: Task, waits: object) -> None:
        if task.waits is waits:
            task.timed_out = True
            self.wake(task)

    def _fire_next(self) -> bool:
        at_s = self._alarms.next_s()
        if at_s is None:
            return False
        timer, inline = self._alarms.pop()
        self.now_s = max(self.now_s, at_s)
        if inline:
            timer.fire()
            return True
        self._due.append(timer)
        if self._clock is None:
            self._clock = self.spawn("clock", self._tick)
            self._clock.draining = True
        self.wake_if(self._clock, CLOCK)
        return True

    def _tick(self) -> None:
        while True:
            while self._due:
                try:
                    self._due.popleft().fire()
                except SimulationEnd:
                    raise
                except BaseException:
                    logger.exception("a timer's callback failed")
            self.enter("wait for a timer")
            self.park(CLOCK)

    # --- taking turns -------------------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Have the test fail of this as soon as it runs, which is next."""
        if self.failure is None:
            self.failure = error

    def turn(self) -> None:
        """Take a step without anybody else running, unless the test wants to, or luck has it."""
        if self.closing:
            raise SimulationEnd
        me = self.current
        if self._calls_the_test():
            if me is not self.main:
                self.wake(me)
                self._switch(me, self._the_test())
            return
        self.point("next message")

    def _calls_the_test(self) -> bool:
        """Count a step, and say whether the test is to run now: something is wrong, or what it waits for is there."""
        self.steps += 1
        self._deciding = True
        try:
            if self.steps % COLLECT_EVERY == 0:
                gc.collect()
            if self.steps > self._max_steps:
                self.fail(SimulationError(f"no end after {self._max_steps} steps, at t={self.now_s:g}"))
            for check in self.invariants:
                check()
            return self.failure is not None or (self.until is not None and bool(self.until()))
        except Exception as error:  # noqa: BLE001 - an invariant or a condition of the test's
            self.fail(error)
            return True
        finally:
            self._deciding = False

    def _next(self) -> Task:
        """Decide who runs."""
        if self._calls_the_test():
            return self._the_test()
        self._deciding = True
        try:
            self._strike()
            return self._decide()
        finally:
            self._deciding = False

    def _decide(self) -> Task:
        knobs, ready = self.knobs, self.ready
        while True:
            if ready and not (knobs.early_timers and self._fires_early()):
                task = ready.pop(self.decider.pick(ready))
                task.queued = False
                return task
            if not ready and not self._fire_next():
                self._at_rest = True
                return self._the_test()

    def _fires_early(self) -> bool:
        at_s = self._alarms.next_s()
        if at_s is None or at_s - self.now_s > self.knobs.early_within_s or not self.faults_on:
            return False
        return self.decider.chance(self.knobs.early_timers) and self._fire_next()

    def _the_test(self) -> Task:
        if self.main.queued:
            self.main.queued = False
            self.ready.remove(self.main)
        return self.main

    def _switch(self, me: Task, following: Task) -> None:
        if following is not me:
            self._pass_to(following)
            if me is self.main:
                self._watch()
            else:
                me.gate.acquire()
        self._resume(me)

    def _pass_to(self, task: Task) -> None:
        self.current = task
        task.started = True
        task.gate.release()

    def _watch(self) -> None:
        """Wait for the test's turn. Its thread has nothing else to do, so it looks after the others."""
        seen = -1
        while not self.main.gate.acquire(timeout=self._stall_s):
            if self.steps == seen:
                raise self._stalled()
            seen = self.steps

    def _resume(self, me: Task) -> None:
        if self.closing:
            raise SimulationEnd
        if me is self.main:
            self._resume_test()
        if me.killed is not None and not me.shielded:
            killed, me.killed = me.killed, None
            raise killed

    def _resume_test(self) -> None:
        if self._at_rest and self.failure is None:
            self._at_rest = False
            if self.main.waits is not SETTLE:
                self.failure = Deadlock(f"nothing can run; who waits for whom:\n{who_waits(self)}")
        if self.failure is not None:
            raise self.failure

    def _live(self, task: Task, body: Callable[[], object]) -> None:
        """Run a task from its first turn to its last, on its thread."""
        here.mailbox = here.host = here.place = None
        here.draining = False
        self._lines.begin()
        try:
            body()
        except (SimulationEnd, ActorKilled):
            pass
        except BaseException as error:  # noqa: BLE001 - raised in the test, which is where somebody sees it
            self.fail(error)
        finally:
            self._lines.end()
        self._leave(task)

    def _leave(self, task: Task) -> None:
        assert task.hand is not None
        task.done = True
        if task.stuck:  # it was given up, and so was the run
            task.hand.gate.release()
            return
        for joiner, waits in task.joiners:
            self.wake_if(joiner, waits)
        following = self.main
        if not self.closing:
            self.trace.note("", task, "ended", getattr(getattr(task.actor, "_life", None), "ended_by", None))
            following = self._next()
        self._crew.give_back(task.hand)
        if self.closing:
            self.main.gate.release()
        else:
            self._pass_to(following)

    # --- lines --------------------------------------------------------------------------------------------------

    def _pauses_at_line(self) -> bool:
        return bool(self.is_mine() and not self._deciding and self.ready and self.decider.chance(self.knobs.line_p))

    def _pause_at_line(self, where: str) -> None:
        me = self.current
        self.trace.note("~~", me, f"pauses before {where}")
        self._give_way(me)

    # --- trouble and the end ------------------------------------------------------------------------------------

    def _foreign(self, what: str) -> UncontrolledThread:
        error = UncontrolledThread(
            f"thread {threading.current_thread().name!r} did a {what} in the simulation, which did not start it, "
            f"while {self.current.name} was to run; start threads as activities, or keep them away from actors"
        )
        self.fail(error)
        return error

    def _stalled(self) -> Stalled:
        task = self.current
        task.stuck = True
        frame = sys._current_frames().get(task.ident)  # noqa: SLF001 - there is no other way to a thread's stack
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "  (its thread is gone)\n"
        return Stalled(
            f"{task.name}, handling {show(task.message)}, has waited outside the simulation's control for "
            f"{self._stall_s:g} s or more; its stack:\n{stack}"
        )

    def close(self) -> None:
        """Unwind whatever has not ended. Called by the test's thread."""
        self.closing = True
        for task in self.tasks:
            if task.actor is not None:
                task.actor._ended = True  # noqa: SLF001 - an actor of a run that is over has nobody to tell
            if task.hand is None or task.stuck or (task.done and not task.vanished):
                continue
            if not task.started:
                task.done = True
                self._crew.give_back(task.hand)
                continue
            self.current = task
            task.gate.release()
            if not self.main.gate.acquire(timeout=self._stall_s):
                task.stuck = True
        self.current = self.main
        self.has_ended = True

    def forget(self) -> None:
        """Hold nothing of the run any more, so that whatever still holds this does not hold all of it."""
        for task in self.tasks:
            task.actor = task.inbox = task.message = task.on_vanish = None
            task.joiners.clear()
        for each in (self.ready, self._alarms, self._due, self.invariants):
            each.clear()
        self.until = self._clock = None
