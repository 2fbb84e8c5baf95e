"""What a channel's core decides, for its shell to carry out in this order. Values only."""

from __future__ import annotations

import attrs

from ..messages.activities import Completed
from ..messages.operations import Operation
from ..messages.pool import ConsumerStateView
from ..messages.routing import RoutingMessage
from ._gates import Gate
from .attempt import Attempt
from .conversation import Conversation


@attrs.frozen(eq=False, repr=False)
class Note:
    """Keep an operation of this conversation."""

    conversation: Conversation
    operation: Operation


@attrs.frozen(eq=False, repr=False)
class Close:
    """The conversation is over; that is its outcome."""

    conversation: Conversation
    outcome: Completed | BaseException


@attrs.frozen(eq=False, repr=False)
class Ask:
    """Ask the channel's routing function."""

    conversation: Conversation
    message: RoutingMessage
    views: tuple[ConsumerStateView, ...]

    @property
    def offered(self) -> tuple[str, ...]:
        """Name the workers that may be chosen."""
        return tuple(str(view.consumer) for view in self.views)


@attrs.frozen(eq=False, repr=False)
class Pause:
    """Say `Resume` for this conversation in `pause_s` seconds."""

    conversation: Conversation
    pause_s: float


@attrs.frozen(eq=False, repr=False)
class Remind:
    """Say again in `delay_s` seconds that this attempt's time is up: it was not, yet."""

    attempt: Attempt
    limit_s: float
    delay_s: float


@attrs.frozen(eq=False, repr=False)
class CallOff:
    """The outcome of this attempt is decided: its worker may stop running it."""

    attempt: Attempt
    why: BaseException


@attrs.frozen(eq=False, repr=False)
class Alarm:
    """Say `TokenDue` for this gate when its next token is there."""

    gate: Gate


@attrs.frozen(eq=False, repr=False)
class AwaitRoom:
    """Say `NoRoom` for this conversation when its caller has waited for room as long as he would."""

    conversation: Conversation


@attrs.frozen(eq=False, repr=False)
class Enter:
    """There is room for this conversation, or it needs none: its caller need not wait."""

    conversation: Conversation


# An `Attempt` among the decisions says: give it to its worker; the slot is taken already.
Decision = Attempt | Note | Close | Ask | Pause | Remind | CallOff | Alarm | AwaitRoom | Enter
