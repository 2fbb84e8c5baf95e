"""Turns a seed that failed into something to read: confirmed, shortened, with its trace and its token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ._deciders import Decider, Replay
from ._errors import NotReproduced, SimulationFailed
from ._shrink import Shrunk, shrink
from ._tokens import write_token

MAX_EVENTS = 60
"""Lines of a trace that are printed; of a longer one, the last."""


@attrs.frozen(kw_only=True)
class Run:
    """One run of a test that is over."""

    seed: int
    decider: Decider
    events: list[str]
    decided: list[int]
    """For each event, how many choices had been made."""
    error: BaseException | None
    reached: dict[str, int]

    @property
    def site(self) -> tuple[Any, ...]:
        """Where it failed: the exception's class and the innermost line."""
        error = self.error
        assert error is not None
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        where = (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno) if traceback is not None else ()
        return type(error), *where


Again = Callable[[int, Decider | None], Run]
"""Runs the test once more, with a trace."""


def explain(failed: Run, again: Again, test_name: str) -> SimulationFailed | NotReproduced:
    """Run a failed seed again, shorten it, and say what happened."""
    second = again(failed.seed, None)
    third = again(failed.seed, None)
    for one, other in ((failed, second), (second, third)):
        difference = _difference(one, other)
        if difference is not None:
            text = f"seed {failed.seed} failed, and did not go the same way again: {difference}\n  it had failed with: "
            return NotReproduced(f"{text}{_told(failed.error)}")

    def run(choices: Sequence[int]) -> Sequence[int] | None:
        made = again(failed.seed, Replay(choices))
        return made.decider.choices if made.error is not None and made.site == failed.site else None

    shrunk = shrink(run, failed.decider.choices)
    shortest = again(failed.seed, Replay(shrunk.choices))
    return SimulationFailed(_text(failed, shortest, shrunk, test_name))


def explain_replay(run: Run) -> SimulationFailed:
    """Say what happened in a run that was asked for by its token."""
    return SimulationFailed(f"{_told(run.error)}\n  replayed seed {run.seed}:\n{_lines(run.events)}")


def _text(failed: Run, shortest: Run, shrunk: Shrunk, test_name: str) -> str:
    ordinary = sum(map(bool, failed.decider.choices))
    token = write_token(failed.seed, shrunk.choices)
    return (
        f"{_told(shortest.error or failed.error)}\n"
        f"  seed {failed.seed}; {shrunk.interesting} decisions out of the ordinary "
        f"(of {ordinary}; {shrunk.runs} runs to shrink), {len(shortest.events)} events:\n"
        f"{_lines(shortest.events)}\n"
        f"  replay: pytest -k {test_name} --sim-replay={token}"
    )


def _told(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _lines(events: Sequence[str]) -> str:
    shown = events[-MAX_EVENTS:]
    left_out = [f"    … {len(events) - len(shown)} events before"] if len(shown) < len(events) else []
    return "\n".join([*left_out, *(f"    {each}" for each in shown)])


def _difference(one: Run, other: Run) -> str | None:
    """Name the first decision that differed, if any did."""
    pairs = [list(zip(run.decider.choices, run.decider.options, strict=True)) for run in (one, other)]
    at = next((i for i, (a, b) in enumerate(zip(*pairs, strict=False)) if a != b), min(map(len, pairs)))
    if at == len(pairs[0]) == len(pairs[1]):
        if (one.error is None) == (other.error is None) and (one.error is None or one.site == other.site):
            return None
        return f"every decision was the same, but it ended with {_told(other.error) if other.error else 'success'}"
    shown = [f"{pair[at][0]} of {pair[at][1]}" if at < len(pair) else "none" for pair in pairs]
    return (
        f"decision {at} was {shown[0]}, then {shown[1]}; something in the test depends on more than the seed "
        f"(a set's order, a real clock, a thread of its own).{_around(other, at)}"
    )


def _around(run: Run, at: int) -> str:
    before = [event for event, decided in zip(run.events, run.decided, strict=True) if decided <= at]
    return "\n  what came before it:\n" + _lines(before[-5:]) if before else ""
