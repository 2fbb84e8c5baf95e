"""Arguments and results against annotations: what passes as it is, what is made of plain data, what is refused."""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NewType, Protocol, TypedDict, TypeVar

import attrs
import pytest
from pykka import ActorRegistry

from limen import ActivityFailed, ConfigError, InvalidArgument, InvalidResult, Limen, Payload, activity

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.StrEnum):
    """An enumeration of texts."""

    RED = "red"


@attrs.frozen
class Job:
    """An attrs class that holds others of its kind."""

    url: str
    tags: list[str] = attrs.field(factory=list)
    colour: Colour = Colour.RED
    parent: "Job | None" = None


@dataclasses.dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: float
    y: float = 0.0


class Node(TypedDict):
    """A TypedDict that is part of itself."""

    name: str
    children: "list[Node]"


class Boxed(TypedDict, Generic[T]):
    """A generic TypedDict."""

    content: T


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None: ...


@attrs.frozen
class Other:
    """A class with another field than `Job` has."""

    path: str


PASSES = [
    (int, 1),
    (int, True),
    (float, 1),
    (complex, 1.5),
    (str, Colour.RED),
    (bytes, b"\0"),
    (None, None),
    (Any, object()),
    (object, "text"),
    (int | None, None),
    (int | str, "text"),
    (Literal["a", 1], 1),
    (UserId, 3),
    (Annotated[int, "metres"], 3),
    (list[int], [1, 2]),
    (list, ["anything"]),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[()], ()),
    (tuple[int, *tuple[str, ...]], (1, "a", "b")),
    (set[str], {"a"}),
    (frozenset[int], frozenset({1})),
    (dict[str, list[int]], {"a": [1]}),
    (Mapping[str, int], {"a": 1}),
    (Sequence[str], "text"),
    (Iterable[int], iter([1])),
    (Callable[[int], int], abs),
    (type[int], bool),
    (Closable, 5),
    (T, 5),
    (Job, Job("u")),
    (dict[str, Job], {"a": Job("u")}),
    (Point, Point(1.0)),
    (Node, {"name": "a", "children": [{"name": "b", "children": []}]}),
    (Boxed[int], {"content": 1}),
    (Payload, Payload(b"x", "text/plain")),
    (Path, Path("a")),
]

MADE = [
    (list[int], (1, 2), [1, 2]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (set[int], [1, 1], {1}),
    (Colour, "red", Colour.RED),
    (Path, "a/b", Path("a/b")),
    (Job, {"url": "u", "tags": ["t"]}, Job("u", ["t"])),
    (Job, {"url": "u", "parent": {"url": "p"}}, Job("u", parent=Job("p"))),
    (Job | None, {"url": "u"}, Job("u")),
    (Job | Other, {"path": "p"}, Other("p")),
    (dict[str, list[Job]], {"a": [{"url": "u"}]}, {"a": [Job("u")]}),
    (Point, {"x": 1}, Point(1)),
    (list[int | str], (1, "a"), [1, "a"]),
]

REFUSED = [
    (int, "1"),
    (int, 1.0),
    (int, None),
    (str, 1),
    (str, b"text"),
    (bytes, "text"),
    (bytes, bytearray(b"x")),
    (float, "1.5"),
    (None, 0),
    (int | str, b"x"),
    (Literal[1], True),
    (Literal["a"], "b"),
    (UserId, "3"),
    (Annotated[int, "metres"], "3"),
    (list[int], "12"),
    (list[str], "ab"),
    (list[int], [1, "2"]),
    (tuple[int, str], (1,)),
    (tuple[()], (1,)),
    (set[int], {"a"}),
    (dict[str, int], {"a": "1"}),
    (dict[str, int], [("a", 1)]),
    (Colour, "blue"),
    (Job, Other("p")),
    (Job, {}),
    (Job, {"url": 1}),
    (Job, {"url": "u", "tags": "text"}),
    (Job, {"url": "u", "more": 1}),
    (Point, {"x": "1"}),
    (Node, {"name": "a"}),
    (Node, {"name": "a", "children": [{"name": 1, "children": []}]}),
    (Payload, b"raw"),
]


def _dispatch(app: Any, *args: Any, **kwargs: Any) -> None:
    """Dispatch what type checkers would not let pass."""
    app.dispatch(*args, **kwargs)


def _taking(annotation):
    def take(value):
        return value

    take.__annotations__ = {"value": annotation}
    return activity(take)


@pytest.mark.parametrize(("annotation", "value"), PASSES, ids=str)
def test_a_value_that_fits_is_passed_on_as_it_is(annotation, value):
    """The very object arrives, neither copied nor converted."""
    (passed,), _ = _taking(annotation).signature.bind((value,), {})

    assert passed is value


@pytest.mark.parametrize(("annotation", "value", "made"), MADE, ids=str)
def test_plain_data_becomes_what_the_annotation_says(annotation, value, made):
    """Dicts become classes, lists become tuples, texts become members of an enumeration."""
    (passed,), _ = _taking(annotation).signature.bind((), {"value": value})

    assert (passed, type(passed)) == (made, type(made))


@pytest.mark.parametrize(("annotation", "value"), REFUSED, ids=str)
def test_what_does_not_fit_is_refused(annotation, value):
    """No text becomes a number or a list of letters, at no depth; the error is a `TypeError` with fields."""
    with pytest.raises(InvalidArgument) as raised:
        _taking(annotation).signature.bind((value,), {})

    assert isinstance(raised.value, TypeError)
    assert (raised.value.activity_type, raised.value.parameter) == ("take", "value")


def test_an_error_says_what_would_be_right():
    """It names the parameter, the annotation and the type given, also inside containers and classes."""

    @activity
    def take(job: Job, sizes: list[int]) -> None: ...

    with Limen() as app:
        with pytest.raises(InvalidArgument, match=r"'take': sizes must be list\[int\], not list of int \| str"):
            _dispatch(app, take, Job("u"), [1, "2"])
        with pytest.raises(
            InvalidArgument, match=r"job must be Job, not dict of list \(required field missing @ .url\)"
        ):
            _dispatch(app, take, {"tags": []}, [1])


def test_an_error_quotes_no_value():
    """ER-10: what was given may be a secret."""
    secret = "tell-nobody"  # noqa: S105 - not one

    for annotation, value in [(int, secret), (list[int], [secret]), (Job, {"url": 1, "tags": secret})]:
        with pytest.raises(InvalidArgument) as raised:
            _taking(annotation).signature.bind((value,), {})
        assert secret not in str(raised.value)


def test_a_wrong_argument_raises_at_the_call_and_nothing_is_queued():
    """No actor is started, no event happens, no slot is taken."""

    @activity
    def take(number: int) -> int:
        return number

    before = ActorRegistry.get_all()
    with Limen() as app:
        for args, kwargs in [(("1",), {}), ((), {}), ((1, 2), {}), ((), {"n": 1})]:
            with pytest.raises(InvalidArgument):
                _dispatch(app, take, *args, **kwargs)

        assert ActorRegistry.get_all() == before


def test_all_kinds_of_parameters_are_checked():
    """Positional-only, keyword-only, defaults, `*args` and `**kwargs`: each value against its own annotation."""

    @activity
    def take(first: int, /, second: str = "b", *rest: float, flag: bool = False, **more: bytes) -> list[object]:
        return [first, second, rest, flag, more]

    with Limen() as app:
        app.worker("default", [take])
        assert app.dispatch(take, 1).result(5) == [1, "b", (), False, {}]
        assert app.dispatch(take, 1, "c", 1.5, 2, flag=True, x=b"y").result(5) == [1, "c", (1.5, 2), True, {"x": b"y"}]
        wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
            (("1",), {}, "first"),
            ((1, 2), {}, "second"),
            ((1, "b", "c"), {}, "rest"),
            ((1,), {"flag": 1}, "flag"),
            ((1,), {"x": "y"}, "more"),
            ((), {"second": "b"}, "the call"),
        ]
        for args, kwargs, parameter in wrong:
            with pytest.raises(InvalidArgument) as raised:
                _dispatch(app, take, *args, **kwargs)
            assert raised.value.parameter == parameter


def test_a_result_is_checked_too():
    """One that does not fit is the activity's failure, not a worker's crash; one that can be made to fit is."""

    @activity
    def wrong() -> int:
        return "text"  # type: ignore[return-value]

    @activity
    def made() -> Job:
        return {"url": "u"}  # type: ignore[return-value]

    with Limen() as app:
        app.worker("default", [wrong, made])
        with pytest.raises(ActivityFailed) as raised:
            app.dispatch(wrong).result(timeout=5)

        assert raised.value.__cause__ == InvalidResult("wrong", "int", "str")
        assert app.dispatch(made).result(timeout=5) == Job("u")


def test_a_function_without_annotations_takes_and_gives_anything():
    """Nothing is checked but the number of arguments."""

    @activity
    def anything(value):
        return value

    marker = object()
    with Limen() as app:
        app.worker("default", [anything])
        assert app.dispatch(anything, marker).result(timeout=5) is marker


def test_forward_references_are_resolved_at_the_first_use():
    """A type may be defined after the activity that names it."""
    assert later.signature.bind((Later(),), {}) is not None


@activity
def later(value: "Later") -> "Later":
    """Give it back."""
    return value


class Later:
    """Defined after it was named."""


def test_an_annotation_that_cannot_be_found_is_told_early():
    """What is imported for type checkers only cannot be checked at run time; the worker's start says so."""

    @activity
    def take(value: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with Limen() as app, pytest.raises(ConfigError, match=r"'Nowhere'.*TYPE_CHECKING"):
        app.worker("default", [take])


def test_bytes_with_a_type_pass_through_whole():
    """TY-01: a `Payload` is neither decoded nor altered on its way."""

    @activity
    def reverse(payload: Payload) -> Payload:
        return Payload(payload.data[::-1], payload.content_type)

    with Limen() as app:
        app.worker("default", [reverse])
        given = Payload(bytes(range(256)), "application/octet-stream")

        assert app.dispatch(reverse, given).result(timeout=5) == Payload(given.data[::-1], given.content_type)
