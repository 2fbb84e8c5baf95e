"""Who makes the choices of a run: luck, a record, or a test-case generator.

0 is always the dullest choice: the first in line, no pause, no fault. So a shorter or zeroed record is a simpler run.
Knows nothing of what is chosen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ranked(Protocol):
    """Something with a priority, for `Pct`."""

    rank: float


class Decider:
    """Makes choices and keeps a record of them."""

    def __init__(self) -> None:
        self.choices: list[int] = []
        """What was chosen, in order."""
        self.options: list[int] = []
        """Among how many, for each."""

    def choose(self, count: int) -> int:
        """Choose a number below `count`."""
        if count == 1:
            return 0
        choice = self._draw(count)
        self.choices.append(choice)
        self.options.append(count)
        return choice

    def chance(self, probability: float) -> bool:
        """Say yes with this probability."""
        if probability <= 0:
            return False
        hit = self._toss(probability)
        self.choices.append(1 if hit else 0)
        self.options.append(2)
        return hit

    def preempts(self, ready: Sequence[Ranked], me: Ranked, rate: float) -> bool:
        """Say whether the one that runs must pause here. Somebody is ready."""
        return self.chance(rate) if ready else False

    def pick(self, ready: Sequence[Ranked]) -> int:
        """Choose who runs next."""
        return self.choose(len(ready))

    def _draw(self, count: int) -> int:
        raise NotImplementedError

    def _toss(self, probability: float) -> bool:
        raise NotImplementedError


class Seeded(Decider):
    """Luck, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed).random

    def _draw(self, count: int) -> int:
        return int(self._random() * count)

    def _toss(self, probability: float) -> bool:
        return self._random() < probability


class Pct(Seeded):
    """Probabilistic concurrency testing: random priorities, and a few random demotions.

    Finds a bug that takes `depth` orderings with a probability that does not sink with the number of steps.
    Source: Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs.
    """

    def __init__(self, seed: int, depth: int, length: int = 200) -> None:
        super().__init__(seed)
        self._demotions = {int(self._random() * length) for _ in range(depth - 1)}
        self._passed = 0
        self._lowest = 0.0

    def preempts(self, ready: Sequence[Ranked], me: Ranked, rate: float) -> bool:
        """Pause where somebody has the higher priority."""
        if not ready:
            return False
        self._passed += 1
        if self._passed in self._demotions:
            self._lowest -= 1
            me.rank = self._lowest
        hit = max(self._rank(each) for each in ready) > self._rank(me)
        self._record(int(hit), 2)
        return hit

    def pick(self, ready: Sequence[Ranked]) -> int:
        """Choose the one of the highest priority."""
        if len(ready) == 1:
            return 0
        choice = max(range(len(ready)), key=lambda at: self._rank(ready[at]))
        self._record(choice, len(ready))
        return choice

    def _rank(self, task: Ranked) -> float:
        if task.rank == 0:
            task.rank = 1 + self._random()
        return task.rank

    def _record(self, choice: int, count: int) -> None:
        self.choices.append(choice)
        self.options.append(count)


class Replay(Decider):
    """A record, followed by the dullest choices."""

    def __init__(self, choices: Sequence[int]) -> None:
        super().__init__()
        self._ahead = iter(choices)

    def _draw(self, count: int) -> int:
        return min(next(self._ahead, 0), count - 1)

    def _toss(self, probability: float) -> bool:
        return next(self._ahead, 0) != 0


class Blob(Decider):
    """Bytes, as Hypothesis draws and shrinks them; after the last one, the dullest choices."""

    def __init__(self, blob: bytes) -> None:
        super().__init__()
        self._ahead = iter(blob)

    def _draw(self, count: int) -> int:
        return next(self._ahead, 0) % count

    def _toss(self, probability: float) -> bool:
        return next(self._ahead, 0) >= 256 - max(1, round(256 * probability))
