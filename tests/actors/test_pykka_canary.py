"""The private parts of Pykka and of `threading` that we stand on. When one moves, a test says which, and who cares.

If a new Pykka makes one of these fail, read `actors/links.py`, `actors/stock.py` and `actors/runtime/` again before
raising the version bound.
"""

import importlib.metadata
import inspect
import threading
from typing import Any, NamedTuple

import pytest
from linkkit import PATIENCE_S, Doer
from pykka import ActorRef, ActorRegistry, Future, ThreadingActor, ThreadingFuture, messages
from pykka._actor import Actor
from pykka._envelope import Envelope
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from limen.actors.links import LinkedActor


def moved(seam: str, who_cares: str) -> str:
    """Say which part of Pykka is not where it was."""
    return f"Pykka {importlib.metadata.version('pykka')} has moved {seam}; {who_cares} stands on it"


def source_of(thing: Any) -> str:
    """Give the source of a function."""
    return inspect.getsource(thing)


def test_pykka_is_of_the_line_that_was_read():
    """All that follows was read in 4.5."""
    version = importlib.metadata.version("pykka")
    assert version.startswith("4.5."), f"Pykka {version} is not of the 4.5 line: read its source against this file"


@pytest.mark.parametrize(
    "name",
    [
        "_create_actor_inbox",
        "_create_future",
        "_start_actor_loop",
        "_actor_loop",
        "_handle_receive",
        "_stop",
        "_handle_failure",
    ],
)
def test_the_seams_that_we_override_are_there(name):
    """A method of ours with this name replaces one of Pykka's; if that is gone, ours is never called."""
    assert callable(getattr(ThreadingActor, name, None)), moved(f"Actor.{name}", "LinkedActor")


def test_the_inbox_and_the_future_come_from_the_hooks():
    """`Actor` and `ActorRef` take both from the class's hooks, and nowhere else."""
    assert "self._create_actor_inbox()" in source_of(Actor.__init__), moved("the call of the inbox hook", "LinkedActor")
    assert "actor_class._create_future()" in source_of(ActorRef.ask), moved("the call of the future hook", "Reply")


def test_init_sets_what_ours_sets():
    """We do not call Pykka's `__init__`; what it sets, ours must set too."""

    class Stock(ThreadingActor):
        pass

    theirs, ours = set(vars(Stock())), set(vars(Doer()))
    assert theirs == {"actor_urn", "actor_inbox", "actor_stopped", "_actor_ref"}, moved(
        "what Actor.__init__ sets", "LinkedActor.__init__"
    )
    assert theirs <= ours


def test_start_does_what_ours_does():
    """We do not call Pykka's `start`; it creates, registers and starts the loop, in this order."""
    source = source_of(Actor.start.__func__)  # type: ignore[attr-defined]
    steps = ["cls(*args, **kwargs)", "ActorRegistry.register(obj.actor_ref)", "obj._start_actor_loop()"]
    places = [source.find(step) for step in steps]
    assert -1 < places[0] < places[1] < places[2], moved("the steps of Actor.start", "LinkedActor._launch")


def test_the_loop_does_what_ours_does():
    """We do not call Pykka's loop either; it has these three phases and no more."""
    loop = source_of(Actor._actor_loop)
    for phase in ("_actor_loop_setup()", "_actor_loop_running()", "_actor_loop_teardown()"):
        assert phase in loop, moved(f"Actor.{phase}", "LinkedActor._actor_loop")
    assert loop.count("self._") == 3, moved("the phases of Actor._actor_loop", "LinkedActor._actor_loop")


def test_an_envelope_is_a_message_and_a_reply():
    """Our mailboxes read both fields, and make envelopes of their own."""
    envelope = Envelope("message")
    assert (envelope.message, envelope.reply_to) == ("message", None), moved("Envelope", "every mailbox")
    assert list(Envelope.__slots__) == ["message", "reply_to"], moved("the fields of Envelope", "every mailbox")


@pytest.mark.parametrize("kind", [_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr])
def test_pykkas_own_messages_are_tuples(kind):
    """What is no tuple goes straight to `on_receive`: the quick way through `_handle_receive`."""
    assert issubclass(kind, tuple), moved(f"messages.{kind.__name__}, which is no tuple any more", "_handle_receive")


def test_there_are_no_other_messages_of_pykkas():
    """A new kind of message would have to be looked at."""
    kinds = {
        name
        for name, value in vars(messages).items()
        if isinstance(value, type) and value.__module__ == "pykka.messages" and value is not NamedTuple
    }
    assert kinds == {"_ActorStop", "ProxyCall", "ProxyGetAttr", "ProxySetAttr"}, moved("messages", "_handle_receive")


def test_a_stop_is_a_message():
    """`ActorRef.stop` and `Actor.stop` send `_ActorStop`, which we catch to answer it last."""
    assert "_ActorStop()" in source_of(ActorRef.stop), moved("what ActorRef.stop sends", "LinkedActor._stop_asked")
    assert "_ActorStop()" in source_of(Actor.stop), moved("what Actor.stop sends", "LinkedActor._stop_asked")


def test_a_ref_leads_to_its_actor():
    """`watch`, `link` and `tree` find the actor by its ref's weak reference."""
    ref = Doer.start()
    assert isinstance(ref._actor_weakref(), Doer), moved("ActorRef._actor_weakref", "watch, link and tree")
    ref.stop()


def test_a_ref_is_alive_until_the_flag_is_set():
    """`ActorRef` asks the flag of the actor, nothing else."""
    assert "self.actor_stopped.is_set()" in source_of(ActorRef.is_alive), moved("ActorRef.is_alive", "Flag")


def test_the_registry_is_a_list_under_a_lock():
    """An ordered shutdown takes the last entry off without a search; entering is appending."""
    appends = "with cls._actor_refs_lock:\n            cls._actor_refs.append(actor_ref)"
    assert appends in source_of(ActorRegistry.register), moved("ActorRegistry.register", "links._register")
    assert isinstance(ActorRegistry._actor_refs, list), moved("ActorRegistry._actor_refs", "links._unregister")
    with ActorRegistry._actor_refs_lock, ActorRegistry._actor_refs_lock:
        pass


def test_the_insides_of_a_future_are_two_fields():
    """`Reply` skips `Future.__init__`, and brings its own hook; the combinators need no more than these methods."""
    assert set(vars(Future())) == {"_get_hook", "_get_hook_result"}, moved("what Future.__init__ sets", "Reply")
    for name in ("filter", "join", "map", "reduce"):
        source = source_of(getattr(Future, name))
        assert "self.__class__()" in source, moved(f"how Future.{name} makes a future", "Reply")
        assert "set_get_hook(" in source, moved(f"how Future.{name} computes", "Reply")
    assert "converted_future = ask_future.__class__()" in source_of(ActorRef.stop), moved("ActorRef.stop", "Reply")


def test_futures_have_the_methods_that_ours_replaces():
    """Nothing of a stock future is left that would look for fields we do not have."""
    theirs = {name for name, value in vars(Future).items() if callable(value) and not name.startswith("__")}
    assert theirs == {"get", "set", "set_exception", "set_get_hook", "filter", "join", "map", "reduce"}, moved(
        "the methods of Future", "Reply"
    )
    assert not {name for name in vars(ThreadingFuture) if not name.startswith("_")} - theirs


def test_a_stock_actor_sets_its_flag_whenever_it_ends():
    """A stock actor is watched by its flag, set while the error that ended it is being handled."""
    for method in (Actor._stop, Actor._handle_failure):
        assert "self.actor_stopped.set()" in source_of(method), moved(f"what {method.__name__} sets", "StockDeath")


def test_a_thread_takes_leave_by_a_method():
    """A stock actor that becomes a zombie is noticed by its thread's `_delete`, looked up on the instance."""
    assert "self._delete()" in source_of(threading.Thread._bootstrap_inner), "threading has moved Thread._delete"  # type: ignore[attr-defined]
    taken_leave = threading.Event()
    thread = threading.Thread(target=lambda: None)
    farewell = thread._delete  # type: ignore[attr-defined]

    def take_leave() -> None:
        taken_leave.set()
        farewell()

    thread._delete = take_leave  # type: ignore[attr-defined]
    thread.start()
    assert taken_leave.wait(PATIENCE_S), "threading calls Thread._delete no more; StockDeath stands on it"
    thread.join()


def test_a_thread_says_whom_it_serves_while_it_does():
    """The thread of a stock actor is found by its target, which is gone when it has run."""
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    assert thread._target.__self__ is go_on, "threading has moved Thread._target; StockDeath stands on it"  # type: ignore[attr-defined]
    go_on.set()
    thread.join()
    assert not hasattr(thread, "_target"), "threading keeps Thread._target; StockDeath stands on its going"


def test_an_event_is_what_the_flag_replaces():
    """`Flag` replaces every public method of `threading.Event`."""
    public = {name for name in vars(threading.Event) if not name.startswith("_") and name != "isSet"}
    assert public == {"is_set", "set", "clear", "wait"}, "threading.Event has new methods; Flag must have them too"


def test_ours_refuses_no_name_of_pykkas():
    """The names that a subclass may not define are ours alone."""
    assert issubclass(type("Own", (LinkedActor,), {"_start_actor_loop": print}), LinkedActor)
