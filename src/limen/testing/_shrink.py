"""Makes a failing record of choices as dull as it can be while it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs


@attrs.frozen
class Shrunk:
    """The dullest record found, and what it took to find it."""

    choices: list[int]
    runs: int

    @property
    def interesting(self) -> int:
        """How many choices are not the dullest."""
        return sum(map(bool, self.choices))


def shrink(
    run: Callable[[Sequence[int]], Sequence[int] | None], choices: Sequence[int], *, max_runs: int = 400
) -> Shrunk:
    """Leave out or zero chunks, the large ones first.

    `run` makes a run of a record, and gives the choices it really made if it failed in the same way, else `None`.
    """
    best, runs = _trimmed(choices), 0
    size = max(1, len(best) // 2)
    while size >= 1 and runs < max_runs:
        at, progress = 0, False
        while at < len(best) and runs < max_runs:
            found = None
            if any(best[at : at + size]):
                for candidate in _without(best, at, size):
                    runs += 1
                    made = run(candidate)
                    if made is not None and _cost(made) < _cost(best):
                        found = _trimmed(made)
                        break
            if found is None:
                at += size
            else:
                best, progress = found, True
        if not progress:
            size //= 2
    return Shrunk(best, runs)


def _without(choices: list[int], at: int, size: int) -> tuple[list[int], list[int]]:
    rest = choices[at + size :]
    return choices[:at] + rest, choices[:at] + [0] * min(size, len(choices) - at) + rest


def _cost(choices: Sequence[int]) -> tuple[int, int]:
    trimmed = _trimmed(choices)
    return sum(map(bool, trimmed)), len(trimmed)


def _trimmed(choices: Sequence[int]) -> list[int]:
    trimmed = list(choices)
    while trimmed and trimmed[-1] == 0:
        trimmed.pop()
    return trimmed
