"""The error tree: fields, text, comparison, copies, pickles."""

import copy
import json
import pickle
import typing

import pytest

from limen.messages import bus_errors, errors
from limen.messages._wire_errors import error_from_wire, error_to_wire
from limen.messages.errors import (
    ActivityTimedOut,
    BusError,
    ChannelLifecycleError,
    DecodeError,
    DispatchFailed,
    InvalidArgument,
    InvalidChannelName,
    LimenError,
    NoWorkersAvailable,
    RetryableError,
    RouterCrashed,
    RouterFailed,
    RouterTimedOut,
    RouterUnavailable,
    ScheduleToCloseTimedOut,
    ScheduleToStartTimedOut,
    SignalDeliveryFailed,
    SignalValidationFailed,
    StartToCloseTimedOut,
    StreamingFailed,
    TerminalError,
    UnknownWorkerSelected,
    UnpicklableError,
    WorkerCrashed,
)

KINDS = [kind for name in errors.__all__ if (kind := getattr(errors, name)).__match_args__]
BUS = [
    "ChannelNotFound",
    "ChannelClosed",
    "SchemaMismatch",
    "PublishFailed",
    "SubscriptionFailed",
    "ConversationFailed",
    "ConversationTimeout",
    "ParticipantCrashed",
    "DeliveryFailed",
]


def sample(kind: type[LimenError]) -> LimenError:
    """Make an error of this kind, with something told apart in each field."""
    hints = typing.get_type_hints(kind)
    values = {int: 3, float: 1.5, tuple[str, ...]: ("one", "two")}
    return kind(**{name: values.get(hints[name], f"some {name}") for name in kind.__match_args__})


each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


class Flaky(RetryableError):
    """An error as a user writes one, with arguments and attributes of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code: int = code


class Coded(TerminalError):
    """An error as a user may declare one, with a field more."""

    code: int = 0
    known: typing.ClassVar[tuple[int, ...]] = ()


@each_kind
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copied_error_equals_the_first(kind, twin):
    """ER-08: errors are copyable and picklable, fields, notes and all."""
    error = sample(kind)
    error.add_note("seen twice")

    other = twin(error)

    assert other == error
    assert other is not error
    assert str(other) == str(error)
    assert other.__notes__ == ["seen twice"]


@each_kind
def test_errors_compare_by_kind_and_fields(kind):
    """ER-08: twins are equal and hash alike; any other field or kind makes a difference."""
    assert sample(kind) == sample(kind)
    assert hash(sample(kind)) == hash(sample(kind))
    for name in kind.__match_args__:
        fields = {each: getattr(sample(kind), each) for each in kind.__match_args__}
        assert kind(**{**fields, name: "another"}) != sample(kind)
    assert sample(kind) != type("Other", (kind,), {})(*sample(kind).args)


@each_kind
def test_an_error_takes_its_fields_by_position_and_by_name(kind):
    """ER-01 to ER-06: the fields are readable, in `args` and in the repr."""
    error = sample(kind)

    assert kind(*error.args) == error
    assert [getattr(error, name) for name in kind.__match_args__] == list(error.args)
    assert kind.__name__ in repr(error)


@each_kind
def test_an_error_says_something_and_has_a_docstring(kind):
    """ER-10: every kind tells what is wrong."""
    assert str(sample(kind))
    assert kind.__doc__
    assert isinstance(sample(kind), Exception)


@pytest.mark.parametrize(
    "kind",
    [
        DispatchFailed,
        WorkerCrashed,
        SignalDeliveryFailed,
        SignalValidationFailed,
        StreamingFailed,
        InvalidChannelName,
        ChannelLifecycleError,
    ],
)
def test_the_text_of_a_surface_error_holds_all_its_fields(kind):
    """ER-01 to ER-06: whoever reads the text knows where it happened."""
    error = sample(kind)

    assert all(str(getattr(error, name)) in str(error) for name in kind.__match_args__)


@pytest.mark.parametrize("name", BUS)
def test_the_text_of_a_bus_error_is_its_message(name):
    """ER-09: nine kinds below one root."""
    error = getattr(bus_errors, name)("what happened")

    assert isinstance(error, BusError)
    assert str(error) == error.message == "what happened"


def test_every_error_has_one_root():
    """ER-01, ER-09: `except LimenError` catches all that this library raises for its callers."""
    assert all(issubclass(kind, LimenError) for kind in KINDS)


def test_why_a_dispatch_failed_is_a_kind_of_its_failure():
    """DP-10, DP-12, RT-05: each is caught as `DispatchFailed` and says its reason in `message`."""
    nobody = NoWorkersAvailable("aion.dispatch.a.b", "wf", "resize", ("crop", "crop", "blur"))
    unknown = UnknownWorkerSelected("aion.dispatch.a.b", "wf", "ghost", ("worker-1",))

    assert isinstance(nobody, DispatchFailed)
    assert "NoWorkersAvailable" in nobody.message
    assert "'resize'" in str(nobody)
    assert "crop, blur" in str(nobody)
    assert "nothing" in str(NoWorkersAvailable("c", "w", "resize"))
    assert isinstance(unknown, DispatchFailed)
    assert "'ghost'" in unknown.message
    for kind in (RouterCrashed, RouterTimedOut, RouterUnavailable):
        assert issubclass(kind, RouterFailed)
        assert "abc123" in kind("c", "w", "abc123").message


def test_a_time_out_names_its_limit_and_may_be_tried_again():
    """TY-04: which limit, for which activity, where, and how long it took."""
    error = ActivityTimedOut("c", "w", "start_to_close", "resize", "worker-1", 1.25, 1)

    assert error.retryable
    assert all(part in str(error) for part in ("start_to_close", "resize", "worker-1", "1.250 s", "1.000 s"))
    assert "before any worker" in str(ActivityTimedOut("c", "w", "schedule_to_start", "resize", None, 1, 1))


@pytest.mark.parametrize("kind", [ScheduleToStartTimedOut, StartToCloseTimedOut, ScheduleToCloseTimedOut])
def test_each_limit_has_an_error_of_its_own(kind):
    """TY-04: it can be caught alone, or with the others; equal fields do not make two kinds equal."""
    error = kind("c", "w", "some limit", "resize", "worker-1", 1.25, 1)

    assert isinstance(error, ActivityTimedOut)
    assert error.retryable
    assert error != ActivityTimedOut(*error.args)
    assert error_from_wire(json.loads(json.dumps(error_to_wire(error)))) == error


def test_a_cause_is_chained():
    """ER-08: the error below stays reachable, with its fields."""
    crash = WorkerCrashed("c", "w", "worker-1", "SIGKILL")

    with pytest.raises(DispatchFailed) as caught:
        raise DispatchFailed("c", "w", "all crashed") from crash

    assert caught.value.__cause__ == crash


def test_a_rejected_name_is_quoted_shortly():
    """ER-05, ER-10: a long text is cut; of what is no text only the type is named."""
    assert len(str(InvalidChannelName("namespace", "x" * 10_000, "too long"))) < 200
    assert "secret" not in str(InvalidChannelName("namespace", {"secret": 1}, "must be a str"))


def test_broken_contracts_are_also_what_python_calls_them():
    """ER-05: a caller who knows only the built-in kinds catches them too."""
    assert isinstance(InvalidChannelName("namespace", "", "empty"), ValueError)
    assert isinstance(InvalidArgument("a", "b", "int", "str"), TypeError)
    assert isinstance(DecodeError("a", "b"), ValueError)


def test_what_cannot_travel_is_named_by_its_type():
    """ER-10: never by its contents."""
    assert str(UnpicklableError("result", "Socket", "fetch")) == (
        "the result of activity 'fetch', a Socket, does not pickle; a process worker needs one that does"
    )


@pytest.mark.parametrize("arguments", [(), ("c",), ("c", "w"), ("c", "w", "m", "more")])
def test_an_error_needs_each_field_once(arguments):
    """ER-01: a wrong number of arguments is a `TypeError`, as with any call."""
    with pytest.raises(TypeError, match="DispatchFailed"):
        DispatchFailed(*arguments)


@pytest.mark.parametrize("extra", ["channel_name", "unknown"])
def test_an_error_takes_no_field_twice_and_no_stranger(extra):
    """ER-01: named arguments are checked as well."""
    with pytest.raises(TypeError, match=extra):
        DispatchFailed("c", "w", "m", **{extra: "x"})


def test_an_error_of_a_users_own_survives_pickling():
    """ER-08: also when its `__init__` takes other arguments than it passes on."""
    error = pickle.loads(pickle.dumps(Flaky(7)))

    assert (error, error.code, str(error), error.retryable) == (Flaky(7), 7, "code 7", True)
    assert Flaky(7) != Flaky(8)


def test_a_user_may_add_fields_to_an_error():
    """ER-08: an annotation is a field, a class variable is none."""
    error = Coded("no", code=5)

    assert (error.message, error.code, error.retryable) == ("no", 5, False)
    assert pickle.loads(pickle.dumps(error)) == error != Coded("no")


def test_errors_are_matched_by_position():
    """ER-08: an error is a value like any other message."""
    match ChannelLifecycleError("c", "gone"):
        case ChannelLifecycleError(channel_name, message):
            assert (channel_name, message) == ("c", "gone")


def test_an_error_with_an_unhashable_field_can_still_be_hashed():
    """ER-08: tools keep the errors that they have seen in sets."""
    assert len({InvalidChannelName("namespace", ["x"], "must be a str")}) == 1


def test_the_root_takes_what_any_exception_takes():
    """ER-08: it has no fields of its own."""
    assert str(LimenError("plain")) == "plain"
    assert LimenError("plain") == pickle.loads(pickle.dumps(LimenError("plain")))
    assert LimenError("plain") != ValueError("plain")
