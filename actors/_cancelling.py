"""Giving up many requests at once. Called on the channel's turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from queue import Full
from typing import Any

from ..messages.errors import ActivityCancelled
from . import _orders as orders
from ._book import Book
from ._decisions import Decision
from .conversation import WAITING, Conversation


def cancel_all(
    conversations: Iterable[Conversation], book: Book, carry_out: Callable[[Iterable[Decision]], None]
) -> None:
    """Give up each of them; an actor that crashes meanwhile leaves the rest to the next one.

    Where nobody but its caller has to be told of one, that is all that happens: thousands are a matter of milliseconds.
    """
    left = deque(conversations)
    reasons: dict[str, Any] = {}
    try:
        while left:
            first = left[0]
            if _is_quiet(first) and not book.listeners:
                _withdraw(first, book, reasons.get(first.activity_type) or _reason_for(first.activity_type, reasons))
            else:
                carry_out(book.state.cancel(first))
            left.popleft()
    except BaseException:
        book.notices.appendleft(orders.CancelAll(tuple(left)))
        raise


def _is_quiet(conversation: Conversation) -> bool:
    """Whether it only waits in line, for one caller, who keeps no record."""
    return (
        conversation.phase is WAITING
        and conversation.waits_for is None
        and conversation.recorder is None
        and conversation.claim is None
        and conversation.letter is None
    )


def _reason_for(activity_type: str, reasons: dict[str, Any]) -> Any:
    """Give what makes the error of one such request, for whoever asks for it: most are never looked at."""
    reason = reasons[activity_type] = (partial(ActivityCancelled, activity_type), None, None)
    return reason


def _withdraw(conversation: Conversation, book: Book, reason: Any) -> None:
    """Take it out of the line. Its caller is told first: so he is, whatever happens next."""
    try:  # noqa: SIM105 - a context manager for each of thousands costs as much as the rest
        conversation.reply.set_exception(reason)
    except Full:
        pass
    book.state.forget(conversation)
    if conversation.timers or conversation.room_timer is not None:
        conversation.drop_timers()
