"""What happened in a run, as lines that a person can follow. Nothing is written unless somebody reads it."""

from __future__ import annotations

from typing import Any

from pykka.messages import _ActorStop

from ..messages.lifecycle import ExitReason
from ._task import Task

_LONGEST = 60


class Trace:
    """The events of one run."""

    def __init__(self, scheduler: Any, *, on: bool) -> None:
        self.on = on
        self.events: list[str] = []
        self.decided: list[int] = []
        """For each event, how many choices had been made."""
        self._scheduler = scheduler

    def note(self, *parts: Any) -> None:
        """Keep an event, if anybody wants to read it."""
        if self.on:
            scheduler = self._scheduler
            text = " ".join(shown for part in parts if (shown := _word(part)))
            self.events.append(f"#{scheduler.steps:<4} t={scheduler.now_s:<7.3f} {text}")
            self.decided.append(len(scheduler.decider.choices))


def _word(part: Any) -> str:
    if part is None or isinstance(part, str):
        return part or ""
    if isinstance(part, ExitReason):
        return f"({part})"
    return str(part.name) if hasattr(part, "is_party") else show(part)


def show(message: Any) -> str:
    """Give a message in a few words: its kind and its plain fields."""
    kind = type(message).__name__
    if message is None or isinstance(message, str | int | float | bool):
        return repr(message)[:_LONGEST]
    if isinstance(message, _ActorStop):
        return "stop"
    inner = getattr(message, "down", None)
    if inner is not None:
        return f"{kind}({inner.reason})"[:_LONGEST]
    fields = getattr(type(message), "__attrs_attrs__", None)
    if not fields:
        return kind
    plain = [value for each in fields if isinstance(value := getattr(message, each.name, None), str | int | float)]
    values: list[Any] = [getattr(message, field.name, None) for field in fields]
    named = [each.worker_id for each in values if hasattr(each, "worker_id")]
    return f"{kind}({', '.join(map(repr, [*named, *plain]))})"[:_LONGEST]


def who_waits(scheduler: Any) -> str:
    """Say who waits for whom, one line each."""
    lines = [_wait_of(task) for task in (scheduler.main, *scheduler.tasks) if is_blocked(task)]
    return "\n".join(lines) or "  nobody"


def is_blocked(task: Task) -> bool:
    """Whether a task waits for something that somebody owes it; one that waits for work is idle."""
    return not task.done and task.waits is not None and not task.waits.is_idle


def _wait_of(task: Task) -> str:
    busy = f", handling {show(task.message)}," if task.message is not None else ""
    waits = task.waits
    debtor = waits.debtor() if hasattr(waits, "debtor") else None
    if debtor is None:
        return f"  {task.name}{busy} waits for {getattr(waits, 'name', waits)}"
    return f"  {task.name}{busy} waits for {debtor.name} ({_state_of(debtor)}) to {waits.what()}"


def _state_of(task: Task) -> str:
    if task.done:
        return "which has ended"
    if task.waits is None:
        return "which never got to run"
    return "which waits itself" if is_blocked(task) else "which is idle"
