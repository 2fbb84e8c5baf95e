"""What a channel looks like as a queue: a copy of its book's figures, for operators."""

from __future__ import annotations

from collections import Counter

from ..messages.pool import QueueRow, TypeRow
from ._channel_state import ChannelState


def queue_row(state: ChannelState) -> QueueRow:
    """Show who waits and what runs. Goes through all that waits: for people and dashboards, not for each dispatch."""
    running = Counter(attempt.activity_type for entry in state.candidates for attempt in entry.attempts)
    waiting = state.waiting.counts()
    for each in (each for entry in state.candidates for each in entry.held):
        waiting[each.activity_type] += 1
    return QueueRow(
        channel_name=state.name,
        paused=state.paused,
        waiting=waiting.total(),
        running=running.total(),
        bound=state.queue_limit,
        outside=len(state.outside),
        types=tuple(
            TypeRow(
                activity_type=kind,
                waiting=waiting[kind],
                running=running[kind],
                limit=state.gates[kind].limit if kind in state.gates else None,
            )
            for kind in sorted({*+waiting, *running, *state.gates})
        ),
    )
