"""What came of a run: numbers, the check against a plain loop, and the verdict."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Failure:
    """A file with which an activity failed."""

    file: str
    activity: str
    error: str


@attrs.frozen(kw_only=True)
class Report:
    """A run, as it ended."""

    path: str
    files: int
    """That were there to be done."""
    results: int
    failed: int
    redispatched: int
    crashes: int
    lost: int
    """Files that were handed in and of which nothing was heard."""
    unfinished: int
    """Files that were not done when the run was ended early."""
    unfinished_files: tuple[str, ...]
    verified: bool
    """Whether every file of the sample came out as in a plain sequential loop."""
    sampled: int
    differing: tuple[str, ...]
    wall_s: float
    workers: int
    crash: bool
    """Whether a process was to be killed."""
    killed: tuple[int, ...]
    """Pids of the processes that were killed."""
    moved_ms: float | None
    """From the kill until its work was with another process."""
    interrupted: str | None
    """The signal that ended it, if one did."""
    failures: tuple[Failure, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost and nothing differed."""
        return self.lost == 0 and not self.differing

    def as_json(self) -> dict[str, Any]:
        """Give it in plain values."""
        return attrs.asdict(self)

    def as_rows(self) -> list[tuple[str, str]]:
        """Give it as a table: what, and how much."""
        rows = [
            ("files in", f"{self.files:,}"),
            ("results out", f"{self.results:,}"),
            ("failed activities", f"{self.failed:,}"),
            ("crashes", f"{self.crashes:,}{self._why_none()}"),
            ("re-dispatched", f"{self.redispatched:,}"),
            ("lost", f"{self.lost:,}"),
            ("wall time", f"{self.wall_s:.1f} s ({self.files / self.wall_s:,.0f} files a second)"),
            ("same as a plain loop", self._check()),
        ]
        if self.unfinished:
            rows.insert(3, ("not done", f"{self.unfinished:,} (ended by {self.interrupted})"))
        if self.moved_ms is not None:
            rows.insert(-2, ("from kill to re-dispatch", f"{self.moved_ms:.1f} ms"))
        return rows

    def _why_none(self) -> str:
        is_missing = self.crash and not self.crashes and not self.interrupted
        return " (no process was at work long enough to be killed)" if is_missing else ""

    def _check(self) -> str:
        if not self.sampled:
            return "nothing to compare"
        if self.differing:
            return f"NO: {len(self.differing)} of {self.sampled} differ, {self.differing[0]} for one"
        return f"yes, all {self.sampled} of a sample"
