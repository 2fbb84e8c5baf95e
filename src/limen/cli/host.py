"""The life of a worker host: serve until a signal comes, show what happens, drain, say what is left."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter, deque
from typing import Any, Protocol, Self

import structlog
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import Event, EventKind, Limen, LimenError, PoolRow
from .._signals import Signals
from ._common import WRONG

_LOOK_S = 0.2
_SHOWN_NEWS = 6
_BAD = frozenset({EventKind.CRASHED, EventKind.FAILED, EventKind.TIMED_OUT})


class View(Protocol):
    """Where it is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def say(self, what: str, **facts: object) -> None:
        """Tell of the host itself."""

    def tell(self, event: Event) -> None:
        """Tell of an event."""

    def look(self, rows: list[PoolRow]) -> None:
        """Show the pool."""


def serve(app: Limen, queue: str, *, drain_s: float, as_json: bool) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain and close the application; give the exit status.

    0 when all that had begun was finished, 1 when not. A second signal ends the process as ever. Main thread only.
    """
    came: list[str] = []
    with Signals() as signals, _view_for(queue, as_json=as_json) as view:
        signals.stops(came.append)
        with app.events() as events:
            view.say("serving", queue=queue)
            while not came:
                event = events.next(_LOOK_S)
                if event is not None:
                    view.tell(event)
                view.look(_pool_of(app, queue))
            view.say("draining", signal=came[0], at_most_s=drain_s)
            report = app.close(drain=drain_s)
            while (event := events.next(0)) is not None:
                view.tell(event)
        for left in report.unfinished:
            view.say("unfinished", request=str(left))
        view.say("drained", took_s=round(report.took_s, 3), unfinished=len(report.unfinished))
    return WRONG if report.interrupted else 0


def _pool_of(app: Limen, queue: str) -> list[PoolRow]:
    try:
        return app.pool(queue)
    except LimenError:  # the broker is out of reach for now
        return []


def _view_for(queue: str, *, as_json: bool) -> View:
    console = Console()
    return LiveView(console, queue) if console.is_terminal and not as_json else LogView(as_json=as_json)


class LogView:
    """A structured line for each event: text, or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.processors.LogfmtRenderer()
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(sys.stdout),
            processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.add_log_level, renderer],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hide nothing and close nothing."""

    def say(self, what: str, **facts: object) -> None:
        """Write a line."""
        self._log.info(what, **facts)

    def tell(self, event: Event) -> None:
        """Write a line: a warning where something went wrong."""
        facts: dict[str, object] = {
            "worker": event.worker_id,
            "incarnation": event.incarnation,
            "activity": event.activity_type,
            "id": event.conversation_id,
            "detail": event.detail or None,
        }
        write = self._log.warning if event.kind in _BAD else self._log.info
        write(str(event.kind), **{name: value for name, value in facts.items() if value is not None})

    def look(self, rows: list[PoolRow]) -> None:
        """Write nothing: events have said it."""


class LiveView:
    """The pool, how often what happened, and the latest news, on a terminal."""

    def __init__(self, console: Console, queue: str) -> None:
        self._queue = queue
        self._counts: Counter[str] = Counter()
        self._news: deque[Text] = deque(maxlen=_SHOWN_NEWS)
        self._rows: list[PoolRow] = []
        self._shown_s = 0.0
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture there."""
        self._draw()
        self._live.stop()

    def say(self, what: str, **facts: object) -> None:
        """Show it among the news."""
        self._news.append(Text(f"{what}  {'  '.join(f'{name}={value}' for name, value in facts.items())}"))
        self._draw()

    def tell(self, event: Event) -> None:
        """Count it; what went wrong is news."""
        self._counts[str(event.kind)] += 1
        if event.kind in _BAD:
            text = f"{event.kind}  {event.activity_type or ''} {event.worker_id or ''}  {event.detail}"
            self._news.append(Text(text, style="red", overflow="ellipsis", no_wrap=True))

    def look(self, rows: list[PoolRow]) -> None:
        """Draw the picture, ten times a second at most."""
        self._rows = rows
        if time.monotonic() - self._shown_s >= 0.1:  # noqa: PLR2004 - as the docstring says
            self._draw()

    def _draw(self) -> None:
        self._shown_s = time.monotonic()
        pool = Table("worker", "executor", "running", "slots", "activities", title=self._queue, title_justify="left")
        for row in self._rows:
            pool.add_row(
                row.worker_id, row.executor, str(row.in_flight), str(row.max_concurrent), ", ".join(row.activity_types)
            )
        counts = "  ".join(f"{kind} {count:,}" for kind, count in sorted(self._counts.items()))
        self._live.update(Group(pool, Text(counts), *self._news), refresh=True)
