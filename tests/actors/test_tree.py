"""The live actor tree is read past the actors, so it answers while all of them are busy."""

import threading
from typing import Any

import pytest
from linkkit import PATIENCE_S, Doer, Hold, PooledDoer, ask, ending, heard_of, settle, soon
from pykka import ThreadingActor

from limen.actors import tree as tree_of_actors
from limen.actors.links import kill, post
from limen.actors.supervisor import QuietSupervisor, SupervisorActor
from limen.actors.tree import ActorRow, ActorState, format_tree, tree
from limen.messages.supervision import ChildSpec, StartChild, WhichChildren


def row_of(ref: Any, rows: tuple[ActorRow, ...] | None = None) -> ActorRow:
    """Find an actor anywhere in the tree."""
    found = _find(ref.actor_urn, tree() if rows is None else rows)
    assert found is not None, "the actor is not in the tree"
    return found


def _find(urn: str, rows: tuple[ActorRow, ...]) -> ActorRow | None:
    for row in rows:
        found = row if row.urn == urn else _find(urn, row.children)
        if found is not None:
            return found
    return None


def test_an_empty_process_has_an_empty_tree():
    """No actors, no rows, no text."""
    assert tree() == ()
    assert format_tree() == ""
    assert tree_of_actors is tree


@pytest.mark.parametrize("supervisor_class", [SupervisorActor, QuietSupervisor])
def test_children_stand_below_their_supervisor_with_their_restarts(supervisor_class):
    """Names are the ids of the specifications; restarts are counted."""
    supervisor = supervisor_class.start(
        [
            ChildSpec(id="plain", start=PooledDoer),
            ChildSpec(id="inner", start=QuietSupervisor, args=([ChildSpec(id="leaf", start=Doer)],)),
        ]
    )
    with ending(supervisor):
        first = ask(supervisor, WhichChildren())[0].ref
        gone = heard_of(first)
        kill(first)
        soon(gone)
        settle(supervisor)
        top = row_of(supervisor)
        assert top.class_name == supervisor_class.__name__
        assert {(row.name, row.class_name, row.restarts) for row in top.children} == {
            ("plain", "PooledDoer", 1),
            ("inner", "QuietSupervisor", 0),
        }
        (inner,) = (row for row in top.children if row.name == "inner")
        assert [row.name for row in inner.children] == ["leaf"]


def test_a_tree_is_given_while_every_actor_is_busy():
    """State, message and queue of actors whose handlers do not return are shown at once."""
    refs = [each.start() for each in (Doer, PooledDoer, Doer, PooledDoer)]
    busy = [Hold() for _ in refs]
    with ending(*refs):
        for ref, hold in zip(refs, busy, strict=True):
            hold.put_into(ref)
        for ref in refs:
            for number in range(3):
                post(ref, number)
        rows = [row_of(ref) for ref in refs]
        assert [(row.state, row.handling, row.queue_length) for row in rows] == [(ActorState.HANDLING, "Hold", 3)] * 4
        later = [row_of(ref) for ref in refs]
        for row, earlier in zip(later, rows, strict=True):
            assert row.handling_s is not None
            assert earlier.handling_s is not None
            assert row.handling_s >= earlier.handling_s >= 0
        for each in busy:
            each.let_go()
        for ref in refs:
            settle(ref)


def test_an_idle_actor_is_idle():
    """Nothing to do, nothing in its queue."""
    for each in (Doer, PooledDoer):
        ref = each.start()
        with ending(ref):
            settle(ref)
            row = row_of(ref)
            assert (row.state, row.handling, row.handling_s, row.queue_length) == (ActorState.IDLE, None, None, 0)


def test_an_actor_in_on_start_is_starting():
    """Before its first message it is not idle."""
    hold = Hold()
    ref = Doer.start(on_start=hold)
    with ending(ref):
        hold.wait()
        assert row_of(ref).state is ActorState.STARTING
        hold.let_go()


def test_a_supervisor_that_waits_for_its_children_is_stopping():
    """A shutdown that takes its time can be watched."""
    supervisor = SupervisorActor.start([ChildSpec(id="slow", start=Doer)])
    (child,) = ask(supervisor, WhichChildren())
    hold = Hold()
    hold.put_into(child.ref)
    stop = supervisor.stop(block=False)
    settle(supervisor)
    assert row_of(supervisor).state is ActorState.STOPPING
    assert row_of(child.ref).state is ActorState.HANDLING
    hold.let_go()
    assert stop.get(timeout=PATIENCE_S)


def test_stock_actors_are_roots():
    """Pykka's own actors appear, without a state that they do not tell."""

    class Stock(ThreadingActor):
        """An actor as Pykka has it."""

    stock = Stock.start()
    with ending(stock):
        row = row_of(stock)
        assert (row.name, row.state, row.children) == ("Stock", ActorState.RUNNING, ())
        assert row in tree()


def test_an_actor_started_by_another_stands_below_it_while_that_lives():
    """Without a supervisor the starter is the parent; a child that outlives it is a root."""
    parent = PooledDoer.start()
    child = ask(parent, lambda _: PooledDoer.start())
    with ending(child):
        assert [row.urn for row in row_of(parent).children] == [child.actor_urn]
        parent.stop()
        assert [row.urn for row in tree()] == [child.actor_urn]


def test_calls_by_proxy_are_named_by_what_they_call():
    """`heard.put` says more than `ProxyCall`."""
    hold = Hold()

    class Called(Doer):
        def work(self) -> None:
            hold()

    ref = Called.start()
    with ending(ref):
        done = ref.proxy().work()
        hold.wait()
        assert row_of(ref).handling == "work"
        hold.let_go()
        done.get(timeout=PATIENCE_S)


def test_the_text_shows_the_tree():
    """A line for each actor, with what is worth saying of it."""

    def row(name: str, **fields: Any) -> ActorRow:
        return ActorRow(**{"name": name, "urn": name, "class_name": name, "state": "idle", "queue_length": 0, **fields})

    rows = (
        row(
            "Top",
            state=ActorState.STOPPING,
            handling="Down",
            handling_s=0.04,
            children=(
                row("a", class_name="Worker", state=ActorState.HANDLING, handling="Job", handling_s=1.26, restarts=1),
                row("b", class_name="Group", queue_length=7, children=(row("Leaf", restarts=2),)),
            ),
        ),
        row("Other", state=ActorState.RUNNING),
    )
    assert format_tree(rows).splitlines() == [
        "Top  stopping, handling Down for 0.0 s",
        "├─ a (Worker)  handling Job for 1.3 s  restarted once",
        "└─ b (Group)  idle  7 waiting",
        "   └─ Leaf  idle  restarted 2 times",
        "Other  running",
    ]


def test_the_tree_may_be_read_while_it_changes():
    """Reading while actors come and go raises nothing and shows whoever stayed."""
    stays = PooledDoer.start()
    done = threading.Event()

    def churn() -> None:
        supervisor = QuietSupervisor.start()
        for number in range(300):
            spec = ChildSpec(id=str(number), start=PooledDoer, restart="temporary")
            ask(supervisor, StartChild(spec)).stop()
        supervisor.stop()
        done.set()

    thread = threading.Thread(target=churn)
    thread.start()
    with ending(stays):
        while not done.is_set():
            assert row_of(stays).state is ActorState.IDLE
        thread.join(PATIENCE_S)
