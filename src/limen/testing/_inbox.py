"""The inbox of a simulated actor: the same promises as the real ones, and a scheduling point at every send.

1. Closing is atomic with putting. 2. Notices overtake the backlog. 3. A question remembers who owes the answer.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from pykka._envelope import Envelope

from ..actors.links import TURN
from ..actors.runtime.mailbox import refuse, refuse_at_once
from ._errors import SimulationEnd
from ._routes import Routes
from ._scheduler import Scheduler
from ._task import Task


class SimulatedInbox:
    """Emptied by the actor's task, which is parked while it is empty or its turn is lent."""

    is_idle = True
    is_party = True

    __slots__ = (
        "__weakref__",
        "_aside",
        "_broken",
        "_messages",
        "_notices",
        "_routes",
        "_scheduler",
        "borrower",
        "closed",
        "owner",
        "task",
    )

    def __init__(self, owner: Any, scheduler: Scheduler, routes: Routes) -> None:
        self.owner = owner
        self.closed = False
        self.task: Task | None = None
        self.borrower: Task | None = None
        """Who does the actor's work on its turn."""
        self._broken: BaseException | None = None
        self._scheduler = scheduler
        self._routes = routes
        self._messages: deque[tuple[Task, Envelope[Any]]] = deque()
        self._notices: deque[tuple[Task, Envelope[Any]]] = deque()
        self._aside: dict[Envelope[Any], tuple[Any, object]] = {}
        """What a channel's book is told by messages that are held back: nobody else's turn may bring it."""

    @property
    def name(self) -> str:
        """The name of the actor's task."""
        return self.task.name if self.task is not None else type(self.owner).__name__

    def put(self, envelope: Envelope[Any]) -> None:
        """Queue a message. After the close, a tell raises `ActorDeadError` and an ask is answered with it."""
        reply = envelope.reply_to
        if reply is not None:
            reply.owed_by = self  # type: ignore[attr-defined]
            reply.about = envelope.message  # type: ignore[attr-defined]
        self._scheduler.point("send to", self, envelope.message)
        if self.closed:
            return refuse_at_once(envelope, self.owner)
        sender = self._scheduler.current
        if not self._routes.takes_over(sender, self, envelope, notice=False):
            self.arrive(sender, envelope, notice=False)
        return None

    def put_notice(self, message: object) -> bool:
        """Queue a message ahead of the backlog; `False` if the actor is gone."""
        book = _book_of(message, self.owner)
        news = book.notices[-1] if book is not None and book.notices else None
        self._scheduler.point("notice to", self, message)
        if self._scheduler.closing:
            return True
        if self.closed:
            return False
        sender, envelope = self._scheduler.current, Envelope(message)
        if not self._routes.takes_over(sender, self, envelope, notice=True):
            self.arrive(sender, envelope, notice=True)
        elif book is not None and news in book.notices:
            book.notices.remove(news)
            self._aside[envelope] = (book, news)
        return True

    def post(self, message: object) -> None:
        """Queue a message and do nothing else: safe in a finaliser. After the close it is dropped."""
        if not self.closed:
            self.arrive(self._scheduler.current, Envelope(message), notice=False)

    def arrive(self, sender: Task, envelope: Envelope[Any], *, notice: bool) -> None:
        """Let a message that was under way be there. No scheduling point."""
        book, news = self._aside.pop(envelope, (None, None))
        if book is not None:
            book.notices.append(news)
        if self.closed:
            refuse(envelope, self.owner)
            if book is not None:
                self._tell_successor(book, sender, envelope)
            return
        (self._notices if notice else self._messages).append((sender, envelope))
        self._wake()

    def _tell_successor(self, book: Any, sender: Task, envelope: Envelope[Any]) -> None:
        """Bring news to the channel's next actor, if it is there; else it begins with what its book has."""
        ref = book._ref  # noqa: SLF001 - the book's own address starts an actor where there is none
        if ref is not None and not ref.actor_inbox.closed:
            ref.actor_inbox.arrive(sender, envelope, notice=True)

    def get(self) -> Envelope[Any]:
        """Wait for the next message, notices first. Raises what broke the actor while its turn was lent."""
        scheduler = self._scheduler
        me = scheduler.enter("get")
        me.message = None
        if self._messages or self._notices:
            scheduler.turn()
        while self.borrower is not None or self.empty():
            if self._broken is not None:
                raise self._broken
            if self.closed:  # it came to its end while its turn was lent
                return Envelope(TURN)
            scheduler.park(self)
        sender, envelope = self._notices.popleft() if self._notices else self._messages.popleft()
        me.message = envelope.message
        if scheduler.trace.on:
            scheduler.trace.note("", me, "<-", _told(envelope.message, self.owner), "from", sender)
        if me.slow_s and scheduler.faults_on:
            scheduler.sleep(me.slow_s)
        return envelope

    def borrow(self, work: Any, argument: Any) -> Any:
        """Do a piece of the idle actor's work on its turn, on the caller's task; `None` if it is not idle.

        As with the real one: not while a notice waits, not inside another actor's turn; `work` gives something else.
        Nor while messages between the two are held back or delayed: then it has to be one.
        """
        scheduler = self._scheduler
        if scheduler.closing:
            return None
        scheduler.point("work for", self)
        me, task = scheduler.current, self.task
        if self._routes.hinders(me, self):
            return None
        if task is None or task.waits is not self or task.killed is not None:
            return None
        if me.draining or self._notices or self.closed or self.borrower is not None or self._broken is not None:
            return None
        self.borrower, me.draining = me, True
        try:
            return work(argument)
        except SimulationEnd:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the actor's failure, not the borrower's
            self._broken = error
            self.owner.crash(error)
            return None
        finally:
            me.draining, self.borrower = False, None
            if me.killed is not None:  # the crash was meant for the actor, and came too late for its work
                task.killed, me.killed = me.killed, None
            self._wake()

    borrow_briefly = borrow

    def answer(self, message: object) -> Any:
        """Have the idle actor answer a question on the caller's task; `None` where `borrow` gives it."""
        return self.borrow(self._answer, message)

    def _answer(self, message: object) -> Any:
        return self.owner.answer_here(message) if self.empty() else None

    def lender(self, work: Any) -> Any:
        """Give what does so for one kind of work."""
        return lambda argument: self.borrow(work, argument)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._notices and not self._messages

    def qsize(self) -> int:
        """Messages waiting."""
        return len(self._notices) + len(self._messages)

    def pending(self) -> list[object]:
        """List the messages that wait, in the order in which they will be handled."""
        return [envelope.message for _, envelope in (*self._notices, *self._messages)]

    def refuse_rest(self) -> None:
        """Take out all that is left; every asker among it is told."""
        self._notices.clear()
        while self._messages:
            refuse(self._messages.popleft()[1], self.owner)

    def _wake(self) -> None:
        task = self.task
        if task is None or self.borrower is not None:
            return
        if self.closed or self._broken is not None or task.killed is not None or not self.empty():
            self._scheduler.wake_if(task, self)


def _told(message: Any, owner: Any) -> Any:
    """Give what is really said: a channel is told only that its book has a notice."""
    book = _book_of(message, owner)
    return book.notices[0] if book is not None and book.notices else message


def _book_of(message: Any, owner: Any) -> Any:
    """Give the book of the channel that is told of a notice in it; `None` for any other message."""
    return getattr(owner, "_book", None) if type(message).__name__ == "Noticed" else None
