"""Who is there, as values: what one host says of its workers, and how what all say is put together."""

import attrs
import pytest

from limen.messages.limits import Limit
from limen.messages.pool import HostedRow, PoolRow, QueueRow, TypeRow
from limen.rabbitmq.reports import UNBOUND, merged, report_from_plain, report_to_plain, rows_of


def worker(number: int, since_s: float = 0.0) -> PoolRow:
    """Make a worker's row."""
    return PoolRow(f"worker-{number}", 1, "thread", 4, 1, ("a", "b"), since_s)


def queue(**types: tuple[int, int]) -> QueueRow:
    """Make a queue's row: waiting and running by type."""
    return QueueRow(
        channel_name="c",
        paused=False,
        waiting=sum(waiting for waiting, _ in types.values()),
        running=sum(running for _, running in types.values()),
        bound=100,
        types=tuple(
            TypeRow(activity_type=name, waiting=waiting, running=running) for name, (waiting, running) in types.items()
        ),
    )


def test_a_report_survives_the_way():
    """But for the clock, which is another on each machine: an age is sent."""
    report = ([worker(1), worker(2)], queue(a=(1, 2)))
    rows, shown = report_from_plain(report_to_plain(report))

    assert shown == report[1]
    assert [attrs.evolve(row, since_s=0.0) for row in rows] == report[0]
    assert all(abs(row.since_s) < 1 for row in rows)


def test_what_a_later_version_says_more_is_left_out():
    """Hosts of two versions may serve one queue."""
    plain = report_to_plain(([worker(1)], queue()))
    plain["rows"][0]["mood"] = "good"
    plain["queue"]["mood"] = "bad"

    assert report_from_plain(plain)[0][0].worker_id == "worker-1"


@pytest.mark.parametrize("spoilt", [{}, {"rows": 1}, {"rows": [{}], "queue": {}}])
def test_what_is_no_report_is_an_error(spoilt):
    """Whoever asks logs it, and goes on."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - any will do
        report_from_plain(spoilt)


def test_workers_are_listed_in_the_order_in_which_they_came():
    """Over all hosts, each with where it is and whether that was said now."""
    reports = {
        "h1": (([worker(1, 5.0), worker(2, 1.0)], queue()), True),
        "h2": (([worker(1, 3.0)], queue()), False),
    }
    rows = rows_of(reports)

    assert all(isinstance(row, HostedRow) for row in rows)
    assert [(row.host, row.worker_id, row.is_stale) for row in rows] == [
        ("h1", "worker-2", False),
        ("h2", "worker-1", True),
        ("h1", "worker-1", False),
    ]


def test_a_queue_is_the_sum_of_what_hosts_hold_and_what_lies_in_the_broker():
    """By type; paused as soon as one host is, for then all are told to be."""
    limit = Limit(max_concurrent=1)
    paused = attrs.evolve(queue(b=(0, 1)), paused=True)
    limited = attrs.evolve(queue(), types=(TypeRow(activity_type="z", waiting=0, running=0, limit=limit),))
    row = merged("c", [queue(a=(1, 2)), paused, limited], {"a": 5, "b": 0, "idle": 0})

    assert (row.channel_name, row.paused, row.waiting, row.running, row.bound) == ("c", True, 6, 3, UNBOUND)
    assert [(each.activity_type, each.waiting, each.running) for each in row.types] == [
        ("a", 6, 2),
        ("b", 0, 1),
        ("z", 0, 0),
    ]
    assert row.types[2].limit == limit
