"""Quiet actors on few threads: in turn, fairly, without recursion, and never out of threads."""

import queue
import threading
from typing import Any, ClassVar

import pytest
from linkkit import PATIENCE_S, Doer, Hold, PooledDoer, ending, raising, settle, soon
from pykka import ActorDeadError

from limen.actors.links import post, watch
from limen.actors.runtime import here
from limen.actors.runtime.pool import BORROWED_BUDGET, MAX_THREADS, Pool
from limen.actors.runtime.quiet import _NOTHING


def test_the_putter_serves_an_idle_actor_itself():
    """A tell to an idle quiet actor is handled by the teller's thread: no thread switch."""
    ref: Any = PooledDoer.start()
    with ending(ref):
        assert ref.ask(lambda _: threading.get_ident()) == threading.get_ident()


def test_a_posted_message_is_never_served_by_the_poster():
    """`post` only queues: the pool serves."""
    ref: Any = PooledDoer.start()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with ending(ref):
        post(ref, lambda _: heard.put(threading.current_thread().name))
        assert soon(heard).startswith("limen-pool")


def test_a_busy_actor_costs_the_putter_nothing():
    """While another thread serves the actor, a put returns at once; the other thread handles it."""
    ref: Any = PooledDoer.start()
    hold = Hold()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with ending(ref):
        hold.put_into(ref)
        ref.tell(lambda _: heard.put(threading.get_ident()))
        hold.let_go()
        assert soon(heard) != threading.get_ident()


def test_a_putter_works_for_others_only_within_a_budget():
    """An actor that keeps itself busy is handed to the pool after a while."""
    ref: Any = PooledDoer.start()
    served_by: list[int] = []
    done = threading.Event()

    def again(self: Doer) -> None:
        served_by.append(threading.get_ident())
        if len(served_by) < 10 * BORROWED_BUDGET:
            self.actor_ref.tell(again)
        else:
            done.set()

    with ending(ref):
        ref.tell(again)
        assert done.wait(PATIENCE_S)
    assert served_by.count(threading.get_ident()) <= BORROWED_BUDGET


def test_a_chain_of_quiet_actors_does_not_recurse():
    """A message passed along 2,000 quiet actors uses no deeper stack than one hop."""
    done = threading.Event()

    def pass_on(self: Doer) -> None:
        following = self.hooks.get("next")
        following() if following else done.set()

    last = PooledDoer.start()
    refs = [last]
    for _ in range(2_000):
        refs.append(PooledDoer.start(next=lambda ref=refs[-1]: ref.tell(pass_on)))
    refs[-1].tell(pass_on)
    assert done.wait(PATIENCE_S)
    for ref in reversed(refs):
        ref.stop(block=False)


def test_an_actor_is_served_by_one_thread_at_a_time():
    """Messages from many threads never meet inside a handler."""
    ref: Any = PooledDoer.start()
    inside = threading.Lock()
    met: list[int] = []

    def enter(_: Doer) -> None:
        if not inside.acquire(blocking=False):
            met.append(1)
            return
        inside.release()

    def tell_all() -> None:
        for _ in range(500):
            ref.tell(enter)

    with ending(ref):
        threads = [threading.Thread(target=tell_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        settle(ref)
    assert met == []


def test_quiet_actors_that_ask_do_not_use_up_the_pool():
    """With four times as many actors waiting as the pool has threads, one more is still served."""
    gate = Doer.start()
    begun, go_on = threading.Semaphore(0), threading.Event()
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    askers = [PooledDoer.start() for _ in range(4 * MAX_THREADS)]
    gate.tell(lambda _: go_on.wait(PATIENCE_S))

    def ask_gate(_: Doer) -> None:
        asked = gate.ask("through", block=False)
        begun.release()
        answers.put(asked.get(timeout=PATIENCE_S))

    with ending(gate, *askers):
        for asker in askers:
            post(asker, ask_gate)
        for _ in askers:
            assert begun.acquire(timeout=PATIENCE_S)
        post(askers[0], lambda _: None)
        other = PooledDoer.start()
        with ending(other):
            served: queue.SimpleQueue[Any] = queue.SimpleQueue()
            post(other, lambda _: served.put("served"))
            assert soon(served) == "served"
        go_on.set()
        assert [soon(answers) for _ in askers] == ["through"] * len(askers)


def test_quiet_actors_may_ask_each_other():
    """Chains of asks between quiet actors, started from many threads at once, come to an end."""
    echoes = [PooledDoer.start() for _ in range(8)]
    askers = [PooledDoer.start() for _ in range(8)]
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask_all(_: Doer) -> None:
        answers.put([each.ask("hello", timeout=PATIENCE_S) for each in echoes])

    with ending(*echoes, *askers):
        for _ in range(50):
            for asker in askers:
                post(asker, ask_all)
        for _ in range(50 * len(askers)):
            assert soon(answers) == ["hello"] * 8


def test_one_that_never_ends_does_not_starve_the_others():
    """An actor that always has a message for itself leaves the pool's threads to others in between."""
    selfish, other = PooledDoer.start(), PooledDoer.start()
    stop = threading.Event()

    def again(self: Doer) -> None:
        if not stop.is_set():
            self.actor_ref.tell(again)

    with ending(selfish, other):
        for _ in range(2 * MAX_THREADS):
            post(selfish, again)
        heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        post(other, lambda _: heard.put("served"))
        assert soon(heard) == "served"
        stop.set()


def test_a_thread_that_cannot_be_had_loses_no_message(monkeypatch, caplog):
    """When the pool gets no thread the message waits, and the next one brings the pool to life."""
    pool = Pool()
    started: queue.SimpleQueue[Any] = queue.SimpleQueue()
    begin = threading.Thread.start

    def fail_once(thread: threading.Thread) -> None:
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    class Mailbox:
        closed = False
        owner: Any = None
        waiting = 1

        def take_turn(self) -> bool:
            return True

        def give_turn(self) -> None:
            return None

        def empty(self) -> bool:
            return not self.waiting

    class Owner:
        def serve(self, budget: int) -> int:
            mailbox.waiting = 0
            started.put(threading.current_thread().name)
            return budget

    mailbox = Mailbox()
    mailbox.owner = Owner()
    monkeypatch.setattr(threading.Thread, "start", fail_once)
    pool.submit(mailbox)  # type: ignore[arg-type]
    assert "no thread for the pool" in caplog.text
    assert threading.Thread.start is begin
    pool.submit(mailbox)  # type: ignore[arg-type]
    assert soon(started).startswith("limen-pool")


def test_the_thread_knows_what_it_serves_and_forgets_it():
    """While it serves, the thread knows the mailbox; afterwards it is nobody's."""
    ref: Any = PooledDoer.start()
    with ending(ref):
        assert ref.ask(lambda self: here.mailbox is self.actor_inbox) is True
    assert (here.mailbox, here.host, here.draining, list(here.owed)) == (None, None, False, [])


@pytest.mark.parametrize("doer", [Doer, PooledDoer])
def test_a_parent_is_the_actor_that_starts_another(doer):
    """An actor started in a handler knows whose handler it was; one started outside has no parent."""
    ref = doer.start()
    with ending(ref):
        child = ref.ask(lambda _: PooledDoer.start())
        assert child.ask(lambda self: self._parent_urn) == ref.actor_urn
        assert ref.ask(lambda self: self._parent_urn) is None
        child.stop()


def test_a_borrowed_turn_that_fails_ends_the_actor():
    """Work done on an actor's turn by somebody else is the actor's own: its failure ends the actor, with a notice."""
    ref: Any = PooledDoer.start()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch(ref, heard.put)
    asked = ref.ask(lambda self: self.reply_later(), block=False)
    assert ref.actor_inbox.borrow(lambda argument: argument + 1, 1) == 2
    assert ref.actor_inbox.borrow(raising(ValueError("bad")), None) is None
    assert soon(heard).reason.error_type == "ValueError"
    with pytest.raises(ActorDeadError):
        asked.get(timeout=PATIENCE_S)
    assert ref.actor_inbox.borrow(lambda argument: argument, "too late") is None


def test_a_turn_is_borrowed_briefly_for_work_that_sends_nothing():
    """A slot's way to the book: the same turn, the same end for an actor whose work fails, no marks on the thread."""
    ref: Any = PooledDoer.start()
    inbox = ref.actor_inbox
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch(ref, heard.put)

    def on_a_thread(work: Any) -> Any:
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=lambda: done.put([inbox.borrow_briefly(work, 1)])).start()
        return soon(done)[0]

    assert on_a_thread(lambda argument: argument + 1) == 2
    assert on_a_thread(lambda _: on_a_thread(lambda _: "nobody")) is None
    assert on_a_thread(lambda _: (ref.tell(lambda _: heard.put("came meanwhile")), "done")[1]) == "done"
    assert soon(heard) == "came meanwhile"
    assert on_a_thread(raising(ValueError("bad"))) is None
    assert soon(heard).reason.error_type == "ValueError"
    assert on_a_thread(lambda _: "too late") is None


class QuietDoer(PooledDoer):
    """The same, seldom told anything."""

    seldom_told: ClassVar[bool] = True


def test_the_first_message_that_comes_while_a_turn_is_lent_is_served():
    """Also where there was nothing to hold messages in when the turn was lent."""
    ref: Any = QuietDoer.start()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def tell(_: Any) -> str:
        teller = threading.Thread(target=lambda: ref.tell(lambda _: heard.put("came meanwhile")))
        teller.start()
        teller.join(PATIENCE_S)
        return "done"

    with ending(ref):
        ref.actor_inbox._messages = ref.actor_inbox._notices = _NOTHING  # as before its first message
        assert ref.actor_inbox.borrow(tell, None) == "done"
        assert soon(heard) == "came meanwhile"


def test_a_turn_that_somebody_has_is_not_lent():
    """Nobody does an actor's work while it does some itself, or while a notice waits for it."""
    ref: Any = PooledDoer.start()
    hold = Hold()
    with ending(ref):
        assert ref.ask(lambda self: self.actor_inbox.borrow(lambda _: "done", None)) is None
        hold.put_into(ref)
        assert ref.actor_inbox.borrow(lambda _: "done", None) is None
        hold.let_go()


def test_what_comes_while_a_turn_is_lent_is_served_after_it():
    """Messages that arrive meanwhile, from other threads or from the work itself, are handled right after."""
    ref: Any = PooledDoer.start()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work(_: Any) -> str:
        other = threading.Thread(target=lambda: ref.tell(lambda _: heard.put("from outside")))
        other.start()
        other.join(PATIENCE_S)
        ref.tell(lambda _: heard.put("from the work"))
        assert heard.empty()
        return "done"

    with ending(ref):
        assert ref.actor_inbox.borrow(work, None) == "done"
        assert [soon(heard), soon(heard)] == ["from outside", "from the work"]
