"""What Pykka promises of a `ThreadingActor`, ours promise too: the same tests for the stock class and for both of ours.

Where they differ on purpose, `docs/pykka-deviations.md` says why.
"""

import asyncio
import gc
import logging
import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from linkkit import PATIENCE_S, Doer, Hold, ask
from pykka import (
    Actor,
    ActorDeadError,
    ActorProxy,
    ActorRef,
    ActorRegistry,
    CallableProxy,
    Future,
    ThreadingActor,
    Timeout,
    get_all,
    traversable,
)
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr

from limen.actors.links import LinkedActor, post


class Quiet(LinkedActor):
    """The base of the pooled kind."""

    never_blocks: ClassVar[bool] = True


BASES: dict[str, type[ThreadingActor]] = {"stock": ThreadingActor, "thread": LinkedActor, "pooled": Quiet}


@pytest.fixture(params=BASES)
def base(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give the base class of the actors; stop at the end whatever it leaves."""
    yield BASES[request.param]
    ActorRegistry.stop_all(timeout=PATIENCE_S)


class Depth:
    """Something traversable inside an actor."""

    value = "deep"

    def say(self, what: str) -> str:
        return f"{what} from below"


@pytest.fixture
def events() -> "queue.SimpleQueue[Any]":
    """Give the queue that the actors report to."""
    return queue.SimpleQueue()


@pytest.fixture
def actor_class(base: Any, events: "queue.SimpleQueue[Any]") -> Any:
    """Give an actor class that does all that these tests need."""

    class AnActor(base):  # type: ignore[misc]
        plain = "plain"
        _private = "private"
        below = traversable(Depth())

        def __init__(self, greeting: str = "hello", on_start: Any = None, on_stop: Any = None) -> None:
            super().__init__()
            self.greeting = greeting
            self.born_on = threading.get_ident()
            self._hooks = (on_start, on_stop)

        def on_start(self) -> None:
            events.put("on_start")
            if self._hooks[0]:
                self._hooks[0](self)

        def on_stop(self) -> None:
            events.put("on_stop")
            if self._hooks[1]:
                self._hooks[1](self)

        def on_failure(self, kind: Any, value: Any, traceback: Any) -> None:
            events.put(("on_failure", kind, str(value), traceback is not None))

        def on_receive(self, message: Any) -> Any:
            return message(self) if callable(message) else f"got {message}"

        def greet(self, name: str, mark: str = "!") -> str:
            return f"{self.greeting} {name}{mark}"

        def fail(self) -> None:
            raise ValueError("bad")

    return AnActor


def soon(events: "queue.SimpleQueue[Any]") -> Any:
    """Wait for the next event."""
    return events.get(timeout=PATIENCE_S)


def derived(base: Any, name: str, **body: Any) -> Any:
    """Give a subclass of this name with these attributes."""
    return type(name, (base,), body)


def fail(*_: Any) -> None:
    """Raise, as a hook or as a message."""
    raise ValueError("bad")


# --- start ------------------------------------------------------------------------------------------------------------


def test_start_gives_a_ref_of_a_live_registered_actor(actor_class, events):
    """The ref knows class, URN, inbox and flag; the actor is in the registry; `on_start` comes first."""
    ref = actor_class.start()
    assert isinstance(ref, ActorRef)
    assert ref.actor_class is actor_class
    assert ref.actor_urn.startswith("urn:uuid:")
    assert ref.is_alive()
    assert ActorRegistry.get_by_urn(ref.actor_urn) is ref
    assert (str(ref), repr(ref)) == (f"AnActor ({ref.actor_urn})", f"<ActorRef for AnActor ({ref.actor_urn})>")
    assert soon(events) == "on_start"
    assert ref.ask("a message") == "got a message"


def test_start_hands_its_arguments_to_init(actor_class):
    """Positional and by name."""
    assert actor_class.start("hi").proxy().greeting.get() == "hi"
    assert actor_class.start(greeting="ho").proxy().greeting.get() == "ho"


def test_init_runs_on_the_starters_thread(actor_class):
    """`__init__` runs where `start` is called."""
    assert actor_class.start().proxy().born_on.get() == threading.get_ident()


def test_urns_are_unique(actor_class):
    """No two actors have the same URN."""
    refs = [actor_class.start() for _ in range(50)]
    assert len({ref.actor_urn for ref in refs}) == 50


def test_an_init_without_super_is_told(base: Any):
    """Forgetting `super().__init__()` is an error at the start, not a riddle later."""

    class Forgetful(base):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises((AssertionError, AttributeError)):
        Forgetful.start()


def test_an_actor_may_start_and_stop_itself_in_on_start(actor_class, events):
    """A stop sent in `on_start` is the first message handled."""
    ref = actor_class.start(on_start=lambda self: self.stop())
    assert ref.actor_stopped.wait(PATIENCE_S)
    assert [soon(events), soon(events)] == ["on_start", "on_stop"]


def test_an_error_in_on_start_stops_the_actor_without_another_hook(actor_class, events, caplog):
    """The error is logged, the actor leaves the registry, no other hook runs."""
    ref = actor_class.start(on_start=fail)
    assert ref.actor_stopped.wait(PATIENCE_S)
    assert ActorRegistry.get_by_urn(ref.actor_urn) is None
    assert soon(events) == "on_start"
    assert events.empty()
    assert "Unhandled exception in AnActor" in caplog.text


def test_actors_have_the_thread_names_of_their_class(base):
    """A thread dump says which actors there are."""
    if base is Quiet:
        pytest.skip("a pooled actor has no thread")
    named = derived(base, "Named", on_receive=lambda *_: threading.current_thread().name)
    seen = named.start().ask(1)
    assert seen.startswith("Named-")


@pytest.mark.parametrize("daemon", [True, False])
def test_the_class_says_whether_its_thread_is_a_daemon(base, daemon):
    """`use_daemon_thread` is obeyed."""
    if base is Quiet:
        pytest.skip("a pooled actor has no thread")
    named = derived(base, "Named", use_daemon_thread=daemon, on_receive=lambda *_: threading.current_thread().daemon)
    assert named.start().ask(1) is daemon


# --- tell and ask -----------------------------------------------------------------------------------------------------


def test_messages_are_handled_in_order(actor_class, events):
    """One after the other, as they were sent."""
    ref = actor_class.start()
    for number in range(100):
        ref.tell(lambda _, number=number: events.put(number))
    ref.ask("all handled")
    assert [soon(events) for _ in range(101)] == ["on_start", *range(100)]


@pytest.mark.parametrize(
    "message", [None, 0, "text", b"bytes", ["a list"], {"a": "dict"}, ("a", "tuple"), object, Doer, 1.5, frozenset()]
)
def test_a_message_may_be_anything(base, message):
    """Whatever is sent arrives as it is, tuples and `None` included."""
    ref = derived(base, "Echo", on_receive=lambda *given: given[1]).start()
    assert ref.ask(message) is message


def test_tell_returns_nothing_and_ask_the_reply(actor_class):
    """`tell` forgets, `ask` waits."""
    ref = actor_class.start()
    assert ref.tell("a message") is None
    assert ref.ask("a message") == "got a message"


def test_ask_without_blocking_gives_a_future(actor_class):
    """`block=False` returns at once with a future for the reply."""
    future = actor_class.start().ask("a message", block=False)
    assert isinstance(future, Future)
    assert future.get(timeout=PATIENCE_S) == "got a message"


def test_ask_gives_up_after_its_timeout(actor_class):
    """`Timeout` when there is no reply in time; the actor goes on."""
    ref = actor_class.start()
    hold = Hold()
    in_background(ref, hold)
    hold.wait()
    with pytest.raises(Timeout, match=r"0\.001 seconds"):
        ref.ask("too slow", timeout=0.001)
    hold.let_go()
    assert ref.ask("in time", timeout=PATIENCE_S) == "got in time"


def in_background(ref: Any, message: Any) -> None:
    """Send a message whose handler blocks; a pooled actor must not be run by this thread then."""
    if issubclass(ref.actor_class, LinkedActor):
        post(ref, message)
    else:
        ref.tell(message)


def test_an_error_under_ask_is_raised_at_the_asker_and_the_actor_lives_on(actor_class, events, caplog):
    """The exception travels with its traceback, and is logged for information."""
    caplog.set_level(logging.INFO)
    ref = actor_class.start()
    with pytest.raises(ValueError, match="bad") as caught:
        ref.ask(fail)
    assert any(entry.name == "fail" for entry in caught.traceback)
    assert ref.ask("a message") == "got a message"
    assert soon(events) == "on_start"
    assert events.empty()
    assert "Exception returned from AnActor" in caplog.text


def test_an_error_under_tell_ends_the_actor_by_on_failure(actor_class, events, caplog):
    """`on_failure` gets the error, `on_stop` does not run, the error is logged, the registry forgets the actor."""
    ref = actor_class.start()
    ref.tell(fail)
    assert ref.actor_stopped.wait(PATIENCE_S)
    assert [soon(events), soon(events)] == ["on_start", ("on_failure", ValueError, "bad", True)]
    assert events.empty()
    assert ActorRegistry.get_by_urn(ref.actor_urn) is None
    assert "Unhandled exception in AnActor" in caplog.text


def test_an_error_in_on_failure_is_logged(base, caplog):
    """A hook that fails is logged as well; the actor is gone all the same."""
    ref = derived(base, "Hopeless", on_receive=fail, on_failure=fail).start()
    ref.tell("go")
    assert ref.actor_stopped.wait(PATIENCE_S)
    ActorRegistry.stop_all()
    wait_until_logged(caplog, "Unhandled exception in Hopeless", 2)


def wait_until_logged(caplog: pytest.LogCaptureFixture, text: str, times: int) -> None:
    """Join the actor threads, then look."""
    for thread in threading.enumerate():
        if thread.name.startswith(("Hopeless-", "AnActor-", "Silent-")):
            thread.join(PATIENCE_S)
    assert caplog.text.count(text) == times


def test_an_actor_that_expects_no_messages_logs_them(base, caplog):
    """The default `on_receive` warns and replies `None`."""
    ref = derived(base, "Silent").start()
    assert ref.ask("a message") is None
    assert "Unexpected message received by Silent" in caplog.text


@pytest.mark.parametrize("how", ["tell", "ask", "ask later", "proxy"])
def test_the_dead_are_not_spoken_to(actor_class, how):
    """`ActorDeadError`: at once for `tell`, `ask` and `proxy`; from the future for an ask that does not block."""
    ref = actor_class.start()
    ref.stop()
    with pytest.raises(ActorDeadError, match="not found"):
        {
            "tell": lambda: ref.tell("a message"),
            "ask": lambda: ref.ask("a message"),
            "ask later": lambda: ref.ask("a message", block=False).get(),
            "proxy": ref.proxy,
        }[how]()


# --- stop -------------------------------------------------------------------------------------------------------------


def test_stop_waits_runs_on_stop_and_says_true(actor_class, events):
    """A blocking stop returns when the actor is dead and unregistered."""
    ref = actor_class.start()
    assert ref.stop(timeout=PATIENCE_S) is True
    assert (ref.is_alive(), ActorRegistry.get_by_urn(ref.actor_urn)) == (False, None)
    assert [soon(events), soon(events)] == ["on_start", "on_stop"]


def test_stop_of_the_dead_says_false(actor_class):
    """There is nothing to stop."""
    ref = actor_class.start()
    ref.stop()
    assert ref.stop() is False
    assert ref.stop(block=False).get() is False


def test_stop_without_blocking_gives_a_future(actor_class):
    """The answer comes when the actor has stopped."""
    ref = actor_class.start()
    assert ref.stop(block=False).get(timeout=PATIENCE_S) is True
    assert not ref.is_alive()


def test_messages_before_the_stop_are_handled_and_later_ones_refused(actor_class):
    """What was sent before is done; what was asked after gets `ActorDeadError`."""
    ref = actor_class.start()
    hold = Hold()
    in_background(ref, hold)
    hold.wait()
    before = ref.ask("before", block=False)
    stop = ref.stop(block=False)
    after = ref.ask("after", block=False)
    again = ref.stop(block=False)
    hold.let_go()
    assert before.get(timeout=PATIENCE_S) == "got before"
    assert stop.get(timeout=PATIENCE_S) is True
    with pytest.raises(ActorDeadError, match="stopped before handling"):
        after.get(timeout=PATIENCE_S)
    assert again.get(timeout=PATIENCE_S) is True


def test_an_actor_may_stop_itself(actor_class, events):
    """`self.stop()` ends the actor after what is in its inbox already."""
    ref = actor_class.start()
    assert ref.ask(lambda self: self.stop()) is None
    assert ref.actor_stopped.wait(PATIENCE_S)
    assert [soon(events), soon(events)] == ["on_start", "on_stop"]


def test_an_actor_may_stop_another_in_on_stop(actor_class, events):
    """Dependencies can be taken down in order from the hook."""
    other = actor_class.start()
    ref = actor_class.start(on_stop=lambda _: other.stop())
    assert ref.stop(timeout=PATIENCE_S)
    assert not other.is_alive()
    assert [soon(events) for _ in range(4)] == ["on_start", "on_start", "on_stop", "on_stop"]


def test_an_error_in_on_stop_is_logged_and_the_stop_is_done(actor_class, caplog):
    """The hook's failure does not keep the actor alive."""
    ref = actor_class.start(on_stop=fail)
    assert ref.stop(timeout=PATIENCE_S) is True
    assert not ref.is_alive()
    wait_until_logged(caplog, "Unhandled exception in AnActor", 1)


# --- registry ---------------------------------------------------------------------------------------------------------


def test_the_registry_finds_actors_by_urn_class_and_name(actor_class, base):
    """By class means subclasses too."""
    refs = [actor_class.start() for _ in range(3)]
    assert set(refs) <= set(ActorRegistry.get_all())
    assert set(refs) <= set(ActorRegistry.get_by_class(base))
    assert set(ActorRegistry.get_by_class(actor_class)) == set(refs)
    assert set(ActorRegistry.get_by_class_name("AnActor")) == set(refs)
    assert [ActorRegistry.get_by_urn(ref.actor_urn) for ref in refs] == refs


@pytest.mark.parametrize("target", ["class", "name", "all"])
def test_a_broadcast_reaches_the_actors_meant(actor_class, events, target):
    """By class, by name, or everybody."""
    refs = [actor_class.start() for _ in range(3)]
    whom = {"class": actor_class, "name": "AnActor", "all": None}[target]
    ActorRegistry.broadcast(lambda self: events.put(self.actor_urn), whom)
    for ref in refs:
        ref.ask("all handled")
    heard = [soon(events) for _ in range(6)]
    assert {each for each in heard if each != "on_start"} == {ref.actor_urn for ref in refs}


def test_stop_all_stops_the_last_started_first(actor_class, events):
    """A blocking `stop_all` goes backwards and says what became of each."""
    for name in "abc":
        actor_class.start(on_stop=lambda _, name=name: events.put(name))
    assert ActorRegistry.stop_all(timeout=PATIENCE_S) == [True] * 3
    assert [each for each in (soon(events) for _ in range(9)) if each in "abc"] == ["c", "b", "a"]
    assert ActorRegistry.get_all() == []


def test_stop_all_without_blocking_gives_futures(actor_class):
    """A future for each."""
    for _ in range(3):
        actor_class.start()
    assert list(get_all(ActorRegistry.stop_all(block=False), timeout=PATIENCE_S)) == [True] * 3


# --- proxies ----------------------------------------------------------------------------------------------------------


def test_a_proxy_reads_writes_and_calls(actor_class):
    """Attributes and calls give futures, assignments are done when they return."""
    proxy = actor_class.start().proxy()
    assert isinstance(proxy, ActorProxy)
    assert proxy.plain.get() == "plain"
    assert proxy.greet("you", mark="?").get() == "hello you?"
    proxy.greeting = "hi"
    assert proxy.greet("you").get() == "hi you!"
    assert isinstance(proxy.greet, CallableProxy)


def test_a_proxy_reaches_into_what_is_marked_traversable(actor_class):
    """`traversable` opens attributes of attributes."""
    proxy = actor_class.start().proxy()
    assert proxy.below.value.get() == "deep"
    assert proxy.below.say("hello").get() == "hello from below"


def test_a_proxy_shows_no_private_and_no_unknown_attribute(actor_class):
    """`AttributeError` for what is not there or not meant for others."""
    proxy = actor_class.start().proxy()
    for name in ("nothing", "_private"):
        with pytest.raises(AttributeError):
            getattr(proxy, name)
    assert {"plain", "greet", "greeting"} <= set(dir(proxy))


def test_a_call_that_fails_raises_at_the_caller(actor_class):
    """As with `ask`: the actor lives on."""
    proxy = actor_class.start().proxy()
    with pytest.raises(ValueError, match="bad"):
        proxy.fail().get()
    assert proxy.greet("you").get() == "hello you!"


def test_a_deferred_call_is_a_tell(actor_class, events):
    """`defer` returns nothing, and a failure ends the actor."""
    proxy = actor_class.start().proxy()
    assert proxy.greet.defer("you") is None
    proxy.fail.defer()
    assert proxy.actor_ref.actor_stopped.wait(PATIENCE_S)
    assert [soon(events), soon(events)] == ["on_start", ("on_failure", ValueError, "bad", True)]


def test_an_actor_may_have_a_proxy_to_itself(base: Any, events: Any):
    """Work deferred to oneself is done after the current message."""

    class Stepper(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._me = self.actor_ref.proxy()

        def count(self, left: int) -> None:
            events.put(left)
            if left:
                self._me.count(left - 1)

    Stepper.start().proxy().count(3)
    assert [soon(events) for _ in range(4)] == [3, 2, 1, 0]


def test_proxies_are_equal_when_they_mean_the_same(actor_class):
    """Two proxies of one actor are one thing in a set."""
    ref = actor_class.start()
    assert ref.proxy() == ref.proxy()
    assert len({ref.proxy(), ref.proxy()}) == 1
    assert ref.proxy() != actor_class.start().proxy()


def test_proxy_messages_can_be_sent_by_hand(actor_class):
    """The messages of `pykka.messages` work with `ask`."""
    ref = actor_class.start()
    assert ref.ask(ProxyCall(attr_path=("greet",), args=("you",), kwargs={"mark": "."})) == "hello you."
    assert ref.ask(ProxySetAttr(attr_path=("greeting",), value="hi")) is None
    assert ref.ask(ProxyGetAttr(attr_path=("greeting",))) == "hi"


# --- futures ----------------------------------------------------------------------------------------------------------


def futures_of(base: Any, *values: Any) -> list[Any]:
    """Give futures with these values."""
    futures = [base._create_future() for _ in values]
    for future, value in zip(futures, values, strict=True):
        future.set(value)
    return futures


def test_futures_are_mapped_filtered_joined_and_reduced(base):
    """Each gives a new future, computed when it is got."""
    numbers, three = futures_of(base, range(5), 3)
    assert numbers.map(list).get() == [0, 1, 2, 3, 4]
    assert numbers.filter(lambda number: number > 2).get() == [3, 4]
    assert numbers.reduce(lambda one, two: one + two).get() == 10
    assert numbers.reduce(lambda one, two: one + two, 5).get() == 15
    assert three.join(*futures_of(base, 4, 5)).get() == [3, 4, 5]
    assert three.map(lambda n: n + 1).map(lambda n: n * 2).join(three).get() == [8, 3]
    assert repr(three) == "<pykka.Future>"


def test_reducing_or_filtering_what_is_not_iterable_is_a_type_error(base):
    """Raised when the value is got."""
    (three,) = futures_of(base, 3)
    for future in (three.filter(bool), three.reduce(lambda one, two: one + two)):
        with pytest.raises(TypeError):
            future.get(timeout=0)


def test_a_computed_future_hands_its_timeout_on(base):
    """A mapped future that is not there in time is a `Timeout`."""
    with pytest.raises(Timeout):
        base._create_future().map(str).get(timeout=0.001)


def test_a_future_is_set_once(base):
    """The second answer is an error."""
    (future,) = futures_of(base, 1)
    with pytest.raises(queue.Full):
        future.set(2)
    assert future.get() == 1


def test_a_future_is_not_copied(base):
    """The very object that was set is got."""
    thing = object()
    (future,) = futures_of(base, thing)
    assert future.get() is thing


def test_get_all_keeps_the_order(actor_class):
    """Many futures at once."""
    ref = actor_class.start()
    futures = [ref.ask(number, block=False) for number in range(20)]
    assert list(get_all(futures, timeout=PATIENCE_S)) == [f"got {number}" for number in range(20)]


def test_a_future_can_be_awaited(actor_class):
    """Asks, calls and stops can be awaited in a coroutine."""
    ref = actor_class.start()

    async def ask() -> list[Any]:
        proxy = ref.proxy()
        return [
            await ref.ask("a message", block=False),
            await proxy.greet("you"),
            await proxy.plain,
            await ref.stop(block=False),
        ]

    assert asyncio.run(ask()) == ["got a message", "hello you!", "plain", True]


def test_a_future_in_a_message_can_be_answered_by_the_actor(actor_class, base):
    """Futures travel."""
    future = base._create_future()
    actor_class.start().tell(lambda _: future.set("answer"))
    assert future.get(timeout=PATIENCE_S) == "answer"


# --- lifetime ---------------------------------------------------------------------------------------------------------


def test_dropping_the_ref_does_not_stop_the_actor(actor_class):
    """An actor lives until it is stopped; the registry keeps its ref."""
    urn = actor_class.start().actor_urn
    found = ActorRegistry.get_by_urn(urn)
    assert found is not None
    assert ask(found, "a message") == "got a message"


def test_a_stopped_actor_is_not_kept(actor_class):
    """Nothing of ours or of Pykka's keeps a dead actor in memory, even while its ref is kept."""
    ref = actor_class.start()
    ref.ask("a message")
    ref.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("AnActor-"):
            thread.join(PATIENCE_S)
    actor = ref._actor_weakref
    assert isinstance(actor, weakref.ref)
    gc.collect()
    assert actor() is None


def test_ours_are_pykka_actors(base):
    """Code that asks whether something is an actor of Pykka's gets a yes."""
    assert issubclass(base, ThreadingActor)
    assert issubclass(base, Actor)
