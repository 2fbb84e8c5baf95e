"""`Simulation`: one run, and the verbs with which a test drives it."""

from __future__ import annotations

import gc
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self, TypeVar

from pykka import ActorRef, ActorRegistry

from ..actors.links import LinkedActor
from ..actors.registration import WorkerRegistration
from ..actors.runtime import install
from ._crew import Crew, on_one_core
from ._deciders import Decider, Pct, Seeded
from ._errors import Deadlock, SimulationError
from ._faults import NO_FAULTS, Faults, Knobs
from ._patches import patched
from ._routes import HELD, Rule
from ._runtime import SimulatedRuntime
from ._scheduler import SETTLE, Marker, Scheduler
from ._task import Task
from ._trace import is_blocked, who_waits

T = TypeVar("T")
C = TypeVar("C", bound=Callable[[], object])

Target = ActorRef[Any] | WorkerRegistration | str
"""An actor, a worker by its registration, or the name of a task as the trace shows it."""

UNTIL = Marker("a condition of the test's")


class Clock:
    """The virtual clock."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    @property
    def now_s(self) -> float:
        """Seconds since the beginning of the run."""
        return self._scheduler.now_s

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and everything happen that happens in it."""
        self._scheduler.sleep(seconds)


class Simulation:
    """One run. Use it in a `with` block; inside, `limen` works as everywhere, one step at a time.

    The test's own calls (`app.dispatch`, `handle.result`, `ref.ask`) let the others run as they would with threads. All
    methods are for the test's thread; what `invariant` registers may only look.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        faults: Faults = NO_FAULTS,
        decider: Decider | None = None,
        lines: Iterable[Any] = (),
        max_steps: int = 200_000,
        stall_s: float = 5.0,
        tracing: bool = True,
        crew: Crew | None = None,
    ) -> None:
        """`lines`: modules of which every line is a point at which others may run.

        `max_steps` bounds a run that does not end; `stall_s`, in real seconds, one that waits for the real world.
        """
        self.seed = seed
        knobs = faults.knobs(seed)
        self.knobs: Knobs = knobs
        self.decider = decider or (Pct(seed, knobs.pct) if knobs.pct else Seeded(seed))
        self._crew = crew or Crew()
        self._owns_crew = crew is None
        self._scheduler = Scheduler(
            self.decider,
            knobs,
            self._crew,
            max_steps=max_steps,
            stall_s=stall_s,
            tracing=tracing,
            lines=frozenset(getattr(module, "__file__", module) for module in lines),
        )
        self.runtime = SimulatedRuntime(self._scheduler, seed)
        self.clock = Clock(self._scheduler)
        self.random = random.Random(f"test {seed}")
        """Luck for the test itself, by the seed."""
        self.reached: dict[str, int] = {}
        """How often each `sometimes` was true."""
        self._open = ExitStack()
        self._known: frozenset[str] = frozenset()

    # --- the block ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Install the simulated runtime."""
        if self._scheduler.main.started:
            msg = "a simulation runs once; make another"
            raise SimulationError(msg)
        self._known = frozenset(ref.actor_urn for ref in ActorRegistry.get_all())
        self._scheduler.adopt()
        self._open.callback(on_one_core())
        old = install(self.runtime)
        self._open.callback(install, old)
        self._open.enter_context(patched(self.runtime, self.seed))
        if gc.isenabled():
            gc.disable()
            self._open.callback(gc.enable)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End everything that still runs. A failure that nobody has seen so far is raised."""
        logger_level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # those that are unwound have nothing to report
        try:
            self._scheduler.close()
            self._forget_actors()
        finally:
            logging.disable(logger_level)
            self._open.close()
            if self._owns_crew:
                self._crew.close()
        failure = self._scheduler.failure
        if kind is None and failure is not None:
            raise failure

    def _forget_actors(self) -> None:
        for ref in ActorRegistry.get_all():
            if ref.actor_urn not in self._known:
                ActorRegistry.unregister(ref)
        for task in self._scheduler.tasks:
            book = getattr(task.actor, "_book", None)
            if book is not None:
                book.closed = True  # so that nothing that is dropped later starts a channel again
        self._scheduler.forget()
        self.runtime.shared.clear()

    # --- letting others run -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everybody run, and time pass, until nothing can run any more. Raises `Deadlock` if somebody waits."""
        scheduler = self._scheduler
        scheduler.enter("settle")
        scheduler.park(SETTLE)
        if any(is_blocked(task) for task in scheduler.tasks):
            raise Deadlock(f"nothing can run; who waits for whom:\n{who_waits(scheduler)}")

    def run(self, until: Callable[[], object]) -> None:
        """Let everybody run until the condition holds, which is looked at before every step."""
        self._run_until(until)
        if not until():
            raise Deadlock(f"all is at rest and the condition does not hold; who waits:\n{who_waits(self._scheduler)}")

    def step(self, count: int = 1) -> None:
        """Let others take so many steps."""
        end = self._scheduler.steps + count
        self._run_until(lambda: self._scheduler.steps > end)

    def _run_until(self, until: Callable[[], object]) -> None:
        scheduler = self._scheduler
        scheduler.enter("run")
        scheduler.until = until
        try:
            scheduler.park(SETTLE)
        finally:
            scheduler.until = None

    def run_async(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the test's on an event loop in virtual time."""
        import asyncio

        with asyncio.Runner(loop_factory=self.runtime.create_event_loop) as runner:
            return runner.run(coroutine)

    # --- faults -------------------------------------------------------------------------------------------------

    def crash(self, target: Target) -> bool:
        """Crash an actor or a simulated child where it stands, in the middle of a message too; `False` if it is dead.

        What it was doing is broken off at its next send, answer or wait. A worker's threads go on, as they would.
        """
        return self._scheduler.kill(self.task(target))

    def hold(self, sender: Target, receiver: Target) -> None:
        """Keep back what one sends the other, until `release` or `heal`. Names may have `*` in them."""
        self._rule(sender, receiver, HELD)

    def delay(self, sender: Target, receiver: Target, seconds: float) -> None:
        """Let what one sends the other arrive so much later, in order."""
        self._rule(sender, receiver, seconds)

    def release(self, sender: Target = "*", receiver: Target = "*") -> None:
        """Hold and delay no more between the two; what was held arrives now."""
        names = self._name(sender), self._name(receiver)
        self.runtime.routes.drop(lambda rule: names not in {("*", "*"), (rule.sender, rule.receiver)})

    def slow(self, target: Target, seconds: float) -> None:
        """Let an actor take so much longer over each message."""
        self.task(target).slow_s = seconds

    def faulty(self, owner: Any, method: str, p: float, error: BaseException | type[BaseException]) -> None:
        """Let a method of an object, a class or a module fail so often, until the end of the run."""
        real = getattr(owner, method)
        scheduler = self._scheduler

        def fail_sometimes(*args: Any, **kwargs: Any) -> Any:
            if scheduler.faults_on and scheduler.is_mine() and scheduler.decider.chance(p):
                scheduler.trace.note("**", f"{method} fails for", scheduler.current)
                raise error
            return real(*args, **kwargs)

        self._replace(owner, method, fail_sometimes)

    def _replace(self, owner: Any, name: str, ours: Any) -> None:
        own = vars(owner).get(name, self) if hasattr(owner, "__dict__") else self
        setattr(owner, name, ours)
        if own is self:
            self._open.callback(delattr, owner, name)
        else:
            self._open.callback(setattr, owner, name, own)

    @contextmanager
    def calm(self) -> Iterator[None]:
        """Have no faults inside a block, such as one that sets the scene."""
        before, self._scheduler.faults_on = self._scheduler.faults_on, False
        try:
            yield
        finally:
            self._scheduler.faults_on = before

    def heal(self) -> None:
        """No faults from now on, and nothing held back: now all must recover."""
        self._scheduler.faults_on = False
        self.release()

    def _rule(self, sender: Target, receiver: Target, delay_s: float) -> None:
        self.runtime.routes.rules.append(Rule(self._name(sender), self._name(receiver), delay_s))

    def _name(self, target: Target) -> str:
        return target if isinstance(target, str) else self.task(target).name

    # --- claims -------------------------------------------------------------------------------------------------

    def invariant(self, check: C) -> C:
        """Have a function called at every step; it raises what is wrong. It must only look, and fast."""
        self._scheduler.invariants.append(check)
        return check

    def sometimes(self, name: str, condition: object) -> None:
        """Claim that this is true in some run. The test fails if it was true in none: then it proves little."""
        self.reached[name] = self.reached.get(name, 0) + bool(condition)

    # --- looking: safe at any time, for all others are parked ---------------------------------------------------

    def task(self, target: Target) -> Task:
        """Give the task of an actor, or of that name. Raises `LookupError`."""
        if isinstance(target, WorkerRegistration):
            target = target.participant
        for task in reversed(self._scheduler.tasks):
            if task.name == target if isinstance(target, str) else task.actor is not None and _is(task.actor, target):
                return task
        raise LookupError(f"{target} is not in this simulation; there are {', '.join(self.names) or 'none'}")

    @property
    def names(self) -> list[str]:
        """Name all tasks that have not ended, in the order of their start."""
        return [task.name for task in self._scheduler.tasks if not task.done]

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return self._scheduler.steps

    @property
    def events(self) -> list[str]:
        """The trace so far."""
        return self._scheduler.trace.events

    @property
    def decided(self) -> list[int]:
        """For each event of the trace, how many choices had been made."""
        return self._scheduler.trace.decided

    def actor(self, target: Target) -> Any:
        """Give the actor itself, to be looked at."""
        return self.task(target).actor

    def actors(self, kind: type[LinkedActor]) -> list[Any]:
        """Give all live actors of a class, in the order of their start."""
        return [each.actor for each in self._scheduler.tasks if isinstance(each.actor, kind) and not each.done]

    def handling(self, target: Target) -> Any:
        """Give the message that an actor is in the middle of; `None` between messages."""
        task = self.task(target)
        borrower = task.inbox.borrower if task.inbox is not None else None
        return task.message if borrower is None else borrower

    def pending(self, target: Target) -> list[object]:
        """List the messages in an actor's inbox, in the order in which it will get them."""
        inbox = self.task(target).inbox
        pending: list[object] = inbox.pending()
        return pending

    def dead(self, target: Target) -> bool:
        """Whether it has ended, its last notice sent."""
        return self.task(target).done


def _is(actor: Any, ref: Any) -> bool:
    return bool(getattr(actor, "actor_urn", None) == getattr(ref, "actor_urn", ref))
