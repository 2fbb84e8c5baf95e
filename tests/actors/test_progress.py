"""How progress is kept, packed, and brought from a child process to its parent: the pure parts."""

from typing import Any

import attrs
import pytest
from dispatchkit import add_worker, context_with, session_of, submit
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from linkkit import PATIENCE_S

from limen import current
from limen.actors._current import Place, current_run
from limen.actors._progress import MAX_BYTES, Progress, pack, unpack
from limen.actors.executors._child_run import Outbox
from limen.actors.runtime import here
from limen.messages.errors import InvalidProgress

# --- what is kept -----------------------------------------------------------------------------------------------------


def test_the_latest_word_counts_and_the_one_before_an_attempt_is_kept():
    """Issue: what the next attempt goes on from does not change when it reports itself."""
    progress = Progress()
    assert (progress.latest, progress.before(1)) == (None, None)
    progress.note(1, b"1a")
    progress.note(1, b"1b")
    assert (progress.latest, progress.before(1), progress.before(2)) == (b"1b", None, b"1b")
    progress.note(2, b"2a")
    progress.note(2, b"2b")
    assert (progress.latest, progress.before(2), progress.before(3)) == (b"2b", b"1b", b"2b")


@given(st.lists(st.tuples(st.integers(1, 5), st.binary(max_size=2)), min_size=1, max_size=20))
def test_an_attempt_never_finds_its_own_word_before_it(reports):
    """Issue: attempts come one after the other, and each may say any number of things."""
    progress = Progress()
    in_order = sorted(reports, key=lambda report: report[0])
    for number, packed in in_order:
        progress.note(number, packed)
    latest = in_order[-1][0]
    earlier = [packed for number, packed in in_order if number < latest]

    assert progress.before(latest) == (earlier[-1] if earlier else None)
    assert progress.before(latest + 1) == progress.latest == in_order[-1][1]


# --- how it is packed -------------------------------------------------------------------------------------------------


@attrs.frozen
class Point:
    """A value of a user's own."""

    x: int
    y: float


@pytest.mark.parametrize(
    ("details", "plain"),
    [
        (None, None),
        (0.5, 0.5),
        ("ü\n", "ü\n"),
        ({"done": 1, "of": (2, 3)}, {"done": 1, "of": [2, 3]}),
        (Point(1, 2.5), {"x": 1, "y": 2.5}),
        ([Point(1, 2.5)], [{"x": 1, "y": 2.5}]),
        ("x" * (MAX_BYTES - 2), "x" * (MAX_BYTES - 2)),
    ],
)
def test_details_come_back_as_plain_data(details, plain):
    """Issue: JSON, and attrs classes as cattrs takes them apart."""
    assert unpack(pack(details, "encode")) == plain


class Rude:
    """Raises whatever is done with it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "make",
    [lambda: float("inf"), lambda: iter("ab"), lambda: "\ud800", Rude, lambda: "x" * (MAX_BYTES - 1)],
    ids=["not finite", "an iterator", "half a letter", "rude", "too large"],
)
def test_what_has_no_such_form_is_refused(make):
    """Issue: one typed error, whatever is wrong."""
    with pytest.raises(InvalidProgress) as raised:
        pack(make(), "encode")

    assert raised.value.activity_type == "encode"


def test_what_refers_to_itself_is_refused():
    """Issue: it does not end."""
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(InvalidProgress):
        pack(endless, "encode")


# --- where it is said -------------------------------------------------------------------------------------------------


def test_a_place_knows_what_runs_there():
    """Issue: one run for each piece of work, made when it is first asked about; none between two."""
    made: list[Any] = []

    class Run:
        def __init__(self, work: object) -> None:
            self.work = work
            made.append(work)

    place: Any = Place(Run)  # type: ignore[arg-type]
    here.place = place
    try:
        first, second = object(), object()
        assert current_run() is None
        place.work = first
        assert current_run() is current_run()
        place.work = second
        assert getattr(current_run(), "work", None) is second
        place.work = None
        assert current_run() is None
    finally:
        here.place = None
    assert made == [first, second]


def test_where_nobody_follows_events_nothing_is_said_to_the_channel(monkeypatch):
    """Issue, speed: progress is a write on the activity's own thread, however often it is reported."""

    def count(request: Any) -> Any:
        for number in range(100):
            current().progress(number)
        return request.input

    with context_with() as context:
        add_worker_kept = add_worker(context, count)
        session, notices = session_of(context), []
        monkeypatch.setattr(type(session), "notice", lambda _, message: notices.append(message))
        conversation = submit(context)
        conversation.result(PATIENCE_S)
        monkeypatch.undo()

        assert [each for each in notices if type(each).__name__ == "Progressed"] == []
        assert conversation.progress is not None
        assert unpack(conversation.progress.latest) == 99
        assert add_worker_kept.is_active


# --- from a child to its parent ---------------------------------------------------------------------------------------


class OutboxMachine(RuleBasedStateMachine):
    """A child's outbox, as activities report, the parent asks, and one activity follows the other."""

    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[int, bytes]] = []
        self.outbox = Outbox(lambda turn, packed: self.sent.append((turn, packed)))
        self.turn = 0
        self.word = 0
        self.said: dict[int, bytes] = {}
        self.unasked = 0
        """How many have been sent since the parent asked last, ends of turns aside."""

    @rule()
    def begins(self) -> None:
        """The next activity."""
        self.ends()
        self.turn += 1
        self.outbox.turn = self.turn

    @precondition(lambda self: self.turn)
    @rule()
    def reports(self) -> None:
        """It says something."""
        self.word += 1
        packed = str(self.word).encode()
        self.said[self.turn] = packed
        before = len(self.sent)
        self.outbox.report(self.turn, packed)
        self.unasked += len(self.sent) - before

    @precondition(lambda self: self.turn > 1)
    @rule()
    def reports_late(self) -> None:
        """What an earlier one left behind says something."""
        before = list(self.sent)
        self.outbox.report(self.turn - 1, b"late")
        assert self.sent == before

    @rule()
    def asks(self) -> None:
        """The parent wants more."""
        self.unasked = 0
        before = len(self.sent)
        self.outbox.asked()
        self.unasked += len(self.sent) - before

    @rule()
    def ends(self) -> None:
        """The activity is over: its last word has been sent by then."""
        if self.outbox.waiting is not None:
            self.outbox.end_turn()
        if self.turn in self.said and self.outbox.turn:
            assert self.sent[-1] == (self.turn, self.said[self.turn])
        self.outbox.turn = 0

    @invariant()
    def never_a_backlog(self) -> None:
        """One at a time is on its way, and one waits."""
        assert self.unasked <= 1

    @invariant()
    def in_order(self) -> None:
        """Words are left out, never turned round, and never said of another activity."""
        words = [int(packed) for _, packed in self.sent]
        assert words == sorted(set(words))
        assert [turn for turn, _ in self.sent] == sorted(turn for turn, _ in self.sent)


OutboxMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestOutbox = pytest.mark.slow(OutboxMachine.TestCase)


def test_a_parent_that_is_gone_is_nobodys_failure():
    """Issue: the activity is not told; its process ends in a moment."""

    def hang_up(*_: object) -> None:
        raise BrokenPipeError

    outbox = Outbox(hang_up)
    outbox.turn = 1
    outbox.report(1, b"1")
    outbox.end_turn()

    assert outbox.waiting is None
