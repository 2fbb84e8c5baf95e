"""Who of the children gets what, decided without any child: slots, spares, shares, and what a death leaves."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from processkit import attempt

from limen.actors.executors._crew import Crew
from limen.actors.executors._pace import AHEAD, AHEAD_S

NUMBERS = {"short": 0, "long": 1}


def _crew(slots: int, children: int) -> tuple[Crew, list[Any]]:
    """Give a crew that knows its two activities, with so many children ready."""
    crew = Crew(slots, NUMBERS)
    crew.pace.note(0, 0.00001)
    crew.pace.note(1, 1.0)
    made = [_Child(crew.take_position()) for _ in range(children)]
    for child in made:
        crew.children.add(child)  # type: ignore[arg-type]  # as far as a crew can tell, it is one
        crew.ready(child)  # type: ignore[arg-type]
    return crew, made


class _Child(SimpleNamespace):
    """What a crew knows of a child, and nothing behind it."""

    def __init__(self, position: int | None) -> None:
        super().__init__(position=position, sent={}, ready=False, hears=True, ending=False, serves=False)
        self.cancelled, self.holds_long, self.recalled, self.estimate_s = None, False, False, 0.0
        self.runs: int | None = None
        self.count = 0

    __hash__ = object.__hash__  # type: ignore[assignment]

    @property
    def takes_more(self) -> bool:
        return bool(self.sent) and not self.holds_long and self.hears

    def hold(self, attempts: list[Any]) -> None:
        for each in attempts:
            self.count += 1
            self.sent[self.count] = each

    def first(self) -> Any:
        return next(iter(self.sent.values()), None)

    def running(self) -> int | None:
        return self.runs if self.runs in self.sent else None


def _hand_out(crew: Crew) -> list[tuple[Any, list[Any]]]:
    """Let the crew choose until it has nobody left to give to."""
    chosen = []
    while (picked := crew.pick()) is not None:
        child, entries = picked
        attempts = [each for each, _ in entries]
        crew.hold(child, attempts, 0.0)
        chosen.append((child, attempts))
    return chosen


def test_only_so_many_serve_and_one_is_spared():
    """The child beyond the slots is kept warm."""
    crew, children = _crew(2, 3)

    assert crew.serving == children[:2]
    assert crew.spares == children[2:]
    assert crew.take_position() is None


def test_a_spare_steps_in_at_once():
    """Whoever is withdrawn is replaced by the spare, and a new child is wanted."""
    crew, (first, spare) = _crew(1, 2)
    first.hears = False
    crew.withdraw(first)

    assert crew.idle == [spare]
    assert crew.take_position() is not None


def test_long_activities_go_one_to_a_child():
    """Nothing is put behind an activity that may take long."""
    crew, children = _crew(2, 2)
    crew.waiting.extend((attempt("long"), None) for _ in range(5))

    chosen = _hand_out(crew)

    assert [len(attempts) for _, attempts in chosen] == [1, 1]
    assert len(crew.waiting) == 3
    assert {id(child) for child, _ in chosen} == {id(child) for child in children}


def test_short_activities_are_shared_out_in_batches():
    """Plenty of short ones: each child gets its share, in order."""
    crew, _ = _crew(2, 2)
    every = [attempt("short") for _ in range(100)]
    crew.waiting.extend((each, None) for each in every)

    chosen = _hand_out(crew)

    assert [each for _, attempts in chosen for each in attempts] == every
    assert len(chosen) <= 4
    assert len({id(child) for child, _ in chosen}) == 2


def test_only_what_ran_is_charged_with_a_death():
    """The others wait again, first in line and in their order."""
    crew, (child,) = _crew(1, 1)
    every = [attempt("short") for _ in range(4)]
    crew.waiting.extend((each, None) for each in every)
    _hand_out(crew)
    crew.waiting.append((last := attempt("short"), None))
    child.runs = 2

    guilty = crew.bury(child)

    assert guilty is every[1]
    assert [each for each, _ in crew.waiting] == [every[0], *every[2:], last]
    assert all(each.started_s is None for each, _ in crew.waiting)


def test_what_never_began_is_not_charged():
    """A child that died before it began anything costs nobody."""
    crew, (child,) = _crew(1, 1)
    crew.waiting.append((only := attempt("long"), None))
    _hand_out(crew)

    assert crew.bury(child) is None
    assert [each for each, _ in crew.waiting] == [only]


def test_a_child_that_was_ended_takes_only_what_was_cancelled():
    """If it began another one in the last moment, that one is not charged."""
    crew, (child,) = _crew(1, 1)
    crew.waiting.append((innocent := attempt("long"), None))
    _hand_out(crew)
    child.runs, child.ending, child.cancelled = 1, True, attempt("long")

    assert crew.bury(child) is None
    assert [each for each, _ in crew.waiting] == [innocent]


@given(st.lists(st.sampled_from(["short", "long"]), max_size=700), st.integers(1, 4))
def test_whatever_waits_no_child_gets_too_much(kinds, slots):
    """Order is kept, nothing is lost or doubled, no short one is behind a long one, and no child is overloaded."""
    crew, children = _crew(slots, slots)
    every = [attempt(kind) for kind in kinds]
    crew.waiting.extend((each, None) for each in every)

    chosen = _hand_out(crew)

    handed = [each for _, attempts in chosen for each in attempts]
    assert [*handed, *(each for each, _ in crew.waiting)] == every
    for child in children:
        held = [each.activity_type for each in child.sent.values()]
        assert held in ([], ["long"]) or set(held) == {"short"}
        assert len(held) <= AHEAD
        assert child.estimate_s <= AHEAD_S + 0.001 or held == ["long"]
