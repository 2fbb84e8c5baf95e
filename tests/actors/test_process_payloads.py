"""What travels to a child process and back: things that do not pickle, errors, and a lot of bytes."""

import functools
import threading

import pytest
from activities_for_tests import HoldingError, OneWay, StubbornError
from processkit import WAIT_S, attempt, executor

from limen.actors.executors.process import RemoteTraceback
from limen.messages.errors import UnpicklableError
from limen.messages.payloads import Payload

MIB = 1 << 20


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (lambda: None, "function"),
        (((threading.Lock(),), {}), "lock"),
        ({"deep": [1, {"deeper": memoryview(b"")}]}, "memoryview"),
    ],
)
def test_an_argument_that_does_not_pickle_is_a_typed_failure(value, type_name):
    """The error names what it is that does not pickle, not what it is wrapped in; the child is not troubled."""
    with executor() as (process, report):
        process.submit(attempt("echo", value))
        error = report.error()
        process.submit(attempt("echo", 1))

        assert error == UnpicklableError("argument", type_name, "echo")
        assert error.__cause__ is not None
        assert report.value() == 1


@pytest.mark.parametrize("exits", [False, True])
def test_an_argument_that_does_not_arrive_is_a_typed_failure(exits, capfd):
    """What a child cannot unpickle fails that activity; what ends the child meanwhile is a crash like any other."""
    with executor() as (process, report):
        process.submit(attempt("echo", OneWay(exits=exits)))
        told, _, result = report.next()
        process.submit(attempt("echo", 1))

        assert told == ("crashed" if exits else "finished")
        assert exits or result.error == UnpicklableError("argument", "OneWay", "echo")
        assert report.value() == 1


def test_a_result_that_does_not_pickle_is_a_typed_failure():
    """The activity ran, and its caller learns that its result cannot come back."""
    with executor() as (process, report):
        process.submit(attempt("return_lambda"))

        assert report.error() == UnpicklableError("result", "function", "return_lambda")


@pytest.mark.parametrize("exits", [False, True])
def test_a_result_that_does_not_arrive_is_a_typed_failure(exits):
    """Whatever a result raises when it is unpickled here, it harms nobody."""
    with executor() as (process, report):
        process.submit(attempt("return_one_way", exits))
        error = report.error()
        process.submit(attempt("echo", 1))

        assert error == UnpicklableError("result", "OneWay", "return_one_way")
        assert report.value() == 1


def test_a_result_of_the_wrong_kind_is_a_failure():
    """A handler gives a Payload or a Local; anything else is its mistake."""
    with executor() as (process, report):
        process.submit(attempt("return_nonsense"))
        error = report.error()

    assert isinstance(error, TypeError)
    assert "not a str" in str(error)


def test_an_exception_arrives_as_itself_with_its_traceback():
    """Type and arguments are kept; the traceback of the child is found as the cause."""
    with executor() as (process, report):
        process.submit(attempt("fail", "no luck"))
        error = report.error()

    assert type(error) is ValueError
    assert error.args == ("no luck",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "raise ValueError(_value(request))" in str(error.__cause__)


@pytest.mark.parametrize(
    ("activity_type", "error_type"), [("fail_unpicklably", HoldingError), ("fail_stubbornly", StubbornError)]
)
def test_an_exception_that_does_not_travel_is_a_typed_failure(activity_type, error_type):
    """Whether it fails to leave or to arrive, its name is known, and the child goes on."""
    with executor() as (process, report):
        process.submit(attempt(activity_type))
        error = report.error()
        process.submit(attempt("echo", 1))

        assert error == UnpicklableError("exception", error_type.__name__, activity_type)
        assert error.__cause__ is not None
        assert report.value() == 1


def test_two_activities_never_share_an_argument():
    """The same list given twice arrives as two lists, also when both travel together."""
    shared = [1]
    with executor() as (process, report):
        for _ in range(60):
            process.submit(attempt("echo", shared))
        values = [report.value() for _ in range(60)]

    assert all(value == shared for value in values)
    assert len({id(value) for value in values}) == 60


@pytest.mark.slow
@pytest.mark.parametrize("value", [Payload(b"x" * 100 * MIB, "a/b"), "y" * 100 * MIB], ids=["bytes", "object"])
def test_huge_payloads_pass_both_ways(value):
    """100 MiB there and back through every child at once: nobody waits for ever."""
    with executor(slots=2) as (process, report):
        for _ in range(3):
            process.submit(attempt("echo", value))

        assert all(report.value() == value for _ in range(3))


def test_big_payloads_pass_both_ways_while_small_ones_do():
    """Some MiB in each direction at the same time, more than any buffer holds, and small ones between them."""
    with executor(slots=2) as (process, report):
        big, small = Payload(b"x" * 3 * MIB), Payload(b"y")
        for _ in range(4):
            process.submit(attempt("echo", big))
            process.submit(attempt("echo", small))
        values = [report.value() for _ in range(8)]

    assert sorted(len(value.data) for value in values) == [1] * 4 + [3 * MIB] * 4


def test_a_child_that_dies_with_a_big_argument_half_sent_is_a_death_like_others():
    """What could not be written is forgotten with the child; the next one gets all it should."""
    with executor() as (process, report):
        process.submit(attempt("exit_at_once", 1))
        for _ in range(4):
            process.submit(attempt("echo", Payload(b"x" * 3 * MIB)))
        told = report.next()[0]

        assert told == "crashed"
        assert all(len(report.value().data) == 3 * MIB for _ in range(4))


def test_submitting_a_big_payload_does_not_wait_for_the_child(tmp_path):
    """`submit` returns while nobody reads: the caller may be the channel, which must never block."""
    with executor() as (process, report):
        process.submit(attempt("fill", 1))
        report.next()
        submitted = threading.Event()

        def submit_many() -> None:
            for _ in range(3):
                process.submit(attempt("echo", Payload(b"x" * 3 * MIB)))
            submitted.set()

        threading.Thread(target=submit_many).start()

        assert submitted.wait(WAIT_S)
        assert all(len(report.value().data) == 3 * MIB for _ in range(3))


def test_several_threads_may_submit_at_once():
    """Eight threads, a hundred activities each: every one has its own result."""
    with executor(slots=2) as (process, report):

        def submit_all(first: int) -> None:
            for number in range(first, first + 100):
                process.submit(attempt("echo", number))

        threads = [threading.Thread(target=functools.partial(submit_all, 100 * each)) for each in range(8)]
        for thread in threads:
            thread.start()
        values = [report.value() for _ in range(800)]
        for thread in threads:
            thread.join()

    assert sorted(values) == list(range(800))
