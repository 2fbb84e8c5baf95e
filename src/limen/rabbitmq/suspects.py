"""Requests that may have killed their hosts: who is set apart, run alone, or given up. Runs on the I/O thread."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Protocol

import attrs

from ..actors.runtime import runtime
from ._intake import Intake
from ._ledger import Held
from ._solitude import Solitude
from ._suspicion import Verdict, judge
from .codec import Treatment
from .io import BrokerIO
from .topology import Lane, Route
from .trials import Trials

logger = logging.getLogger("limen")

_RETRY_S = 1.0


class Bench(Protocol):
    """What a host does with a request once it has been judged."""

    def begin(self, held: Held) -> None:
        """Let it run."""

    def pass_on(self, held: Held, route: Route, treatment: Treatment | None = None) -> None:
        """Put it at the end of a queue, perhaps to be treated in another way."""

    def condemn(self, held: Held, deaths: int) -> None:
        """Give it up as poison."""

    def forget(self, held: Held) -> None:
        """Know nothing of it any more: the broker has it back."""

    def hand_back_but(self, held: Held) -> None:
        """Send back what has not begun, but for this one."""

    def count(self) -> int:
        """Count what is held."""
        ...


class Suspects:
    """What one host does about them."""

    def __init__(
        self, bench: Bench, io: BrokerIO, intake: Intake, trials: Trials, announce_lane: Callable[[Route], object]
    ) -> None:
        self._bench = bench
        self._later = io.later
        self._intake = intake
        self._trials = trials
        self._announce_lane = announce_lane
        self._solitude = Solitude(self, runtime().now)

    def take(self, held: Held, *, is_isolated: bool) -> None:
        """Run a request that has come, unless it may have killed its hosts.

        `is_isolated`: what would run it here dies without its host.
        """
        if held.route.lane is Lane.SUSPECT:
            self._trials.count(held, functools.partial(self._counted, held, is_isolated=is_isolated))
        else:
            self._judge(held, held.delivery.lost_before, is_isolated=is_isolated)

    def _counted(self, held: Held, trials: int | None, *, is_isolated: bool) -> None:
        if trials is None:
            self._bench.forget(held)
        else:
            self._judge(held, trials, is_isolated=is_isolated)

    def _judge(self, held: Held, lost: int, *, is_isolated: bool) -> None:
        treatment = held.treatment
        verdict = judge(
            is_apart=held.route.lane is Lane.SUSPECT,
            lost=lost,
            deaths_before=treatment.host_deaths,
            max_crashes=treatment.max_crashes,
            is_isolated=is_isolated,
        )
        deaths = treatment.host_deaths + lost
        match verdict:
            case Verdict.RUN:
                self._bench.begin(held)
            case Verdict.RUN_ALONE:
                self._solitude.want(held)
            case Verdict.SET_APART:
                kind = held.call.activity_type
                logger.warning("%s %s was with %d hosts that died: it runs alone now", kind, held.name, deaths)
                self._set_apart(held, deaths)
            case Verdict.POISON:
                self._bench.condemn(held, deaths)

    def _set_apart(self, held: Held, deaths: int) -> None:
        """Put it where those are that run alone, and see to it that somebody takes from there."""
        lane = attrs.evolve(held.route, lane=Lane.SUSPECT)
        treatment = attrs.evolve(held.treatment, host_deaths=deaths)

        def made(problem: str | None) -> None:
            if problem is None:
                self._bench.pass_on(held, lane, treatment)
            else:
                self._not_now(held, problem, functools.partial(self._set_apart, held, deaths))

        if self._intake.add_lane(lane):
            self._announce_lane(lane)
        self._intake.when_ready(made)

    def leave(self) -> None:
        """Hold it against none that it is left undone: its host ends in good order."""
        alone = self._solitude.alone
        if alone is not None:
            self._trials.end(alone)

    def look(self) -> None:
        """See whether the time has come for one that is to run alone. Called now and then."""
        self._solitude.look()

    def ended(self, held: Held) -> None:
        """It is over, or has gone elsewhere; a suspect, or any other."""
        self._solitude.ended(held)

    def acquit(self, held: Held) -> None:
        """It has come to an end with its host alive, so what was noted against it counts no more."""
        if held.route.lane is Lane.SUSPECT:
            self._trials.end(held)

    # --- what solitude wants ------------------------------------------------------------------------------------

    def close_doors(self, but_for: Held, then: Callable[[], object]) -> None:
        """Take nothing more, send back what has not begun, and say when nothing can come any more."""
        self._intake.shut(then)
        self._bench.hand_back_but(but_for)

    def open_doors(self) -> None:
        """Take requests again."""
        self._intake.reopen()

    def others(self, held: Held) -> int:
        """Count what is held besides this one."""
        return self._bench.count() - 1

    def begin(self, held: Held) -> None:
        """Let it begin, once that has been noted."""

        def noted(problem: str | None) -> None:
            if problem is None:
                self._bench.begin(held)
            else:
                self._not_now(held, problem, functools.partial(self.begin, held))

        self._trials.begin(held, noted)

    def _not_now(self, held: Held, problem: str, again: Callable[[], object]) -> None:
        """What is to be made at the broker cannot be: give it back with its connection, or try on while that lasts."""
        session = self._intake.session
        if session is None or session.number != held.delivery.session:
            self._bench.forget(held)
            return
        logger.warning("%s waits, as it cannot be set apart: %s", held.name, problem)
        self._later(_RETRY_S, again)

    def send_away(self, held: Held) -> None:
        """Let another host have it."""
        self._bench.pass_on(held, held.route)
