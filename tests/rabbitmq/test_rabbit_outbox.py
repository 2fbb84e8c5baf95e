"""The outbox: nothing that wants to be confirmed is forgotten, and each parcel is settled once."""

from hypothesis import given
from hypothesis import strategies as st

from limen.rabbitmq._outbox import Outbox
from limen.rabbitmq.parcels import NotConfirmed, Parcel, Unroutable


def parcel(name: str, *, wanted: bool = True, deadline_s: float = float("inf")) -> Parcel:
    """Make a parcel; one that is not wanted has nobody who waits for it."""
    return Parcel(
        exchange="x",
        key="k",
        body=b"",
        content_type="",
        message_id=name,
        done=(lambda _: None) if wanted else None,
        deadline_s=deadline_s,
    )


def filled(*names: str, window: int = 10) -> Outbox:
    """Make an outbox in which these wait."""
    box = Outbox(window)
    box.waiting.extend(parcel(name) for name in names)
    return box


def sent(box: Outbox) -> list[str]:
    """Send all that may be sent, and name it."""
    names = []
    while (each := box.next()) is not None:
        names.append(each.message_id)
    return names


def told(settled) -> dict[str, object]:
    """Say what is told of whom."""
    return {each.message_id: problem for each, problem in settled}


def test_no_more_than_the_window_is_under_way():
    """The rest waits in order, and follows as confirmations come."""
    box = filled("a", "b", "c", window=2)

    assert sent(box) == ["a", "b"]
    assert told(box.confirmed(1, multiple=False)) == {"a": None}
    assert sent(box) == ["c"]
    assert told(box.confirmed(3, multiple=True)) == {"b": None, "c": None}
    assert len(box) == 0


def test_a_confirmation_of_what_is_not_under_way_is_nothing():
    """Twice, or never sent: nobody is told anything."""
    box = filled("a")
    sent(box)
    box.confirmed(1, multiple=False)

    assert box.confirmed(1, multiple=False) == []
    assert box.confirmed(9, multiple=True) == []


def test_what_is_given_back_is_unroutable_once_it_is_confirmed():
    """RabbitMQ returns a message first and confirms it then; others are not touched by it."""
    box = filled("a", "b")
    sent(box)
    box.returned("b", "x", "k")
    box.returned("a", "x", "another key")

    assert told(box.confirmed(2, multiple=True)) == {"a": None, "b": Unroutable("x", "k")}


def test_what_is_refused_is_sent_again_first():
    """A negative confirmation is the broker's trouble, not the parcel's; what was given back may find a queue now."""
    box = filled("a", "b")
    sent(box)
    box.returned("a", "x", "k")
    box.refused(1, multiple=False)

    assert sent(box) == ["a"]
    assert told(box.confirmed(3, multiple=True)) == {"a": None, "b": None}


def test_a_lost_connection_puts_all_that_was_under_way_first():
    """In the order in which it was, ahead of what waits, and numbered afresh; what nobody waits for is dropped."""
    box = filled("a", "b", "c", window=2)
    box.waiting[1] = parcel("b", wanted=False)
    sent(box)

    assert [each.message_id for each in box.lost()] == ["b"]
    assert sent(box) == ["a", "c"]
    assert told(box.confirmed(1, multiple=False)) == {"a": None}


def test_who_waits_too_long_is_told_and_no_other():
    """It says whether the broker may have the parcel. Its number stays taken, so no confirmation is mistaken."""
    box = Outbox(window=1)
    box.waiting.extend([parcel("sent", deadline_s=5.0), parcel("not sent", deadline_s=5.0), parcel("later")])
    sent(box)

    assert box.overdue(4.9, "why") == []
    assert told(box.overdue(5.0, "why")) == {
        "sent": NotConfirmed("why", in_doubt=True),
        "not sent": NotConfirmed("why", in_doubt=False),
    }
    assert box.overdue(6.0, "why") == []
    assert sent(box) == []
    (late,) = box.confirmed(1, multiple=False)
    assert late[0].done is None
    assert sent(box) == ["later"]


steps = st.lists(
    st.tuples(st.sampled_from(["add", "send", "confirm", "confirm all", "refuse", "lose"]), st.integers(1, 12)),
    max_size=60,
)


@given(steps, st.integers(1, 4))
def test_each_parcel_is_settled_once_and_in_the_end(history, window):
    """Whatever the broker and the network do: none is lost, none is settled twice, the window holds."""
    box, added, settled = Outbox(window), 0, []
    for what, number in history:
        match what:
            case "add":
                added += 1
                box.waiting.append(parcel(str(added)))
            case "send":
                box.next()
            case "confirm" | "confirm all":
                settled += box.confirmed(number, multiple=what == "confirm all")
            case "refuse":
                box.refused(number, multiple=False)
            case "lose":
                assert box.lost() == []
        assert box.unconfirmed <= window
        assert len(box) + len(settled) == added
    box.lost()
    while box:
        sent(box)
        settled += box.confirmed(10_000, multiple=True)

    assert sorted(int(each.message_id) for each, _ in settled) == list(range(1, added + 1))
