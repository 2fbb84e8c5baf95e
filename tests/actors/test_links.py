"""Links and monitors while nothing races: who is told, in which order, and who is not."""

import asyncio
import queue
import statistics
import threading
import time
from typing import Any

import pytest
from linkkit import (
    DOERS,
    PATIENCE_S,
    TRAPPERS,
    Doer,
    Hold,
    PooledDoer,
    Trapper,
    ask,
    ending,
    heard_of,
    raising,
    settle,
    soon,
)
from pykka import ActorDeadError, ActorRegistry, Future, ThreadingActor

from limen.actors.links import kill, notify, post, watch
from limen.messages.errors import ActorCrashed, SelfAskError
from limen.messages.lifecycle import ExitKind

KINDS = pytest.mark.parametrize("kind", ["thread", "pooled"])


def heard_by(ref: Any) -> Any:
    """Give the notices that an actor keeps."""
    return ask(ref, lambda self: self.heard)


# --- links ----------------------------------------------------------------------------------------------------------


@KINDS
def test_links_share_abnormal_ends_both_ways(kind):
    """Whichever of the two ends abnormally, so does the other."""
    for dies_first in (0, 1):
        pair = [DOERS[kind].start() for _ in range(2)]
        pair[0].ask(lambda self, other=pair[1]: self.link(other))
        heard = heard_of(pair[1 - dies_first])
        kill(pair[dies_first])
        assert soon(heard).reason.kind is ExitKind.KILLED


@KINDS
def test_a_normal_end_leaves_the_linked_actor_alone(kind):
    """A link carries no normal end. Source: OTP."""
    one, two = (DOERS[kind].start() for _ in range(2))
    with ending(one):
        one.ask(lambda self: self.link(two))
        two.stop()
        settle(one)
        assert one.is_alive()


@KINDS
def test_a_trapper_is_told_of_a_normal_end_too(kind):
    """With `traps_exits`, every end of a linked actor comes as one `Down`."""
    trapper, other = TRAPPERS[kind].start(), DOERS[kind].start()
    with ending(trapper):
        heard = heard_by(trapper)
        trapper.ask(lambda self: self.link(other))
        other.stop()
        assert soon(heard).reason.kind is ExitKind.NORMAL
        settle(trapper)
        assert heard.empty()


@KINDS
def test_links_are_idempotent_from_either_side(kind):
    """Two actors have at most one link, so one end gives one notice."""
    one, two = (TRAPPERS[kind].start() for _ in range(2))
    with ending(one):
        for each, other in ((one, two), (one, two), (two, one)):
            each.ask(lambda self, other=other: self.link(other))
        heard = heard_by(one)
        two.stop()
        soon(heard)
        settle(one)
        assert heard.empty()


@KINDS
def test_unlink_from_either_side_cuts_the_link(kind):
    """After `unlink` returned, neither hears of the other."""
    for by in (0, 1):
        pair = [TRAPPERS[kind].start() for _ in range(2)]
        pair[0].ask(lambda self, other=pair[1]: self.link(other))
        pair[by].ask(lambda self, other=pair[1 - by]: self.unlink(other))
        heard = heard_by(pair[0])
        kill(pair[1])
        soon(heard_of(pair[1]))
        settle(pair[0])
        assert heard.empty()
        pair[0].stop()


def test_an_exit_on_its_way_is_not_heard_after_unlink():
    """The promise of `unlink` holds even when the notice waits in the inbox already."""
    trapper, other = Trapper.start(), Doer.start()
    with ending(trapper):
        heard = heard_by(trapper)

        def link_lose_unlink(self: Trapper) -> None:
            self.link(other)
            gone = heard_of(other)
            kill(other)
            soon(gone)
            self.unlink(other)

        trapper.ask(link_lose_unlink, timeout=PATIENCE_S)
        settle(trapper)
        assert heard.empty()


def test_linking_again_after_unlink_gives_a_fresh_link():
    """The old link's fate does not cling to the new one."""
    trapper, other = Trapper.start(), Doer.start()
    with ending(trapper):
        heard = heard_by(trapper)
        trapper.ask(lambda self: (self.link(other), self.unlink(other), self.link(other)))
        other.stop()
        assert soon(heard).ref is other


def test_an_actor_linked_to_itself_is_linked_to_nobody():
    """A link to oneself is no link."""
    doer = Doer.start()
    assert doer.ask(lambda self: (self.link(self.actor_ref), len(self._life.links))) == (None, 0)
    doer.stop()


@KINDS
def test_spawn_link_leaves_no_instant_in_between(kind):
    """A child that fails in `on_start` takes its parent along: it was linked before it breathed."""
    parent = TRAPPERS[kind].start()
    with ending(parent):
        heard = heard_by(parent)
        child = parent.ask(lambda self: self.spawn_link(DOERS[kind], on_start=raising(SystemExit("at once"))))
        assert soon(heard).ref is child


@KINDS
def test_the_end_of_links_leaves_nothing_behind(kind):
    """An actor that outlives 1,000 links and monitors keeps nothing of them."""
    trapper = TRAPPERS[kind].start()
    target = Trapper.start()
    with ending(trapper, target):
        heard = heard_by(trapper)
        for _ in range(500):
            child = ask(trapper, lambda self: self.spawn_link(PooledDoer))
            child.ask(lambda self: self.monitor(target))
            trapper.ask(lambda self, child=child: self.monitor(child))
            child.stop()
        for _ in range(1000):
            soon(heard)
        life = ask(trapper, lambda self: self._life)
        assert not any((life.links, life.monitors, life._watchers))
        assert ask(target, lambda self: self._life._watchers) == {}


# --- monitors -------------------------------------------------------------------------------------------------------


@KINDS
def test_a_monitor_tells_once_and_ends_nobody(kind):
    """The one that monitors gets one `Down` and lives on."""
    watcher, other = DOERS[kind].start(), DOERS[kind].start()
    with ending(watcher):
        heard = heard_by(watcher)
        watcher.ask(lambda self: self.monitor(other))
        kill(other)
        down = soon(heard)
        settle(watcher)
        assert (down.ref, down.reason.kind, heard.empty()) == (other, ExitKind.KILLED, True)


@KINDS
def test_each_monitor_tells_of_its_own(kind):
    """Two monitors on one actor are two notices. Source: OTP, monitor/2."""
    watcher, other = DOERS[kind].start(), DOERS[kind].start()
    with ending(watcher):
        heard = heard_by(watcher)
        watcher.ask(lambda self: (self.monitor(other), self.monitor(other)))
        other.stop()
        assert [soon(heard).ref, soon(heard).ref] == [other, other]


@KINDS
def test_a_monitor_on_the_dead_says_noproc(kind):
    """A monitor that comes too late is answered all the same."""
    watcher, gone = DOERS[kind].start(), DOERS[kind].start()
    gone.stop()
    with ending(watcher):
        heard = heard_by(watcher)
        watcher.ask(lambda self: self.monitor(gone))
        assert soon(heard).reason.kind is ExitKind.NOPROC


def test_demonitor_holds_even_for_a_notice_on_its_way():
    """After `demonitor` no `Down` is handled, also if it lies in the inbox by then."""
    watcher, other = Doer.start(), Doer.start()
    with ending(watcher):
        heard = heard_by(watcher)

        def lose_and_demonitor(self: Doer) -> None:
            monitor = self.monitor(other)
            gone = heard_of(other)
            kill(other)
            soon(gone)
            self.demonitor(monitor)

        watcher.ask(lose_and_demonitor, timeout=PATIENCE_S)
        settle(watcher)
        assert heard.empty()


def test_what_cannot_be_watched_is_refused():
    """Watching something without an end is an error at once, not a silence."""
    with pytest.raises(TypeError, match="cannot watch a str"):
        watch("a string", print)


# --- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@KINDS
def test_notices_overtake_a_backlog_and_a_result_before_the_death_comes_first(kind):
    """With 100,000 messages queued, the next things handled are the result sent before the death, then the death."""
    order: list[Any] = []
    hold = Hold()

    class Busy(DOERS[kind]):  # type: ignore[misc,valid-type]
        def on_receive(self, message: Any) -> Any:
            if callable(message):
                return message(self)
            if len(order) < 3:
                order.append(message)
            return None

    busy, worker = Busy.start(), Doer.start()
    with ending(busy):
        busy.ask(lambda self: self.monitor(worker))
        hold.put_into(busy)
        for number in range(100_000):
            post(busy, number)
        gone = heard_of(worker)

        def send_result_and_die(_: Doer) -> None:
            notify(busy, "result")
            raise SystemExit

        worker.tell(send_result_and_die)
        soon(gone)
        hold.let_go()
        settle(busy)
    assert (order[0], order[1].ref, order[2]) == ("result", worker, 0)


@KINDS
def test_kill_overtakes_the_backlog(kind):
    """A killed actor handles nothing more of what it was sent before."""
    hold, handled = Hold(), []
    doer = DOERS[kind].start()
    heard = heard_of(doer)
    hold.put_into(doer)
    post(doer, lambda _: handled.append(1))
    unanswered = doer.ask("never handled", block=False)
    kill(doer)
    hold.let_go()
    assert soon(heard).reason.kind is ExitKind.KILLED
    assert handled == []
    with pytest.raises(ActorDeadError):
        unanswered.get(timeout=PATIENCE_S)


# --- asks -----------------------------------------------------------------------------------------------------------


def ask_and_raise(ref: Any) -> Any:
    """Ask for an error that ends the actor."""
    return ref.ask(raising(SystemExit()), block=False)


def ask_and_kill(ref: Any) -> Any:
    """Ask for a reply that is put off, then kill."""
    asked = ref.ask(keep_waiting, block=False)
    kill(ref)
    return asked


def ask_and_stop(ref: Any) -> Any:
    """The same with a stop."""
    asked = ref.ask(keep_waiting, block=False)
    ref.stop(block=False)
    return asked


def keep_waiting(self: Doer) -> None:
    """Put the reply off for ever."""
    self.reply_later()


FATAL_ASKS: dict[str, tuple[Any, type[Exception]]] = {
    "raises": (ask_and_raise, ActorCrashed),
    "is killed": (ask_and_kill, ActorDeadError),
    "stops": (ask_and_stop, ActorDeadError),
}


@KINDS
@pytest.mark.parametrize("end", FATAL_ASKS)
def test_a_long_ask_on_an_actor_that_dies_fails_at_once(kind, end):
    """An ask of 60 s fails as soon as the actor is gone: the median of 21 takes less than 50 ms."""
    end_it, error = FATAL_ASKS[end]
    took_s = []
    for _ in range(21):
        doer = DOERS[kind].start()
        begun_s = time.monotonic()
        with pytest.raises(error):
            end_it(doer).get(timeout=60)
        took_s.append(time.monotonic() - begun_s)
        doer.stop()
    assert max(took_s) < 1.0
    assert statistics.median(took_s) < 0.05


@KINDS
def test_a_deferred_reply_comes_later(kind):
    """`reply_later` lets the handler return and answer from wherever the answer comes."""
    doer = DOERS[kind].start()
    with ending(doer):
        kept: queue.SimpleQueue[Any] = queue.SimpleQueue()
        asked = doer.ask(lambda self: kept.put(self.reply_later()), block=False)
        soon(kept).set("at last")
        assert asked.get(timeout=PATIENCE_S) == "at last"


@KINDS
@pytest.mark.parametrize("end", [kill, lambda ref: ref.stop(block=False), lambda ref: ref.tell(raising(SystemExit()))])
def test_who_waits_for_a_deferred_reply_is_told_of_the_death(kind, end):
    """An actor that ends with a reply owed answers it with an error; an answer that comes too late is no crash."""
    doer = DOERS[kind].start()
    kept: queue.SimpleQueue[Any] = queue.SimpleQueue()
    asked = doer.ask(lambda self: kept.put(self.reply_later()), block=False)
    reply = soon(kept)
    end(doer)
    with pytest.raises(ActorDeadError):
        asked.get(timeout=PATIENCE_S)
    with pytest.raises(queue.Full):
        reply.set("too late")


def test_many_deferred_replies_cost_no_search_each():
    """The book of deferred replies is swept seldom: 20,000 outstanding ones are taken in a moment."""
    doer = Doer.start()

    def defer_many(self: Doer) -> None:
        for _ in range(20_000):
            self.reply_later()

    begun_s = time.process_time()
    doer.tell(defer_many)
    settle(doer)
    doer.stop()
    assert time.process_time() - begun_s < 2.0


@KINDS
@pytest.mark.parametrize(
    "ask_self",
    [
        lambda self: self.actor_ref.ask("me"),
        lambda self: self.actor_ref.ask("me", timeout=60),
        lambda self: self.actor_ref.ask("me", block=False).map(str).get(),
        lambda self: self.actor_ref.proxy().hooks.get(),
        lambda self: self.actor_ref.proxy().on_start().get(),
        lambda self: self.actor_ref.stop(block=True),
        lambda self: asyncio.run(_await(self.actor_ref.ask("me", block=False))),
    ],
    ids=["ask", "with a timeout", "mapped", "proxied attribute", "proxied call", "stop", "await"],
)
def test_self_ask_raises_at_once(kind, ask_self):
    """An actor that would wait for itself is told, instead of waiting for ever."""
    doer = DOERS[kind].start()
    with ending(doer), pytest.raises(SelfAskError):
        doer.ask(ask_self, timeout=PATIENCE_S)


def test_a_quiet_actor_may_not_wait_for_the_thread_it_borrows():
    """A pooled actor that is run by another actor's thread cannot be answered by that actor; it is told so at once."""
    host, quiet = Doer.start(), PooledDoer.start()
    caught: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask_host(_: Doer) -> None:
        try:
            host.ask("busy serving you")
        except SelfAskError as error:
            caught.put(error)

    with ending(host, quiet):
        host.ask(lambda _: quiet.tell(ask_host), timeout=PATIENCE_S)
        assert isinstance(soon(caught), SelfAskError)


async def _await(future: "Future[Any]") -> Any:
    return await future


@KINDS
def test_await_never_blocks_the_event_loop(kind):
    """While one coroutine awaits an ask, another of the same loop runs, and is what lets the answer come."""
    hold = Hold()
    doer = DOERS[kind].start()

    async def let_go() -> None:
        hold.let_go()

    async def both() -> list[Any]:
        return [*await asyncio.gather(_await(doer.ask("answer", block=False)), let_go())]

    with ending(doer):
        hold.put_into(doer)
        assert asyncio.run(asyncio.wait_for(both(), PATIENCE_S)) == ["answer", None]


@KINDS
def test_await_raises_what_the_ask_raises(kind):
    """An error reaches the one who awaits."""
    doer = DOERS[kind].start()
    with ending(doer), pytest.raises(ValueError, match="bad"):
        asyncio.run(_await(doer.ask(raising(ValueError("bad")), block=False)))


# --- graceful stop --------------------------------------------------------------------------------------------------


@KINDS
def test_an_actor_may_put_off_its_stop(kind):
    """With `on_stop_asked` false it goes on handling messages, and all who asked are answered when it is gone."""

    class Slow(DOERS[kind]):  # type: ignore[misc,valid-type]
        def on_stop_asked(self) -> bool:
            return False

    slow = Slow.start()
    heard = heard_of(slow)
    stops = [slow.stop(block=False) for _ in range(3)]
    assert slow.ask("still there", timeout=PATIENCE_S) == "still there"
    assert heard.empty()
    slow.tell(Slow.finish_stop)
    assert [each.get(timeout=PATIENCE_S) for each in stops] == [True] * 3
    assert soon(heard).reason.kind is ExitKind.NORMAL


@KINDS
def test_an_actor_that_cannot_wind_up_ends(kind):
    """What `on_stop_asked` raises ends the actor: it was asked to stop, after all."""

    class Broken(DOERS[kind]):  # type: ignore[misc,valid-type]
        def on_stop_asked(self) -> bool:
            raise ValueError("bad")

    broken = Broken.start()
    heard = heard_of(broken)
    assert broken.stop(timeout=PATIENCE_S) is True
    assert soon(heard).reason.error_type == "ValueError"


@KINDS
def test_an_actor_killed_while_it_winds_up_answers_who_asked(kind):
    """A stop that was put off is answered on every path to the end."""

    class Slow(DOERS[kind]):  # type: ignore[misc,valid-type]
        def on_stop_asked(self) -> bool:
            return False

    slow = Slow.start()
    stop = slow.stop(block=False)
    settle(slow)
    kill(slow)
    assert stop.get(timeout=PATIENCE_S) is True


# --- beside stock Pykka ---------------------------------------------------------------------------------------------


class Stock(ThreadingActor):
    """An actor as Pykka has it, which does what it is told."""

    def __init__(self, on_start: Any = None) -> None:
        super().__init__()
        self._begin = on_start or (lambda: None)

    def on_start(self) -> None:
        """Do what the test wants."""
        self._begin()

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


@pytest.mark.parametrize(
    ("end", "kind", "error_type"),
    [
        (lambda ref: ref.stop(), ExitKind.NORMAL, None),
        (lambda ref: ref.tell(raising(ValueError("bad"))), ExitKind.ERROR, "ValueError"),
        (lambda ref: ref.tell(raising(SystemExit("bad"))), ExitKind.ERROR, "SystemExit"),
    ],
    ids=["stop", "exception", "base exception"],
)
def test_a_stock_actor_can_be_monitored(end, kind, error_type):
    """One notice with the reason, for each way in which Pykka announces the end."""
    stock = Stock.start()
    heard = heard_of(stock)
    also = heard_of(stock)
    end(stock)
    down = soon(heard)
    assert (down.ref, down.reason.kind, down.reason.error_type) == (stock, kind, error_type)
    soon(also)
    stock.actor_stopped.wait(PATIENCE_S)
    assert (heard.empty(), also.empty()) == (True, True)
    assert soon(heard_of(stock)).reason.kind is ExitKind.NOPROC


def test_a_stock_actor_that_fails_in_on_start_is_noticed():
    """An exception in `on_start` of a stock actor reaches its watcher."""
    go_on = threading.Event()
    stock = Stock.start(lambda: (go_on.wait(PATIENCE_S), raising(ValueError("bad"))()))
    heard = heard_of(stock)
    go_on.set()
    assert soon(heard).reason.error_type == "ValueError"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stock_actor_that_becomes_a_zombie_is_noticed():
    """Pykka never announces a `BaseException` in `on_start`; the end of the thread does, and the zombie is buried."""
    go_on = threading.Event()
    stock = Stock.start(lambda: (go_on.wait(PATIENCE_S), raising(SystemExit("bad"))()))
    heard = heard_of(stock)
    go_on.set()
    assert soon(heard).reason.kind is ExitKind.ERROR
    assert stock.actor_stopped.wait(PATIENCE_S)
    assert ActorRegistry.get_by_urn(stock.actor_urn) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_stock_actor_that_is_a_zombie_already_is_noticed():
    """A watch on an actor whose thread is gone is answered, though the actor claims to live."""
    go_on = threading.Event()
    stock = Stock.start(lambda: (go_on.wait(PATIENCE_S), raising(SystemExit("bad"))()))
    threads = threading.enumerate()
    go_on.set()
    for thread in threads:
        if thread.name.startswith("Stock"):
            thread.join(PATIENCE_S)
    assert stock.is_alive()
    assert soon(heard_of(stock)).reason.kind is ExitKind.ERROR
    assert not stock.is_alive()


@KINDS
def test_a_stock_actor_can_be_linked(kind):
    """A stock actor's failure ends ours; our failure asks the stock one to stop."""
    for stock_fails in (True, False):
        stock, doer = Stock.start(), DOERS[kind].start()
        doer.ask(lambda self, stock=stock: self.link(stock))
        first, second = (stock, doer) if stock_fails else (doer, stock)
        heard = heard_of(second)
        first.tell(raising(ValueError("bad")))
        soon(heard)
        assert second.actor_stopped.wait(PATIENCE_S)


def test_a_stock_actor_unlinked_outlives_ours():
    """A cut link stops nobody."""
    stock, doer = Stock.start(), Doer.start()
    doer.ask(lambda self: (self.link(stock), self.unlink(stock)))
    heard = heard_of(doer)
    kill(doer)
    soon(heard)
    assert stock.ask("still there") == "still there"
    stock.stop()


@KINDS
def test_stock_and_ours_talk_to_each_other(kind):
    """Ask and tell go both ways between stock Pykka actors and ours."""
    stock, doer = Stock.start(), DOERS[kind].start()
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with ending(stock, doer):
        assert stock.ask(lambda _: doer.ask("to ours")) == "to ours"
        stock.ask(lambda _: doer.tell(lambda _: told.put("told ours")))
        assert soon(told) == "told ours"
        ours = Doer.start()
        with ending(ours):
            assert ours.ask(lambda _: stock.ask("to stock")) == "to stock"
            ours.ask(lambda _: stock.tell(lambda _: told.put("told stock")))
            assert soon(told) == "told stock"
            notify(stock, lambda _: told.put("noticed"))
            assert soon(told) == "noticed"
    assert notify(stock, "too late") is False
