"""Links, notices and orders to die: how the end of one actor reaches another.

Knows inboxes and lives; does not know what an actor does with what reaches it.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import Any

import attrs
from pykka import ActorDeadError, ActorRef, Future

from ..messages.lifecycle import Down, ExitReason
from .life import Life, Watch
from .runtime import runtime


@attrs.define(slots=True, eq=False)
class Link:
    """Two actors that share their fate."""

    one: ActorRef[Any]
    two: ActorRef[Any]
    watch: Watch | None = None
    """On an end that is not ours; ours know their links and tell by themselves."""
    cut: bool = False

    def other(self, ref: ActorRef[Any]) -> ActorRef[Any]:
        """Give the end that is not this one."""
        return self.two if ref.actor_urn == self.one.actor_urn else self.one

    def drop_watch(self) -> None:
        """Watch no end any more."""
        if self.watch is not None:
            self.watch.cancel()


@attrs.frozen(eq=False)
class Notice:
    """A `Down` on its way to the actor that monitors."""

    watch: Watch
    down: Down


@attrs.frozen(eq=False)
class ExitSignal:
    """The end of a linked actor, or an order to die (no link), on its way."""

    link: Link | None
    down: Down


def is_ours(ref: ActorRef[Any]) -> bool:
    """Whether the actor has an inbox of ours, and so knows notices and orders."""
    return hasattr(ref.actor_inbox, "put_notice")


def notify(ref: ActorRef[Any], message: object) -> bool:
    """Send a message ahead of the backlog; `False` if the actor is gone. Stock Pykka actors get it in turn."""
    put_notice = getattr(ref.actor_inbox, "put_notice", None)
    if put_notice is not None:
        return bool(put_notice(message))
    try:
        ref.tell(message)
    except ActorDeadError:
        return False
    return True


def ask(ref: ActorRef[Any], message: object) -> tuple[Any] | Future[Any]:
    """Ask an actor; one that is idle and never blocks answers on this thread, for less: the answer comes in a box.

    Never blocks. Each sender's messages are handled in their order all the same.
    """
    try:
        answer: Any = ref.actor_inbox.answer  # type: ignore[attr-defined]
    except AttributeError:  # it has a thread, or is not one of ours
        return ref.ask(message, block=False)
    answered: tuple[Any] | Future[Any] | None = answer(message)
    return answered if answered is not None else ref.ask(message, block=False)


def post(ref: ActorRef[Any], message: object) -> None:
    """Put a message into an inbox of ours and do nothing else: for finalisers, which run at any moment.

    Never blocks, never runs an actor on this thread, never raises; a message to the dead is dropped.
    """
    ref.actor_inbox.post(message)  # type: ignore[attr-defined]


def kill(ref: ActorRef[Any], message: str = "") -> None:
    """Have the actor end before its next message, with reason `killed`, without `on_stop`. Does not block.

    A handler that runs is not broken off. A stock Pykka actor knows no such order and is asked to stop.
    """
    order_exit(ref, ExitReason.killed(message))


def order_exit(ref: ActorRef[Any], reason: ExitReason) -> None:
    """Have the actor end before its next message, for this reason, without `on_stop`. Does not block."""
    send_exit(ref, ExitSignal(None, Down(ref, reason, runtime().now())))


def exit_reason(ref: ActorRef[Any]) -> ExitReason | None:
    """Say why an actor of ours ended; `None` while it lives, or when it is forgotten."""
    life = life_of(ref)
    return life.ended_by if life is not None and life.over else None


def send_exit(ref: ActorRef[Any], signal: ExitSignal) -> None:
    """Bring a signal to an actor. One that is not ours is asked to stop, unless the end was normal."""
    if is_ours(ref):
        notify(ref, signal)
    elif not signal.down.reason.is_normal and not (signal.link is not None and signal.link.cut):
        ref.stop(block=False)


_linking = threading.RLock()
"""Held while a link is entered at, or taken from, both its ends; nothing else happens meanwhile."""


def life_of(ref: ActorRef[Any]) -> Life | None:
    """Give the life of an actor of ours that is still remembered."""
    return getattr(ref._actor_weakref(), "_life", None)  # noqa: SLF001 - Pykka gives no other way to the actor


class Entered(Enum):
    """What came of entering a link."""

    NOT = 0
    """The two are linked already, or are one."""
    YES = 1
    TOO_LATE = 2
    """The other has sent its notices; this one will not be among them."""


NOT_ENTERED, ENTERED, TOO_LATE = Entered


def enter_link(link: Link, mine: Life, other: Life | None) -> Entered:
    """Enter a link at both its ends."""
    one, two = link.one, link.two
    with _linking:
        if mine is other or two.actor_urn in mine.links:
            return NOT_ENTERED
        mine.links[two.actor_urn] = link
        if other is None:
            return ENTERED
        if other.over:
            return TOO_LATE
        other.links[one.actor_urn] = link
        return ENTERED


def take_links(life: Life) -> tuple[Link, ...]:
    """Take all links from an actor that has come to its end; none is entered afterwards."""
    with _linking:
        links = tuple(life.links.values())
        life.links.clear()
    return links


def cut_link(link: Link) -> None:
    """Take a link from both its ends. An exit by it that is on its way is not heard."""
    link.cut = True
    with _linking:
        for end, other in ((link.one, link.two), (link.two, link.one)):
            life = life_of(end)
            if life is not None and life.links.get(other.actor_urn) is link:
                del life.links[other.actor_urn]
    link.drop_watch()
