"""Blame for the deaths of hosts, and solitude: who is run alone, when that begins, and who is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.rabbitmq._ledger import Held
from limen.rabbitmq._solitude import PATIENCE_S, Solitude
from limen.rabbitmq._suspicion import Verdict, judge
from limen.rabbitmq.parcels import Delivery
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
