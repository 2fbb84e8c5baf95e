"""What a display is given: values only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import attrs

from .. import PoolRow

if TYPE_CHECKING:
    from ..actors.executors.process import ChildRow


@attrs.frozen
class News:
    """One thing that happened and is worth a line."""

    mood: Literal["good", "bad"]
    text: str


@attrs.frozen
class WorkerLine:
    """One worker as it is now."""

    queue: str
    row: PoolRow
    children: tuple[ChildRow, ...]

    @property
    def running(self) -> int:
        """Activities that run now; a process worker may hold a few more, to have them at hand."""
        if self.children:
            return sum(child.state == "running" for child in self.children)
        return self.row.in_flight


@attrs.frozen(kw_only=True)
class View:
    """The run as it is now."""

    files: int
    results: int
    failed: int
    elapsed_s: float
    workers: tuple[WorkerLine, ...]

    @property
    def done(self) -> int:
        """Files with an outcome."""
        return self.results + self.failed


class Watcher(Protocol):
    """Shows a run. Called on one thread."""

    def tell(self, news: News) -> None:
        """Take note of what happened."""

    def wants_view(self) -> bool:
        """Whether it is time for another look."""
        ...

    def show(self, view: View) -> None:
        """Show how things stand."""

    def close(self) -> None:
        """Leave the screen as it is."""


class Silent:
    """Shows nothing."""

    def tell(self, news: News) -> None:
        """Ignore it."""

    def wants_view(self) -> bool:
        """Never."""
        return False

    def show(self, view: View) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Do nothing."""
