"""The inboxes: closing is atomic with putting, notices overtake, questions know who owes the answer."""

import threading
import weakref
from typing import Any

import pytest
from linkkit import PATIENCE_S
from pykka import ActorDeadError
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from limen.actors.runtime import Reply
from limen.actors.runtime.mailbox import PooledMailbox, ThreadMailbox
from limen.actors.runtime.pool import Pool
from limen.actors.runtime.quiet import QuietMailbox


class Nobody:
    """An actor that never handles anything."""

    actor_ref = "Nobody (urn:uuid:0)"

    def serve(self, budget: int) -> int:
        """Leave everything where it is, and say that the budget is spent."""
        return 0


class StillPool(Pool):
    """A pool that serves nobody, so that what is put can be looked at."""

    def deliver(self, mailbox: Any, lane: Any, envelope: Any) -> None:
        lane.append(envelope)

    def submit(self, mailbox: Any) -> None:
        """Do nothing."""


def thread_mailbox() -> ThreadMailbox:
    """Give the inbox of an actor with a thread."""
    return ThreadMailbox(Nobody())


def pooled_mailbox() -> PooledMailbox:
    """Give the inbox of one without."""
    return PooledMailbox(Nobody(), StillPool())


def quiet_mailbox() -> QuietMailbox:
    """Give the inbox of one that is seldom told anything."""
    return QuietMailbox(Nobody(), StillPool())


BOTH = pytest.mark.parametrize("make", [thread_mailbox, pooled_mailbox, quiet_mailbox])


def close(mailbox: Any) -> None:
    """Close an inbox the way the funnel does."""
    mailbox.closed = True
    mailbox.refuse_rest()


@BOTH
def test_messages_keep_their_order(make):
    """First in, first out."""
    mailbox = make()
    for number in range(3):
        mailbox.put(Envelope(number))
    assert mailbox.qsize() == 3
    assert [mailbox.get().message for _ in range(3)] == [0, 1, 2]
    assert mailbox.empty()


@BOTH
def test_notices_overtake_and_keep_their_order(make):
    """Notices come before messages, in order among themselves."""
    mailbox = make()
    mailbox.put(Envelope("message"))
    assert mailbox.put_notice("first")
    assert mailbox.put_notice("second")
    assert [mailbox.get().message for _ in range(3)] == ["first", "second", "message"]


@BOTH
def test_posted_messages_are_ordinary_ones(make):
    """`post` queues like a tell."""
    mailbox = make()
    mailbox.put(Envelope(1))
    mailbox.post(2)
    assert [mailbox.get().message, mailbox.get().message] == [1, 2]


@BOTH
def test_a_closed_mailbox_refuses(make):
    """After the close a tell raises, an ask is answered with an error, a notice says so, a post is dropped."""
    mailbox = make()
    close(mailbox)
    with pytest.raises(ActorDeadError, match="Nobody"):
        mailbox.put(Envelope("tell"))
    reply: Reply[Any] = Reply()
    mailbox.put(Envelope("ask", reply_to=reply))
    with pytest.raises(ActorDeadError, match="Nobody"):
        reply.get(timeout=0)
    assert mailbox.put_notice("notice") is False
    mailbox.post("dropped")
    assert mailbox.empty()


@BOTH
def test_closing_answers_what_waits(make):
    """Askers in the queue get an error; those that asked for the stop get their wish."""
    mailbox = make()
    ask, stop, settled = Reply[Any](), Reply[Any](), Reply[Any]()
    settled.set("by its asker")
    mailbox.put(Envelope("tell"))
    for message, reply in (("ask", ask), (_ActorStop(), stop), ("settled", settled)):
        mailbox.put(Envelope(message, reply_to=reply))
    mailbox.put_notice("notice")
    close(mailbox)
    with pytest.raises(ActorDeadError, match="stopped before handling"):
        ask.get(timeout=0)
    assert stop.get(timeout=0) is None
    assert settled.get(timeout=0) == "by its asker"
    assert mailbox.empty()


@BOTH
def test_a_question_knows_who_owes_the_answer(make):
    """The mailbox marks the reply, for the self-ask check."""
    mailbox, reply = make(), Reply[Any]()
    mailbox.put(Envelope("ask", reply_to=reply))
    assert reply.owed_by is mailbox


@pytest.mark.parametrize("make", [thread_mailbox, pooled_mailbox])
def test_every_put_that_races_the_close_is_answered(make):
    """Whatever the moment of the close, each of 4,000 asks is either in the queue before it or refused."""
    for _ in range(20):
        mailbox = make()
        replies = [Reply[Any]() for _ in range(200)]
        gate = threading.Barrier(2)

        def put_all(mailbox: Any = mailbox, replies: Any = replies, gate: Any = gate) -> None:
            gate.wait(PATIENCE_S)
            for reply in replies:
                mailbox.put(Envelope("ask", reply_to=reply))

        putter = threading.Thread(target=put_all)
        putter.start()
        gate.wait(PATIENCE_S)
        close(mailbox)
        putter.join(PATIENCE_S)
        assert all(reply.done() for reply in replies)


def test_an_empty_thread_mailbox_blocks_until_a_notice_comes():
    """`get` sleeps and is woken by a notice too."""
    mailbox = thread_mailbox()
    got: list[Any] = []
    getter = threading.Thread(target=lambda: got.append(mailbox.get().message))
    getter.start()
    mailbox.put_notice("wake up")
    getter.join(PATIENCE_S)
    assert got == ["wake up"]


def test_an_empty_pooled_mailbox_never_blocks():
    """`get` on an empty one is an error, not a wait."""
    with pytest.raises(IndexError):
        pooled_mailbox().get()


@BOTH
def test_mailboxes_can_be_referred_to_weakly(make):
    """Nobody has to keep a mailbox alive to know of it."""
    mailbox = make()
    assert weakref.ref(mailbox)() is mailbox


def test_the_first_messages_of_a_quiet_actor_are_all_kept():
    """What holds them is made once, by whichever of eight threads is first; nothing is put into another one."""
    for _ in range(60):
        mailbox = quiet_mailbox()
        start = threading.Barrier(8)

        def put(number: int, mailbox: Any = mailbox, start: Any = start) -> None:
            start.wait(PATIENCE_S)
            mailbox.put(Envelope(number)) if number % 2 else mailbox.put_notice(number)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert sorted(mailbox.get().message for _ in range(mailbox.qsize())) == list(range(8))
