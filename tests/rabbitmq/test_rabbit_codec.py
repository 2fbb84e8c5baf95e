"""What is said over a broker, as bytes and back: round trips, strangers' bytes, errors, and names on the broker."""

import builtins
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import limen
from limen import (
    ActivityFailed,
    AttemptView,
    DecodeError,
    PoisonActivity,
    RemoteError,
    Retry,
    RetryableError,
    TerminalError,
)
from limen.actors.executors.process import RemoteTraceback
from limen.messages.activities import ActivityRequest, Completed
from limen.messages.payloads import Payload
from limen.rabbitmq import codec, errors_on_wire
from limen.rabbitmq.codec import Outcome, Treatment, Work
from limen.rabbitmq.parcels import Delivery
from limen.rabbitmq.topology import MAX_NAME, Lane, Route, lane_for, short

REQUEST = ActivityRequest("double", Payload(b"[[1],{}]", "application/json"), "media", 5, 2.5, 1)


def test_a_request_comes_back_as_it_went():
    """With its limits, its priority and how it is to be treated."""
    treatment = Treatment(
        retry=Retry(max_attempts=4, jitter=0.5), max_crashes=1, route_by="k", dead_letter=True, key="k"
    )
    body = codec.write_request("id-1", REQUEST, 7)

    message, treated = codec.read_request(body, codec.write_treatment(treatment))

    assert (message.conversation_id, message.request, message.priority, treated) == ("id-1", REQUEST, 7, treatment)


def test_a_plain_request_has_no_header():
    """Nothing is said of what is treated as any other."""
    assert codec.write_treatment(Treatment()) == {}
    assert codec.read_treatment({"other": 1}) == Treatment()


class OurError(Exception):
    """An error of this module."""


def test_a_retry_policy_names_classes_that_are_here_and_imports_none():
    """Classes are found among what is imported; one that is not here stands for nothing that could be raised here."""
    policy = Retry(non_retryable=[ValueError, OurError, TerminalError], retry_on=[LookupError])
    header = codec.write_treatment(Treatment(retry=policy))

    assert codec.read_treatment(header).retry == policy

    strange = header[codec.OPTIONS].replace("builtins:ValueError", "no_such_module:Nothing")
    retry = codec.read_treatment({codec.OPTIONS: strange}).retry
    assert retry is not None
    assert not any(isinstance(ValueError(), kind) for kind in retry.non_retryable)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"max_crashes": 0}',
        '{"max_crashes": "3"}',
        '{"retry": 5}',
        '{"retry": {"max_attempts": true}}',
        '{"retry": {"max_attempts": -1}}',
        '{"retry": {"retry_on": [5]}}',
        '{"retry": {"retry_on": 5}}',
        '{"route_by": 5}',
        '{"generation": -1}',
        5,
        b"\xff",
        None.__class__,
    ],
)
def test_a_header_that_says_nothing_is_a_decode_error(text):
    """Whatever stands there."""
    with pytest.raises(DecodeError):
        codec.read_treatment({codec.OPTIONS: text})


def test_a_later_versions_header_is_read_as_far_as_it_is_known():
    """Unknown fields pass, so that hosts and requesters need not be upgraded at once."""
    assert codec.read_treatment({codec.OPTIONS: '{"max_crashes": 2, "colour": "red"}'}) == Treatment(max_crashes=2)


def _failed() -> ActivityFailed:
    error = ActivityFailed("c", "w", "double", "worker-1", "KeyError", "'x'", 2)
    error.__cause__ = KeyError("x")
    return error


@pytest.mark.parametrize(
    "result", [Completed(Payload(b"42", "application/json")), _failed(), PoisonActivity("c", "w", "double", 3)]
)
def test_outcomes_come_back_as_they_went(result):
    """Results and errors, with what every attempt came to, on which host."""
    outcome = Outcome(
        conversation_id="id-1",
        worker_id="worker-1",
        result=result,
        work=Work("c", "double", "k"),
        attempts=(
            AttemptView(1, "worker-1", 1, started=True, error=RetryableError("again")),
            AttemptView(2, "worker-1", 2, started=True, charged=True),
        ),
        errors=(RetryableError("again"),),
        crashes=1,
    )
    body = codec.join_outcomes("host-1", [codec.write_outcome(outcome)] * 2)

    first, second = codec.read_outcomes(body)

    assert first == second
    assert (first.result, first.errors, first.crashes) == (outcome.result, outcome.errors, 1)
    assert [(each.host, each.number, each.charged, each.error) for each in first.attempts] == [
        ("host-1", 1, False, RetryableError("again")),
        ("host-1", 2, True, None),
    ]


@pytest.mark.parametrize("error", [ValueError("a", 1), KeyError(("x", 2)), OSError(2, "gone"), ZeroDivisionError()])
def test_a_built_in_error_arrives_as_what_it_was(error):
    """Type and arguments; the traceback as text, as from a child process."""
    with pytest.raises(type(error)) as raised:
        raise error
    there = errors_on_wire.from_wire(json.loads(json.dumps(errors_on_wire.to_wire(raised.value))))

    assert (type(there), there.args) == (type(error), error.args)
    assert isinstance(there.__cause__, RemoteTraceback)
    assert "test_a_built_in_error" in there.__cause__.text


def test_a_strangers_error_arrives_as_text():
    """No class is looked up for it, and none that ends a program is made."""
    ours = errors_on_wire.from_wire(errors_on_wire.to_wire(OurError("no luck")))
    assert ours == RemoteError(f"{OurError.__module__}.OurError", "no luck")

    for name in ("SystemExit", "KeyboardInterrupt", "BaseException", "eval", "print", "no such", "type"):
        assert errors_on_wire.from_wire({"kind": name, "message": "m"}) == RemoteError(name, "m")


def test_causes_travel_as_far_as_is_sensible():
    """A chain of errors arrives as one, cut off after some."""
    error = last = ValueError(0)
    for number in range(1, 20):
        last.__cause__ = cause = ValueError(number)
        last = cause

    there: BaseException | None = errors_on_wire.from_wire(errors_on_wire.to_wire(error))
    seen = []
    while isinstance(there, ValueError):
        seen.append(there.args[0])
        there = there.__cause__
    assert seen == [0, 1, 2, 3, 4, 5]


FIELDS = [
    *("content_type", "host", "outcomes", "response", "attempts", "error", "errors", "kind", "message", "args"),
    *("cause", "conversation_id", "worker_id", "result", "status", "output", "crashes", "request"),
]

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(documents, st.sampled_from([codec.OUTCOMES, codec.NEWS, codec.CONTROL, codec.REQUEST]))
def test_any_document_is_read_or_is_a_decode_error(document, label):
    """Fuzz: whoever can write to a queue cannot raise anything else in those who read it."""
    if isinstance(document, dict):
        document["content_type"] = label
    body = json.dumps(document).encode()
    for read in (
        codec.read_outcomes,
        lambda text: codec.read_request(text, {}),
        lambda text: codec.read_document(text, label),
    ):
        try:
            read(body)
        except DecodeError:
            continue


@given(st.dictionaries(st.sampled_from(["error", "response", "attempts", "errors", "crashes"]), documents))
def test_a_damaged_outcome_is_read_or_is_a_decode_error(damage):
    """The same, for what is nearly right."""
    outcome = Outcome(conversation_id="i", worker_id="w", result=ValueError("x"), errors=(ValueError("x"),))
    document = json.loads(codec.join_outcomes("h", [codec.write_outcome(outcome)]))
    document["outcomes"][0] |= damage
    try:
        codec.read_outcomes(json.dumps(document).encode())
    except DecodeError:
        return


KINDS = sorted({*limen.errors.__all__, *(name for name in dir(builtins) if "Error" in name or "Except" in name)})


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(["args", "fields", "message", "cause"]), documents))
def test_any_error_is_read_or_is_a_decode_error(kind, fields):
    """Of whatever kind it says it is, with whatever in it."""
    try:
        error = errors_on_wire.from_wire({"kind": kind, "message": "m"} | fields)
    except DecodeError:
        return
    assert isinstance(error, Exception)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_decode_error(body):
    """Fuzz, the plain way."""
    for read in (codec.read_outcomes, lambda text: codec.read_request(text, {})):
        with pytest.raises(DecodeError):
            read(body)


# --- names ------------------------------------------------------------------------------------------------------------


def test_queues_are_named_so_that_no_two_are_the_same():
    """A type's name may hold dots, colons and a lane's name, and be of any length."""
    names = ["a", "a.b", "high:a", "x" * 300, "x" * 301, "é" * 200, "é" * 199 + "e"]
    keys = [Route("aion.dispatch.n.q", name, lane).key for name in names for lane in Lane]

    assert len(set(keys)) == len(keys)
    assert all(len(key.encode()) <= MAX_NAME for key in keys)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_any_name_fits(name):
    """And one that fits stays as it is."""
    fitted = short(name)

    assert len(fitted.encode()) <= MAX_NAME
    assert fitted == name or len(name.encode()) > MAX_NAME


def test_a_priority_chooses_the_lane():
    """By its sign."""
    assert [lane_for(priority) for priority in (-5, 0, 1)] == [Lane.LOW, Lane.NORMAL, Lane.HIGH]


@pytest.mark.parametrize(
    ("headers", "redelivered", "lost"),
    [
        ({}, False, 0),
        ({}, True, 1),
        ({"x-delivery-count": 3}, True, 3),
        ({"x-delivery-count": "many"}, True, 0),
        ({"x-delivery-count": True}, True, 0),
        ({"x-delivery-count": -1}, False, 0),
    ],
)
def test_deliveries_that_came_to_nothing_are_counted(headers, redelivered, lost):
    """From the broker's own count, where it is one."""
    delivery = Delivery(queue="q", consumer="c", tag=1, session=1, body=b"", headers=headers, redelivered=redelivered)

    assert delivery.lost_before == lost
