"""What is shown of an entry: made anew when anything of it has changed, and only then."""

from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from statekit import make_conversation, make_worker

from limen.actors._views import rows_of, workers_of
from limen.actors.attempt import Attempt
from limen.messages.pool import ConsumerId, ConsumerStateView, DispatchWorker, PoolRow


def _take(entry):
    """Let it hold one more attempt."""
    attempt = Attempt(make_conversation(f"c-{len(entry.attempts)}"), entry, 1)
    entry.attempts = {*entry.attempts, attempt}


def _abandon(entry):
    """Let a thread of its go on with what it no longer holds."""
    _take(entry)
    entry.attempts.clear()
    entry.executor.abandoned = 1


def _shown(entry):
    return entry.view(), *workers_of([entry]), *rows_of([entry])


CHANGES = {
    "an attempt": _take,
    "attempts ahead": lambda entry: [_take(entry) for _ in range(4)],
    "a slot by hand": lambda entry: setattr(entry, "manual", 1),
    "unread messages": lambda entry: setattr(entry.opened, "depth", 7),
    "a drain": lambda entry: setattr(entry, "draining", True),
    "an abandoned thread": _abandon,
    "the time of joining": lambda entry: setattr(entry, "since_s", 5.0),
}


def _entry():
    entry = make_worker("worker-1", 2, "encode", prefetch=8)
    entry.opened = SimpleNamespace(depth=0)
    cast("Any", entry.executor).abandoned = 0
    return entry


def _shown_afresh(entry):
    """Give what an entry that was never looked at would show now."""
    limit, held = entry.capacity.max_concurrent, len(entry.attempts)
    queued = max(0, held - limit)
    in_flight = entry.manual + held - queued
    view = ConsumerStateView(ConsumerId("worker-1"), in_flight, limit, queued + entry.opened.depth, ("encode",))
    row = PoolRow(
        "worker-1",
        1,
        "inbox",
        limit,
        in_flight,
        ("encode",),
        entry.since_s,
        queued,
        entry.draining,
        entry.executor.abandoned,
    )
    return view, DispatchWorker("worker-1", entry.participant, view), row


def test_every_field_of_a_row_and_a_view_is_looked_at():
    """A field that comes to these values must be one of those that this module changes, or of those that never do."""
    never = {"worker_id", "incarnation", "executor", "max_concurrent", "activity_types"}
    changing = {"in_flight", "queued", "draining", "abandoned", "since_s"}

    assert {field.name for field in attrs.fields(PoolRow)} == never | changing
    assert {field.name for field in attrs.fields(ConsumerStateView)} == {
        *("consumer", "max_in_flight", "affinity_tags"),
        *("current_in_flight", "buffer_depth"),
    }


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows_at_the_next_look(change):
    """WC-20, WR-02: what was shown before stays as it was, and what is shown next is up to date."""
    entry = _entry()
    before = _shown(entry)
    expected_before = _shown_afresh(entry)
    CHANGES[change](entry)

    assert _shown(entry) == _shown_afresh(entry)
    assert before == expected_before


def test_an_unchanged_entry_shows_what_it_showed():
    """A snapshot of ten thousand idle workers makes nothing that is there already."""
    entry = _entry()

    assert list(map(id, _shown(entry))) == list(map(id, _shown(entry)))
