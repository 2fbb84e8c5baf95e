"""`limen demo` as a command: what it prints where, and the status it ends with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console

from .._signals import Signals, status_of
from .display import show_report, watcher_for
from .files import NothingToDo, find_files
from .report import Report
from .run import Plan, Run
from .view import Silent

_WRONG = 1
_NOTHING_TO_DO = 2


def run_demo(folder: Path | None, *, workers: int, crash: bool, as_json: bool) -> int:
    """Run the demo and give its exit status. The report goes to stdout, as text or as one JSON object."""
    console = Console()
    with Signals() as signals:
        try:
            root, files = find_files(folder)
        except NothingToDo as error:
            sys.stderr.write(f"limen demo: {error}\n")
            return _NOTHING_TO_DO
        plan = Plan(root=root, files=files, workers=workers, crash=crash)
        run = Run(plan, Silent() if as_json else watcher_for(console))
        signals.stops(run.stop)
        report = run()
    if as_json:
        sys.stdout.write(json.dumps(report.as_json()) + "\n")
    else:
        show_report(console, report)
    return _status(report)


def _status(report: Report) -> int:
    if report.interrupted:
        return status_of(report.interrupted)
    return 0 if report.is_good else _WRONG
