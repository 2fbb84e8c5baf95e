"""Asking an idle actor that never blocks: it answers on the asker's thread, with all that an ask promises."""

import queue
import threading
from typing import Any

import pytest
from linkkit import PATIENCE_S, Doer, Hold, PooledDoer, ending, raising
from pykka import ActorDeadError

from limen.actors.linking import ask
from limen.actors.links import watch
from limen.actors.runtime import here
from limen.messages.errors import ActorCrashed


def value_of(answer: Any) -> Any:
    """Take an answer out of its box, or wait for it."""
    return answer[0] if isinstance(answer, tuple) else answer.get(timeout=PATIENCE_S)


def test_an_idle_actor_answers_on_this_thread():
    """The answer comes in a box, even if it is `None`; while it was made, the actor was the one that ran here."""
    ref = PooledDoer.start()
    with ending(ref):
        assert ask(ref, lambda _: threading.get_ident()) == (threading.get_ident(),)
        assert ask(ref, lambda _: None) == (None,)
        assert ask(ref, lambda self: here.mailbox is self.actor_inbox) == (True,)
        assert (here.mailbox, here.host, here.draining) == (None, None, False)


def test_a_busy_actor_answers_later_and_in_order():
    """Somebody else runs it: what was told before is handled before."""
    ref = PooledDoer.start()
    hold, seen = Hold(), []
    with ending(ref):
        hold.put_into(ref)
        ref.tell(lambda _: seen.append("told"))
        answer = ask(ref, lambda _: seen.append("asked"))
        assert not isinstance(answer, tuple)
        hold.let_go()
        value_of(answer)
        assert seen == ["told", "asked"]


def test_what_is_sent_meanwhile_is_served_afterwards():
    """A message to the actor itself, or to another one, that the handler sends, does not lie about."""
    ref, other = PooledDoer.start(), PooledDoer.start()
    seen: list[str] = []

    def handler(self: Any) -> None:
        self.actor_ref.tell(lambda _: seen.append("self"))
        other.tell(lambda _: seen.append("other"))
        seen.append("handler")

    with ending(ref, other):
        ask(ref, handler)
        assert sorted(seen) == ["handler", "other", "self"]
        assert seen[0] == "handler"


@pytest.mark.parametrize("doer", [Doer, PooledDoer])
def test_an_error_is_the_askers_and_the_actor_lives(doer):
    """As with any ask."""
    ref = doer.start()
    with ending(ref):
        with pytest.raises(ValueError, match="bad"):
            value_of(ask(ref, raising(ValueError("bad"))))
        assert value_of(ask(ref, "still there")) == "still there"


@pytest.mark.parametrize("doer", [Doer, PooledDoer])
def test_an_exit_ends_the_actor_and_nobody_else(doer):
    """`SystemExit` in a handler is told to the asker, ends this actor, and its watchers hear of it once."""
    ref = doer.start()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch(ref, heard.put)
    with pytest.raises(ActorCrashed):
        value_of(ask(ref, raising(SystemExit(3))))
    assert heard.get(timeout=PATIENCE_S).reason.error_type == "SystemExit"
    assert heard.empty()
    with pytest.raises(ActorDeadError):
        value_of(ask(ref, "too late"))


@pytest.mark.parametrize("doer", [Doer, PooledDoer])
def test_an_answer_may_be_put_off(doer):
    """The asker then waits, and gets what is answered later, or is told that the actor has ended."""
    ref = doer.start()
    later: list[Any] = []
    answers = [ask(ref, lambda self: later.append(self.reply_later())) for _ in range(2)]
    value_of(ask(ref, None))
    later[0].set("answer")
    assert value_of(answers[0]) == "answer"
    ref.stop()
    with pytest.raises(ActorDeadError):
        value_of(answers[1])


def test_a_handler_may_stop_its_actor():
    """The answer is given, and the actor has ended when the asker has it."""
    ref = PooledDoer.start()
    assert ask(ref, lambda self: self.finish_stop()) == (None,)
    assert not ref.is_alive()


def test_an_actor_that_is_being_asked_does_not_answer_itself_here():
    """Inside a turn nobody's turn is borrowed: the message waits its time."""
    ref = PooledDoer.start()
    inner: list[Any] = []
    with ending(ref):
        ask(ref, lambda self: inner.append(ask(self.actor_ref, "inner")))
        assert value_of(inner[0]) == "inner"
