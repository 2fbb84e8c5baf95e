"""Links, deaths, stops and asks at the same moment, ten thousand times each."""

import functools
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from linkkit import DOERS, PATIENCE_S, PooledDoer, Trapper, ask, ending, raising, settle, soon
from pykka import ActorDeadError, ActorRef

from limen.actors.links import kill, watch
from limen.messages.lifecycle import ExitKind

RACES = 10_000
CHUNK = 250


@pytest.fixture(autouse=True)
def threads_take_turns_quickly() -> Iterator[None]:
    """Switch threads far more often than usual, so that the races are races."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual_s)


def both(*sides: Callable[[], object]) -> None:
    """Run functions at the same time, on a thread each, and wait for them."""
    gate = threading.Barrier(len(sides))

    def run(side: Callable[[], object]) -> None:
        gate.wait(PATIENCE_S)
        side()

    threads = [threading.Thread(target=run, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)


def each_of(refs: list[ActorRef[Any]], do: Callable[[Any], object]) -> Callable[[], object]:
    """Do something with each of these actors, when called."""

    def side() -> None:
        for ref in refs:
            do(ref)

    return side


def watch_into(heard: "queue.SimpleQueue[Any]", ref: ActorRef[Any]) -> None:
    """Watch an actor."""
    watch(ref, heard.put)


def ask_to_link(one: ActorRef[Any], two: ActorRef[Any]) -> None:
    """Have one actor link itself to another."""
    ask(one, lambda self: self.link(two))


def ask_hello(asked: list[Any], ref: ActorRef[Any]) -> None:
    """Ask, and keep the future."""
    asked.append(ref.ask("hello", block=False))


def tell_many(ref: ActorRef[Any], sender: int) -> None:
    """Send numbers, marked with their sender."""
    for number in range(2_500):
        ref.tell((sender, number))


ENDS: dict[str, tuple[Callable[[ActorRef[Any]], object], ExitKind]] = {
    "kill": (kill, ExitKind.KILLED),
    "stop": (lambda ref: ref.stop(block=False), ExitKind.NORMAL),
    "crash": (lambda ref: ref.tell(raising(SystemExit())), ExitKind.ERROR),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["link", "monitor"])
@pytest.mark.parametrize("end", ENDS)
def test_ten_thousand_links_race_deaths(end, how):
    """Whether a link is armed before, while or after the other dies: one notice, with the reason or `noproc`."""
    end_it, kind = ENDS[end]
    trapper = Trapper.start()
    heard = ask(trapper, lambda self: self.heard)

    def watch_it(ref: ActorRef[Any]) -> None:
        trapper.tell(lambda self: getattr(self, how)(ref))

    notices: Counter[Any] = Counter()
    kinds: Counter[ExitKind] = Counter()
    with ending(trapper):
        for _ in range(RACES // CHUNK):
            refs = [PooledDoer.start() for _ in range(CHUNK)]
            both(each_of(refs, end_it), each_of(refs, watch_it))
            settle(trapper)
            for _ in refs:
                down = soon(heard)
                notices[down.ref.actor_urn] += 1
                kinds[down.reason.kind] += 1
        settle(trapper)
        assert heard.empty()
    assert set(notices.values()) == {1}
    assert len(notices) == RACES
    assert set(kinds) <= {kind, ExitKind.NOPROC}


@pytest.mark.slow
def test_ten_thousand_watches_race_deaths_from_many_threads():
    """A plain watch from several threads at once is called once each."""
    for _ in range(RACES // CHUNK):
        refs = [PooledDoer.start() for _ in range(CHUNK // 4)]
        heard: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(4)]
        both(
            each_of(refs, kill),
            *(each_of(refs, functools.partial(watch_into, each)) for each in heard),
        )
        for each in heard:
            urns = [soon(each).ref.actor_urn for _ in refs]
            assert each.empty()
            assert len(set(urns)) == len(refs)


@pytest.mark.slow
def test_two_that_link_each_other_at_once_have_one_link():
    """Simultaneous links from both sides are one link: one end gives one notice."""
    one = Trapper.start()
    heard = ask(one, lambda self: self.heard)
    with ending(one):
        for _ in range(300):
            two = Trapper.start()
            both(functools.partial(ask_to_link, one, two), functools.partial(ask_to_link, two, one))
            two.stop()
            assert soon(heard).ref is two
            settle(one)
            assert heard.empty()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thread", "pooled"])
@pytest.mark.parametrize("end", ENDS)
def test_ten_thousand_asks_race_stops(kind, end):
    """No ask that races the end of its actor stays unanswered: it gets its reply or an error."""
    end_it, _ = ENDS[end]
    outcomes: Counter[str] = Counter()
    chunk = CHUNK if kind == "pooled" else 50
    for _ in range(RACES // chunk):
        refs = [DOERS[kind].start() for _ in range(chunk)]
        asked: list[Any] = []
        both(each_of(refs, end_it), each_of(refs, functools.partial(ask_hello, asked)))
        for each in asked:
            try:
                outcomes[each.get(timeout=PATIENCE_S)] += 1
            except ActorDeadError:
                outcomes["dead"] += 1
    assert sum(outcomes.values()) == RACES
    assert set(outcomes) <= {"hello", "dead"}


@pytest.mark.slow
def test_stops_race_each_other():
    """Any number of threads may stop the same actor: all are answered, none waits for ever."""
    for _ in range(500):
        ref = PooledDoer.start()
        answers: list[bool] = []
        both(*[lambda ref=ref, answers=answers: answers.append(ref.stop(timeout=PATIENCE_S))] * 4)
        assert len(answers) == 4
        assert any(answers)


@pytest.mark.slow
def test_tells_from_many_threads_are_handled_once_each_in_order():
    """A pooled actor handles what each thread sends in that thread's order, one message at a time, losing none."""
    inside, seen = [], []

    class Counting(PooledDoer):
        def on_receive(self, message: Any) -> Any:
            if not isinstance(message, tuple):
                return super().on_receive(message)
            inside.append(1)
            seen.append(message)
            assert len(inside) == 1
            inside.pop()
            return None

    ref = Counting.start()
    with ending(ref):
        both(*(functools.partial(tell_many, ref, each) for each in range(4)))
        settle(ref)
    assert len(seen) == 10_000
    for each in range(4):
        assert [number for sender, number in seen if sender == each] == list(range(2_500))
