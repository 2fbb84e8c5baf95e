"""What a drain leaves undone, as values: who is named, and how it reads."""

import pickle

import attrs
import pytest

from limen import ChannelLifecycleError, DispatcherDraining, DispatchFailed, ShutDown
from limen.messages import DrainReport, Fate, Unfinished


def _unfinished(number=1, **fields):
    given = {
        "conversation_id": f"c-{number}",
        "activity_type": "encode",
        "queue": "media",
        "stage": "waiting",
        "attempts": 0,
        "fate": Fate.FAILED,
        **fields,
    }
    return Unfinished(**given)


BEGUN = _unfinished(2, stage="running", attempts=2, worker_id="worker-1", fate=Fate.HANDED_ON)


def test_a_report_tells_what_had_begun_from_what_had_not():
    """WR-12: an operator has to look after the first, and may just send the second again."""
    report = DrainReport(unfinished=(_unfinished(), BEGUN), took_s=1.5)

    assert report.not_begun == (_unfinished(),)
    assert report.interrupted == (BEGUN,)
    assert not report.is_complete
    assert DrainReport().is_complete
    assert not DrainReport(is_over=False).is_complete


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (DrainReport(took_s=0.25), "drained in 0.2 s; nothing is left"),
        (DrainReport(is_over=False), "the drain goes on"),
        (
            DrainReport(unfinished=(_unfinished(), BEGUN), took_s=2.0),
            """drained in 2.0 s; 2 not finished (1 waiting, 1 running):
  encode c-1 in media: waiting, not begun; failed
  encode c-2 in media: running, on worker-1, attempt 2; handed_on""",
        ),
    ],
)
def test_a_report_reads_well(report, text):
    """The text names what is left, for a log."""
    assert str(report) == text


def test_a_long_report_names_the_first_and_counts_the_others():
    """A backlog of thousands does not fill the log; the value has them all."""
    report = DrainReport(unfinished=tuple(_unfinished(number) for number in range(25)))

    assert str(report).count("\n  encode") == 10
    assert str(report).endswith("\n  and 15 more")
    assert len(report.unfinished) == 25


def test_reports_are_values():
    """Frozen, equal by content, and they pickle."""
    report = DrainReport(unfinished=(BEGUN,))

    assert pickle.loads(pickle.dumps(report)) == report
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(report, "took_s", 1.0)  # noqa: B010 - a checker would refuse the plain way


def test_the_end_of_a_dispatcher_is_told_as_such():
    """ER-01, ER-06: one `except` for a dispatch that failed finds it, and one for a dispatcher that is closed."""
    waiting = ShutDown("aion.dispatch.a.media", "w", "encode", "waiting", 0)
    running = ShutDown("aion.dispatch.a.media", "w", "encode", "running", 1, "worker-1")

    assert isinstance(waiting, DispatchFailed)
    assert isinstance(waiting, ChannelLifecycleError)
    assert waiting.retryable
    assert "was waiting, not begun, when" in str(waiting)
    assert "was running, after 1 attempt, last with worker-1, when" in str(running)
    assert "takes nothing new" in str(DispatcherDraining("aion.dispatch.a.media"))
    assert pickle.loads(pickle.dumps(running)) == running
