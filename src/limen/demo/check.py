"""The same work in a plain sequential loop, for a sample, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from .activities import Measures, measure, read


@attrs.frozen
class Failed:
    """It failed; why may depend on how deep the stack is, and is not compared."""


Outcome = Measures | Failed


def outcome_of(path: str) -> Outcome:
    """Do a file here and now: activities are functions and can be called."""
    try:
        return measure(read(path))
    except Exception:  # noqa: BLE001 - whatever is wrong with the file
        return Failed()


def sample_of(paths: Sequence[str], size: int, always: Sequence[str]) -> list[str]:
    """Choose files spread evenly over all, and those that are of special interest."""
    step = max(1, len(paths) // size) if size else 1
    return list(dict.fromkeys([*always, *paths[::step][:size]]))


def differing(
    sample: Sequence[str], outcomes: Mapping[str, Outcome], stop: Callable[[], bool]
) -> tuple[int, list[str]]:
    """Compare; give how many were compared, fewer when it was stopped, and which of them differ."""
    wrong: list[str] = []
    for number, path in enumerate(sample):
        if stop():
            return number, wrong
        if outcome_of(path) != outcomes[path]:
            wrong.append(path)
    return len(sample), wrong
