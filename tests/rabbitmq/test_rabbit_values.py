"""Arguments and results as JSON: what goes out comes back, or is refused before it goes."""

import dataclasses
import datetime as dt
import decimal
import enum
import math
import pathlib
from collections import OrderedDict, defaultdict, deque
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen import DecodeError, EncodeError, Payload, activity
from limen.messages._json import dumps
from limen.rabbitmq.values import MARK, decode, encode


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"
    BLUE = ("b", 1)


class Level(enum.IntEnum):
    """One whose members are numbers."""

    LOW = 1


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int = 0


@attrs.frozen
class Part:
    """A value class."""

    name: str
    when: dt.datetime | None = None
    tags: frozenset[str] = frozenset()


@dataclasses.dataclass
class Record:
    """Another kind of value class."""

    parts: list[Part]
    colour: Colour = Colour.RED
    price: decimal.Decimal = decimal.Decimal(0)


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
)
keys = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | st.dates()
plain_values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=12,
)


def _same(one: Any, other: Any) -> bool:
    """Compare by value and type, all the way down; a number that is none equals itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, complex):
        return _same(one.real, other.real) and _same(one.imag, other.imag)
    if isinstance(one, decimal.Decimal):
        return str(one) == str(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(map(_same, one.values(), other.values()))
    return bool(one == other)


@given(plain_values)
def test_plain_data_comes_back_as_it_went(value):
    """Whatever is built in keeps its value and its type, at any depth: tuples, sets, bytes, big numbers, keys."""
    assert _same(decode(encode(value, "it")), value)


@pytest.mark.parametrize(
    "value",
    [
        {MARK: ["tuple", [1]]},
        {MARK: 1, "a": 2},
        {1: {MARK: "x"}},
        2**64,
        -(2**63) - 1,
        float("nan"),
        bytearray(b"ab"),
        pathlib.PurePosixPath("/a/b"),
        pathlib.Path("/a"),
        Payload(b"\x00\xff", "text/x"),
        (),
        [(), {()}],
    ],
    ids=repr,
)
def test_odd_data_comes_back_as_it_went(value):
    """A user's own `$` too: nothing that looks like a mark is taken for one."""
    assert _same(decode(encode(value, "it")), value)


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Colour.RED, "red"),
        (Colour.BLUE, ("b", 1)),
        (Level.LOW, 1),
        (Point(1, 2), (1, 2)),
        (deque([1, 2]), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        (Part("p", tags=frozenset("a")), {"name": "p", "when": None, "tags": frozenset("a")}),
        (Record([Part("p")]), {"parts": [{"name": "p", "when": None, "tags": frozenset()}], "colour": "red"}),
        ({Colour.RED: 1}, {"red": 1}),
        ({Part("a")}, [{"name": "a", "when": None, "tags": frozenset()}]),
    ],
)
def test_instances_of_classes_arrive_as_plain_data(value, arrives):
    """Their fields by name, an enumeration's value: what the annotation on the other side is put to work on."""
    came = decode(encode(value, "it"))

    if isinstance(arrives, dict) and isinstance(value, Record):
        arrives = arrives | {"price": decimal.Decimal(0)}
    assert came == arrives


@activity
def annotated(
    part: Part, record: Record, colours: dict[Colour, Level], point: Point, parts: set[Part]
) -> tuple[Part, ...]:
    """Take all kinds."""
    return (part, *parts)


def test_annotations_make_the_instances_again():
    """Round trip through the wire and an activity's signature: equal to what was given."""
    given_args = (
        Part("p", dt.datetime(2020, 1, 2, tzinfo=dt.UTC), frozenset({"t"})),
        Record([Part("q")], Colour.BLUE, decimal.Decimal("1.50")),
        {Colour.RED: Level.LOW},
        Point(3),
        {Part("r")},
    )

    bound, _ = annotated.signature.bind(tuple(decode(encode(list(given_args), "it"))), {})

    assert bound == given_args
    assert [type(each) for each in bound] == [type(each) for each in given_args]
    assert annotated.signature.result(decode(encode((Part("r"),), "it"))) == (Part("r"),)


class Odd:
    """A class that says nothing of what it is made of."""


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Odd(), "a value of type Odd"),
        ([{"a": (Odd(),)}], "a value of type Odd"),
        (print, "a value of type builtin_function_or_method"),
        ({Part("a"): 1}, "a dict with a Part as a key"),
        ("\ud800", "a part of a str"),
    ],
)
def test_what_has_no_form_is_refused_by_its_type(value, what):
    """`EncodeError` names the field and the type, never the value."""
    with pytest.raises(EncodeError) as raised:
        encode(value, "arguments")

    assert (raised.value.field, raised.value.what) == ("arguments", what)


def test_what_contains_itself_is_refused():
    """And nothing is lost but that one value."""
    ring: list[Any] = []
    ring.append(ring)

    with pytest.raises(EncodeError, match="contains itself"):
        encode(ring, "it")


@pytest.mark.parametrize(
    "document",
    [
        {MARK: 1},
        {MARK: ["tuple"]},
        {MARK: ["tuple", [1], 2]},
        {MARK: ["tuple", 5]},
        {MARK: ["os.system", ["true"]]},
        {MARK: [["tuple"], []]},
        {MARK: ["tuple", []], "more": 1},
        {MARK: ["int", "1" * 5000]},
        {MARK: ["int", 5]},
        {MARK: ["bytes", "no base64!"]},
        {MARK: ["datetime", "yesterday"]},
        {MARK: ["complex", ["a", "b", "c"]]},
        {MARK: ["payload", [1]]},
        {MARK: ["dict", [[1]]]},
        {MARK: ["dict", [[[], 1]]]},
        {MARK: ["timedelta", [10**12, 0, 0]]},
    ],
    ids=repr,
)
def test_a_hostile_mark_is_a_decode_error(document):
    """Nothing is looked up by name, and nothing but `DecodeError` is raised."""
    with pytest.raises(DecodeError):
        decode(dumps(document))


@given(st.binary(max_size=64) | st.text(alphabet='[]{}",:$1tuple ', max_size=60).map(str.encode))
def test_any_bytes_are_data_or_a_decode_error(text):
    """Fuzz: the reader never raises anything else."""
    try:
        decode(text)
    except DecodeError:
        return


def test_depth_is_bounded():
    """A document nested beyond reason is refused, not a crash."""
    with pytest.raises(DecodeError):
        decode(b"[" * 200_000 + b"]" * 200_000)
