"""What limen measures by itself: the one list of names, kinds, labels and units. Source: behaviours MX-01 to MX-07."""

from __future__ import annotations

import attrs

from .series import MILLISECONDS, SECONDS
from .snapshot import Kind


@attrs.frozen
class Measure:
    """One metric of ours."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, labels: tuple[str, ...], unit: str, text: str) -> Measure:
    return Measure(name, Kind.COUNTER, labels, unit, text)


def _gauge(name: str, labels: tuple[str, ...], unit: str, text: str) -> Measure:
    return Measure(name, Kind.GAUGE, labels, unit, text)


def _latency(name: str, labels: tuple[str, ...], text: str) -> Measure:
    return Measure(name, Kind.HISTOGRAM, labels, "milliseconds", text, MILLISECONDS)


_CHANNEL = ("channel",)
_WORKER = ("channel", "worker")

# --- channels ---
MESSAGE_RATE = _counter("channel_message_rate", _CHANNEL, "messages", "Messages that were published.")
SUBSCRIBER_COUNT = _gauge("channel_subscriber_count", _CHANNEL, "inboxes", "Subscribed inboxes; each worker has one.")
QUEUE_DEPTH = _gauge(
    "channel_queue_depth",
    _CHANNEL,
    "requests and messages",
    "Requests that wait for a slot, and published messages that subscribers have not read.",
)
DELIVERY_LATENCY = _latency("channel_delivery_latency", _CHANNEL, "From a publish to the last inbox that took it.")

# --- conversations: requests from being accepted to their one outcome ---
ACTIVE_COUNT = _gauge("conversation_active_count", (), "requests", "Requests without an outcome.")
COMPLETION_COUNT = _counter("conversation_completion_count", (), "requests", "Requests that ended with a result.")
ERROR_COUNT = _counter(
    "conversation_error_count", (), "requests", "Requests that ended without a result and were not cancelled."
)
DURATION = Measure(
    "conversation_duration", Kind.HISTOGRAM, (), "seconds", "From being accepted to the outcome.", SECONDS
)

# --- pressure ---
REJECT_COUNT = _counter("pressure_reject_count", _CHANNEL, "requests", "Requests for which there was no room to wait.")
DEFER_COUNT = _counter("pressure_defer_count", _CHANNEL, "requests", "Requests that had to wait for a slot.")
CAPACITY_UTILIZATION = _gauge(
    "pressure_capacity_utilization",
    ("consumer",),
    "share",
    "What a worker holds, by its slots; above 1 where it holds work in advance.",
)

# --- dispatch ---
DISPATCH_COUNT = _counter("dispatch_count", ("channel", "outcome"), "requests", "Requests that ended, by outcome.")
ATTEMPT_COUNT = _counter("dispatch_attempt_count", _CHANNEL, "attempts", "Attempts of requests that ended.")
RETRY_COUNT = _counter("dispatch_retry_count", _CHANNEL, "attempts", "Attempts that failed and were tried again.")
DEAD_LETTER_COUNT = _gauge("dispatch_dead_letter_count", _CHANNEL, "requests", "Dead letters that are kept.")

# --- workers ---
REGISTERED_COUNT = _gauge("worker_registered_count", _CHANNEL, "workers", "Workers in the pool.")
BUSY_COUNT = _gauge("worker_active_count", _CHANNEL, "workers", "Workers that run something.")
IN_FLIGHT = _gauge("worker_in_flight", _WORKER, "slots", "Slots that a worker uses.")
SLOTS = _gauge("worker_slots", _WORKER, "slots", "Slots that a worker has.")
ABANDONED = _gauge(
    "worker_abandoned_count",
    _WORKER,
    "activities",
    "Activities that go on although they were called off, without a slot.",
)
CRASH_COUNT = _counter("worker_crash_count", _CHANNEL, "workers", "Workers that died other than by request.")
PROCESS_CRASH_COUNT = _counter(
    "worker_process_crash_count",
    _CHANNEL,
    "processes",
    "Child processes that died under an activity; their worker lives.",
)
REMOVAL_LATENCY = _latency("worker_removal_latency", _CHANNEL, "From a worker's death to its removal from the pool.")

MEASURES: tuple[Measure, ...] = tuple(each for each in globals().values() if isinstance(each, Measure))
"""All of them."""
