"""Which of a channel's policies hold at a score, without flapping at the edge. Source: behaviours BP-09, BP-11."""

from __future__ import annotations

from collections.abc import Iterable

from ...messages.errors import ConfigError
from ...messages.pressure import PressurePolicy

MARGIN = 0.05
"""How far the score must fall below a threshold, by default, before what began there ends."""


class Hysteresis:
    """The policies of one channel, lowest threshold first, and which of them are active.

    One becomes active when the score reaches its threshold. It stays so until the score is `margin` below that, or half
    of it where that is less, so that a low threshold can be left again.
    """

    def __init__(
        self,
        policies: Iterable[PressurePolicy] = (),
        *,
        margin: float = MARGIN,
        active: Iterable[PressurePolicy] = (),
    ) -> None:
        """Begin with those of the policies `active` that are among `policies` too. Raises `ConfigError`."""
        if not 0 <= margin < 1:
            raise ConfigError("margin", "must be a number from 0 to below 1")
        once = dict.fromkeys(policies)
        self.policies: tuple[PressurePolicy, ...] = tuple(sorted(once, key=lambda each: each.threshold))
        self._margin = margin
        held = frozenset(active)
        self._holds = [each in held for each in self.policies]

    @property
    def active(self) -> tuple[PressurePolicy, ...]:
        """Those that hold, lowest threshold first."""
        return tuple(each for each, holds in zip(self.policies, self._holds, strict=True) if holds)

    def update(self, score: float) -> tuple[tuple[PressurePolicy, ...], tuple[PressurePolicy, ...]]:
        """Take a new score; give those that hold from now, and those that hold no more."""
        before = self._holds
        self._holds = [
            score >= (self._release(each) if held else each.threshold)
            for each, held in zip(self.policies, before, strict=True)
        ]
        changes = list(zip(self.policies, before, self._holds, strict=True))
        began = tuple(each for each, held, holds in changes if holds and not held)
        ended = tuple(each for each, held, holds in changes if held and not holds)
        return began, ended

    def _release(self, policy: PressurePolicy) -> float:
        return max(policy.threshold - self._margin, policy.threshold / 2)
