"""Two inboxes with the same three promises.

1. Closing is atomic with putting: a message put after the close is refused, and its asker is told so.
2. Notices (`put_notice`) overtake the backlog, in order among themselves.
3. A question remembers who owes the answer.

`ThreadMailbox` is emptied by a thread of its own; `PooledMailbox` by whoever holds its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from .here import here
from .reply import offer, offer_error
from .shield import shielded

_WAKE: Envelope[Any] = Envelope(None)


def refuse(envelope: Envelope[Any], owner: Any) -> None:
    """Tell the asker, if any, that the actor ended before it got to this message."""
    if envelope.reply_to is None:
        return
    if isinstance(envelope.message, _ActorStop):
        offer(envelope.reply_to, None)
        return
    offer_error(envelope.reply_to, ActorDeadError(f"{_name(owner)} stopped before handling the message"))


def _name(owner: Any) -> str:
    """Name the actor: the owner is the actor itself, and its ref once it is dead."""
    return str(getattr(owner, "actor_ref", owner))


def refuse_at_once(envelope: Envelope[Any], owner: Any) -> None:
    """Turn a message away at the door: a tell raises `ActorDeadError`, an ask is answered with it."""
    error = ActorDeadError(f"{_name(owner)} not found")
    if envelope.reply_to is None:
        raise error
    offer_error(envelope.reply_to, error)


class ThreadMailbox:
    """The inbox of an actor that has a thread: `get` blocks, `put` is one C call.

    How the close needs no lock: a putter looks at `closed` after its put, the closer empties the queue after it sets
    `closed`. Whichever of the two comes later finds the message, and each message is taken out once.
    """

    __slots__ = ("__weakref__", "_notices", "_queue", "closed", "owner")

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.closed = False
        self._queue: SimpleQueue[Envelope[Any]] = SimpleQueue()
        self._notices: deque[Envelope[Any]] = deque()

    def put(self, envelope: Envelope[Any]) -> None:
        """Queue a message. After the close, a tell raises `ActorDeadError` and an ask is answered with it."""
        if self.closed:
            return refuse_at_once(envelope, self.owner)
        if envelope.reply_to is not None:
            envelope.reply_to.owed_by = self  # type: ignore[attr-defined]
        self._queue.put(envelope)
        if self.closed:
            self.refuse_rest()  # type: ignore[unreachable]  # another thread may have closed it meanwhile
        return None

    def put_notice(self, message: object) -> bool:
        """Queue a message ahead of the backlog; `False` if the actor is gone."""
        self._notices.append(Envelope(message))
        self._queue.put(_WAKE)
        if self.closed:
            self.refuse_rest()
            return False
        return True

    def post(self, message: object) -> None:
        """Queue a message and do nothing else: safe in a finaliser. After the close it is dropped."""
        self._queue.put(Envelope(message))
        if self.closed:
            self.refuse_rest()

    def get(self) -> Envelope[Any]:
        """Block for the next message, notices first."""
        notices, queue = self._notices, self._queue
        while True:
            if notices:
                return notices.popleft()
            envelope = queue.get()
            if envelope is not _WAKE:
                return envelope

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._notices and self._queue.empty()

    def qsize(self) -> int:
        """Messages waiting, roughly."""
        return self._queue.qsize()

    def refuse_rest(self) -> None:
        """Take out all that is left; every asker among it is told."""
        self._notices.clear()
        try:
            while True:
                refuse(self._queue.get_nowait(), self.owner)
        except Empty:
            return


class PooledMailbox:
    """The inbox of an actor without a thread. Whoever puts a message into it while nobody serves it, serves it.

    The one thread that runs the actor now has its turn: it has deleted `_free`, which is one step, and cheaper than a
    lock. A putter that finds the turn taken may leave: its holder looks once more after giving it back.
    """

    __slots__ = ("__weakref__", "_free", "_messages", "_notices", "_pool", "closed", "owner")

    def __init__(self, owner: Any, pool: Any) -> None:
        self.owner = owner
        self.closed = False
        self._free = True
        self._pool = pool
        self._messages: deque[Envelope[Any]] = deque()
        self._notices: deque[Envelope[Any]] = deque()

    def put(self, envelope: Envelope[Any]) -> None:
        """Queue a message and see that it is served. After the close, as `ThreadMailbox.put`."""
        if self.closed:
            return refuse_at_once(envelope, self.owner)
        if envelope.reply_to is not None:
            envelope.reply_to.owed_by = self  # type: ignore[attr-defined]
        self._pool.deliver(self, self._messages, envelope)
        if self.closed:
            self.refuse_rest()  # type: ignore[unreachable]  # as above
        return None

    def put_notice(self, message: object) -> bool:
        """Queue a message ahead of the backlog; `False` if the actor is gone."""
        if self.closed:
            return False
        self._pool.deliver(self, self._notices, Envelope(message))
        return True

    def take_turn(self) -> bool:
        """Become the one that runs the actor, if nobody is."""
        try:
            del self._free
        except AttributeError:
            return False
        return True

    def give_turn(self) -> None:
        """Be so no more. Whoever does it looks for messages once more."""
        self._free = True

    @property
    def is_served(self) -> bool:
        """Whether somebody has the turn now."""
        return not hasattr(self, "_free")

    def borrow(self, work: Any, argument: Any) -> Any:
        """Do a piece of the actor's own work on its turn, now, and give what it gives.

        `None`, and nothing is done, if somebody has the turn, a notice waits, or this thread is inside a drain.
        `work` must give something else, and must not block.
        """
        at = here
        if at.is_main:
            return shielded(self._borrow_on_main, work, argument)
        if at.draining:
            return None
        at.draining = True
        try:
            return self.borrow_briefly(work, argument)
        finally:
            at.draining = False
            if at.owed:
                self._pool.serve_owed()

    def answer(self, message: object) -> Any:
        """Have the actor answer a question on its turn, now: give what its `answer_here` gives.

        `None`, and nothing is done, where a turn is not lent, or another message comes first.
        """
        at = here
        if at.is_main:
            return shielded(self._answer_on_main, message)
        if self._messages or self._notices or self.closed or at.draining:
            return None
        try:
            del self._free
        except AttributeError:
            return None
        at.draining = True
        try:
            if not self.closed:  # as in `lender`
                return self.owner.answer_here(message)
        except BaseException as error:  # noqa: BLE001 - as in `lender`
            self._break(error)
        finally:
            self._free = True
            at.draining = False
            if self._messages or self._notices:
                at.owed.append(self)
            if at.owed:
                self._pool.serve_owed()
        return None

    def _answer_on_main(self, message: object) -> Any:
        """Do so while signal handlers are held back: see `_borrow_on_main`."""
        here.is_main = False
        try:
            return self.answer(message)
        finally:
            here.is_main = True

    def borrow_briefly(self, work: Any, argument: Any) -> Any:
        """Do the same for work that sends nothing, on a thread of ours: not the main one, and never inside a drain."""
        return self.lender(work)(argument)

    def lender(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Give what does so for one kind of work, to be called often."""
        messages, notices = self._messages, self._notices

        def lend(argument: Any) -> Any:
            if notices or self.closed:
                return None
            try:
                del self._free
            except AttributeError:
                return None
            try:
                if not self.closed:  # it may have ended while we reached for its turn
                    return work(argument)
            except BaseException as error:  # noqa: BLE001 - it is the actor's failure, not the borrower's
                self._break(error)
            finally:
                self._free = True
                if messages or notices:
                    self._serve_rest()
            return None

        return lend

    def _break(self, error: BaseException) -> None:
        """End the actor with this error, now: no message may ever come that would."""
        at = here
        outer, at.draining = at.draining, True
        try:
            self.owner.crash(error)
            self.owner.serve(0)
        finally:
            at.draining = outer
            if not outer:
                self._pool.hand_over()

    def _serve_rest(self) -> None:
        """See to what has come while the turn was lent."""
        here.owed.append(self)
        if not here.draining:
            self._pool.serve_owed()

    def _borrow_on_main(self, work: Any, argument: Any) -> Any:
        """Borrow while signal handlers are held back, so that the thread is as good as any other."""
        here.is_main = False
        try:
            return self.borrow(work, argument)
        finally:
            here.is_main = True

    def post(self, message: object) -> None:
        """Queue a message for the pool and do nothing else: safe in a finaliser. After the close it is dropped."""
        if not self.closed:
            self._messages.append(Envelope(message))
            self._pool.submit(self)

    def get(self) -> Envelope[Any]:
        """Take the next message, notices first. Never blocks: raises `IndexError` when there is none."""
        return self._notices.popleft() if self._notices else self._messages.popleft()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._notices and not self._messages

    def qsize(self) -> int:
        """Messages waiting."""
        return len(self._notices) + len(self._messages)

    def refuse_rest(self) -> None:
        """Take out all that is left; every asker among it is told."""
        self._notices.clear()
        try:
            while True:
                refuse(self._messages.popleft(), self.owner)
        except IndexError:
            return
