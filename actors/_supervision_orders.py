"""What the supervision core orders its shell to do."""

from __future__ import annotations

import attrs

from ..messages.lifecycle import ExitReason


@attrs.frozen
class Start:
    """Start a child and say how it went."""

    child_id: str


@attrs.frozen
class Stop:
    """Ask a child to stop; say so if it is still there after the timeout. `None` is for ever."""

    child_id: str
    incarnation: int
    timeout_s: float | None


@attrs.frozen
class Kill:
    """End a child without its consent; say so if it is still there a while later."""

    child_id: str
    incarnation: int


@attrs.frozen
class Abandon:
    """A child cannot be ended: log it and care no more."""

    child_id: str
    incarnation: int


@attrs.frozen
class Wait:
    """Say when the delay before a restart is over."""

    child_id: str
    incarnation: int
    delay_s: float


@attrs.frozen
class Unwait:
    """Nobody waits for this child any more."""

    child_id: str


@attrs.frozen
class GiveUp:
    """A child crashed too often by a limit of its own: tell whoever asked to be told."""

    child_id: str
    reason: ExitReason


@attrs.frozen
class Finish:
    """All children are gone: end, with the error if there is one."""

    error: BaseException | None


Order = Start | Stop | Kill | Abandon | Wait | Unwait | GiveUp | Finish
