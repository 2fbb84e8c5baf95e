"""The ledger: every request once, however often it is delivered."""

from limen.rabbitmq._ledger import Ledger, Remembered
from limen.rabbitmq.parcels import Delivery
from limen.rabbitmq.topology import Route

ROUTE = Route("c", "t")


def delivery(tag: int, session: int = 1) -> Delivery:
    """Make a delivery."""
    return Delivery(queue="q", consumer="c", tag=tag, session=session, body=b"")


def test_a_request_is_held_until_it_is_settled():
    """It is there once, and gone when it is done."""
    ledger, came = Ledger(), delivery(1)
    held = ledger.take("a", ROUTE, came)

    assert held is not None
    assert (held.delivery, len(ledger)) == (came, 1)
    ledger.settle(held)
    assert len(ledger) == 0


def test_a_second_copy_on_the_same_connection_is_spare():
    """A publish in doubt was sent twice: the first copy is worked on, the second can be acknowledged at once."""
    ledger = Ledger()
    first, second = delivery(1), delivery(2)
    ledger.take("a", ROUTE, first)

    assert ledger.take("a", ROUTE, second) is None
    assert ledger.is_spare("a", second)
    assert not ledger.is_spare("a", first)


def test_a_redelivery_over_a_new_connection_takes_the_place_of_the_old():
    """The work goes on, and what is acknowledged in the end is what can be."""
    ledger = Ledger()
    held = ledger.take("a", ROUTE, delivery(1, session=1))
    again = delivery(7, session=2)

    assert ledger.take("a", ROUTE, again) is None
    assert not ledger.is_spare("a", again)
    assert held is not None
    assert held.delivery is again


def test_what_is_done_is_not_done_again():
    """It is acknowledged when it comes once more, as far back as names are remembered."""
    ledger = Ledger(remembered=2)
    for name in "abc":
        held = ledger.take(name, ROUTE, delivery(1))
        assert held is not None
        ledger.settle(held)

    assert ledger.take("c", ROUTE, delivery(2)) is None
    assert ledger.is_spare("c", delivery(2))
    assert ledger.take("a", ROUTE, delivery(3)) is not None


def test_what_was_given_back_is_taken_again():
    """It has not been done. Its copy may be back before the broker has confirmed it: then there are two."""
    ledger = Ledger()
    held = ledger.take("a", ROUTE, delivery(1))
    assert held is not None
    ledger.give_back(held)
    ledger.give_back(held)

    again = ledger.take("a", ROUTE, delivery(2))
    assert again is not None
    assert len(ledger) == 2
    ledger.left(held)
    assert (len(ledger), ledger.held["a"]) == (1, again)


def test_the_latest_names_are_remembered():
    """One that is named again is as good as new."""
    names = Remembered(2)
    for name in ("a", "b", "a", "c"):
        names.add(name)

    assert [name in names for name in "abc"] == [True, False, True]
    names.discard("a")
    assert "a" not in names
