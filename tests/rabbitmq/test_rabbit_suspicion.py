"""Blame for the deaths of hosts, and solitude: who is run alone, when that begins, and who is given up."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.rabbitmq._ledger import Held
from limen.rabbitmq._solitude import PATIENCE_S, Solitude
from limen.rabbitmq._suspicion import Verdict, judge
from limen.rabbitmq.codec import Treatment
from limen.rabbitmq.parcels import Delivery
from limen.rabbitmq.suspects import Suspects
from limen.rabbitmq.topology import Lane, Route


@pytest.mark.parametrize(
    ("deaths", "max_crashes", "verdict"),
    [
        ({}, 3, Verdict.RUN),
        ({"lost": 1}, 3, Verdict.RUN),
        ({"lost": 2}, 3, Verdict.SET_APART),
        ({"lost": 1}, 1, Verdict.SET_APART),
        ({"lost": 9, "is_isolated": True}, 3, Verdict.RUN),
        ({"is_apart": True, "deaths_before": 2}, 3, Verdict.RUN_ALONE),
        ({"is_apart": True, "deaths_before": 9}, 3, Verdict.RUN_ALONE),
        ({"is_apart": True, "deaths_before": 2, "is_isolated": True}, 3, Verdict.RUN),
        ({"is_apart": True, "deaths_before": 2, "lost": 1}, 3, Verdict.POISON),
        ({"is_apart": True, "deaths_before": 2, "lost": 1}, 5, Verdict.RUN_ALONE),
        ({"is_apart": True, "deaths_before": 2, "lost": 1, "is_isolated": True}, 3, Verdict.POISON),
    ],
)
def test_a_request_is_judged_by_the_deaths_it_was_there_for(deaths, max_crashes, verdict):
    """Once is chance, twice is suspicious, and dying alone is proof."""
    case = {"is_apart": False, "lost": 0, "deaths_before": 0, "is_isolated": False} | deaths

    assert judge(max_crashes=max_crashes, **case) is verdict


@given(st.booleans(), st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.booleans())
def test_nobody_is_condemned_who_was_not_alone_when_a_host_died(is_apart, lost, before, max_crashes, is_isolated):
    """However many deaths it was there for in company."""
    judged = judge(is_apart=is_apart, lost=lost, deaths_before=before, max_crashes=max_crashes, is_isolated=is_isolated)

    assert judged is not Verdict.POISON or (is_apart and lost and before + lost >= max_crashes)


def held(name: str) -> Held:
    """Make a held request."""
    return Held(name, Route("c", "t", Lane.SUSPECT), Delivery(queue="q", consumer="c", tag=1, session=1, body=b""))


class Around:
    """A host that does what it is told, and notes it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.count = 0
        self.closed = lambda: None
        self.now_s = 0.0

    def close_doors(self, but_for, then):
        """Begin to close."""
        self.said.append(f"close but for {but_for.name}")
        self.closed = then

    def open_doors(self):
        """Open."""
        self.said.append("open")

    def others(self, _):
        """Count them."""
        return self.count

    def begin(self, each):
        """Begin."""
        self.said.append(f"begin {each.name}")

    def send_away(self, each):
        """Send it away; it is gone at once."""
        self.said.append(f"away {each.name}")


@pytest.fixture
def around():
    """A host."""
    return Around()


@pytest.fixture
def solitude(around):
    """Its solitude."""
    return Solitude(around, lambda: around.now_s)


def test_it_begins_when_the_doors_are_closed_and_all_others_have_left(around, solitude):
    """In whichever order that happens; and the doors open when it is over."""
    one = held("one")
    around.count = 1
    solitude.want(one)
    solitude.look()
    around.closed()
    assert around.said == ["close but for one"]

    around.count = 0
    solitude.look()
    solitude.look()
    assert around.said[1:] == ["begin one"]

    solitude.ended(held("another"))
    assert solitude.is_wanted
    solitude.ended(one)
    assert (around.said[2:], solitude.is_wanted) == (["open"], False)


def test_others_left_already(around, solitude):
    """Then the doors are what it waits for: something may be on its way."""
    solitude.want(held("one"))
    solitude.look()
    assert around.said == ["close but for one"]
    around.closed()
    around.closed()
    assert around.said[1:] == ["begin one"]


def test_a_second_one_goes_elsewhere(around, solitude):
    """It might be blamed for what the first one does."""
    one, two = held("one"), held("two")
    solitude.want(one)
    solitude.want(two)
    solitude.ended(two)

    assert around.said == ["close but for one", "away two"]


def test_it_does_not_wait_for_ever(around, solitude):
    """A host that is busy for long lets another have it, and goes on."""
    one = held("one")
    around.count = 1
    solitude.want(one)
    around.closed()
    around.now_s = PATIENCE_S + 0.1
    solitude.look()
    solitude.ended(one)

    assert around.said == ["close but for one", "away one", "open"]


def test_doors_that_close_too_late_are_of_no_use(around, solitude):
    """What was wanted then is over."""
    one, two = held("one"), held("two")
    solitude.want(one)
    late = around.closed
    solitude.ended(one)
    solitude.want(two)
    late()

    assert "begin two" not in around.said


class Bench:
    """A host that notes what is done with a request."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, each):
        """Let it run."""
        self.said.append(f"begin {each.name}")

    def pass_on(self, each, route, treatment=None):
        """Put it elsewhere."""
        deaths = treatment.host_deaths if treatment is not None else None
        self.said.append(f"pass {each.name} to {route.lane} with {deaths}")

    def condemn(self, each, deaths):
        """Give it up."""
        self.said.append(f"condemn {each.name} for {deaths}")

    def forget(self, each):
        """Know nothing of it."""
        self.said.append(f"forget {each.name}")

    def hand_back_but(self, each):
        """Send others back."""

    def count(self):
        """Count what is held."""
        return 1


class Intake:
    """Consumers that are closed at once, on a connection or none."""

    def __init__(self) -> None:
        self.session = SimpleNamespace(number=1)
        self.problem: str | None = None

    def add_lane(self, _):
        """Know it already."""
        return False

    def when_ready(self, then):
        """Say what there is to say."""
        then(self.problem)

    def shut(self, then):
        """Close."""
        then()

    def reopen(self):
        """Open."""


class Notes:
    """Trials, noted in memory."""

    def __init__(self) -> None:
        self.trials: int | None = 0
        self.problem: str | None = None

    def count(self, _, then):
        """Count them."""
        then(self.trials)

    def begin(self, _, then):
        """Note one more, if that can be."""
        then(self.problem)

    def end(self, _):
        """Forget them."""
        self.trials = 0


@pytest.fixture
def court():
    """All that takes part, and what is to be done later."""
    bench, intake, notes, later = Bench(), Intake(), Notes(), []
    io: Any = SimpleNamespace(later=lambda _, again: later.append(again))
    around: Any = (bench, io, intake, notes, lambda _: None)
    suspects = Suspects(*around)
    return SimpleNamespace(bench=bench, intake=intake, notes=notes, later=later, suspects=suspects)


def suspect(name: str = "one", *, lane: Lane = Lane.SUSPECT, lost: int = 0) -> Held:
    """Make a request that hosts died with."""
    delivery = Delivery(queue="q", consumer="c", tag=1, session=1, body=b"", headers={"x-delivery-count": lost})
    call = SimpleNamespace(activity_type="t")
    return Held(name, Route("c", "t", lane), delivery, call=call, treatment=Treatment(host_deaths=2 if lane else 0))


def test_deaths_while_it_ran_alone_are_what_counts_against_a_suspect(court):
    """However often the broker got it back."""
    court.suspects.take(suspect(lost=9), is_isolated=False)
    court.notes.trials = 1
    court.suspects.take(suspect("two"), is_isolated=False)

    assert court.bench.said == ["begin one", "condemn two for 3"]


def test_one_that_ends_with_its_host_alive_is_acquitted(court):
    """Nothing is held against it any more, whatever the outcome; nor where its host leaves in good order."""
    court.notes.trials = 1
    court.suspects.acquit(suspect(lane=Lane.NORMAL))
    assert court.notes.trials == 1
    court.suspects.acquit(suspect())
    assert court.notes.trials == 0

    court.suspects.take(suspect(), is_isolated=False)
    court.notes.trials = 1
    court.suspects.leave()
    assert court.notes.trials == 0


def test_what_cannot_be_noted_now_is_tried_later(court):
    """A suspect does not begin before its trial has been noted."""
    court.notes.problem = "no disk"
    court.suspects.take(suspect(), is_isolated=False)
    assert (court.bench.said, len(court.later)) == ([], 1)

    court.notes.problem = None
    court.later.pop()()
    assert court.bench.said == ["begin one"]


def test_what_cannot_be_set_apart_now_is_set_apart_later(court):
    """It does not run where it came from."""
    court.intake.problem = "no disk"
    court.suspects.take(suspect(lane=Lane.NORMAL, lost=2), is_isolated=False)
    assert court.bench.said == []

    court.intake.problem = None
    court.later.pop()()
    assert court.bench.said == ["pass one to suspect with 2"]


@pytest.mark.parametrize("session", [None, SimpleNamespace(number=2)])
def test_what_came_over_a_connection_that_is_gone_is_forgotten(court, session):
    """The broker has it back, and it may come again."""
    court.intake.session, court.intake.problem, court.notes.trials = session, "gone", None
    court.suspects.take(suspect("one"), is_isolated=False)
    court.suspects.take(suspect("two", lane=Lane.NORMAL, lost=2), is_isolated=False)

    assert court.bench.said == ["forget one", "forget two"]
