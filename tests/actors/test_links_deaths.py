"""Every way to die gives exactly one notice, with the right reason."""

import queue
import threading
from typing import Any

import attrs
import pytest
from linkkit import DOERS, PATIENCE_S, TRAPPERS, Doer, ask, heard_of, raising, settle, soon, started_watched
from pykka import ActorDeadError, ActorRef, ActorRegistry

from limen.actors.links import LinkedActor, exit_reason, kill, order_exit, watch
from limen.messages.errors import ActorCrashed
from limen.messages.lifecycle import Down, ExitKind, ExitReason

BASE_ERRORS = [SystemExit("out"), KeyboardInterrupt("out"), GeneratorExit("out")]

KINDS = pytest.mark.parametrize("kind", ["thread", "pooled"])


def heard_into(heard: "queue.SimpleQueue[Any]", actor: LinkedActor) -> None:
    """Watch an actor that has not begun yet."""
    watch(actor.actor_ref, heard.put)


def name_of(error: BaseException) -> str:
    """Name a parameter."""
    return type(error).__name__


def assert_one_notice(ref: ActorRef[Any], heard: "queue.SimpleQueue[Down]", kind: ExitKind, error_type: str | None):
    """Exactly one notice came, of this kind, and nothing is left of the actor."""
    down = soon(heard)
    assert (down.ref, down.reason.kind, down.reason.error_type) == (ref, kind, error_type)
    late = heard_of(ref)
    assert soon(late).reason.kind is ExitKind.NOPROC
    assert heard.empty()
    assert exit_reason(ref) in (down.reason, None)
    assert not ref.is_alive()
    assert ActorRegistry.get_by_urn(ref.actor_urn) is None
    with pytest.raises(ActorDeadError):
        ref.tell("anybody there?")


@KINDS
@pytest.mark.parametrize("error", [ValueError("bad"), *BASE_ERRORS], ids=name_of)
def test_error_in_on_start_is_noticed(kind, error):
    """An actor that fails in `on_start` is reported; Pykka calls no hook, or leaves a zombie."""
    stopped = []
    ref, heard = started_watched(
        DOERS[kind], on_start=raising(error), on_stop=lambda: stopped.append(1), on_failure=lambda: stopped.append(2)
    )
    assert_one_notice(ref, heard, ExitKind.ERROR, type(error).__name__)
    assert stopped == []


@KINDS
@pytest.mark.parametrize("error", [ValueError("bad"), *BASE_ERRORS], ids=name_of)
def test_error_under_tell_is_noticed(kind, error):
    """Whatever a handler raises under `tell` ends the actor, and runs `on_failure` once."""
    failed = []
    ref, heard = started_watched(DOERS[kind], on_failure=lambda: failed.append(1))
    ref.tell(raising(error))
    assert_one_notice(ref, heard, ExitKind.ERROR, type(error).__name__)
    assert failed == [1]


@KINDS
@pytest.mark.parametrize("error", BASE_ERRORS, ids=name_of)
def test_base_exception_under_ask_ends_the_actor_and_answers_the_asker(kind, error):
    """The asker gets an `ActorCrashed` with the cause; Pykka leaves it waiting for ever."""
    ref, heard = started_watched(DOERS[kind])
    with pytest.raises(ActorCrashed) as caught:
        ref.ask(raising(error), timeout=PATIENCE_S)
    assert caught.value.__cause__ is error
    assert_one_notice(ref, heard, ExitKind.ERROR, type(error).__name__)


@KINDS
def test_exception_under_ask_goes_to_the_asker_alone(kind):
    """As with Pykka: the asker gets the error and the actor lives on."""
    ref, heard = started_watched(DOERS[kind])
    with pytest.raises(ValueError, match="bad"):
        ref.ask(raising(ValueError("bad")), timeout=PATIENCE_S)
    assert ref.ask("still there", timeout=PATIENCE_S) == "still there"
    ref.stop()
    assert_one_notice(ref, heard, ExitKind.NORMAL, None)


@KINDS
@pytest.mark.parametrize("how", ["ask", "tell"])
def test_what_counts_as_a_crash_need_not_depend_on_who_asks(kind, how):
    """With `ask_errors_crash`, the same error has the same outcome under `ask` as under `tell`."""
    strict = type("Strict", (DOERS[kind],), {"ask_errors_crash": True})
    ref, heard = started_watched(strict)
    if how == "ask":
        with pytest.raises(ValueError, match="bad"):
            ref.ask(raising(ValueError("bad")), timeout=PATIENCE_S)
    else:
        ref.tell(raising(ValueError("bad")))
    assert_one_notice(ref, heard, ExitKind.ERROR, "ValueError")


@KINDS
@pytest.mark.parametrize("error", [ValueError("bad"), *BASE_ERRORS], ids=name_of)
def test_error_in_on_stop_is_noticed_and_on_stop_runs_once(kind, error):
    """`on_stop` runs once whatever it raises, and who asked for the stop is answered; Pykka runs it twice."""
    ran = []

    def on_stop() -> None:
        ran.append(1)
        raise error

    ref, heard = started_watched(DOERS[kind], on_stop=on_stop)
    assert ref.stop(timeout=PATIENCE_S)
    assert_one_notice(ref, heard, ExitKind.ERROR, type(error).__name__)
    assert ran == [1]


@KINDS
def test_error_in_on_failure_leaves_the_first_reason(kind):
    """A second error on the way out does not hide the first one."""
    ref, heard = started_watched(DOERS[kind], on_failure=raising(SystemExit("second")))
    ref.tell(raising(ValueError("first")))
    assert_one_notice(ref, heard, ExitKind.ERROR, "ValueError")


@KINDS
def test_error_whose_text_cannot_be_had_is_noticed(kind):
    """An exception with a broken `__str__` does not break the funnel."""

    class UntoldError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    ref, heard = started_watched(DOERS[kind])
    ref.tell(raising(UntoldError()))
    assert_one_notice(ref, heard, ExitKind.ERROR, "UntoldError")


@KINDS
def test_stop_is_noticed_as_normal(kind):
    """A stop in good order has the reason `normal`, and runs `on_stop` once."""
    ran = []
    ref, heard = started_watched(DOERS[kind], on_stop=lambda: ran.append(1))
    assert ref.stop(timeout=PATIENCE_S) is True
    assert_one_notice(ref, heard, ExitKind.NORMAL, None)
    assert ran == [1]


@KINDS
def test_kill_is_noticed_and_runs_no_on_stop(kind):
    """A killed actor ends with reason `killed`, without `on_stop`."""
    ran = []
    ref, heard = started_watched(DOERS[kind], on_stop=lambda: ran.append(1))
    kill(ref, "enough")
    assert_one_notice(ref, heard, ExitKind.KILLED, None)
    assert ran == []


@KINDS
def test_ordered_exit_has_the_reason_that_was_ordered(kind):
    """Whoever orders an exit says the reason."""
    ref, heard = started_watched(DOERS[kind])
    order_exit(ref, ExitReason(ExitKind.ERROR, message="the disk is gone"))
    assert soon(heard).reason.message == "the disk is gone"


@KINDS
@pytest.mark.parametrize("how", ["tell", "ask"])
def test_crash_ends_the_actor_after_the_message(kind, how):
    """`crash` gives the reason under `tell` and `ask` alike; the asker still gets its reply."""
    ref, heard = started_watched(DOERS[kind])

    def message(self: Doer) -> str:
        self.crash(ValueError("bad"))
        return "done"

    if how == "ask":
        assert ref.ask(message, timeout=PATIENCE_S) == "done"
    else:
        ref.tell(message)
    assert_one_notice(ref, heard, ExitKind.ERROR, "ValueError")


@KINDS
@pytest.mark.parametrize("parent_kind", ["thread", "pooled"])
def test_exit_of_a_linked_actor_is_noticed_with_its_reason(kind, parent_kind):
    """A link carries the reason on: the second actor's watcher hears what ended the first."""
    parent = DOERS[parent_kind].start()
    child = ask(parent, lambda self: self.spawn_link(DOERS[kind]))
    of_child, of_parent = heard_of(child), heard_of(parent)
    child.tell(raising(ValueError("bad")))
    assert_one_notice(child, of_child, ExitKind.ERROR, "ValueError")
    assert_one_notice(parent, of_parent, ExitKind.ERROR, "ValueError")


def test_thread_that_cannot_be_had_is_noticed(monkeypatch):
    """When no thread can be started, `start` raises, the watcher is told and the registry is clean."""
    heard: queue.SimpleQueue[Down] = queue.SimpleQueue()
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    with pytest.raises(RuntimeError, match="new thread"):
        Doer._launch(lambda actor: heard_into(heard, actor), (), {})
    down = soon(heard)
    assert_one_notice(down.ref, _refilled(heard, down), ExitKind.ERROR, "RuntimeError")


def _refilled(heard: "queue.SimpleQueue[Down]", down: Down) -> "queue.SimpleQueue[Down]":
    heard.put(down)
    return heard


def test_start_that_is_broken_off_leaves_no_thread_behind(monkeypatch):
    """A Ctrl-C between the thread's start and the return of `start` ends the actor that runs already."""
    begin = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        begin(thread)
        monkeypatch.undo()
        raise KeyboardInterrupt

    heard: queue.SimpleQueue[Down] = queue.SimpleQueue()
    running = threading.Event()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Doer._launch(lambda actor: heard_into(heard, actor), (), {"on_start": running.set})
    assert soon(heard).reason.kind in (ExitKind.KILLED, ExitKind.ERROR)
    assert heard.empty()


@KINDS
def test_error_in_init_starts_nothing(kind):
    """What `__init__` raises goes to the starter, and nothing has been registered."""

    class Unborn(DOERS[kind]):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__()
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        Unborn.start()
    assert ActorRegistry.get_by_class(Unborn) == []


@KINDS
def test_registry_entry_is_gone_before_the_notice(kind):
    """Whoever hears of a death finds no trace of the dead in Pykka's registry."""
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for end in (lambda ref: ref.stop(), kill, lambda ref: ref.tell(raising(ValueError("bad")))):
        ref = DOERS[kind].start()
        watch(ref, lambda down: seen.put((ActorRegistry.get_by_urn(down.ref.actor_urn), down.ref.is_alive())))
        end(ref)
        assert soon(seen) == (None, False)


@KINDS
def test_stop_is_answered_after_the_notices(kind):
    """When `stop` returns, every watcher has been told."""
    ref, heard = started_watched(DOERS[kind])
    ref.stop(timeout=PATIENCE_S)
    assert not heard.empty()


@KINDS
def test_a_watcher_that_fails_keeps_nobody_else_from_its_notice(kind):
    """A callback that raises, even `SystemExit`, is logged and the next one is called."""
    ref = DOERS[kind].start()
    watch(ref, raising(SystemExit("bad watcher")))
    heard = heard_of(ref)
    assert ref.stop(timeout=PATIENCE_S)
    assert heard.qsize() == 1


@KINDS
def test_on_exit_runs_on_every_path_once_before_the_notice(kind):
    """`on_exit` is told the reason, once, also where neither `on_stop` nor `on_failure` runs."""
    seen: queue.SimpleQueue[Any] = queue.SimpleQueue()

    class Farewell(DOERS[kind]):  # type: ignore[misc,valid-type]
        def on_exit(self, reason: ExitReason) -> None:
            seen.put(("exit", reason.kind))
            raise KeyboardInterrupt("bad farewell")

    for hooks, end, expected in (
        ({}, lambda ref: ref.stop(block=False), ExitKind.NORMAL),
        ({}, kill, ExitKind.KILLED),
        ({"on_start": raising(SystemExit())}, lambda _: None, ExitKind.ERROR),
    ):
        ref = Farewell._launch(
            lambda actor: watch(actor.actor_ref, lambda down: seen.put(("down", down.reason.kind))), (), hooks
        )
        end(ref)
        assert [soon(seen), soon(seen)] == [("exit", expected), ("down", expected)]
    assert seen.empty()


@KINDS
@pytest.mark.parametrize("error", BASE_ERRORS, ids=name_of)
def test_base_exception_leaves_siblings_serving(kind, error):
    """`SystemExit` and the like end the one actor that raised; Pykka stops every actor in the process."""
    siblings = [DOERS[each].start() for each in ("thread", "pooled")]
    for how in ("tell", "ask"):
        ref, heard = started_watched(DOERS[kind])
        getattr(ref, how)(raising(error), **({"block": False} if how == "ask" else {}))
        soon(heard)
    assert [each.ask("still there", timeout=PATIENCE_S) for each in siblings] == ["still there"] * 2
    for each in siblings:
        each.stop()


@KINDS
def test_link_to_the_dead_is_an_abnormal_end(kind):
    """Linking to an actor that is gone counts as its end, with `noproc`. Source: OTP, link/1."""
    gone = DOERS[kind].start()
    gone.stop()
    trapper = TRAPPERS[kind].start()
    heard = ask(trapper, lambda self: self.heard)
    trapper.ask(lambda self: self.link(gone), timeout=PATIENCE_S)
    assert soon(heard).reason.kind is ExitKind.NOPROC
    settle(trapper)
    assert heard.empty()
    trapper.stop()


@KINDS
def test_a_name_that_the_funnel_stands_on_is_refused(kind):
    """A subclass that would break the funnel by accident is told at its definition."""
    with pytest.raises(TypeError, match="_step"):
        type("Careless", (DOERS[kind],), {"_step": print})
    assert issubclass(type("Careful", (DOERS[kind],), {"_my_step": 1}), LinkedActor)


def test_exit_reason_compares_without_the_live_error():
    """Two deaths of the same error are equal, and a reason survives being frozen."""
    one, two = (ExitReason.from_error(ValueError("bad")) for _ in range(2))
    assert one == two
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.message = "other"  # type: ignore[misc]
