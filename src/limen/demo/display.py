"""The run on a screen: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .report import Report
from .view import News, View, Watcher, WorkerLine

_EVERY_S = 0.1
_SHOWN_NEWS = 8
_SHOWN = 5
_STYLES = {"running": "bold green", "idle": "dim", "spare": "dim cyan", "starting": "yellow", "ending": "red"}


def watcher_for(console: Console) -> Watcher:
    """Choose what suits where the output goes."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class LiveDisplay:
    """Progress, the pool, and the latest news."""

    def __init__(self, console: Console) -> None:
        self._news: deque[Text] = deque(maxlen=_SHOWN_NEWS)
        self._shown_s = 0.0
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def tell(self, news: News) -> None:
        """Keep it for the next picture."""
        self._news.append(
            Text(news.text, style="red" if news.mood == "bad" else "green", overflow="ellipsis", no_wrap=True)
        )

    def wants_view(self) -> bool:
        """Ten times a second."""
        return time.monotonic() - self._shown_s >= _EVERY_S

    def show(self, view: View) -> None:
        """Draw the picture."""
        self._shown_s = time.monotonic()
        self._live.update(Group(_progress(view), _pool(view), *self._news), refresh=True)

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()


class PlainDisplay:
    """A line for every tenth of the work, and for whatever else happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tenths = -1

    def tell(self, news: News) -> None:
        """Say it."""
        _say(self._console, news.text)

    def wants_view(self) -> bool:
        """Look each time: lines are few."""
        return True

    def show(self, view: View) -> None:
        """Say how far it is, if that is further than the last time."""
        tenths = 10 * view.done // view.files
        if tenths > self._tenths:
            self._tenths = tenths
            busy = sum(line.running for line in view.workers if line.children)
            text = (
                f"{10 * tenths:3} %  {view.done} of {view.files} files, {busy} processes busy, {view.elapsed_s:.1f} s"
            )
            _say(self._console, text)

    def close(self) -> None:
        """Do nothing."""


def show_report(console: Console, report: Report) -> None:
    """Show what came of the run."""
    if console.is_terminal:
        table = Table(show_header=False, title=f"limen demo {report.path}", title_justify="left")
        for name, value in report.as_rows():
            table.add_row(name, Text(value, style="bold red" if _is_bad(name, value) else "bold"))
        console.print(table)
    else:
        for name, value in report.as_rows():
            _say(console, f"{name:24} {value}")
    failures = [f"{failure.activity} {failure.file}: {failure.error}" for failure in report.failures]
    for line in (*_listed("failed activities:", failures), *_listed("not done:", report.unfinished_files)):
        _say(console, line)


def _is_bad(name: str, value: str) -> bool:
    return (name == "lost" and value != "0") or value.startswith("NO")


def _listed(title: str, names: Sequence[str]) -> Iterator[str]:
    """Give the first of these below a title, if there are any."""
    if names:
        yield title
    for name in names[:_SHOWN]:
        yield f"  {name}"
    if len(names) > _SHOWN:
        yield f"  and {len(names) - _SHOWN} more"


def _say(console: Console, text: str) -> None:
    """Print a line as it is, whatever is in it."""
    console.print(text.encode("utf-8", "backslashreplace").decode(), markup=False, highlight=False, soft_wrap=True)


def _progress(view: View) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    failed = f", {view.failed} failed" if view.failed else ""
    grid.add_row(
        ProgressBar(total=view.files, completed=view.done, width=40),
        f"{view.done:,} of {view.files:,} files{failed}",
        f"{view.elapsed_s:.1f} s",
    )
    return grid


def _pool(view: View) -> RenderableType:
    table = Table("queue", "worker", "executor", "running", "slots", "processes", expand=False)
    for line in view.workers:
        row = line.row
        running, slots = str(line.running), str(row.max_concurrent)
        table.add_row(line.queue, row.worker_id, row.executor, running, slots, _children(line))
    return table


def _children(line: WorkerLine) -> Text:
    parts = [(f"{child.pid} {child.state}", _STYLES.get(child.state, "")) for child in line.children]
    return Text("  ").join(Text(text, style=style) for text, style in parts)
