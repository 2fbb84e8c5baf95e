"""Whether a request is to blame for the deaths of its hosts: the core of it. Knows no queue and no host.

The death of a host says little: most die of something else than what they run, with much else in hand. So a request
that was there once is run again like any other. One that was there twice is set apart and run alone, with nothing
beside it that could die of it or be blamed for it. If the host dies then too, it is guilty, and all the deaths that it
was there for count. A worker in a process of its own takes no host with it, and needs none of this.
"""

from __future__ import annotations

from enum import Enum

_COINCIDENCE = 2
"""After so many deaths of hosts it is no coincidence any more."""


class Verdict(Enum):
    """What is to be done with a request that has come."""

    RUN = "run"
    """As any other."""
    SET_APART = "set apart"
    """Put it where those are that run alone."""
    RUN_ALONE = "run alone"
    """With nothing beside it on this host."""
    POISON = "poison"
    """Run it no more."""


def judge(*, is_apart: bool, lost: int, deaths_before: int, max_crashes: int, is_isolated: bool) -> Verdict:
    """Decide.

    `is_apart`: it comes from among those that run alone. `lost`: then how many hosts died while they ran it alone, else
    how often the broker got it back; `deaths_before`: how many hosts died with it before it was set apart.
    `is_isolated`: what runs it here dies without its host.
    """
    if is_apart and lost and deaths_before + lost >= max_crashes:
        return Verdict.POISON
    if is_isolated:
        return Verdict.RUN
    if is_apart:
        return Verdict.RUN_ALONE
    if deaths_before + lost >= min(_COINCIDENCE, max_crashes):
        return Verdict.SET_APART
    return Verdict.RUN
