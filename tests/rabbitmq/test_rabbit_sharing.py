"""Work under a key, of which one process knows: who joins, who leaves, and what whoever comes later gets."""

from typing import Any

import pytest

from limen import ActivityCancelled, KeyConflict, Payload, activity
from limen._call import Call
from limen.messages.activities import Completed
from limen.rabbitmq.sharing import Sharing


@activity(queue="work")
def weigh(number: int) -> int:
    """Is never run."""
    return number


class Sent:
    """Takes what is sent, and ends it when it is told to."""

    def __init__(self) -> None:
        self.works: list[Call] = []
        self.given_up: list[tuple[Call, BaseException]] = []
        self.refusal: BaseException | None = None

    def submit(self, work, _):
        """Take it, or refuse it."""
        if self.refusal is not None:
            raise self.refusal
        self.works.append(work)

    def give_up(self, work, error):
        """Take note."""
        self.given_up.append((work, error))
        work.fail(error)


@pytest.fixture
def sent():
    """What is sent."""
    return Sent()


@pytest.fixture
def sharing(sent):
    """The keys of a process."""
    return Sharing(sent.submit, sent.give_up, lambda *_: None)


class Port:
    """Where calls go."""

    name = "c"


def call(number: int = 1, key: str = "k", id_: int = 1) -> Call:
    """Make a call with a key."""
    keyed = weigh.options(key=key)
    made = Call()
    port: Any = Port()
    made.begin(keyed, *keyed.bind((number,), {}), port, "call", id_)
    return made


def test_callers_of_one_key_have_one_outcome(sharing, sent):
    """What they ask for is sent once; those who come after the end get it too."""
    first, second, late = call(id_=1), call(id_=2), call(id_=3)
    sharing.submit(first, "c")
    sharing.submit(second, "c")
    (work,) = sent.works
    assert not first.done()
    done = Completed(Payload(b"7", "application/json"))
    work.settle(done)
    sharing.submit(late, "c")

    assert [each.reply.get(timeout=0) for each in (first, second, late)] == [done] * 3
    assert (first.joined_id, second.joined_id, late.joined_id) == (None, "call-1", "call-1")
    assert len(sent.works) == 1


def test_a_failure_frees_the_key(sharing, sent):
    """All who wait see it; whoever comes later tries again."""
    first, second, late = call(id_=1), call(id_=2), call(id_=3)
    sharing.submit(first, "c")
    sharing.submit(second, "c")
    sent.works[0].fail(LookupError("no"))
    sharing.submit(late, "c")

    for each in (first, second):
        with pytest.raises(LookupError):
            each.reply.get(timeout=0)
    assert len(sent.works) == 2
    assert not late.done()


def test_a_key_stands_for_one_request(sharing, sent):
    """Other arguments are a conflict; another key, another channel or another activity is not."""
    conflict = call(2, id_=2)
    sharing.submit(call(1, id_=1), "c")
    sharing.submit(conflict, "c")
    sharing.submit(call(2, key="other", id_=3), "c")
    sharing.submit(call(2, id_=4), "another")

    with pytest.raises(KeyConflict):
        conflict.reply.get(timeout=0)
    assert len(sent.works) == 3


def test_the_work_ends_with_its_last_caller(sharing, sent):
    """Who leaves before takes nothing from the others; the key is free again."""
    first, second = call(id_=1), call(id_=2)
    sharing.submit(first, "c")
    sharing.submit(second, "c")
    sharing.cancel(first)
    sharing.cancel(first)
    assert (first.done(), second.done(), sent.given_up) == (True, False, [])

    sharing.cancel(second)
    ((work, error),) = sent.given_up
    assert work is sent.works[0]
    assert isinstance(error, ActivityCancelled)
    with pytest.raises(ActivityCancelled):
        second.reply.get(timeout=0)
    sharing.submit(call(id_=3), "c")
    assert len(sent.works) == 2


def test_what_cannot_be_sent_is_nobodys_work(sharing, sent):
    """The key is free, and whoever asked is told."""
    sent.refusal = ValueError("too large")
    with pytest.raises(ValueError, match="too large"):
        sharing.submit(call(), "c")
    sent.refusal = None
    sharing.submit(call(id_=2), "c")

    assert len(sent.works) == 1


def test_ends_are_remembered_as_long_as_is_wanted(sharing, sent):
    """None, for example."""
    sharing.remember("c", 0, None)
    sharing.submit(call(id_=1), "c")
    sent.works[0].settle(Completed(Payload(b"7", "application/json")))
    sharing.submit(call(id_=2), "c")

    assert len(sent.works) == 2
